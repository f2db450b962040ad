//! Machines that move to other datastores, with their snapshots, or only with some of their disks.

use std::collections::BTreeMap;

use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};
use vsphere_sim::{Builder, DatastoreSpec, DiskSpec, FaultRule, Sim, Topology, TrackingRules, VmSpec};

use crate::linked_clones::clone_as;
use crate::{MIB, log_in, machine};

/// For a simulator with two datastores.
pub fn two_datastores() -> Builder {
    Sim::builder().topology(Topology { datastores: 2, ..Topology::default() })
}

pub async fn snapshot(vm: &mo::VirtualMachine, name: &str) -> MoRef<mo::VirtualMachineSnapshot> {
    vm.create_snapshot_task(name, None, false, false).await.unwrap().wait().await.unwrap()
}

pub fn write(sim: &Sim, vm: &str, offset: u64, byte: u8) {
    let vm = sim.vm(vm).unwrap();
    vm.with_live_disk(2000, |disk| disk.write_at(offset, &[byte; 4096])).unwrap().unwrap();
}

pub async fn datastore(client: &Client, name: &str) -> MoRef<mo::Datastore> {
    client.find_one::<mo::Datastore>(&format!("/DC0/datastore/{name}")).await.unwrap().object
}

/// The backings of a configuration's disks, by device key.
pub fn backings(config: &t::VirtualMachineConfigInfo) -> BTreeMap<i32, t::VirtualDiskFlatVer2BackingInfo> {
    let disks = config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    let backing =
        |disk: &t::VirtualDisk| disk.base.backing.as_ref().unwrap().downcast_ref().cloned().unwrap();
    disks.map(|disk| (disk.base.key, backing(disk))).collect()
}

/// All files in a folder of a datastore, hidden ones too, sorted.
pub fn files(sim: &Sim, datastore: &str, folder: &str) -> Vec<String> {
    let path = sim.data_dir().join("datastores").join(datastore).join(folder);
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn relocate(
    vm: &mo::VirtualMachine,
    datastore: Option<&MoRef<mo::Datastore>>,
    way: Option<&str>,
    disks: &[(i32, &MoRef<mo::Datastore>)],
) -> Result<(), vim_api::Error> {
    let locator =
        |(key, datastore): &(i32, &MoRef<mo::Datastore>)| t::VirtualMachineRelocateSpecDiskLocator {
            disk_id: *key,
            datastore: (*datastore).clone(),
            ..Default::default()
        };
    let spec = t::VirtualMachineRelocateSpec {
        datastore: datastore.cloned(),
        disk_move_type: way.map(str::to_owned),
        disk: disks.iter().map(locator).collect(),
        ..Default::default()
    };
    vm.relocate_vm_task(&spec, None).await?.wait().await
}

async fn begin(rules: TrackingRules) -> (Sim, Client, mo::VirtualMachine) {
    let spec =
        VmSpec::new("vm-1").disk(DiskSpec::empty(16 * MIB)).disk(DiskSpec::empty(MIB)).cbt().powered_off();
    let sim = two_datastores().tracking(rules).vm(spec).start().await.unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    (sim, client, vm)
}

/// A tree of snapshots: `two` over `one`, and `three` beside it, which is current.
async fn tree(sim: &Sim, client: &Client, vm: &mo::VirtualMachine) -> Vec<MoRef<mo::VirtualMachineSnapshot>> {
    write(sim, "vm-1", 0, 1);
    let one = snapshot(vm, "one").await;
    write(sim, "vm-1", MIB, 2);
    let two = snapshot(vm, "two").await;
    client.bind(&one).revert_to_snapshot_task(None, None).await.unwrap().wait().await.unwrap();
    write(sim, "vm-1", 2 * MIB, 3);
    let three = snapshot(vm, "three").await;
    write(sim, "vm-1", 3 * MIB, 4);
    vec![one, two, three]
}

fn contents(sim: &Sim, snapshots: &[MoRef<mo::VirtualMachineSnapshot>]) -> Vec<String> {
    let vm = sim.vm("vm-1").unwrap();
    let of = |snapshot: Option<&str>| vm.disk_sha256(2000, snapshot).unwrap();
    let mut all: Vec<String> = snapshots.iter().map(|snapshot| of(Some(snapshot.value()))).collect();
    all.push(of(None));
    all
}

#[tokio::test]
async fn snapshots_go_with_their_machine_and_change_ids_by_the_rules() {
    for (on, renewed) in [(false, true), (false, false), (true, true)] {
        let rules = TrackingRules { renewed_by_relocation: renewed, ..TrackingRules::default() };
        let (sim, client, vm) = begin(rules).await;
        let snapshots = tree(&sim, &client, &vm).await;
        if on {
            vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
        } else if vm.require(mo::VirtualMachine::RUNTIME.power_state()).await.unwrap()
            == t::VirtualMachinePowerState::PoweredOn
        {
            vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
        }
        let before = contents(&sim, &snapshots);
        let config_of = async |at: usize| {
            client.bind(&snapshots[at]).require(mo::VirtualMachineSnapshot::CONFIG).await.unwrap()
        };
        let id = backings(&config_of(2).await)[&2000].change_id.clone().unwrap();
        let allocated =
            |at: usize| sim.vm("vm-1").unwrap().disk_allocated(2000, Some(snapshots[at].value())).unwrap();
        let areas = [allocated(0), allocated(1), allocated(2)];

        let there = datastore(&client, "datastore2").await;
        relocate(&vm, Some(&there), None, &[]).await.unwrap();
        assert_eq!(contents(&sim, &snapshots), before);
        assert_eq!([allocated(0), allocated(1), allocated(2)], areas, "link by link");
        assert_eq!(files(&sim, "datastore1", "vm-1"), Vec::<String>::new());
        assert_eq!(vm.require(mo::VirtualMachine::DATASTORE).await.unwrap(), [there]);
        let now = files(&sim, "datastore2", "vm-1");
        for wanted in ["vm-1-Snapshot1.vmsn", "vm-1-Snapshot3.vmsn", "vm-1.vmx", "vm-1.vmsd", "vm-1.vmdk"] {
            assert!(now.contains(&wanted.to_owned()), "{wanted} of {now:?}");
        }
        for at in 0..3 {
            let config = config_of(at).await;
            assert_eq!(config.files.vm_path_name.as_deref(), Some("[datastore2] vm-1/vm-1.vmx"));
            for backing in backings(&config).values() {
                let links = std::iter::successors(Some(backing), |link| link.parent.as_deref());
                for link in links {
                    let path: &str = &link.base.file_name;
                    let name = path.strip_prefix("[datastore2] vm-1/").unwrap_or_else(|| panic!("{path}"));
                    assert!(now.contains(&name.to_owned()), "{path}");
                }
            }
        }
        let kept = on || !renewed;
        assert_eq!(backings(&config_of(2).await)[&2000].change_id.is_some(), kept);
        let now = if on { Some(snapshot(&vm, "after the move").await) } else { None };
        let asked = vm.query_changed_disk_areas(now.as_ref(), 2000, 0, &id).await;
        match kept {
            true => {
                let changed = asked.unwrap().changed_area;
                let areas: Vec<_> = changed.iter().map(|area| (area.start, area.length)).collect();
                assert_eq!(areas, [(3 * MIB as i64, 64 << 10)]);
            }
            false => assert!(asked.unwrap_err().fault::<t::FileFault>().is_some()),
        }
        // The chain is as good as before.
        let last = before.last().unwrap();
        vm.remove_all_snapshots_task(None, None).await.unwrap().wait().await.unwrap();
        assert_eq!(&sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap(), last);
        let left = files(&sim, "datastore2", "vm-1");
        assert!(!left.iter().any(|name| name.contains("-00000") || name.contains("Snapshot")), "{left:?}");
        if on {
            vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
        }
        vm.destroy_task().await.unwrap().wait().await.unwrap();
        assert_eq!(files(&sim, "datastore2", ""), Vec::<String>::new());
    }
}

#[tokio::test]
async fn disks_go_alone() {
    let (sim, client, vm) = begin(TrackingRules::default()).await;
    let snapshots = tree(&sim, &client, &vm).await;
    let before = contents(&sim, &snapshots);
    let (here, there) = (datastore(&client, "datastore1").await, datastore(&client, "datastore2").await);
    let refused = relocate(&vm, None, None, &[(2009, &there)]).await.unwrap_err();
    assert!(refused.fault::<t::InvalidArgument>().is_some(), "{refused}");
    relocate(&vm, None, None, &[(2000, &there)]).await.unwrap();
    let config = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
    assert_eq!(config.files.vm_path_name.as_deref(), Some("[datastore1] vm-1/vm-1.vmx"));
    let disks = backings(&config);
    assert!(disks[&2000].base.file_name.starts_with("[datastore2] vm-1/"), "{}", disks[&2000].base.file_name);
    assert!(disks[&2001].base.file_name.starts_with("[datastore1] vm-1/"), "{}", disks[&2001].base.file_name);
    assert_eq!(contents(&sim, &snapshots), before);
    let uses = vm.require(mo::VirtualMachine::DATASTORE).await.unwrap();
    assert_eq!(uses.len(), 2, "{uses:?}");
    let usage = vm.require(mo::VirtualMachine::STORAGE).await.unwrap().per_datastore_usage;
    assert!(usage.len() == 2 && usage.iter().all(|usage| usage.committed > 0), "{usage:?}");
    // The other way round: the machine goes, and one disk is to be where it is.
    relocate(&vm, Some(&there), None, &[(2001, &here)]).await.unwrap();
    let config = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
    assert_eq!(config.files.vm_path_name.as_deref().unwrap().split(']').next(), Some("[datastore2"));
    assert!(backings(&config)[&2001].base.file_name.starts_with("[datastore1] "));
    assert_eq!(contents(&sim, &snapshots), before);
    // And all in one place again.
    relocate(&vm, Some(&here), None, &[]).await.unwrap();
    assert_eq!(vm.require(mo::VirtualMachine::DATASTORE).await.unwrap(), [here]);
    assert_eq!(contents(&sim, &snapshots), before);
    assert_eq!(files(&sim, "datastore2", ""), Vec::<String>::new());
    vm.destroy_task().await.unwrap().wait().await.unwrap();
    assert_eq!(files(&sim, "datastore1", ""), Vec::<String>::new());
}

#[tokio::test]
async fn only_the_top_link_goes_and_a_child_is_put_over_all() {
    for way in ["moveChildMostDiskBacking", "createNewChildDiskBacking"] {
        let (sim, client, vm) = begin(TrackingRules::default()).await;
        let snapshots = tree(&sim, &client, &vm).await;
        let before = contents(&sim, &snapshots);
        let there = datastore(&client, "datastore2").await;
        relocate(&vm, Some(&there), Some(way), &[]).await.unwrap();
        assert_eq!(contents(&sim, &snapshots), before);
        let config = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
        let top = &backings(&config)[&2000];
        assert_eq!(top.base.file_name, "[datastore2] vm-1/vm-1.vmdk");
        assert!(top.parent.as_ref().unwrap().base.file_name.starts_with("[datastore1] vm-1/"));
        // Snapshots go on to work, wherever their links are.
        write(&sim, "vm-1", 5 * MIB, 5);
        let live = sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap();
        let four = snapshot(&vm, "four").await;
        write(&sim, "vm-1", 6 * MIB, 6);
        client.bind(&four).revert_to_snapshot_task(None, None).await.unwrap().wait().await.unwrap();
        assert_eq!(sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap(), live);
        vm.remove_all_snapshots_task(None, None).await.unwrap().wait().await.unwrap();
        assert_eq!(sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap(), live);
        // One disk again, with all of it in one place.
        relocate(&vm, Some(&there), Some("moveAllDiskBackingsAndConsolidate"), &[]).await.unwrap();
        let config = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
        assert!(
            backings(&config).values().all(|disk| disk.parent.is_none()),
            "{way}: {:?}",
            backings(&config)
        );
        assert_eq!(sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap(), live);
        assert_eq!(files(&sim, "datastore1", ""), Vec::<String>::new(), "{way}");
        vm.destroy_task().await.unwrap().wait().await.unwrap();
        assert_eq!(files(&sim, "datastore2", ""), Vec::<String>::new(), "{way}");
    }
}

#[tokio::test]
async fn linked_clones_and_their_sources_go_apart() {
    let (sim, client, vm) = begin(TrackingRules::default()).await;
    write(&sim, "vm-1", 0, 1);
    let taken = snapshot(&vm, "of the clone").await;
    let clone =
        clone_as(&client, &vm, "linked", "createNewChildDiskBacking", Some(&taken), None).await.unwrap();
    write(&sim, "linked", MIB, 2);
    let digest = || sim.vm("linked").unwrap().disk_sha256(2000, None).unwrap();
    let before = digest();
    let (here, there) = (datastore(&client, "datastore1").await, datastore(&client, "datastore2").await);
    // The source goes, and leaves what the clone needs.
    relocate(&vm, Some(&there), None, &[]).await.unwrap();
    assert_eq!(digest(), before);
    assert!(files(&sim, "datastore1", "vm-1").contains(&"vm-1-flat.vmdk".to_owned()));
    // The clone follows, and finds the like of what it stands on there.
    relocate(&clone, Some(&there), Some("moveAllDiskBackingsAndAllowSharing"), &[]).await.unwrap();
    assert_eq!(digest(), before);
    let parent_of = async || {
        let config = clone.require(mo::VirtualMachine::CONFIG).await.unwrap();
        backings(&config)[&2000].parent.as_ref().map(|parent| parent.base.file_name.clone())
    };
    assert_eq!(parent_of().await.as_deref(), Some("[datastore2] vm-1/vm-1.vmdk"));
    assert_eq!(files(&sim, "datastore1", ""), Vec::<String>::new(), "the last child is gone");
    // All of its links go.
    relocate(&clone, Some(&here), Some("moveAllDiskBackingsAndDisallowSharing"), &[]).await.unwrap();
    assert_eq!(digest(), before);
    assert_eq!(parent_of().await.as_deref(), Some("[datastore1] linked/linked.vmdk"));
    // They are nobody else's, and can be merged.
    clone.consolidate_vm_disks_task().await.unwrap().wait().await.unwrap();
    assert_eq!((parent_of().await, digest()), (None, before));
    vm.destroy_task().await.unwrap().wait().await.unwrap();
    clone.destroy_task().await.unwrap().wait().await.unwrap();
    for store in ["datastore1", "datastore2"] {
        assert_eq!(files(&sim, store, ""), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_move_that_fails_leaves_all_where_it_was() {
    let builder = two_datastores().datastore(DatastoreSpec::new("datastore2").capacity(2 * MIB)).vm(
        VmSpec::new("vm-1").disk(DiskSpec::empty(16 * MIB)).disk(DiskSpec::empty(MIB)).cbt().powered_off(),
    );
    let sim = builder.start().await.unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let snapshots = tree(&sim, &client, &vm).await;
    for at in 0..3 {
        let handle = sim.vm("vm-1").unwrap();
        handle.with_live_disk(2000, |disk| disk.write_at(at * MIB, &[1; MIB as usize])).unwrap().unwrap();
    }
    let before = (contents(&sim, &snapshots), files(&sim, "datastore1", "vm-1"));
    let there = datastore(&client, "datastore2").await;
    let refused = relocate(&vm, Some(&there), None, &[]).await.unwrap_err();
    let full = refused.fault::<t::NoDiskSpace>().unwrap_or_else(|| panic!("{refused}"));
    assert_eq!(full.datastore, "datastore2");
    let unchanged = || {
        assert_eq!((contents(&sim, &snapshots), files(&sim, "datastore1", "vm-1")), before);
        assert_eq!(files(&sim, "datastore2", ""), Vec::<String>::new());
    };
    unchanged();
    sim.set_datastore_capacity("datastore2", 1 << 40).unwrap();
    for percent in [30, 60, 90] {
        let rule = FaultRule::task("RelocateVM_Task", "MigrationFault", percent).times(1, 1);
        sim.add_fault(rule).unwrap();
        let failed = relocate(&vm, Some(&there), None, &[]).await.unwrap_err();
        assert!(failed.fault::<t::MigrationFault>().is_some(), "{failed}");
        unchanged();
    }
    relocate(&vm, Some(&there), None, &[]).await.unwrap();
    assert_eq!(contents(&sim, &snapshots), before.0);
}

#[tokio::test]
async fn templates_go_too() {
    let (sim, client, vm) = begin(TrackingRules::default()).await;
    let snapshots = tree(&sim, &client, &vm).await;
    let before = contents(&sim, &snapshots);
    if sim.vm("vm-1").unwrap().is_powered_on() {
        vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    }
    vm.mark_as_template().await.unwrap();
    let there = datastore(&client, "datastore2").await;
    relocate(&vm, Some(&there), None, &[]).await.unwrap();
    assert!(vm.require(mo::VirtualMachine::CONFIG).await.unwrap().template);
    assert_eq!(vm.require(mo::VirtualMachine::DATASTORE).await.unwrap(), [there]);
    assert_eq!(contents(&sim, &snapshots), before);
}
