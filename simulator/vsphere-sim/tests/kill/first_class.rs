//! First-class disks, with and without a machine: after a kill each is wholly as it was before or after what was in
//! flight, and no file is left that none of them needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sim_store::{Access, Disk, Scope};
use vim_api::dynamic::Poly;
use vim_api::{Error, MoRef, mo, types as t};

use crate::operations::Operation;
use crate::program::Program;

pub(crate) const KINDS: [&str; 12] = [
    "create",
    "clone",
    "copy a snapshot",
    "snapshot",
    "delete snapshot",
    "revert",
    "extend",
    "relocate",
    "delete",
    "attach",
    "detach",
    "snapshot attached",
];

/// The disks by name: capacity, datastore, machine, content now and at each snapshot.
pub(crate) type Shape = BTreeMap<String, (u64, String, bool, Vec<String>)>;

/// A disk with a snapshot, and a machine that has another one with a snapshot.
pub(crate) struct Scene {
    manager: MoRef<mo::VcenterVStorageObjectManager>,
    vm: MoRef<mo::VirtualMachine>,
    stores: [MoRef<mo::Datastore>; 2],
    loose: t::ID,
    loose_snapshot: t::ID,
    held: t::ID,
    number: u64,
}

impl Scene {
    /// Makes all anew.
    pub(crate) async fn set(program: &Program, number: u64) -> Self {
        let client = &program.client;
        for gone in
            client.list::<mo::VirtualMachine>(&client.content().root_folder.cast(), &["name"]).await.unwrap()
        {
            client
                .bind(&gone.object().cast::<mo::VirtualMachine>())
                .destroy_task()
                .await
                .unwrap()
                .wait()
                .await
                .unwrap();
        }
        let create = Operation::Create { name: format!("vm-{number}"), import: false };
        create.run(program).await.unwrap();
        let machines =
            client.list::<mo::VirtualMachine>(&client.content().root_folder.cast(), &["name"]).await.unwrap();
        let vm = machines[0].object().cast();
        let mut stores = Vec::new();
        for name in ["datastore1", "datastore2"] {
            let path = format!("/DC0/datastore/{name}");
            stores.push(client.find_one::<mo::Datastore>(&path).await.unwrap().object);
        }
        let mut scene = Self {
            manager: client.content().v_storage_object_manager.clone().unwrap().cast(),
            vm,
            stores: stores.try_into().unwrap(),
            loose: t::ID::default(),
            loose_snapshot: t::ID::default(),
            held: t::ID::default(),
            number,
        };
        let manager = scene.manager(program);
        for store in &scene.stores {
            for gone in manager.list_v_storage_object(store).await.unwrap() {
                let delete = manager.delete_v_storage_object_task(&gone, store);
                delete.await.unwrap().wait().await.unwrap();
            }
        }
        scene.loose = scene.create(program, "loose").await.unwrap();
        write(program, &scene.loose, 1).await;
        scene.loose_snapshot = scene.snapshot(program, &scene.loose).await.unwrap();
        write(program, &scene.loose, 2).await;
        scene.held = scene.create(program, "held").await.unwrap();
        write(program, &scene.held, 3).await;
        scene.snapshot(program, &scene.held).await.unwrap();
        scene.attach(program, &scene.held).await.unwrap();
        write(program, &scene.held, 4).await;
        scene
    }

    fn manager(&self, program: &Program) -> mo::VcenterVStorageObjectManager {
        program.client.bind(&self.manager)
    }

    fn backing(&self, store: usize) -> Poly<t::VslmCreateSpecBackingSpec> {
        Poly::new(t::VslmCreateSpecDiskFileBackingSpec {
            base: t::VslmCreateSpecBackingSpec {
                datastore: self.stores[store].clone(),
                ..Default::default()
            },
            ..Default::default()
        })
    }

    async fn create(&self, program: &Program, name: &str) -> Result<t::ID, Error> {
        let spec = t::VslmCreateSpec {
            name: name.to_owned(),
            keep_after_delete_vm: Some(true),
            capacity_in_mb: 1,
            backing_spec: self.backing(0),
            ..Default::default()
        };
        Ok(self.manager(program).create_disk_task(&spec).await?.wait().await?.config.base.id)
    }

    async fn snapshot(&self, program: &Program, disk: &t::ID) -> Result<t::ID, Error> {
        let task = self.manager(program).v_storage_object_create_snapshot_task(disk, &self.stores[0], "s");
        task.await?.wait().await
    }

    async fn attach(&self, program: &Program, disk: &t::ID) -> Result<(), Error> {
        let vm = program.client.bind(&self.vm);
        vm.attach_disk_task(disk, &self.stores[0], None, None).await?.wait().await
    }

    /// Carries out an operation of a kind.
    pub(crate) async fn run(&self, program: &Program, kind: &str) -> Result<(), Error> {
        let (manager, store, disk) = (self.manager(program), &self.stores[0], &self.loose);
        let migrate = |to| t::VslmMigrateSpec { backing_spec: self.backing(to), ..Default::default() };
        match kind {
            "create" => self.create(program, "new").await.map(drop),
            "clone" => {
                let spec =
                    t::VslmCloneSpec { base: migrate(1), name: "new".to_owned(), ..Default::default() };
                manager.clone_v_storage_object_task(disk, store, &spec).await?.wait().await.map(drop)
            }
            "copy a snapshot" => {
                let task = manager.create_disk_from_snapshot_task(
                    disk,
                    store,
                    &self.loose_snapshot,
                    "new",
                    &[],
                    None,
                    None,
                    None,
                    None,
                    None,
                );
                task.await?.wait().await.map(drop)
            }
            "snapshot" => self.snapshot(program, disk).await.map(drop),
            "delete snapshot" => {
                manager.delete_snapshot_task(disk, store, &self.loose_snapshot).await?.wait().await
            }
            "revert" => {
                manager.revert_v_storage_object_task(disk, store, &self.loose_snapshot).await?.wait().await
            }
            "extend" => {
                let plain = self.create(program, "new").await?;
                manager.extend_disk_task(&plain, store, 2).await?.wait().await
            }
            "relocate" => {
                let plain = self.create(program, "new").await?;
                let spec = t::VslmRelocateSpec { base: migrate(1) };
                manager.relocate_v_storage_object_task(&plain, store, &spec).await?.wait().await.map(drop)
            }
            "delete" => manager.delete_v_storage_object_task(disk, store).await?.wait().await,
            "attach" => self.attach(program, disk).await,
            "detach" => program.client.bind(&self.vm).detach_disk_task(&self.held).await?.wait().await,
            "snapshot attached" => self.snapshot(program, &self.held).await.map(drop),
            other => panic!("{other}"),
        }
    }

    /// What there is, by the program's own word and by its files.
    pub(crate) async fn look(&self, program: &Program) -> Shape {
        let said = program.control("GET", "/v1/first-class-disks".to_owned(), String::new()).await.unwrap();
        let disks: Value = serde_json::from_str(&said).unwrap();
        let (mut shape, mut needed) = (Shape::new(), BTreeSet::new());
        for disk in disks.as_array().unwrap() {
            let text = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
            let id = text(disk, "id");
            let mut contents = vec![digest(program, &id, None).await];
            let mut tops = vec![text(disk, "path")];
            for snapshot in disk["snapshots"].as_array().unwrap() {
                contents.push(digest(program, &id, Some(&text(snapshot, "id"))).await);
                tops.push(text(snapshot, "path"));
            }
            for top in &tops {
                let opened = Disk::open(program.host(top), Access::ReadOnly, Scope::WholeChain).unwrap();
                for link in opened.links() {
                    needed.extend([link.descriptor, link.extent]);
                    needed.extend(link.change_track);
                }
            }
            let store = tops[0].split(']').next().unwrap().to_owned();
            let told = (disk["capacity"].as_u64().unwrap(), store, disk["vm"].is_string(), contents);
            assert!(shape.insert(text(disk, "name"), told).is_none(), "{said}");
        }
        for store in ["datastore1", "datastore2"] {
            let folder = program.host(&format!("[{store}] fcd"));
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries.map(|entry| entry.unwrap().path()) {
                let is_hidden = entry.file_name().unwrap().to_string_lossy().starts_with('.');
                assert!(is_hidden || needed.contains(&entry), "run {}: {entry:?} is left over", self.number);
            }
        }
        shape
    }
}

/// The contents of all disks and snapshots.
pub(crate) fn contents(shape: &Shape) -> BTreeSet<String> {
    shape.values().flat_map(|(.., contents)| contents.clone()).collect()
}

/// The same for disks of another run, whose contents are others: only which are alike is told.
pub(crate) fn plain(shape: &Shape) -> Shape {
    let mut seen: Vec<String> = Vec::new();
    let mut plain = shape.clone();
    for content in plain.values_mut().flat_map(|(.., contents)| contents) {
        let at = seen.iter().position(|known| known == content).unwrap_or(seen.len());
        if at == seen.len() {
            seen.push(content.clone());
        }
        *content = at.to_string();
    }
    plain
}

async fn write(program: &Program, disk: &t::ID, seed: u64) {
    let id = &disk.id;
    let body = format!("{{\"id\":\"{id}\",\"offset\":0,\"length\":65536,\"seed\":{seed}}}");
    program.control("POST", "/v1/first-class-disks/write".to_owned(), body).await.unwrap();
}

async fn digest(program: &Program, id: &str, snapshot: Option<&str>) -> String {
    let snapshot = snapshot.map_or(String::new(), |snapshot| format!("&snapshot={snapshot}"));
    let path = format!("/v1/first-class-disks/extents?id={id}{snapshot}");
    let said = program.control("GET", path, String::new()).await.unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    said["sha256"].as_str().unwrap().to_owned()
}
