//! What it takes to start a worker process and to be one, below the standard library.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Lets the child keep two descriptors, which all other programs that this one starts do not get, and lets it die with the
/// thread that starts it.
pub(crate) fn prepare(command: &mut Command, descriptors: [RawFd; 2]) {
    let parent = std::process::id();
    let before_exec = move || {
        // SAFETY: a command that takes a number.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        // SAFETY: no arguments.
        if u32::try_from(unsafe { libc::getppid() }) != Ok(parent) {
            // It died before the line above.
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        for descriptor in descriptors {
            // SAFETY: a descriptor of the parent, which is open here too, and a command that takes a number.
            check(unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec it makes system calls only; it neither allocates nor takes locks.
    unsafe { command.pre_exec(before_exec) };
}

/// Takes over a descriptor that the parent has left open under this number; programs that this one starts do not get it.
pub(crate) fn inherit(descriptor: RawFd) -> io::Result<OwnedFd> {
    if descriptor <= libc::STDERR_FILENO {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    // SAFETY: a command that takes a number; a descriptor that is not open is an error.
    check(unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: it is open, and was left for this call by whoever started the process: nothing else here knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Ends the process without running what libraries have registered for its end: VixDiskLib's is known to crash.
pub(crate) fn end_at_once(status: i32) -> ! {
    // SAFETY: it does not return, and nothing of this process is needed any more.
    unsafe { libc::_exit(status) }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
