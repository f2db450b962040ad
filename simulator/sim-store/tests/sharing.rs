//! Links whose parents are in other folders, and what may not happen to those parents.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use sim_store::elsewhere::{self, Copy};
use sim_store::snapshot::Removal;
use sim_store::{
    Access, Descriptor, Disk, DiskSpec, DiskUuid, ErrorKind, Scope, Space, sharing, snapshot, tracking,
    volumes,
};

const CAPACITY: u64 = 4 << 20;

struct Server {
    _data: tempfile::TempDir,
    root: PathBuf,
}

impl Server {
    /// Two datastores, and on the first a disk `vm/vm.vmdk` of a base and a child.
    fn new() -> (Self, PathBuf, PathBuf) {
        let data = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(data.path()).unwrap();
        for name in ["one", "two"] {
            fs::create_dir_all(root.join(name)).unwrap();
            volumes::add(&root.join(name), &format!("uuid-{name}")).unwrap();
        }
        let server = Self { _data: data, root };
        let base = server.file("one/vm/vm.vmdk");
        write(Disk::create(&base, &DiskSpec::thin(CAPACITY)).unwrap(), 0, 1);
        let top = snapshot::create(&base).unwrap().child;
        write(open(&top), 100_000, 2);
        (server, base, top)
    }

    fn file(&self, relative: &str) -> PathBuf {
        let path = self.root.join(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

fn open(path: &Path) -> Disk {
    Disk::open(path, Access::ReadWrite, Scope::WholeChain).unwrap()
}

fn write(disk: Disk, at: u64, byte: u8) {
    disk.write_at(at, &[byte; 70_000]).unwrap();
}

fn content(path: &Path) -> Vec<u8> {
    let disk = Disk::open(path, Access::ReadOnly, Scope::WholeChain).unwrap();
    let mut bytes = vec![0; CAPACITY as usize];
    disk.read_at(0, &mut bytes).unwrap();
    bytes
}

fn quiet(_: u64, _: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_child_in_another_folder_keeps_its_parent_as_it_is() {
    let (server, base, top) = Server::new();
    let before = content(&base);
    for (number, place) in ["one/linked/linked.vmdk", "two/linked/linked.vmdk"].into_iter().enumerate() {
        let child = server.file(place);
        elsewhere::create_child(&base, &child, DiskUuid::random().unwrap()).unwrap();
        assert_eq!(content(&child), before);
        write(open(&child), 0, 9);
        assert_eq!(sharing::children(&base).unwrap().len(), number + 1);
        let text = fs::read_to_string(&child).unwrap();
        assert!(text.contains("parentFileNameHint=\"/vmfs/volumes/uuid-one/vm/vm.vmdk\""), "{text}");
        // Its own snapshots are beside it.
        let over = snapshot::create(&child).unwrap().child;
        assert_eq!(over.file_name().unwrap(), "linked-000001.vmdk");
        let removal = snapshot::remove_link(&child, &[], &mut |_, _| {}).unwrap();
        assert!(matches!(removal, Removal::Merged { .. }), "{removal:?}");
        assert_eq!(snapshot::consolidate(&child, &[], &mut |_, _| {}).unwrap(), []);
        assert_ne!(content(&child), before);
    }
    assert_eq!(content(&base), before);
    // The parent's own snapshot goes, and the link stays for the others.
    assert_eq!(snapshot::remove_link(&base, &[], &mut |_, _| {}).unwrap(), Removal::Shared);
    assert!(!snapshot::needs_consolidation(&top, &[]).unwrap());
    for refused in [
        Disk::open(&base, Access::ReadWrite, Scope::WholeChain).err(),
        sim_store::grow(&base, 2 * CAPACITY).err(),
        sim_store::delete(&base).err(),
        sim_store::set_provisioning(&base, sim_store::Provisioning::EagerThick).err(),
    ] {
        assert_eq!(refused.unwrap().kind(), ErrorKind::InUse);
    }
    let needed = sharing::needed_elsewhere(&server.root.join("one")).unwrap();
    assert!(needed.contains(&base) && needed.contains(&base.with_file_name("vm-flat.vmdk")), "{needed:?}");
    assert_eq!(sharing::needed_elsewhere(&top).unwrap(), Vec::<PathBuf>::new());
    // With the last of them the link is the parent's alone again.
    for place in ["one/linked/linked.vmdk", "two/linked/linked.vmdk"] {
        sim_store::delete(&server.file(place)).unwrap();
    }
    assert!(snapshot::needs_consolidation(&top, &[]).unwrap());
    let wanted = content(&top);
    snapshot::consolidate(&top, &[], &mut |_, _| {}).unwrap();
    assert_eq!(content(&base), wanted);
}

#[test]
fn links_are_copied_one_by_one_with_what_they_hold_and_track() {
    let (server, base, top) = Server::new();
    tracking::enable(&top, None).unwrap();
    let id = tracking::change_id(&top).unwrap().unwrap();
    let live = snapshot::create(&top).unwrap().child;
    write(open(&live), 1 << 20, 3);
    let (to_base, to_top, to_live) = (
        server.file("two/moved/moved.vmdk"),
        server.file("two/moved/moved-000001.vmdk"),
        server.file("two/moved/moved-000002.vmdk"),
    );
    let plain = Copy { parent: None, uuid: None, tracked: true };
    assert!(elsewhere::copy_link(&base, &to_base, plain, &mut quiet).unwrap().is_continue());
    for (from, to, parent) in [(&top, &to_top, &to_base), (&live, &to_live, &to_top)] {
        let over = Copy { parent: Some(parent), ..plain };
        assert!(elsewhere::copy_link(from, to, over, &mut quiet).unwrap().is_continue());
        assert_eq!(content(to), content(from));
        assert_eq!(Descriptor::load(to).unwrap().cid, Descriptor::load(from).unwrap().cid);
        let alone = |path: &Path| {
            let disk = Disk::open(path, Access::ReadOnly, Scope::TopLink).unwrap();
            disk.allocated(0, CAPACITY).unwrap()
        };
        assert_eq!(alone(to), alone(from));
    }
    let since = |path: &Path| tracking::query(path, &id.to_string(), 0, 100).unwrap();
    assert_eq!(since(&to_live), since(&live));
    // Only the top one, over what stays where it is, under a new uuid and without the map.
    let alone = server.file("two/alone/alone.vmdk");
    let uuid = DiskUuid::random().unwrap();
    let over = Copy { parent: Some(&top), uuid: Some(uuid), tracked: false };
    assert!(elsewhere::copy_link(&live, &alone, over, &mut quiet).unwrap().is_continue());
    assert_eq!(content(&alone), content(&live));
    let opened = Disk::open(&alone, Access::ReadOnly, Scope::WholeChain).unwrap();
    assert_eq!(opened.uuid().unwrap(), uuid);
    assert_eq!(sharing::children(&top).unwrap(), std::slice::from_ref(&alone));
    let refused = elsewhere::copy_link(&live, &alone, over, &mut quiet).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
    let wrong = Copy { parent: None, ..over };
    let refused = elsewhere::copy_link(&live, &server.file("two/x/x.vmdk"), wrong, &mut quiet).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    let broken =
        elsewhere::copy_link(&base, &server.file("two/y/y.vmdk"), plain, &mut |_, _| ControlFlow::Break(()));
    assert!(broken.unwrap().is_break());
    Space::set_limit(&server.root.join("two"), Some(200 << 10)).unwrap();
    let full = elsewhere::copy_link(&base, &server.file("two/z/z.vmdk"), plain, &mut quiet).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::NoSpace);
}

#[test]
fn a_list_says_no_more_than_is_true() {
    let (server, base, _) = Server::new();
    let child = server.file("one/linked/linked.vmdk");
    sharing::add(&base, &child).unwrap();
    assert_eq!(sharing::children(&base).unwrap(), Vec::<PathBuf>::new(), "it was never made");
    elsewhere::create_child(&base, &child, DiskUuid::random().unwrap()).unwrap();
    sharing::leave(&base).unwrap();
    assert!(sharing::is_left(&base).unwrap());
    assert_eq!(sharing::children(&base).unwrap(), std::slice::from_ref(&child));
    // A disk of that name which stands on nothing.
    sim_store::delete(&child).unwrap();
    drop(Disk::create(&child, &DiskSpec::thin(CAPACITY)).unwrap());
    assert_eq!(sharing::children(&base).unwrap(), Vec::<PathBuf>::new());
    fs::write(sharing::list_of(&base), "/vmfs/volumes/../../etc/passwd\nx\n").unwrap();
    assert_eq!(sharing::children(&base).unwrap(), Vec::<PathBuf>::new());
}
