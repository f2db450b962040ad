//! First-class disks by the API's managers.

#[path = "first_class_disks/attached.rs"]
mod attached;

use std::collections::BTreeMap;
use std::path::PathBuf;

use futures::TryStreamExt;
use secrecy::SecretString;
use sim_store::{Access, Disk, Provisioning, Scope};
use vim_api::dynamic::Poly;
use vim_api::mo::{self, Managed};
use vim_api::rest::{Cardinality, NewCategory};
use vim_api::types as t;
use vim_api::{Client, Error, MoRef};
use vsphere_sim::{DatastoreSpec, DiskSpec, Mode, Sim, Topology, VmSpec};

use crate::{MIB, connect, log_in, machine};

struct World {
    sim: Sim,
    client: Client,
    manager: mo::VcenterVStorageObjectManager,
    store: MoRef<mo::Datastore>,
}

/// A vCenter with two machines, which are off, and two datastores.
async fn world() -> World {
    let vm = |name: &str| VmSpec::new(name).disk(DiskSpec::empty(16 * MIB)).powered_off();
    let topology = Topology { datastores: 2, ..Topology::default() };
    let builder = Sim::builder().vm(vm("vm-1")).vm(vm("vm-2")).topology(topology);
    over(builder.start().await.unwrap()).await
}

async fn over(sim: Sim) -> World {
    let client = log_in(&sim).await;
    let manager = client.content().v_storage_object_manager.clone().unwrap();
    assert_eq!(manager.type_name(), "VcenterVStorageObjectManager");
    let store = store(&client, "datastore1").await;
    World { manager: client.bind(&manager.cast()), sim, client, store }
}

async fn store(client: &Client, name: &str) -> MoRef<mo::Datastore> {
    client.find_one::<mo::Datastore>(&format!("/DC0/datastore/{name}")).await.unwrap().object
}

fn id(text: &str) -> t::ID {
    t::ID { id: text.to_owned(), ..t::ID::default() }
}

fn texts<'i>(ids: impl IntoIterator<Item = &'i t::ID>) -> Vec<&'i str> {
    ids.into_iter().map(|id| id.id.as_str()).collect()
}

fn pairs(metadata: &[t::KeyValue]) -> Vec<(&str, &str)> {
    metadata.iter().map(|pair| (pair.key.as_str(), pair.value.as_str())).collect()
}

fn backing(store: &MoRef<mo::Datastore>, kind: &str) -> Poly<t::VslmCreateSpecBackingSpec> {
    Poly::new(t::VslmCreateSpecDiskFileBackingSpec {
        base: t::VslmCreateSpecBackingSpec { datastore: store.clone(), ..Default::default() },
        provisioning_type: Some(kind.to_owned()),
    })
}

fn create_spec(store: &MoRef<mo::Datastore>, name: &str, mebibytes: i64) -> t::VslmCreateSpec {
    t::VslmCreateSpec {
        name: name.to_owned(),
        capacity_in_mb: mebibytes,
        backing_spec: backing(store, "thin"),
        ..Default::default()
    }
}

fn clone_spec(store: &MoRef<mo::Datastore>, name: &str) -> t::VslmCloneSpec {
    let base = t::VslmMigrateSpec { backing_spec: backing(store, "lazyZeroedThick"), ..Default::default() };
    t::VslmCloneSpec { base, name: name.to_owned(), ..Default::default() }
}

fn relocate_spec(store: &MoRef<mo::Datastore>) -> t::VslmRelocateSpec {
    let base = t::VslmMigrateSpec { backing_spec: backing(store, "thin"), ..Default::default() };
    t::VslmRelocateSpec { base }
}

fn path_of(disk: &t::VStorageObject) -> String {
    let backing = disk.config.backing.downcast_ref::<t::BaseConfigInfoDiskFileBackingInfo>().unwrap();
    backing.file_path.clone()
}

fn assert_fault<F: vim_api::dynamic::DataObject>(error: &Error) {
    assert!(error.fault::<F>().is_some(), "wanted {}, got {error:?}", F::INFO.name);
}

impl World {
    async fn make(&self, name: &str, mebibytes: i64) -> t::ID {
        let spec = create_spec(&self.store, name, mebibytes);
        self.manager.create_disk_task(&spec).await.unwrap().wait().await.unwrap().config.base.id
    }

    /// The ids of all disks on the first datastore.
    async fn list(&self) -> Vec<String> {
        let found = self.manager.list_v_storage_object(&self.store).await.unwrap();
        found.into_iter().map(|found| found.id).collect()
    }

    async fn get(&self, disk: &t::ID) -> t::VStorageObject {
        self.manager.retrieve_v_storage_object(disk, &self.store, &[]).await.unwrap()
    }

    async fn snapshot(&self, disk: &t::ID) -> t::ID {
        let task = self.manager.v_storage_object_create_snapshot_task(disk, &self.store, "of the test");
        task.await.unwrap().wait().await.unwrap()
    }

    async fn delete_snapshot(&self, disk: &t::ID, snapshot: &t::ID) {
        let task = self.manager.delete_snapshot_task(disk, &self.store, snapshot);
        task.await.unwrap().wait().await.unwrap();
    }

    async fn delete(&self, disk: &t::ID) -> Result<(), Error> {
        self.manager.delete_v_storage_object_task(disk, &self.store).await?.wait().await
    }

    async fn attach(&self, vm: &str, disk: &t::ID) -> Result<(), Error> {
        let vm: mo::VirtualMachine = self.client.bind(&self.sim.vm(vm).unwrap().moref());
        vm.attach_disk_task(disk, &self.store, None, None).await?.wait().await
    }

    async fn detach(&self, vm: &str, disk: &t::ID) -> Result<(), Error> {
        let vm: mo::VirtualMachine = self.client.bind(&self.sim.vm(vm).unwrap().moref());
        vm.detach_disk_task(disk).await?.wait().await
    }

    /// The devices of a machine that are first-class disks: their ids by their keys.
    async fn attached(&self, vm: &str) -> BTreeMap<i32, (String, String)> {
        let vm: mo::VirtualMachine = self.client.bind(&self.sim.vm(vm).unwrap().moref());
        let config = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
        let devices = config.hardware.device.iter();
        let disks = devices.filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
        let first_class = disks.filter_map(|disk| {
            let backing = disk.base.backing.as_ref()?.downcast_ref::<t::VirtualDiskFlatVer2BackingInfo>()?;
            Some((disk.base.key, (disk.v_disk_id.as_ref()?.id.clone(), backing.file_name.clone())))
        });
        first_class.collect()
    }

    fn write(&self, disk: &t::ID, offset: u64, bytes: &[u8]) {
        self.sim.with_first_class_disk(&disk.id, |disk| disk.write_at(offset, bytes)).unwrap().unwrap();
    }

    fn content(&self, disk: &t::ID, snapshot: Option<&t::ID>) -> Vec<u8> {
        let snapshot = snapshot.map(|snapshot| snapshot.id.as_str());
        let disk = self.sim.open_first_class_disk(&disk.id, snapshot).unwrap();
        let mut bytes = vec![0; usize::try_from(disk.capacity()).unwrap()];
        disk.read_at(0, &mut bytes).unwrap();
        bytes
    }

    fn host(&self, path: &str) -> PathBuf {
        let (store, file) = path.trim_start_matches('[').split_once("] ").unwrap();
        self.sim.data_dir().join("datastores").join(store).join(file)
    }

    /// What is in the folder of first-class disks of a datastore.
    fn files(&self, store: &str) -> Vec<String> {
        let folder = self.sim.data_dir().join("datastores").join(store).join("fcd");
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    async fn changed(
        &self,
        disk: &t::ID,
        snapshot: &t::ID,
        change_id: &str,
        capacity: i64,
    ) -> Result<Vec<(usize, usize)>, Error> {
        let (mut at, mut areas) = (0, Vec::new());
        while at < capacity {
            let asked = self.manager.vstorage_object_v_center_query_changed_disk_areas(
                disk,
                &self.store,
                snapshot,
                at,
                change_id,
            );
            let window = asked.await?;
            assert_eq!(window.start_offset, at);
            assert!(window.length > 0);
            at += window.length;
            for area in window.changed_area {
                let start = usize::try_from(area.start).unwrap();
                areas.push((start, start + usize::try_from(area.length).unwrap()));
            }
        }
        assert_eq!(at, capacity, "the windows sum up to the capacity");
        Ok(areas)
    }

    async fn change_id(&self, disk: &t::ID, snapshot: &t::ID) -> Option<String> {
        let details = self.manager.retrieve_snapshot_details(disk, &self.store, snapshot).await.unwrap();
        details.changed_block_tracking_id
    }

    async fn track(&self, disk: &t::ID) {
        let flags = ["enableChangedBlockTracking".to_owned()];
        self.manager.set_v_storage_object_control_flags(disk, &self.store, &flags).await.unwrap();
    }
}

#[tokio::test]
async fn a_disk_is_made_listed_changed_and_deleted() {
    let world = world().await;
    let spec =
        t::VslmCreateSpec { keep_after_delete_vm: Some(true), ..create_spec(&world.store, "pvc-1", 16) };
    let made = world.manager.create_disk_task(&spec).await.unwrap().wait().await.unwrap();
    let disk = made.config.base.id.clone();
    assert_eq!((made.config.capacity_in_mb, made.config.base.name.as_str()), (16, "pvc-1"));
    assert_eq!(made.config.base.keep_after_delete_vm, Some(true));
    assert_eq!(path_of(&made), format!("[datastore1] fcd/{}.vmdk", disk.id));
    let opened = Disk::open(world.host(&path_of(&made)), Access::ReadOnly, Scope::WholeChain).unwrap();
    assert_eq!((opened.capacity(), opened.provisioning()), (16 * MIB, Provisioning::Thin));
    assert_eq!(world.list().await, std::slice::from_ref(&disk.id));
    let other = store(&world.client, "datastore2").await;
    assert!(world.manager.list_v_storage_object(&other).await.unwrap().is_empty());
    assert_fault::<t::NotFound>(
        &world.manager.retrieve_v_storage_object(&disk, &other, &[]).await.unwrap_err(),
    );
    let state = world.manager.retrieve_v_storage_object_state(&disk, &world.store).await.unwrap();
    assert_eq!(state.tentative, Some(false));
    // VSLM sees the same disk, and what it does the manager shows.
    let service = world.client.first_class_disks().await.unwrap();
    let listed: Vec<_> = service.list().try_collect().await.unwrap();
    assert_eq!(texts(listed.iter().map(|disk| &disk.id)), [disk.id.as_str()]);
    service.manager().vslm_rename_v_storage_object(&disk, "renamed").await.unwrap();
    assert_eq!(world.get(&disk).await.config.base.name, "renamed");
    world.manager.rename_v_storage_object(&disk, &world.store, "again").await.unwrap();
    assert_eq!(service.get(&disk.id).await.unwrap().config.base.name, "again");
    // It grows and is inflated, with what was written to it.
    world.write(&disk, 5000, b"kept");
    world.manager.extend_disk_task(&disk, &world.store, 24).await.unwrap().wait().await.unwrap();
    world.manager.inflate_disk_task(&disk, &world.store).await.unwrap().wait().await.unwrap();
    let shown = world.get(&disk).await;
    assert_eq!(shown.config.capacity_in_mb, 24);
    let backing = shown.config.backing.downcast_ref::<t::BaseConfigInfoDiskFileBackingInfo>().unwrap();
    assert_eq!(backing.provisioning_type, "eagerZeroedThick");
    assert_eq!(&world.content(&disk, None)[5000..5004], b"kept");
    world.delete(&disk).await.unwrap();
    assert!(world.list().await.is_empty());
    assert_fault::<t::NotFound>(&world.delete(&disk).await.unwrap_err());
    assert!(world.files("datastore1").is_empty(), "{:?}", world.files("datastore1"));
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let world = world().await;
    let (manager, store) = (&world.manager, &world.store);
    let create = async |spec: t::VslmCreateSpec| match manager.create_disk_task(&spec).await {
        Ok(task) => task.wait().await.unwrap_err(),
        Err(error) => error,
    };
    assert_fault::<t::InvalidArgument>(&create(create_spec(store, "none", 0)).await);
    assert_fault::<t::InvalidArgument>(&create(create_spec(store, "large", 63 << 20)).await);
    assert_fault::<t::InvalidArgument>(&create(create_spec(store, "", 16)).await);
    let nowhere = create_spec(&MoRef::new("datastore-999"), "nowhere", 16);
    assert_fault::<t::InvalidDatastore>(&create(nowhere).await);
    let outside = t::VslmCreateSpecDiskFileBackingSpec {
        base: t::VslmCreateSpecBackingSpec {
            datastore: store.clone(),
            path: Some("../../outside".to_owned()),
            ..Default::default()
        },
        ..Default::default()
    };
    let outside = t::VslmCreateSpec { backing_spec: Poly::new(outside), ..create_spec(store, "outside", 16) };
    assert_fault::<t::InvalidArgument>(&create(outside).await);
    let odd = t::VslmCreateSpec { backing_spec: backing(store, "odd"), ..create_spec(store, "odd", 16) };
    assert_fault::<t::InvalidArgument>(&create(odd).await);
    let raw = t::VslmCreateSpecRawDiskMappingBackingSpec {
        base: t::VslmCreateSpecBackingSpec { datastore: store.clone(), ..Default::default() },
        ..Default::default()
    };
    let raw = t::VslmCreateSpec { backing_spec: Poly::new(raw), ..create_spec(store, "raw", 16) };
    assert_fault::<t::NotSupported>(&create(raw).await);

    let disk = world.make("disk", 16).await;
    let smaller = manager.extend_disk_task(&disk, store, 8).await.unwrap().wait().await.unwrap_err();
    assert_fault::<t::InvalidArgument>(&smaller);
    let unknown = manager.set_v_storage_object_control_flags(&disk, store, &["odd".to_owned()]).await;
    assert_fault::<t::InvalidArgument>(&unknown.unwrap_err());
    let unknown = manager.retrieve_snapshot_details(&disk, store, &id("none")).await.unwrap_err();
    assert_fault::<t::NotFound>(&unknown);
    // With a snapshot it neither grows, nor moves, nor becomes thick.
    let snapshot = world.snapshot(&disk).await;
    let grown = manager.extend_disk_task(&disk, store, 32).await.unwrap().wait().await.unwrap_err();
    assert_fault::<t::InvalidState>(&grown);
    let inflated = manager.inflate_disk_task(&disk, store).await.unwrap().wait().await.unwrap_err();
    assert_fault::<t::InvalidState>(&inflated);
    world.delete_snapshot(&disk, &snapshot).await;
    // The flag forbids to move it.
    let flags = ["disableRelocation".to_owned(), "keepAfterDeleteVm".to_owned()];
    manager.set_v_storage_object_control_flags(&disk, store, &flags).await.unwrap();
    let other = self::store(&world.client, "datastore2").await;
    let task = manager.relocate_v_storage_object_task(&disk, store, &relocate_spec(&other)).await.unwrap();
    assert_fault::<t::InvalidState>(&task.wait().await.unwrap_err());
    assert_eq!(world.get(&disk).await.config.base.relocation_disabled, Some(true));
    manager.clear_v_storage_object_control_flags(&disk, store, &flags[..1]).await.unwrap();
    let task = manager.relocate_v_storage_object_task(&disk, store, &relocate_spec(&other)).await.unwrap();
    let moved = task.wait().await.unwrap();
    assert_eq!(path_of(&moved), format!("[datastore2] fcd/{}.vmdk", disk.id));
    assert_eq!(moved.config.base.keep_after_delete_vm, Some(true));
    assert!(world.files("datastore1").is_empty(), "{:?}", world.files("datastore1"));
}

#[tokio::test]
async fn a_disk_that_does_not_fit_is_refused_and_leaves_nothing() {
    let spec = DatastoreSpec::new("datastore1").capacity(8 * MIB);
    let world = over(Sim::builder().datastore(spec).start().await.unwrap()).await;
    let thick = t::VslmCreateSpec {
        backing_spec: backing(&world.store, "eagerZeroedThick"),
        ..create_spec(&world.store, "thick", 64)
    };
    let full = world.manager.create_disk_task(&thick).await.unwrap().wait().await.unwrap_err();
    assert_fault::<t::NoDiskSpace>(&full);
    assert!(world.files("datastore1").is_empty());
    assert!(world.list().await.is_empty());
    // What fits thin can be written as long as there is room, also by way of a copy.
    let disk = world.make("thin", 64).await;
    world.write(&disk, 0, &vec![7; 5 << 20]);
    let task = world.manager.clone_v_storage_object_task(&disk, &world.store, &{
        let base = t::VslmMigrateSpec { backing_spec: backing(&world.store, "thin"), ..Default::default() };
        t::VslmCloneSpec { base, name: "copy".to_owned(), ..Default::default() }
    });
    assert_fault::<t::NoDiskSpace>(&task.await.unwrap().wait().await.unwrap_err());
    assert_eq!(world.files("datastore1").len(), 2, "{:?}", world.files("datastore1"));
}

#[tokio::test]
async fn snapshots_hold_content_that_can_be_gone_back_to_and_copied() {
    let world = world().await;
    let disk = world.make("disk", 4).await;
    world.write(&disk, 100, b"first");
    let first = world.snapshot(&disk).await;
    let at_first = world.content(&disk, None);
    world.write(&disk, 100, b"second");
    let second = world.snapshot(&disk).await;
    let at_second = world.content(&disk, None);
    world.write(&disk, 100, b"third!");
    assert_eq!(world.content(&disk, Some(&first)), at_first);
    let listed = world.manager.retrieve_snapshot_info(&disk, &world.store).await.unwrap().snapshots;
    let ids = listed.iter().map(|snapshot| &**snapshot.id.as_ref().unwrap());
    assert_eq!(texts(ids), [first.id.as_str(), second.id.as_str()]);
    assert!(listed.iter().all(|snapshot| snapshot.description == "of the test"));

    let (from, name) = (&world.manager, "of the first");
    let task = from.create_disk_from_snapshot_task(
        &disk,
        &world.store,
        &first,
        name,
        &[],
        None,
        None,
        None,
        None,
        None,
    );
    let copy = task.await.unwrap().wait().await.unwrap();
    assert_eq!(copy.config.base.name, name);
    assert_eq!(world.content(&copy.config.base.id, None), at_first);
    let task =
        world.manager.clone_v_storage_object_task(&disk, &world.store, &clone_spec(&world.store, "clone"));
    let clone = task.await.unwrap().wait().await.unwrap();
    assert_eq!(world.content(&clone.config.base.id, None), world.content(&disk, None));
    let backing = clone.config.backing.downcast_ref::<t::BaseConfigInfoDiskFileBackingInfo>().unwrap();
    assert_eq!(backing.provisioning_type, "lazyZeroedThick");

    let live = world.content(&disk, None);
    world.delete_snapshot(&disk, &first).await;
    assert_eq!((world.content(&disk, None), world.content(&disk, Some(&second))), (live, at_second.clone()));
    let task = world.manager.revert_v_storage_object_task(&disk, &world.store, &second);
    task.await.unwrap().wait().await.unwrap();
    assert_eq!(world.content(&disk, None), at_second);
    world.write(&disk, 100, b"fourth");
    assert_eq!(world.content(&disk, Some(&second)), at_second);
    let live = world.content(&disk, None);
    world.delete_snapshot(&disk, &second).await;
    assert_eq!(world.content(&disk, None), live);
    for gone in [disk, copy.config.base.id, clone.config.base.id] {
        world.delete(&gone).await.unwrap();
    }
    assert!(world.files("datastore1").is_empty(), "{:?}", world.files("datastore1"));
}

/// SplitMix64.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ mixed >> 31) % below
}

#[tokio::test]
async fn what_is_told_as_changed_covers_all_that_differs() {
    const CAPACITY: i64 = 8 << 20;
    let world = world().await;
    let disk = world.make("disk", CAPACITY >> 20).await;
    let untracked = world.snapshot(&disk).await;
    assert_eq!(world.change_id(&disk, &untracked).await, None);
    world.track(&disk).await;
    assert_eq!(world.get(&disk).await.config.base.changed_block_tracking_enabled, Some(true));
    let mut state = 7;
    // Each with its change id and what the disk held then; the later half while a machine has the disk.
    let mut taken: Vec<(t::ID, String, Vec<u8>)> = Vec::new();
    for step in 0..8 {
        if step == 4 {
            let vm = machine(&world.client, &world.sim);
            vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
            world.attach("vm-1", &disk).await.unwrap();
        }
        for _ in 0..6 {
            let at = draw(&mut state, u64::try_from(CAPACITY).unwrap() - 9000);
            let bytes =
                vec![u8::try_from(step + 1).unwrap(); usize::try_from(1 + draw(&mut state, 9000)).unwrap()];
            world.write(&disk, at, &bytes);
        }
        let content = world.content(&disk, None);
        let snapshot = world.snapshot(&disk).await;
        let change_id = world.change_id(&disk, &snapshot).await.unwrap();
        taken.push((snapshot, change_id, content));
        if step == 5 {
            // A snapshot that goes takes nothing from the others.
            let (gone, ..) = taken.remove(2);
            world.delete_snapshot(&disk, &gone).await;
        }
    }
    for (at, (snapshot, own, content)) in taken.iter().enumerate() {
        assert_eq!(&world.content(&disk, Some(snapshot)), content, "snapshot {at}");
        assert!(world.changed(&disk, snapshot, own, CAPACITY).await.unwrap().is_empty());
        let allocated = world.changed(&disk, snapshot, "*", CAPACITY).await.unwrap();
        covers(&allocated, &vec![0; content.len()], content, "allocated");
        for (earlier, (_, change_id, before)) in taken[..at].iter().enumerate() {
            let areas = world.changed(&disk, snapshot, change_id, CAPACITY).await.unwrap();
            covers(&areas, before, content, &format!("{earlier} to {at}"));
            let told: usize = areas.iter().map(|(start, end)| end - start).sum();
            assert!(told < content.len(), "everything is told as changed");
        }
    }
    // An id of the future, of another disk, and none at all.
    let (first, latest) = (&taken[0], &taken[taken.len() - 1]);
    assert_fault::<t::FileFault>(&world.changed(&disk, &first.0, &latest.1, CAPACITY).await.unwrap_err());
    assert_fault::<t::InvalidArgument>(&world.changed(&disk, &first.0, "odd", CAPACITY).await.unwrap_err());
    let beyond = world.manager.vstorage_object_v_center_query_changed_disk_areas(
        &disk,
        &world.store,
        &first.0,
        CAPACITY,
        "*",
    );
    assert_fault::<t::InvalidArgument>(&beyond.await.unwrap_err());
    assert_fault::<t::FileFault>(&world.changed(&disk, &untracked, "*", CAPACITY).await.unwrap_err());
    // VSLM answers for the same snapshots.
    let service = world.client.first_class_disks().await.unwrap();
    let capacity = u64::try_from(CAPACITY).unwrap();
    let windows: Vec<_> =
        service.changed_areas(&disk.id, &latest.0.id, &first.1, capacity).try_collect().await.unwrap();
    let areas = world.changed(&disk, &latest.0, &first.1, CAPACITY).await.unwrap();
    assert_eq!(windows.iter().flat_map(|window| &window.changed_area).count(), areas.len());
    // Going back renews the ids: what was written in between would be left out otherwise.
    world.detach("vm-1", &disk).await.unwrap();
    let task = world.manager.revert_v_storage_object_task(&disk, &world.store, &first.0);
    task.await.unwrap().wait().await.unwrap();
    assert_eq!(world.content(&disk, None), first.2);
    let renewed = world.snapshot(&disk).await;
    assert_fault::<t::FileFault>(&world.changed(&disk, &renewed, &first.1, CAPACITY).await.unwrap_err());
    // Without the flag, nothing is tracked any more.
    let flags = ["enableChangedBlockTracking".to_owned()];
    world.manager.clear_v_storage_object_control_flags(&disk, &world.store, &flags).await.unwrap();
    let last = world.snapshot(&disk).await;
    assert_eq!(world.change_id(&disk, &last).await, None);
}

fn covers(areas: &[(usize, usize)], before: &[u8], after: &[u8], what: &str) {
    let mut told = vec![false; after.len()];
    areas.iter().for_each(|(start, end)| told[*start..*end].fill(true));
    let missed = (0..after.len()).find(|at| before[*at] != after[*at] && !told[*at]);
    assert_eq!(missed, None, "{what}: a byte that differs is not told");
}

#[tokio::test]
async fn files_become_disks_and_disks_without_files_are_dropped() {
    let world = world().await;
    let folder = world.host("[datastore1] loose");
    std::fs::create_dir(&folder).unwrap();
    let loose = Disk::create(folder.join("loose.vmdk"), &sim_store::DiskSpec::thin(MIB)).unwrap();
    loose.write_at(0, b"loose").unwrap();
    drop(loose);
    let url = format!(
        "{}/folder/loose/loose.vmdk?dcPath=DC0&dsName=datastore1",
        world.sim.url().trim_end_matches("/sdk")
    );
    let made = world.manager.register_disk(&url, None, None).await.unwrap();
    let disk = made.config.base.id.clone();
    assert_eq!((made.config.base.name.as_str(), made.config.capacity_in_mb), ("loose", 1));
    assert_eq!(&world.content(&disk, None)[..5], b"loose");
    let again = world.manager.register_disk(&url, Some("again"), None).await.unwrap_err();
    assert_fault::<t::AlreadyExists>(&again);
    let theirs = world.sim.vm("vm-1").unwrap().disks().unwrap()[0].path.clone();
    let (theirs, file) = theirs.trim_start_matches('[').split_once("] ").unwrap();
    let of_a_machine = url.replace("loose/loose.vmdk", file).replace("datastore1", theirs);
    assert_fault::<t::FileLocked>(&world.manager.register_disk(&of_a_machine, None, None).await.unwrap_err());
    let nothing = url.replace("loose/loose", "none/none");
    assert_fault::<t::FileNotFound>(&world.manager.register_disk(&nothing, None, None).await.unwrap_err());
    // Files that are gone are told of at once, and dropped when the catalogue is looked through.
    let kept = world.make("kept", 4).await;
    std::fs::remove_dir_all(&folder).unwrap();
    let lost = world.manager.retrieve_v_storage_object(&disk, &world.store, &[]).await.unwrap_err();
    assert_fault::<t::FileNotFound>(&lost);
    let task = world.manager.reconcile_datastore_inventory_task(&world.store, None);
    task.await.unwrap().wait().await.unwrap();
    assert_eq!(world.list().await, [kept.id]);
}

#[tokio::test]
async fn metadata_and_tags_are_kept_with_a_disk() {
    let world = world().await;
    let pair = |key: &str, value: &str| t::KeyValue {
        key: key.to_owned(),
        value: value.to_owned(),
        ..Default::default()
    };
    let spec = t::VslmCreateSpec { metadata: vec![pair("a", "1")], ..create_spec(&world.store, "disk", 4) };
    let disk = world.manager.create_disk_task(&spec).await.unwrap().wait().await.unwrap().config.base.id;
    let snapshot = world.snapshot(&disk).await;
    let (added, gone) = ([pair("ab", "2"), pair("b", "3")], ["a".to_owned()]);
    let task =
        world.manager.v_center_update_v_storage_object_metadata_ex_task(&disk, &world.store, &added, &gone);
    let shown = task.await.unwrap().wait().await.unwrap();
    assert_eq!(pairs(&shown.config.base.metadata), [("ab", "2"), ("b", "3")]);
    let service = world.client.first_class_disks().await.unwrap();
    let service = service.manager();
    let found = service.vslm_retrieve_v_storage_object_metadata(&disk, None, Some("a")).await.unwrap();
    assert_eq!(pairs(&found), [("ab", "2")]);
    let then = service.vslm_retrieve_v_storage_object_metadata_value(&disk, Some(&snapshot), "a").await;
    assert_eq!(then.unwrap(), "1", "the snapshot has the metadata of its time");
    let missing = service.vslm_retrieve_v_storage_object_metadata_value(&disk, None, "a").await.unwrap_err();
    assert_fault::<t::KeyNotFound>(&missing);

    let none = world.manager.attach_tag_to_v_storage_object(&disk, "tier", "gold").await.unwrap_err();
    assert_fault::<t::NotFound>(&none);
    let tags = world.client.rest().tags();
    let category = NewCategory {
        name: "tier".to_owned(),
        description: String::new(),
        cardinality: Cardinality::Multiple,
        associable_types: Vec::new(),
    };
    let tier = tags.create_category(&category).await.unwrap();
    tags.create_tag(&tier, "gold", "").await.unwrap();
    world.manager.attach_tag_to_v_storage_object(&disk, "tier", "gold").await.unwrap();
    let tags = world.manager.list_tags_attached_to_v_storage_object(&disk).await.unwrap();
    assert_eq!((tags[0].parent_category_name.as_str(), tags[0].tag_name.as_str()), ("tier", "gold"));
    let tagged = world.manager.list_v_storage_objects_attached_to_tag("tier", "gold").await.unwrap();
    assert_eq!(texts(&tagged), [disk.id.as_str()]);
    service.vslm_detach_tag_from_v_storage_object(&disk, "tier", "gold").await.unwrap();
    assert!(world.manager.list_tags_attached_to_v_storage_object(&disk).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_service_beside_does_what_the_manager_does() {
    let world = world().await;
    let service = world.client.first_class_disks().await.unwrap();
    let service = service.manager();
    let task = service.vslm_create_disk_task(&create_spec(&world.store, "by the service", 8)).await.unwrap();
    let disk = task.wait().await.unwrap().config.base.id;
    assert_eq!(world.get(&disk).await.config.base.name, "by the service");
    let vm = world.sim.vm("vm-1").unwrap().moref();
    service.vslm_attach_disk_task(&disk, &vm, None, Some(9)).await.unwrap().wait().await.unwrap();
    assert_eq!(world.attached("vm-1").await[&2009].0, disk.id);
    let told =
        service.vslm_retrieve_v_storage_object_associations(&[disk.clone(), id("none")]).await.unwrap();
    assert_eq!(told[0].vm_disk_association[0].vm_id, vm.value());
    assert!(told[1].fault.is_some());
    let refused = service.vslm_delete_v_storage_object_task(&disk).await.unwrap().wait().await.unwrap_err();
    assert_fault::<t::InvalidState>(&refused);
    world.detach("vm-1", &disk).await.unwrap();
    let by_manager = world.snapshot(&disk).await;
    service.vslm_delete_snapshot_task(&disk, &by_manager).await.unwrap().wait().await.unwrap();
    let grown = service.vslm_extend_disk_task(&disk, 12).await.unwrap();
    grown.wait().await.unwrap();
    let found = service.vslm_retrieve_v_storage_objects(&[disk.clone(), id("none")]).await.unwrap();
    assert_eq!((found[0].capacity_in_mb, found[1].error.is_some()), (12, true));
    service.vslm_delete_v_storage_object_task(&disk).await.unwrap().wait().await.unwrap();
    assert!(world.list().await.is_empty());
}

#[tokio::test]
async fn disks_outlive_the_simulator() {
    let data = tempfile::tempdir().unwrap();
    let begin = async || Sim::builder().data_dir(data.path()).start().await.unwrap();
    let world = over(begin().await).await;
    let disk = world.make("disk", 4).await;
    world.write(&disk, 0, b"kept");
    world.track(&disk).await;
    let snapshot = world.snapshot(&disk).await;
    let change_id = world.change_id(&disk, &snapshot).await;
    drop(world);
    let world = over(begin().await).await;
    assert_eq!(world.get(&disk).await.config.base.name, "disk");
    assert_eq!(&world.content(&disk, None)[..4], b"kept");
    assert!(change_id.is_some() && world.change_id(&disk, &snapshot).await == change_id);
    // Other processes, such as the fake VDDK, are told of them.
    let told = sim_store::state::Inventory::load(world.sim.data_dir()).unwrap();
    let record = told.disk(&disk.id).unwrap();
    assert_eq!(
        (record.datastore.as_str(), record.path.to_string()),
        (world.store.value(), path_of(&world.get(&disk).await))
    );
    assert!(record.snapshot(&snapshot.id).is_ok() && record.snapshot("none").is_err());
    world.delete(&disk).await.unwrap();
    assert!(sim_store::state::Inventory::load(world.sim.data_dir()).unwrap().disk(&disk.id).is_err());
}

#[tokio::test]
async fn a_host_by_itself_has_disks_too() {
    let vm = VmSpec::new("vm-1").disk(DiskSpec::empty(4 * MIB));
    let sim = Sim::builder().mode(Mode::HostAgent).vm(vm).start().await.unwrap();
    let client = log_in(&sim).await;
    let manager = client.content().v_storage_object_manager.clone().unwrap();
    assert_eq!(
        (manager.type_name(), manager.value()),
        ("HostVStorageObjectManager", "ha-vstorage-object-manager")
    );
    let manager: mo::HostVStorageObjectManager = client.bind(&manager.cast());
    let found = client.list::<mo::Datastore>(&client.content().root_folder.cast(), &["name"]).await.unwrap();
    let store: MoRef<mo::Datastore> = found[0].object().cast();
    let task = manager.host_create_disk_task(&create_spec(&store, "disk", 4)).await.unwrap();
    let disk = task.wait().await.unwrap().config.base.id;
    assert_eq!(texts(&manager.host_list_v_storage_object(&store).await.unwrap()), [disk.id.as_str()]);
    let vm = machine(&client, &sim);
    vm.attach_disk_task(&disk, &store, Some(1000), Some(3)).await.unwrap().wait().await.unwrap();
    let task = manager.host_v_storage_object_create_snapshot_task(&disk, &store, "s").await.unwrap();
    let snapshot = task.wait().await.unwrap();
    vm.detach_disk_task(&disk).await.unwrap().wait().await.unwrap();
    let task = manager.host_v_storage_object_revert_task(&disk, &store, &snapshot).await.unwrap();
    task.wait().await.unwrap();
    let none = vm.attach_disk_task(&disk, &store, Some(1999), None).await.unwrap().wait().await.unwrap_err();
    assert_fault::<t::InvalidController>(&none);
    // What a vCenter calls otherwise is not there.
    let by_center: mo::VcenterVStorageObjectManager = client.bind(&manager.moref().cast());
    let unknown = by_center.list_v_storage_object(&store).await.unwrap_err();
    assert!(
        unknown.fault::<t::MethodNotFound>().is_some()
            || unknown.fault::<t::ManagedObjectNotFound>().is_some(),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn privileges_are_needed_on_the_datastore() {
    let password = || SecretString::from("a password of the tests");
    let sim = Sim::builder()
        .add_role("Disks", &["Datastore.FileManagement"])
        .add_user("disks@vsphere.local", password(), "Disks")
        .add_user("reader@vsphere.local", password(), "ReadOnly")
        .vm(VmSpec::new("vm-1").disk(DiskSpec::empty(4 * MIB)))
        .start()
        .await
        .unwrap();
    let world = over(sim).await;
    let disk = world.make("disk", 4).await;
    let (manager, store) = (world.manager.moref(), world.store.clone());
    let log_in = async |user: &str| {
        let client = connect(&world.sim).await;
        client.login(user, &password()).await.unwrap();
        client
    };
    let denied = |error: &Error, privilege: &str| {
        let fault = error.find_fault::<t::NoPermission>().unwrap_or_else(|| panic!("{error:?}"));
        assert_eq!(fault.privilege_id.as_deref(), Some(privilege));
        fault.object.clone().unwrap()
    };
    let reader = log_in("reader@vsphere.local").await;
    let by_reader: mo::VcenterVStorageObjectManager = reader.bind(&manager);
    assert_eq!(texts(&by_reader.list_v_storage_object(&store).await.unwrap()), [disk.id.as_str()]);
    by_reader.retrieve_v_storage_object(&disk, &store, &[]).await.unwrap();
    let files = "Datastore.FileManagement";
    let refused = by_reader.create_disk_task(&create_spec(&store, "none", 4)).await.unwrap_err();
    assert_eq!(denied(&refused, files).value(), store.value());
    denied(&by_reader.delete_v_storage_object_task(&disk, &store).await.unwrap_err(), files);
    denied(&by_reader.v_storage_object_create_snapshot_task(&disk, &store, "").await.unwrap_err(), files);
    denied(&by_reader.rename_v_storage_object(&disk, &store, "x").await.unwrap_err(), files);
    let service = reader.first_class_disks().await.unwrap();
    service.get(&disk.id).await.unwrap();
    denied(&service.manager().vslm_create_snapshot_task(&disk, "").await.unwrap_err(), files);
    denied(&service.track_changes(&disk.id).await.unwrap_err(), files);
    // Files are not machines.
    let disks = log_in("disks@vsphere.local").await;
    let by_disks: mo::VcenterVStorageObjectManager = disks.bind(&manager);
    by_disks.create_disk_task(&create_spec(&store, "more", 4)).await.unwrap().wait().await.unwrap();
    let vm: mo::VirtualMachine = disks.bind(&world.sim.vm("vm-1").unwrap().moref());
    let refused = vm.attach_disk_task(&disk, &store, None, None).await.unwrap_err();
    denied(&refused, "VirtualMachine.Config.AddExistingDisk");
}

#[tokio::test]
async fn two_tasks_do_not_work_on_one_disk() {
    let sim = Sim::builder().task_duration(std::time::Duration::from_millis(200)).start().await.unwrap();
    let world = over(sim).await;
    let disk = world.make("disk", 64).await;
    let snapshot = || world.manager.v_storage_object_create_snapshot_task(&disk, &world.store, "s");
    let (one, other) = (snapshot().await.unwrap(), snapshot().await.unwrap());
    let outcomes = [one.wait().await, other.wait().await];
    // They may come one after the other: then both are there.
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    for failed in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert_fault::<t::TaskInProgress>(failed);
    }
    let there = world.manager.retrieve_snapshot_info(&disk, &world.store).await.unwrap().snapshots.len();
    assert!(done >= 1 && there == done, "{done} {there}");
}
