//! Which calls may be sent twice.
//!
//! A call that is answered with `NotAuthenticated` was not carried out, and one whose connection was never made did not
//! arrive. All the same it is repeated only where a repetition cannot surprise its caller: what was meant for an object of
//! the old session makes no sense in a new one, and a change that was asked for a while ago is the caller's to ask for
//! again, who may opt in with [`Call::resend_after_login`](crate::Call::resend_after_login).

use crate::call::Request;
use crate::mo;
use crate::moref::MoRef;

/// What becomes of a call that found the session gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterLoss {
    /// It is about the lost session itself: whoever owns what belonged to it builds that anew.
    Leave,
    /// The session is renewed for the calls to come, and the error reported.
    Renew,
    /// The session is renewed and the call sent again.
    Resend,
}

/// Beginnings of the names of methods that only read.
const READS: [&str; 23] = [
    "Retrieve",
    "Query",
    "Find",
    "Fetch",
    "Get",
    "List",
    "Has",
    "Is",
    "Are",
    "Browse",
    "Search",
    "Check",
    "Validate",
    "Estimate",
    "Compute",
    "Lookup",
    "Current",
    "Test",
    "Read",
    "Can",
    "Decode",
    "Recommend",
    "Parse",
];

/// Methods that make something which belongs to the session, a ticket, or nothing at all. A second one does no harm, and
/// goes with the session.
const HARMLESS: [&str; 19] = [
    "AcquireCloneTicket",
    "AcquireGenericServiceTicket",
    "AcquireLocalTicket",
    "AcquireMksTicket",
    "AcquireTicket",
    "CreateCollectorForEvents",
    "CreateCollectorForTasks",
    "CreateCollectorWithInfoFilterForTasks",
    "CreateContainerView",
    "CreateDescriptor",
    "CreateFilter",
    "CreateImportSpec",
    "CreateInventoryView",
    "CreateListView",
    "CreateListViewFromView",
    "CreatePropertyCollector",
    "DoesCustomizationSpecExist",
    "ReconfigurationSatisfiable",
    "SessionIsActive",
];

/// Methods of the default PropertyCollector that go on with something of the session.
const GOES_ON: [&str; 7] = [
    "CancelRetrievePropertiesEx",
    "CancelWaitForUpdates",
    "CheckForUpdates",
    "ContinueRetrievePropertiesEx",
    "DestroyPropertyCollector",
    "WaitForUpdates",
    "WaitForUpdatesEx",
];

/// Types whose objects belong to one session.
const OF_SESSION: [&str; 9] = [
    "ContainerView",
    "EventHistoryCollector",
    "HttpNfcLease",
    "InventoryView",
    "ListView",
    "ManagedObjectView",
    "PropertyFilter",
    "TaskHistoryCollector",
    "View",
];

pub(super) fn after_loss(request: &Request, collector: &MoRef<mo::PropertyCollector>) -> AfterLoss {
    let name = request.method.name;
    let this = &request.this;
    let of_session = OF_SESSION.contains(&this.type_name())
        || GOES_ON.contains(&name)
        || (this.type_name() == "PropertyCollector" && this.value() != collector.value())
        || name.starts_with("Login")
        || matches!(name, "CloneSession" | "Logout" | "TerminateSession");
    if of_session {
        AfterLoss::Leave
    } else if request.resend_after_login || is_read(name) || HARMLESS.contains(&name) {
        AfterLoss::Resend
    } else {
        AfterLoss::Renew
    }
}

/// Whether the server may carry the call out twice. Waiting for updates is of that kind, since the version that it names
/// says from where on.
pub(super) fn is_repeatable(method: &str) -> bool {
    is_read(method) || matches!(method, "CheckForUpdates" | "WaitForUpdates" | "WaitForUpdatesEx")
}

fn is_read(method: &str) -> bool {
    // Services beside put their name before each method.
    let method = ["Pbm", "Vslm"].iter().find_map(|service| method.strip_prefix(service)).unwrap_or(method);
    // It moves the place from which the next call reads.
    if method.starts_with("ReadNext") || method.starts_with("ReadPrevious") || method == "CheckForUpdates" {
        return false;
    }
    // Some names of vSphere begin in lower case.
    let capital = |rest: &str| rest.starts_with(|c: char| c.is_ascii_uppercase());
    READS.iter().any(|read| method.strip_prefix(read).is_some_and(capital))
        || ["query", "get", "fetch"].iter().any(|read| method.strip_prefix(read).is_some_and(capital))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dynamic::method;

    fn fate(method_name: &str, this: MoRef) -> AfterLoss {
        let method = method(method_name).unwrap_or_else(|| panic!("there is no method {method_name}"));
        let request =
            Request { method, this, arguments: String::new().into(), token: None, resend_after_login: false };
        after_loss(&request, &MoRef::new("propertyCollector"))
    }

    fn of_vm(method: &str) -> AfterLoss {
        fate(method, MoRef::<mo::VirtualMachine>::new("vm-1").cast())
    }

    #[test]
    fn reads_are_repeated_and_changes_are_not() {
        for read in [
            "QueryChangedDiskAreas",
            "FindByUuid",
            "SearchDatastore_Task",
            "queryDatacenterConfigOptionDescriptor",
            "PbmQueryProfile",
            "VslmRetrieveVStorageObject",
        ] {
            assert_eq!(of_vm(read), AfterLoss::Resend, "{read}");
            assert!(is_repeatable(read), "{read}");
        }
        for change in [
            "CreateSnapshot_Task",
            "PowerOnVM_Task",
            "CancelTask",
            "CreateCustomizationSpec",
            "CreateFolder",
            "Reload",
            "Destroy_Task",
            "CancelRecommendation",
            "ResetGuestInformation",
            "ReadNextEvents",
            "PbmDelete",
            "VslmCreateSnapshot_Task",
        ] {
            assert_ne!(of_vm(change), AfterLoss::Resend, "{change}");
            assert!(!is_repeatable(change), "{change}");
        }
    }

    #[test]
    fn what_belongs_to_the_session_is_left_to_its_owner() {
        let default: MoRef = MoRef::<mo::PropertyCollector>::new("propertyCollector").cast();
        let own: MoRef = MoRef::<mo::PropertyCollector>::new("session[1]2").cast();
        assert_eq!(fate("CreateFilter", default.clone()), AfterLoss::Resend);
        assert_eq!(fate("RetrievePropertiesEx", default.clone()), AfterLoss::Resend);
        assert_eq!(fate("ContinueRetrievePropertiesEx", default.clone()), AfterLoss::Leave);
        assert_eq!(fate("WaitForUpdatesEx", default), AfterLoss::Leave);
        assert_eq!(fate("CreateFilter", own), AfterLoss::Leave);
        let lease: MoRef = MoRef::<mo::HttpNfcLease>::new("lease-1").cast();
        assert_eq!(fate("HttpNfcLeaseGetManifest", lease), AfterLoss::Leave);
        assert_eq!(of_vm("Login"), AfterLoss::Leave);
    }

    #[test]
    fn every_name_in_the_lists_is_a_method_or_a_type() {
        for name in HARMLESS.iter().chain(&GOES_ON) {
            assert!(method(name).is_some(), "{name}");
        }
        let names: Vec<&str> = crate::generated::registry::MANAGED.iter().map(|info| info.name).collect();
        for name in OF_SESSION {
            assert!(names.contains(&name), "{name}");
        }
    }
}
