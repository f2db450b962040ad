//! What users may do with disks, as the server has judged it. Who reads it looks up and decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// Read a machine's disks.
pub const DISK_RANDOM_READ: &str = "VirtualMachine.Provisioning.DiskRandomRead";
/// Write a machine's disks.
pub const DISK_RANDOM_ACCESS: &str = "VirtualMachine.Provisioning.DiskRandomAccess";
/// Hold a machine's disk while it is read or written.
pub const DISK_LEASE: &str = "VirtualMachine.Config.DiskLease";
/// Keep a machine where it is.
pub const DISABLE_METHODS: &str = "Global.DisableMethods";
/// Let it go again.
pub const ENABLE_METHODS: &str = "Global.EnableMethods";

/// The privileges that other processes ask for, by their ids.
pub const DISK_PRIVILEGES: [&str; 5] =
    [DISK_RANDOM_READ, DISK_RANDOM_ACCESS, DISK_LEASE, DISABLE_METHODS, ENABLE_METHODS];

/// Which of [`DISK_PRIVILEGES`] a user has.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UserRights {
    /// On all machines that are not in `on`.
    pub elsewhere: BTreeSet<String>,
    /// On machines where it is otherwise, by managed object id.
    #[serde(default)]
    pub on: BTreeMap<String, BTreeSet<String>>,
}

impl UserRights {
    /// All of them, on all machines.
    pub fn all() -> Self {
        Self { elsewhere: DISK_PRIVILEGES.map(str::to_owned).into(), on: BTreeMap::new() }
    }

    /// Whether the user has a privilege on a machine.
    pub fn has(&self, machine: &str, privilege: &str) -> bool {
        self.on.get(machine).unwrap_or(&self.elsewhere).contains(privilege)
    }
}
