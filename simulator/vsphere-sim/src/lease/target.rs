//! The machine that an import fills, made from the specification. Until the import is complete, it is there for that only.

use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::fault::{Outcome, not_found};
use crate::lifecycle;
use crate::recovery::Begun;
use crate::tasks::Progress;
use crate::world::Shared;

/// Where the machine is to be.
pub(super) struct Place {
    pub(super) pool: MoRef,
    pub(super) folder: Option<MoRef<mo::Folder>>,
    pub(super) host: Option<MoRef<mo::HostSystem>>,
}

/// Makes the machine, off and with empty disks, and answers its id and the import that has begun. Without a folder it goes into the one of its
/// datacenter.
pub(super) fn create(
    shared: &Shared,
    spec: &t::VirtualMachineConfigSpec,
    wish: &Place,
) -> Outcome<(String, Begun)> {
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
