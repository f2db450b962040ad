//! A machine's configuration, there and back.

use vim_api::dynamic::{Poly, Value};
use vim_api::types::*;
use vim_api::{ApiVersion, MoRef};

use crate::{assert_survives, decode, element, encode, encode_for};

/// As vCenter sends it, in the order and the writing of the wire.
const CONFIG: &str = "<changeVersion>2026-08-01T12:00:00.123456Z</changeVersion>\
<modified>1970-01-01T00:00:00Z</modified><name>web &lt;01&gt; &amp; Söhne</name>\
<guestFullName>Ubuntu Linux (64-bit)</guestFullName><version>vmx-21</version><uuid>4223</uuid>\
<npivNodeWorldWideName>28000000000000001</npivNodeWorldWideName><npivNodeWorldWideName>-2</npivNodeWorldWideName>\
<template>false</template><guestId>ubuntu64Guest</guestId><alternateGuestName></alternateGuestName>\
<annotation>line one\nline two&#13;</annotation>\
<files><vmPathName>[ds] web/web.vmx</vmPathName></files>\
<flags><diskUuidEnabled>true</diskUuidEnabled></flags><defaultPowerOps></defaultPowerOps>\
<hardware><numCPU>4</numCPU><memoryMB>8192</memoryMB>\
<device xsi:type=\"ParaVirtualSCSIController\"><key>1000</key>\
<deviceInfo><label>SCSI controller 0</label><summary>VMware paravirtual SCSI</summary></deviceInfo>\
<busNumber>0</busNumber><device>2000</device><device>2001</device><hotAddRemove>true</hotAddRemove>\
<sharedBus>noSharing</sharedBus></device>\
<device xsi:type=\"VirtualDisk\"><key>2000</key>\
<backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds] web/web-000001.vmdk</fileName>\
<datastore type=\"Datastore\">datastore-1</datastore><diskMode>persistent</diskMode>\
<uuid>6000C29e</uuid><changeId>52 de/7</changeId>\
<parent><fileName>[ds] web/web.vmdk</fileName><diskMode>persistent</diskMode></parent></backing>\
<controllerKey>1000</controllerKey><unitNumber>0</unitNumber><capacityInKB>104857600</capacityInKB>\
<capacityInBytes>107374182400</capacityInBytes></device>\
<device xsi:type=\"VirtualVmxnet3\"><key>4000</key>\
<backing xsi:type=\"VirtualEthernetCardDistributedVirtualPortBackingInfo\"><port><switchUuid>50 2d</switchUuid>\
<portgroupKey>dvportgroup-1</portgroupKey></port></backing><macAddress>00:50:56:00:00:01</macAddress></device>\
<device xsi:type=\"VirtualPrecisionClockOfTomorrow\"><key>19000</key><drift>3</drift></device></hardware>\
<extraConfig><key>disk.EnableUUID</key><value xsi:type=\"xsd:string\">TRUE</value></extraConfig>\
<extraConfig xsi:type=\"OptionValueOfTomorrow\"><key>k</key><value xsi:type=\"xsd:long\">5000000000</value></extraConfig>\
<changeTrackingEnabled>true</changeTrackingEnabled><vmxConfigChecksum>AAEC/w==</vmxConfigChecksum>\
<keyId><keyId>k1</keyId><providerId><id>kms</id></providerId></keyId><quantumEnabled>true</quantumEnabled>";

fn config() -> VirtualMachineConfigInfo {
    decode(element("", CONFIG)).unwrap()
}

#[test]
fn what_is_read_is_what_was_sent() {
    let config = config();
    assert_eq!(config.name, "web <01> & Söhne");
    assert_eq!(config.annotation.as_deref(), Some("line one\nline two\r"));
    assert_eq!(config.npiv_node_world_wide_name, [28_000_000_000_000_001, -2]);
    assert_eq!(config.vmx_config_checksum.as_ref().unwrap().0, [0, 1, 2, 255]);
    let disk = config.hardware.device[1].downcast_ref::<VirtualDisk>().unwrap();
    let backing = disk.backing.as_ref().unwrap();
    assert_eq!(
        backing.downcast_ref::<VirtualDeviceFileBackingInfo>().unwrap().file_name,
        "[ds] web/web-000001.vmdk"
    );
    let flat = backing.downcast_ref::<VirtualDiskFlatVer2BackingInfo>().unwrap();
    assert_eq!(flat.change_id.as_deref(), Some("52 de/7"));
    assert_eq!(flat.parent.as_ref().unwrap().file_name, "[ds] web/web.vmdk");
    assert_eq!(flat.datastore, Some(MoRef::new("datastore-1")));
    assert_eq!(config.hardware.device[3].unknown_type(), Some("VirtualPrecisionClockOfTomorrow"));
    assert!(matches!(&config.extra_config[0].value, Some(Value::String(v)) if v == "TRUE"));
}

#[test]
fn it_is_written_as_it_came() {
    assert_eq!(encode(&config()), format!("<v>{CONFIG}</v>"));
}

#[test]
fn it_survives() {
    assert_survives(&config());
    assert_survives(&Value::Object(Box::new(config())));
    let copy = config().clone();
    assert_eq!(encode(&copy), encode(&config()));
}

#[test]
fn an_older_server_gets_what_it_knows() {
    let written = encode_for(&config(), ApiVersion::parse("5.1").unwrap());
    assert!(written.contains("<changeTrackingEnabled>true"), "it is of 4.0: {written}");
    assert!(!written.contains("<keyId>"), "it is of 6.5: {written}");
    assert!(written.contains("<quantumEnabled>true"), "the server itself sent it: {written}");
    let oldest = encode_for(&config(), ApiVersion::OLDEST);
    assert!(!oldest.contains("changeTrackingEnabled") && !oldest.contains("changeId"), "{oldest}");
}

/// What a program builds by hand reads back as it was built.
#[test]
fn a_specification_made_by_hand() {
    let disk = VirtualDisk {
        base: VirtualDevice {
            key: -101,
            backing: Some(Poly::new(VirtualDiskFlatVer2BackingInfo {
                base: VirtualDeviceFileBackingInfo {
                    file_name: "[ds] a & b.vmdk".into(),
                    ..Default::default()
                },
                disk_mode: "persistent".into(),
                thin_provisioned: Some(true),
                ..Default::default()
            })),
            controller_key: Some(1000),
            unit_number: Some(0),
            ..Default::default()
        },
        capacity_in_kb: 1024,
        ..Default::default()
    };
    let spec = VirtualMachineConfigSpec {
        name: Some("new".into()),
        num_cpus: Some(2),
        device_change: vec![Poly::new(VirtualDeviceConfigSpec {
            operation: Some(VirtualDeviceConfigSpecOperation::Add),
            file_operation: Some(VirtualDeviceConfigSpecFileOperation::Create),
            device: Poly::new(disk),
            ..Default::default()
        })],
        ..Default::default()
    };
    assert_eq!(
        encode(&spec),
        "<v><name>new</name><numCPUs>2</numCPUs><deviceChange><operation>add</operation>\
         <fileOperation>create</fileOperation><device xsi:type=\"VirtualDisk\"><key>-101</key>\
         <backing xsi:type=\"VirtualDiskFlatVer2BackingInfo\"><fileName>[ds] a &amp; b.vmdk</fileName>\
         <diskMode>persistent</diskMode><thinProvisioned>true</thinProvisioned></backing>\
         <controllerKey>1000</controllerKey><unitNumber>0</unitNumber><capacityInKB>1024</capacityInKB></device>\
         </deviceChange></v>"
    );
    assert_survives(&spec);
}
