//! Tracking that is known not to be trusted, and tracking looked at by hand.

use vadp::cbt::{self, Audit, Decision, Reason};
use vadp::{Level, Preflight, Topic};
use vim_api::mo::VirtualMachineSnapshot;
use vim_api::types::VirtualMachineConfigSpec;
use vsphere_sim::{DiskSpec, FaultRule, Mutation, VmSpec};

use crate::harness::{MIB, World};

async fn snapshot(world: &World, name: &str) -> VirtualMachineSnapshot {
    let task = world.vm.vm().create_snapshot_task(name, None, false, false).await.unwrap();
    world.client.bind(&task.wait().await.unwrap())
}

async fn track(world: &World, on: bool) {
    let spec = VirtualMachineConfigSpec { change_tracking_enabled: Some(on), ..Default::default() };
    world.vm.vm().reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_revert_nothing_is_built_on_what_was_before_and_then_it_goes_on() {
    let world = World::new(&[16 * MIB]).await;
    world.write(0, 0, 4 * MIB, 1);
    let old = snapshot(&world, "before the update").await;
    world.full().await.unwrap();
    world.write(0, 2 * MIB, MIB, 2);
    world.incremental().await.unwrap();
    old.revert_to_snapshot_task(None, None).await.unwrap().wait().await.unwrap();
    let now = world.digests();
    let next = world.incremental().await.unwrap();
    assert!(matches!(next.disks[0].decision, Decision::Full(_)), "{:?}", next.disks);
    // The snapshot was without memory, so the machine is off now.
    world.write(0, 0, 8 * MIB, 9);
    let last = world.incremental().await.unwrap();
    assert!(matches!(last.disks[0].decision, Decision::Incremental(_)), "{:?}", last.disks);
    old.remove_snapshot_task(false, Some(true)).await.unwrap().wait().await.unwrap();
    world.revert(&next.point).await.unwrap();
    assert_eq!(world.digests(), now);
}

#[tokio::test(flavor = "multi_thread")]
async fn tracking_that_was_switched_on_above_a_snapshot_is_not_believed_until_it_began_anew() {
    let vm = VmSpec::new("elsewhere").disk(DiskSpec::empty(MIB));
    let world = World::built(&[8 * MIB], |builder| builder.vm(vm)).await;
    track(&world, false).await;
    let old = snapshot(&world, "forgotten").await;
    track(&world, true).await;
    // Somebody's snapshot makes tracking begin.
    let stun = snapshot(&world, "stun").await;
    stun.remove_snapshot_task(false, Some(true)).await.unwrap().wait().await.unwrap();
    world.full().await.unwrap();
    let next = world.incremental().await.unwrap();
    let Decision::Full(reason @ Reason::KnownFault { source, lasting: true, .. }) = &next.disks[0].decision
    else {
        panic!("{:?}", next.disks)
    };
    assert!(source.contains("1020128") && reason.is_lasting());
    assert!(next.tracking_error.is_some(), "it cannot begin anew under a snapshot");
    let report = Preflight::backup(&world.vm).disk_port(None).run().await.unwrap();
    let warned = report.of_level(Level::Warning).find(|f| f.topic == Topic::Tracking).unwrap();
    assert!(warned.fix.as_ref().unwrap().contains("1020128"), "{report}");

    // The snapshot goes; what was tracked above it is still not believed, and now tracking can begin anew.
    old.remove_snapshot_task(false, Some(true)).await.unwrap().wait().await.unwrap();
    let next = world.incremental().await.unwrap();
    assert_eq!(next.disks[0].decision, Decision::Full(Reason::Distrusted));
    assert!(next.tracking_error.is_none(), "{:?}", next.tracking_error);
    assert_eq!(
        world.incremental().await.unwrap().disks[0].decision,
        Decision::Full(Reason::TrackingRestarted)
    );
    assert!(matches!(world.incremental().await.unwrap().disks[0].decision, Decision::Incremental(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn tracking_is_looked_at_and_audited_without_a_backup() {
    let world = World::new(&[16 * MIB]).await;
    world.write(0, 0, 8 * MIB, 1);
    let status = cbt::status(&world.vm, None).await.unwrap();
    assert!(status.enabled);
    assert_eq!(status.disks[0].decision, Decision::Full(Reason::NoParent));
    let full = world.full().await.unwrap();
    let status = cbt::status(&world.vm, Some(&*full.point)).await.unwrap();
    assert!(matches!(status.disks[0].decision, Decision::Incremental(_)), "{status:?}");
    assert!(status.disks[0].restore_point_id.is_some());

    world.write(0, MIB, 4096, 2);
    let audit = async || {
        cbt::audit(&world.vm, &full.point, &world.vddk, &world.journal, Audit::All).await.unwrap().remove(0)
    };
    let honest = audit().await;
    assert_eq!((honest.compared, honest.lie), (7 * MIB, None));
    world.fault(FaultRule::changed_areas(Mutation::Omit).times(1, 1));
    assert_eq!(audit().await.lie, Some(1));
    world.assert_clean();
    assert_eq!(world.points().await, 1, "nothing was backed up");

    cbt::reset(&world.vm, &world.journal).await.unwrap();
    assert_eq!(audit().await.decision, Decision::Full(Reason::TrackingRestarted));
}
