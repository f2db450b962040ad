//! What each user may do with the disks of each machine, as the fake VDDK is told: it judges nothing by itself.

use std::collections::BTreeMap;

use sim_store::state::rights::{DISK_PRIVILEGES, UserRights};

use super::Rights;
use crate::inventory::machine_ref;
use crate::world::World;

impl World {
    /// For each user, by name.
    pub(crate) fn disk_rights(&self) -> BTreeMap<String, UserRights> {
        self.users().map(|user| (user.to_owned(), of_user(self, user))).collect()
    }

    /// Whether a user's rights depend on the machine, so that a change of a machine may change them.
    pub(crate) fn disk_rights_differ(&self) -> bool {
        self.users().any(|user| differ(&self.rights(user)))
    }
}

fn differ(rights: &Rights<'_>) -> bool {
    rights.are_any() && !rights.are_alike_everywhere()
}

fn of_user(world: &World, user: &str) -> UserRights {
    let rights = world.rights(user);
    let on = |object| rights.held(&object, &DISK_PRIVILEGES);
    let elsewhere = on(world.root());
    if !differ(&rights) {
        return UserRights { elsewhere, on: BTreeMap::new() };
    }
    let machines = world.machines().map(|machine| (machine.id.clone(), on(machine_ref(machine).cast())));
    UserRights { on: machines.filter(|(_, here)| *here != elsewhere).collect(), elsewhere }
}
