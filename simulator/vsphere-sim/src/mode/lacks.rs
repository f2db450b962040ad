//! What only a vCenter does. A host has the methods, as its API is the same, and refuses them.

use vim_api::types as t;

use super::Mode;
use crate::fault::{Outcome, fault};
use crate::wire::Call;

/// Methods that a host refuses on every object that has them.
const METHODS: [&str; 24] = [
    "AcquireCloneTicket",
    "AddStandaloneHost_Task",
    "CloneSession",
    "CloneVApp_Task",
    "CloneVM_Task",
    "CreateChildVM_Task",
    "CreateCluster",
    "CreateClusterEx",
    "CreateDVS_Task",
    "CreateDatacenter",
    "CreateFolder",
    "CreateStoragePod",
    "CreateTask",
    "CreateVApp",
    "InstantClone_Task",
    "LoginByToken",
    "LoginExtensionByCertificate",
    "LoginExtensionBySubjectName",
    "MarkAsTemplate",
    "MarkAsVirtualMachine",
    "MigrateVM_Task",
    "MoveIntoFolder_Task",
    "PowerOnMultiVM_Task",
    "RelocateVM_Task",
];

/// Objects of a host's tree that nobody can rename or remove.
const FIXED: [&str; 5] = ["ComputeResource", "Datacenter", "Folder", "HostSystem", "ResourcePool"];

/// Refuses a call that only a vCenter carries out.
///
/// # Errors
/// `NotSupported`, and `NotImplemented` for `SessionIsActive`; `InvalidArgument` for an argument that cannot be read.
pub(crate) fn check(mode: Mode, call: &Call) -> Outcome<()> {
    if mode == Mode::VirtualCenter {
        return Ok(());
    }
    let method = call.method.as_str();
    if method == "SessionIsActive" {
        return Err(fault(t::NotImplemented::default(), "The method is not implemented."));
    }
    let is_lacking = match method {
        "setCustomValue" => true,
        "Destroy_Task" | "Rename_Task" => FIXED.contains(&call.this.type_name()),
        // A host has no templates.
        "RegisterVM_Task" => call.optional("asTemplate")? == Some(true),
        _ => METHODS.contains(&method),
    };
    match is_lacking {
        true => Err(fault(t::NotSupported::default(), "The operation is not supported on the object.")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_refused_are_methods() {
        for name in super::METHODS {
            assert!(vim_api::dynamic::method(name).is_some(), "{name}");
        }
        for name in super::FIXED {
            assert!(vim_api::dynamic::managed_type(name).is_some(), "{name}");
        }
    }
}
