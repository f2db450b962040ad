//! What belongs to a journal that is lost.

use vadp::{ErrorKind, Intent, Journal, Sweeper};
use vsphere_sim::FaultRule;

use crate::harness::{MIB, World};

#[tokio::test(flavor = "multi_thread")]
async fn the_snapshots_of_a_lost_journal_are_removed_from_elsewhere_and_nobody_elses() {
    let world = World::new(&[8 * MIB]).await;
    // A backup that could not remove its snapshot, and whose journal is then lost.
    world.fault(FaultRule::task("RemoveSnapshot_Task", "GenericVmConfigFault", 10));
    assert!(world.full().await.unwrap().cleanup_error.is_some());
    world.sim.clear_faults().unwrap();
    for name in ["before the update", "vadp-backup-by-hand"] {
        world.vm.vm().create_snapshot_task(name, None, false, false).await.unwrap().wait().await.unwrap();
    }
    let lost = world.journal.owner().to_owned();

    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(folder.path()).unwrap();
    let sweeper = Sweeper::new(&journal);
    assert_eq!(sweeper.sweep(&world.client).await.unwrap(), vadp::Swept::default(), "it knows of nothing");
    let foreign = sweeper.foreign(&world.client).await.unwrap();
    assert_eq!(foreign.len(), 1, "{foreign:?}");
    assert_eq!((foreign[0].owner.as_str(), foreign[0].machine.as_str()), (lost.as_str(), crate::harness::VM));
    let Intent::Snapshot { name, .. } = world.journal.entries().unwrap()[0].intent().clone() else {
        panic!("another intent")
    };
    assert_eq!(foreign[0].name, name);

    let nobody = sweeper.take_over(&world.client, "0123456789ab").await.unwrap();
    assert!(nobody.snapshots_removed.is_empty());
    assert_eq!(world.sim.vm(crate::harness::VM).unwrap().snapshot_count(), 3);
    let swept = sweeper.take_over(&world.client, &lost).await.unwrap();
    assert_eq!(swept.snapshots_removed, [name]);
    assert_eq!(world.sim.vm(crate::harness::VM).unwrap().snapshot_count(), 2, "those of others stay");

    // Should the journal be found again, it sees that nothing is left.
    let swept = Sweeper::new(&world.journal).sweep(&world.client).await.unwrap();
    assert_eq!((swept.snapshots_removed.len(), swept.already_gone), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_over_from_himself_or_from_a_name_that_fits_all() {
    let world = World::new(&[8 * MIB]).await;
    let own = world.journal.owner().to_owned();
    for owner in [own.as_str(), "", "vadp", "0123456789ab-1"] {
        let error = Sweeper::new(&world.journal).take_over(&world.client, owner).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Journal, "{owner}");
    }
}
