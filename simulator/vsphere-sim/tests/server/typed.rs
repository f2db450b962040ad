//! Structs read from properties, and paths that the compiler knows.

use futures::StreamExt;
use secrecy::SecretString;
use vim_api::dynamic::Poly;
use vim_api::mo::{self, Managed};
use vim_api::types::{HostConfigManager, VirtualDevice, VirtualDisk, VirtualMachinePowerState};
use vim_api::{MoRef, Retrieve};
use vsphere_sim::{Sim, VmSpec};

use crate::{connect, log_in, machine, start};

#[derive(Debug, Retrieve)]
#[retrieve(mo::VirtualMachine)]
struct Vm {
    #[retrieve(self)]
    moref: MoRef<mo::VirtualMachine>,
    name: String,
    #[retrieve(runtime.power_state)]
    power: VirtualMachinePowerState,
    #[retrieve(config.change_tracking_enabled)]
    tracked: Option<bool>,
    #[retrieve(config.hardware.device)]
    devices: Option<Vec<Poly<VirtualDevice>>>,
    #[retrieve(config.hardware.device[2000].device_info.label)]
    first_disk: Option<String>,
    #[retrieve(config.hardware.device[4711])]
    no_such_device: Option<Poly<VirtualDevice>>,
    #[retrieve(root_snapshot)]
    snapshots: Vec<MoRef<mo::VirtualMachineSnapshot>>,
    #[retrieve(snapshot.current_snapshot)]
    snapshot: Option<MoRef<mo::VirtualMachineSnapshot>>,
}

#[tokio::test]
async fn a_struct_is_read_from_every_machine() {
    let sim = start(3).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let snapshot = vm.create_snapshot_task("one", None, false, false).await.unwrap().wait().await.unwrap();
    let mut found = client.list_as::<Vm>(&client.content().root_folder.cast()).await.unwrap();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(found.iter().map(|vm| vm.name.as_str()).collect::<Vec<_>>(), ["vm-1", "vm-2", "vm-3"]);
    for found in &found {
        assert_eq!(found.power, VirtualMachinePowerState::PoweredOn);
        assert_eq!(found.tracked, Some(true));
        let devices = found.devices.as_ref().unwrap();
        let disk = devices.iter().find_map(|device| device.downcast_ref::<VirtualDisk>()).unwrap();
        assert_eq!(disk.key, 2000);
        let label = disk.device_info.as_ref().unwrap().label.clone();
        assert_eq!(found.first_disk, Some(label));
        assert!(found.no_such_device.is_none());
    }
    assert_eq!(found[0].moref, vm.moref());
    assert_eq!((&found[0].snapshot, &found[0].snapshots), (&Some(snapshot.clone()), &vec![snapshot]));
    assert!(found[1].snapshot.is_none() && found[1].snapshots.is_empty());
    let two = client.properties_as::<Vm>(&[found[2].moref.clone(), found[0].moref.clone()]).await.unwrap();
    assert_eq!(two.len(), 2);
}

#[tokio::test]
async fn structs_come_page_by_page() {
    let sim = start(5).await;
    let client = log_in(&sim).await;
    let mut pages = client.list_pages_as::<Vm>(&client.content().root_folder.cast()).page(2);
    assert!(pages.next().await.unwrap().is_some());
    assert_eq!(pages.remaining(), Some(4));
    let rest: Vec<_> = pages.into_stream().collect().await;
    assert!(rest.len() == 4 && rest.iter().all(Result::is_ok), "{rest:?}");
}

/// What the schema promises of every host, to those who may read it.
#[derive(Debug, Retrieve)]
#[retrieve(mo::HostSystem)]
struct Host {
    #[retrieve(config_manager)]
    _managers: HostConfigManager,
}

#[tokio::test]
async fn what_the_server_left_out_is_named_and_passed_over() {
    let password = SecretString::from("a password");
    let viewer = Sim::builder().add_user("viewer", password.clone(), "View");
    let sim = viewer.vm(VmSpec::new("vm-1")).start().await.unwrap();
    let client = connect(&sim).await;
    client.login("viewer", &password).await.unwrap();
    let root = client.content().root_folder.cast();
    let error = client.list_as::<Host>(&root).await.unwrap_err().to_string();
    assert!(error.contains("HostSystem:host-") && error.contains("\"configManager\""), "{error}");
    let mut pages = client.list_pages_as::<Host>(&root);
    assert!(pages.next().await.is_err());
    assert!(pages.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_typed_path_goes_wherever_a_path_goes() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let devices = mo::VirtualMachine::CONFIG.hardware().device();
    assert!(!vm.require(devices.clone()).await.unwrap().is_empty());
    let name = mo::VirtualMachine::CONFIG.name();
    let mut found = client.properties(&[vm.moref()], &[devices.as_str(), name.as_str()]).await.unwrap();
    // The path settles the types.
    assert!(found[0].get(&devices).unwrap().unwrap().iter().any(|device| device.is::<VirtualDisk>()));
    assert_eq!(found[0].take(&name).unwrap().as_deref(), Some("vm-1"));
    let disk = vm.require(devices.at(2000)).await.unwrap();
    assert!(disk.is::<VirtualDisk>());
    let label = vm.require(devices.at(2000).device_info().label()).await.unwrap();
    assert_eq!(label, disk.device_info.as_ref().unwrap().label);
}
