//! What a newer server may send: nothing of it fails, nothing of it is lost.

use vim_api::dynamic::{Element, FromValue, Poly, Value};
use vim_api::types::*;
use vim_api::xml::XmlErrorKind;

use crate::{assert_survives, decode, element, encode, reread};

const NEW_DISK: &str = "<key>2000</key><unitNumber>3</unitNumber><capacityInKB>5</capacityInKB>\
    <shape xsi:type=\"NewShape\"><side>1</side><side unit=\"mm\">2 &amp; 3</side></shape>";

fn assert_is_the_new_disk(device: &Poly<VirtualDevice>) {
    assert_eq!(device.unknown_type(), Some("VirtualQuantumDisk"));
    assert_eq!(device.type_name(), "VirtualQuantumDisk");
    assert_eq!((device.key, device.unit_number), (2000, Some(3)));
    assert!(!device.is::<VirtualDisk>());
    let kept: Vec<_> = device.as_object().extra().elements().iter().map(|e| e.xml()).collect();
    assert_eq!(
        kept,
        [
            "<capacityInKB>5</capacityInKB>",
            "<shape xsi:type=\"NewShape\"><side>1</side><side unit=\"mm\">2 &amp; 3</side></shape>"
        ]
    );
}

#[test]
fn a_type_in_a_polymorphic_field() {
    let hardware: VirtualHardware =
        decode(element("", &format!("<device xsi:type=\"VirtualQuantumDisk\">{NEW_DISK}</device>"))).unwrap();
    assert_is_the_new_disk(&hardware.device[0]);
    let written = encode(&hardware);
    assert!(
        written.ends_with(&format!("<device xsi:type=\"VirtualQuantumDisk\">{NEW_DISK}</device></v>")),
        "{written}"
    );
    assert_survives(&hardware);
}

#[test]
fn a_type_in_an_array() {
    let content = format!(
        "<VirtualDevice xsi:type=\"VirtualQuantumDisk\">{NEW_DISK}</VirtualDevice>\
        <VirtualDevice xsi:type=\"VirtualKeyboard\"><key>600</key></VirtualDevice>"
    );
    let value: Value = decode(element("xsi:type=\"ArrayOfVirtualDevice\"", &content)).unwrap();
    assert_survives(&value);
    assert_eq!(encode(&value), format!("<v xsi:type=\"ArrayOfVirtualDevice\">{content}</v>"));
    let devices = Vec::<Poly<VirtualDevice>>::from_value(value).unwrap();
    assert_is_the_new_disk(&devices[0]);
    assert!(devices[1].is::<VirtualKeyboard>());
}

#[test]
fn a_type_where_none_extends_the_declared_one() {
    let options: VirtualMachineBootOptions =
        decode(element("xsi:type=\"NewBootOptions\"", "<bootDelay>5</bootDelay><quantum>true</quantum>"))
            .unwrap();
    assert_eq!(options.boot_delay, Some(5));
    assert_eq!(options.extra.type_name(), Some("NewBootOptions"));
    let written = "<v xsi:type=\"NewBootOptions\"><bootDelay>5</bootDelay><quantum>true</quantum></v>";
    assert_eq!(encode(&options), written);
    assert_survives(&options);
}

#[test]
fn a_type_that_is_known_and_does_not_belong_there() {
    let device: Poly<VirtualDevice> =
        decode(element("xsi:type=\"AboutInfo\"", "<key>1</key><name>n</name>")).unwrap();
    assert_eq!((device.key, device.unknown_type()), (1, Some("AboutInfo")));
    assert_survives(&device);
}

#[test]
fn a_type_in_any_type_is_kept_as_xml() {
    let document =
        element("", "<name>info</name><val xsi:type=\"NewInfo\"><a xsi:type=\"xsd:int\">1</a>t<b/></val>");
    let property: DynamicProperty = decode(document).unwrap();
    let Value::Unknown { type_name, xml } = &property.val else { panic!("{property:?}") };
    assert_eq!(&**type_name, "NewInfo");
    assert_eq!(&**xml, "<a xsi:type=\"xsd:int\">1</a>t<b></b>");
    let written = encode(&property);
    assert_eq!(
        written,
        "<v><name>info</name><val xsi:type=\"NewInfo\"><a xsi:type=\"xsd:int\">1</a>t<b></b></val></v>"
    );
    assert_survives(&property);
}

/// Properties travel as `anyType`, and the caller knows what they are declared to be.
#[test]
fn a_type_in_any_type_becomes_what_the_caller_declares() {
    let unknown = |content: &str| decode::<Value>(element("xsi:type=\"NewDatastoreInfo\"", content)).unwrap();
    let content =
        "<name>ds</name><url>u</url><freeSpace>1</freeSpace><maxFileSize>2</maxFileSize><colour>red</colour>";
    let info = <Poly<DatastoreInfo> as FromValue>::from_value(unknown(content)).unwrap();
    assert_eq!(
        (info.name.as_str(), info.free_space, info.unknown_type()),
        ("ds", 1, Some("NewDatastoreInfo"))
    );
    assert_eq!(info.as_object().extra().elements()[0].xml(), "<colour>red</colour>");
    assert_survives(&info);
    // Not only where subtypes are known.
    let about = <AboutInfo as FromValue>::from_value(unknown("<name>n</name><colour>red</colour>")).unwrap();
    assert_eq!((about.name.as_str(), about.extra.elements().len()), ("n", 1));
    // Text is no object, and neither is a built-in type that is not known.
    assert!(<AboutInfo as FromValue>::from_value(unknown("red")).is_err());
    let token = decode::<Value>(element("xsi:type=\"xsd:token\"", "")).unwrap();
    assert!(matches!(&token, Value::Unknown { type_name, .. } if &**type_name == "xsd:token"));
    assert_survives(&token);
    assert!(<AboutInfo as FromValue>::from_value(token).is_err());
    // A value in a field of the declared type is a bad one, so the value is given back.
    let bad = <DatastoreInfo as FromValue>::from_value(unknown("<freeSpace>much</freeSpace>"));
    assert!(matches!(bad, Err(Value::Unknown { .. })));
}

#[test]
fn an_array_of_an_unknown_type() {
    let content = "<NewThing><a>1</a></NewThing><NewThing xsi:type=\"NewerThing\"></NewThing>";
    let value: Value = decode(element("xsi:type=\"ArrayOfNewThing\"", content)).unwrap();
    assert!(matches!(value, Value::Unknown { .. }));
    assert_eq!(encode(&value), format!("<v xsi:type=\"ArrayOfNewThing\">{content}</v>"));
    assert_survives(&value);
}

#[test]
fn any_type_without_a_type() {
    let value: Value = decode(element("", "a &lt; b")).unwrap();
    assert_eq!(encode(&value), "<v>a &lt; b</v>");
    assert_survives(&value);
}

#[test]
fn a_value_of_an_enumeration() {
    let runtime: VirtualMachineRuntimeInfo =
        decode(element("", "<connectionState>entangled</connectionState><powerState>poweredOn</powerState>"))
            .unwrap();
    let expected = VirtualMachineConnectionState::Unrecognized("entangled".into());
    assert_eq!(runtime.connection_state, expected);
    assert_eq!(runtime.connection_state.to_string(), "entangled");
    assert!(encode(&runtime).contains("<connectionState>entangled</connectionState>"));
    assert_survives(&runtime);
    let value: Value = decode(element("xsi:type=\"VirtualMachinePowerState\"", "half")).unwrap();
    assert_survives(&value);
    let state = <VirtualMachinePowerState as FromValue>::from_value(value).unwrap();
    assert_eq!(state, VirtualMachinePowerState::Unrecognized("half".into()));
}

#[test]
fn elements_anywhere_in_an_object() {
    let document = element(
        "",
        "<early><deep xsi:type=\"xsd:long\">1</deep></early><key>k</key><middle/><value xsi:type=\"xsd:int\">1</value>\
         <late xsi:nil=\"true\"/><early>again</early>",
    );
    let option: OptionValue = decode(document).unwrap();
    assert_eq!(option.key, "k");
    assert!(matches!(option.value, Some(Value::Int(1))));
    let written = encode(&option);
    assert_eq!(
        written,
        "<v><key>k</key><value xsi:type=\"xsd:int\">1</value><early><deep xsi:type=\"xsd:long\">1</deep></early>\
         <middle></middle><late xsi:nil=\"true\"></late><early>again</early></v>"
    );
    let names: Vec<_> = option.extra.elements().iter().map(|e| e.name().to_owned()).collect();
    assert_eq!(names, ["early", "middle", "late", "early"]);
    assert_survives(&option);
}

#[test]
fn elements_in_an_order_of_the_servers_own() {
    let ordered = "<key>2000</key><backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>f</fileName>\
        <diskMode>persistent</diskMode></backing><controllerKey>1000</controllerKey><capacityInKB>1</capacityInKB>\
        <capacityInBytes>1024</capacityInBytes><iofilter>a</iofilter><iofilter>b</iofilter>";
    let mixed = "<capacityInBytes>1024</capacityInBytes><iofilter>a</iofilter><controllerKey>1000</controllerKey>\
        <backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><diskMode>persistent</diskMode><fileName>f</fileName></backing>\
        <iofilter>b</iofilter><key>2000</key><capacityInKB>1</capacityInKB>";
    let (one, other): (VirtualDisk, VirtualDisk) =
        (decode(element("", ordered)).unwrap(), decode(element("", mixed)).unwrap());
    assert_eq!(encode(&one), format!("<v>{ordered}</v>"));
    assert_eq!(encode(&other), encode(&one));
    assert!(other.extra.is_empty());
}

#[test]
fn the_last_of_two_values_counts() {
    let disk: VirtualDisk =
        decode(element("", "<key>1</key><shares><shares>5</shares></shares><key>2</key><shares></shares>"))
            .unwrap();
    assert_eq!((disk.key, disk.shares.unwrap().shares), (2, 0));
}

/// A known field in an unknown type is still checked.
#[test]
fn a_bad_value_in_an_unknown_type() {
    let error = decode::<Poly<VirtualDevice>>(element("xsi:type=\"New\"", "<key>x</key>")).unwrap_err();
    assert_eq!(error.kind(), XmlErrorKind::BadValue);
}

#[test]
fn what_was_kept_is_written_into_any_envelope() {
    let document = "<x:v xmlns:x=\"urn:vim25\" xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" \
        xmlns:s=\"http://www.w3.org/2001/XMLSchema\"><x:new i:type=\"s:string\" x:a=\"1\" b=\"2\">t</x:new></x:v>";
    let option: OptionValue = decode(document).unwrap();
    assert_eq!(encode(&option), "<v><key></key><new xsi:type=\"xsd:string\" b=\"2\">t</new></v>");
    let again: OptionValue = reread(&encode(&option));
    assert_eq!(again.extra.elements(), option.extra.elements());
}

#[test]
fn an_object_by_hand_with_a_changed_subtype() {
    let mut device: Poly<VirtualDevice> = Poly::new(VirtualDisk { capacity_in_kb: 1, ..Default::default() });
    device.key = 7;
    device.downcast_mut::<VirtualDisk>().unwrap().capacity_in_kb = 2;
    let encoded = encode(&device);
    assert_eq!(encoded, "<v xsi:type=\"VirtualDisk\"><key>7</key><capacityInKB>2</capacityInKB></v>");
    let device = device.cast::<VirtualDisk>().unwrap();
    assert!(device.cast::<VirtualCdrom>().is_err());
    assert!(<VirtualDevice as Element>::from_value(Value::Object(Box::new(VirtualDisk::default()))).is_err());
}
