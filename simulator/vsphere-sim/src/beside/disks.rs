//! VSLM: first-class disks by a service of their own, without naming datastores.

use std::collections::BTreeMap;
use std::sync::Arc;

use vim_api::dynamic::{Poly, Value};
use vim_api::{mo, types as t};

use crate::clock::Moment;
use crate::dispatch::method_not_found;
use crate::fault::{Fault, Outcome, fault, invalid_argument, localized, not_found};
use crate::fcd::FirstClassDisk;
use crate::fcd::operation::{self, Done, Operation};
use crate::fcd::{attach_by_service, mebibytes, to_pairs};
use crate::inventory::moref;
use crate::random;
use crate::tasks::Progress;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// The tasks of the service.
#[derive(Default)]
pub(crate) struct DiskTasks(BTreeMap<String, Task>);

/// A task: what it ends with is known from the start, and told when its time has come.
struct Task {
    began: Moment,
    method: String,
    result: Result<Option<Value>, Fault>,
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
        ("VslmTask", "VslmQueryInfo") => {
            with_task(shared, call, |id, task, done| Ok(Answer::one(call, &task_info(id, task, done))))
        }
        ("VslmTask", "VslmQueryTaskResult") => with_task(shared, call, |_, task, done| {
            let result = task.result.as_ref().ok().filter(|_| done).and_then(Option::as_ref);
            Ok(Answer::maybe(call, result))
        }),
        ("VslmTask", "VslmCancelTask") => {
            Err(fault(t::NotSupported::default(), "The task cannot be cancelled."))
        }
        (_, "VslmListVStorageObjectForSpec") => list(shared, call),
        (_, "VslmRetrieveVStorageObjects") => retrieve(shared, call),
        (_, "VslmAttachDisk_Task") => {
            let work = attach_by_service(call)?;
            run(shared, call, "com.vmware.vslm.attachDisk", work).await
        }
        (_, method) => {
            let operation = Operation::of(method).ok_or_else(|| method_not_found(call))?;
            match operation::carry_out(shared, call, operation).await? {
                Done::Answer(answer) => Ok(answer),
                Done::Task { work, description_id, .. } => run(shared, call, description_id, work).await,
            }
        }
    }
}

/// Does the work of a task, which is told of when its time has come.
async fn run(
    shared: &Arc<Shared>,
    call: &Call,
    description_id: &str,
    work: crate::tasks::Work,
) -> Outcome<Answer> {
    let id = format!("vslmtask-{}", random::hex(4));
    let (worker, task) = (Arc::clone(shared), id.clone());
    let job = move || work(&worker, &mut Progress::untold(&worker).known_as(&task));
    let result = match tokio::task::spawn_blocking(job).await {
        Ok(result) => result,
        Err(error) => Err(fault(t::SystemError::default(), format!("The work died: {error}"))),
    };
    shared.update(|world| {
        let task = Task { began: world.clock.now(), method: description_id.to_owned(), result };
        world.disk_tasks.0.insert(id.clone(), task);
    });
    Ok(Answer::one(call, &moref::<mo::VslmTask>(&id)))
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
        let rights = world.rights(call.user.as_deref().unwrap_or_default());
        let is_seen = |disk: &&FirstClassDisk| {
            let store = world.stored.tree.datastore(disk.path.datastore());
            store.is_none_or(|(store, _)| rights.sees(&store.reference()))
        };
        let behind: Vec<_> =
            world.first_class.iter().filter(|disk| disk.id > after).filter(is_seen).collect();
        let found: Vec<_> = behind.iter().take(limit).map(|disk| entry(world, disk)).collect();
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

/// `VslmRetrieveVStorageObjects`: those that there are, and a fault for each of the others.
fn retrieve(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let ids: Vec<t::ID> = call.list("ids")?;
    let found: Vec<_> = shared.read(|world| {
        let told = |id: t::ID| match world.first_class.get(&id.id) {
            Some(disk) => entry(world, disk),
            None => {
                let missing = fault(t::NotFound::default(), format!("The disk {} cannot be found.", id.id));
                let error = Some(Box::new(localized(&missing)));
                t::VslmVsoVStorageObjectResult { id, error, ..Default::default() }
            }
        };
        ids.into_iter().map(told).collect()
    });
    Ok(Answer::many(call, &found))
}

fn entry(world: &World, disk: &FirstClassDisk) -> t::VslmVsoVStorageObjectResult {
    let datastore = world.stored.tree.datastore(disk.path.datastore());
    t::VslmVsoVStorageObjectResult {
        id: t::ID { id: disk.id.clone(), ..Default::default() },
        name: Some(disk.name.clone()),
        capacity_in_mb: mebibytes(disk.capacity),
        create_time: Some(disk.created.date_time()),
        datastore_url: datastore.and_then(|(entity, _)| world.url_of(entity)),
        disk_path: Some(disk.path.to_string()),
        metadata: to_pairs(&disk.metadata),
        ..Default::default()
    }
}

fn with_task<R>(
    shared: &Shared,
    call: &Call,
    look: impl FnOnce(&str, &Task, bool) -> Outcome<R>,
) -> Outcome<R> {
    let id = call.this.value();
    shared.read(|world| {
        let task = world.disk_tasks.0.get(id).ok_or_else(|| not_found(&call.this))?;
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
            info.error = Some(Box::new(localized(failed)));
        }
    }
    info
}
