//! Datastores with a limit: what does not fit is refused, and nothing half done is left.

#![allow(clippy::unwrap_used, reason = "a failed test may panic, in its helpers too")]

use std::path::{Path, PathBuf};

use sim_store::{
    Access, Disk, DiskSpec, ErrorKind, Provisioning, Scope, Space, grow, set_provisioning, snapshot, space,
    tracking,
};

const MIB: u64 = 1 << 20;

fn store(folder: &Path, limit: u64) -> PathBuf {
    let root = folder.join("store");
    std::fs::create_dir_all(root.join("vm")).unwrap();
    Space::set_limit(&root, Some(limit)).unwrap();
    root
}

fn names(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_thin_disk_fills_a_datastore_and_can_still_be_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let root = store(folder.path(), 4 * MIB);
    let base = root.join("vm/vm.vmdk");
    let disk = Disk::create(&base, &DiskSpec::thin(64 * MIB)).unwrap();
    tracking_is_on(disk, &base);
    let disk = Disk::open(&base, Access::ReadWrite, Scope::WholeChain).unwrap();
    let block = vec![7; MIB as usize / 4];
    let mut written = 0;
    let full = loop {
        match disk.write_at(written, &block) {
            Ok(()) => written += block.len() as u64,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::NoSpace);
    assert_eq!(full.path(), Some(root.as_path()));
    assert!((3 * MIB..=4 * MIB).contains(&written), "{written}");
    assert!(space::used(&root).unwrap() <= 4 * MIB);
    // What has its space can be written again; what is discarded gives some back.
    disk.write_at(0, &block).unwrap();
    assert_eq!(disk.write_at(written, &block).unwrap_err().kind(), ErrorKind::NoSpace);
    disk.zero_at(0, 2 * block.len() as u64).unwrap();
    disk.write_at(written, &block).unwrap();
    // The limit may be lifted while the disk is open.
    Space::set_limit(&root, None).unwrap();
    for at in 40..60 {
        disk.write_at(at * MIB, &block).unwrap();
    }
    assert!(Space::of(&base).unwrap().is_none());
}

fn tracking_is_on(disk: Disk, base: &Path) {
    drop(disk);
    tracking::enable(base, None).unwrap();
}

#[test]
fn thick_disks_take_their_space_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let root = store(folder.path(), 10 * MIB);
    let thick = |capacity| DiskSpec { provisioning: Provisioning::LazyThick, ..DiskSpec::thin(capacity) };
    let one = root.join("vm/one.vmdk");
    let disk = Disk::create(&one, &thick(6 * MIB)).unwrap();
    assert!(space::used(&root).unwrap() >= 6 * MIB);
    let refused = Disk::create(root.join("vm/two.vmdk"), &thick(6 * MIB)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NoSpace);
    let refused = set_of(&root, &thick(6 * MIB));
    assert_eq!(refused, ErrorKind::NoSpace);
    drop(disk);
    assert_eq!(grow(&one, 12 * MIB).unwrap_err().kind(), ErrorKind::NoSpace);
    grow(&one, 7 * MIB).unwrap();
    let thin = root.join("vm/thin.vmdk");
    drop(Disk::create(&thin, &DiskSpec::thin(100 * MIB)).unwrap());
    let inflated = set_provisioning(&thin, Provisioning::EagerThick).unwrap_err();
    assert_eq!(inflated.kind(), ErrorKind::NoSpace);
    assert_eq!(names(&root.join("vm")), ["one-flat.vmdk", "one.vmdk", "thin-flat.vmdk", "thin.vmdk"]);
    // A thick disk can be filled on a datastore that has nothing left.
    Space::set_limit(&root, Some(MIB)).unwrap();
    let disk = Disk::open(&one, Access::ReadWrite, Scope::WholeChain).unwrap();
    disk.write_at(6 * MIB, &[1; 4096]).unwrap();
    assert_eq!(Space::of(&one).unwrap().unwrap().free().unwrap(), 0);
}

fn set_of(root: &Path, spec: &DiskSpec) -> ErrorKind {
    Disk::create(root.join("other.vmdk"), spec).unwrap_err().kind()
}

#[test]
fn a_snapshot_that_does_not_fit_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = store(folder.path(), 2 * MIB);
    let base = root.join("vm/vm.vmdk");
    let disk = Disk::create(&base, &DiskSpec::thin(8 * MIB)).unwrap();
    disk.write_at(0, &vec![1; 1_500_000]).unwrap();
    drop(disk);
    tracking::enable(&base, None).unwrap();
    let before = names(&root.join("vm"));
    Space::set_limit(&root, Some(MIB)).unwrap();
    assert_eq!(snapshot::create(&base).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(names(&root.join("vm")), before);
    Space::set_limit(&root, Some(3 * MIB)).unwrap();
    let taken = snapshot::create(&base).unwrap();
    let child = Disk::open(&taken.child, Access::ReadWrite, Scope::WholeChain).unwrap();
    child.write_at(4 * MIB, &vec![2; 900_000]).unwrap();
    assert_eq!(child.write_at(6 * MIB, &vec![2; 900_000]).unwrap_err().kind(), ErrorKind::NoSpace);
    drop(child);
    // The base has to take what the child has before the child goes.
    let merged = snapshot::remove_link(&base, &[], &mut |_, _| {}).unwrap_err();
    assert_eq!(merged.kind(), ErrorKind::NoSpace);
    let look = |path: &Path| {
        let mut bytes = [0; 2];
        let disk = Disk::open(path, Access::ReadOnly, Scope::WholeChain).unwrap();
        disk.read_at(0, &mut bytes[..1]).unwrap();
        disk.read_at(4 * MIB, &mut bytes[1..]).unwrap();
        bytes
    };
    assert_eq!(look(&taken.child), [1, 2]);
    Space::set_limit(&root, Some(8 * MIB)).unwrap();
    snapshot::remove_link(&base, &[], &mut |_, _| {}).unwrap();
    assert_eq!(look(&base), [1, 2]);
}

#[test]
fn a_limit_that_is_no_number_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let root = store(folder.path(), MIB);
    std::fs::write(folder.path().join(".store.limit"), "much").unwrap();
    let error = Disk::create(root.join("vm/vm.vmdk"), &DiskSpec::thin(MIB)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}
