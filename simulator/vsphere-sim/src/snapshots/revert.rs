//! Going back to a snapshot.

use std::sync::PoisonError;

use sim_store::snapshot;
use vim_api::types as t;

use crate::chain::{self, Held};
use crate::fault::{Outcome, fault, from_store, not_found};
use crate::inventory::machine_ref;
use crate::machine::Power;
use crate::tasks::Progress;
use crate::world::Shared;

/// Brings disks and hardware back; `None` stands for the current snapshot. A snapshot without memory brings back a
/// machine that is off.
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
    let owned = Held::owned(shared, &machine)?;
    let live = Held::links(shared, &machine.settings.disks)?;
    let frozen = Held::links(shared, &snapshot.settings.disks)?;
    let mut settings = snapshot.settings.clone();
    let total = frozen.len() as u64;
    for (at, (disk, frozen)) in settings.disks.iter_mut().zip(&frozen).enumerate() {
        let Some(top) = live.iter().find(|link| link.key == disk.key) else {
            let value = t::FileFault { file: frozen.path.to_string(), ..Default::default() };
            return Err(fault(value, format!("Disk {} is not attached any more.", disk.key)));
        };
        let child = snapshot::revert(&top.host, &frozen.host, &owned)
            .map_err(|error| from_store(&error, &top.path.to_string()))?;
        disk.path = chain::beside(&frozen.path, &child)?;
        disk.change_id = None;
        // Written down disk by disk: the old link is gone.
        let (key, path) = (disk.key, disk.path.clone());
        shared.update(|world| {
            let machine = world.machine_mut(id).ok_or_else(|| not_found(&machine_ref(&machine).cast()))?;
            if let Some(disk) = machine.settings.disks.iter_mut().find(|disk| disk.key == key) {
                disk.path = path;
            }
            Ok(())
        })?;
        progress.step(at as u64 + 1, total)?;
    }
    let target = target.to_owned();
    let applied = settings.clone();
    shared.update(|world| {
        if let Some(machine) = world.machine_mut(id) {
            machine.settings = settings;
            machine.power = Power::Off;
            machine.booted = None;
            machine.generation += 1;
            machine.current_snapshot = Some(target);
        }
    });
    chain::apply_tracking(shared, &applied)?;
    chain::write_text_files(shared, id)
}
