use std::time::Duration;

use vim_api::dynamic::get_path;
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};
use vsphere_sim::{DiskSpec, Sim, VmSpec};

use crate::{MIB, log_in, machine, start};

async fn take(vm: &mo::VirtualMachine, name: &str) -> MoRef<mo::VirtualMachineSnapshot> {
    vm.create_snapshot_task(name, Some("a test"), false, false).await.unwrap().wait().await.unwrap()
}

async fn remove(client: &Client, snapshot: &MoRef<mo::VirtualMachineSnapshot>) {
    client.bind(snapshot).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
}

fn write(sim: &Sim, offset: u64, byte: u8) {
    let vm = sim.vm("vm-1").unwrap();
    vm.with_live_disk(2000, |disk| disk.write_at(offset, &[byte; 4096])).unwrap().unwrap();
}

#[tokio::test]
async fn created_with_progress_and_removed() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let handle = sim.vm("vm-1").unwrap();
    write(&sim, 0, 1);
    let before = handle.disk_sha256(2000, None).unwrap();
    let task = vm.create_snapshot_task("first", Some("a test"), false, true).await.unwrap();
    let mut states = Vec::new();
    let snapshot = task.wait_with(|info| states.push((info.state.clone(), info.progress))).await.unwrap();
    assert!(
        states.iter().any(|(state, progress)| *state == t::TaskInfoState::Running && progress.is_some()),
        "{states:?}"
    );
    let told: Vec<i32> = states.iter().filter_map(|(_, progress)| *progress).collect();
    assert!(told.is_sorted(), "{told:?}");
    let info = task.info().await.unwrap();
    assert_eq!(info.name.as_deref(), Some("CreateSnapshot_Task"));
    assert_eq!(info.description_id, "VirtualMachine.createSnapshot");
    assert_eq!(info.entity.unwrap(), vm.moref());
    let user = info.reason.downcast_ref::<t::TaskReasonUser>().unwrap();
    assert_eq!(user.user_name, sim.user());

    write(&sim, 0, 2);
    let after = handle.disk_sha256(2000, None).unwrap();
    assert_ne!(before, after);
    assert_eq!(handle.disk_sha256(2000, Some(snapshot.value())).unwrap(), before);
    let tree = vm.require(mo::VirtualMachine::SNAPSHOT).await.unwrap();
    assert_eq!(tree.current_snapshot.unwrap(), snapshot);
    let root = &tree.root_snapshot_list[0];
    assert_eq!((root.name.as_str(), root.description.as_str(), root.quiesced), ("first", "a test", true));
    let record = sim_store::state::Inventory::load(sim.data_dir()).unwrap();
    assert_eq!(record.vm("vm-101").unwrap().snapshots[0].moref, snapshot.value());

    remove(&client, &snapshot).await;
    assert_eq!(handle.snapshot_count(), 0);
    assert_eq!(handle.disk_sha256(2000, None).unwrap(), after);
    assert_eq!(handle.disks().unwrap()[0].path, "[datastore1] vm-1/vm-1.vmdk");
    assert!(vm.get(mo::VirtualMachine::SNAPSHOT).await.unwrap().is_none());
    let gone = client.bind(&snapshot).remove_snapshot_task(false, None).await.unwrap_err();
    assert!(gone.is_not_found(), "{gone}");
}

#[tokio::test]
async fn revert_brings_the_content_back() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let handle = sim.vm("vm-1").unwrap();
    write(&sim, 0, 1);
    let first = take(&vm, "first").await;
    let then = handle.disk_sha256(2000, None).unwrap();
    write(&sim, 0, 2);
    let second = take(&vm, "second").await;
    write(&sim, MIB, 3);
    client.bind(&first).revert_to_snapshot_task(None, None).await.unwrap().wait().await.unwrap();
    assert_eq!(handle.disk_sha256(2000, None).unwrap(), then);
    assert!(!handle.is_powered_on(), "a snapshot without memory brings back a machine that is off");
    let tree = vm.require(mo::VirtualMachine::SNAPSHOT).await.unwrap();
    assert_eq!(tree.current_snapshot.unwrap(), first);
    assert_eq!(tree.root_snapshot_list[0].child_snapshot_list[0].snapshot, second);
    // The branch that was left can still be gone to.
    client.bind(&second).revert_to_snapshot_task(None, None).await.unwrap().wait().await.unwrap();
    write(&sim, 2 * MIB, 4);
    vm.remove_all_snapshots_task(None, None).await.unwrap().wait().await.unwrap();
    assert_eq!(handle.snapshot_count(), 0);
    let runtime = vm.require(mo::VirtualMachine::RUNTIME).await.unwrap();
    assert_eq!(runtime.consolidation_needed, Some(false));
    handle
        .with_live_disk(2000, |disk| {
            let mut byte = [0];
            for (offset, expected) in [(0, 2), (MIB, 0), (2 * MIB, 4)] {
                disk.read_at(offset, &mut byte).unwrap();
                assert_eq!(byte[0], expected, "at {offset}");
            }
        })
        .unwrap();
    let nothing = vm.revert_to_current_snapshot_task(None, None).await.unwrap().wait().await.unwrap_err();
    assert!(nothing.fault::<t::NotFound>().is_some(), "{nothing}");
}

#[tokio::test]
async fn a_snapshot_shows_its_own_hardware() {
    let sim = Sim::builder()
        .vm(VmSpec::new("vm-1").disk(DiskSpec::empty(64 * MIB)).disk(DiskSpec::empty(8 * MIB)).cbt())
        .start()
        .await
        .unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let snapshot = take(&vm, "first").await;
    let frozen = client.bind(&snapshot).require(mo::VirtualMachineSnapshot::CONFIG).await.unwrap();
    let live = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
    let text = |config: &t::VirtualMachineConfigInfo, path: &str| match get_path(config, path).unwrap() {
        Some(vim_api::dynamic::Value::String(text)) => Some(text),
        None => None,
        other => panic!("{other:?}"),
    };
    for key in [2000, 2001] {
        let name = format!("hardware.device[{key}].backing.fileName");
        let change_id = format!("hardware.device[{key}].backing.changeId");
        assert!(!text(&frozen, &name).unwrap().contains("-000001"));
        assert!(text(&live, &name).unwrap().contains("-000001"));
        let parent = format!("hardware.device[{key}].backing.parent.fileName");
        assert_eq!(text(&live, &parent), text(&frozen, &name));
        assert!(text(&frozen, &change_id).unwrap().ends_with("/1"));
        assert_eq!(text(&live, &change_id), None);
    }
    let layout = vm.require(mo::VirtualMachine::LAYOUT_EX).await.unwrap();
    assert_eq!(layout.disk[0].chain.len(), 2);
    assert_eq!(layout.snapshot[0].disk[0].chain.len(), 1);
    let listed = |key: i32| layout.file.iter().find(|file| file.key == key).unwrap().name.clone();
    assert!(listed(layout.snapshot[0].data_key).ends_with("-Snapshot1.vmsn"));
    let vmx = std::fs::read_to_string(sim.data_dir().join("datastores/datastore1/vm-1/vm-1.vmx")).unwrap();
    assert!(vmx.contains("scsi0:0.fileName = \"vm-1-000001.vmdk\"\n"), "{vmx}");
}

#[tokio::test]
async fn one_operation_at_a_time() {
    let sim = Sim::builder()
        .task_duration(Duration::from_millis(500))
        .vm(VmSpec::new("vm-1").disk(DiskSpec::empty(MIB)))
        .start()
        .await
        .unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let task = vm.create_snapshot_task("slow", None, false, false).await.unwrap();
    let busy = vm.create_snapshot_task("other", None, false, false).await.unwrap_err();
    assert_eq!(busy.fault::<t::TaskInProgress>().expect("TaskInProgress").task, *task.moref());
    assert!(busy.is_retryable());
    task.cancel().await.unwrap();
    let canceled = task.wait().await.unwrap_err();
    assert!(canceled.fault::<t::RequestCanceled>().is_some(), "{canceled}");
    assert_eq!(sim.vm("vm-1").unwrap().snapshot_count(), 0);
    let late = task.cancel().await.unwrap_err();
    assert!(late.fault::<t::NotSupported>().is_some(), "{late}");
}

#[tokio::test]
async fn power_is_checked() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let on = vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap_err();
    let fault = on.fault::<t::InvalidPowerState>().expect("InvalidPowerState");
    assert_eq!(fault.existing_state, t::VirtualMachinePowerState::PoweredOn);
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    assert!(!sim.vm("vm-1").unwrap().is_powered_on());
    let record = sim_store::state::Inventory::load(sim.data_dir()).unwrap();
    assert!(!record.vm("vm-101").unwrap().power_on);
    vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
    vm.shutdown_guest().await.unwrap();
    let off = async {
        while sim.vm("vm-1").unwrap().is_powered_on() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), off).await.unwrap();
}

#[tokio::test]
async fn a_restarted_simulator_takes_up_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let spec = || VmSpec::new("vm-1").disk(DiskSpec::empty(64 * MIB)).cbt();
    let (digest, snapshot, uuid);
    {
        let sim = Sim::builder().data_dir(folder.path()).vm(spec()).start().await.unwrap();
        let client = log_in(&sim).await;
        let vm = machine(&client, &sim);
        snapshot = take(&vm, "kept").await;
        write(&sim, 0, 9);
        digest = sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap();
        uuid = vm.require(mo::VirtualMachine::CONFIG).await.unwrap().instance_uuid;
    }
    let sim = Sim::builder().data_dir(folder.path()).vm(spec()).start().await.unwrap();
    assert_eq!(sim.vms().len(), 1);
    assert_eq!(sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap(), digest);
    assert_eq!(sim.session_count(), 0);
    let client = log_in(&sim).await;
    assert_eq!(machine(&client, &sim).require(mo::VirtualMachine::CONFIG).await.unwrap().instance_uuid, uuid);
    remove(&client, &snapshot).await;
    assert_eq!(sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap(), digest);
}

/// Found by the model of change tracking: seed 59927425.
#[tokio::test]
async fn a_branch_that_is_removed_without_merging_leaves_no_link() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let (trunk, branch) = (take(&vm, "trunk").await, take(&vm, "branch").await);
    client.bind(&trunk).revert_to_snapshot_task(None, None).await.unwrap().wait().await.unwrap();
    client.bind(&branch).remove_snapshot_task(false, Some(false)).await.unwrap().wait().await.unwrap();
    vm.remove_all_snapshots_task(Some(true), None).await.unwrap().wait().await.unwrap();
    let folder = sim.data_dir().join("datastores/datastore1/vm-1");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let links: Vec<_> = names.filter(|name| name.to_str().unwrap().contains("-0000")).collect();
    assert!(links.is_empty(), "{links:?}");
}
