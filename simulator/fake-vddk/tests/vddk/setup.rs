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
}

/// The one library of this process.
pub(crate) fn library() -> Arc<Library> {
    let setup = &crate::SETUP;
    let options = LibraryOptions::new(kit())
        .temp_directory(kit().join("tmp"))
        .config("fakeVddk.version", setup.version)
        .config("fakeVddk.upperBits", setup.upper_bits.to_string());
    Library::open(options).unwrap()
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
