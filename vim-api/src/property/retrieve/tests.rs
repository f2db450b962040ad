//! What a derived struct makes of the answer of a server, without the server.

use crate::dynamic::{Element, Poly, Value};
use crate::types::*;
use crate::{Error, MoRef, Properties, Retrieve, mo};

#[derive(Debug, Retrieve)]
#[retrieve(mo::VirtualMachine)]
struct Vm {
    #[retrieve(self)]
    moref: MoRef<mo::VirtualMachine>,
    name: String,
    #[retrieve(runtime.power_state)]
    power: VirtualMachinePowerState,
    #[retrieve(guest_heartbeat_status)]
    heartbeat: Option<ManagedEntityStatus>,
    #[retrieve(config.hardware.device)]
    devices: Option<Vec<Poly<VirtualDevice>>>,
    #[retrieve(config.hardware.device[2000].backing)]
    backing: Option<Poly<VirtualDeviceBackingInfo>>,
    #[retrieve(config.extra_config["guestinfo.owner"].value)]
    owner: Option<Value>,
    recent_task: Vec<MoRef<mo::Task>>,
}

const PATHS: [&str; 7] = [
    "name",
    "runtime.powerState",
    "guestHeartbeatStatus",
    "config.hardware.device",
    "config.hardware.device[2000].backing",
    "config.extraConfig[\"guestinfo.owner\"].value",
    "recentTask",
];

fn read(values: &[(&str, Value)], refused: &[&str]) -> Result<Vm, Error> {
    let denied = LocalizedMethodFault { fault: Poly::new(NoPermission::default()), ..Default::default() };
    let prop = |(name, val): &(&str, Value)| DynamicProperty {
        name: (*name).into(),
        val: val.clone(),
        ..Default::default()
    };
    let missing =
        |path: &&str| MissingProperty { path: (*path).into(), fault: denied.clone(), ..Default::default() };
    Vm::from_properties(Properties::from_content(ObjectContent {
        obj: MoRef::of_type("VirtualMachine", "vm-7"),
        prop_set: values.iter().map(prop).collect(),
        missing_set: refused.iter().map(missing).collect(),
        ..Default::default()
    }))
}

fn least() -> Vec<(&'static str, Value)> {
    let off = Value::enumeration("VirtualMachinePowerState", "poweredOff");
    vec![("name", Value::String("web".into())), ("runtime.powerState", off)]
}

#[test]
fn the_paths_are_those_of_the_wire() {
    assert_eq!(Vm::paths(), PATHS);
}

#[test]
fn everything_that_came_is_in_its_field() {
    let disk = Poly::<VirtualDevice>::new(VirtualDisk::default());
    let mut values = least();
    values.push((PATHS[3], Value::array("VirtualDevice", vec![disk.to_value()])));
    values.push((PATHS[5], Value::String("ops".into())));
    values.push((
        PATHS[6],
        Value::array("ManagedObjectReference", vec![Value::MoRef(MoRef::of_type("Task", "t-1"))]),
    ));
    let vm = read(&values, &[]).unwrap();
    assert_eq!((vm.moref.value(), vm.name.as_str()), ("vm-7", "web"));
    assert_eq!(vm.power, VirtualMachinePowerState::PoweredOff);
    assert!(vm.devices.unwrap()[0].is::<VirtualDisk>());
    assert!(matches!(vm.owner, Some(Value::String(owner)) if owner == "ops"));
    assert_eq!(vm.recent_task, [MoRef::<mo::Task>::new("t-1")]);
}

#[test]
fn what_may_be_unset_is_none_or_empty() {
    let vm = read(&least(), &[]).unwrap();
    assert!(vm.heartbeat.is_none() && vm.devices.is_none() && vm.backing.is_none() && vm.owner.is_none());
    assert!(vm.recent_task.is_empty());
}

#[test]
fn a_promised_value_that_did_not_come_is_an_error_that_names_object_and_path() {
    let error = read(&least()[1..], &[]).unwrap_err().to_string();
    assert!(error.contains("VirtualMachine:vm-7") && error.contains("\"name\""), "{error}");
}

#[test]
fn a_value_that_may_not_be_seen_is_not_taken_for_an_unset_one() {
    for hidden in ["config.hardware.device", "recentTask"] {
        let error = read(&least(), &[hidden]).unwrap_err();
        assert!(error.fault::<NoPermission>().is_some(), "{error}");
        assert!(error.to_string().contains(hidden), "{error}");
    }
}

#[test]
fn a_value_of_another_type_is_an_error_that_names_object_and_path() {
    let mut values = least();
    values[0].1 = Value::Int(7);
    let error = read(&values, &[]).unwrap_err().to_string();
    assert!(error.contains("vm-7") && error.contains("\"name\""), "{error}");
}
