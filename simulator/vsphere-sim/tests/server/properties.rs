use vim_api::dynamic::{Poly, Value};
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};

use crate::{log_in, machine, start};

fn spec(
    type_name: &str,
    paths: &[&str],
    start: MoRef,
    walk: Vec<Poly<t::SelectionSpec>>,
) -> t::PropertyFilterSpec {
    t::PropertyFilterSpec {
        prop_set: vec![t::PropertySpec {
            r#type: type_name.to_owned(),
            path_set: paths.iter().map(|path| (*path).to_owned()).collect(),
            ..Default::default()
        }],
        object_set: vec![t::ObjectSpec { obj: start, select_set: walk, ..Default::default() }],
        ..Default::default()
    }
}

fn named(name: &str) -> Poly<t::SelectionSpec> {
    Poly::new(t::SelectionSpec { name: Some(name.to_owned()), ..Default::default() })
}

/// From the root through all folders, by traversals that name each other.
fn whole_tree() -> Vec<Poly<t::SelectionSpec>> {
    let walk = |name: &str, type_name: &str, path: &str| {
        let mut traversal = t::TraversalSpec {
            r#type: type_name.to_owned(),
            path: path.to_owned(),
            select_set: vec![named("folder"), named("dc-vm"), named("dc-host"), named("hosts"), named("vms")],
            ..Default::default()
        };
        traversal.name = Some(name.to_owned());
        Poly::new(traversal)
    };
    vec![
        walk("folder", "Folder", "childEntity"),
        walk("dc-vm", "Datacenter", "vmFolder"),
        walk("dc-host", "Datacenter", "hostFolder"),
        walk("hosts", "ComputeResource", "host"),
        walk("vms", "HostSystem", "vm"),
    ]
}

async fn retrieve(
    client: &Client,
    spec: t::PropertyFilterSpec,
) -> Result<Vec<t::ObjectContent>, vim_api::Error> {
    let page =
        client.property_collector().retrieve_properties_ex(&[spec], &t::RetrieveOptions::default()).await?;
    Ok(page.map(|page| page.objects).unwrap_or_default())
}

#[tokio::test]
async fn machines_are_listed() {
    let sim = start(3).await;
    let client = log_in(&sim).await;
    let mut found =
        client.list::<mo::VirtualMachine>(&client.content().root_folder.cast(), &["name"]).await.unwrap();
    let mut names: Vec<String> = found.iter_mut().map(|vm| vm.take_required("name").unwrap()).collect();
    names.sort();
    assert_eq!(names, ["vm-1", "vm-2", "vm-3"]);
}

#[tokio::test]
async fn recursive_traversals_find_each_object_once() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let root: MoRef = client.content().root_folder.cast();
    let found = retrieve(&client, spec("ManagedEntity", &["name"], root, whole_tree())).await.unwrap();
    let mut ids: Vec<String> = found.iter().map(|content| content.obj.to_string()).collect();
    ids.sort();
    assert_eq!(
        ids,
        [
            "ClusterComputeResource:domain-c8",
            "Datacenter:datacenter-2",
            "Folder:group-d1",
            "Folder:group-h4",
            "Folder:group-v3",
            "HostSystem:host-21",
            "VirtualMachine:vm-101",
            "VirtualMachine:vm-102",
        ]
    );
    let unknown = spec("Folder", &["name"], client.content().root_folder.cast(), vec![named("nowhere")]);
    let refused = retrieve(&client, unknown).await.unwrap_err();
    assert!(refused.fault::<t::InvalidArgument>().is_some(), "{refused}");
}

#[tokio::test]
async fn paths() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm: MoRef = sim.vm("vm-1").unwrap().moref().cast();
    let paths = [
        "runtime.powerState",
        "config.hardware.device[2000].backing.fileName",
        "config.hardware.device[2000]",
        "config.extraConfig[\"ctkEnabled\"].value",
        "snapshot.currentSnapshot",
    ];
    let found = retrieve(&client, spec("VirtualMachine", &paths, vm.clone(), Vec::new())).await.unwrap();
    let value =
        |path: &str| found[0].prop_set.iter().find(|property| property.name == path).map(|found| &found.val);
    assert!(matches!(value(paths[0]), Some(Value::Enum { value, .. }) if &**value == "poweredOn"));
    assert!(matches!(value(paths[1]), Some(Value::String(name)) if name == "[datastore1] vm-1/vm-1.vmdk"));
    let disk = value(paths[2]).unwrap().as_object().unwrap();
    assert_eq!(disk.downcast_ref::<t::VirtualDisk>().unwrap().capacity_in_bytes, Some(64 << 20));
    assert!(matches!(value(paths[3]), Some(Value::String(on)) if on == "TRUE"));
    assert!(value(paths[4]).is_none(), "what is not set is left out");
    for bad in ["nonsense", "runtime.nonsense", "name.x", "config.hardware.device[2000", "runtime."] {
        let refused =
            retrieve(&client, spec("VirtualMachine", &[bad], vm.clone(), Vec::new())).await.unwrap_err();
        assert_eq!(
            refused.fault::<t::InvalidProperty>().unwrap_or_else(|| panic!("{bad}: {refused}")).name,
            bad
        );
    }
    let mut all = spec("VirtualMachine", &[], vm, Vec::new());
    all.prop_set[0].all = Some(true);
    let found = retrieve(&client, all).await.unwrap();
    for name in ["config", "runtime", "summary", "guest", "layoutEx", "parent", "recentTask"] {
        assert!(found[0].prop_set.iter().any(|property| property.name == name), "{name}");
    }
}

#[tokio::test]
async fn missing_objects() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let gone = MoRef::<mo::VirtualMachine>::new("vm-999");
    let filter = spec("VirtualMachine", &["name"], gone.cast(), Vec::new());
    let refused = retrieve(&client, filter.clone()).await.unwrap_err();
    assert_eq!(refused.fault::<t::ManagedObjectNotFound>().unwrap().obj, gone);
    let lenient = t::PropertyFilterSpec { report_missing_objects_in_results: Some(true), ..filter };
    assert!(retrieve(&client, lenient).await.unwrap().is_empty());
    let wrong_kind = MoRef::<mo::HostSystem>::new("vm-101");
    let host: mo::HostSystem = client.bind(&wrong_kind);
    assert!(host.get(mo::HostSystem::NAME).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn pages_are_turned_by_tokens_that_work_once() {
    let sim = start(5).await;
    let client = log_in(&sim).await;
    let collector = client.property_collector();
    let root: MoRef = client.content().root_folder.cast();
    let filter = spec("VirtualMachine", &["name"], root, whole_tree());
    let options = t::RetrieveOptions { max_objects: Some(2), ..Default::default() };
    let first =
        collector.retrieve_properties_ex(std::slice::from_ref(&filter), &options).await.unwrap().unwrap();
    assert_eq!(first.objects.len(), 2);
    let token = first.token.unwrap();
    let other = log_in(&sim).await;
    let stolen = other.property_collector().continue_retrieve_properties_ex(&token).await.unwrap_err();
    assert!(stolen.fault::<t::InvalidProperty>().is_some(), "a token is its session's: {stolen}");
    let second = collector.continue_retrieve_properties_ex(&token).await.unwrap();
    assert_eq!(second.objects.len(), 2);
    let used = collector.continue_retrieve_properties_ex(&token).await.unwrap_err();
    assert!(used.fault::<t::InvalidProperty>().is_some(), "{used}");
    let last = collector.continue_retrieve_properties_ex(&second.token.unwrap()).await.unwrap();
    assert_eq!((last.objects.len(), last.token), (1, None));
    let again = collector.retrieve_properties_ex(&[filter], &options).await.unwrap().unwrap();
    let token = again.token.unwrap();
    collector.cancel_retrieve_properties_ex(&token).await.unwrap();
    assert!(collector.continue_retrieve_properties_ex(&token).await.is_err());
}

#[tokio::test]
async fn the_search_index_finds_machines() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let index: mo::SearchIndex = client.bind(client.content().search_index.as_ref().unwrap());
    let config = machine(&client, &sim).require(mo::VirtualMachine::CONFIG).await.unwrap();
    let by_instance =
        index.find_by_uuid(None, &config.instance_uuid.unwrap(), true, Some(true)).await.unwrap();
    assert_eq!(by_instance.unwrap().value(), "vm-101");
    let by_bios = index.find_by_uuid(None, &config.uuid, true, None).await.unwrap();
    assert_eq!(by_bios.unwrap().value(), "vm-101");
    assert_eq!(index.find_by_inventory_path("/DC0/vm/vm-2").await.unwrap().unwrap().value(), "vm-102");
    assert!(index.find_by_inventory_path("DC0/vm/vm-3").await.unwrap().is_none());
}
