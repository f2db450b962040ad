//! What clients have not given back: a door for tests, which find the library by its kit as clients do.

use std::path::Path;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::library;

type Function = unsafe extern "C" fn(*mut [usize; 4]);

/// What clients of a library have not given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outstanding {
    /// Disk sets that are open.
    pub sets: usize,
    /// Volumes that are mounted.
    pub mounts: usize,
    /// Volume handles that are not freed.
    pub volumes: usize,
    /// Structures that are not freed.
    pub infos: usize,
}

/// What clients of the library in this kit have not given back; `None` when it is not loaded in this process.
#[must_use]
pub fn outstanding(kit: &Path) -> Option<Outstanding> {
    let file = kit.join("lib64/libvixMntapi.so.1");
    // SAFETY: with this flag nothing is loaded, so nothing of the file runs.
    let library = unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL | libc::RTLD_NOLOAD) }.ok()?;
    // SAFETY: only this crate exports the name, with this type.
    let function = unsafe { library.get::<Function>(b"FakeVixMntapi_Outstanding") }.ok()?;
    let mut counts = [0; 4];
    // SAFETY: the numbers have a place.
    unsafe { function(&raw mut counts) };
    let [sets, mounts, volumes, infos] = counts;
    Some(Outstanding { sets, mounts, volumes, infos })
}

/// # Safety
/// `counts` must be valid for writing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn FakeVixMntapi_Outstanding(counts: *mut [usize; 4]) {
    let found = library::with(|library| Ok(library.outstanding())).unwrap_or_default();
    // SAFETY: the caller's promise.
    unsafe { counts.write(found) };
}
