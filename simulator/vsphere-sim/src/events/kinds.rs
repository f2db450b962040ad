//! The events that are posted here, as `EventManager.description` lists them.

use vim_api::dynamic::Poly;
use vim_api::types as t;

/// Type, category, description, and the text with its places. Of an [`t::EventEx`], the id stands before the text.
const KINDS: &[(&str, &str, &str, &str)] = &[
    ("BadUsernameSessionEvent", "error", "Invalid user name", "Cannot login {userName}@{ipAddress}"),
    (
        "CustomFieldDefAddedEvent",
        "info",
        "Custom field definition added",
        "Created new custom field definition {name}",
    ),
    (
        "CustomFieldDefRemovedEvent",
        "info",
        "Custom field definition removed",
        "Removed field definition {name}",
    ),
    (
        "CustomFieldDefRenamedEvent",
        "info",
        "Custom field definition renamed",
        "Renamed field definition from {name} to {newName}",
    ),
    (
        "CustomFieldValueChangedEvent",
        "info",
        "Custom field value changed",
        "Changed custom field {name} on {entity.name} to {value}",
    ),
    ("EventEx", "info", "Event by its id", "{message}"),
    (
        "EventEx",
        "warning",
        "Virtual machine disks consolidation needed",
        "com.vmware.vc.VmDiskConsolidationNeeded|Virtual machine {vm.name} disks consolidation is needed on {host.name}",
    ),
    (
        "EventEx",
        "info",
        "Virtual machine disks consolidation succeeded",
        "com.vmware.vc.VmDiskConsolidatedEvent|Virtual machine {vm.name} disks consolidated successfully on {host.name}",
    ),
    ("ExtendedEvent", "info", "Extended event", "{message}"),
    ("GeneralUserEvent", "user", "General user event", "User logged event: {message}"),
    (
        "NoAccessUserEvent",
        "error",
        "No access for user",
        "Cannot login user {userName}@{ipAddress}: no permission",
    ),
    (
        "PermissionAddedEvent",
        "info",
        "Permission added",
        "Permission created for {principal} on {entity.name}, role is {role.name}",
    ),
    (
        "PermissionRemovedEvent",
        "info",
        "Permission removed",
        "Permission rule removed for {principal} on {entity.name}",
    ),
    (
        "SessionTerminatedEvent",
        "info",
        "Session was terminated",
        "A session for user '{terminatedUsername}' has stopped",
    ),
    ("TaskEvent", "info", "Task event", "Task: {info.descriptionId}"),
    ("UserLoginSessionEvent", "info", "User login", "User {userName}@{ipAddress} logged in as {userAgent}"),
    (
        "UserLogoutSessionEvent",
        "info",
        "User logout",
        "User {userName}@{ipAddress} logged out (login time: {loginTime}, number of API invocations: {callCount}, user \
         agent: {userAgent})",
    ),
    ("VmClonedEvent", "info", "VM cloned", "{sourceVm.name} cloned to {vm.name} on {host.name}"),
    ("VmCreatedEvent", "info", "VM created", "{vm.name} on {host.name} is created"),
    ("VmPoweredOffEvent", "info", "VM powered off", "{vm.name} on {host.name} is powered off"),
    ("VmPoweredOnEvent", "info", "VM powered on", "{vm.name} on {host.name} is powered on"),
    ("VmReconfiguredEvent", "info", "VM reconfigured", "{vm.name} on {host.name} is reconfigured"),
    ("VmRegisteredEvent", "info", "VM registered", "{vm.name} on {host.name} is registered"),
    ("VmRemovedEvent", "info", "VM removed", "{vm.name} on {host.name} is removed from the inventory"),
    ("VmRenamedEvent", "warning", "VM renamed", "{vm.name} on {host.name} is renamed from {oldName}"),
    ("VmSuspendedEvent", "info", "VM suspended", "{vm.name} on {host.name} is suspended"),
];

/// Whether it is an error, a warning, an information or a user's own.
pub(super) fn category(event: &Poly<t::Event>) -> &str {
    if let Some(severity) = event.downcast_ref::<t::EventEx>().and_then(|event| event.severity.as_deref()) {
        return severity;
    }
    let name = event.type_name();
    KINDS.iter().find(|(known, ..)| *known == name).map_or("info", |(_, category, ..)| category)
}

/// The id of an event whose type is not all that tells it from others.
pub(super) fn extended_id(event: &Poly<t::Event>) -> Option<&str> {
    let plain = event.downcast_ref::<t::EventEx>().map(|event| event.event_type_id.as_str());
    plain.or_else(|| event.downcast_ref::<t::ExtendedEvent>().map(|event| event.event_type_id.as_str()))
}

/// `EventManager.description`.
pub(super) fn description() -> t::EventDescription {
    let detail = |(name, category, description, format): &(&str, &str, &str, &str)| {
        let short = format.split_once('|').map_or(*format, |(_, text)| text).to_owned();
        t::EventDescriptionEventDetail {
            key: (*name).to_owned(),
            description: Some((*description).to_owned()),
            category: (*category).to_owned(),
            format_on_datacenter: short.clone(),
            format_on_compute_resource: short.clone(),
            format_on_host: short.clone(),
            format_on_vm: short,
            full_format: (*format).to_owned(),
            ..Default::default()
        }
    };
    let category = |(key, label): (&str, &str)| {
        let base =
            t::Description { label: label.to_owned(), summary: label.to_owned(), ..Default::default() };
        Poly::new(t::ElementDescription { base, key: key.to_owned() })
    };
    let categories = [("info", "Information"), ("warning", "Warning"), ("error", "Error"), ("user", "User")];
    t::EventDescription {
        category: categories.into_iter().map(category).collect(),
        event_info: KINDS.iter().map(detail).collect(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use vim_api::dynamic::{DataObject, type_info};

    #[test]
    fn each_kind_is_an_event_and_none_is_listed_twice() {
        for (at, (name, _, _, format)) in super::KINDS.iter().enumerate() {
            let event = <vim_api::types::Event as DataObject>::INFO;
            assert!(type_info(name).is_some_and(|info| info.is_a(event)), "{name}");
            let twice =
                super::KINDS.iter().skip(at + 1).any(|(other, _, _, text)| other == name && text == format);
            assert!(!twice, "{name}");
        }
    }
}
