//! What VirtualDiskManager tells of disks and does with their space; whole folders of machines by FileManager.

use std::path::PathBuf;

use sim_store::{Access, Disk, Provisioning, Scope};
use vim_api::dynamic::Poly;
use vim_api::mo::Managed;
use vim_api::{ApiVersion, Client, MoRef, mo, types as t};
use vsphere_sim::Sim;

use crate::{MIB, log_in, machine, start};

fn on_host(sim: &Sim, text: &str) -> PathBuf {
    sim.data_dir().join("datastores/datastore1").join(text)
}

fn open(sim: &Sim, name: &str, access: Access) -> Disk {
    Disk::open(on_host(sim, name), access, Scope::WholeChain).unwrap()
}

pub struct Managers {
    pub disks: mo::VirtualDiskManager,
    pub files: mo::FileManager,
    pub datacenter: MoRef<mo::Datacenter>,
}

pub async fn managers(client: &Client) -> Managers {
    let content = client.content();
    Managers {
        disks: client.bind(&content.virtual_disk_manager.clone().unwrap()),
        files: client.bind(&content.file_manager.clone().unwrap()),
        datacenter: client.find_one::<mo::Datacenter>("/DC0").await.unwrap().object,
    }
}

pub fn spec(disk_type: &str, adapter_type: &str, capacity_kb: i64) -> t::FileBackedVirtualDiskSpec {
    let base = t::VirtualDiskSpec {
        disk_type: disk_type.to_owned(),
        adapter_type: adapter_type.to_owned(),
        ..Default::default()
    };
    t::FileBackedVirtualDiskSpec { base, capacity_kb, ..Default::default() }
}

impl Managers {
    pub async fn create(&self, name: &str, spec: Poly<t::VirtualDiskSpec>) -> Result<String, vim_api::Error> {
        let name = format!("[datastore1] {name}");
        self.disks.create_virtual_disk_task(&name, Some(&self.datacenter), &spec).await?.wait().await
    }

    async fn made(&self, name: &str, disk_type: &str) {
        self.create(name, Poly::new(spec(disk_type, "lsiLogic", 4096))).await.unwrap();
    }
}

#[tokio::test]
async fn disks_that_cannot_be_made_are_refused_with_a_reason() {
    // Older versions do not know sector formats.
    let sim = Sim::builder().api_version(ApiVersion::LATEST).start().await.unwrap();
    let managers = managers(&log_in(&sim).await).await;
    managers.create("bus.vmdk", Poly::new(spec("preallocated", "busLogic", 512))).await.unwrap();
    let made = open(&sim, "bus.vmdk", Access::ReadOnly);
    assert_eq!((made.provisioning(), made.capacity()), (Provisioning::LazyThick, MIB / 2));
    assert_eq!(made.metadata("adapterType").unwrap(), "buslogic");
    let sesparse =
        t::SeSparseVirtualDiskSpec { base: spec("seSparse", "lsiLogic", 1024), ..Default::default() };
    let device = t::DeviceBackedVirtualDiskSpec {
        base: spec("rdm", "lsiLogic", 0).base,
        device: "/vmfs/devices/disks/x".to_owned(),
    };
    let crypto = Some(Poly::new(t::CryptoSpecEncrypt::default()));
    let encrypted = t::FileBackedVirtualDiskSpec { crypto, ..spec("thin", "ide", 1024) };
    let no_sectors = t::FileBackedVirtualDiskSpec {
        sector_format: Some("native_4k".to_owned()),
        ..spec("thin", "ide", 1024)
    };
    for unsupported in [
        Poly::new(sesparse),
        Poly::new(device),
        Poly::new(encrypted),
        Poly::new(no_sectors),
        Poly::new(spec("thin", "ide", 1024).base.clone()),
        Poly::new(spec("rdmp", "lsiLogic", 1024)),
        Poly::new(spec("sparse2Gb", "lsiLogic", 1024)),
        Poly::new(spec("seSparse", "lsiLogic", 1024)),
    ] {
        let refused = managers.create("x.vmdk", unsupported).await.unwrap_err();
        assert!(refused.fault::<t::NotSupported>().is_some(), "{refused}");
    }
    for invalid in [spec("thin", "scsi", 1024), spec("fat", "ide", 1024), spec("thin", "ide", -1)] {
        let refused = managers.create("x.vmdk", Poly::new(invalid)).await.unwrap_err();
        assert!(refused.fault::<t::InvalidArgument>().is_some(), "{refused}");
    }
    let too_large = managers.create("x.vmdk", Poly::new(spec("thin", "ide", 63 << 30))).await.unwrap_err();
    assert!(too_large.fault::<t::InvalidArgument>().is_some(), "{too_large}");
    let nowhere = managers.create("no/x.vmdk", Poly::new(spec("thin", "ide", 1024))).await.unwrap_err();
    assert!(nowhere.fault::<t::FileNotFound>().is_some(), "{nowhere}");
    assert!(!on_host(&sim, "x.vmdk").exists());
}

#[tokio::test]
async fn a_copy_has_the_format_that_is_asked_for() {
    let sim = start(1).await;
    let managers = managers(&log_in(&sim).await).await;
    managers.made("thin.vmdk", "thin").await;
    open(&sim, "thin.vmdk", Access::ReadWrite).write_at(MIB, b"content").unwrap();
    let datacenter = Some(&managers.datacenter);
    let copy = async |to: &str, spec: Option<Poly<t::VirtualDiskSpec>>, force| {
        let task = managers
            .disks
            .copy_virtual_disk_task(
                "[datastore1] thin.vmdk",
                datacenter,
                to,
                datacenter,
                spec.as_ref(),
                force,
            )
            .await?;
        task.wait().await
    };
    // The spec's capacity is not looked at.
    let eager = || Some(Poly::new(spec("eagerZeroedThick", "ide", 1)));
    copy("[datastore1] copy.vmdk", eager(), None).await.unwrap();
    let copied = open(&sim, "copy.vmdk", Access::ReadOnly);
    assert_eq!((copied.provisioning(), copied.capacity()), (Provisioning::EagerThick, 4 * MIB));
    assert_eq!(copied.metadata("adapterType").unwrap(), "ide");
    let source = open(&sim, "thin.vmdk", Access::ReadOnly);
    assert_eq!(copied.sha256().unwrap(), source.sha256().unwrap());
    assert_ne!(copied.uuid().unwrap(), source.uuid().unwrap());
    let there = copy("[datastore1] copy.vmdk", None, Some(false)).await.unwrap_err();
    assert!(there.fault::<t::FileAlreadyExists>().is_some(), "{there}");
    copy("[datastore1] copy.vmdk", None, Some(true)).await.unwrap();
    assert_eq!(open(&sim, "copy.vmdk", Access::ReadOnly).provisioning(), Provisioning::Thin);

    // A machine that is on: its live disk can neither be read nor be replaced.
    let replaced = copy("[datastore1] vm-1/vm-1.vmdk", None, Some(true)).await.unwrap_err();
    assert!(replaced.fault::<t::FileLocked>().is_some(), "{replaced}");
    let read = managers
        .disks
        .copy_virtual_disk_task(
            "[datastore1] vm-1/vm-1-flat.vmdk",
            datacenter,
            "[datastore1] y.vmdk",
            datacenter,
            None,
            None,
        )
        .await
        .unwrap();
    let read = read.wait().await.unwrap_err();
    assert!(read.fault::<t::FileLocked>().is_some(), "{read}");
    let named = managers
        .disks
        .query_virtual_disk_uuid("https://h/folder/thin.vmdk?dcPath=DC0&dsName=datastore1", None);
    assert_eq!(named.await.unwrap(), source.uuid().unwrap().to_string());
}

#[tokio::test]
async fn space_is_taken_and_given_back() {
    let sim = start(1).await;
    let managers = managers(&log_in(&sim).await).await;
    let (disks, datacenter) = (&managers.disks, Some(&managers.datacenter));
    managers.made("thin.vmdk", "thin").await;
    managers.made("lazy.vmdk", "preallocated").await;
    let (thin, lazy) = ("[datastore1] thin.vmdk", "[datastore1] lazy.vmdk");
    let look = |name: &str| {
        let disk = open(&sim, name, Access::ReadOnly);
        let allocated: u64 =
            disk.allocated(0, disk.capacity()).unwrap().iter().map(|extent| extent.length).sum();
        (disk.provisioning(), allocated, disk.sha256().unwrap())
    };
    let disk = open(&sim, "thin.vmdk", Access::ReadWrite);
    disk.write_at(0, &vec![0; 2 * MIB as usize]).unwrap();
    disk.write_at(MIB, b"kept").unwrap();
    drop(disk);
    let (_, before, content) = look("thin.vmdk");
    disks.shrink_virtual_disk_task(thin, datacenter, None).await.unwrap().wait().await.unwrap();
    let (_, after, same) = look("thin.vmdk");
    assert!(after < before && before >= 2 * MIB && content == same, "{before} {after}");
    disks.defragment_virtual_disk_task(thin, datacenter).await.unwrap().wait().await.unwrap();
    assert_eq!(disks.query_virtual_disk_fragmentation(thin, datacenter).await.unwrap(), 0);
    let thin_zeroed =
        disks.eager_zero_virtual_disk_task(thin, datacenter).await.unwrap().wait().await.unwrap_err();
    assert!(thin_zeroed.fault::<t::NotSupported>().is_some(), "{thin_zeroed}");
    disks.inflate_virtual_disk_task(thin, datacenter).await.unwrap().wait().await.unwrap();
    assert_eq!(look("thin.vmdk"), (Provisioning::EagerThick, 4 * MIB, content));
    disks.eager_zero_virtual_disk_task(lazy, datacenter).await.unwrap().wait().await.unwrap();
    assert_eq!(look("lazy.vmdk").0, Provisioning::EagerThick);
    for refused in [
        disks.shrink_virtual_disk_task(lazy, datacenter, None).await.unwrap().wait().await,
        disks.defragment_virtual_disk_task(lazy, datacenter).await.unwrap().wait().await,
    ] {
        assert!(refused.unwrap_err().fault::<t::NotSupported>().is_some());
    }
    let extend = async |capacity, eager| {
        let task = disks.extend_virtual_disk_task(thin, datacenter, capacity, eager).await.unwrap();
        task.wait().await.unwrap();
        look("thin.vmdk").0
    };
    assert_eq!(extend(5000, Some(true)).await, Provisioning::EagerThick);
    assert_eq!(extend(6000, None).await, Provisioning::LazyThick);
    let geometry = disks.query_virtual_disk_geometry(thin, datacenter).await.unwrap();
    assert_eq!((geometry.cylinder, geometry.head, geometry.sector), (5, 64, 32));
    disks.zero_fill_virtual_disk_task(thin, datacenter).await.unwrap().wait().await.unwrap();
    let empty = look("thin.vmdk").2;
    managers.create("empty.vmdk", Poly::new(spec("thin", "ide", 6000))).await.unwrap();
    assert_eq!(empty, look("empty.vmdk").2);

    let missing = disks.query_virtual_disk_geometry("[datastore1] no.vmdk", datacenter).await.unwrap_err();
    assert!(missing.fault::<t::FileNotFound>().is_some(), "{missing}");
    let missing =
        disks.inflate_virtual_disk_task("[datastore1] no.vmdk", datacenter).await.unwrap().wait().await;
    assert!(missing.unwrap_err().fault::<t::FileNotFound>().is_some());
    for refused in [
        disks.import_unmanaged_snapshot(thin, datacenter, "x").await.unwrap_err(),
        disks.release_managed_snapshot(thin, datacenter).await.unwrap_err(),
    ] {
        assert!(refused.fault::<t::NotSupported>().is_some(), "{refused}");
    }
}

#[tokio::test]
async fn a_machine_learns_what_became_of_its_disk() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let managers = managers(&client).await;
    let live = "[datastore1] vm-1/vm-1.vmdk";
    let inflate = async || {
        let task = managers.disks.inflate_virtual_disk_task(live, Some(&managers.datacenter)).await.unwrap();
        task.wait().await
    };
    let used = inflate().await.unwrap_err();
    assert!(used.fault::<t::FileLocked>().is_some(), "{used}");
    machine(&client, &sim).power_off_vm_task().await.unwrap().wait().await.unwrap();
    inflate().await.unwrap();
    let devices =
        machine(&client, &sim).require(mo::VirtualMachine::CONFIG.hardware().device()).await.unwrap();
    let disk = devices.iter().find_map(|device| device.downcast_ref::<t::VirtualDisk>()).unwrap();
    let backing = disk.backing.as_ref().unwrap();
    let backing = backing.downcast_ref::<t::VirtualDiskFlatVer2BackingInfo>().unwrap();
    assert_eq!((backing.thin_provisioned, backing.eagerly_scrub), (Some(false), Some(true)));
}

#[tokio::test]
async fn whole_folders_of_machines() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let managers = managers(&client).await;
    let (files, datacenter) = (&managers.files, Some(&managers.datacenter));
    let copy = async |from: &str, to: &str, force| {
        let (from, to) = (format!("[datastore1] {from}"), format!("[datastore1] {to}"));
        let task = files.copy_datastore_file_task(&from, datacenter, &to, datacenter, force).await?;
        task.wait().await
    };
    let live = copy("vm-1", "copy", None).await.unwrap_err();
    assert!(live.fault::<t::FileLocked>().is_some(), "{live}");
    assert!(!on_host(&sim, "copy").exists());
    let vm = sim.vm("vm-1").unwrap();
    vm.with_live_disk(2000, |disk| disk.write_at(MIB, b"moved with the machine")).unwrap().unwrap();
    machine(&client, &sim).power_off_vm_task().await.unwrap().wait().await.unwrap();
    copy("vm-1", "copy", None).await.unwrap();
    let copied = open(&sim, "copy/vm-1.vmdk", Access::ReadOnly);
    assert_eq!(copied.sha256().unwrap().to_string(), vm.disk_sha256(2000, None).unwrap());
    let blocks = std::os::unix::fs::MetadataExt::blocks;
    assert!(blocks(&on_host(&sim, "copy/vm-1-flat.vmdk").metadata().unwrap()) * 512 < 4 * MIB, "holes stay");
    let over = copy("copy", "vm-2", Some(true)).await.unwrap_err();
    assert!(over.fault::<t::FileLocked>().is_some(), "{over}");
    let part = copy("copy", "copy/within", None).await.unwrap_err();
    assert!(part.fault::<t::InvalidArgument>().is_some(), "{part}");

    std::os::unix::fs::symlink("/etc/passwd", on_host(&sim, "copy/link")).unwrap();
    let led_out = copy("copy", "second", None).await.unwrap_err();
    assert!(led_out.fault::<t::FileFault>().is_some(), "{led_out}");
    assert!(!on_host(&sim, "second").exists(), "nothing of it stays");
    let delete = async |name: &str| files.delete_datastore_file_task(name, datacenter).await?.wait().await;
    delete("[datastore1] copy").await.unwrap();
    assert!(!on_host(&sim, "copy").exists());
    let root = delete("[datastore1] ").await.unwrap_err();
    assert!(root.fault::<t::InvalidArgument>().is_some() && on_host(&sim, "vm-2").exists(), "{root}");

    let owner = async |name: &str| files.change_owner("[datastore1] vm-2/vm-2.vmx", datacenter, name).await;
    owner("root").await.unwrap();
    let nobody = owner("nobody").await.unwrap_err();
    assert!(nobody.fault::<t::UserNotFound>().is_some_and(|fault| fault.principal == "nobody"), "{nobody}");

    let namespaces: mo::DatastoreNamespaceManager =
        client.bind(&client.content().datastore_namespace_manager.clone().unwrap());
    let datastore = client.find_one::<mo::Datastore>("/DC0/datastore/datastore1").await.unwrap().object;
    let refused = namespaces.create_directory(&datastore, Some("d"), None, None).await.unwrap_err();
    assert!(refused.fault::<t::NotSupported>().is_some(), "{refused}");
}
