//! Restores in place: what is written, what is left, and how they are undone.

use std::time::Duration;

use vadp::cbt::{Decision, Reason};
use vadp::{
    Backup, CancelToken, ErrorKind, Event, Intent, Journal, Phase, PowerPolicy, Restore, Sweeper, Verify,
};
use vadp_repository::StoredPoint;
use vim_api::dynamic::Poly;
use vim_api::types as t;
use vsphere_sim::{FaultRule, Mutation};

use crate::harness::{MIB, VM, World, story};
use crate::oracle::{Contents, contents, difference};

fn revert<'a>(world: &'a World, point: &'a dyn StoredPoint) -> Restore<'a> {
    Restore::revert(point, &world.vm, &world.vddk, &world.journal)
}

/// A machine that is off, its backup, what that holds, and what the machine holds now.
async fn changed(sizes: &[u64]) -> (World, vadp::BackupOutcome, Contents, Contents) {
    let world = World::new(sizes).await;
    for n in 0..sizes.len() {
        world.write(n, 0, 6 * MIB, 1);
    }
    let full = world.full().await.unwrap();
    let then = contents(&world);
    for n in 0..sizes.len() {
        world.write(n, MIB, 2 * MIB, 2);
    }
    world.power_off().await;
    let now = contents(&world);
    (world, full, then, now)
}

fn assert_holds(world: &World, wanted: &Contents) {
    assert_eq!(difference(&contents(world), wanted), None);
}

/// As the field's documentation says it, and by nothing of ours.
fn digest_of(bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&(MIB as u32).to_le_bytes());
    for (n, chunk) in bytes.chunks(MIB as usize).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            hasher.update(&(n as u64).to_le_bytes()).update(blake3::hash(chunk).as_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_says_what_was_written_read_back_and_found() {
    let (world, full, then, _) = changed(&[16 * MIB, 9 * MIB + 512]).await;
    let done = world.revert(&full.point).await.unwrap();
    assert_holds(&world, &then);
    world.assert_clean();
    for (disk, content) in done.disks.iter().zip(then.values()) {
        assert!(matches!(disk.decision, Decision::Incremental(_)), "{disk:?}");
        assert_eq!((disk.written, disk.verified), (2 * MIB, disk.capacity), "{disk:?}");
        assert_eq!(disk.skipped + disk.written, content.len() as u64);
        assert_eq!(disk.digest, Some(digest_of(content)));
    }
    assert_eq!((done.tracking_off, done.power_error), (None, None));

    // Less is read back on request, and the report says so.
    for (verify, least, most) in [(Verify::None, 0, 0), (Verify::Sample { percent: 50 }, MIB, 15 * MIB)] {
        world.write(0, 0, 4 * MIB, 7);
        let plan = revert(&world, &full.point).verify(verify).plan().await.unwrap();
        let done = plan.run(|_| ()).await.unwrap();
        assert_holds(&world, &then);
        assert!((least..=most).contains(&done.disks[0].verified), "{verify:?}: {:?}", done.disks[0]);
        assert_eq!(done.disks[0].digest, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_tracking_tells_of_is_found_when_it_is_read_back() {
    let (world, full, then, _) = changed(&[16 * MIB]).await;
    world.fault(FaultRule::changed_areas(Mutation::Omit));
    let done = world.revert(&full.point).await.unwrap();
    assert_eq!(done.disks[0].decision, Decision::Full(Reason::Distrusted));
    assert_holds(&world, &then);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_runs_is_switched_off_as_told_and_on_again() {
    let world = World::new(&[8 * MIB]).await;
    world.write(0, 0, MIB, 1);
    let full = world.full().await.unwrap();
    let then = contents(&world);
    let minute = Duration::from_secs(60);
    for policy in [
        PowerPolicy::PowerOff,
        PowerPolicy::Shutdown { deadline: minute },
        PowerPolicy::ShutdownThenOff { deadline: minute },
    ] {
        world.write(0, 0, MIB, 2);
        let plan = revert(&world, &full.point).power(policy).plan().await.unwrap();
        assert!(plan.to_string().contains("started again"), "{plan}");
        assert!(world.sim.vm(VM).unwrap().is_powered_on(), "a plan touches nothing");
        let done = plan.run(|_| ()).await.unwrap();
        assert_eq!(done.power_error, None);
        assert!(world.sim.vm(VM).unwrap().is_powered_on(), "{policy:?}");
        assert_holds(&world, &then);
    }
    // A guest that does not go down in time.
    world.write(0, 0, MIB, 3);
    let now = contents(&world);
    let hurry = PowerPolicy::Shutdown { deadline: Duration::ZERO };
    let plan = revert(&world, &full.point).power(hurry).plan().await.unwrap();
    let error = plan.run(|_| ()).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::NotEligible && error.to_string().contains("give it longer"),
        "{error}"
    );
    assert_holds(&world, &now);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_is_not_wanted_is_undone() {
    let (world, full, then, now) = changed(&[16 * MIB, 8 * MIB]).await;
    world.vm.vm().power_on_vm_task(None).await.unwrap().wait().await.unwrap();
    let plan = revert(&world, &full.point).power(PowerPolicy::PowerOff).plan().await.unwrap();
    let tentative = plan.apply(|_| ()).await.unwrap();
    assert_holds(&world, &then);
    assert!(tentative.disks().iter().all(|disk| disk.verified == disk.capacity));
    assert!(matches!(world.journal.entries().unwrap()[0].intent(), Intent::Rollback { .. }));
    tentative.rollback().await.unwrap();
    assert_holds(&world, &now);
    assert!(world.sim.vm(VM).unwrap().is_powered_on(), "it ran before");
    world.assert_clean();
    let next = world.incremental().await.unwrap();
    assert!(matches!(next.disks[0].decision, Decision::Full(_)), "{:?}", next.disks);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_the_machine_is_as_it_was() {
    let (world, full, _, now) = changed(&[16 * MIB, 8 * MIB]).await;
    let fails = |function: &str| sim_store::state::FaultRule {
        function: function.into(),
        code: 14009,
        nth: Some(2),
        ..Default::default()
    };
    for function in ["WriteAsync", "Flush", "Open", "ReadAsync"] {
        world.sim.add_vddk_fault(fails(function)).unwrap();
        let error = world.revert(&full.point).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disk, "{function}: {}", story(&error));
        assert_holds(&world, &now);
        world.sim.clear_faults().unwrap();
        world.assert_clean();
    }
    for method in ["CreateSnapshot_Task", "ReconfigVM_Task"] {
        world.fault(FaultRule::task(method, "GenericVmConfigFault", 10).times(1, 1));
        let error = world.revert(&full.point).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Api, "{method}: {}", story(&error));
        assert_holds(&world, &now);
        world.sim.clear_faults().unwrap();
        world.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_is_stopped_is_undone() {
    let (world, full, _, now) = changed(&[16 * MIB]).await;
    for phase in [Phase::Write, Phase::Verify] {
        let stop = CancelToken::new();
        let plan = revert(&world, &full.point).cancel_by(&stop).plan().await.unwrap();
        let error = plan.run(|event| {
            if matches!(event, Event::DiskProgress { phase: at, .. } if at == phase) {
                stop.cancel();
            }
        });
        let error = error.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{phase:?}: {}", story(&error));
        assert_holds(&world, &now);
        world.assert_clean();
    }
}

/// Drops the restore while it writes.
async fn dropped(world: &World, point: &dyn StoredPoint) {
    let (tell, told) = tokio::sync::oneshot::channel();
    let tell = std::sync::Mutex::new(Some(tell));
    let plan = revert(world, point).plan().await.unwrap();
    let run = plan.run(|event| {
        if matches!(event, Event::DiskDone { .. })
            && let Some(tell) = tell.lock().unwrap().take()
        {
            let _ = tell.send(());
        }
    });
    tokio::select! {
        biased;
        _ = told => {}
        done = run => panic!("it came to its end: {:?}", done.map(drop)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn until_a_broken_restore_is_swept_nobody_takes_its_disks_for_whole() {
    let (world, full, _, now) = changed(&[16 * MIB, 8 * MIB]).await;
    dropped(&world, &full.point).await;
    assert_ne!(difference(&contents(&world), &now), None, "something was written");

    // A program with another journal knows nothing of it, and sees it.
    let folder = tempfile::tempdir().unwrap();
    let other = Journal::open(folder.path()).unwrap();
    let backup = Backup::full(&world.vm, &world.repository, &world.vddk, &other).run(|_| ()).await;
    let error = backup.err().unwrap();
    assert!(error.kind() == ErrorKind::NotEligible && error.to_string().contains("Sweep with"), "{error}");
    let plan = Restore::revert(&full.point, &world.vm, &world.vddk, &other).plan().await;
    assert_eq!(plan.err().unwrap().kind(), ErrorKind::NotEligible);
    let owner = world.journal.owner();
    let foreign = Sweeper::new(&other).foreign(&world.client).await.unwrap();
    assert!(foreign.len() == 1 && foreign[0].owner == owner, "{foreign:?}");

    // Somebody has started it all the same: then it is theirs to decide.
    world.vm.vm().power_on_vm_task(None).await.unwrap().wait().await.unwrap();
    let sweeper = Sweeper::new(&world.journal).through(&world.vddk);
    let swept = sweeper.sweep(&world.client).await.unwrap();
    assert!(swept.left.len() == 1 && swept.left[0].contains("shut it down"), "{swept:?}");
    world.power_off().await;

    let swept = sweeper.sweep(&world.client).await.unwrap();
    assert_eq!(swept.rolled_back, [VM]);
    assert_holds(&world, &now);
    world.assert_clean();

    // From another machine, should the journal be lost.
    dropped(&world, &full.point).await;
    let swept = Sweeper::new(&other).through(&world.vddk).take_over(&world.client, owner).await.unwrap();
    assert_eq!(swept.rolled_back, [VM]);
    assert_holds(&world, &now);
    let swept = sweeper.sweep(&world.client).await.unwrap();
    assert_eq!((swept.rolled_back.len(), swept.already_gone), (0, 1));
    world.assert_clean();
}

async fn reconfigure(
    world: &World,
    operation: t::VirtualDeviceConfigSpecOperation,
    change: impl Fn(&mut t::VirtualDisk),
) {
    let config =
        vim_api::mo::Managed::require(world.vm.vm(), vim_api::mo::VirtualMachine::CONFIG).await.unwrap();
    let mut disks =
        config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    let mut disk = disks.next_back().unwrap().clone();
    change(&mut disk);
    let change = t::VirtualDeviceConfigSpec {
        operation: Some(operation),
        device: Poly::new(disk),
        ..Default::default()
    };
    let spec = t::VirtualMachineConfigSpec { device_change: vec![Poly::new(change)], ..Default::default() };
    world.vm.vm().reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_has_grown_keeps_its_size_and_one_that_is_gone_can_be_left_out() {
    let (world, full, then, _) = changed(&[8 * MIB, 8 * MIB]).await;
    reconfigure(&world, t::VirtualDeviceConfigSpecOperation::Edit, |disk| {
        disk.capacity_in_bytes = Some(12 * MIB as i64);
        disk.capacity_in_kb = 12 * 1024;
    })
    .await;
    world.write(1, 9 * MIB, MIB, 5);
    let behind = contents(&world).values().last().unwrap()[8 * MIB as usize..].to_vec();
    let plan = revert(&world, &full.point).plan().await.unwrap();
    assert!(plan.to_string().contains("by which it grew"), "{plan}");
    let done = plan.run(|_| ()).await.unwrap();
    assert!(
        matches!(done.disks[1].decision, Decision::Full(Reason::CapacityChanged { .. })),
        "{:?}",
        done.disks[1]
    );
    assert_eq!(done.disks[1].verified, 8 * MIB);
    let grown = contents(&world);
    let (first, grown) = (grown.values().next().unwrap(), grown.values().last().unwrap());
    assert!(
        first == then.values().next().unwrap()
            && grown[..8 * MIB as usize] == then.values().last().unwrap()[..]
    );
    assert!(grown[8 * MIB as usize..] == behind, "what came behind is nobody's to touch");

    let key = world.keys()[1];
    reconfigure(&world, t::VirtualDeviceConfigSpecOperation::Remove, |_| ()).await;
    world.write(0, 0, MIB, 6);
    let Err(error) = revert(&world, &full.point).plan().await else { panic!("a disk is gone") };
    assert!(error.to_string().contains("leave the disk out"), "{error}");
    let plan = revert(&world, &full.point).leave_out([key]).plan().await.unwrap();
    assert!(plan.to_string().contains("left out on request"), "{plan}");
    plan.run(|_| ()).await.unwrap();
    assert!(contents(&world).values().next().unwrap() == then.values().next().unwrap());
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn under_the_snapshot_of_another_it_is_restored_on_top_and_tracking_ends() {
    let (world, full, then, now) = changed(&[16 * MIB]).await;
    let other = world.vm.vm().create_snapshot_task("before the update", None, false, false).await.unwrap();
    let other = world.client.bind::<vim_api::mo::VirtualMachineSnapshot>(&other.wait().await.unwrap());
    world.write(0, 0, 4 * MIB, 3);
    let done = world.revert(&full.point).await.unwrap();
    assert_holds(&world, &then);
    assert!(done.tracking_off.unwrap().contains("remove its snapshots first"));
    let next = world.incremental().await.unwrap();
    assert_eq!(next.disks[0].decision, Decision::Full(Reason::NotTracked));
    assert_eq!(world.sim.vm(VM).unwrap().snapshot_count(), 1, "the other's");
    other.revert_to_snapshot_task(None, Some(true)).await.unwrap().wait().await.unwrap();
    assert_holds(&world, &now);
}
