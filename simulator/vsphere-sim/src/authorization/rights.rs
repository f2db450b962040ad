//! What one user may do, by permissions of its own and by those of its groups.
//!
//! On the way up from an object, the first one decides where the user has a permission, whoever has it; a permission above
//! counts only if it propagates. There the user's own permission counts alone. Without one it is those of all of the user's
//! groups together: what one of their roles holds, the user has. Whoever may see an object also sees the way that leads to
//! it.

use std::borrow::Cow;
use std::collections::BTreeSet;

use vim_api::MoRef;

use super::{ANONYMOUS, Permission, VIEW, is_guarded, lineage, no_permission, roles, subject_of};
use crate::fault::Outcome;
use crate::world::World;

/// What one user may do.
pub(crate) struct Rights<'w> {
    world: &'w World,
    /// Those of the user, and those of groups that the user is in.
    own: Vec<&'w Permission>,
    /// The roles that the user has everywhere: there is nothing to look up then.
    everywhere: Option<Vec<i32>>,
}

impl World {
    /// What a user may do.
    pub(crate) fn rights(&self, user: &str) -> Rights<'_> {
        let is_own = |permission: &&Permission| match permission.group {
            true => self.is_member(user, &permission.principal),
            false => permission.is_of(user, false),
        };
        let own: Vec<&Permission> = self.stored.authorization.permissions.iter().filter(is_own).collect();
        let mut rights = Rights { world: self, own, everywhere: None };
        let root = self.root();
        if !rights.own.is_empty() && rights.own.iter().all(|own| own.propagate && own.is_on(&root)) {
            rights.everywhere = Some(rights.roles_at(&root, true));
        }
        rights
    }
}

impl Rights<'_> {
    /// Whether there is anything at all that the user has a role on.
    pub(crate) fn are_any(&self) -> bool {
        !self.own.is_empty()
    }

    /// Whether the user may do the same on all objects.
    pub(super) fn are_alike_everywhere(&self) -> bool {
        self.everywhere.is_some()
    }

    /// Whether the user may do everything.
    pub(super) fn are_all(&self) -> bool {
        self.everywhere.as_ref().is_some_and(|roles| roles.contains(&roles::ADMIN))
    }

    /// The roles that decide on an object: what one of them holds, the user has.
    pub(crate) fn roles_on(&self, object: &MoRef) -> Cow<'_, [i32]> {
        if let Some(roles) = &self.everywhere {
            return roles.into();
        }
        let entity = subject_of(self.world, object);
        let upwards = lineage(self.world, &entity);
        let nearest =
            upwards.iter().map(|at| self.roles_at(at, *at != entity)).find(|roles| !roles.is_empty());
        if let Some(roles) = nearest {
            return roles.into();
        }
        // Somewhere below is something that the user may see.
        let leads_to = self.own.iter().any(|permission| {
            roles::holds(self.world, permission.role, VIEW)
                && lineage(self.world, &permission.entity()).contains(&entity)
        });
        vec![if leads_to { roles::VIEW } else { roles::NO_ACCESS }].into()
    }

    /// The roles that the permissions on an object give there, or `below` it.
    fn roles_at(&self, at: &MoRef, below: bool) -> Vec<i32> {
        let here = || self.own.iter().filter(|own| own.is_on(at) && (own.propagate || !below));
        match here().find(|own| !own.group) {
            Some(own) => vec![own.role],
            None => here().map(|of_group| of_group.role).collect(),
        }
    }

    /// Whether the user has a privilege on an object.
    pub(crate) fn has(&self, object: &MoRef, privilege: &str) -> bool {
        match privilege {
            ANONYMOUS => true,
            // Managers, sessions' own objects and tasks about nothing are there for all who are logged in.
            VIEW if !is_guarded(self.world, object) => true,
            _ => self.holds(&self.roles_on(object), privilege),
        }
    }

    /// Those of some privileges that the user has on an inventory object.
    pub(super) fn held(&self, object: &MoRef, privileges: &[&str]) -> BTreeSet<String> {
        let roles = self.roles_on(object);
        let held = privileges.iter().filter(|privilege| self.holds(&roles, privilege));
        held.map(|privilege| (*privilege).to_owned()).collect()
    }

    fn holds(&self, roles: &[i32], privilege: &str) -> bool {
        roles.iter().any(|role| roles::holds(self.world, *role, privilege))
    }

    /// Whether the user sees an object at all.
    pub(crate) fn sees(&self, object: &MoRef) -> bool {
        self.has(object, VIEW)
    }

    /// # Errors
    /// `NoPermission`.
    pub(crate) fn require(&self, object: &MoRef, privilege: &str) -> Outcome<()> {
        if self.has(object, privilege) {
            Ok(())
        } else {
            Err(no_permission(&subject_of(self.world, object), privilege))
        }
    }
}
