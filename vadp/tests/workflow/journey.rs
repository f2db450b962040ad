//! What is supposed to work.

use vadp::cbt::{Decision, Reason};
use vadp::{Backup, ErrorKind};
use vadp_repository::CheckDepth;

use crate::harness::{MIB, World};

const CHUNK: u64 = MIB;

#[tokio::test(flavor = "multi_thread")]
async fn there_and_back_twice() {
    let world = World::new(&[64 * MIB, 20 * MIB + 512 * 3]).await;
    world.write(0, 0, 5 * MIB, 1);
    world.write(0, 40 * MIB + 4096, 3 * MIB, 1);
    world.write(1, 19 * MIB, MIB + 512 * 3, 1);
    let first = world.digests();
    let full = world.full().await.unwrap();
    assert!(full.cleanup_error.is_none());
    world.assert_clean();

    world.write(0, 2 * MIB, 65_536, 2);
    world.write(1, 0, 512, 2);
    let second = world.digests();
    let incremental = world.incremental().await.unwrap();
    assert!(
        incremental.disks.iter().all(|d| matches!(d.decision, Decision::Incremental(_))),
        "{:?}",
        incremental.disks
    );
    world.assert_clean();

    world.write(0, 0, 64 * MIB, 3);
    world.write(1, 0, 20 * MIB, 3);
    world.power_off().await;
    let outcome = world.revert(&full.point).await.unwrap();
    assert_eq!(world.digests(), first);
    assert!(outcome.disks.iter().all(|d| d.verified == d.capacity), "{outcome:?}");
    world.revert(&incremental.point).await.unwrap();
    assert_eq!(world.digests(), second);
    let report = world.repository.check(CheckDepth::Deep).await.unwrap();
    assert!(report.is_ok(), "{report:?}");
    world.client.logout().await.unwrap();
    assert_eq!(world.sim.session_count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_allocated_is_read_and_only_what_changed_again() {
    let world = World::new(&[256 * MIB]).await;
    world.write(0, 0, 8 * MIB, 1);
    world.write(0, 100 * MIB, 4 * MIB, 1);
    let allocated = world.allocated(0);
    let full = world.full().await.unwrap();
    assert_eq!(full.disks[0].read, allocated, "all that is allocated, and nothing else");
    assert!(matches!(full.disks[0].decision, Decision::Full(Reason::Requested)));

    let unchanged = world.incremental().await.unwrap();
    assert_eq!(unchanged.disks[0].read, 0, "an unchanged disk is not read");

    // Two grains in one chunk, one in another, one in a part that was never written.
    for offset in [MIB + 10 * 4096, MIB + 200 * 4096, 101 * MIB, 200 * MIB] {
        world.write(0, offset, 4096, 2);
    }
    let incremental = world.incremental().await.unwrap();
    let read = incremental.disks[0].read;
    // The server tells of grains of 64 KiB; the rest of their chunks is in the parent.
    assert_eq!(read, 4 * 65_536, "the changed grains, and nothing else");
    let third = world.digests();
    world.power_off().await;
    world.write(0, 0, 30 * MIB, 9);
    world.revert(&incremental.point).await.unwrap();
    assert_eq!(world.digests(), third);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_what_the_backup_then_does_and_touches_nothing() {
    let world = World::new(&[8 * MIB, 8 * MIB]).await;
    let backup = || Backup::incremental(&world.vm, &world.repository, &world.vddk, &world.journal);
    let plan = backup().plan().await.unwrap();
    assert!(plan.parent.is_none());
    assert!(plan.disks.iter().all(|disk| disk.decision == Decision::Full(Reason::NoParent)), "{plan}");
    world.assert_clean();
    assert_eq!(world.points().await, 0);

    let full = world.full().await.unwrap();
    let plan = backup().exclude([world.keys()[1]]).plan().await.unwrap();
    assert_eq!(plan.parent, Some(full.point.id()));
    assert_eq!(plan.excluded[0].key, world.keys()[1]);
    let planned = plan.disks[0].decision.clone();
    assert!(matches!(planned, Decision::Incremental(_)), "{plan}");
    let done = world.incremental().await.unwrap();
    assert_eq!(done.disks[0].decision, planned);
    assert!(plan.to_string().contains("incremental since"), "{plan}");

    assert_eq!(backup().exclude(world.keys()).plan().await.unwrap_err().kind(), ErrorKind::NotEligible);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_writes_only_what_differs() {
    let world = World::new(&[64 * MIB]).await;
    world.write(0, 0, 16 * MIB, 1);
    let full = world.full().await.unwrap();
    world.write(0, 3 * MIB, 4096, 2);
    world.write(0, 50 * MIB, 4096, 2);
    world.power_off().await;
    let outcome = world.revert(&full.point).await.unwrap();
    let disk = &outcome.disks[0];
    assert!(matches!(disk.decision, Decision::Incremental(_)), "{disk:?}");
    // The server tells of grains of 64 KiB.
    assert_eq!((disk.written, disk.skipped, disk.verified), (2 * 65_536, 64 * MIB - 2 * 65_536, 64 * MIB));

    // Tracking has begun anew, so now all of the disk is compared, and whole chunks are written.
    world.write(0, 3 * MIB, 4096, 3);
    let outcome = world.revert(&full.point).await.unwrap();
    let disk = &outcome.disks[0];
    assert!(matches!(disk.decision, Decision::Full(Reason::TrackingRestarted)), "{disk:?}");
    assert_eq!((disk.written, disk.verified), (CHUNK, 64 * MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restore_the_next_backup_is_a_full_one() {
    let world = World::new(&[16 * MIB]).await;
    world.write(0, 0, 4 * MIB, 1);
    let full = world.full().await.unwrap();
    world.power_off().await;
    let outcome = world.revert(&full.point).await.unwrap();
    assert_eq!(outcome.tracking_off, None);
    let next = world.incremental().await.unwrap();
    assert!(
        matches!(next.disks[0].decision, Decision::Full(Reason::TrackingRestarted)),
        "{:?}",
        next.disks[0].decision
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_runs_is_not_written() {
    let world = World::new(&[8 * MIB]).await;
    let full = world.full().await.unwrap();
    let error = world.revert(&full.point).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotEligible);
    assert!(error.to_string().contains("not powered off"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_expires_in_the_middle_is_renewed() {
    let world = World::new(&[32 * MIB]).await;
    world.write(0, 0, 8 * MIB, 1);
    let expired = std::sync::atomic::AtomicBool::new(false);
    let outcome = vadp::Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal)
        .run(|event| {
            if matches!(event, vadp::Event::DiskPlanned { .. }) {
                world.sim.expire_sessions();
                expired.store(true, std::sync::atomic::Ordering::Relaxed);
            }
        })
        .await
        .unwrap();
    assert!(expired.into_inner());
    assert!(outcome.cleanup_error.is_none(), "{:?}", outcome.cleanup_error);
    assert_eq!(world.client.session_generation(), 2, "it logged in a second time, once");
    world.assert_clean();
}
