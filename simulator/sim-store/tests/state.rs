//! State files: round trips, logins, fault rules.

#![allow(clippy::unwrap_used, reason = "a failed test may panic, in its helpers too")]

use sim_store::state::rights::{DISK_LEASE, DISK_RANDOM_READ, UserRights};
use sim_store::state::{
    CookieHash, FaultCall, FaultEffect, FaultRule, FaultSet, FirstClassDiskRecord, FirstClassSnapshotRecord,
    Inventory, PasswordHash, ServerRecord, SessionRecord, SnapshotRecord, UserRecord, VmDisk, VmRecord,
    load_faults, store_faults,
};
use sim_store::{Datastore, DatastorePath, ErrorKind};

fn inventory(root: &std::path::Path) -> Inventory {
    let disk = |path: &str| vec![VmDisk { key: 2000, path: path.parse().unwrap() }];
    Inventory {
        server_uuid: "8f2c".to_owned(),
        users: vec![UserRecord { name: "backup".to_owned(), password: PasswordHash::new("secret").unwrap() }],
        rights: [(
            "backup".to_owned(),
            UserRights { elsewhere: [DISK_LEASE.to_owned()].into(), ..UserRights::all() },
        )]
        .into(),
        sessions: vec![SessionRecord { cookie: CookieHash::new("52ab").unwrap(), user: "backup".to_owned() }],
        datastores: vec![Datastore::new("ds", root).unwrap()],
        vms: vec![VmRecord {
            moref: "vm-101".to_owned(),
            instance_uuid: "5003".to_owned(),
            name: "übung".to_owned(),
            power_on: true,
            vmx: "[ds] vm/vm.vmx".parse().unwrap(),
            disks: disk("[ds] vm/vm-000001.vmdk"),
            snapshots: vec![SnapshotRecord {
                moref: "snapshot-102".to_owned(),
                disks: disk("[ds] vm/vm.vmdk"),
            }],
            disabled_methods: Vec::new(),
        }],
        disks: vec![FirstClassDiskRecord {
            id: "7-8".to_owned(),
            datastore: "datastore-11".to_owned(),
            path: "[ds] fcd/disk.vmdk".parse().unwrap(),
            snapshots: vec![FirstClassSnapshotRecord {
                id: "5-6".to_owned(),
                path: "[ds] fcd/disk.vmdk".parse().unwrap(),
            }],
        }],
    }
}

#[test]
fn inventory_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Inventory::load(folder.path()).unwrap_err().kind(), ErrorKind::NotFound);
    let written = inventory(folder.path());
    written.store(folder.path()).unwrap();
    let read = Inventory::load(folder.path()).unwrap();
    assert_eq!(read, written);
    assert!(
        read.allows("backup", "vm-101", DISK_LEASE) && !read.allows("backup", "vm-101", DISK_RANDOM_READ)
    );
    assert!(!read.allows("stranger", "vm-101", DISK_LEASE));
    let vm = read.vm("vm-101").unwrap();
    assert_eq!(vm.snapshot("snapshot-102").unwrap().disks[0].key, 2000);
    assert_eq!(read.vm_by_vmx(&vm.vmx).unwrap().name, "übung");
    assert!(read.resolve(&vm.disks[0].path).unwrap().ends_with("vm/vm-000001.vmdk"));
    assert_eq!(read.vm("vm-9").unwrap_err().kind(), ErrorKind::NotFound);
    let elsewhere = DatastorePath::new("other", "x").unwrap();
    assert_eq!(read.resolve(&elsewhere).unwrap_err().kind(), ErrorKind::NotFound);

    let text = std::fs::read_to_string(Inventory::path(folder.path())).unwrap();
    assert!(!text.contains("secret") && !text.contains("52ab"));
    std::fs::write(Inventory::path(folder.path()), &text[..text.len() / 2]).unwrap();
    assert_eq!(Inventory::load(folder.path()).unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::write(Inventory::path(folder.path()), text.replace("vm/vm.vmdk", "../vm.vmdk")).unwrap();
    assert_eq!(Inventory::load(folder.path()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn logins() {
    let inventory = inventory(std::path::Path::new("/"));
    assert_eq!(inventory.authenticate("backup", "secret").unwrap().name, "backup");
    for (user, password) in [("backup", "Secret"), ("backup", ""), ("nobody", "secret")] {
        assert_eq!(inventory.authenticate(user, password).unwrap_err().kind(), ErrorKind::Denied);
    }
    assert_eq!(inventory.session("52ab").unwrap().user, "backup");
    assert_eq!(inventory.session("52ac").unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(inventory.session("").unwrap_err().kind(), ErrorKind::Denied);
    assert_ne!(PasswordHash::new("a").unwrap(), PasswordHash::new("a").unwrap(), "salted");
}

#[test]
fn servers_are_found_by_host_and_port() {
    let kit = tempfile::tempdir().unwrap();
    let record = ServerRecord {
        data_dir: "/data".into(),
        thumbprint_sha1: "AA:BB".to_owned(),
        thumbprint_sha256: "CC:DD".to_owned(),
    };
    for host in ["127.0.0.1", "::1", "../../etc", "Host-1.example"] {
        record.store(kit.path(), host, 443).unwrap();
        assert_eq!(ServerRecord::load(kit.path(), host, 443).unwrap(), record);
        assert_eq!(ServerRecord::load(kit.path(), host, 444).unwrap_err().kind(), ErrorKind::NotFound);
        ServerRecord::remove(kit.path(), host, 443).unwrap();
        ServerRecord::remove(kit.path(), host, 443).unwrap();
    }
    assert_eq!(std::fs::read_dir(kit.path().join("servers")).unwrap().count(), 0);
}

#[test]
fn faults_strike_as_often_as_asked() {
    let data = tempfile::tempdir().unwrap();
    let faults = FaultSet::new(data.path());
    let check =
        |function: &str, object: &str| faults.check(&FaultCall { function, object, ..FaultCall::default() });
    assert_eq!(check("Read", "x").unwrap(), None);
    let rule = |function: &str| FaultRule { function: function.to_owned(), code: 13, ..FaultRule::default() };
    let rules = [
        FaultRule { object: Some("vm_1".to_owned()), nth: Some(2), partial: true, ..rule("Read") },
        FaultRule { nth: Some(2), count: Some(2), delay_ms: Some(5), ..rule("Open") },
        rule("ConnectEx"),
    ];
    store_faults(data.path(), &rules).unwrap();
    assert_eq!(load_faults(data.path()).unwrap(), rules);
    let struck = |function: &str, object: &str, times: usize| -> Vec<bool> {
        (0..times).map(|_| check(function, object).unwrap().is_some()).collect()
    };
    assert_eq!(struck("Read", "[ds] vm/vm.vmdk", 3), [false; 3]);
    assert_eq!(struck("Read", "[ds] vm/vm_1.vmdk", 3), [false, true, false]);
    assert_eq!(struck("Open", "", 4), [false, true, true, false]);
    assert_eq!(struck("ConnectEx", "", 3), [true; 3]);
    // A new file starts the counts again.
    store_faults(data.path(), &rules).unwrap();
    assert_eq!(check("Open", "").unwrap(), None);
    assert_eq!(check("Open", "").unwrap().as_ref(), Some(&rules[1]));
    std::fs::write(data.path().join("faults.json"), r#"[{"function": "Read", "cod": 1}]"#).unwrap();
    assert_eq!(check("Read", "").unwrap_err().kind(), ErrorKind::Corrupt);
    std::fs::remove_file(data.path().join("faults.json")).unwrap();
    assert_eq!(check("ConnectEx", "").unwrap(), None);
}

#[test]
fn faults_of_size_and_number_strike_above_their_bounds_alone() {
    let data = tempfile::tempdir().unwrap();
    let faults = FaultSet::new(data.path());
    let rules = [
        FaultRule {
            function: "Read".to_owned(),
            above_bytes: Some(4096),
            nth: Some(2),
            ..FaultRule::default()
        },
        FaultRule {
            function: "Open".to_owned(),
            above_open: Some(3),
            effect: Some(FaultEffect::NfcMemory),
            ..FaultRule::default()
        },
    ];
    store_faults(data.path(), &rules).unwrap();
    let struck = |function: &str, bytes, open| {
        faults.check(&FaultCall { function, object: "", bytes, open }).unwrap().is_some()
    };
    // Those that are not above the bound don't count either.
    assert_eq!(
        [4097, 4096, 4096, 5000, 5000].map(|bytes| struck("Read", bytes, 1)),
        [false, false, false, true, false]
    );
    assert_eq!([1, 3, 4].map(|open| struck("Open", 0, open)), [false, false, true]);
    let text = std::fs::read_to_string(data.path().join("faults.json")).unwrap();
    assert!(text.contains("\"effect\": \"nfc_memory\""), "{text}");
}
