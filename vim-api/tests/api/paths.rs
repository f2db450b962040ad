//! Property paths over values at hand.

use vim_api::dynamic::{Value, get_path};
use vim_api::types::VirtualMachineConfigInfo;

use crate::{decode, element};

fn config() -> VirtualMachineConfigInfo {
    decode(element(
        "",
        "<name>web</name><hardware><numCPU>2</numCPU><device xsi:type=\"VirtualDisk\"><key>2000</key>\
         <backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>f</fileName></backing></device>\
         <device xsi:type=\"VirtualCdrom\"><key>3000</key></device></hardware>\
         <extraConfig><key>a.b[0]</key><value xsi:type=\"xsd:string\">x</value></extraConfig>\
         <extraConfig><key>nvram</key><value xsi:type=\"xsd:string\">y</value></extraConfig>",
    ))
    .unwrap()
}

fn text(path: &str) -> Option<String> {
    get_path(&config(), path).unwrap().map(|value| format!("{value:?}"))
}

#[test]
fn fields_of_fields() {
    assert_eq!(text("name").as_deref(), Some("\"web\""));
    assert_eq!(text("hardware.numCPU").as_deref(), Some("2"));
    assert!(matches!(get_path(&config(), "hardware").unwrap(), Some(Value::Object(_))));
    assert!(
        matches!(get_path(&config(), "hardware.device").unwrap(), Some(Value::Array(a)) if a.items().len() == 2)
    );
}

#[test]
fn items_by_key() {
    assert_eq!(text("hardware.device[2000].backing.fileName").as_deref(), Some("\"f\""));
    assert_eq!(text("hardware.device[3000].key").as_deref(), Some("3000"));
    assert_eq!(text("extraConfig[\"a.b[0]\"].value").as_deref(), Some("\"x\""));
    assert_eq!(text("extraConfig[\"nvram\"].value").as_deref(), Some("\"y\""));
    assert_eq!(text("extraConfig[nvram].value").as_deref(), Some("\"y\""));
    assert!(
        matches!(get_path(&config(), "hardware.device[2000]").unwrap(), Some(Value::Object(o)) if o.type_name() == "VirtualDisk")
    );
}

#[test]
fn what_is_not_set_is_none() {
    for path in [
        "annotation",
        "tools.toolsVersion",
        "hardware.device[9]",
        "hardware.device[9].key",
        "extraConfig[x].value",
        "hardware.device[3000].backing.fileName",
        "cpuFeatureMask",
        "name[1]",
        "name.first",
    ] {
        assert_eq!(text(path), None, "{path}");
    }
}

#[test]
fn what_does_not_exist_is_an_error() {
    for (path, segment, type_name) in [
        ("nothing", "nothing", "VirtualMachineConfigInfo"),
        ("hardware.nothing", "nothing", "VirtualHardware"),
        ("hardware.device[2000].backing.nothing", "nothing", "VirtualDiskFlatVer2BackingInfo"),
        ("hardware.device[3000].capacityInKB", "capacityInKB", "VirtualCdrom"),
        ("", "", "VirtualMachineConfigInfo"),
        ("hardware.", "", "VirtualHardware"),
        ("hardware.device[2000", "device[2000", "VirtualHardware"),
        ("hardware.device[\"2000]", "device[\"2000]", "VirtualHardware"),
        ("hardware.device[2000]key", "device[2000]key", "VirtualHardware"),
        ("näme", "näme", "VirtualMachineConfigInfo"),
    ] {
        let error = get_path(&config(), path).unwrap_err();
        assert_eq!((error.segment.as_str(), error.type_name.as_str()), (segment, type_name), "{path}");
        assert!(error.to_string().contains(type_name));
    }
}
