//! What a backup holds beside its snapshot, and what becomes of it.

use std::sync::Mutex;

use vadp::{Backup, Consolidation, ErrorKind, Event, Journal, Sweeper};
use vim_api::mo::{Managed, VirtualMachine};
use vsphere_sim::FaultRule;

use crate::harness::{MIB, VM, World, story};

async fn move_it(world: &World) -> Result<(), vim_api::Error> {
    let spec = vim_api::types::VirtualMachineRelocateSpec::default();
    world.vm.vm().relocate_vm_task(&spec, None).await?.wait().await
}

async fn is_barred(world: &World) -> bool {
    let disabled = world.vm.vm().get(VirtualMachine::DISABLED_METHOD).await.unwrap().unwrap_or_default();
    disabled.iter().any(|method| method == "RelocateVM_Task")
}

fn backup(world: &World) -> Backup<'_> {
    Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_barred_from_migration_while_it_is_backed_up_and_no_longer() {
    let world = World::new(&[8 * MIB]).await;
    let during = Mutex::new(None);
    let look =
        || tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(is_barred(&world)));
    let done = backup(&world).bar_migration(true).run(|event| {
        if matches!(event, Event::SnapshotTaken { .. }) {
            *during.lock().unwrap() = Some(look());
        }
    });
    let done = done.await.unwrap();
    assert_eq!(during.into_inner().unwrap(), Some(true));
    assert!(done.cleanup_error.is_none(), "{:?}", done.cleanup_error);
    assert!(!is_barred(&world).await);
    world.assert_clean();
    world.full().await.unwrap();
}

/// A backup that could not lift its bar.
async fn left_barred() -> World {
    let world = World::new(&[8 * MIB]).await;
    let refuses = sim_store::state::FaultRule { function: "EndAccess".into(), code: 1, ..Default::default() };
    world.sim.add_vddk_fault(refuses).unwrap();
    let done = backup(&world).bar_migration(true).run(|_| ()).await.unwrap();
    assert!(done.cleanup_error.is_some(), "the point is there all the same");
    world.sim.clear_faults().unwrap();
    assert!(is_barred(&world).await);
    let refused = move_it(&world).await.unwrap_err();
    assert!(refused.fault::<vim_api::types::MethodDisabled>().is_some(), "{refused}");
    assert_eq!(world.journal.entries().unwrap().len(), 1);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bar_that_was_left_is_lifted_by_the_next_sweep_that_can() {
    let world = left_barred().await;
    let without = Sweeper::new(&world.journal).sweep(&world.client).await.unwrap();
    assert_eq!(without.left.len(), 1, "{without:?}");
    assert!(is_barred(&world).await);
    let done = world.full().await.unwrap();
    assert_eq!(done.swept.migration_allowed, [VM], "a backup has the library at hand");
    assert!(!is_barred(&world).await);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bar_of_a_lost_journal_is_lifted_from_elsewhere_and_nobody_elses() {
    let world = left_barred().await;
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = Journal::open(folder.path()).unwrap();
    let sweeper = Sweeper::new(&elsewhere).through(&world.vddk);
    let nobodys = sweeper.take_over(&world.client, "0123456789ab").await.unwrap();
    assert!(nobodys.migration_allowed.is_empty());
    assert!(is_barred(&world).await);
    let swept = sweeper.take_over(&world.client, world.journal.owner()).await.unwrap();
    assert_eq!(swept.migration_allowed, [VM]);
    assert!(!is_barred(&world).await);
    // Should the journal be found again, it sees that nothing is left.
    let swept = Sweeper::new(&world.journal).sweep(&world.client).await.unwrap();
    assert_eq!((swept.already_gone, swept.left.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_a_machine_for_its_backup_alone() {
    let world = World::new(&[8 * MIB]).await;
    world.write(0, 0, MIB, 1);
    world.power_off().await;
    world.vm.vm().mark_as_template().await.unwrap();
    let is_template = async || world.vm.vm().require(VirtualMachine::CONFIG).await.unwrap().template;
    assert_eq!(world.full().await.err().unwrap().kind(), ErrorKind::NotEligible);
    assert!(is_template().await);
    backup(&world).convert_template(true).plan().await.unwrap();
    assert!(is_template().await, "a plan changes nothing");
    let done = backup(&world).convert_template(true).run(|_| ()).await.unwrap();
    assert!(done.cleanup_error.is_none(), "{:?}", done.cleanup_error);
    assert!(is_template().await);
    world.assert_clean();

    // A backup that is dropped in the middle.
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let stop = Mutex::new(Some(stop));
    let run = backup(&world).convert_template(true).run(|event| {
        if matches!(event, Event::SnapshotTaken { .. })
            && let Some(stop) = stop.lock().unwrap().take()
        {
            let _ = stop.send(());
        }
    });
    tokio::select! {
        biased;
        Ok(()) = stopped => {}
        _ = run => panic!("it ended"),
    }
    assert!(!is_template().await);
    // Its snapshot goes by itself; the template is for the next run.
    let mut patience = 1000;
    while world.journal.entries().unwrap().len() > 1 && patience > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        patience -= 1;
    }
    let swept = Sweeper::new(&world.journal).sweep(&world.client).await;
    let swept = swept.unwrap_or_else(|error| panic!("{}", story(&error)));
    assert_eq!((swept.snapshots_removed.len(), swept.templates.len()), (0, 1), "{swept:?}");
    assert!(is_template().await);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_a_removal_left_are_merged() {
    let world = World::new(&[8 * MIB]).await;
    let needed = async || {
        world.vm.vm().require(VirtualMachine::RUNTIME).await.unwrap().consolidation_needed.unwrap_or(false)
    };
    assert_eq!(world.full().await.unwrap().consolidation, Consolidation::NotNeeded);
    // Somebody removes a snapshot without merging.
    let task = world.vm.vm().create_snapshot_task("somebody's", None, false, false).await.unwrap();
    let snapshot: vim_api::mo::VirtualMachineSnapshot = world.client.bind(&task.wait().await.unwrap());
    world.write(0, 0, MIB, 1);
    snapshot.remove_snapshot_task(false, Some(false)).await.unwrap().wait().await.unwrap();
    assert!(needed().await);
    world.fault(FaultRule::task("ConsolidateVMDisks_Task", "FileFault", 0).times(1, 1));
    // Merging our own snapshot may merge the other's links as well; what is left takes a second attempt.
    let done = world.full().await.unwrap();
    assert!(!matches!(done.consolidation, Consolidation::StillNeeded { .. }), "{:?}", done.consolidation);
    assert!(!needed().await);

    world.sim.clear_faults().unwrap();
    world.fault(FaultRule::task("RemoveSnapshot_Task", "FileFault", 60).times(1, 1));
    let done = world.full().await.unwrap();
    assert!(done.cleanup_error.is_none() || world.journal.entries().unwrap().len() == 1);
    world.full().await.unwrap();
    assert!(!needed().await);
    world.assert_clean();
}
