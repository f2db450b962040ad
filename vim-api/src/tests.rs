//! Tests of what has no public way in.
//!
//! They stand apart from what they test: the generator's tests take in parts of this crate's source beside other types.

use std::error::Error as _;

use crate::dynamic::Poly;
use crate::dynamic::secrets;
use crate::error::{Error, ErrorKind, Fault};
use crate::generated::VERSIONS;
use crate::moref::MoRef;
use crate::types::*;
use crate::version::{ApiVersion, numbers};
use crate::xml::{XmlError, XmlErrorKind};

mod versions {
    use super::*;

    #[test]
    fn an_unknown_id_falls_back_to_the_next_older() {
        for (id, known) in [
            ("8.0.3.0", Some("8.0.3.0")),
            ("8.0.1.7", Some("8.0.1.0")),
            ("6.0.0", Some("6.0")),
            ("99.0", Some(ApiVersion::LATEST.id())),
            ("2.0", None),
            ("", None),
            ("eight", None),
            ("8.0.0.0.0", None),
        ] {
            assert_eq!(ApiVersion::not_above(id).map(ApiVersion::id), known, "{id}");
        }
    }

    #[test]
    fn the_newest_common_version_wins() {
        let offered = ["99.0", "7.0.3.0", "8.0.0.0", "6.5"];
        assert_eq!(ApiVersion::negotiate(offered).map(ApiVersion::id), Some("8.0.0.0"));
        assert_eq!(ApiVersion::negotiate(["99.0"]), None);
    }

    #[test]
    fn ids_are_in_the_order_of_their_numbers() {
        let known: Vec<_> = VERSIONS.iter().filter_map(|id| numbers(id)).collect();
        assert!(known.len() > 30 && known.is_sorted(), "{known:?}");
        assert!(ApiVersion::OLDEST < ApiVersion::LATEST);
    }
}

mod secret_fields {
    use super::*;

    #[test]
    fn every_entry_is_a_field_of_the_schema_that_is_not_marked() {
        for (type_name, field) in secrets::UNMARKED {
            let info = crate::dynamic::type_info(type_name).unwrap();
            let found = info.fields.iter().find(|f| f.name == *field).unwrap();
            assert!(!found.secret, "{type_name}.{field} is marked by now; drop it here");
        }
    }
}

mod errors {
    use super::*;

    fn error(fault: impl crate::dynamic::IsA<MethodFault>, message: &str) -> Error {
        Error::from_fault("calling X", Fault { fault: Poly::new(fault), message: message.into() })
    }

    #[test]
    fn a_fault_is_found_by_its_type_and_by_all_it_extends() {
        let error = error(InvalidPowerState::default(), "not now");
        assert_eq!(error.kind(), ErrorKind::Fault);
        assert!(error.fault::<InvalidPowerState>().is_some() && error.fault::<InvalidState>().is_some());
        assert!(error.fault::<VimFault>().is_some() && error.fault::<MethodFault>().is_some());
        assert!(error.fault::<NotFound>().is_none() && error.fault::<RuntimeFault>().is_none());
        assert_eq!(error.any_fault().unwrap().message, "not now");
        assert_eq!(error.to_string(), "calling X: InvalidPowerState: not now");
        assert!(error.source().is_none());
    }

    #[test]
    fn what_a_fault_means_for_the_caller() {
        assert!(error(NotAuthenticated::default(), "").is_session_lost());
        assert!(!error(NoPermission::default(), "").is_session_lost());
        let gone = ManagedObjectNotFound { obj: MoRef::of_type("Task", "task-1"), ..Default::default() };
        assert!(error(gone, "").is_not_found());
        // That a machine lacks a file does not say that the machine is gone.
        assert!(!error(FileNotFound::default(), "").is_not_found());
        assert!(error(FileNotFound::default(), "").about_file("reading [ds] x").is_not_found());
        assert!(error(TaskInProgress::default(), "").is_retryable());
        assert!(error(HostNotReachable::default(), "").is_retryable(), "it extends HostCommunication");
        assert!(!error(InvalidLogin::default(), "").is_retryable());
    }

    #[test]
    fn the_text_says_what_to_do() {
        let login = error(InvalidLogin::default(), "").to_string();
        assert!(login.contains("password"), "{login}");
        let denied = NoPermission {
            privilege_id: Some("VirtualMachine.State.CreateSnapshot".into()),
            ..Default::default()
        };
        let denied = error(denied, "").to_string();
        assert!(denied.contains("lacks the privilege VirtualMachine.State.CreateSnapshot"), "{denied}");
        let lost = NotAuthenticated {
            base: NoPermission { privilege_id: Some("System.View".into()), ..Default::default() },
        };
        assert!(!error(lost, "").to_string().contains("System.View"), "a lost session lacks no privilege");
    }

    #[test]
    fn a_task_ends_with_its_fault() {
        let outer = LocalizedMethodFault {
            fault: Poly::new(ApplicationQuiesceFault::default()),
            localized_message: Some("cannot quiesce".into()),
            ..Default::default()
        };
        let error = Error::from_task("the task T", outer);
        assert!(error.fault::<SnapshotFault>().is_some());
        assert_eq!(error.to_string(), "the task T: ApplicationQuiesceFault: cannot quiesce");
        let silent = Error::from_task("the task T", LocalizedMethodFault::default());
        assert_eq!(silent.to_string(), "the task T: MethodFault");
    }

    #[test]
    fn a_cut_answer_is_an_interruption_and_a_broken_one_is_not() {
        let protocol = |kind| Error::protocol("the answer", XmlError::new(kind, 0, "x")).kind();
        assert_eq!(protocol(XmlErrorKind::Truncated), ErrorKind::Interrupted);
        assert_eq!(protocol(XmlErrorKind::Malformed), ErrorKind::Protocol);
        let error = Error::protocol("the answer", XmlError::new(XmlErrorKind::BadValue, 7, "no xsd:int"));
        assert_eq!(error.to_string(), "the answer");
        assert_eq!(error.source().unwrap().to_string(), "bad value at byte 7: no xsd:int");
    }

    #[test]
    fn debug_hides_what_a_fault_keeps_secret() {
        let fault =
            GatewayToHostTrustVerifyFault { verification_token: "hunter2".into(), ..Default::default() };
        let text = format!("{:?}", error(fault, ""));
        assert!(text.contains("[secret]") && !text.contains("hunter2"), "{text}");
    }
}
