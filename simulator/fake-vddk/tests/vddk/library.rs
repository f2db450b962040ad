//! Loading: what is found, what is refused, what is reported.

use vixdisklib::{ErrorKind, Library, LibraryOptions, TransportMode};

use super::setup::placed;
use super::world::{World, library};

#[test]
fn the_library_is_loaded_once_and_says_what_it_is() {
    let first = library();
    let second = Library::open(super::setup::options()).unwrap();
    assert!(std::sync::Arc::ptr_eq(&first, &second));
    let release = crate::SETUP.release;
    assert_eq!(first.version().to_string(), release.version());
    assert_eq!(first.file().file_name().unwrap(), release.file_name().as_str());
    let capabilities = first.capabilities();
    let absent = capabilities.iter().filter(|capability| !capability.present);
    assert_eq!(absent.map(|capability| capability.symbol.name).collect::<Vec<_>>(), release.lacks());
    let modes = ["file", "san", "hotadd", "nbdssl", "nbd"];
    assert_eq!(first.transport_modes().unwrap().iter().map(TransportMode::as_str).collect::<Vec<_>>(), modes);
}

#[test]
fn another_folder_is_refused_while_the_library_runs() {
    let running = library();
    let empty = tempfile::tempdir().unwrap();
    let error = Library::open(placed(LibraryOptions::new(empty.path()))).unwrap_err();
    if crate::SETUP.isolated {
        // It would run beside the other one, if there were one.
        assert_eq!(error.kind(), ErrorKind::LibraryNotFound);
        assert!(error.to_string().contains("lib64/libvixDiskLib.so.9"), "{error}");
        return;
    }
    // While one runs, even a good folder is refused: the reason given is the one that counts.
    assert_eq!(error.kind(), ErrorKind::LibraryInUse);
    assert!(error.to_string().contains(running.directory().to_str().unwrap()), "{error}");
}

#[test]
fn other_settings_want_another_process() {
    let running = library();
    let options =
        placed(LibraryOptions::new(running.directory())).config("vixDiskLib.transport.LogLevel", "6");
    match Library::open(options) {
        Ok(other) if crate::SETUP.isolated => {
            assert_ne!(other.worker_id(), running.worker_id());
            assert_eq!(other.version(), running.version());
        }
        Err(error) if !crate::SETUP.isolated => assert_eq!(error.kind(), ErrorKind::LibraryInUse),
        other => panic!("isolated: {}, and {other:?}", crate::SETUP.isolated),
    }
}

#[test]
fn calls_are_counted() {
    let calls = |name: &str| {
        let statistics = library().statistics();
        statistics.iter().find(|row| row.name == name).map_or((0, 0), |row| (row.calls, row.failures))
    };
    let before = calls("VixDiskLib_Open");
    let world = World::new();
    let connection = world.connect_to_snapshot();
    connection.open(super::world::FROZEN, vixdisklib::OpenOptions::read_only()).unwrap().close().unwrap();
    connection.open("[ds] none/none.vmdk", vixdisklib::OpenOptions::read_only()).unwrap_err();
    let after = calls("VixDiskLib_Open");
    // Other tests of this process count too.
    assert!(after.0 >= before.0 + 2 && after.1 > before.1, "{before:?} {after:?}");
}
