//! Finding VixMntapi beside the running VixDiskLib, loading it, and looking its functions up.

use std::path::{Path, PathBuf};

use vixdisklib::{Error, ErrorKind, Result, sibling};

use super::library::Api;
use super::symbols::Table;

const OPERATION: &str = "load VixMntapi from";
/// The number in the name never changed, so it tells nothing of the release.
const NAMES: [&str; 2] = ["libvixMntapi.so.1", "libvixMntapi.so"];

/// A library that stays loaded for the life of the process.
pub(crate) struct Loaded {
    pub(crate) api: &'static Api,
    /// The file, with symbolic links resolved.
    pub(crate) file: PathBuf,
}

/// Loads the VixMntapi that lies beside `disk_library`, the file of the running VixDiskLib: the two must come from one kit.
pub(crate) fn load(disk_library: &Path) -> Result<Loaded> {
    let folder = disk_library.parent().unwrap_or(disk_library);
    let candidates = NAMES.map(|name| folder.join(name));
    let Some(file) = candidates.iter().find_map(|path| path.canonicalize().ok()) else {
        return Err(Error::new(
            ErrorKind::LibraryNotFound,
            OPERATION,
            format!("the kit has neither {} nor {}", NAMES[0], NAMES[1]),
        )
        .with_subject(folder.display().to_string())
        .with_advice("use a complete VDDK kit for Linux: libvixMntapi.so.1 lies beside libvixDiskLib.so"));
    };
    let library = sibling::open_library(OPERATION, &file)?;
    // SAFETY: the file carries VixMntapi's name in a folder that the caller called a VDDK kit; symbols of these names have
    // the interface's signatures. It is never unloaded.
    let table = unsafe { Table::resolve(&library) };
    // It has threads of its own: unloading it would pull code away under them.
    std::mem::forget(library);
    let missing = table.missing_required();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|symbol| symbol.info().name).collect();
        let text = format!("it lacks {}", names.join(", "));
        return Err(Error::new(ErrorKind::LibraryUnusable, OPERATION, text)
            .with_subject(file.display().to_string())
            .with_advice("use VDDK 6.5 or newer"));
    }
    Ok(Loaded { api: Box::leak(Box::new(Api::new(table))), file })
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn a_kit_without_it_and_a_file_that_is_no_library_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let disk_library = folder.path().join("libvixDiskLib.so.8.0.3");
        let Err(error) = load(&disk_library) else { panic!("loaded from an empty folder") };
        assert_eq!(error.kind(), ErrorKind::LibraryNotFound);
        assert!(error.to_string().contains("libvixMntapi.so.1"), "{error}");
        std::fs::write(folder.path().join("libvixMntapi.so.1"), "not a library").unwrap();
        let Err(error) = load(&disk_library) else { panic!("loaded a text file") };
        assert_eq!(error.kind(), ErrorKind::LibraryUnusable);
        assert!(error.to_string().contains("LD_LIBRARY_PATH="), "{error}");
    }
}
