//! First-class disks with real content, snapshots and change tracking.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use sim_store::{DatastorePath, snapshot, tracking};
use vim_api::dynamic::{Element, Poly, Value};
use vim_api::{mo, types as t};

use crate::cbt;
use crate::clock::Moment;
use crate::dispatch::method_not_found;
use crate::fault::{Fault, Outcome, fault, from_store, invalid_argument, not_found};
use crate::inventory::moref;
use crate::random;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// The first-class disks of the server, and the tasks that work on them.
#[derive(Default)]
pub(crate) struct Disks {
    /// By id.
    pub(crate) known: BTreeMap<String, Disk>,
    tasks: BTreeMap<String, Task>,
}

#[derive(Clone)]
pub(crate) struct Disk {
    pub(crate) name: String,
    pub(crate) capacity: u64,
    pub(crate) created: Moment,
    pub(crate) tracked: bool,
    /// The link that is written to.
    pub(crate) top: PathBuf,
    pub(crate) path: DatastorePath,
    pub(crate) snapshots: BTreeMap<String, Snapshot>,
}

#[derive(Clone)]
pub(crate) struct Snapshot {
    frozen: PathBuf,
    description: String,
    created: Moment,
    change_id: Option<String>,
}

/// A task: what it ends with is known from the start, and told when its time has come.
struct Task {
    began: Moment,
    method: String,
    result: Result<Value, Fault>,
}

pub(super) fn content(shared: &Shared, call: &Call) -> Answer {
    let content = t::VslmServiceInstanceContent {
        about_info: t::VslmAboutInfo {
            name: "VMware Virtual Storage Lifecycle Manager Service".to_owned(),
            api_version: "1.0.0".to_owned(),
            instance_uuid: shared.read(|world| world.stored.instance_uuid.clone()),
            ..Default::default()
        },
        session_manager: moref("SessionManager"),
        v_storage_object_manager: moref("VStorageObjectManager"),
        storage_lifecycle_manager: moref("StorageLifecycleManager"),
        ..Default::default()
    };
    Answer::one(call, &content)
}

pub(super) async fn call(shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
    match (call.this.type_name(), call.method.as_str()) {
        (_, "VslmListVStorageObjectForSpec") => list(shared, call),
        (_, "VslmRetrieveVStorageObject") => {
            with_disk(shared, call, |world, id, disk| Ok(Answer::one(call, &object(world, id, disk))))
        }
        (_, "VslmRetrieveSnapshotInfo") => with_disk(shared, call, |_, _, disk| {
            let snapshots = disk.snapshots.iter().map(|(id, snapshot)| snapshot_info(id, snapshot)).collect();
            Ok(Answer::one(call, &t::VStorageObjectSnapshotInfo { snapshots, ..Default::default() }))
        }),
        (_, "VslmRetrieveSnapshotDetails") => with_disk(shared, call, |_, _, disk| {
            let snapshot = snapshot_of(disk, call)?;
            let details = t::VStorageObjectSnapshotDetails {
                path: Some(disk.path.to_string()),
                changed_block_tracking_id: snapshot.change_id.clone(),
                ..Default::default()
            };
            Ok(Answer::one(call, &details))
        }),
        (_, "VslmSetVStorageObjectControlFlags") => track(shared, call).await,
        (_, "VslmCreateSnapshot_Task") => create_snapshot(shared, call).await,
        (_, "VslmQueryChangedDiskAreas") => changed_areas(shared, call).await,
        ("VslmTask", "VslmQueryInfo") => {
            with_task(shared, call, |id, task, done| Ok(Answer::one(call, &task_info(id, task, done))))
        }
        ("VslmTask", "VslmQueryTaskResult") => with_task(shared, call, |_, task, done| {
            let result = task.result.as_ref().ok().filter(|_| done);
            Ok(Answer::maybe(call, result))
        }),
        ("VslmTask", "VslmCancelTask") => {
            Err(fault(t::NotSupported::default(), "The task cannot be cancelled."))
        }
        _ => Err(method_not_found(call)),
    }
}

fn id_of(call: &Call, name: &str) -> Outcome<String> {
    Ok(call.required::<t::ID>(name)?.id)
}

fn id(text: &str) -> t::ID {
    t::ID { id: text.to_owned(), ..Default::default() }
}

fn missing(what: &str, id: &str) -> Fault {
    fault(t::NotFound::default(), format!("The {what} {id} cannot be found."))
}

fn with_disk<R>(
    shared: &Shared,
    call: &Call,
    look: impl FnOnce(&World, &str, &Disk) -> Outcome<R>,
) -> Outcome<R> {
    let id = id_of(call, "id")?;
    shared.read(|world| {
        let disk = world.disks.known.get(&id).ok_or_else(|| missing("disk", &id))?;
        look(world, &id, disk)
    })
}

fn snapshot_of<'a>(disk: &'a Disk, call: &Call) -> Outcome<&'a Snapshot> {
    let id = id_of(call, "snapshotId")?;
    disk.snapshots.get(&id).ok_or_else(|| missing("snapshot", &id))
}

/// At most `maxResult` disks, by id, behind the one that a query names. Other queries are not known here.
fn list(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let query: Vec<t::VslmVsoVStorageObjectQuerySpec> = call.list("query")?;
    let limit: i32 = call.required("maxResult")?;
    let limit = usize::try_from(limit)
        .ok()
        .filter(|limit| *limit > 0)
        .ok_or_else(|| invalid_argument("maxResult", "At least one has to be asked for."))?;
    let after = match query.as_slice() {
        [] => String::new(),
        [one] if one.query_field == "id" && one.query_operator == "greaterThan" => one.query_value.concat(),
        _ => return Err(invalid_argument("query", "The simulator knows the query \"id greaterThan\" only.")),
    };
    let limit = limit.min(shared.settings.property_page);
    let (found, is_all) = shared.read(|world| {
        let behind: Vec<_> = world.disks.known.iter().filter(|(id, _)| **id > after).collect();
        let found: Vec<_> = behind.iter().take(limit).map(|(id, disk)| entry(id, disk)).collect();
        (found, behind.len() <= limit)
    });
    let result = t::VslmVsoVStorageObjectQueryResult {
        all_records_returned: is_all,
        id: found.iter().map(|entry| entry.id.clone()).collect(),
        query_results: found,
        ..Default::default()
    };
    Ok(Answer::one(call, &result))
}

fn entry(id_text: &str, disk: &Disk) -> t::VslmVsoVStorageObjectResult {
    t::VslmVsoVStorageObjectResult {
        id: id(id_text),
        name: Some(disk.name.clone()),
        capacity_in_mb: mebibytes(disk.capacity),
        create_time: Some(disk.created.date_time()),
        disk_path: Some(disk.path.to_string()),
        ..Default::default()
    }
}

fn object(world: &World, id_text: &str, disk: &Disk) -> t::VStorageObject {
    let datastore = world.stored.tree.datastore(disk.path.datastore()).map(|(entity, _)| entity.typed());
    let file = t::BaseConfigInfoFileBackingInfo {
        base: t::BaseConfigInfoBackingInfo { datastore: datastore.unwrap_or_default(), ..Default::default() },
        file_path: disk.path.to_string(),
        ..Default::default()
    };
    let backing = t::BaseConfigInfoDiskFileBackingInfo { base: file, provisioning_type: "thin".to_owned() };
    let base = t::BaseConfigInfo {
        id: id(id_text),
        name: disk.name.clone(),
        create_time: disk.created.date_time(),
        changed_block_tracking_enabled: Some(disk.tracked),
        backing: Poly::new(backing),
        ..Default::default()
    };
    let config = t::VStorageObjectConfigInfo {
        base,
        capacity_in_mb: mebibytes(disk.capacity),
        consumption_type: vec!["disk".to_owned()],
        ..Default::default()
    };
    t::VStorageObject { config, ..Default::default() }
}

fn snapshot_info(id_text: &str, snapshot: &Snapshot) -> t::VStorageObjectSnapshotInfoVStorageObjectSnapshot {
    t::VStorageObjectSnapshotInfoVStorageObjectSnapshot {
        id: Some(Box::new(id(id_text))),
        create_time: snapshot.created.date_time(),
        description: snapshot.description.clone(),
        ..Default::default()
    }
}

async fn track(shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
    let flags: Vec<String> = call.list("controlFlags")?;
    let id = id_of(call, "id")?;
    let (top, path) = with_disk(shared, call, |_, _, disk| Ok((disk.top.clone(), disk.path.to_string())))?;
    if flags.iter().any(|flag| flag == "enableChangedBlockTracking") {
        blocking(move || tracking::enable(&top, None)).await?.map_err(|error| from_store(&error, &path))?;
        shared.update(|world| world.disks.known.get_mut(&id).map(|disk| disk.tracked = true));
    }
    Ok(Answer::void())
}

async fn create_snapshot(shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
    let disk_id = id_of(call, "id")?;
    let description: String = call.required("description")?;
    let (top, path) = with_disk(shared, call, |_, _, disk| Ok((disk.top.clone(), disk.path.to_string())))?;
    let made = blocking(move || snapshot::create(&top)).await?;
    let snapshot_id = random::uuid();
    let result = made.map_err(|error| from_store(&error, &path)).map(|link| {
        shared.update(|world| {
            let created = world.clock.now();
            if let Some(disk) = world.disks.known.get_mut(&disk_id) {
                disk.top = link.child;
                let change_id = link.change_id.map(|id| id.to_string());
                let new = Snapshot { frozen: link.frozen, description, created, change_id };
                disk.snapshots.insert(snapshot_id.clone(), new);
            }
        });
        id(&snapshot_id).to_value()
    });
    let task_id = format!("vslmtask-{}", random::hex(4));
    shared.update(|world| {
        let task =
            Task { began: world.clock.now(), method: "com.vmware.vslm.createSnapshot".to_owned(), result };
        world.disks.tasks.insert(task_id.clone(), task);
    });
    Ok(Answer::one(call, &moref::<mo::VslmTask>(&task_id)))
}

async fn changed_areas(shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
    let target = with_disk(shared, call, |_, _, disk| {
        let snapshot = snapshot_of(disk, call)?;
        Ok(cbt::Target {
            host: snapshot.frozen.clone(),
            file: disk.path.to_string(),
            capacity: disk.capacity,
        })
    })?;
    let disk = id_of(call, "id")?;
    cbt::answer(shared, call, target, &disk).await
}

fn with_task<R>(
    shared: &Shared,
    call: &Call,
    look: impl FnOnce(&str, &Task, bool) -> Outcome<R>,
) -> Outcome<R> {
    let id = call.this.value();
    shared.read(|world| {
        let task = world.disks.tasks.get(id).ok_or_else(|| not_found(&call.this))?;
        let is_done = world.clock.now().since(task.began) >= shared.settings.task_duration;
        look(id, task, is_done)
    })
}

fn task_info(id: &str, task: &Task, is_done: bool) -> t::VslmTaskInfo {
    let mut info = t::VslmTaskInfo {
        key: id.to_owned(),
        task: moref(id),
        description_id: task.method.clone(),
        state: t::VslmTaskInfoState::Running,
        queue_time: task.began.date_time(),
        reason: Poly::new(t::VslmTaskReasonSystem::default()),
        ..Default::default()
    };
    match &task.result {
        _ if !is_done => {}
        Ok(_) => info.state = t::VslmTaskInfoState::Success,
        Err(failed) => {
            info.state = t::VslmTaskInfoState::Error;
            info.error = Some(Box::new(t::LocalizedMethodFault {
                fault: failed.fault.clone(),
                localized_message: Some(failed.message.clone()),
                ..Default::default()
            }));
        }
    }
    info
}

async fn blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Outcome<R> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| fault(t::SystemError::default(), format!("The work died: {error}")))
}

fn mebibytes(bytes: u64) -> i64 {
    i64::try_from(bytes >> 20).unwrap_or(i64::MAX)
}
