//! `disk.vmdk.lck`: who writes to a disk.
//!
//! The file says to people that the disk is in use; what keeps others out is the operating system's lock on it, which dies with
//! its process. So a file that a crash left locks nobody out.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::told_io;
use crate::code::{Answer, Code};
use crate::ffi::log;

/// The right to write to a disk; its file goes when this is dropped.
pub(crate) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock of the disk at `path`, or answers 15 when someone has it.
    pub(crate) fn take(path: &str) -> Answer<Lock> {
        let lock = PathBuf::from(format!("{path}.lck"));
        let what = format!("the lock file {}", lock.display());
        // Whoever had the lock may have removed the file between our opening and our locking it.
        for _ in 0..100 {
            let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
            let mut file = told_io(&what, opened)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    log::warn(&format!("{path} is locked: {}", holder(&lock)));
                    return Err(Code::FILE_ALREADY_LOCKED);
                }
                Err(TryLockError::Error(error)) => return told_io(&what, Err(error)),
            }
            let ours = told_io(&what, file.metadata())?;
            let there = fs::metadata(&lock).ok();
            if there.is_some_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
                told_io(
                    &what,
                    file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id())),
                )?;
                return Ok(Lock { path: lock, _file: file });
            }
        }
        Err(Code::FILE_ALREADY_LOCKED)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked: nobody can have taken this very file.
        if let Err(error) = fs::remove_file(&self.path) {
            log::warn(&format!("the lock file {} stays: {error}", self.path.display()));
        }
    }
}

fn holder(lock: &std::path::Path) -> String {
    fs::read_to_string(lock).map_or_else(|_| "by an unknown process".into(), |text| text.trim().to_owned())
}
