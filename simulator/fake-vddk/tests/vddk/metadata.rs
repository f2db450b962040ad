//! Metadata: values, keys, absences.

use vixdisklib::{ErrorKind, OpenOptions};

use super::world::World;

#[test]
fn values_are_read_written_and_listed() {
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_write());
    assert_eq!(disk.metadata("adapterType").unwrap().as_deref(), Some("lsilogic"));
    assert_eq!(disk.metadata("noSuchKey").unwrap(), None);
    let long = "x".repeat(3000);
    disk.set_metadata("toolsVersion", "12352").unwrap();
    disk.set_metadata("note", &long).unwrap();
    assert_eq!(disk.metadata("note").unwrap(), Some(long));
    let keys = disk.metadata_keys().unwrap();
    for key in ["adapterType", "note", "toolsVersion", "uuid", "geometry.cylinders"] {
        assert!(keys.iter().any(|found| found == key), "{key} is not in {keys:?}");
    }
    disk.close().unwrap();
    let disk = world.open_off(OpenOptions::read_only());
    assert_eq!(disk.metadata("toolsVersion").unwrap().as_deref(), Some("12352"));
    assert_eq!(disk.set_metadata("a", "b").unwrap_err().kind(), ErrorKind::ReadOnly);
    assert_eq!(disk.metadata("a\0b").unwrap_err().kind(), ErrorKind::InvalidArgument);
}
