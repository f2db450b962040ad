//! What each user may do with the disks of each machine, as the fake VDDK is told: it judges nothing by itself.

use std::collections::{BTreeMap, BTreeSet};

use sim_store::state::rights::{DISK_PRIVILEGES, UserRights};
use vim_api::MoRef;

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
        self.users().any(|user| !self.rights(user).are_alike_everywhere())
    }
}

fn of_user(world: &World, user: &str) -> UserRights {
    let rights = world.rights(user);
    let elsewhere = held(&rights, &world.root());
    if rights.are_alike_everywhere() {
        return UserRights { elsewhere, on: BTreeMap::new() };
    }
    let on =
        world.machines().map(|machine| (machine.id.clone(), held(&rights, &machine_ref(machine).cast())));
    let on = on.filter(|(_, here)| *here != elsewhere).collect();
    UserRights { elsewhere, on }
}

fn held(rights: &Rights<'_>, object: &MoRef) -> BTreeSet<String> {
    let held = DISK_PRIVILEGES.iter().filter(|privilege| rights.has(object, privilege));
    held.map(|privilege| (*privilege).to_owned()).collect()
}
