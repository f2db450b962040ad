//! Guests that come to rest for the snapshot, and those that don't.

use std::time::Duration;

use vadp::capture::{MachineFile, Part, PartName, Why};
use vadp::{
    Backup, BackupOutcome, Consistency, Error, ErrorKind, MachineMetadata, Quiesce, QuiescePolicy,
    VssContext, VssSpec,
};
use vim_api::DatastorePath;
use vim_api::types::VirtualMachineConfigSpec;
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

#[tokio::test(flavor = "multi_thread")]
async fn what_vss_says_of_a_windows_guest_is_kept() {
    let world = World::new(&[8 * MIB]).await;
    world.power_off().await;
    let windows =
        VirtualMachineConfigSpec { guest_id: Some("windows2019srv_64Guest".into()), ..Default::default() };
    world.vm.vm().reconfig_vm_task(&windows).await.unwrap().wait().await.unwrap();
    world.vm.vm().power_on_vm_task(None).await.unwrap().wait().await.unwrap();
    let manifest = |done: &BackupOutcome| -> Part<Option<MachineFile>> { stored(done).parts.vss_manifest };
    let with_vss = |level| quick(level).vss(VssSpec { context: VssContext::Backup, ..VssSpec::default() });

    let first = backup(&world, with_vss(Quiesce::Require)).await.unwrap();
    assert!(first.not_captured.is_empty(), "{:?}", first.not_captured);
    let kept = manifest(&first);
    let kept = kept.get().unwrap().as_ref().unwrap();
    assert!(kept.path.ends_with("-vss_manifests1.zip"), "{}", kept.path);
    assert!(kept.content.0.starts_with(b"PK"), "{:?}", kept.content);
    let path: DatastorePath = kept.path.parse().unwrap();
    let gone = world.client.datastore_files("DC0").status(&path).await;
    assert!(gone.unwrap_err().is_not_found(), "it went with the snapshot");
    // One of another snapshot, which stays, is not taken for the backup's.
    let content = vim_api::Upload::sized(6, futures::stream::iter([Ok(bytes::Bytes::from("no zip"))]));
    world.client.datastore_files("DC0").upload(&path, content).await.unwrap();
    let second = backup(&world, with_vss(Quiesce::Prefer)).await.unwrap();
    let kept = manifest(&second);
    assert!(kept.get().unwrap().as_ref().unwrap().path.ends_with("-vss_manifests2.zip"), "{kept:?}");

    // A server that wrote none of its own: what is found is no archive. Then nothing is found.
    for reason in ["no whole ZIP archive", "no file of that time like"] {
        let done = backup(&world, quick(Quiesce::Require)).await.unwrap();
        let [(PartName::VssManifest, missing)] = &done.not_captured[..] else {
            panic!("{:?}", done.not_captured)
        };
        assert_eq!(missing.why, Why::Failed);
        assert!(missing.text.contains(reason), "{missing}");
        let _ = world.client.datastore_files("DC0").delete(&path).await;
    }
    let required = Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal)
        .quiesce(quick(Quiesce::Require))
        .require([PartName::VssManifest]);
    assert_eq!(required.run(|_| ()).await.err().unwrap().kind(), ErrorKind::NotCaptured);
    let done = backup(&world, Quiesce::None.into()).await.unwrap();
    assert_eq!(manifest(&done), Part::Captured(None), "nobody was asked to come to rest");
    world.assert_clean();
}
