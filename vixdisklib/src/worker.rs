//! Being a worker process: the process that VixDiskLib runs in when it is isolated.
//!
//! A [`Library`](crate::Library) starts its worker by itself. What a program has to see to is that there is a program to
//! start, in one of four ways, which are tried in this order:
//!
//! 1. [`LibraryOptions::worker`](crate::LibraryOptions::worker) names one.
//! 2. The environment variable `VDDK_WORKER` names one.
//! 3. `vddk-worker`, the program of this package, lies beside the running program or one folder up. This is for installed
//!    products and containers: `cargo install vixdisklib`, or `cargo build -p vixdisklib --bin vddk-worker`, from the version
//!    that the program was built with.
//! 4. The running program itself, if its `main` begins with [`serve_if_asked`]. This is for `cargo run`, which builds no
//!    program of a dependency, and for products of a single file.
//!
//! A worker of another build is recognised and not used. See `docs/isolation.md` for what isolation gives and costs.

mod serve;

use std::sync::atomic::{AtomicBool, Ordering};

use crate::ffi;

#[doc(hidden)]
pub use crate::wire::is_message;

/// The environment variable that asks a program to be a worker: the numbers of two descriptors that it was left.
pub(crate) const VARIABLE: &str = "VIXDISKLIB_WORKER_DESCRIPTORS";

static HOOKED: AtomicBool = AtomicBool::new(false);

/// Serves as a worker process if this process was started as one, and then does not return. Otherwise it only notes that this
/// program can be started as one, and returns at once.
///
/// To be called as the first line of `main`, before threads are started and arguments are read:
/// ```
/// vixdisklib::worker::serve_if_asked();
/// // The program.
/// ```
/// Under `#[tokio::main]` the body runs on threads of the runtime, which a worker has no use for but bears.
///
/// A test program has no `main` of its own. There a test is the hook, and
/// [`LibraryOptions::worker_test`](crate::LibraryOptions::worker_test) names it:
/// ```text
/// #[test]
/// fn worker_entry() {
///     vixdisklib::worker::serve_if_asked();
/// }
/// ```
pub fn serve_if_asked() {
    HOOKED.store(true, Ordering::Relaxed);
    if std::env::var_os(VARIABLE).is_some() {
        serve();
    }
}

/// Serves as a worker process, until the program that has started it ends. The body of `vddk-worker`. A process that was not
/// started as a worker is told so, and ends with status 2.
pub fn serve() -> ! {
    let given = std::env::var(VARIABLE).ok();
    let numbers = given.as_deref().and_then(|given| given.split_once(','));
    let numbers = numbers.and_then(|(one, two)| Some((one.parse().ok()?, two.parse().ok()?)));
    let inherited = numbers.and_then(|(socket, file)| {
        let socket = ffi::inherit(socket).ok()?;
        Some((socket, ffi::inherit(file).ok()?))
    });
    match inherited {
        Some((socket, file)) => serve::serve(socket.into(), ffi::SharedFile::adopt(file)),
        None => {
            let text = "this program is started by others, to run VMware's VixDiskLib for them; it does nothing by itself\n";
            // There is nobody to be told that standard error is closed.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            ffi::end_at_once(2)
        }
    }
}

/// Whether this program can be started as a worker.
pub(crate) fn is_hooked() -> bool {
    HOOKED.load(Ordering::Relaxed)
}
