//! The PropertyCollector: what updates say, whom they are for, and how long they are kept.
//!
//! Reading, traversals, paths and pages are in `properties`; redelivery, truncation, waiting and cancelling in `updates`;
//! `missingSet` for what may not be read in `authorization`; `Fetch` in `raw`; all of it at once in `replica`.

use vim_api::dynamic::{Poly, Value};
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};

use crate::{log_in, machine, start};

fn now() -> t::WaitOptions {
    t::WaitOptions { max_wait_seconds: Some(0), ..Default::default() }
}

fn of(object: &MoRef, type_name: &str, paths: &[&str]) -> t::PropertyFilterSpec {
    t::PropertyFilterSpec {
        prop_set: vec![t::PropertySpec {
            r#type: type_name.to_owned(),
            path_set: paths.iter().map(|path| (*path).to_owned()).collect(),
            ..Default::default()
        }],
        object_set: vec![t::ObjectSpec { obj: object.clone(), ..Default::default() }],
        ..Default::default()
    }
}

/// The machines that a view shows.
fn through(view: &MoRef, type_name: &str, paths: &[&str]) -> t::PropertyFilterSpec {
    let mut spec = of(view, "VirtualMachine", paths);
    let walk =
        t::TraversalSpec { r#type: type_name.to_owned(), path: "view".to_owned(), ..Default::default() };
    spec.object_set[0].skip = Some(true);
    spec.object_set[0].select_set = vec![Poly::new(walk)];
    spec
}

/// Names and operations of the changes of the only object that changed.
fn changes(set: &t::UpdateSet) -> Vec<(String, t::PropertyChangeOp)> {
    let [filter] = set.filter_set.as_slice() else { panic!("{set:?}") };
    let [object] = filter.object_set.as_slice() else { panic!("{set:?}") };
    object.change_set.iter().map(|change| (change.name.clone(), change.op.clone())).collect()
}

async fn reconfigure(vm: &mo::VirtualMachine, spec: t::VirtualMachineConfigSpec) {
    vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
}

async fn note(vm: &mo::VirtualMachine, text: &str) {
    reconfigure(vm, t::VirtualMachineConfigSpec { annotation: Some(text.to_owned()), ..Default::default() })
        .await;
}

#[tokio::test]
async fn partial_updates_say_what_changed_inside() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let paths = ["config.hardware", "config.annotation", "snapshot"];
    let mut told = Vec::new();
    for partial in [true, false] {
        let collector = client.bind(&client.property_collector().create_property_collector().await.unwrap());
        collector.create_filter(&of(&vm.moref().cast(), "VirtualMachine", &paths), partial).await.unwrap();
        let first = collector.wait_for_updates_ex(None, Some(&now())).await.unwrap().unwrap();
        told.push((collector, first.version));
    }
    let next = async |told: &mut (mo::PropertyCollector, String)| {
        let set = told.0.wait_for_updates_ex(Some(&told.1), Some(&now())).await.unwrap().unwrap();
        told.1.clone_from(&set.version);
        changes(&set)
    };
    let one = |name: &str, op: t::PropertyChangeOp| vec![(name.to_owned(), op)];
    use t::PropertyChangeOp as Op;

    reconfigure(
        &vm,
        t::VirtualMachineConfigSpec { annotation: Some("new".to_owned()), ..Default::default() },
    )
    .await;
    assert_eq!(next(&mut told[0]).await, one("config.annotation", Op::Assign));
    assert_eq!(next(&mut told[1]).await, one("config.annotation", Op::Assign));
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    for told in &mut told {
        next(told).await;
    }
    reconfigure(&vm, t::VirtualMachineConfigSpec { num_cpus: Some(4), ..Default::default() }).await;
    assert_eq!(next(&mut told[0]).await, one("config.hardware.numCPU", Op::Assign));
    assert_eq!(next(&mut told[1]).await, one("config.hardware", Op::Assign));

    let snapshot = vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let inside = next(&mut told[0]).await;
    assert!(inside.contains(&("snapshot".to_owned(), Op::Assign)), "{inside:?}");
    let file = "config.hardware.device[2000].backing.fileName".to_owned();
    assert!(inside.contains(&(file, Op::Assign)), "{inside:?}");
    assert_eq!(next(&mut told[1]).await.len(), 2);
    client.bind(&snapshot).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    for told in &mut told {
        next(told).await;
    }

    // A card comes, and goes.
    let card = t::VirtualVmxnet3 {
        base: t::VirtualVmxnet {
            base: t::VirtualEthernetCard {
                base: t::VirtualDevice {
                    key: -1,
                    backing: Some(Poly::new(t::VirtualEthernetCardNetworkBackingInfo {
                        base: t::VirtualDeviceDeviceBackingInfo {
                            device_name: "VM Network".to_owned(),
                            ..Default::default()
                        },
                        ..Default::default()
                    })),
                    ..Default::default()
                },
                ..Default::default()
            },
        },
        ..Default::default()
    };
    let change = |operation, device| t::VirtualMachineConfigSpec {
        device_change: vec![Poly::new(t::VirtualDeviceConfigSpec {
            operation: Some(operation),
            device,
            ..Default::default()
        })],
        ..Default::default()
    };
    reconfigure(&vm, change(t::VirtualDeviceConfigSpecOperation::Add, Poly::new(card))).await;
    let added = next(&mut told[0]).await;
    let (name, _) =
        added.iter().find(|(_, op)| *op == Op::Add).unwrap_or_else(|| panic!("{added:?}")).clone();
    assert!(name.starts_with("config.hardware.device[40"), "{name}");
    next(&mut told[1]).await;
    let devices = vm.require(mo::VirtualMachine::CONFIG.hardware().device()).await.unwrap();
    let card = devices.into_iter().find(|device| name.ends_with(&format!("[{}]", device.key))).unwrap();
    reconfigure(&vm, change(t::VirtualDeviceConfigSpecOperation::Remove, card)).await;
    assert!(next(&mut told[0]).await.contains(&(name, Op::Remove)));
}

#[tokio::test]
async fn what_a_view_shows_enters_and_leaves() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let views: mo::ViewManager = client.bind(client.content().view_manager.as_ref().unwrap());
    let machines: Vec<MoRef> = sim.vms().iter().map(|vm| vm.moref().cast()).collect();
    let list = client.bind(&views.create_list_view(&machines[..1]).await.unwrap());
    let collector = client.property_collector();
    collector.create_filter(&through(&list.moref().cast(), "ListView", &["name"]), false).await.unwrap();
    let kinds = |set: &t::UpdateSet| -> Vec<(t::ObjectUpdateKind, MoRef)> {
        let objects = set.filter_set.iter().flat_map(|filter| &filter.object_set);
        objects.map(|update| (update.kind.clone(), update.obj.clone())).collect()
    };
    use t::ObjectUpdateKind::{Enter, Leave};
    let first = collector.wait_for_updates_ex(None, Some(&now())).await.unwrap().unwrap();
    assert_eq!(kinds(&first), [(Enter, machines[0].clone())]);
    list.modify_list_view(&machines[1..], &machines[..1]).await.unwrap();
    let second = collector.wait_for_updates_ex(Some(&first.version), Some(&now())).await.unwrap().unwrap();
    assert_eq!(kinds(&second), [(Enter, machines[1].clone()), (Leave, machines[0].clone())]);
    list.destroy_view().await.unwrap();
    let third = collector.wait_for_updates_ex(Some(&second.version), Some(&now())).await.unwrap().unwrap();
    assert_eq!(kinds(&third), [(Leave, machines[1].clone())]);
}

#[tokio::test]
async fn the_older_sisters_wait_and_look() {
    let sim = start(3).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let collector = client.property_collector();
    collector
        .create_filter(&of(&vm.moref().cast(), "ManagedEntity", &["config.annotation"]), false)
        .await
        .unwrap_err();
    collector
        .create_filter(&of(&vm.moref().cast(), "VirtualMachine", &["config.annotation"]), false)
        .await
        .unwrap();
    let first = collector.check_for_updates(None).await.unwrap().unwrap();
    assert!(collector.check_for_updates(Some(&first.version)).await.unwrap().is_none());
    let (second, ()) = tokio::join!(
        async { collector.wait_for_updates(Some(&first.version)).await.unwrap() },
        note(&vm, "x")
    );
    assert_eq!(changes(&second)[0].0, "config.annotation");
    // Changes that follow each other before anybody asks are one.
    note(&vm, "y").await;
    note(&vm, "z").await;
    let third = collector.check_for_updates(Some(&second.version)).await.unwrap().unwrap();
    let [change] = third.filter_set[0].object_set[0].change_set.as_slice() else { panic!("{third:?}") };
    assert!(matches!(&change.val, Some(Value::String(text)) if text == "z"), "{change:?}");
    let versions = [&first.version, &second.version, &third.version].map(|text| text.parse::<u64>().unwrap());
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
}

#[tokio::test]
async fn filters_and_versions_die_with_their_session() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let spec = of(&vm.moref().cast(), "VirtualMachine", &["name"]);
    let filter = client.property_collector().create_filter(&spec, false).await.unwrap();
    let told = client.property_collector().check_for_updates(None).await.unwrap().unwrap();
    let other = log_in(&sim).await;
    assert!(other.bind(&filter).destroy_property_filter().await.unwrap_err().is_not_found());
    let collector = other.property_collector();
    collector.create_filter(&spec, false).await.unwrap();
    let own = collector.check_for_updates(None).await.unwrap().unwrap();
    assert_ne!(own.version, told.version, "a version belongs to one collector");
    let foreign = collector.check_for_updates(Some(&told.version)).await.unwrap_err();
    assert!(foreign.fault::<t::InvalidCollectorVersion>().is_some(), "{foreign}");
    client.logout().await.unwrap();
    client.login(sim.user(), sim.password()).await.unwrap();
    assert!(client.property_collector().require(mo::PropertyCollector::FILTER).await.unwrap().is_empty());
    assert!(client.bind(&filter).destroy_property_filter().await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn paths_are_judged_when_a_filter_is_made() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim).moref().cast();
    let collector = client.property_collector();
    for bad in ["nonsense", "snapshot.nonsense", "name.x", "name[1]", "datastore.name", "runtime.nonsense"] {
        let refused = collector.create_filter(&of(&vm, "VirtualMachine", &[bad]), false).await.unwrap_err();
        let fault = refused.fault::<t::InvalidProperty>().unwrap_or_else(|| panic!("{bad}: {refused}"));
        assert_eq!(fault.name, bad);
    }
    for good in ["config.hardware.device[2000].backing", "summary.config.name", "config.files.vmPathName"] {
        collector.create_filter(&of(&vm, "VirtualMachine", &[good]), false).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_missing_is_told_once() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let collector = client.property_collector();
    let mut spec = of(&MoRef::of_type("VirtualMachine", "vm-999"), "VirtualMachine", &["name"]);
    spec.object_set.push(of(&machine(&client, &sim).moref().cast(), "", &[]).object_set.remove(0));
    let refused = collector.create_filter(&spec, false).await.unwrap_err();
    assert!(refused.fault::<t::ManagedObjectNotFound>().is_some(), "{refused}");
    spec.report_missing_objects_in_results = Some(true);
    collector.create_filter(&spec, false).await.unwrap();
    let first = collector.check_for_updates(None).await.unwrap().unwrap();
    assert_eq!(first.filter_set[0].missing_set[0].obj.value(), "vm-999");
    assert_eq!(first.filter_set[0].object_set.len(), 1);
    note(&machine(&client, &sim), "x").await;
    assert!(collector.check_for_updates(Some(&first.version)).await.unwrap().is_none());
}

#[tokio::test]
async fn filters_share_the_room_of_an_answer() {
    let sim = start(3).await;
    let client = log_in(&sim).await;
    let collector = client.property_collector();
    let views: mo::ViewManager = client.bind(client.content().view_manager.as_ref().unwrap());
    let root: MoRef<mo::ManagedEntity> = client.content().root_folder.cast();
    let view = views.create_container_view(&root, &["VirtualMachine".to_owned()], true).await.unwrap();
    for path in ["name", "runtime.powerState"] {
        collector.create_filter(&through(&view.cast(), "ContainerView", &[path]), false).await.unwrap();
    }
    let options = t::WaitOptions { max_object_updates: Some(2), ..now() };
    let (mut version, mut sizes, mut truncated) = (None::<String>, Vec::new(), Vec::new());
    while let Some(set) = collector.wait_for_updates_ex(version.as_deref(), Some(&options)).await.unwrap() {
        sizes.push(set.filter_set.iter().map(|filter| filter.object_set.len()).sum::<usize>());
        truncated.push(set.truncated.unwrap_or(false));
        version = Some(set.version);
    }
    assert_eq!((sizes, truncated), (vec![2, 2, 2], vec![true, true, false]));
}

#[tokio::test]
async fn an_object_comes_once_and_its_page_belongs_to_the_collector() {
    let sim = start(3).await;
    let client = log_in(&sim).await;
    let collector = client.property_collector();
    let specs: Vec<t::PropertyFilterSpec> = sim
        .vms()
        .iter()
        .flat_map(|vm| {
            let vm: MoRef = vm.moref().cast();
            [of(&vm, "ManagedEntity", &["name"]), of(&vm, "VirtualMachine", &["name", "config.uuid"])]
        })
        .collect();
    let options = t::RetrieveOptions { max_objects: Some(2), ..Default::default() };
    let page = collector.retrieve_properties_ex(&specs, &options).await.unwrap().unwrap();
    assert_eq!(page.objects.len(), 2);
    let names: Vec<&str> = page.objects[0].prop_set.iter().map(|property| property.name.as_str()).collect();
    assert_eq!(names, ["name", "config.uuid"]);
    let token = page.token.unwrap();
    let sister = client.bind(&collector.create_property_collector().await.unwrap());
    let foreign = sister.continue_retrieve_properties_ex(&token).await.unwrap_err();
    assert!(foreign.fault::<t::InvalidProperty>().is_some(), "{foreign}");
    assert_eq!(collector.continue_retrieve_properties_ex(&token).await.unwrap().objects.len(), 1);
}

/// What is beside a machine's own state, and shows in it.
#[tokio::test]
async fn fields_and_permissions_are_told_too() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let collector = client.property_collector();
    let paths = ["customValue", "availableField", "permission", "name"];
    collector.create_filter(&of(&vm.moref().cast(), "VirtualMachine", &paths), false).await.unwrap();
    let mut version = collector.check_for_updates(None).await.unwrap().unwrap().version;
    let mut told = async |client: &Client| {
        let set = client.property_collector().check_for_updates(Some(&version)).await.unwrap().unwrap();
        version.clone_from(&set.version);
        changes(&set).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let fields: mo::CustomFieldsManager =
        client.bind(client.content().custom_fields_manager.as_ref().unwrap());
    let field = fields.add_custom_field_def("Owner", None, None, None).await.unwrap();
    assert_eq!(told(&client).await, ["availableField"]);
    fields.set_field(&vm.moref().cast(), field.key, "me").await.unwrap();
    assert_eq!(told(&client).await, ["customValue"]);
    let manager: mo::AuthorizationManager =
        client.bind(client.content().authorization_manager.as_ref().unwrap());
    let permission = t::Permission {
        principal: sim.user().to_owned(),
        role_id: -1,
        propagate: true,
        ..Default::default()
    };
    manager.set_entity_permissions(&vm.moref().cast(), &[permission]).await.unwrap();
    assert_eq!(told(&client).await, ["permission"]);
}

#[tokio::test]
async fn what_may_not_be_read_is_named_beside_what_may() {
    let password = secrecy::SecretString::from("a password");
    let viewer = vsphere_sim::Sim::builder().add_user("viewer", password.clone(), "View");
    let sim = viewer.start().await.unwrap();
    let client = crate::connect(&sim).await;
    client.login("viewer", &password).await.unwrap();
    let collector = client.property_collector();
    let host = MoRef::<mo::HostSystem>::new("host-21");
    let spec = of(&host.cast(), "HostSystem", &["name", "configManager"]);
    let options = t::RetrieveOptions::default();
    let read =
        collector.retrieve_properties_ex(std::slice::from_ref(&spec), &options).await.unwrap().unwrap();
    collector.create_filter(&spec, false).await.unwrap();
    let told = collector.check_for_updates(None).await.unwrap().unwrap();
    let update = &told.filter_set[0].object_set[0];
    assert_eq!(read.objects[0].prop_set[0].name, "name");
    assert_eq!(update.change_set[0].name, "name");
    for missing in [&read.objects[0].missing_set, &update.missing_set] {
        let [missing] = missing.as_slice() else { panic!("{missing:?}") };
        assert_eq!(missing.path, "configManager");
        let fault = missing.fault.fault.downcast_ref::<t::NoPermission>().unwrap();
        assert_eq!(fault.object.as_ref().unwrap().value(), "host-21");
        assert!(fault.privilege_id.is_some());
    }
}
