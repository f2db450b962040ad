//! What the contract suite runs against. Each test program has one library, and so one of these.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tempfile::TempDir;
use vixdisklib::{Library, LibraryOptions};

/// One way of running the suite.
pub(crate) struct Setup {
    /// The version that the library says it is.
    pub(crate) version: &'static str,
    /// What all failures carry above their code.
    pub(crate) upper_bits: u32,
    /// Whether the library runs in a worker process.
    pub(crate) isolated: bool,
}

/// In a worker process of this program, this is what runs; here it does nothing.
#[test]
fn worker_entry() {
    vixdisklib::worker::serve_if_asked();
}

/// The one library of this process.
pub(crate) fn library() -> Arc<Library> {
    static LIBRARY: OnceLock<Arc<Library>> = OnceLock::new();
    Arc::clone(LIBRARY.get_or_init(|| Library::open(options()).unwrap()))
}

/// What it is opened with.
pub(crate) fn options() -> LibraryOptions {
    let setup = &crate::SETUP;
    placed(LibraryOptions::new(kit()))
        .temp_directory(kit().join("tmp"))
        .config("fakeVddk.version", setup.version)
        .config("fakeVddk.upperBits", setup.upper_bits.to_string())
}

/// In this process or in a worker, as the setup says.
pub(crate) fn placed(options: LibraryOptions) -> LibraryOptions {
    if crate::SETUP.isolated {
        options.worker_test("suite::setup::worker_entry")
    } else {
        options.in_process()
    }
}

/// The folder of its kit.
pub(crate) fn kit() -> PathBuf {
    static KIT: OnceLock<TempDir> = OnceLock::new();
    let kit = KIT.get_or_init(|| {
        let kit = tempfile::tempdir().unwrap();
        fake_vddk::install(kit.path()).unwrap();
        kit
    });
    kit.path().to_owned()
}

/// Whether the library is of this major version at least.
pub(crate) fn is_at_least(major: u32) -> bool {
    library().version().major >= major
}
