//! Datastore paths in calls that would lead out of their datastore.

use std::fs;

use vim_api::dynamic::Poly;
use vim_api::mo::Managed as _;
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::{log_in, machine, start};

#[tokio::test]
async fn no_call_leads_out_of_a_datastore() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let datastores = sim.data_dir().join("datastores");
    let root = datastores.join("datastore1");
    let outside = datastores.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret.vmx"), "displayName = \"secret\"\n").unwrap();
    fs::write(outside.join("secret.vmdk"), "secret").unwrap();
    std::os::unix::fs::symlink(&outside, root.join("out")).unwrap();
    std::os::unix::fs::symlink("../outside", root.join("also")).unwrap();
    let vm = machine(&client, &sim);
    let content = client.content();
    let disks: mo::VirtualDiskManager = client.bind(content.virtual_disk_manager.as_ref().unwrap());
    let files: mo::FileManager = client.bind(content.file_manager.as_ref().unwrap());
    let datacenter = client.find_one::<mo::Datacenter>("/DC0").await.unwrap().object;
    let folder = client.bind(&MoRef::<mo::Folder>::new("group-v3"));
    let pool = MoRef::new("resgroup-9");
    for way in [
        "[datastore1] ../outside",
        "[datastore1] vm-1/../../outside",
        "[datastore1] /etc",
        "[datastore1] out",
        "[datastore1] also",
        "[datastore1] out/../../outside",
        "[../outside] .",
        "[outside] .",
        "[] outside",
        "datastore1/../outside",
        "https://x/folder/..%2foutside/secret.vmdk?dcPath=DC0&dsName=datastore1#",
        "https://x/folder/out/secret.vmdk?dcPath=DC0&dsName=datastore1#",
    ] {
        let (disk, text) = (format!("{way}/secret.vmdk"), format!("{way}/secret.vmx"));
        let base = t::VirtualDiskSpec {
            disk_type: "thin".to_owned(),
            adapter_type: "lsiLogic".to_owned(),
            ..Default::default()
        };
        let spec = Poly::new(t::FileBackedVirtualDiskSpec { base, capacity_kb: 1024, ..Default::default() });
        let at = Some(&datacenter);
        let fresh = format!("{way}/new.vmdk");
        let own = "[datastore1] vm-1/vm-1.vmdk";
        let wish = t::VirtualMachineConfigSpec {
            name: Some("hostile".to_owned()),
            files: Some(Box::new(t::VirtualMachineFileInfo {
                vm_path_name: Some(format!("{way}/new.vmx")),
                ..Default::default()
            })),
            ..Default::default()
        };
        let backing = t::VirtualDiskFlatVer2BackingInfo {
            base: t::VirtualDeviceFileBackingInfo { file_name: disk.clone(), ..Default::default() },
            disk_mode: "persistent".to_owned(),
            ..Default::default()
        };
        let device = t::VirtualDisk {
            base: t::VirtualDevice {
                key: -1,
                controller_key: Some(1000),
                backing: Some(Poly::new(backing)),
                ..Default::default()
            },
            ..Default::default()
        };
        let attach = t::VirtualDeviceConfigSpec {
            operation: Some(t::VirtualDeviceConfigSpecOperation::Add),
            device: Poly::new(device),
            ..Default::default()
        };
        let attach =
            t::VirtualMachineConfigSpec { device_change: vec![Poly::new(attach)], ..Default::default() };
        macro_rules! task {
            ($call:expr) => {
                match $call.await {
                    Ok(task) => task.wait().await.map(|_| ()),
                    Err(error) => Err(error),
                }
            };
        }
        let outcomes: Vec<(&str, Result<(), vim_api::Error>)> = vec![
            ("create", task!(disks.create_virtual_disk_task(&fresh, at, &spec))),
            ("copy in", task!(disks.copy_virtual_disk_task(own, at, &fresh, at, None, None))),
            (
                "copy out",
                task!(disks.copy_virtual_disk_task(&disk, at, "[datastore1] c.vmdk", at, None, None)),
            ),
            ("delete disk", task!(disks.delete_virtual_disk_task(&disk, at))),
            ("delete", task!(files.delete_datastore_file_task(&disk, at))),
            ("move", task!(files.move_datastore_file_task(&disk, at, "[datastore1] moved", at, None))),
            ("copy file", task!(files.copy_datastore_file_task(&disk, at, "[datastore1] copied", at, None))),
            ("folder", files.make_directory(&fresh, at, None).await),
            ("register", task!(folder.register_vm_task(&text, None, false, Some(&pool), None))),
            ("machine", task!(folder.create_vm_task(&wish, &pool, None))),
            ("attach", task!(vm.reconfig_vm_task(&attach))),
        ];
        for (what, outcome) in outcomes {
            let refused = outcome.err().unwrap_or_else(|| panic!("{what} at {way}"));
            assert!(refused.kind() == vim_api::ErrorKind::Fault, "{what} at {way}: {refused}");
        }
    }
    let mut left: Vec<_> = fs::read_dir(&outside)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["secret.vmdk", "secret.vmx"]);
    assert_eq!(fs::read(outside.join("secret.vmdk")).unwrap(), b"secret");
    for name in ["c.vmdk", "c-flat.vmdk", "moved", "copied"] {
        assert!(!root.join(name).exists(), "{name}");
    }
    assert_eq!(vm.moref().value(), "vm-101");
}
