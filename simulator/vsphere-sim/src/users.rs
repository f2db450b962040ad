//! Who may log in, and `UserDirectory`, where clients look for users to give permissions to.

use vim_api::dynamic::Value;
use vim_api::types as t;

use crate::authorization::{role_named, same_principal};
use crate::dispatch::method_not_found;
use crate::fault::{Outcome, fault};
use crate::inventory::strings;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

impl World {
    /// The names of all users, those included that log in with a certificate.
    fn users(&self) -> impl Iterator<Item = &str> {
        let own = self.stored.users.iter().map(|user| user.name.as_str());
        own.chain(self.sessions.solution_users.values().map(String::as_str))
    }

    /// Whether there is such a user.
    pub(crate) fn has_user(&self, principal: &str) -> bool {
        self.users().any(|user| same_principal(user, principal))
    }

    /// Lets a user in who logs in with a certificate, as an administrator: solutions are. Permissions that the user has
    /// stay.
    pub(crate) fn admit_solution_user(&mut self, name: &str) {
        let root = self.root();
        if let Some(admin) = role_named(self, "Admin").filter(|_| !self.stored.authorization.knows(name)) {
            self.stored.authorization.grant(&root, name, admin, true);
        }
    }

    /// A property of `UserDirectory`.
    pub(crate) fn user_directory_property(&self, name: &str) -> Option<Value> {
        if name != "domainList" {
            return None;
        }
        let mut domains: Vec<&str> = self.users().filter_map(|user| Some(user.split_once('@')?.1)).collect();
        domains.sort_unstable();
        domains.dedup();
        Some(strings(domains))
    }
}

/// Carries a call out. There are no groups.
pub(crate) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    if call.method != "RetrieveUserGroups" {
        return Err(method_not_found(call));
    }
    let text = call.required::<String>("searchStr")?.to_lowercase();
    let domain: Option<String> = call.optional::<String>("domain")?.map(|domain| domain.to_lowercase());
    let exact: bool = call.required("exactMatch")?;
    let wants_users: bool = call.required("findUsers")?;
    for argument in ["belongsToGroup", "belongsToUser"] {
        if let Some(principal) = call.optional::<String>(argument)? {
            return Err(fault(
                t::NotFound::default(),
                format!("\"{principal}\" is in no group, and is none."),
            ));
        }
    }
    let found: Vec<t::UserSearchResult> = shared.read(|world| {
        let wanted = |user: &&str| {
            let lower = user.to_lowercase();
            let (short, own) = lower.split_once('@').unwrap_or((&lower, ""));
            domain.as_ref().is_none_or(|domain| domain == own)
                && if exact { lower == text || short == text } else { lower.contains(&text) }
        };
        let result = |user: &str| t::UserSearchResult {
            principal: user.to_owned(),
            full_name: Some(user.to_owned()),
            group: false,
            ..Default::default()
        };
        world.users().filter(|_| wants_users).filter(wanted).map(result).collect()
    });
    Ok(Answer::many(call, &found))
}
