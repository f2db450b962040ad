use vim_api::dynamic::Poly;
use vim_api::dynamic::{Value, get_path};
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};
use vsphere_sim::{DiskSpec, FaultRule, Mutation, Sim, VmSpec};

use crate::{MIB, log_in, machine, start};

type SnapshotRef = MoRef<mo::VirtualMachineSnapshot>;

async fn take(vm: &mo::VirtualMachine) -> SnapshotRef {
    vm.create_snapshot_task("cbt", None, false, false).await.unwrap().wait().await.unwrap()
}

async fn change_id(client: &Client, snapshot: &SnapshotRef) -> Option<String> {
    let config = client.bind(snapshot).require(mo::VirtualMachineSnapshot::CONFIG).await.unwrap();
    match get_path(&config, "hardware.device[2000].backing.changeId").unwrap() {
        Some(Value::String(id)) => Some(id),
        _ => None,
    }
}

#[tokio::test]
async fn more_extents_than_one_answer_holds() {
    let sim =
        Sim::builder().vm(VmSpec::new("vm-1").disk(DiskSpec::empty(512 * MIB)).cbt()).start().await.unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let first = take(&vm).await;
    let id = change_id(&client, &first).await.unwrap();
    let written: Vec<i64> = (0..2500).map(|number| number * 131_072).collect();
    let handle = sim.vm("vm-1").unwrap();
    handle
        .with_live_disk(2000, |disk| {
            written.iter().for_each(|at| disk.write_at(u64::try_from(*at).unwrap(), b"x").unwrap());
        })
        .unwrap();
    let second = take(&vm).await;
    // Written after the snapshot, and before the question: must not show.
    handle.with_live_disk(2000, |disk| disk.write_at(511 * MIB, b"x")).unwrap().unwrap();
    let capacity = 512 << 20;
    let (mut at, mut pages, mut starts) = (0, 0, Vec::new());
    while at < capacity {
        let page = vm.query_changed_disk_areas(Some(&second), 2000, at, &id).await.unwrap();
        assert_eq!(page.start_offset, at);
        assert!(page.length > 0 && page.changed_area.len() <= 2000);
        starts.extend(page.changed_area.iter().map(|area| area.start));
        at += page.length;
        pages += 1;
    }
    assert_eq!((at, pages), (capacity, 2));
    assert_eq!(starts, written);
    let same = vm
        .query_changed_disk_areas(Some(&second), 2000, 0, &change_id(&client, &second).await.unwrap())
        .await
        .unwrap();
    assert!(same.changed_area.is_empty() && same.length == capacity);
    let allocated = vm.query_changed_disk_areas(Some(&first), 2000, 0, "*").await.unwrap();
    assert!(allocated.changed_area.is_empty(), "nothing was written before the first snapshot");
    // The first snapshot may go: what was stamped stays comparable.
    client.bind(&first).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    let page = vm.query_changed_disk_areas(Some(&second), 2000, 0, &id).await.unwrap();
    assert_eq!(page.changed_area.len(), 2000);
}

#[tokio::test]
async fn bad_questions() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let snapshot = take(&vm).await;
    let id = change_id(&client, &snapshot).await.unwrap();
    let ask = async |snapshot: Option<&SnapshotRef>, key, start, id: &str| {
        vm.query_changed_disk_areas(snapshot, key, start, id).await.unwrap_err()
    };
    let named = |error: &vim_api::Error| {
        error
            .fault::<t::InvalidArgument>()
            .unwrap_or_else(|| panic!("{error}"))
            .invalid_property
            .clone()
            .unwrap()
    };
    assert_eq!(named(&ask(Some(&snapshot), 2000, 64 << 20, &id).await), "startOffset");
    assert_eq!(named(&ask(Some(&snapshot), 2000, -1, &id).await), "startOffset");
    assert_eq!(named(&ask(Some(&snapshot), 2001, 0, &id).await), "deviceKey");
    assert_eq!(named(&ask(Some(&snapshot), 2000, 0, "nonsense").await), "changeId");
    assert_eq!(named(&ask(None, 2000, 0, &id).await), "snapshotId");
    let foreign = format!("00{}", &id[2..]);
    let refused = ask(Some(&snapshot), 2000, 0, &foreign).await;
    assert!(refused.fault::<t::FileFault>().unwrap().file.ends_with("vm-1.vmdk"), "{refused}");
    let gone = SnapshotRef::new("snapshot-999");
    assert!(ask(Some(&gone), 2000, 0, &id).await.is_not_found());
    let other: mo::VirtualMachine = client.bind(&sim.vm("vm-2").unwrap().moref());
    let wrong = other.query_changed_disk_areas(Some(&snapshot), 2000, 0, &id).await.unwrap_err();
    assert_eq!(named(&wrong), "snapshotId");
    // A machine that is off can be asked without a snapshot.
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    vm.query_changed_disk_areas(None, 2000, 0, &id).await.unwrap();
}

#[tokio::test]
async fn tracking_takes_effect_with_the_next_stun() {
    let sim = Sim::builder().vm(VmSpec::new("vm-1").disk(DiskSpec::empty(MIB))).start().await.unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let before = take(&vm).await;
    assert_eq!(change_id(&client, &before).await, None);
    let off = vm.query_changed_disk_areas(Some(&before), 2000, 0, "*").await.unwrap_err();
    assert!(off.fault::<t::FileFault>().is_some(), "{off}");
    client.bind(&before).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    let spec = t::VirtualMachineConfigSpec { change_tracking_enabled: Some(true), ..Default::default() };
    vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
    let config = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
    assert_eq!(config.change_tracking_enabled, Some(true));
    // The snapshot is the stun: it was frozen before tracking began.
    let stun = take(&vm).await;
    assert_eq!(change_id(&client, &stun).await, None);
    client.bind(&stun).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    let tracked = take(&vm).await;
    let first = change_id(&client, &tracked).await.unwrap();
    // A revert begins anew: what was known before is refused.
    client.bind(&tracked).revert_to_snapshot_task(None, None).await.unwrap().wait().await.unwrap();
    let again = take(&vm).await;
    assert_ne!(change_id(&client, &again).await.unwrap().split('/').next(), first.split('/').next());
    let refused = vm.query_changed_disk_areas(Some(&again), 2000, 0, &first).await.unwrap_err();
    assert!(refused.fault::<t::FileFault>().is_some(), "{refused}");
}

#[tokio::test]
async fn what_cannot_be_reconfigured_is_refused() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let spec = t::VirtualMachineConfigSpec {
        name: Some("renamed".to_owned()),
        annotation: Some("a note".to_owned()),
        ..Default::default()
    };
    vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
    assert_eq!(vm.require(mo::VirtualMachine::NAME).await.unwrap(), "renamed");
    let config = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
    assert_eq!(config.annotation.as_deref(), Some("a note"));
    let spec = t::VirtualMachineConfigSpec { firmware: Some("efi".to_owned()), ..Default::default() };
    let refused = vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap_err();
    assert!(refused.fault::<t::InvalidPowerState>().is_some(), "{refused}");
    let crypto = Some(Poly::new(t::CryptoSpecDecrypt::default()));
    let spec = t::VirtualMachineConfigSpec { crypto, ..Default::default() };
    let refused = vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap_err();
    assert!(refused.fault::<t::NotSupported>().is_some(), "{refused}");
    let old = Some("0".to_owned());
    let spec = t::VirtualMachineConfigSpec { change_version: old, ..Default::default() };
    let refused = vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap_err();
    assert!(refused.fault::<t::ConcurrentAccess>().is_some(), "{refused}");
}

#[tokio::test]
async fn spoilt_answers() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let capacity = 64 << 20;
    let handle = sim.vm("vm-1").unwrap();
    handle.with_live_disk(2000, |disk| disk.write_at(0, &[1; 65536])).unwrap().unwrap();
    let snapshot = take(&vm).await;
    let ask = async |mutation| {
        sim.clear_faults().unwrap();
        sim.add_fault(FaultRule::changed_areas(mutation)).unwrap();
        vm.query_changed_disk_areas(Some(&snapshot), 2000, 0, "*").await.unwrap()
    };
    assert_eq!(ask(Mutation::Stall).await.length, 0);
    assert!(ask(Mutation::Gap).await.start_offset > 0);
    let overlap = ask(Mutation::Overlap).await.changed_area;
    assert!(overlap[1].start < overlap[0].start + overlap[0].length);
    let beyond = ask(Mutation::BeyondCapacity).await.changed_area.pop().unwrap();
    assert!(beyond.start + beyond.length > capacity);
    let short = ask(Mutation::ShortSum).await.length;
    assert!(short < capacity);
    let rest = vm.query_changed_disk_areas(Some(&snapshot), 2000, short, "*").await.unwrap();
    assert!(rest.start_offset + rest.length > capacity);
    sim.clear_faults().unwrap();
    let good = vm.query_changed_disk_areas(Some(&snapshot), 2000, 0, "*").await.unwrap();
    assert_eq!((good.start_offset, good.length, good.changed_area.len()), (0, capacity, 1));
}
