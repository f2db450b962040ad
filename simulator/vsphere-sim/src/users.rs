//! Who may log in, and `UserDirectory`, where clients look for users and groups to give permissions to.

use serde::{Deserialize, Serialize};
use vim_api::dynamic::Value;
use vim_api::types as t;

use crate::authorization::{Permission, role_named, same_principal};
use crate::dispatch::method_not_found;
use crate::fault::{Fault, Outcome, fault};
use crate::inventory::strings;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// A group of users. There are none of groups.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) members: Vec<String>,
}

impl Group {
    fn has(&self, user: &str) -> bool {
        self.members.iter().any(|member| same_principal(member, user))
    }
}

impl World {
    /// The names of all users, those included that log in with a certificate.
    pub(crate) fn users(&self) -> impl Iterator<Item = &str> {
        let own = self.stored.users.iter().map(|user| user.name.as_str());
        own.chain(self.sessions.solution_users.values().map(String::as_str))
    }

    /// Whether there is such a user.
    pub(crate) fn has_user(&self, principal: &str) -> bool {
        self.users().any(|user| same_principal(user, principal))
    }

    fn group(&self, principal: &str) -> Option<&Group> {
        self.stored.groups.iter().find(|group| same_principal(&group.name, principal))
    }

    /// Whether there is such a group.
    pub(crate) fn has_group(&self, principal: &str) -> bool {
        self.group(principal).is_some()
    }

    /// Whether a user is in a group. Nobody is in one that does not exist.
    pub(crate) fn is_member(&self, user: &str, group: &str) -> bool {
        self.group(group).is_some_and(|group| group.has(user))
    }

    /// Lets a user in who logs in with a certificate, as an administrator: solutions are. Permissions that the user has
    /// stay.
    pub(crate) fn admit_solution_user(&mut self, name: &str) {
        let root = self.root();
        let is_new = !self.stored.authorization.knows(name, false);
        if let Some(admin) = role_named(self, "Admin").filter(|_| is_new) {
            self.stored.authorization.grant(Permission::propagating(&root, name, false, admin));
            self.touch();
        }
    }

    /// A property of `UserDirectory`.
    pub(crate) fn user_directory_property(&self, name: &str) -> Option<Value> {
        if name != "domainList" {
            return None;
        }
        let principals = self.users().chain(self.stored.groups.iter().map(|group| group.name.as_str()));
        let mut domains: Vec<&str> = principals.filter_map(|name| Some(name.split_once('@')?.1)).collect();
        domains.sort_unstable();
        domains.dedup();
        Some(strings(domains))
    }
}

/// Carries a call out.
pub(crate) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    if call.method != "RetrieveUserGroups" {
        return Err(method_not_found(call));
    }
    let text = call.required::<String>("searchStr")?.to_lowercase();
    let domain: Option<String> = call.optional::<String>("domain")?.map(|domain| domain.to_lowercase());
    let exact: bool = call.required("exactMatch")?;
    let wants_users: bool = call.required("findUsers")?;
    let wants_groups: bool = call.required("findGroups")?;
    let in_group: Option<String> = call.optional("belongsToGroup")?;
    let with_user: Option<String> = call.optional("belongsToUser")?;
    shared.read(|world| {
        let group = in_group.as_deref().map(|name| world.group(name).ok_or_else(|| unknown("group", name)));
        let group = group.transpose()?;
        if let Some(user) = with_user.as_deref().filter(|user| !world.has_user(user)) {
            return Err(unknown("user", user));
        }
        let is_named = |name: &str| {
            let lower = name.to_lowercase();
            let (short, own) = lower.split_once('@').unwrap_or((&lower, ""));
            domain.as_ref().is_none_or(|domain| domain == own)
                && if exact { lower == text || short == text } else { lower.contains(&text) }
        };
        // Members are users, and who has members is a group.
        let users = world.users().filter(|_| wants_users && with_user.is_none());
        let users = users.filter(|user| group.is_none_or(|group| group.has(user)));
        let groups = world.stored.groups.iter().filter(|_| wants_groups && group.is_none());
        let groups = groups.filter(|group| with_user.as_ref().is_none_or(|user| group.has(user)));
        let found = users.map(|user| (user, false)).chain(groups.map(|group| (group.name.as_str(), true)));
        let result = |(name, group): (&str, bool)| t::UserSearchResult {
            principal: name.to_owned(),
            full_name: Some(name.to_owned()),
            group,
            ..Default::default()
        };
        let found: Vec<_> = found.filter(|(name, _)| is_named(name)).map(result).collect();
        Ok(Answer::many(call, &found))
    })
}

fn unknown(kind: &str, name: &str) -> Fault {
    fault(t::NotFound::default(), format!("There is no {kind} \"{name}\"."))
}
