//! Faults: answers of methods, ends of tasks, and properties that may not be read.

use vim_api::Fault;
use vim_api::dynamic::{Element, FromValue, Value};
use vim_api::soap::{self, Message, Outcome};
use vim_api::types::*;
use vim_api::xml::{Limits, NS_VIM, NS_XSD, NS_XSI, XmlError, XmlErrorKind};

use crate::{assert_survives, decode, element};

fn reply(body: &str) -> Result<Outcome<()>, XmlError> {
    let envelope = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:xsd=\"{NS_XSD}\" xmlns:xsi=\"{NS_XSI}\">\n\
         <soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"
    );
    soap::reply(&Message::new(envelope.into(), Limits::default()), |reader| reader.skip())
}

fn fault(text: &str, detail: &str) -> Fault {
    let body = format!(
        "<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>{text}</faultstring>{detail}</soapenv:Fault>"
    );
    match reply(&body).unwrap() {
        Outcome::Fault(fault) => fault,
        Outcome::Returned(()) => panic!("a fault was taken for an answer"),
    }
}

#[test]
fn a_fault_with_its_type() {
    let fault = fault(
        "The attempted operation cannot be performed &lt;now&gt;.",
        &format!(
            "<detail><InvalidPowerStateFault xmlns=\"{NS_VIM}\" xsi:type=\"InvalidPowerState\">\
             <requestedState>poweredOn</requestedState><existingState>poweredOff</existingState></InvalidPowerStateFault></detail>"
        ),
    );
    assert_eq!(fault.message, "The attempted operation cannot be performed <now>.");
    let state = fault.fault.downcast_ref::<InvalidPowerState>().unwrap();
    assert_eq!(state.existing_state, VirtualMachinePowerState::PoweredOff);
    // All that it extends, and nothing else.
    assert!(
        fault.fault.is::<InvalidState>() && fault.fault.is::<VimFault>() && fault.fault.is::<MethodFault>()
    );
    assert!(!fault.fault.is::<RuntimeFault>() && fault.fault.downcast_ref::<NotFound>().is_none());
}

#[test]
fn a_fault_that_only_its_element_names() {
    let detail = format!(
        "<detail><NotAuthenticatedFault xmlns=\"{NS_VIM}\"><object type=\"Folder\">group-d1</object>\
         <privilegeId>System.View</privilegeId></NotAuthenticatedFault></detail>"
    );
    let fault = fault("", &detail);
    assert_eq!(fault.message, "");
    let denied = fault.fault.downcast_ref::<NotAuthenticated>().unwrap();
    assert_eq!(denied.object.as_ref().unwrap().value(), "group-d1");
    assert!(fault.fault.is::<NoPermission>());
}

#[test]
fn the_type_goes_before_the_name_of_the_element() {
    let detail = "<detail><RuntimeFaultFault xsi:type=\"ManagedObjectNotFound\"><obj type=\"Task\">task-1</obj></RuntimeFaultFault></detail>";
    assert_eq!(
        fault("gone", detail).fault.downcast_ref::<ManagedObjectNotFound>().unwrap().obj.to_string(),
        "Task:task-1"
    );
    let plain = fault("", "<detail><RuntimeFaultFault/></detail>");
    assert_eq!(plain.fault.type_name(), "RuntimeFault");
}

#[test]
fn a_fault_of_a_newer_server() {
    for detail in [
        "<detail><QuantumFault xsi:type=\"QuantumDecoherence\"><faultMessage><key>k</key></faultMessage><state>0</state></QuantumFault></detail>",
        "<detail><QuantumDecoherenceFault><faultMessage><key>k</key></faultMessage><state>0</state></QuantumDecoherenceFault></detail>",
    ] {
        let fault = fault("", detail);
        assert_eq!(fault.fault.type_name(), "QuantumDecoherence");
        assert_eq!(fault.fault.unknown_type(), Some("QuantumDecoherence"));
        assert_eq!(fault.fault.fault_message[0].key, "k");
        assert_eq!(fault.fault.as_object().extra().elements()[0].xml(), "<state>0</state>");
        assert_survives(&fault.fault);
    }
}

#[test]
fn faults_that_say_little() {
    for detail in ["", "<detail/>", "<detail>text</detail>", "<detail><Fault/></detail>"] {
        let fault = fault("sorry", detail);
        assert_eq!((fault.message.as_str(), fault.fault.type_name()), ("sorry", "MethodFault"), "{detail}");
    }
    let stack = "<detail><InvalidLoginFault xsi:type=\"InvalidLogin\"/><stackTrace>at com.vmware</stackTrace></detail>";
    assert!(fault("", stack).fault.is::<InvalidLogin>(), "what follows the fault is not the fault");
    let Outcome::Fault(bare) = reply("<soapenv:Fault/>").unwrap() else { panic!("not a fault") };
    assert_eq!(bare.message, "");
}

#[test]
fn answers_that_are_none() {
    assert!(matches!(reply("<LogoutResponse xmlns=\"urn:vim25\"/>").unwrap(), Outcome::Returned(())));
    assert_eq!(reply("").unwrap_err().kind(), XmlErrorKind::Unexpected);
    for document in ["<a/>", "<Envelope/>", "<Envelope><Header/></Envelope>", "<html><body/></html>"] {
        let message = Message::new(document.as_bytes().to_vec().into(), Limits::default());
        let error = soap::reply(&message, |reader| reader.skip()).unwrap_err();
        assert_eq!(error.kind(), XmlErrorKind::Unexpected, "{document}");
    }
    // Whoever reads the answer has to take it to its end, and leave what follows.
    let message = Message::new(soap::envelope("R", &["<returnval>1</returnval>"]).into(), Limits::default());
    assert!(soap::reply(&message, |reader| reader.next_child().map(|_| ())).is_err());
}

#[test]
fn the_fault_of_a_task() {
    let info: TaskInfo = decode(element(
        "xsi:type=\"TaskInfo\"",
        "<key>task-7</key><task type=\"Task\">task-7</task><descriptionId>VirtualMachine.createSnapshot</descriptionId>\
         <entity type=\"VirtualMachine\">vm-1</entity><state>error</state><cancelled>false</cancelled>\
         <error><fault xsi:type=\"ApplicationQuiesceFault\"><faultCause><fault xsi:type=\"SnapshotFault\"/>\
         <localizedMessage>inner</localizedMessage></faultCause></fault><localizedMessage>outer</localizedMessage></error>\
         <queueTime>2026-08-01T12:00:00Z</queueTime><eventChainId>1</eventChainId>",
    ))
    .unwrap();
    assert_eq!(info.state, TaskInfoState::Error);
    let error = info.error.as_ref().unwrap();
    assert!(error.fault.is::<SnapshotFault>() && error.fault.is::<ApplicationQuiesceFault>());
    assert_eq!(error.localized_message.as_deref(), Some("outer"));
    let cause = error.fault.fault_cause.as_ref().unwrap();
    assert!(cause.fault.is::<SnapshotFault>() && !cause.fault.is::<ApplicationQuiesceFault>());
    assert_survives(&info);
    let value = Element::to_value(&info);
    assert_eq!(<TaskInfo as FromValue>::from_value(value).unwrap().key, "task-7");
}

#[test]
fn the_fault_of_a_missing_property() {
    let content: ObjectContent = decode(element(
        "",
        "<obj type=\"HostSystem\">host-1</obj><missingSet><path>config</path><fault><fault xsi:type=\"NoPermission\">\
         <object type=\"HostSystem\">host-1</object><privilegeId>System.Read</privilegeId></fault>\
         <localizedMessage></localizedMessage></fault></missingSet>",
    ))
    .unwrap();
    let missing = &content.missing_set[0];
    let denied = missing.fault.fault.downcast_ref::<NoPermission>().unwrap();
    assert_eq!(denied.privilege_id.as_deref(), Some("System.Read"));
    assert!(matches!(Element::to_value(&content), Value::Object(_)));
}
