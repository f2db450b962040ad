//! What the contract suite runs against. Each test program has one library, and so one of these.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use fake_vddk::Release;
use tempfile::TempDir;
use vixdisklib::{Library, LibraryOptions};

use super::child;

/// One way of running the suite.
pub(crate) struct Setup {
    /// Which VDDK it is.
    pub(crate) release: Release,
    /// Whether breaking a rule of the interface ends the process.
    pub(crate) strict: bool,
    /// What all failures carry above their code.
    pub(crate) upper_bits: u32,
}

/// The one library of this process.
pub(crate) fn library() -> Arc<Library> {
    Library::open(options()).unwrap()
}

/// How it is started.
pub(crate) fn options() -> LibraryOptions {
    let setup = &crate::SETUP;
    LibraryOptions::new(kit())
        .temp_directory(kit().join("tmp"))
        .config("fakeVddk.strict", u32::from(setup.strict).to_string())
        .config("fakeVddk.upperBits", setup.upper_bits.to_string())
}

/// The folder of its kit: that of the parent in a process that a test has started.
pub(crate) fn kit() -> PathBuf {
    static KIT: OnceLock<TempDir> = OnceLock::new();
    if let Some(kit) = child::kit() {
        return kit;
    }
    let kit = KIT.get_or_init(|| {
        let kit = tempfile::tempdir().unwrap();
        fake_vddk::install_version(kit.path(), crate::SETUP.release).unwrap();
        kit
    });
    kit.path().to_owned()
}

/// Whether the library is of this release at least.
pub(crate) fn is_at_least(release: Release) -> bool {
    crate::SETUP.release >= release
}
