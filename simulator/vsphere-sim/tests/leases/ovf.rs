//! Packages: descriptors out of machines, and machines out of descriptors.

use std::collections::BTreeMap;

use vim_api::dynamic::{Poly, Value};
use vim_api::types as t;

use super::*;

/// What a test asks the manager on behalf of.
struct Desk {
    sim: Sim,
    client: Client,
    manager: mo::OvfManager,
}

impl Desk {
    async fn new() -> Self {
        let sim = two_disks().await;
        let client = log_in(&sim).await;
        let manager = client.bind(client.content().ovf_manager.as_ref().unwrap());
        Self { sim, client, manager }
    }

    async fn pool(&self) -> MoRef<mo::ResourcePool> {
        machine(&self.client, &self.sim).require(mo::VirtualMachine::RESOURCE_POOL).await.unwrap()
    }

    async fn datastore(&self) -> MoRef<mo::Datastore> {
        machine(&self.client, &self.sim).require(mo::VirtualMachine::DATASTORE).await.unwrap().remove(0)
    }

    async fn spec(
        &self,
        text: &str,
        change: impl FnOnce(&mut t::OvfCreateImportSpecParams),
    ) -> t::OvfCreateImportSpecResult {
        let mut params =
            t::OvfCreateImportSpecParams { entity_name: "copy".to_owned(), ..Default::default() };
        change(&mut params);
        let (pool, datastore) = (self.pool().await, self.datastore().await);
        self.manager.create_import_spec(text, &pool, &datastore, &Poly::new(params)).await.unwrap()
    }
}

fn named(problems: &[t::LocalizedMethodFault]) -> Vec<&str> {
    problems.iter().map(|problem| problem.fault.type_name()).collect()
}

fn config(result: &t::OvfCreateImportSpecResult) -> &t::VirtualMachineConfigSpec {
    let spec = result.import_spec.as_ref().unwrap_or_else(|| panic!("{:?}", named(&result.error)));
    &spec.downcast_ref::<t::VirtualMachineImportSpec>().unwrap().config_spec
}

fn devices(result: &t::OvfCreateImportSpecResult) -> Vec<&str> {
    config(result).device_change.iter().map(|change| change.device.type_name()).collect()
}

#[tokio::test]
async fn a_package_makes_the_machine_again() {
    let desk = Desk::new().await;
    let (sim, client) = (&desk.sim, &desk.client);
    let folder = sim.data_dir().join("datastores/datastore1/vm-1");
    std::fs::write(folder.join("vm-1.nvram"), vec![7; 8684]).unwrap();
    let lease = ready(client, machine(client, sim).export_vm().await).await;
    let mut bodies = BTreeMap::new();
    let mut ovf_files = Vec::new();
    for file in lease.files() {
        let body = download(sim, &file.url).await;
        ovf_files.push(t::OvfFile {
            device_id: file.key.clone(),
            path: file.target.clone().unwrap(),
            size: i64::try_from(body.len()).unwrap(),
            ..Default::default()
        });
        bodies.insert(file.target.unwrap(), body);
    }
    for (file, entry) in ovf_files.iter_mut().zip(lease.manifest().await.unwrap()) {
        (file.capacity, file.populated_size) = (entry.capacity, entry.populated_size);
    }
    lease.complete().await.unwrap();
    let params = t::OvfCreateDescriptorParams {
        ovf_files: ovf_files.clone(),
        name: Some("a <package> & \"more\"".to_owned()),
        description: Some("made by a test".to_owned()),
        ..Default::default()
    };
    let object = sim.vm("vm-1").unwrap().moref().cast();
    let described = desk.manager.create_descriptor(&object, &params).await.unwrap();
    assert_eq!((named(&described.error), named(&described.warning)), (vec![], vec![]));
    let text = described.ovf_descriptor;
    assert!(text.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Envelope "), "{text}");
    assert!(text.contains("vmdk.html#streamOptimized"), "{text}");

    let pdp = t::OvfParseDescriptorParams::default();
    let parsed = desk.manager.parse_descriptor(&text, &pdp).await.unwrap();
    assert_eq!((named(&parsed.error), named(&parsed.warning)), (vec![], vec![]));
    assert_eq!(parsed.default_entity_name, "a <package> & \"more\"");
    assert_eq!(parsed.annotation, "made by a test");
    assert_eq!(parsed.network[0].name, "VM Network");
    assert_eq!(parsed.approximate_download_size, Some(ovf_files.iter().map(|file| file.size).sum()));
    let populated = ovf_files.iter().filter_map(|file| file.populated_size).sum();
    assert_eq!(parsed.approximate_sparse_deployment_size, Some(populated));
    let capacity = i64::try_from(104 * MIB + 512 * 33).unwrap();
    assert_eq!(parsed.approximate_flat_deployment_size, Some(capacity));
    let host = machine(client, sim).require(mo::VirtualMachine::RUNTIME).await.unwrap().host.unwrap();
    let valid = desk.manager.validate_host(&text, &host, &t::OvfValidateHostParams::default()).await.unwrap();
    assert_eq!((named(&valid.error), named(&valid.warning)), (vec![], vec![]));
    assert!(valid.supported_disk_provisioning.iter().any(|name| name == "thin"));

    let result = desk.spec(&text, |params| params.disk_provisioning = Some("thin".to_owned())).await;
    // The second disk's capacity is no multiple of 1024: an old rule of the API's.
    assert_eq!(named(&result.error), ["OvfElementInvalidValue"]);
    let text = text.replace(&(40 * MIB + 512 * 33).to_string(), &(41 * MIB).to_string());
    let result = desk.spec(&text, |params| params.disk_provisioning = Some("thin".to_owned())).await;
    assert_eq!((named(&result.error), named(&result.warning)), (vec![], vec![]));
    let spec = config(&result);
    assert_eq!((spec.num_cpus, spec.memory_mb), (Some(2), Some(2048)));
    assert_eq!(spec.guest_id.as_deref(), Some("debian12_64Guest"));
    assert_eq!(spec.version.as_deref(), Some("vmx-21"));
    assert_eq!(spec.firmware.as_deref(), Some("bios"));
    assert_eq!(
        devices(&result),
        ["ParaVirtualSCSIController", "VirtualDisk", "VirtualDisk", "VirtualVmxnet3"]
    );
    let items: Vec<_> = result
        .file_item
        .iter()
        .map(|item| (item.device_id.as_str(), item.path.as_str(), item.cim_type, item.create))
        .collect();
    assert_eq!(
        items,
        [
            ("/copy/ParaVirtualSCSIController0:0", "disk-0.vmdk", 17, false),
            ("/copy/ParaVirtualSCSIController0:1", "disk-1.vmdk", 17, false),
            ("/copy/nvram", "disk-2.nvram", 1, true),
        ]
    );

    let pool: mo::ResourcePool = client.bind(&desk.pool().await);
    let lease = pool.import_v_app(result.import_spec.as_ref().unwrap(), None, None).await;
    let lease = ready(client, lease).await;
    let files = lease.files();
    for item in result.file_item.iter().filter(|item| item.path != "disk-1.vmdk") {
        let file = files.iter().find(|file| file.import_key == item.device_id).unwrap();
        let (method, headers) =
            if item.create { ("PUT", [("overwrite", "t")]) } else { ("POST", [("content-type", STREAM)]) };
        let (status, body) = answer(sim, method, &file.url, &headers, bodies[&item.path].clone()).await;
        assert!(matches!(status, 200 | 201), "{status} {}", String::from_utf8_lossy(&body));
    }
    lease.complete().await.unwrap();
    let copy = sim.vm("copy").unwrap();
    assert_eq!(
        copy.disk_sha256(2000, None).unwrap(),
        sim.vm("vm-1").unwrap().disk_sha256(2000, None).unwrap()
    );
}

#[tokio::test]
async fn a_snapshot_is_described_as_it_was() {
    let desk = Desk::new().await;
    let handle = machine(&desk.client, &desk.sim);
    let snapshot = handle.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let change = t::VirtualMachineConfigSpec { num_cpus: Some(4), ..Default::default() };
    handle.reconfig_vm_task(&change).await.unwrap().wait().await.unwrap();
    let object = handle.moref().cast();
    let mut params = t::OvfCreateDescriptorParams::default();
    let text = desk.manager.create_descriptor(&object, &params).await.unwrap().ovf_descriptor;
    assert!(text.contains("<rasd:VirtualQuantity>4</rasd:VirtualQuantity>"), "{text}");
    params.snapshot = Some(snapshot);
    let text = desk.manager.create_descriptor(&object, &params).await.unwrap().ovf_descriptor;
    assert!(text.contains("<rasd:VirtualQuantity>2</rasd:VirtualQuantity>"), "{text}");
    params.snapshot = Some(MoRef::new("snapshot-9999"));
    let refused = desk.manager.create_descriptor(&object, &params).await.unwrap_err();
    assert_eq!(fault_name(&refused), "InvalidArgument");
    params.snapshot = None;
    params.ovf_files = vec![t::OvfFile {
        device_id: "/vm-101/Nothing0:0".to_owned(),
        path: "x".to_owned(),
        ..Default::default()
    }];
    let result = desk.manager.create_descriptor(&object, &params).await.unwrap();
    assert_eq!(named(&result.error), ["OvfDiskMappingNotFound"]);
    let pool = desk.pool().await.cast();
    let refused = desk.manager.create_descriptor(&pool, &params).await.unwrap_err();
    assert_eq!(fault_name(&refused), "InvalidArgument");
}

/// A package in another hand: prefixes everywhere, two sizes of it, and much that means nothing here.
const FOREIGN: &str = r##"<?xml version="1.0"?>
<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="urn:r" xmlns:vssd="urn:v" xmlns:vmw="urn:w" xmlns:id="urn:id">
  <ovf:References>
    <ovf:File ovf:id="f1" ovf:href="system.vmdk" ovf:size="123456"/>
  </ovf:References>
  <ovf:DiskSection>
    <ovf:Info>Disks</ovf:Info>
    <ovf:Disk ovf:diskId="d1" ovf:fileRef="f1" ovf:capacity="3" ovf:capacityAllocationUnits="byte * 2^30" ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized" ovf:populatedSize="1000000"/>
    <ovf:Disk ovf:diskId="d2" ovf:capacity="1073741824"/>
  </ovf:DiskSection>
  <ovf:NetworkSection><ovf:Info/><ovf:Network ovf:name="front"><ovf:Description>The &lt;front&gt;</ovf:Description></ovf:Network></ovf:NetworkSection>
  <ovf:DeploymentOptionSection>
    <ovf:Info/>
    <ovf:Configuration ovf:id="small"><ovf:Label>Small</ovf:Label><ovf:Description>one CPU</ovf:Description></ovf:Configuration>
    <ovf:Configuration ovf:id="large" ovf:default="true"><ovf:Label>Large</ovf:Label><ovf:Description>eight</ovf:Description></ovf:Configuration>
  </ovf:DeploymentOptionSection>
  <ovf:VirtualSystem ovf:id="appliance">
    <ovf:Info>An appliance</ovf:Info>
    <ovf:Name>The appliance</ovf:Name>
    <ovf:EulaSection><ovf:Info/><ovf:License>Be nice.</ovf:License></ovf:EulaSection>
    <ovf:ProductSection ovf:class="vami" ovf:instance="x">
      <ovf:Info/><ovf:Product>Thing</ovf:Product><ovf:Vendor>Somebody</ovf:Vendor><ovf:Version>1.2</ovf:Version>
      <ovf:Category>Network</ovf:Category>
      <ovf:Property ovf:key="ip" ovf:type="string" ovf:userConfigurable="true" ovf:value="10.0.0.1"><ovf:Label>Address</ovf:Label><ovf:Description>Its address</ovf:Description></ovf:Property>
    </ovf:ProductSection>
    <ovf:OperatingSystemSection ovf:id="96"><ovf:Info/></ovf:OperatingSystemSection>
    <ovf:VirtualHardwareSection>
      <ovf:Info/>
      <ovf:System><vssd:ElementName>x</vssd:ElementName><vssd:InstanceID>0</vssd:InstanceID><vssd:VirtualSystemType>vmx-07 vmx-13 vmx-99</vssd:VirtualSystemType></ovf:System>
      <ovf:Item><rasd:InstanceID>20</rasd:InstanceID><rasd:ElementName>disk</rasd:ElementName><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>/disk/d1</rasd:HostResource><rasd:Parent>10</rasd:Parent><rasd:AddressOnParent>3</rasd:AddressOnParent></ovf:Item>
      <ovf:Item><rasd:InstanceID>21</rasd:InstanceID><rasd:ElementName>disk</rasd:ElementName><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>ovf:/disk/d2</rasd:HostResource><rasd:Parent>11</rasd:Parent></ovf:Item>
      <ovf:Item ovf:configuration="small"><rasd:InstanceID>1</rasd:InstanceID><rasd:ElementName>CPU</rasd:ElementName><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity><rasd:Reservation>100</rasd:Reservation></ovf:Item>
      <ovf:Item ovf:configuration="large huge"><rasd:InstanceID>1</rasd:InstanceID><rasd:ElementName>CPU</rasd:ElementName><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>8</rasd:VirtualQuantity><vmw:CoresPerSocket>4</vmw:CoresPerSocket></ovf:Item>
      <ovf:Item ovf:bound="max"><rasd:InstanceID>1</rasd:InstanceID><rasd:ElementName>CPU</rasd:ElementName><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>16</rasd:VirtualQuantity></ovf:Item>
      <ovf:Item><rasd:InstanceID>2</rasd:InstanceID><rasd:ElementName>Memory</rasd:ElementName><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>4</rasd:VirtualQuantity><rasd:AllocationUnits>byte * 2^30</rasd:AllocationUnits></ovf:Item>
      <ovf:Item><rasd:InstanceID>10</rasd:InstanceID><rasd:ElementName>SCSI</rasd:ElementName><rasd:ResourceType>6</rasd:ResourceType><rasd:ResourceSubType>lsilogic</rasd:ResourceSubType><rasd:Address>0</rasd:Address></ovf:Item>
      <ovf:Item><rasd:InstanceID>11</rasd:InstanceID><rasd:ElementName>IDE</rasd:ElementName><rasd:ResourceType>5</rasd:ResourceType><rasd:Address>1</rasd:Address></ovf:Item>
      <ovf:Item ovf:required="false"><rasd:InstanceID>12</rasd:InstanceID><rasd:ElementName>CD</rasd:ElementName><rasd:ResourceType>15</rasd:ResourceType><rasd:Parent>11</rasd:Parent><rasd:AddressOnParent>1</rasd:AddressOnParent></ovf:Item>
      <ovf:Item ovf:required="false"><rasd:InstanceID>13</rasd:InstanceID><rasd:ElementName>Sound</rasd:ElementName><rasd:ResourceType>1</rasd:ResourceType><rasd:ResourceSubType>vmware.soundcard</rasd:ResourceSubType></ovf:Item>
      <ovf:Item><rasd:InstanceID>14</rasd:InstanceID><rasd:ElementName>NIC</rasd:ElementName><rasd:ResourceType>10</rasd:ResourceType><rasd:ResourceSubType>nonsense E1000e</rasd:ResourceSubType><rasd:Connection>front</rasd:Connection></ovf:Item>
      <ovf:Item><rasd:InstanceID>15</rasd:InstanceID><rasd:ElementName>Video</rasd:ElementName><rasd:ResourceType>24</rasd:ResourceType><vmw:Config ovf:required="false" vmw:key="videoRamSizeInKB" vmw:value="4096"/></ovf:Item>
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/>
      <vmw:Config ovf:required="false" vmw:key="tools.toolsUpgradePolicy" vmw:value="manual"/>
      <vmw:ExtraConfig ovf:required="false" vmw:key="disk.EnableUUID" vmw:value="TRUE"/>
    </ovf:VirtualHardwareSection>
    <vmw:OddSection ovf:required="false"><ovf:Info/><x><y/></x></vmw:OddSection>
  </ovf:VirtualSystem>
</ovf:Envelope>
"##;

#[tokio::test]
async fn a_package_from_elsewhere() {
    let desk = Desk::new().await;
    let parsed =
        desk.manager.parse_descriptor(FOREIGN, &t::OvfParseDescriptorParams::default()).await.unwrap();
    assert_eq!(named(&parsed.error), Vec::<&str>::new());
    assert_eq!(parsed.default_entity_name, "The appliance");
    assert_eq!(parsed.eula, ["Be nice."]);
    assert_eq!(parsed.network[0].description, "The <front>");
    assert_eq!(parsed.default_deployment_option, "large");
    assert_eq!(parsed.deployment_option[0].label, "Small");
    assert_eq!(parsed.product_info.unwrap().vendor.as_deref(), Some("Somebody"));
    assert_eq!(parsed.property[0].label.as_deref(), Some("Address"));
    assert_eq!(parsed.property[0].category.as_deref(), Some("Network"));
    assert_eq!(parsed.approximate_flat_deployment_size, Some(4 << 30));
    assert_eq!(parsed.approximate_sparse_deployment_size, None, "one of the disks does not say");
    assert!(!parsed.virtual_app);

    let result = desk.spec(FOREIGN, |_| ()).await;
    let texts: Vec<_> =
        result.warning.iter().map(|problem| problem.localized_message.clone().unwrap()).collect();
    assert_eq!(named(&result.error), Vec::<&str>::new());
    for expected in [
        "Sound",
        "videoRamSizeInKB",
        "toolsUpgradePolicy",
        "OddSection",
        "Reservation",
        "\"front\"",
        "Properties",
    ] {
        assert!(texts.iter().any(|text| text.contains(expected)), "{expected}: {texts:?}");
    }
    assert_eq!(texts.len(), 7, "{texts:?}");
    let spec = config(&result);
    assert_eq!((spec.num_cpus, spec.num_cores_per_socket, spec.memory_mb), (Some(8), Some(4), Some(4096)));
    assert_eq!(spec.guest_id.as_deref(), Some("debian11_64Guest"));
    assert_eq!(spec.version.as_deref(), Some("vmx-13"));
    assert_eq!(spec.firmware.as_deref(), Some("efi"));
    assert!(matches!(&spec.extra_config[0].value, Some(Value::String(value)) if value == "TRUE"));
    assert_eq!(
        devices(&result),
        ["VirtualLsiLogicController", "VirtualDisk", "VirtualDisk", "VirtualCdrom", "VirtualE1000e"]
    );
    assert_eq!(result.file_item.len(), 1);
    let item = &result.file_item[0];
    assert_eq!((item.device_id.as_str(), item.size), ("/copy/VirtualLsiLogicController0:3", Some(123_456)));
    let disk = config(&result).device_change[2].device.downcast_ref::<t::VirtualDisk>().unwrap().clone();
    assert_eq!((disk.base.controller_key, disk.capacity_in_bytes), (Some(201), Some(1 << 30)));

    // The other size, with a network of the caller's, and without the name.
    let network =
        machine(&desk.client, &desk.sim).require(mo::VirtualMachine::NETWORK).await.unwrap().remove(0);
    let result = desk
        .spec(FOREIGN, |params| {
            params.entity_name = String::new();
            params.base.deployment_option = "small".to_owned();
            params.network_mapping =
                vec![t::OvfNetworkMapping { name: "front".to_owned(), network, ..Default::default() }];
        })
        .await;
    assert_eq!(config(&result).num_cpus, Some(1));
    assert_eq!(result.file_item[0].device_id, "/The appliance/VirtualLsiLogicController0:3");
    assert_eq!(result.warning.len(), 6);
}

#[tokio::test]
async fn packages_that_cannot_be() {
    let desk = Desk::new().await;
    for (from, to, expected) in [
        ("#streamOptimized", "#sparse", "OvfUnsupportedAttributeValue"),
        ("ovf:size=\"123456\"", "ovf:compression=\"gzip\"", "OvfUnsupportedAttributeValue"),
        ("ovf:size=\"123456\"", "ovf:size=\"much\"", "OvfElementInvalidValue"),
        ("ovf:size=\"123456\"", "ovf:chunkSize=\"1000\"", "OvfUnsupportedAttributeValue"),
        ("ovf:fileRef=\"f1\"", "ovf:fileRef=\"f2\"", "OvfInvalidValueReference"),
        ("ovf:capacity=\"3\"", "ovf:capacity=\"${size}\"", "OvfElementInvalidValue"),
        ("ovf:capacity=\"3\"", "ovf:capacity=\"99999999999999999\"", "OvfElementInvalidValue"),
        ("ovf:capacity=\"3\"", "ovf:capacity=\"3\" ovf:parentRef=\"d2\"", "OvfUnsupportedAttributeValue"),
        ("/disk/d1", "/disk/d9", "OvfInvalidValueReference"),
        (">front<", ">back<", "OvfInvalidValueReference"),
        ("<rasd:Parent>10<", "<rasd:Parent>99<", "OvfInvalidValueReference"),
        ("<rasd:AddressOnParent>3<", "<rasd:AddressOnParent>7<", "OvfElementInvalidValue"),
        (">lsilogic<", ">quantum<", "OvfUnsupportedSubType"),
        ("vmx-07 vmx-13 vmx-99", "vmx-99", "OvfNoSupportedHardwareFamily"),
        ("OddSection ovf:required=\"false\"", "OddSection", "OvfUnsupportedSection"),
        ("<rasd:InstanceID>11<", "<rasd:InstanceID>10<", "OvfElementInvalidValue"),
        (">17<", ">seventeen<", "OvfElementInvalidValue"),
        ("</ovf:Envelope>", "", "OvfXmlFormat"),
        ("<?xml version=\"1.0\"?>", "<!DOCTYPE x [<!ENTITY a \"b\">]>", "OvfXmlFormat"),
        ("<ovf:Envelope", "<ovf:Package", "OvfXmlFormat"),
    ] {
        assert!(FOREIGN.contains(from), "{from}");
        let mut text = FOREIGN.replacen(from, to, 1);
        if from.contains("Envelope") && to.contains("Package") {
            text = text.replace("</ovf:Envelope", "</ovf:Package");
        }
        let result = desk.spec(&text, |_| ()).await;
        assert!(result.import_spec.is_none(), "{to}");
        assert!(named(&result.error).contains(&expected), "{to}: {:?}", named(&result.error));
    }
    let deep = FOREIGN.replacen("<x><y/></x>", &format!("{}{}", "<x>".repeat(500), "</x>".repeat(500)), 1);
    assert_eq!(named(&desk.spec(&deep, |_| ()).await.error), ["OvfXmlFormat"]);
    let many =
        FOREIGN.replacen("<ovf:Info>Disks</ovf:Info>", &"<ovf:Disk ovf:capacity=\"x\"/>".repeat(5000), 1);
    let result = desk.spec(&many, |_| ()).await;
    assert!(result.error.len() <= 200, "an answer has an end");
    let several = FOREIGN
        .replace("ovf:VirtualSystem ", "ovf:VirtualSystemCollection ")
        .replace("</ovf:VirtualSystem>", "</ovf:VirtualSystemCollection>");
    assert_eq!(named(&desk.spec(&several, |_| ()).await.error), ["OvfUnsupportedElement"]);
    let parsed =
        desk.manager.parse_descriptor(&several, &t::OvfParseDescriptorParams::default()).await.unwrap();
    assert!(parsed.virtual_app);
    let odd =
        desk.spec(FOREIGN, |params| params.disk_provisioning = Some("twoGbMaxExtentFlat".to_owned())).await;
    assert_eq!(named(&odd.error), ["OvfUnsupportedDiskProvisioning"]);
    let odd = desk.spec(FOREIGN, |params| params.base.deployment_option = "tiny".to_owned()).await;
    assert!(named(&odd.error).contains(&"OvfInvalidValueReference"));

    let params = Poly::new(t::OvfCreateImportSpecParams::default());
    let refused = desk
        .manager
        .create_import_spec(FOREIGN, &MoRef::new("resgroup-999"), &desk.datastore().await, &params)
        .await
        .unwrap_err();
    assert_eq!(fault_name(&refused), "ManagedObjectNotFound");
}
