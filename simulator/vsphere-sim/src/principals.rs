//! The file of `--principals`: roles, users and groups beside the user of the command line.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use secrecy::SecretString;
use serde::Deserialize;
use vsphere_sim::Builder;

/// Shown at the end of `--help`.
pub(crate) const FORM: &str = "\
  {\"roles\": {\"backup\": [\"VirtualMachine.State.CreateSnapshot\", \"VirtualMachine.State.RemoveSnapshot\"]},
   \"users\": {\"job@vsphere.local\": {\"password_env\": \"JOB_PASSWORD\", \"role\": \"backup\"},
             \"ann@vsphere.local\": {\"password_env\": \"ANN_PASSWORD\"}},
   \"groups\": {\"readers@vsphere.local\": {\"members\": [\"ann@vsphere.local\"], \"role\": \"ReadOnly\"}}}";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Principals {
    /// The ids of privileges by the role that has them.
    roles: BTreeMap<String, Vec<String>>,
    users: BTreeMap<String, User>,
    groups: BTreeMap<String, Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct User {
    /// The environment variable with the password, which must not stand in files.
    password_env: String,
    role: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    members: Vec<String>,
    role: Option<String>,
}

/// Adds what is in the file.
pub(crate) fn add(mut builder: Builder, path: &Path) -> Result<Builder, Box<dyn Error>> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("reading {name}: {error}"))?;
    let principals = read(&text)
        .map_err(|error| format!("{name} is no JSON object of roles, users and groups: {error}"))?;
    for (role, privileges) in &principals.roles {
        let privileges: Vec<&str> = privileges.iter().map(String::as_str).collect();
        builder = builder.add_role(role, &privileges);
    }
    for (user, of) in &principals.users {
        builder = builder.add_user(user, password(&of.password_env, user)?, of.role.as_deref());
    }
    for (group, of) in &principals.groups {
        let members: Vec<&str> = of.members.iter().map(String::as_str).collect();
        builder = builder.add_group(group, &members, of.role.as_deref());
    }
    Ok(builder)
}

/// An object, and not the list that serde would take for one as well.
fn read(text: &str) -> serde_json::Result<Principals> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
    serde_json::from_value(object.into())
}

/// The password of a user, from an environment variable.
pub(crate) fn password(variable: &str, user: &str) -> Result<SecretString, String> {
    let password = std::env::var(variable).ok().filter(|password| !password.is_empty());
    password
        .map(SecretString::from)
        .ok_or_else(|| format!("set the environment variable {variable} to the password of {user}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;

    #[test]
    fn the_form_that_help_shows_is_read_and_strangers_are_refused() {
        let shown = read(FORM).unwrap();
        assert_eq!((shown.roles.len(), shown.users.len(), shown.groups.len()), (1, 2, 1));
        for strange in [
            r#"{"users": {"a": {"password": "secret"}}}"#,
            r#"{"rolls": {}}"#,
            r#"{"groups": {"g": {"role": "Admin"}}}"#,
            "[]",
        ] {
            assert!(read(strange).is_err(), "{strange}");
        }
    }
}
