//! The contract suite's part for disks of this machine, against the kit that `VDDK_DIR` names:
//!
//! ```text
//! VDDK_DIR=/opt/vmware-vix-disklib-distrib cargo test -p vixdisklib -- --ignored
//! ```
//!
//! It needs neither server nor licence, and writes only below the folder for temporary files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "local/cases.rs"]
mod local;

mod setup {
    use std::sync::{Arc, OnceLock};

    use tempfile::TempDir;
    use vixdisklib::{Library, LibraryOptions};

    /// In the worker process of VixDiskLib this is what runs; here it does nothing.
    #[test]
    fn worker_entry() {
        vixdisklib::worker::serve_if_asked();
    }

    /// The one library of this process.
    pub(crate) fn library() -> Arc<Library> {
        static STATE: OnceLock<TempDir> = OnceLock::new();
        let Some(kit) = std::env::var_os("VDDK_DIR") else {
            panic!("VDDK_DIR has to name a kit: the folder vmware-vix-disklib-distrib");
        };
        let state = STATE.get_or_init(|| tempfile::tempdir().unwrap());
        Library::open(
            LibraryOptions::new(kit).worker_test("setup::worker_entry").temp_directory(state.path()),
        )
        .unwrap()
    }
}

macro_rules! tests {
    ($($module:ident: $($case:ident),*;)*) => {
        $(mod $module {
            $(
                #[test]
                #[ignore = "needs a kit in VDDK_DIR"]
                fn $case() {
                    crate::local::$module::$case();
                }
            )*
        })*
    };
}
local::for_each_local_case!(tests);
