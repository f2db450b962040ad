//! Machines whose disks stand on those of others.

use std::collections::BTreeSet;

use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};
use vsphere_sim::{DiskSpec, Sim, VmSpec};

use crate::relocation::{backings, datastore, files, snapshot, two_datastores, write};
use crate::{MIB, folder, log_in, machine};

const CHILD: &str = "createNewChildDiskBacking";

pub async fn clone_as(
    client: &Client,
    of: &mo::VirtualMachine,
    name: &str,
    way: &str,
    snapshot: Option<&MoRef<mo::VirtualMachineSnapshot>>,
    datastore: Option<MoRef<mo::Datastore>>,
) -> Result<mo::VirtualMachine, vim_api::Error> {
    let location = t::VirtualMachineRelocateSpec {
        disk_move_type: Some(way.to_owned()),
        datastore,
        ..Default::default()
    };
    let spec = t::VirtualMachineCloneSpec { location, snapshot: snapshot.cloned(), ..Default::default() };
    let made = of.clone_vm_task(&MoRef::new("group-v3"), name, &spec).await?.wait().await?;
    Ok(client.bind(&made))
}

async fn source() -> (Sim, Client, mo::VirtualMachine, MoRef<mo::VirtualMachineSnapshot>) {
    let sim = two_datastores().vm(VmSpec::new("vm-1")
        .disk(DiskSpec::empty(64 * MIB))
        .disk(DiskSpec::empty(MIB))
        .cbt()
        .powered_off());
    let sim = sim.start().await.unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    write(&sim, "vm-1", MIB, 1);
    let taken = snapshot(&vm, "of the clones").await;
    write(&sim, "vm-1", 2 * MIB, 2);
    (sim, client, vm, taken)
}

#[tokio::test]
async fn a_linked_clone_is_what_its_source_was_at_a_snapshot() {
    let (sim, client, vm, taken) = source().await;
    let refused = clone_as(&client, &vm, "no", CHILD, None, None).await.err().unwrap();
    let fault = refused.fault::<t::InvalidArgument>().unwrap_or_else(|| panic!("{refused}"));
    assert_eq!(fault.invalid_property.as_deref(), Some("spec.snapshot"));
    let refused = clone_as(&client, &vm, "no", "anyhow", Some(&taken), None).await.err().unwrap();
    assert!(refused.fault::<t::InvalidArgument>().is_some(), "{refused}");

    let then = sim.vm("vm-1").unwrap().disk_sha256(2000, Some(taken.value())).unwrap();
    let cookie = folder::session(&sim).await;
    for store in ["datastore1", "datastore2"] {
        let at = datastore(&client, store).await;
        let name = format!("linked-{store}");
        let clone = clone_as(&client, &vm, &name, CHILD, Some(&taken), Some(at.clone())).await.unwrap();
        let handle = sim.vm(&name).unwrap();
        assert_eq!(handle.disk_sha256(2000, None).unwrap(), then);
        let config = clone.require(mo::VirtualMachine::CONFIG).await.unwrap();
        let disks = backings(&config);
        assert_eq!(disks[&2000].base.file_name, format!("[{store}] {name}/{name}.vmdk"));
        assert_eq!(disks[&2001].base.file_name, format!("[{store}] {name}/{name}_1.vmdk"));
        assert_eq!(disks[&2000].base.datastore.as_ref(), Some(&at));
        let parent = disks[&2000].parent.as_ref().unwrap();
        assert_eq!(parent.base.file_name, "[datastore1] vm-1/vm-1.vmdk");
        assert_eq!(parent.base.datastore, Some(datastore(&client, "datastore1").await));
        let of_source = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
        assert_ne!(disks[&2000].uuid, backings(&of_source)[&2000].uuid);

        // What the layout names is there under that name, for /folder too, and the links of the disks are in it.
        let layout = clone.require(mo::VirtualMachine::LAYOUT_EX).await.unwrap();
        let named: BTreeSet<&str> = layout.file.iter().map(|file| file.name.as_str()).collect();
        for link in [&disks[&2000].base.file_name, &disks[&2001].base.file_name, &parent.base.file_name] {
            assert!(named.contains(link.as_str()), "{link} of {named:?}");
        }
        for disk in &layout.disk {
            assert_eq!(disk.chain.len(), 2, "{disk:?}");
            let of = |at: usize| {
                let key = disk.chain[at].file_key[0];
                layout.file.iter().find(|file| file.key == key).unwrap().name.clone()
            };
            assert_eq!(of(1), disks[&disk.key].base.file_name);
            assert_eq!(of(0), disks[&disk.key].parent.as_ref().unwrap().base.file_name);
        }
        for name in named {
            let (store, path) = name.strip_prefix('[').unwrap().split_once("] ").unwrap();
            let url = format!("/folder/{path}?dcPath=DC0&dsName={store}");
            let answer = folder::ask(&sim, "HEAD", &url, &cookie, b"").await;
            assert_eq!(answer.status, 200, "{name}");
        }
        let url = format!("/folder/{name}/{name}.vmdk?dcPath=DC0&dsName={store}");
        let descriptor = folder::ask(&sim, "GET", &url, &cookie, b"").await;
        let hint = descriptor.text().lines().find(|line| line.starts_with("parentFileNameHint")).unwrap();
        assert!(hint.contains("=\"/vmfs/volumes/") && hint.ends_with("/vm-1/vm-1.vmdk\""), "{hint}");
        let both = [datastore(&client, "datastore1").await, at.clone()];
        let uses = clone.require(mo::VirtualMachine::DATASTORE).await.unwrap();
        let ids = |all: &[MoRef<mo::Datastore>]| {
            all.iter().map(|one| one.value().to_owned()).collect::<BTreeSet<_>>()
        };
        assert_eq!(ids(&uses), ids(&both));

        // It goes its own way.
        write(&sim, &name, 0, 9);
        assert_ne!(handle.disk_sha256(2000, None).unwrap(), then);
        assert_eq!(sim.vm("vm-1").unwrap().disk_sha256(2000, Some(taken.value())).unwrap(), then);
    }
}

#[tokio::test]
async fn changes_of_a_linked_clone_are_tracked_by_another_uuid() {
    let (sim, client, vm, taken) = source().await;
    let clone = clone_as(&client, &vm, "linked", CHILD, Some(&taken), None).await.unwrap();
    let id_of = async |snapshot: &MoRef<mo::VirtualMachineSnapshot>| {
        let config = client.bind(snapshot).require(mo::VirtualMachineSnapshot::CONFIG).await.unwrap();
        backings(&config)[&2000].change_id.clone()
    };
    let of_source = id_of(&taken).await.unwrap();
    let refused = clone.query_changed_disk_areas(None, 2000, 0, &of_source).await.unwrap_err();
    assert!(refused.fault::<t::FileFault>().is_some(), "{refused}");
    let on = t::VirtualMachineConfigSpec { change_tracking_enabled: Some(true), ..Default::default() };
    clone.reconfig_vm_task(&on).await.unwrap().wait().await.unwrap();
    // It takes effect when a snapshot is taken, and the next one carries ids.
    snapshot(&clone, "first").await;
    let first = snapshot(&clone, "second").await;
    let id = id_of(&first).await.unwrap();
    assert_ne!(id.split('/').next(), of_source.split('/').next());
    let refused = clone.query_changed_disk_areas(None, 2000, 0, &of_source).await.unwrap_err();
    assert!(refused.fault::<t::FileFault>().is_some(), "{refused}");
    write(&sim, "linked", 3 * MIB, 3);
    let changed = clone.query_changed_disk_areas(None, 2000, 0, &id).await.unwrap();
    let areas: Vec<_> = changed.changed_area.iter().map(|area| (area.start, area.length)).collect();
    assert_eq!(areas, [(3 * MIB as i64, 64 << 10)]);
    // What is allocated is so on any link.
    let all = clone.query_changed_disk_areas(None, 2000, 0, "*").await.unwrap();
    for at in [MIB, 3 * MIB] {
        let at = at as i64;
        assert!(
            all.changed_area.iter().any(|area| area.start <= at && at < area.start + area.length),
            "{all:?}"
        );
    }
    assert_eq!(all.length, 64 * MIB as i64);
}

#[tokio::test]
async fn what_a_linked_clone_stands_on_outlives_its_owner() {
    let data = tempfile::tempdir().unwrap();
    let builder = || {
        let spec = VmSpec::new("vm-1").disk(DiskSpec::empty(4 * MIB)).cbt().powered_off();
        two_datastores().data_dir(data.path()).vm(spec)
    };
    let sim = builder().start().await.unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    write(&sim, "vm-1", MIB, 1);
    let taken = snapshot(&vm, "of the clones").await;
    write(&sim, "vm-1", 2 * MIB, 2);
    let one = clone_as(&client, &vm, "one", CHILD, Some(&taken), None).await.unwrap();
    let over_one = snapshot(&one, "of a clone").await;
    clone_as(&client, &one, "two", CHILD, Some(&over_one), None).await.unwrap();
    let then = sim.vm("one").unwrap().disk_sha256(2000, None).unwrap();
    // Neither as files nor as disks.
    let file = |path: &str| format!("[datastore1] {path}");
    let disks = client.datastore_disks("DC0");
    let base: vim_api::DatastorePath = file("vm-1/vm-1.vmdk").parse().unwrap();
    assert!(disks.delete(&base).await.is_err());
    let cookie = folder::session(&sim).await;
    for method in ["DELETE", "PUT"] {
        let url = folder::url("vm-1/vm-1-flat.vmdk");
        let answer = folder::ask(&sim, method, &url, &cookie, b"other bytes").await;
        assert!(answer.status >= 400, "{method}: {}", answer.status);
    }
    // Nor with the snapshot, nor with the machine.
    client.bind(&taken).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    assert_eq!(vm.require(mo::VirtualMachine::RUNTIME).await.unwrap().consolidation_needed, Some(false));
    vm.destroy_task().await.unwrap().wait().await.unwrap();
    let (one_name, two_name) = ("one", "two");
    assert_eq!(
        files(&sim, "datastore1", "vm-1"),
        [".vm-1.vmdk.children", "vm-1-ctk.vmdk", "vm-1-flat.vmdk", "vm-1.vmdk"]
    );
    drop((client, vm, one, sim));
    let sim = builder().start().await.unwrap();
    let client = log_in(&sim).await;
    let bind = |name: &str| -> mo::VirtualMachine { client.bind(&sim.vm(name).unwrap().moref()) };
    for name in [one_name, two_name] {
        assert_eq!(sim.vm(name).unwrap().disk_sha256(2000, None).unwrap(), then);
    }
    bind(one_name).destroy_task().await.unwrap().wait().await.unwrap();
    assert_eq!(sim.vm(two_name).unwrap().disk_sha256(2000, None).unwrap(), then);
    bind(two_name).destroy_task().await.unwrap().wait().await.unwrap();
    for folder in ["one", "two"] {
        assert!(!folder::on_host(&sim, folder).exists(), "{folder}: {:?}", files(&sim, "datastore1", folder));
    }
    // The new start has made another machine of that name, in another folder.
    assert!(!folder::on_host(&sim, "vm-1/vm-1.vmdk").exists(), "{:?}", files(&sim, "datastore1", "vm-1"));
}

#[tokio::test]
async fn a_source_merges_when_the_last_clone_is_gone() {
    let (sim, client, vm, taken) = source().await;
    let live = sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap();
    let clone = clone_as(&client, &vm, "linked", CHILD, Some(&taken), None).await.unwrap();
    client.bind(&taken).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    let needed =
        async || vm.require(mo::VirtualMachine::RUNTIME).await.unwrap().consolidation_needed.unwrap();
    assert!(!needed().await, "nothing can be merged under a clone");
    assert_eq!(sim.vm("vm-1").unwrap().disks().unwrap()[0].path, "[datastore1] vm-1/vm-1-000001.vmdk");
    // A clone of the clone's top, whose own snapshot is merged.
    write(&sim, "linked", 0, 7);
    let digest = sim.vm("linked").unwrap().disk_sha256(2000, None).unwrap();
    let own = snapshot(&clone, "its own").await;
    client.bind(&own).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    assert_eq!(sim.vm("linked").unwrap().disks().unwrap()[0].path, "[datastore1] linked/linked.vmdk");
    assert_eq!(sim.vm("linked").unwrap().disk_sha256(2000, None).unwrap(), digest);
    clone.destroy_task().await.unwrap().wait().await.unwrap();
    assert!(needed().await);
    vm.consolidate_vm_disks_task().await.unwrap().wait().await.unwrap();
    assert_eq!(sim.vm("vm-1").unwrap().disks().unwrap()[0].path, "[datastore1] vm-1/vm-1.vmdk");
    assert_eq!(sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap(), live);
    assert!(!needed().await);
    assert_eq!(files(&sim, "datastore1", "vm-1").iter().filter(|name| name.contains("-00000")).count(), 0);
}

#[tokio::test]
async fn links_are_shared_or_copied_as_the_way_says() {
    let (sim, client, vm, taken) = source().await;
    let live = sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap();
    let then = sim.vm("vm-1").unwrap().disk_sha256(2000, Some(taken.value())).unwrap();
    let parents = async |vm: &mo::VirtualMachine| {
        let config = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
        let top = &backings(&config)[&2000];
        let below = std::iter::successors(top.parent.as_deref(), |link| link.parent.as_deref());
        below.map(|link| link.base.file_name.clone()).collect::<Vec<_>>()
    };
    let base = "[datastore1] vm-1/vm-1.vmdk".to_owned();
    let here = datastore(&client, "datastore1").await;
    for (way, wanted) in [
        ("moveChildMostDiskBacking", vec![base.clone()]),
        ("moveAllDiskBackingsAndAllowSharing", vec![base]),
        ("moveAllDiskBackingsAndDisallowSharing", vec!["[datastore1] c2/c2.vmdk".to_owned()]),
        ("moveAllDiskBackingsAndConsolidate", vec![]),
    ]
    .into_iter()
    .enumerate()
    .map(|(at, (way, wanted))| ((at, way), wanted))
    {
        let name = format!("c{}", way.0);
        let clone = clone_as(&client, &vm, &name, way.1, None, Some(here.clone())).await.unwrap();
        assert_eq!(parents(&clone).await, wanted, "{}", way.1);
        assert_eq!(sim.vm(&name).unwrap().disk_sha256(2000, None).unwrap(), live);
    }
    // On another datastore there is nothing to share.
    let there = datastore(&client, "datastore2").await;
    let way = "moveAllDiskBackingsAndAllowSharing";
    let clone = clone_as(&client, &vm, "away", way, Some(&taken), Some(there)).await.unwrap();
    assert_eq!(parents(&clone).await, Vec::<String>::new());
    assert_eq!(sim.vm("away").unwrap().disk_sha256(2000, None).unwrap(), then);
}
