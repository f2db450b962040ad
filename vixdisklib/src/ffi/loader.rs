//! Finding VixDiskLib in a kit's folder, loading it, and looking its functions up.

use std::path::{Path, PathBuf};

use super::library::Api;
use super::symbols::Table;
use crate::error::{Error, ErrorKind, Result};
use crate::version::Version;

const OPERATION: &str = "load VixDiskLib from";
const LIBRARY: &str = "libvixDiskLib.so";
/// Newest first; the number is the library's major version.
const MAJORS: [u32; 4] = [9, 8, 7, 6];

/// A library that stays loaded for the life of the process.
pub(crate) struct Loaded {
    pub(crate) api: &'static Api,
    /// The file, with symbolic links resolved.
    pub(crate) file: PathBuf,
    /// The version in the file's name.
    pub(crate) version: Version,
}

/// Loads the newest VixDiskLib in `directory`: `lib64/libvixDiskLib.so.N` first, then `libvixDiskLib.so.N`.
pub(crate) fn load(directory: &Path) -> Result<Loaded> {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(Error::new(ErrorKind::Unsupported, OPERATION, "VDDK is driven on Linux x86-64 only")
            .with_subject(directory.display().to_string()));
    }
    let (file, version) = find(directory)?;
    let unusable = |text: String| {
        Error::new(ErrorKind::LibraryUnusable, OPERATION, text).with_subject(file.display().to_string())
    };
    let library = open(OPERATION, &file)?;
    // SAFETY: the file carries VixDiskLib's name in a folder that the caller called a VDDK kit; symbols of these names have
    // the ABI's signatures. It is never unloaded.
    let table = unsafe { Table::resolve(&library) };
    // VDDK has threads and exit hooks of its own: unloading it would pull code away under them.
    std::mem::forget(library);
    let missing = table.missing_required();
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|symbol| symbol.info().name).collect();
        return Err(unusable(format!("it lacks {}", names.join(", "))).with_advice("use VDDK 6.5 or newer"));
    }
    Ok(Loaded { api: Box::leak(Box::new(Api::new(table))), file, version })
}

fn find(directory: &Path) -> Result<(PathBuf, Version)> {
    let mut tried = Vec::new();
    for folder in [directory.join("lib64"), directory.to_path_buf()] {
        for major in MAJORS {
            let path = folder.join(format!("{LIBRARY}.{major}"));
            // The name after links is what the kit ships (libvixDiskLib.so.8.0.3), whatever the link is called.
            if let Ok(file) = path.canonicalize() {
                let version = Version::from_file_name(&file);
                return Ok((file, version.unwrap_or(Version { major, minor: 0, patch: 0 })));
            }
            tried.push(path.display().to_string());
        }
    }
    Err(Error::new(
        ErrorKind::LibraryNotFound,
        OPERATION,
        format!("none of these exists: {}", tried.join(", ")),
    )
    .with_subject(directory.display().to_string())
    .with_advice(
        "give the top folder of an unpacked VDDK kit (vmware-vix-disklib-distrib), which has a folder lib64",
    ))
}

/// Loads a library of a kit.
///
/// # Errors
/// [`ErrorKind::LibraryUnusable`] when the dynamic linker refuses it, with what the linker says.
pub(crate) fn open(operation: &'static str, file: &Path) -> Result<libloading::Library> {
    link(file).map_err(|error| {
        Error::new(ErrorKind::LibraryUnusable, operation, "the dynamic linker refused it")
            .with_subject(file.display().to_string())
            .with_advice(format!(
                "{error}; the kit's libraries look for each other: start the program with LD_LIBRARY_PATH={}",
                file.parent().unwrap_or(file).display()
            ))
            .with_source(error)
    })
}

fn link(file: &Path) -> std::result::Result<libloading::Library, libloading::Error> {
    use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
    // SAFETY: loading runs the library's initialisers. The caller asked for this file by naming its folder.
    unsafe { Library::open(Some(file), RTLD_NOW | RTLD_LOCAL) }.map(libloading::Library::from)
}

#[cfg(all(test, target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_a_library_names_what_was_tried() {
        let folder = tempfile::tempdir().unwrap();
        let Err(error) = load(folder.path()) else { panic!("loaded from an empty folder") };
        assert_eq!(error.kind(), ErrorKind::LibraryNotFound);
        let shown = error.to_string();
        assert!(
            shown.contains("lib64/libvixDiskLib.so.9") && shown.contains("libvixDiskLib.so.6"),
            "{shown}"
        );
        assert!(shown.contains("top folder"), "{shown}");
    }

    #[test]
    fn a_file_that_is_no_library_is_unusable() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("lib64")).unwrap();
        std::fs::write(folder.path().join("lib64/libvixDiskLib.so.8"), "not a library").unwrap();
        let Err(error) = load(folder.path()) else { panic!("loaded a text file") };
        assert_eq!(error.kind(), ErrorKind::LibraryUnusable);
    }
}
