//! A folder without a library, in a process of its own: the failure must not spoil the process for a good folder.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use vixdisklib::{ErrorKind, Library, LibraryOptions};

#[test]
fn vddk_folder_without_a_library() {
    let folder = tempfile::tempdir().unwrap();
    let options = || LibraryOptions::new(folder.path()).temp_directory(folder.path().join("tmp"));
    let error = Library::open(options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LibraryNotFound);
    let shown = error.to_string();
    assert!(shown.contains("lib64/libvixDiskLib.so.9") && shown.contains("top folder"), "{shown}");

    std::fs::create_dir(folder.path().join("lib64")).unwrap();
    std::fs::write(folder.path().join("lib64/libvixDiskLib.so.8"), "not a library").unwrap();
    let error = Library::open(options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LibraryUnusable);
    assert!(error.to_string().contains("LD_LIBRARY_PATH="), "{error}");

    std::fs::remove_file(folder.path().join("lib64/libvixDiskLib.so.8")).unwrap();
    // The linker knows a library that it has loaded by its path, so this one has a folder of its own.
    let lacking = tempfile::tempdir().unwrap();
    fake_vddk::install_lacking(lacking.path(), fake_vddk::Release::V8_0, &["VixDiskLib_Wait"]).unwrap();
    let error = Library::open(LibraryOptions::new(lacking.path())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LibraryUnusable);
    assert!(error.to_string().contains("it lacks VixDiskLib_Wait"), "{error}");

    fake_vddk::install(folder.path()).unwrap();
    let library = Library::open(options()).unwrap();
    assert_eq!(library.version().major, 8);
}
