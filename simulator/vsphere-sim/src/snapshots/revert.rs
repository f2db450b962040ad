//! Going back to a snapshot.

use std::sync::{Arc, PoisonError};

use sim_store::snapshot as links;
use vim_api::types as t;

use crate::chain::{self, Held};
use crate::fault::{Outcome, fault, from_store, not_found};
use crate::hardware;
use crate::machine::{DiskState, Power};
use crate::recovery::{self, Intent};
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
    let live: Vec<DiskState> = machine.disks().into_iter().filter(|disk| !disk.independent).collect();
    for link in chain::links(shared, &live)? {
        chain::check_free(&link.host, &link.path)?;
    }
    let kept: Vec<DiskState> = snapshot.disks().into_iter().filter(|disk| !disk.independent).collect();
    let frozen = chain::links(shared, &kept)?;
    let mut config = snapshot.config.clone();
    // The links that the guest has written to since go when the machine has left them.
    let intent = Intent::of(id).changes_chains(shared, &machine)?.makes_children(shared, &kept)?;
    recovery::carry_out(shared, intent, |_| {
        let (mut paths, total) = (Vec::new(), frozen.len() as u64);
        for (at, frozen) in frozen.iter().enumerate() {
            let child =
                links::branch(&frozen.host).map_err(|error| from_store(&error, &frozen.path.to_string()))?;
            paths.push((frozen.key, chain::beside(&frozen.path, &child)?));
            progress.step(at as u64 + 1, total)?;
        }
        let target = target.to_owned();
        shared.update(|world| {
            let path_of = |key| paths.iter().find(|(found, _)| *found == key).map(|(_, path)| path.clone());
            let reverted = Arc::make_mut(&mut config);
            chain::follow(world, reverted, &path_of);
            // The id that a snapshot stamped is the snapshot's, and not the live disk's.
            super::forget_change_ids(reverted, &|_| true);
            let now = world.clock.now();
            reverted.modified = now.date_time();
            hardware::connect(reverted, snapshot.power == Power::On);
            if let Some(machine) = world.machine_mut(id) {
                // What the inventory calls a machine is no part of its snapshots.
                machine.config.name.clone_into(&mut reverted.name);
                machine.config = config;
                machine.power = snapshot.power;
                machine.booted = (snapshot.power == Power::On).then_some(now);
                machine.current_snapshot = Some(target);
            }
        });
        tracing::info!(machine = id, snapshot = snapshot.id, disks = total, "snapshot reverted to");
        Ok(())
    })
}
