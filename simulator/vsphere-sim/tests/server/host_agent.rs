//! An ESXi host by itself: what it has, what it calls things, and what it leaves to a vCenter.

use secrecy::SecretString;
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{ApiVersion, Client, Error, MoRef};
use vsphere_sim::{Builder, DiskSpec, ErrorKind, Mode, Sim, Topology, VmSpec};

use crate::raw::{envelope, post, send};
use crate::{MIB, connect, log_in, machine};

fn builder() -> Builder {
    let vm = |name: &str| VmSpec::new(name).disk(DiskSpec::empty(64 * MIB)).cbt();
    Sim::builder().mode(Mode::HostAgent).vm(vm("vm-1")).vm(vm("vm-2"))
}

async fn start() -> (Sim, Client) {
    let sim = builder().start().await.unwrap();
    let client = log_in(&sim).await;
    (sim, client)
}

fn is_unsupported<T: std::fmt::Debug>(outcome: Result<T, Error>) -> bool {
    outcome.unwrap_err().fault::<t::NotSupported>().is_some()
}

async fn get(sim: &Sim, path: &str) -> String {
    send(sim, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
}

#[tokio::test]
async fn it_says_what_it_is() {
    let (sim, client) = start().await;
    assert_eq!(sim.user(), "root");
    assert!(!client.is_vcenter());
    let content = client.content();
    let about = &content.about;
    assert_eq!((about.api_type.as_str(), about.product_line_id.as_str()), ("HostAgent", "embeddedEsx"));
    assert_eq!((about.name.as_str(), about.os_type.as_str()), ("VMware ESXi", "vmnix-x86"));
    assert!(about.instance_uuid.is_none() && about.full_name.starts_with("VMware ESXi 8.0.3 build-"));
    assert_eq!(content.root_folder.value(), "ha-folder-root");
    assert_eq!(content.property_collector.value(), "ha-property-collector");
    assert_eq!(content.session_manager.as_ref().unwrap().value(), "ha-sessionmgr");
    assert_eq!(content.virtual_disk_manager.as_ref().unwrap().value(), "ha-vdiskmanager");
    assert_eq!(content.file_manager.as_ref().unwrap().value(), "ha-nfc-file-manager");
    assert!(content.extension_manager.is_none() && content.custom_fields_manager.is_none());
    assert!(content.alarm_manager.is_none() && content.scheduled_task_manager.is_none());
    let licenses: mo::LicenseManager = client.bind(content.license_manager.as_ref().unwrap());
    let evaluation = licenses.require(mo::LicenseManager::EVALUATION).await.unwrap();
    let product = evaluation.properties.iter().find(|fact| fact.key == "ProductName").unwrap();
    assert_eq!(format!("{:?}", product.value), "\"VMware ESX Server\"");
    let options: mo::OptionManager = client.bind(content.setting.as_ref().unwrap());
    assert!(options.query_options(Some("Config.HostAgent.")).await.unwrap().len() > 1);
    assert!(options.query_options(Some("VirtualCenter.")).await.is_err());
}

#[tokio::test]
async fn its_tree_is_of_one_host() {
    let (_sim, client) = start().await;
    let root: mo::Folder = client.bind(&content_root(&client));
    assert_eq!(root.require(mo::Folder::CHILD_TYPE).await.unwrap(), ["Datacenter"]);
    let children = root.require(mo::Folder::CHILD_ENTITY).await.unwrap();
    assert_eq!(children.iter().map(MoRef::value).collect::<Vec<_>>(), ["ha-datacenter"]);
    for (id, kinds) in [("ha-folder-vm", "VirtualMachine"), ("ha-folder-network", "Network")] {
        let folder: mo::Folder = client.bind(&MoRef::new(id));
        assert_eq!(folder.require(mo::Folder::CHILD_TYPE).await.unwrap(), [kinds]);
        assert_eq!(folder.require(mo::Folder::PARENT).await.unwrap().value(), "ha-datacenter");
    }
    let host =
        client.find_one::<mo::HostSystem>("/ha-datacenter/host/localhost.localdomain/*").await.unwrap();
    assert_eq!(host.object.value(), "ha-host");
    let host: mo::HostSystem = client.bind(&host.object);
    assert_eq!(host.require(mo::HostSystem::PARENT).await.unwrap().value(), "ha-compute-res");
    assert_eq!(
        host.require(mo::HostSystem::DATASTORE_BROWSER).await.unwrap().value(),
        "ha-host-datastorebrowser"
    );
    assert!(host.require(mo::HostSystem::SUMMARY).await.unwrap().management_server_ip.is_none());
    let resource: mo::ComputeResource = client.bind(&MoRef::new("ha-compute-res"));
    assert_eq!(resource.require(mo::ComputeResource::RESOURCE_POOL).await.unwrap().value(), "ha-root-pool");
    let network = client.find_one::<mo::Network>("/ha-datacenter/network/VM Network").await.unwrap();
    assert_eq!(network.object.value(), "HaNetwork-VM Network");
    let store = client.find_one::<mo::Datastore>("/ha-datacenter/datastore/datastore1").await.unwrap();
    let summary = client.bind(&store.object).require(mo::Datastore::SUMMARY).await.unwrap();
    assert_eq!(summary.url, format!("/vmfs/volumes/{}", store.object.value()));
    let machines = client.find_all::<mo::VirtualMachine>("/ha-datacenter/vm/*").await.unwrap();
    let mut ids: Vec<&str> = machines.iter().map(|found| found.object.value()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["1", "2"]);
}

fn content_root(client: &Client) -> MoRef<mo::Folder> {
    client.content().root_folder.clone()
}

#[tokio::test]
async fn machines_live_on_it_as_on_any() {
    let (sim, client) = start().await;
    let vm = machine(&client, &sim);
    assert_eq!(vm.moref().value(), "1");
    let task = vm.create_snapshot_task("first", None, false, false).await.unwrap();
    assert!(
        task.moref().value().starts_with("haTask-1-vim.VirtualMachine.createSnapshot-"),
        "{:?}",
        task.moref()
    );
    let snapshot = task.wait().await.unwrap();
    assert_eq!(snapshot.value(), "1-snapshot-1");
    sim.vm("vm-1").unwrap().with_live_disk(2000, |disk| disk.write_at(MIB, &[7; 4096])).unwrap().unwrap();
    let disks = sim.vm("vm-1").unwrap();
    assert_ne!(
        disks.disk_sha256(2000, None).unwrap(),
        disks.disk_sha256(2000, Some("1-snapshot-1")).unwrap()
    );
    client.bind(&snapshot).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();

    let lease = client.nfc_lease(&vm.export_vm().await.unwrap()).await.unwrap();
    assert!(lease.info().device_url[0].url.starts_with("https://*:"), "{}", lease.info().device_url[0].url);
    assert!(
        lease.info().host_map[0].datastore_key.starts_with("/vmfs/volumes/"),
        "{:?}",
        lease.info().host_map
    );
    lease.complete().await.unwrap();

    let path = vm.require(mo::VirtualMachine::CONFIG).await.unwrap().files.vm_path_name.clone().unwrap();
    vm.unregister_vm().await.unwrap();
    let folder: mo::Folder = client.bind(&MoRef::new("ha-folder-vm"));
    let pool = MoRef::new("ha-root-pool");
    assert!(is_unsupported(folder.register_vm_task(&path, None, true, Some(&pool), None).await));
    let task = folder.register_vm_task(&path, None, false, Some(&pool), None).await.unwrap();
    assert!(task.moref().value().starts_with("haTask-ha-folder-vm-vim.Folder.registerVm-"));
    assert_eq!(task.wait().await.unwrap().value(), "3");

    // Work that is about no entity; and a host needs no datacenter to know which is meant.
    let files: mo::FileManager = client.bind(client.content().file_manager.as_ref().unwrap());
    files.make_directory("[datastore1] made", None, None).await.unwrap();
    let task = files.delete_datastore_file_task("[datastore1] made", None).await.unwrap();
    assert!(task.moref().value().starts_with("haTask--vim.FileManager.deleteFile-"), "{:?}", task.moref());
    task.wait().await.unwrap();
}

#[tokio::test]
async fn it_refuses_what_only_a_vcenter_does() {
    let (sim, client) = start().await;
    let vm = machine(&client, &sim);
    let folder: mo::Folder = client.bind(&MoRef::new("ha-folder-vm"));
    let datacenter: mo::Datacenter = client.bind(&MoRef::new("ha-datacenter"));
    assert!(is_unsupported(
        vm.clone_vm_task(&folder.moref(), "copy", &t::VirtualMachineCloneSpec::default()).await
    ));
    assert!(is_unsupported(vm.relocate_vm_task(&t::VirtualMachineRelocateSpec::default(), None).await));
    assert!(is_unsupported(vm.mark_as_template().await));
    assert!(is_unsupported(vm.set_custom_value("a", "b").await));
    assert!(is_unsupported(folder.create_folder("below").await));
    assert!(is_unsupported(folder.rename_task("other").await));
    assert!(is_unsupported(folder.destroy_task().await));
    assert!(is_unsupported(datacenter.power_on_multi_vm_task(&[vm.moref()], &[]).await));
    let hosts: mo::Folder = client.bind(&MoRef::new("ha-folder-host"));
    assert!(is_unsupported(hosts.create_cluster_ex("cluster", &t::ClusterConfigSpecEx::default()).await));
    let sessions: mo::SessionManager = client.bind(client.content().session_manager.as_ref().unwrap());
    let key = client.current_session().await.unwrap().key;
    let refused = sessions.session_is_active(&key, sim.user()).await.unwrap_err();
    assert!(refused.fault::<t::NotImplemented>().is_some(), "{refused}");
    // Managers of a vCenter are not there under their names either.
    let extensions: mo::ExtensionManager = client.bind(&MoRef::new("ExtensionManager"));
    let refused = extensions.find_extension("any").await.unwrap_err();
    assert!(refused.fault::<t::ManagedObjectNotFound>().is_some(), "{refused}");
    // Without a session a machine's method is a matter of the session first.
    let stranger = machine(&connect(&sim).await, &sim);
    let refused = stranger.mark_as_template().await.unwrap_err();
    assert!(refused.fault::<t::NotAuthenticated>().is_some(), "{refused}");
}

#[tokio::test]
async fn there_are_no_services_beside_its_api() {
    let (sim, _client) = start().await;
    for path in
        ["/rest/com/vmware/cis/session", "/api/session", "/api", "/sts/STSService", "/lookupservice/sdk"]
    {
        let answer = get(&sim, path).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    for path in ["/pbm/sdk", "/vslm/sdk", "/sts/STSService", "/lookupservice/sdk"] {
        let request = post("", &envelope("")).replace("POST /sdk ", &format!("POST {path} "));
        let answer = send(&sim, &request).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
}

#[tokio::test]
async fn its_files_are_in_its_one_datacenter() {
    let (sim, client) = start().await;
    let cookie = client.session_cookie().unwrap();
    let cookie = secrecy::ExposeSecret::expose_secret(&cookie).to_owned();
    for query in ["dcPath=ha-datacenter&dsName=datastore1", "dsName=datastore1"] {
        let request = format!(
            "GET /folder/vm-1/vm-1.vmx?{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nCookie: vmware_soap_session={cookie}\r\n\r\n"
        );
        let answer = send(&sim, &request).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("displayName = \"vm-1\""), "{answer}");
    }
}

#[tokio::test]
async fn permissions_are_on_its_root() {
    let sim = builder().add_user("reader", SecretString::from("secret"), "ReadOnly").start().await.unwrap();
    let client = log_in(&sim).await;
    let manager: mo::AuthorizationManager =
        client.bind(client.content().authorization_manager.as_ref().unwrap());
    let vm = machine(&client, &sim).moref();
    let held = manager.retrieve_entity_permissions(&vm.cast(), true).await.unwrap();
    let mut who: Vec<&str> = held.iter().map(|one| one.principal.as_str()).collect();
    who.sort_unstable();
    assert_eq!(who, ["reader", "root"]);
    assert!(held.iter().all(|one| one.entity.as_ref().unwrap().value() == "ha-folder-root"));
    let reader = connect(&sim).await;
    reader.login("reader", &SecretString::from("secret")).await.unwrap();
    let refused = machine(&reader, &sim).power_off_vm_task().await.unwrap_err();
    assert!(refused.fault::<t::NoPermission>().is_some(), "{refused}");
}

#[tokio::test]
async fn a_data_folder_is_of_one_mode() {
    let data = tempfile::tempdir().unwrap();
    let pool = Topology { networks: 2, datastores: 2, ..Topology::default() };
    let (store, snapshot) = {
        let sim = builder().data_dir(data.path()).topology(pool).start().await.unwrap();
        let client = log_in(&sim).await;
        let vm = machine(&client, &sim);
        let task = vm.create_snapshot_task("kept", None, false, false).await.unwrap();
        (vm.require(mo::VirtualMachine::DATASTORE).await.unwrap(), task.wait().await.unwrap())
    };
    let reopened = async || {
        // The files are free when the old one's threads have ended.
        for _ in 0..100 {
            match builder().data_dir(data.path()).start().await {
                Err(error) if error.kind() == ErrorKind::InvalidState => {
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
                other => return other.unwrap(),
            }
        }
        panic!("the data folder stays in use");
    };
    {
        let sim = reopened().await;
        let client = log_in(&sim).await;
        let vm = machine(&client, &sim);
        assert_eq!(vm.require(mo::VirtualMachine::DATASTORE).await.unwrap(), store);
        let kept = vm.require(mo::VirtualMachine::SNAPSHOT).await.unwrap().current_snapshot;
        assert_eq!(kept, Some(snapshot));
        assert_eq!(client.find_all::<mo::Network>("/ha-datacenter/network/*").await.unwrap().len(), 2);
    }
    drop(reopened().await);
    for _ in 0..100 {
        let refused = Sim::builder().data_dir(data.path()).start().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidState);
        if refused.to_string().contains("an ESXi host by itself") {
            return;
        }
        assert!(refused.to_string().contains("in use"), "{refused}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the data folder stays in use");
}

#[tokio::test]
async fn a_host_is_not_made_of_many() {
    for topology in [
        Topology { datacenters: 2, ..Topology::default() },
        Topology { clusters: 2, ..Topology::default() },
        Topology { hosts: 2, ..Topology::default() },
        Topology { pools: 1, ..Topology::default() },
        Topology { folders: 1, ..Topology::default() },
    ] {
        let refused = builder().topology(topology).start().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
        assert!(refused.to_string().contains("an ESXi host by itself"), "{refused}");
    }
}

#[tokio::test]
async fn its_release_follows_the_version_too() {
    let sim = builder().api_version(ApiVersion::parse("6.7").unwrap()).start().await.unwrap();
    let client = log_in(&sim).await;
    let about = &client.content().about;
    assert_eq!((about.version.as_str(), about.build.as_str()), ("6.7.0", "8169922"));
    let config = machine(&client, &sim).require(mo::VirtualMachine::CONFIG).await.unwrap();
    assert_eq!(config.version, "vmx-14");
}
