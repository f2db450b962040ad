//! Property paths over values at hand.

use vim_api::dynamic::{Value, get_path, set_path};
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

fn changed(path: &str, value: Option<Value>) -> VirtualMachineConfigInfo {
    let mut config = config();
    set_path(&mut config, path, value).unwrap();
    config
}

#[test]
fn values_are_set_below_fields_and_items() {
    let name = Value::String("new".into());
    assert_eq!(changed("name", Some(name.clone())).name, "new");
    let config = changed("hardware.device[2000].backing.fileName", Some(name.clone()));
    let file = get_path(&config, "hardware.device[2000].backing.fileName").unwrap();
    assert!(matches!(file, Some(Value::String(file)) if file == "new"));
    assert_eq!(config.hardware.num_cpu, 2, "what stands beside is kept");
    assert_eq!(config.hardware.device.len(), 2);
    assert_eq!(changed("hardware.numCPU", Some(Value::Int(8))).hardware.num_cpu, 8);
    let extra = changed("extraConfig[\"a.b[0]\"].value", Some(name));
    assert!(matches!(get_path(&extra, "extraConfig[nvram].value"), Ok(Some(Value::String(y))) if y == "y"));
    assert_eq!(extra.extra_config.len(), 2);
}

#[test]
fn an_object_that_is_unset_is_not_there() {
    let mut config = VirtualMachineConfigInfo {
        boot_options: Some(Box::default()),
        ..VirtualMachineConfigInfo::default()
    };
    set_path(&mut config, "bootOptions", None).unwrap();
    assert!(config.boot_options.is_none());
}

#[test]
fn items_come_and_go_by_key() {
    let floppy = get_path(&config(), "hardware.device[3000]").unwrap();
    let gone = changed("hardware.device[3000]", None);
    assert_eq!(gone.hardware.device.len(), 1);
    assert_eq!(gone.hardware.device[0].type_name(), "VirtualDisk");
    let mut back = gone.clone();
    set_path(&mut back, "hardware.device[3000]", floppy).unwrap();
    assert_eq!(back.hardware.device[1].type_name(), "VirtualCdrom");
    assert_eq!(changed("hardware.device[9]", None).hardware.device.len(), 2, "nothing to remove");
    assert!(changed("extraConfig", None).extra_config.is_empty());
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let before = format!("{:?}", config());
    for (path, value) in [
        ("nonsense", Value::Int(1)),
        ("hardware.nonsense", Value::Int(1)),
        ("hardware.numCPU", Value::String("many".into())),
        ("hardware.device[9].key", Value::Int(1)),
        ("tools.toolsVersion", Value::Int(1)),
        ("hardware.device[2000", Value::Int(1)),
        ("name[1]", Value::Int(1)),
    ] {
        let mut config = config();
        assert!(set_path(&mut config, path, Some(value)).is_err(), "{path}");
        assert_eq!(format!("{config:?}"), before, "{path}");
    }
}
