//! The privileges of vSphere 8, as far as backup, its tools and this server's methods are concerned.

use vim_api::types as t;

/// By group, each with the last parts of its privileges' ids.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Alarm",
        &["Acknowledge", "Create", "Delete", "DisableActions", "Edit", "SetStatus", "ToggleEnableOnEntity"],
    ),
    ("Authorization", &["ModifyPermissions", "ModifyPrivileges", "ModifyRoles", "ReassignRolePermissions"]),
    ("Certificate", &["Manage"]),
    ("Cns", &["Searchable"]),
    (
        "Cryptographer",
        &[
            "Access",
            "AddDisk",
            "Clone",
            "Decrypt",
            "Encrypt",
            "EncryptNew",
            "ManageEncryptionPolicy",
            "ManageKeyServers",
            "ManageKeys",
            "Migrate",
            "ReadKeyServersInfo",
            "Recrypt",
            "RegisterHost",
            "RegisterVM",
        ],
    ),
    ("DVPortgroup", &["Create", "Delete", "Modify", "PolicyOp", "ScopeOp"]),
    (
        "DVSwitch",
        &[
            "Create",
            "Delete",
            "HostOp",
            "Modify",
            "Move",
            "PolicyOp",
            "PortConfig",
            "PortSetting",
            "ResourceManagement",
            "Vspan",
        ],
    ),
    (
        "Datacenter",
        &[
            "Create",
            "Delete",
            "IpPoolConfig",
            "IpPoolQueryAllocations",
            "IpPoolReleaseIp",
            "Move",
            "Reconfigure",
            "Rename",
        ],
    ),
    (
        "Datastore",
        &[
            "AllocateSpace",
            "Browse",
            "Config",
            "Delete",
            "DeleteFile",
            "FileManagement",
            "Move",
            "Rename",
            "UpdateVirtualMachineFiles",
            "UpdateVirtualMachineMetadata",
        ],
    ),
    ("Extension", &["Register", "Unregister", "Update"]),
    ("ExternalStatsProvider", &["Register", "Unregister", "Update"]),
    ("Folder", &["Create", "Delete", "Move", "Rename"]),
    (
        "Global",
        &[
            "CancelTask",
            "CapacityPlanning",
            "Diagnostics",
            "DisableMethods",
            "EnableMethods",
            "GlobalTag",
            "Health",
            "Licenses",
            "LogEvent",
            "ManageCustomFields",
            "Proxy",
            "ScriptAction",
            "ServiceManagers",
            "SetCustomField",
            "Settings",
            "SystemTag",
            "VCServer",
        ],
    ),
    ("HealthUpdateProvider", &["Register", "Unregister", "Update"]),
    ("Host.Cim", &["CimInteraction"]),
    (
        "Host.Config",
        &[
            "AdvancedConfig",
            "AuthenticationStore",
            "AutoStart",
            "Connection",
            "DateTime",
            "Firmware",
            "GuestStore",
            "HyperThreading",
            "Image",
            "Maintenance",
            "Memory",
            "NetService",
            "Network",
            "Nvdimm",
            "Patch",
            "PciPassthru",
            "Power",
            "ProductLocker",
            "Quarantine",
            "Resources",
            "Settings",
            "Snmp",
            "Storage",
            "SystemManagement",
        ],
    ),
    (
        "Host.Inventory",
        &[
            "AddHostToCluster",
            "AddStandaloneHost",
            "CreateCluster",
            "DeleteCluster",
            "EditCluster",
            "MoveCluster",
            "MoveHost",
            "RemoveHostFromCluster",
            "RenameCluster",
        ],
    ),
    ("Host.Local", &["CreateVM", "DeleteVM", "InstallAgent", "ManageUserGroups", "ReconfigVM"]),
    (
        "InventoryService.Tagging",
        &[
            "AttachTag",
            "CreateCategory",
            "CreateTag",
            "DeleteCategory",
            "DeleteTag",
            "EditCategory",
            "EditTag",
            "ModifyUsedByForCategory",
            "ModifyUsedByForTag",
            "ObjectAttachable",
        ],
    ),
    ("Network", &["Assign", "Config", "Delete", "Move"]),
    ("Performance", &["ModifyIntervals"]),
    ("Profile", &["Clear", "Create", "Delete", "Edit", "Export", "View"]),
    (
        "Resource",
        &[
            "ApplyRecommendation",
            "AssignVAppToPool",
            "AssignVMToPool",
            "ColdMigrate",
            "CreatePool",
            "DeletePool",
            "EditPool",
            "HotMigrate",
            "MovePool",
            "QueryVMotion",
            "RenamePool",
        ],
    ),
    ("ScheduledTask", &["Create", "Delete", "Edit", "Run"]),
    ("Sessions", &["GlobalMessage", "ImpersonateUser", "TerminateSession", "ValidateSession"]),
    ("StoragePod", &["Config"]),
    ("StorageProfile", &["Apply", "Update", "View"]),
    ("StorageViews", &["ConfigureService", "View"]),
    ("System", &["Anonymous", "Read", "View"]),
    ("Task", &["Create", "Update"]),
    (
        "VApp",
        &[
            "ApplicationConfig",
            "AssignResourcePool",
            "AssignVApp",
            "AssignVM",
            "Clone",
            "Create",
            "Delete",
            "Export",
            "ExtractOvfEnvironment",
            "Import",
            "InstanceConfig",
            "ManagedByConfig",
            "Move",
            "PowerOff",
            "PowerOn",
            "PullFromUrls",
            "Rename",
            "ResourceConfig",
            "Suspend",
            "Unregister",
        ],
    ),
    (
        "VirtualMachine.Config",
        &[
            "AddExistingDisk",
            "AddNewDisk",
            "AddRemoveDevice",
            "AdvancedConfig",
            "Annotation",
            "CPUCount",
            "ChangeTracking",
            "DiskExtend",
            "DiskLease",
            "EditDevice",
            "HostUSBDevice",
            "ManagedBy",
            "Memory",
            "MksControl",
            "QueryFTCompatibility",
            "QueryUnownedFiles",
            "RawDevice",
            "ReloadFromPath",
            "RemoveDisk",
            "Rename",
            "ResetGuestInfo",
            "Resource",
            "Settings",
            "SwapPlacement",
            "ToggleForkParent",
            "UpgradeVirtualHardware",
        ],
    ),
    ("VirtualMachine.GuestOperations", &["Execute", "Modify", "ModifyAliases", "Query", "QueryAliases"]),
    ("VirtualMachine.Hbr", &["ConfigureReplication", "MonitorReplication", "ReplicaManagement"]),
    (
        "VirtualMachine.Interact",
        &[
            "AnswerQuestion",
            "Backup",
            "ConsoleInteract",
            "CreateScreenshot",
            "CreateSecondary",
            "DefragmentAllDisks",
            "DeviceConnection",
            "DisableSecondary",
            "DnD",
            "EnableSecondary",
            "GuestControl",
            "MakePrimary",
            "Pause",
            "PowerOff",
            "PowerOn",
            "PutUsbScanCodes",
            "Record",
            "Replay",
            "Reset",
            "SESparseMaintenance",
            "SetCDMedia",
            "SetFloppyMedia",
            "Suspend",
            "SuspendToMemory",
            "TerminateFaultTolerantVM",
            "ToolsInstall",
            "TurnOffFaultTolerance",
        ],
    ),
    (
        "VirtualMachine.Inventory",
        &["Create", "CreateFromExisting", "Delete", "Move", "Register", "Unregister"],
    ),
    (
        "VirtualMachine.Namespace",
        &["Event", "EventNotify", "Management", "ModifyContent", "Query", "ReadContent"],
    ),
    (
        "VirtualMachine.Provisioning",
        &[
            "Clone",
            "CloneTemplate",
            "CreateTemplateFromVM",
            "Customize",
            "DeployTemplate",
            "DiskRandomAccess",
            "DiskRandomRead",
            "FileRandomAccess",
            "GetVmFiles",
            "MarkAsTemplate",
            "MarkAsVM",
            "ModifyCustSpecs",
            "PromoteDisks",
            "PutVmFiles",
            "ReadCustSpecs",
        ],
    ),
    ("VirtualMachine.State", &["CreateSnapshot", "RemoveSnapshot", "RenameSnapshot", "RevertToSnapshot"]),
    ("vService", &["CreateDependency", "DestroyDependency", "ReconfigureDependency", "UpdateDependency"]),
];

/// What takes an object out of its parent is needed on the parent too.
const ON_PARENT: [&str; 2] = ["Delete", "Move"];

/// All ids.
pub(super) fn ids() -> impl Iterator<Item = String> {
    GROUPS.iter().flat_map(|(group, names)| names.iter().map(move |name| format!("{group}.{name}")))
}

/// Whether there is such a privilege.
pub(super) fn is_known(id: &str) -> bool {
    let Some((group, name)) = id.rsplit_once('.') else { return false };
    GROUPS.iter().any(|(known, names)| *known == group && names.contains(&name))
}

/// `AuthorizationManager.privilegeList`.
pub(super) fn list() -> impl Iterator<Item = t::AuthorizationPrivilege> {
    let of_group = |(group, names): &'static (&str, &[&str])| {
        names.iter().map(move |name| t::AuthorizationPrivilege {
            priv_id: format!("{group}.{name}"),
            on_parent: ON_PARENT.contains(name) && *group != "Alarm",
            name: (*name).to_owned(),
            priv_group_name: (*group).to_owned(),
            ..Default::default()
        })
    };
    GROUPS.iter().flat_map(of_group)
}

/// `AuthorizationManager.description`.
pub(super) fn description() -> t::AuthorizationDescription {
    let element = |key: &str, label: &str| {
        let base =
            t::Description { label: label.to_owned(), summary: label.to_owned(), ..Default::default() };
        vim_api::dynamic::Poly::new(t::ElementDescription { base, key: key.to_owned() })
    };
    t::AuthorizationDescription {
        privilege: list().map(|privilege| element(&privilege.priv_id, &privilege.name)).collect(),
        privilege_group: GROUPS.iter().map(|(group, _)| element(group, group)).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_is_known_once() {
        let all: Vec<String> = super::ids().collect();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(all.len(), distinct.len());
        assert!(all.len() > 200, "{}", all.len());
        assert!(
            super::is_known("VirtualMachine.State.CreateSnapshot")
                && !super::is_known("VirtualMachine.State")
        );
    }
}
