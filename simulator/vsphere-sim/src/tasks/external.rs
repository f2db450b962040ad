//! Tasks of extensions: made, moved on and ended by calls from outside.

use vim_api::MoRef;
use vim_api::dynamic::{Poly, Value, managed_type};
use vim_api::types as t;

use super::TaskState;
use crate::fault::{Outcome, fault, invalid_argument, not_found};
use crate::inventory::moref;
use crate::mode::Mode;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// `TaskManager.CreateTask`. The type has to be one that an extension has announced.
pub(crate) fn create(shared: &Shared, user: &str, call: &Call) -> Outcome<Answer> {
    let object: MoRef = call.required("obj")?;
    let type_id: String = call.required("taskTypeId")?;
    let initiator: Option<String> = call.optional("initiatedBy")?;
    let cancelable: bool = call.required("cancelable")?;
    let parent: Option<String> = call.optional("parentTaskKey")?;
    let activation_id: Option<String> = call.optional("activationId")?;
    shared.update(|world| {
        let Some(node) = world.node(&object, None) else { return Err(not_found(&object)) };
        if !world.stored.extensions.has_task(&type_id) {
            let message = format!("No extension has announced tasks of the type \"{type_id}\".");
            return Err(invalid_argument("taskTypeId", message));
        }
        let root = match &parent {
            None => None,
            Some(key) => match world.tasks.get(key) {
                Some(task) => Some(task.info.root_task_key.clone().unwrap_or_else(|| key.clone())),
                None => return Err(invalid_argument("parentTaskKey", format!("There is no task {key}."))),
            },
        };
        let is_entity = managed_type(object.type_name()).is_some_and(|info| info.is_a("ManagedEntity"));
        let name = match world.property(node, crate::inventory::Wanted::whole("name"), None) {
            Some(Value::String(name)) if is_entity => Some(name),
            _ => None,
        };
        let now = world.clock.now().date_time();
        let chain = world.events.ring.next_key();
        // A host makes no such tasks.
        let number = |number| Mode::VirtualCenter.task_id(number, "", None);
        let id = world.add_task(number, |id| t::TaskInfo {
            key: id.to_owned(),
            task: moref(id),
            description_id: type_id,
            entity: is_entity.then(|| object.cast()),
            entity_name: name,
            state: t::TaskInfoState::Queued,
            cancelable,
            reason: Poly::new(t::TaskReasonUser {
                user_name: initiator.unwrap_or_else(|| user.to_owned()),
                ..Default::default()
            }),
            queue_time: now,
            event_chain_id: chain,
            parent_task_key: parent,
            root_task_key: root,
            activation_id,
            ..Default::default()
        });
        let Some(task) = world.tasks.get_mut(&id) else { return Err(not_found(&call.this)) };
        task.external = true;
        let info = task.info.clone();
        world.announce(&info);
        Ok(Answer::one(call, &info))
    })
}

/// `SetTaskState`, `UpdateProgress` and `SetTaskDescription`.
pub(crate) fn change(shared: &Shared, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "SetTaskState" => {
            let state: t::TaskInfoState = call.required("state")?;
            let result: Option<Value> = call.optional("result")?;
            let error: Option<t::LocalizedMethodFault> = call.optional("fault")?;
            with(shared, call, |world, id| set_state(world, id, state, result, error))
        }
        "UpdateProgress" => {
            let percent: i32 = call.required("percentDone")?;
            if !(0..=100).contains(&percent) {
                let value = t::OutOfBounds { argument_name: "percentDone".to_owned(), ..Default::default() };
                return Err(fault(value, "Progress is a number from 0 to 100."));
            }
            with(shared, call, |world, id| {
                let Some(task) = world.tasks.get_mut(id) else { return Ok(()) };
                if task.info.state != t::TaskInfoState::Running {
                    return Err(wrong_state(task));
                }
                task.info.progress = Some(percent);
                Ok(())
            })
        }
        _ => {
            let description: t::LocalizableMessage = call.required("description")?;
            with(shared, call, |world, id| {
                if let Some(task) = world.tasks.get_mut(id) {
                    task.info.description = Some(Box::new(description));
                }
                Ok(())
            })
        }
    }
}

/// A task goes forward only: from queued to running, from either to its end.
fn set_state(
    world: &mut World,
    id: &str,
    state: t::TaskInfoState,
    result: Option<Value>,
    error: Option<t::LocalizedMethodFault>,
) -> Outcome<()> {
    use t::TaskInfoState as State;
    let now = world.clock.now().date_time();
    let Some(task) = world.tasks.get_mut(id) else { return Ok(()) };
    let goes_on = matches!(task.info.state, State::Queued | State::Running);
    let possible = goes_on && matches!(state, State::Running | State::Success | State::Error);
    if !possible {
        return Err(wrong_state(task));
    }
    if state == State::Error && error.is_none() {
        return Err(invalid_argument("fault", "A task that failed says why."));
    }
    let info = &mut task.info;
    info.start_time.get_or_insert_with(|| now.clone());
    if state == State::Running {
        info.progress.get_or_insert(0);
    } else {
        info.complete_time = Some(now);
        info.cancelable = false;
        info.progress = None;
        info.result = result.filter(|_| state == State::Success);
        info.error = error.filter(|_| state == State::Error).map(Box::new);
    }
    info.state = state;
    let info = info.clone();
    world.note_task(&info);
    Ok(())
}

fn with(
    shared: &Shared,
    call: &Call,
    change: impl FnOnce(&mut World, &str) -> Outcome<()>,
) -> Outcome<Answer> {
    shared.update(|world| {
        let id = call.this.value();
        let task = world.tasks.get(id).ok_or_else(|| not_found(&call.this))?;
        if !task.external {
            return Err(fault(t::NotSupported::default(), "The task is the server's own."));
        }
        change(world, id).map(|()| Answer::void())
    })
}

fn wrong_state(task: &TaskState) -> crate::fault::Fault {
    fault(t::InvalidState::default(), format!("The task is in the state \"{}\".", task.info.state))
}
