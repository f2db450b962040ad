//! What a backup product asks now and then beside its daily work.

use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, Error, MoRef};
use vsphere_sim::Sim;

use crate::{connect, log_in, machine, start};

fn is<F: vim_api::dynamic::DataObject>(error: &Error) -> bool {
    error.find_fault::<F>().is_some()
}

fn host(client: &Client) -> mo::HostSystem {
    client.bind(&MoRef::new("host-21"))
}

#[tokio::test]
async fn an_inventory_view_shows_what_is_open() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let views: mo::ViewManager = client.bind(client.content().view_manager.as_ref().unwrap());
    let view = client.bind(&views.create_inventory_view().await.unwrap());
    let shown = async || -> Vec<String> {
        let objects = view.require(mo::InventoryView::VIEW).await.unwrap();
        objects.iter().map(|object| object.value().to_owned()).collect()
    };
    assert_eq!(shown().await, ["group-d1"]);
    let [root, datacenter, folder]: [MoRef<mo::ManagedEntity>; 3] = [
        MoRef::<mo::Folder>::new("group-d1").cast(),
        MoRef::<mo::Datacenter>::new("datacenter-2").cast(),
        MoRef::<mo::Folder>::new("group-v3").cast(),
    ];
    let nowhere: MoRef<mo::ManagedEntity> = MoRef::<mo::Folder>::new("group-v99").cast();
    let unknown = view.open_inventory_view_folder(&[folder, nowhere.clone()]).await.unwrap();
    assert_eq!(unknown, [nowhere]);
    assert_eq!(shown().await, ["group-d1"], "what is in a folder that is closed does not show");
    view.open_inventory_view_folder(&[root.clone(), datacenter.clone()]).await.unwrap();
    let all = shown().await;
    assert_eq!(all[..2], ["group-d1", "datacenter-2"]);
    assert!(all.contains(&"vm-101".to_owned()) && all.contains(&"group-h4".to_owned()), "{all:?}");
    view.close_inventory_view_folder(&[datacenter]).await.unwrap();
    assert_eq!(shown().await, ["group-d1", "datacenter-2"]);
    view.destroy_view().await.unwrap();
    assert!(view.open_inventory_view_folder(&[root]).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn an_environment_says_which_machines_it_runs() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let browser = client.bind(&vm.require(mo::VirtualMachine::ENVIRONMENT_BROWSER).await.unwrap());
    let descriptors = browser.query_config_option_descriptor().await.unwrap();
    let default = descriptors.iter().find(|option| option.default_config_option == Some(true)).unwrap();
    assert_eq!(default.host.len(), 1);
    let newest = browser.query_config_option(None, None).await.unwrap().unwrap();
    assert_eq!(newest.version, default.key);
    assert!(newest.capabilities.change_tracking_supported == Some(true) && !newest.default_device.is_empty());
    let spec = t::EnvironmentBrowserConfigOptionQuerySpec {
        key: Some("vmx-14".to_owned()),
        guest_id: vec!["otherGuest64".to_owned()],
        ..Default::default()
    };
    let older = browser.query_config_option_ex(Some(&spec)).await.unwrap().unwrap();
    assert_eq!((older.version.as_str(), older.guest_os_descriptor.len()), ("vmx-14", 1));
    let none = browser.query_config_option(Some("vmx-1"), None).await.unwrap_err();
    assert!(is::<t::InvalidArgument>(&none), "{none}");
    let target = browser.query_config_target(None).await.unwrap().unwrap();
    assert_eq!((target.datastore.len(), target.network.len()), (1, 1));
    assert_eq!(target.datastore[0].name, "datastore1");
    assert!(browser.query_target_capabilities(None).await.unwrap().unwrap().vmotion_supported);
    let elsewhere = MoRef::<mo::HostSystem>::new("host-99");
    assert!(is::<t::InvalidArgument>(&browser.query_config_target(Some(&elsewhere)).await.unwrap_err()));
    let files = client.bind(&browser.require(mo::EnvironmentBrowser::DATASTORE_BROWSER).await.unwrap());
    assert_eq!(files.require(mo::HostDatastoreBrowser::DATASTORE).await.unwrap().len(), 1);
}

async fn datastore_system(client: &Client) -> mo::HostDatastoreSystem {
    let managers = host(client).require(mo::HostSystem::CONFIG_MANAGER).await.unwrap();
    client.bind(managers.datastore_system.as_ref().unwrap())
}

fn share(name: &str, path: &str) -> t::HostNasVolumeSpec {
    t::HostNasVolumeSpec {
        remote_host: "nas.example".to_owned(),
        remote_path: path.to_owned(),
        local_path: name.to_owned(),
        access_mode: "readWrite".to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn datastores_come_and_go() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let system = datastore_system(&client).await;
    let nas = system.create_nas_datastore(&share("nas1", "/exports/a")).await.unwrap();
    assert!(is::<t::DuplicateName>(&system.create_nas_datastore(&share("nas1", "/b")).await.unwrap_err()));
    let twice = system.create_nas_datastore(&share("nas2", "/exports/a")).await.unwrap_err();
    assert!(is::<t::AlreadyExists>(&twice), "{twice}");
    for name in ["", "../nas", "a/b", "[x]"] {
        let refused = system.create_nas_datastore(&share(name, "/c")).await.unwrap_err();
        assert!(is::<t::InvalidName>(&refused), "{name}: {refused}");
    }
    let datastore = client.bind(&nas);
    assert_eq!(datastore.require(mo::Datastore::SUMMARY).await.unwrap().r#type, "NFS");
    let info = datastore.require(mo::Datastore::INFO).await.unwrap();
    let volume = info.downcast_ref::<t::NasDatastoreInfo>().unwrap().nas.clone().unwrap();
    assert_eq!(volume.remote_path, "/exports/a");
    let local = system.create_local_datastore("local1", "/vmfs/local").await.unwrap();
    assert_eq!(system.require(mo::HostDatastoreSystem::DATASTORE).await.unwrap().len(), 3);
    assert!(system.query_available_disks_for_vmfs(None).await.unwrap().is_empty());

    // A machine moves in, and holds it.
    let spec = t::VirtualMachineConfigSpec {
        name: Some("on-nas".to_owned()),
        guest_id: Some("otherGuest64".to_owned()),
        files: Some(Box::new(t::VirtualMachineFileInfo {
            vm_path_name: Some("[nas1]".to_owned()),
            ..Default::default()
        })),
        ..Default::default()
    };
    let folder: mo::Folder = client.bind(&MoRef::new("group-v3"));
    let pool = MoRef::new("resgroup-9");
    let made = folder.create_vm_task(&spec, &pool, None).await.unwrap().wait().await.unwrap();
    let used = system.remove_datastore(&nas).await.unwrap_err();
    assert!(is::<t::ResourceInUse>(&used), "{used}");
    client.bind(&made).destroy_task().await.unwrap().wait().await.unwrap();
    datastore.refresh_datastore().await.unwrap();
    system.remove_datastore(&nas).await.unwrap();
    assert!(is::<t::NotFound>(&system.remove_datastore(&nas).await.unwrap_err()));
    client.bind(&local).destroy_datastore().await.unwrap();
    let used =
        client.bind(&MoRef::<mo::Datastore>::new("datastore-11")).destroy_datastore().await.unwrap_err();
    assert!(is::<t::ResourceInUse>(&used), "{used}");
    drop(sim);
}

#[tokio::test]
async fn a_storage_pod_names_its_emptiest_datastore() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let system = datastore_system(&client).await;
    let folder: mo::Folder = client.bind(&MoRef::new("group-s5"));
    let pod = folder.create_storage_pod("pod1").await.unwrap();
    let empty = system.create_nas_datastore(&share("nas1", "/exports/a")).await.unwrap();
    let moved: [MoRef<mo::ManagedEntity>; 2] =
        [empty.cast(), MoRef::<mo::Datastore>::new("datastore-11").cast()];
    client.bind(&pod).move_into_folder_task(&moved).await.unwrap().wait().await.unwrap();
    let manager: mo::StorageResourceManager =
        client.bind(client.content().storage_resource_manager.as_ref().unwrap());
    let spec = t::StoragePlacementSpec {
        r#type: "create".to_owned(),
        pod_selection_spec: t::StorageDrsPodSelectionSpec {
            storage_pod: Some(pod.clone()),
            ..Default::default()
        },
        ..Default::default()
    };
    let found = manager.recommend_datastores(&spec).await.unwrap();
    assert_eq!(found.recommendations.len(), 2);
    let first = &found.recommendations[0].action[0];
    assert_eq!(first.downcast_ref::<t::StoragePlacementAction>().unwrap().destination, empty);
    let nowhere = t::StoragePlacementSpec { r#type: "create".to_owned(), ..Default::default() };
    assert!(is::<t::InvalidArgument>(&manager.recommend_datastores(&nowhere).await.unwrap_err()));
    let summary = client.bind(&pod).require(mo::StoragePod::SUMMARY).await.unwrap();
    assert!(summary.capacity > 0 && summary.free_space <= summary.capacity);
}

#[tokio::test]
async fn what_machines_do_not_have_is_refused() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    assert!(is::<t::InvalidArgument>(&vm.answer_vm("1", "0").await.unwrap_err()));
    assert!(is::<t::NotSupported>(&vm.acquire_ticket("webmks").await.unwrap_err()));
    assert!(is::<t::InvalidArgument>(&vm.acquire_ticket("nonsense").await.unwrap_err()));
    let operations: mo::GuestOperationsManager =
        client.bind(client.content().guest_operations_manager.as_ref().unwrap());
    let manager = operations.require(mo::GuestOperationsManager::PROCESS_MANAGER).await.unwrap();
    let manager: mo::GuestProcessManager = client.bind(&manager);
    let auth = vim_api::dynamic::Poly::new(t::NamePasswordAuthentication {
        username: "root".to_owned(),
        password: "secret".to_owned(),
        ..Default::default()
    });
    let spec = t::GuestProgramSpec { program_path: "/sbin/freeze".to_owned(), ..Default::default() };
    let run = async || {
        let spec = vim_api::dynamic::Poly::new(spec.clone());
        manager.start_program_in_guest(&vm.moref(), &auth, &spec).await.unwrap_err()
    };
    let refused = run().await;
    assert!(is::<t::GuestOperationsUnavailable>(&refused), "{refused}");
    vm.standby_guest().await.unwrap();
    let suspended = async || vm.require(mo::VirtualMachine::RUNTIME.power_state()).await.unwrap();
    while suspended().await != t::VirtualMachinePowerState::Suspended {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(is::<t::InvalidPowerState>(&run().await));
    assert!(is::<t::InvalidPowerState>(&vm.acquire_mks_ticket().await.unwrap_err()));

    let sessions: mo::SessionManager = client.bind(client.content().session_manager.as_ref().unwrap());
    assert!(is::<t::NotSupported>(&sessions.acquire_local_ticket("root").await.unwrap_err()));
    let stranger = connect(&sim).await;
    let sessions: mo::SessionManager = stranger.bind(stranger.content().session_manager.as_ref().unwrap());
    assert!(is::<t::NotSupported>(&sessions.acquire_local_ticket("root").await.unwrap_err()));
}

#[tokio::test]
async fn the_server_and_its_hosts_have_licenses() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let licenses: mo::LicenseManager = client.bind(client.content().license_manager.as_ref().unwrap());
    let manager = licenses.require(mo::LicenseManager::LICENSE_ASSIGNMENT_MANAGER).await.unwrap();
    let manager = client.bind(&manager);
    assert_eq!(manager.query_assigned_licenses(None).await.unwrap().len(), 2);
    let one = manager.query_assigned_licenses(Some("host-21")).await.unwrap();
    assert_eq!(one[0].entity_display_name.as_deref(), Some("127.0.0.1"));
    assert_eq!(one[0].assigned_license.edition_key, "eval");
    assert!(manager.query_assigned_licenses(Some("host-99")).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_consolidation_takes_is_estimated() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let needed = async || -> i64 {
        let task = vm.estimate_storage_for_consolidate_snapshots_task().await.unwrap();
        let found = task.wait().await.unwrap();
        assert_eq!(found[0].datastore.value(), "datastore-11");
        found.iter().map(|needed| needed.free_space_required_in_kb).sum()
    };
    assert_eq!(needed().await, 0);
    let snapshot = vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    vm.create_snapshot_task("t", None, false, false).await.unwrap().wait().await.unwrap();
    sim.vm("vm-1").unwrap().with_live_disk(2000, |disk| disk.write_at(0, &[7; 4096])).unwrap().unwrap();
    assert_eq!(needed().await, 0, "what snapshots own is not merged");
    client.bind(&snapshot).remove_snapshot_task(true, Some(false)).await.unwrap().wait().await.unwrap();
    assert!(vm.require(mo::VirtualMachine::RUNTIME.consolidation_needed()).await.unwrap());
    assert!(needed().await > 0);
    vm.consolidate_vm_disks_task().await.unwrap().wait().await.unwrap();
    assert_eq!(needed().await, 0);
}

#[tokio::test]
async fn a_machine_is_read_again_from_another_file() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let reload =
        async |path: &str| vm.reload_virtual_machine_from_path_task(path).await.unwrap().wait().await;
    assert!(is::<t::InvalidPowerState>(&reload("[datastore1] vm-1/vm-1.vmx").await.unwrap_err()));
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    let before = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
    let folder = sim.data_dir().join("datastores/datastore1/vm-1");
    let text = std::fs::read_to_string(folder.join("vm-1.vmx")).unwrap();
    let text: Vec<String> = text
        .lines()
        .map(
            |line| {
                if line.starts_with("memSize") { "memSize = \"3072\"".to_owned() } else { line.to_owned() }
            },
        )
        .collect();
    std::fs::write(folder.join("other.vmx"), text.join("\n")).unwrap();
    reload("[datastore1] vm-1/other.vmx").await.unwrap();
    let after = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
    assert_eq!(after.hardware.memory_mb, 3072);
    assert_eq!((&after.uuid, &after.instance_uuid), (&before.uuid, &before.instance_uuid));
    assert_eq!(after.files.vm_path_name.as_deref(), Some("[datastore1] vm-1/other.vmx"));
    assert!(is::<t::FileNotFound>(&reload("[datastore1] vm-1/none.vmx").await.unwrap_err()));
    vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
    vm.refresh_storage_info().await.unwrap();
    vm.reload().await.unwrap();
}

#[tokio::test]
async fn pools_are_made() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let root: mo::ResourcePool = client.bind(&MoRef::new("resgroup-9"));
    let pool = root.create_resource_pool("backup", &t::ResourceConfigSpec::default()).await.unwrap();
    let again = root.create_resource_pool("backup", &t::ResourceConfigSpec::default()).await.unwrap_err();
    assert!(is::<t::DuplicateName>(&again), "{again}");
    assert_eq!(client.bind(&pool).require(mo::ResourcePool::OWNER).await.unwrap().value(), "domain-c8");
    client.bind(&pool).destroy_task().await.unwrap().wait().await.unwrap();
    drop::<Sim>(sim);
}
