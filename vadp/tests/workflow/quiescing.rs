//! Guests that come to rest for the snapshot, and those that don't.

use std::time::Duration;

use vadp::{
    Backup, BackupOutcome, Consistency, Error, ErrorKind, MachineMetadata, Quiesce, QuiescePolicy,
    VssContext, VssSpec,
};
use vsphere_sim::FaultRule;

use crate::harness::{MIB, World, story};

fn quick(level: Quiesce) -> QuiescePolicy {
    QuiescePolicy::new(level).pause(Duration::from_millis(10))
}

async fn backup(world: &World, policy: QuiescePolicy) -> Result<BackupOutcome, Error> {
    let backup = Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal);
    backup.quiesce(policy).run(|_| ()).await
}

fn stored(outcome: &BackupOutcome) -> MachineMetadata {
    MachineMetadata::of(&outcome.point).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_comes_to_rest() {
    let world = World::new(&[8 * MIB]).await;
    let vss = VssSpec { context: VssContext::Backup, ..VssSpec::default() };
    for policy in [quick(Quiesce::Require), quick(Quiesce::Prefer).vss(vss).timeout_minutes(0)] {
        let done = backup(&world, policy).await.unwrap();
        assert_eq!(done.consistency, Consistency::Quiesced);
        assert_eq!(stored(&done).consistency, Consistency::Quiesced);
        assert!(done.snapshot_attempts.is_empty());
        world.assert_clean();
    }
    let done = backup(&world, Quiesce::None.into()).await.unwrap();
    assert_eq!(done.consistency, Consistency::Crash);
    world.power_off().await;
    let done = backup(&world, quick(Quiesce::Require)).await.unwrap();
    assert_eq!(stored(&done).consistency, Consistency::PoweredOff);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_needs_a_second_attempt() {
    let world = World::new(&[8 * MIB]).await;
    world.fault(FaultRule::task("CreateSnapshotEx_Task", "ApplicationQuiesceFault", 50).times(1, 1));
    let done = backup(&world, quick(Quiesce::Require)).await.unwrap();
    assert_eq!(done.consistency, Consistency::Quiesced);
    let attempts = stored(&done).snapshot_attempts;
    assert_eq!(attempts.len(), 1);
    assert!(attempts[0].quiesced && attempts[0].fault.contains("ApplicationQuiesceFault"), "{attempts:?}");
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_does_not_come_to_rest_is_as_after_a_power_cut_or_not_backed_up() {
    let world = World::new(&[8 * MIB]).await;
    for fault in ["ApplicationQuiesceFault", "FilesystemQuiesceFault", "ToolsUnavailable", "SnapshotFault"] {
        world.sim.clear_faults().unwrap();
        world.fault(FaultRule::task("CreateSnapshotEx_Task", fault, 50));
        let Err(error) = backup(&world, quick(Quiesce::Require)).await else {
            panic!("{fault}: a backup that is not quiesced was taken for one")
        };
        assert_eq!(error.kind(), ErrorKind::NotQuiesced, "{}", story(&error));
        assert!(story(&error).contains(fault), "{}", story(&error));
        world.assert_clean();
        let before = world.points().await;

        let done = backup(&world, quick(Quiesce::Prefer).attempts(3)).await.unwrap();
        assert_eq!(done.consistency, Consistency::Crash, "{fault}");
        let faults: Vec<bool> = done.snapshot_attempts.iter().map(|a| a.fault.contains(fault)).collect();
        assert_eq!(faults, [true; 3], "{fault}");
        assert_eq!(world.points().await, before + 1);
        world.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_attempt_does_not_change_is_an_error_at_once() {
    let world = World::new(&[8 * MIB]).await;
    world.fault(FaultRule::task("CreateSnapshotEx_Task", "NoDiskSpace", 50));
    let policy = quick(Quiesce::Prefer).attempts(3);
    let Err(error) = backup(&world, policy).await else { panic!("a snapshot without space") };
    assert!(error.api_error().unwrap().fault::<vim_api::types::NoDiskSpace>().is_some(), "{}", story(&error));
    assert_eq!(world.points().await, 0);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_busy_is_waited_for() {
    let world = World::new(&[8 * MIB]).await;
    world.fault(FaultRule::call("CreateSnapshotEx_Task", "TaskInProgress").times(1, 2));
    let done = backup(&world, quick(Quiesce::Require)).await.unwrap();
    assert_eq!(done.consistency, Consistency::Quiesced);
    assert!(done.snapshot_attempts.is_empty(), "being busy is no failure of the guest");
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_running_tools() {
    let world = World::new(&[8 * MIB]).await;
    world.vm.vm().suspend_vm_task().await.unwrap().wait().await.unwrap();
    let Err(error) = backup(&world, quick(Quiesce::Require)).await else { panic!("nobody could quiesce it") };
    assert_eq!(error.kind(), ErrorKind::NotQuiesced);
    assert!(error.to_string().contains("suspended"), "{error}");
    world.assert_clean();
    let done = backup(&world, quick(Quiesce::Prefer)).await.unwrap();
    assert_eq!(done.consistency, Consistency::Crash);
    assert!(stored(&done).snapshot_attempts[0].fault.contains("suspended"));
    world.assert_clean();
}
