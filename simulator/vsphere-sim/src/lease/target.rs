//! The machine that an import fills, made from the specification, and removed again when the import fails.

use std::fs;
use std::io;

use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::fault::{Outcome, fault, from_store, not_found};
use crate::lifecycle;
use crate::machine::Machine;
use crate::tasks::Progress;
use crate::world::Shared;

/// Where the machine is to be.
pub(super) struct Place {
    pub(super) pool: MoRef,
    pub(super) folder: Option<MoRef<mo::Folder>>,
    pub(super) host: Option<MoRef<mo::HostSystem>>,
}

/// Makes the machine, off and with empty disks, and answers its id. Without a folder it goes into the one of its
/// datacenter.
pub(super) fn create(shared: &Shared, spec: &t::VirtualMachineConfigSpec, wish: &Place) -> Outcome<String> {
    let place = shared.read(|world| {
        let tree = &world.stored.tree;
        let home = || {
            let datacenter = tree.datacenter_of(wish.pool.value())?;
            tree.folder_of(&datacenter.id, crate::inventory::tree::Holds::Vms)
        };
        let folder = match &wish.folder {
            Some(folder) => folder.cast(),
            None => home().ok_or_else(|| not_found(&wish.pool))?.reference(),
        };
        lifecycle::place(world, &folder, Some(&wish.pool.cast()), wish.host.as_ref())
    })?;
    lifecycle::create_machine(shared, &place, spec, &mut Progress::untold(shared))
}

/// Removes what [`create`] made, and what was sent into it.
pub(super) fn remove(shared: &Shared, machine: &Machine) -> Outcome<()> {
    let Some(folder) = machine.vmx().map(|vmx| vmx.parent()) else { return Ok(()) };
    let failed = |error: sim_store::Error| from_store(&error, &folder.to_string());
    let root = shared.read(|world| world.resolve(&folder)).map_err(failed)?;
    match fs::remove_dir_all(&root) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let base = t::FileFault { file: folder.to_string(), ..Default::default() };
            Err(fault(base, format!("{folder}: {error}")))
        }
        _ => Ok(()),
    }
}
