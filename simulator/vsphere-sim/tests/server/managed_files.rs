//! Files and disks that the server itself makes, copies, moves and deletes.

use std::path::PathBuf;

use vim_api::types::{self as t, VirtualDiskAdapterType, VirtualDiskType};
use vim_api::{DatastorePath, DiskUuid, Error, ErrorKind, IfExists};
use vsphere_sim::{FaultRule, Sim};

use crate::{MIB, log_in, start};

fn path(text: &str) -> DatastorePath {
    DatastorePath::new("datastore1", text).unwrap()
}

/// Where a file of the datastore is on this machine.
fn on_host(sim: &Sim, text: &str) -> PathBuf {
    sim.data_dir().join("datastores/datastore1").join(text)
}

fn is_there_already(error: &Error) -> bool {
    error.fault::<t::FileAlreadyExists>().is_some() && !error.is_not_found()
}

#[tokio::test]
async fn files_and_folders_are_made_copied_moved_and_deleted() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let files = client.datastore_files("/DC0");
    files.make_directory(&path("recovery/configs")).await.unwrap();
    assert!(on_host(&sim, "recovery/configs").is_dir());
    let again = files.make_directory(&path("recovery/configs")).await.unwrap_err();
    assert!(is_there_already(&again), "{again}");
    assert!(again.to_string().starts_with("making the folder [datastore1] recovery/configs: "), "{again}");

    std::fs::write(on_host(&sim, "recovery/configs/a.vmx"), "new").unwrap();
    std::fs::write(on_host(&sim, "recovery/b.vmx"), "old").unwrap();
    let (a, b) = (path("recovery/configs/a.vmx"), path("recovery/b.vmx"));
    for kept in [
        files.copy(&a, &b, IfExists::Fail).await.unwrap_err(),
        files.move_to(&a, &b, IfExists::Fail).await.unwrap_err(),
    ] {
        assert!(is_there_already(&kept), "{kept}");
        assert!(
            kept.to_string().contains("[datastore1] recovery/configs/a.vmx to [datastore1] recovery/b.vmx: ")
        );
    }
    assert_eq!(std::fs::read_to_string(on_host(&sim, "recovery/b.vmx")).unwrap(), "old");
    files.copy(&a, &b, IfExists::Replace).await.unwrap();
    assert_eq!(std::fs::read_to_string(on_host(&sim, "recovery/b.vmx")).unwrap(), "new");
    assert!(on_host(&sim, "recovery/configs/a.vmx").exists());

    files.copy(&path("recovery"), &path("copy"), IfExists::Fail).await.unwrap();
    assert_eq!(std::fs::read_to_string(on_host(&sim, "copy/configs/a.vmx")).unwrap(), "new");
    files.move_to(&path("copy/configs"), &path("moved"), IfExists::Fail).await.unwrap();
    assert!(on_host(&sim, "moved/a.vmx").exists() && !on_host(&sim, "copy/configs").exists());
    files.delete(&path("recovery")).await.unwrap();
    assert!(!on_host(&sim, "recovery").exists());
}

#[tokio::test]
async fn what_is_not_there_and_what_is_too_much_is_said_so() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let files = client.datastore_files("DC0");
    for missing in [
        files.delete(&path("nothing/here.vmx")).await.unwrap_err(),
        files.move_to(&path("nothing/here.vmx"), &path("x"), IfExists::Replace).await.unwrap_err(),
        client.datastore_disks("DC0").delete(&path("nothing/here.vmx.vmdk")).await.unwrap_err(),
        client.datastore_disks("DC0").uuid(&path("nothing/here.vmx.vmdk")).await.unwrap_err(),
    ] {
        assert!(missing.is_not_found() && missing.fault::<t::FileNotFound>().is_some(), "{missing}");
        assert!(missing.to_string().contains("[datastore1] nothing/here.vmx"), "{missing}");
    }
    let whole = files.delete(&path("")).await.unwrap_err();
    assert_eq!(whole.kind(), ErrorKind::InvalidInput);
    assert!(whole.to_string().contains("[datastore1] is a whole datastore"), "{whole}");
    assert!(on_host(&sim, "vm-1/vm-1.vmx").exists());

    let nowhere = client.datastore_files("DC9").delete(&path("vm-1")).await.unwrap_err();
    assert!(nowhere.is_not_found(), "{nowhere}");
    assert!(
        nowhere.to_string().contains("deleting [datastore1] vm-1: there is no datacenter \"DC9\""),
        "{nowhere}"
    );
    let elsewhere = DatastorePath::new("san-7", "x").unwrap();
    let unknown = files.make_directory(&elsewhere).await.unwrap_err();
    assert!(unknown.fault::<t::InvalidDatastore>().is_some() && !unknown.is_not_found(), "{unknown}");

    // A machine that is on keeps its files, and a task that fails takes its time to say so.
    let used = files.delete(&path("vm-1")).await.unwrap_err();
    assert!(used.fault::<t::FileLocked>().is_some(), "{used}");
    sim.add_fault(FaultRule::task("DeleteDatastoreFile_Task", "NoPermission", 40)).unwrap();
    let denied = files.delete(&path("vm-1")).await.unwrap_err();
    assert!(denied.fault::<t::NoPermission>().is_some(), "{denied}");
}

#[tokio::test]
async fn a_disk_is_made_filled_copied_moved_extended_and_deleted() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let disks = client.datastore_disks("DC0");
    client.datastore_files("DC0").make_directory(&path("dr")).await.unwrap();
    let (thin, thick) = (path("dr/thin.vmdk"), path("dr/thick.vmdk"));
    let lsi = VirtualDiskAdapterType::LsiLogic;
    disks.create(&thin, 64 * MIB, VirtualDiskType::Thin, lsi.clone()).await.unwrap();
    disks.create(&thick, MIB, VirtualDiskType::EagerZeroedThick, VirtualDiskAdapterType::Ide).await.unwrap();
    let open = |name: &str, access| {
        sim_store::Disk::open(on_host(&sim, name), access, sim_store::Scope::WholeChain).unwrap()
    };
    let made = open("dr/thick.vmdk", sim_store::Access::ReadOnly);
    assert_eq!(made.provisioning(), sim_store::Provisioning::EagerThick);
    assert_eq!((made.capacity(), made.metadata("adapterType").unwrap().as_str()), (MIB, "ide"));
    open("dr/thin.vmdk", sim_store::Access::ReadWrite).write_at(5 * MIB, b"restored").unwrap();
    let there = disks.create(&thin, MIB, VirtualDiskType::Thin, lsi.clone()).await.unwrap_err();
    assert!(is_there_already(&there), "{there}");

    let uuid: DiskUuid = "6000c293-7ba0-3a03-9f22-56c52993b727".parse().unwrap();
    assert_ne!(disks.uuid(&thin).await.unwrap(), uuid);
    disks.set_uuid(&thin, uuid).await.unwrap();
    assert_eq!(disks.uuid(&thin).await.unwrap(), uuid);

    let copy = path("dr/copy.vmdk");
    disks.copy(&thin, &copy, IfExists::Fail).await.unwrap();
    assert!(is_there_already(&disks.copy(&thick, &copy, IfExists::Fail).await.unwrap_err()));
    let moved = path("dr/moved.vmdk");
    disks.move_to(&copy, &moved, IfExists::Fail).await.unwrap();
    assert!(disks.uuid(&copy).await.unwrap_err().is_not_found());
    disks.extend(&moved, 96 * MIB).await.unwrap();
    let mut bytes = [0; 8];
    let grown = open("dr/moved.vmdk", sim_store::Access::ReadOnly);
    grown.read_at(5 * MIB, &mut bytes).unwrap();
    assert_eq!((grown.capacity(), &bytes), (96 * MIB, b"restored"));
    let smaller = disks.extend(&moved, MIB).await.unwrap_err();
    assert!(smaller.fault::<t::InvalidArgument>().is_some(), "{smaller}");
    for no_capacity in [0, 1000, u64::MAX] {
        let refused = disks.create(&path("x.vmdk"), no_capacity, VirtualDiskType::Thin, lsi.clone()).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(
            refused.to_string().contains("[datastore1] x.vmdk: ") && refused.to_string().contains("1024"),
            "{refused}"
        );
    }
    disks.delete(&moved).await.unwrap();
    assert!(!on_host(&sim, "dr/moved.vmdk").exists() && !on_host(&sim, "dr/moved-flat.vmdk").exists());
}
