//! Going back to a snapshot.

use std::sync::{Arc, PoisonError};

use sim_store::snapshot;
use vim_api::types as t;

use crate::chain::{self, Held};
use crate::fault::{Outcome, fault, from_store, not_found};
use crate::hardware;
use crate::inventory::machine_ref;
use crate::machine::{DiskState, Power};
use crate::tasks::Progress;
use crate::world::Shared;

/// Brings disks and hardware back; `None` stands for the current snapshot. A snapshot without memory brings back a
/// machine that is off. Independent disks stay as they are.
pub(super) fn revert(
    shared: &Shared,
    id: &str,
    target: Option<&str>,
    progress: &mut Progress<'_>,
) -> Outcome<()> {
    let Held { machine, stun } = Held::take(shared, id)?;
    let Some(target) = target.or(machine.current_snapshot.as_deref()) else {
        return Err(fault(t::NotFound::default(), "The machine has no current snapshot."));
    };
    let Some(snapshot) = machine.snapshot(target) else {
        return Err(not_found(&vim_api::MoRef::<vim_api::mo::VirtualMachineSnapshot>::new(target).cast()));
    };
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    let owned = chain::owned(shared, &machine)?;
    let live = chain::links(shared, &machine.disks())?;
    let kept: Vec<DiskState> = snapshot.disks().into_iter().filter(|disk| !disk.independent).collect();
    let frozen = chain::links(shared, &kept)?;
    let mut config = snapshot.config.clone();
    let mut paths = Vec::new();
    let total = frozen.len() as u64;
    for (at, frozen) in frozen.iter().enumerate() {
        let child = match live.iter().find(|link| link.key == frozen.key) {
            Some(top) => snapshot::revert(&top.host, &frozen.host, &owned)
                .map_err(|error| from_store(&error, &top.path.to_string()))?,
            // It was taken off the machine since; the snapshot still has it.
            None => snapshot::branch(&frozen.host)
                .map_err(|error| from_store(&error, &frozen.path.to_string()))?,
        };
        let path = chain::beside(&frozen.path, &child)?;
        // Written down disk by disk: the old link is gone.
        let (key, now) = (frozen.key, path.clone());
        shared.update(|world| {
            let found = world.machine(id).ok_or_else(|| not_found(&machine_ref(&machine).cast()))?;
            let mut live = found.config.clone();
            chain::follow(world, Arc::make_mut(&mut live), &|found| (found == key).then(|| now.clone()));
            if let Some(machine) = world.machine_mut(id) {
                machine.config = live;
            }
            Ok(())
        })?;
        paths.push((key, path));
        progress.step(at as u64 + 1, total)?;
    }
    let target = target.to_owned();
    tracing::info!(machine = id, snapshot = target, disks = total, "snapshot reverted to");
    shared.update(|world| {
        let path_of = |key| paths.iter().find(|(found, _)| *found == key).map(|(_, path)| path.clone());
        let reverted = Arc::make_mut(&mut config);
        chain::follow(world, reverted, &path_of);
        super::forget_change_ids(reverted);
        let now = world.clock.now();
        reverted.modified = now.date_time();
        hardware::connect(reverted, snapshot.power == Power::On);
        if let Some(machine) = world.machine_mut(id) {
            machine.config = config;
            machine.power = snapshot.power;
            machine.booted = (snapshot.power == Power::On).then_some(now);
            machine.current_snapshot = Some(target);
        }
    });
    chain::apply_tracking(shared, &Held::take(shared, id)?.machine)?;
    chain::write_text_files(shared, id)
}
