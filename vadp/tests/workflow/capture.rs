//! What was set on a machine comes back in its restore point's capsule, property by property; what cannot be read is missing
//! with a reason, and does not cost the backup unless it is wanted.

use secrecy::SecretString;
use vadp::capture::{Capsule, Network, Part, PartName, Why};
use vadp::privileges::{BACKUP, CAPTURE, role};
use vadp::{Backup, ErrorKind, Level, Preflight, Topic};
use vim_api::dynamic::Poly;
use vim_api::mo::{AuthorizationManager, CustomFieldsManager, Managed};
use vim_api::rest::{Cardinality, NewCategory};
use vim_api::types as t;
use vim_api::{DatastoreFiles, DatastorePath, Upload};
use vsphere_sim::Mode;

use crate::harness::{MIB, VM, World, story};

async fn reconfigure(world: &World, spec: t::VirtualMachineConfigSpec) {
    world.vm.vm().reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
}

async fn download(files: &DatastoreFiles, path: &str) -> Vec<u8> {
    let mut download = files.download(&path.parse().unwrap()).await.unwrap();
    let mut all = Vec::new();
    while let Some(piece) = download.next().await.unwrap() {
        all.extend_from_slice(&piece);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_set_on_the_machine_comes_back() {
    let world = World::new(&[8 * MIB, 8 * MIB]).await;
    let (client, vm) = (&world.client, world.vm.vm());
    // The configuration's own: notes, vApp options.
    let property = t::VAppPropertyInfo {
        key: 1,
        class_id: Some("net".into()),
        id: Some("gateway".into()),
        r#type: Some("string".into()),
        value: Some("10.0.0.1".into()),
        ..Default::default()
    };
    let secret = t::VAppPropertyInfo {
        key: 2,
        id: Some("admin".into()),
        r#type: Some("password(8..)".into()),
        value: Some("hunter22".into()),
        ..Default::default()
    };
    let wrapped = |info| t::VAppPropertySpec {
        base: t::ArrayUpdateSpec { operation: t::ArrayUpdateOperation::Add, ..Default::default() },
        info: Some(Box::new(info)),
    };
    let product = t::VAppProductSpec {
        base: t::ArrayUpdateSpec { operation: t::ArrayUpdateOperation::Add, ..Default::default() },
        info: Some(Box::new(t::VAppProductInfo {
            key: 1,
            name: Some("Shop".into()),
            vendor: Some("Example".into()),
            version: Some("3.1".into()),
            ..Default::default()
        })),
    };
    let vapp = t::VmConfigSpec {
        product: vec![product],
        property: vec![wrapped(property), wrapped(secret)],
        ovf_environment_transport: vec!["iso".into()],
        ..Default::default()
    };
    reconfigure(
        &world,
        t::VirtualMachineConfigSpec {
            annotation: Some("the shop's front".into()),
            v_app_config: Some(Poly::new(vapp)),
            ..Default::default()
        },
    )
    .await;
    // What people have attached to it.
    let fields: CustomFieldsManager = client.bind(client.content().custom_fields_manager.as_ref().unwrap());
    fields.add_custom_field_def("Owner", Some("VirtualMachine"), None, None).await.unwrap();
    fields.add_custom_field_def("Unused", None, None, None).await.unwrap();
    vm.set_custom_value("Owner", "team shop").await.unwrap();
    let tags = client.rest().tags();
    let category = NewCategory {
        name: "tier".into(),
        description: "how soon it has to be back".into(),
        cardinality: Cardinality::Single,
        associable_types: vec!["VirtualMachine".into()],
    };
    let category = tags.create_category(&category).await.unwrap();
    let gold = tags.create_tag(&category, "gold", "within the hour").await.unwrap();
    tags.attach(&gold, &vm.moref()).await.unwrap();
    let policy = world.sim.add_storage_policy("mirrored", "two copies");
    world.sim.give_storage_policy(VM, None, &policy).unwrap();
    let fast = world.sim.add_storage_policy("fast", "");
    world.sim.give_storage_policy(VM, Some(world.keys()[1]), &fast).unwrap();
    let authorization: AuthorizationManager =
        client.bind(client.content().authorization_manager.as_ref().unwrap());
    // What the account may do on the root folder anyway.
    let admin = t::Permission {
        principal: world.sim.user().to_owned(),
        role_id: -1,
        propagate: true,
        ..Default::default()
    };
    authorization.set_entity_permissions(&vm.moref().cast(), &[admin]).await.unwrap();
    // Its own files.
    let files = client.datastore_files("DC0");
    let nvram: Vec<u8> = (0..8_684_u32).flat_map(|n| n.to_le_bytes()).collect();
    let config = vm.require(vim_api::mo::VirtualMachine::CONFIG).await.unwrap();
    let vmx: DatastorePath = config.files.vm_path_name.as_deref().unwrap().parse().unwrap();
    let nvram_path = vmx.parent().unwrap().join(&format!("{VM}.nvram")).unwrap();
    // A machine that runs holds the file.
    world.power_off().await;
    let content = bytes::Bytes::from(nvram.clone());
    let length = content.len() as u64;
    let content = Upload::sized(length, futures::stream::iter([Ok(content)]));
    files.upload(&nvram_path, content).await.unwrap();
    vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
    for name in ["before the update", "after it"] {
        vm.create_snapshot_task(name, Some("by hand"), false, false).await.unwrap().wait().await.unwrap();
    }

    let done = world.full().await.unwrap();
    assert!(done.not_captured.is_empty(), "{:?}", done.not_captured);
    let capsule = Capsule::of(&done.point).await.unwrap();
    let parts = &capsule.machine.parts;

    let essentials = parts.essentials.get().unwrap();
    assert_eq!(essentials.name, VM);
    assert_eq!(essentials.bios_uuid, config.uuid);
    assert_eq!(essentials.instance_uuid, config.instance_uuid);
    assert_eq!(essentials.guest_id, config.guest_id);
    assert_eq!(essentials.firmware, config.firmware);
    assert_eq!(essentials.hardware_version, config.version);
    assert_eq!(essentials.cpus, config.hardware.num_cpu);
    assert_eq!(essentials.memory_mib, config.hardware.memory_mb);
    assert_eq!(essentials.annotation.as_deref(), Some("the shop's front"));
    assert_eq!(essentials.change_tracking, Some(true));
    assert_eq!(essentials.devices.len(), config.hardware.device.len());
    for (found, device) in essentials.devices.iter().zip(&config.hardware.device) {
        assert_eq!((found.kind.as_str(), found.key), (device.type_name(), device.key));
    }
    let vmx_now = download(&files, &vmx.to_string()).await;
    let kept = parts.vmx.get().unwrap();
    assert_eq!(kept.path, vmx.to_string());
    assert!(kept.content.0.starts_with(b".encoding"), "{:?}", String::from_utf8_lossy(&kept.content.0));
    // The snapshot's disks stand in the file of that moment; nothing else differs.
    let settled = |text: &[u8]| -> Vec<String> {
        let lines = String::from_utf8(text.to_vec()).unwrap();
        lines.lines().filter(|line| !line.contains(".fileName")).map(str::to_owned).collect()
    };
    assert_eq!(settled(&kept.content.0), settled(&vmx_now));
    assert_eq!(parts.nvram.get().unwrap().as_ref().unwrap().content.0, nvram);
    let layout = parts.layout.get().unwrap();
    let vmx_path = vmx.to_string();
    for (kind, path) in [("config", &vmx_path), ("nvram", &nvram_path.to_string())] {
        assert!(layout.iter().any(|file| file.kind == kind && file.path == *path), "{layout:?}");
    }
    let tag = &parts.tags.get().unwrap()[0];
    assert_eq!((tag.category.as_str(), tag.tag.as_str()), ("tier", "gold"));
    assert_eq!(tag.cardinality, Cardinality::Single);
    let attributes = parts.attributes.get().unwrap();
    assert_eq!(attributes.len(), 1);
    assert_eq!((attributes[0].name.as_str(), attributes[0].value.as_str()), ("Owner", "team shop"));
    let policies = parts.policies.get().unwrap();
    assert_eq!(policies.home.as_ref().unwrap().name, "mirrored");
    assert_eq!(policies.disks[&world.keys()[1]].name, "fast");
    let place = parts.place.get().unwrap();
    assert_eq!(place.datacenter.as_deref(), Some("/DC0"));
    assert_eq!(place.folder.as_deref(), Some("/DC0/vm"));
    assert!(place.pool.as_deref().unwrap().ends_with("/Resources"), "{place:?}");
    assert!(place.host.is_some() && place.compute.as_deref().unwrap().starts_with("/DC0/host/"), "{place:?}");
    let grants = parts.permissions.get().unwrap();
    assert_eq!((grants[0].role.as_str(), grants[0].propagate), ("Admin", true), "{grants:?}");
    let networks = parts.networks.get().unwrap();
    assert_eq!(networks.len(), 1);
    assert!(matches!(&networks[0].network, Network::Standard { name } if !name.is_empty()), "{networks:?}");
    assert!(networks[0].mac.is_some());
    let vapp = parts.vapp.get().unwrap().as_ref().unwrap();
    assert_eq!(vapp.products[0].name.as_deref(), Some("Shop"));
    assert_eq!(
        (vapp.properties[0].id.as_str(), vapp.properties[0].value.as_deref()),
        ("net.gateway", Some("10.0.0.1"))
    );
    assert_eq!((vapp.properties[1].id.as_str(), vapp.properties[1].value.as_deref()), ("admin", None));
    assert_eq!(vapp.transports, ["iso"]);
    assert!(capsule.machine.config_xml.contains("hunter22"), "the configuration itself is whole");
    let snapshots = parts.snapshots.get().unwrap();
    assert_eq!(
        snapshots.iter().map(|s| (s.name.as_str(), s.parent)).collect::<Vec<_>>(),
        [("before the update", None), ("after it", Some(0))]
    );
    assert!(parts.guest.get().is_some());
    for key in world.keys() {
        let descriptor = capsule.disks[&key].descriptor.get().unwrap();
        assert!(descriptor.keys().any(|name| name.contains("adapterType")), "{descriptor:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_read_is_missing_and_costs_the_backup_only_where_it_is_required() {
    let password = SecretString::from("a password");
    let world_of = async |privileges: &[&str]| {
        let with_user = |builder: vsphere_sim::Builder| {
            builder.add_role("backup", privileges).add_user("b@vsphere.local", password.clone(), "backup")
        };
        let mut world = World::built(&[8 * MIB], with_user).await;
        world.log_in_as("b@vsphere.local", &password).await;
        world
    };
    let world = world_of(&role(&[BACKUP])).await;
    let done = world.full().await.unwrap();
    let refused: Vec<PartName> = done
        .not_captured
        .iter()
        .filter(|(_, missing)| missing.why == Why::NotAllowed)
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(refused, [PartName::Vmx, PartName::Nvram, PartName::Policies], "{:?}", done.not_captured);
    assert_eq!(done.not_captured.len(), refused.len(), "{:?}", done.not_captured);
    let parts = Capsule::of(&done.point).await.unwrap().machine.parts;
    assert!(parts.vmx.get().is_none() && parts.essentials.get().is_some());
    // The preflight has said so beforehand.
    let preflight = Preflight::backup(&world.vm).disk_port(None);
    let report = preflight.run().await.unwrap();
    let warned: Vec<_> = report.of_level(Level::Warning).filter(|f| f.topic == Topic::Capture).collect();
    assert_eq!(warned.len(), 3, "{report}");
    assert!(report.ok());
    let preflight = Preflight::backup(&world.vm).disk_port(None).require([PartName::Nvram]);
    assert!(!preflight.run().await.unwrap().ok());

    let backup = Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal);
    let error = backup.require([PartName::Nvram]).run(|_| ()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotCaptured);
    assert!(story(&error).contains("NVRAM"), "{}", story(&error));
    assert_eq!(world.points().await, 1);
    world.assert_clean();

    let world = world_of(&role(&[BACKUP, CAPTURE])).await;
    let done = world.full().await.unwrap();
    assert!(done.not_captured.is_empty(), "the privileges that are named suffice: {:?}", done.not_captured);
    let nvram = Capsule::of(&done.point).await.unwrap().machine.parts.nvram;
    assert_eq!(nvram, Part::Captured(None), "it was never on, so there is no file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_alone_has_less_and_says_so() {
    let world = World::built(&[8 * MIB], |builder| builder.mode(Mode::HostAgent)).await;
    let done = world.full().await.unwrap();
    let missing: Vec<_> = done.not_captured.iter().map(|(name, missing)| (*name, missing.why)).collect();
    assert_eq!(
        missing,
        [PartName::Tags, PartName::Attributes, PartName::Policies].map(|name| (name, Why::NotOnThisServer))
    );
    let parts = Capsule::of(&done.point).await.unwrap().machine.parts;
    assert!(parts.vmx.get().is_some());
    assert_eq!(parts.drs, Part::Captured(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_fails_costs_its_part_alone() {
    let world = World::new(&[8 * MIB]).await;
    world.fault(vsphere_sim::FaultRule::call("RetrieveEntityPermissions", "RuntimeFault"));
    let done = world.full().await.unwrap();
    assert_eq!(done.not_captured.len(), 1, "{:?}", done.not_captured);
    assert_eq!((done.not_captured[0].0, done.not_captured[0].1.why), (PartName::Permissions, Why::Failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_made_anew_is_told() {
    let world = World::new(&[8 * MIB, 8 * MIB]).await;
    let left_out = world.keys()[1];
    let backup = Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal);
    let done = backup.exclude([left_out]).run(|_| ()).await.unwrap();
    let lost: Vec<&str> = done.losses.iter().map(|loss| loss.subject.as_str()).collect();
    assert_eq!(lost, ["Hard disk 2"], "{:?}", done.losses);
    let metadata = Capsule::of(&done.point).await.unwrap().machine;
    assert_eq!(metadata.losses.unwrap(), done.losses);
}
