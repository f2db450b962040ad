//! The end of VixMntapi, in a process of its own: after it there is no beginning.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use sim_store::{Disk, DiskSpec};
use vixdisklib::{ConnectOptions, ConnectParams, Library, LibraryOptions};
use vixmntapi::{Access, ErrorKind, MountApi, MountOptions, preflight};

#[test]
fn after_the_end_nothing_opens() {
    let folder = tempfile::tempdir().unwrap();
    let kit = folder.path().join("kit");
    fake_vddk::install(&kit).unwrap();
    let library =
        Library::open(LibraryOptions::new(&kit).in_process().temp_directory(folder.path().join("tmp")))
            .unwrap();

    // The check comes before anything is loaded; whether this machine passes it is not for a test to say.
    let ready = MountOptions::new();
    match preflight().as_slice() {
        [] => {}
        missing => {
            let error = MountApi::open(&library, ready).unwrap_err();
            assert_eq!((error.kind(), error.code()), (ErrorKind::Unsupported, None));
            assert!(missing.iter().all(|one| error.to_string().contains(one.what())), "{error}");
        }
    }
    let mounting = MountApi::open(&library, MountOptions::new().assume_ready(true)).unwrap();
    assert!(mounting.file().ends_with("lib64/libvixMntapi.so.1.1.0"), "{}", mounting.file().display());
    assert!(mounting.symbols().iter().all(|(_, present)| *present));
    let again = MountApi::open(&library, MountOptions::new()).unwrap();
    assert!(std::sync::Arc::ptr_eq(&mounting, &again));

    let path = folder.path().join("a.vmdk");
    drop(Disk::create(&path, &DiskSpec::thin(1 << 20)).unwrap());
    let path = path.to_str().unwrap();
    let connection = library.connect(&ConnectParams::local(), ConnectOptions::new()).unwrap();
    let set = mounting.open_disks(&connection, &[path], Access::ReadOnly).unwrap();
    assert_eq!(mounting.end().unwrap_err().kind(), ErrorKind::Misuse);
    set.close().unwrap();

    mounting.end().unwrap();
    assert_eq!(mounting.end().unwrap_err().kind(), ErrorKind::Closed);
    let error = mounting.open_disks(&connection, &[path], Access::ReadOnly).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let error = MountApi::open(&library, MountOptions::new().assume_ready(true)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Misuse);
    connection.close().unwrap();
}
