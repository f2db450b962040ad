//! Change tracking that lies, and how it is found out.

use vadp::cbt::{Audit, Decision, Reason};
use vadp::{Backup, BackupOutcome, Event};
use vsphere_sim::{FaultRule, Mutation};

use crate::harness::{MIB, World};

async fn incremental(world: &World, audit: Audit) -> BackupOutcome {
    let backup = Backup::incremental(&world.vm, &world.repository, &world.vddk, &world.journal);
    backup.audit(audit).run(|_| ()).await.unwrap()
}

/// A machine with a full backup and an incremental one, and then a change of which the server says nothing.
async fn deceived() -> (World, BackupOutcome) {
    let world = World::new(&[64 * MIB]).await;
    world.write(0, 0, 16 * MIB, 1);
    world.full().await.unwrap();
    world.write(0, MIB, 4096, 2);
    let honest = incremental(&world, Audit::All).await;
    assert!(matches!(honest.disks[0].decision, Decision::Incremental(_)), "{:?}", honest.disks);
    assert_eq!(honest.disks[0].audited, 15 * MIB, "all that is allocated but the chunk that was told");
    assert!(honest.suspects.is_empty() && honest.tracking_error.is_none());
    world.write(0, 5 * MIB, 4096, 3);
    world.fault(FaultRule::changed_areas(Mutation::Omit).times(1, 1));
    (world, honest)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lie_makes_the_backup_a_full_one_and_tracking_begins_anew() {
    let (world, honest) = deceived().await;
    let lied = std::sync::Mutex::new(None);
    let backup = Backup::incremental(&world.vm, &world.repository, &world.vddk, &world.journal);
    let found = backup
        .audit(Audit::All)
        .run(|event| {
            if let Event::TrackingLied { chunk, .. } = event {
                *lied.lock().unwrap() = Some(chunk);
            }
        })
        .await
        .unwrap();
    assert_eq!(*lied.lock().unwrap(), Some(5));
    assert_eq!(found.disks[0].decision, Decision::Full(Reason::Distrusted));
    assert_eq!(
        found.suspects,
        [honest.point.id()],
        "it rests on the same tracking; the full one before it does not"
    );
    assert!(found.tracking_error.is_none(), "{:?}", found.tracking_error);
    world.assert_clean();

    // The next one is full since tracking began anew, and then all is as before.
    let next = incremental(&world, Audit::default()).await;
    assert_eq!(next.disks[0].decision, Decision::Full(Reason::TrackingRestarted));
    let digests = world.digests();
    let last = incremental(&world, Audit::default()).await;
    assert!(matches!(last.disks[0].decision, Decision::Incremental(_)));
    assert!(last.suspects.is_empty());
    world.power_off().await;
    world.write(0, 0, 20 * MIB, 9);
    world.revert(&found.point).await.unwrap();
    assert_eq!(
        world.digests(),
        digests,
        "the backup that found the lie holds the change of which nobody told"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn while_tracking_cannot_begin_anew_backups_are_full() {
    let (world, _) = deceived().await;
    // Somebody's snapshot: tracking must not be switched under one.
    let snapshot = world.vm.vm().create_snapshot_task("theirs", None, false, false).await.unwrap();
    snapshot.wait().await.unwrap();
    let found = incremental(&world, Audit::All).await;
    assert_eq!(found.disks[0].decision, Decision::Full(Reason::Distrusted));
    assert!(
        found.tracking_error.as_ref().unwrap().to_string().contains("snapshots"),
        "{found:?}",
        found = found.tracking_error
    );
    for _ in 0..2 {
        let next = incremental(&world, Audit::Off).await;
        assert_eq!(next.disks[0].decision, Decision::Full(Reason::Distrusted), "the epoch is the same");
    }
    world.vm.vm().remove_all_snapshots_task(Some(true), None).await.unwrap().wait().await.unwrap();
    let mended = incremental(&world, Audit::Off).await;
    assert!(mended.tracking_error.is_none(), "{:?}", mended.tracking_error);
    let next = incremental(&world, Audit::Off).await;
    assert_eq!(next.disks[0].decision, Decision::Full(Reason::TrackingRestarted));
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_by_chance_reads_little_and_finds_a_large_lie() {
    let world = World::new(&[64 * MIB]).await;
    world.write(0, 0, 32 * MIB, 1);
    world.full().await.unwrap();
    let honest = incremental(&world, Audit::Chunks(4)).await;
    assert_eq!((honest.disks[0].read, honest.disks[0].audited), (0, 4 * MIB));
    world.write(0, 0, 32 * MIB, 2);
    world.fault(FaultRule::changed_areas(Mutation::Omit).times(1, 1));
    let found = incremental(&world, Audit::Chunks(4)).await;
    assert_eq!(found.disks[0].decision, Decision::Full(Reason::Distrusted), "whatever chunk it looked at");
}

/// Without an audit the lie is believed: what the tests above find is really there.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_audit_the_change_is_lost() {
    let (world, _) = deceived().await;
    let digests = world.digests();
    let wrong = incremental(&world, Audit::Off).await;
    assert!(matches!(wrong.disks[0].decision, Decision::Incremental(_)));
    world.power_off().await;
    world.revert(&wrong.point).await.unwrap();
    assert_ne!(world.digests(), digests);
}
