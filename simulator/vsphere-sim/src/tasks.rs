//! Tasks: work that goes on after its call was answered.

mod description;
pub(crate) mod external;

use std::collections::VecDeque;
use std::sync::Arc;

use vim_api::dynamic::{Poly, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::clock::{Moment, sleep_until};
use crate::events::Draft;
use crate::fault::{Fault, Outcome, fault, localized, not_found, not_kept, task_in_progress};
use crate::faults::{Asked, FaultPlace, FaultRule};
use crate::inventory::{machine_ref, moref};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

pub(crate) use description::{description, label};

/// `TaskManager.recentTask` is no longer than this.
const MAX_RECENT: usize = 200;

/// How far a task says it is before its work begins, and after: the rest is the work itself.
const BEFORE: [i32; 3] = [5, 20, 40];
const AFTER: i32 = 95;

/// The tasks of the recent past.
#[derive(Default)]
pub(crate) struct Tasks {
    list: VecDeque<TaskState>,
    last: u32,
}

/// A task.
pub(crate) struct TaskState {
    info: t::TaskInfo,
    canceled: bool,
    /// An extension made it and moves it on.
    external: bool,
}

/// What a task does: called on a thread that may block, it tells how far it is and what comes of it.
pub(crate) type Work = Box<dyn FnOnce(&Shared, &mut Progress<'_>) -> Outcome<Option<Value>> + Send>;

/// How a running task says how far it is, and learns that it shall fail.
pub(crate) struct Progress<'a> {
    shared: &'a Shared,
    task: &'a str,
    planned: &'a Option<Planned>,
    told: i32,
    /// Whether the work can be called back where it is.
    may_stop: bool,
}

/// A fault that a rule wants a task to end with.
struct Planned {
    at: i32,
    fault: Fault,
}

impl Tasks {
    /// A task by its id.
    pub(crate) fn get(&self, id: &str) -> Option<&TaskState> {
        self.list.iter().find(|task| task.info.key == id)
    }

    /// The recent tasks, the oldest first.
    pub(crate) fn recent(&self) -> impl Iterator<Item = MoRef<mo::Task>> {
        self.list.iter().map(|task| task.info.task.clone())
    }

    /// What is known of the recent tasks, the oldest first.
    pub(crate) fn infos(&self) -> impl DoubleEndedIterator<Item = &t::TaskInfo> {
        self.list.iter().map(TaskState::info)
    }

    /// The recent tasks of an entity.
    pub(crate) fn of_entity(&self, entity: &MoRef) -> impl Iterator<Item = MoRef<mo::Task>> {
        let of_it = move |task: &&TaskState| task.info.entity.as_ref().is_some_and(|other| other == entity);
        self.list.iter().filter(of_it).map(|task| task.info.task.clone())
    }

    fn is_canceled(&self, id: &str) -> bool {
        self.get(id).is_some_and(|task| task.canceled)
    }

    fn set_cancelable(&mut self, id: &str, cancelable: bool) {
        if let Some(task) = self.get_mut(id) {
            task.info.cancelable = cancelable;
        }
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut TaskState> {
        self.list.iter_mut().find(|task| task.info.key == id)
    }

    /// Adds a task. Answers its id, and what the task was about that had to make room: the oldest one that has ended.
    fn add(
        &mut self,
        name: impl FnOnce(u32) -> String,
        make: impl FnOnce(&str) -> t::TaskInfo,
    ) -> (String, Option<MoRef<mo::ManagedEntity>>) {
        self.last += 1;
        let id = name(self.last);
        self.list.push_back(TaskState { info: make(&id), canceled: false, external: false });
        let ended = |task: &TaskState| task.info.complete_time.is_some();
        let oldest = (self.list.len() > MAX_RECENT).then(|| self.list.iter().position(ended)).flatten();
        (id, oldest.and_then(|at| self.list.remove(at)?.info.entity))
    }
}

/// The fault of a task that was called back.
fn canceled() -> Fault {
    fault(t::RequestCanceled::default(), "The task was canceled by a user.")
}

impl TaskState {
    /// `Task.info`.
    pub(crate) fn info(&self) -> &t::TaskInfo {
        &self.info
    }

    /// Tells the log what has become of it.
    fn tell(&self, what: &'static str) {
        let info = &self.info;
        let user = info.reason.downcast_ref::<t::TaskReasonUser>().map(|reason| reason.user_name.as_str());
        let error = info.error.as_ref();
        tracing::info!(
            task = info.key,
            method = info.name,
            entity = info.entity.as_ref().map(|entity| entity.value()),
            user,
            state = ?info.state,
            fault = error.map(|error| error.fault.type_name()),
            message = error.and_then(|error| error.localized_message.as_deref()),
            "{what}"
        );
    }
}

/// Where nothing shall go wrong on purpose.
static UNPLANNED: Option<Planned> = None;

impl<'a> Progress<'a> {
    /// Of work that no task stands for.
    pub(crate) fn untold(shared: &'a Shared) -> Self {
        Self { shared, task: "", planned: &UNPLANNED, told: i32::MAX, may_stop: false }
    }

    /// The same for a task that another service keeps under this id.
    pub(crate) fn known_as(self, task: &'a str) -> Self {
        Self { task, ..self }
    }

    /// The id of the task; empty where there is none.
    pub(crate) fn task(&self) -> &'a str {
        self.task
    }

    /// For work that cannot stop in its middle: where the task shall fail during the work, it fails here.
    ///
    /// # Errors
    /// The fault that the task shall end with.
    pub(crate) fn fail_early(&mut self) -> Outcome<()> {
        match self.planned {
            Some(planned) if planned.at <= AFTER => {
                self.shared.update(|world| world.set_progress(self.task, planned.at));
                Err(planned.fault.clone())
            }
            _ => Ok(()),
        }
    }

    /// Says that `done` of `total` of the work is behind.
    ///
    /// # Errors
    /// The fault that the task shall end with, once it has got that far.
    pub(crate) fn step(&mut self, done: u64, total: u64) -> Outcome<()> {
        let percent = self.tell(done, total);
        strike(self.planned, percent)?;
        if self.may_stop && self.shared.read(|world| world.tasks.is_canceled(self.task)) {
            return Err(canceled());
        }
        Ok(())
    }

    /// From here on a client may call the task back: whoever does the work undoes it when a step fails.
    pub(crate) fn allow_cancel(&mut self) {
        self.may_stop = true;
        self.shared.update(|world| world.tasks.set_cancelable(self.task, true));
    }

    /// From here on the task goes to its end.
    ///
    /// # Errors
    /// `RequestCanceled`, if it was called back before.
    pub(crate) fn forbid_cancel(&mut self) -> Outcome<()> {
        self.may_stop = false;
        let called_back = self.shared.update(|world| {
            world.tasks.set_cancelable(self.task, false);
            world.tasks.is_canceled(self.task)
        });
        if called_back { Err(canceled()) } else { Ok(()) }
    }

    /// Says that `done` of `total` of the work is behind, and answers what that is in percent of the whole task.
    pub(crate) fn tell(&mut self, done: u64, total: u64) -> i32 {
        let from = BEFORE[BEFORE.len() - 1];
        let span = u64::from((AFTER - from).unsigned_abs());
        let part = i32::try_from(done.saturating_mul(span) / total.max(1)).unwrap_or(0);
        let percent = (from + part).min(AFTER);
        if percent > self.told {
            self.told = percent;
            self.shared.update(|world| world.set_progress(self.task, percent));
        }
        percent
    }
}

/// Starts a task on a machine and answers its reference. The machine is held until the task ends.
pub(crate) fn start(
    shared: &Arc<Shared>,
    machine: &str,
    call: &Call,
    user: &str,
    description_id: &str,
    work: Work,
) -> Outcome<Answer> {
    let id = shared.update(|world| {
        let Some(found) = world.machine(machine) else { return Err(not_found(&call.this)) };
        if let Some(task) = &found.busy {
            return Err(task_in_progress(task));
        }
        let entity = (machine_ref(found).cast(), found.name().to_owned());
        let id = world.queue(call, user, description_id, Some(entity));
        world.set_busy(machine, Some(id.clone()));
        Ok(id)
    })?;
    Ok(go(shared, Some(machine), call, id, work))
}

/// Starts a task about another entity than a machine and answers its reference. It holds nothing.
pub(crate) fn start_about(
    shared: &Arc<Shared>,
    entity: &MoRef,
    call: &Call,
    user: &str,
    description_id: &str,
    work: Work,
) -> Outcome<Answer> {
    let id = shared.update(|world| {
        let found = world.stored.tree.find(entity).ok_or_else(|| not_found(entity))?;
        let entity = (found.reference().cast(), found.name.clone());
        Ok(world.queue(call, user, description_id, Some(entity)))
    })?;
    Ok(go(shared, None, call, id, work))
}

/// Starts a task that is about no machine and answers its reference.
pub(crate) fn start_apart(
    shared: &Arc<Shared>,
    call: &Call,
    user: &str,
    description_id: &str,
    work: Work,
) -> Answer {
    let id = shared.update(|world| world.queue(call, user, description_id, None));
    go(shared, None, call, id, work)
}

fn go(shared: &Arc<Shared>, machine: Option<&str>, call: &Call, id: String, work: Work) -> Answer {
    let object = machine.unwrap_or_else(|| call.this.value());
    let rule = shared.faults.strike(FaultPlace::Task, &Asked::on(call, object));
    let begin = shared.now().after(rule.as_ref().map(FaultRule::delay).unwrap_or_default());
    let planned = rule.and_then(|rule| {
        rule.to_fault(&call.this).map(|fault| Planned { at: rule.progress.unwrap_or(0), fault })
    });
    let answer = Answer::one(call, &moref::<mo::Task>(&id));
    tokio::spawn(run(Arc::clone(shared), machine.map(str::to_owned), id, planned, begin, work));
    answer
}

/// `Task.CancelTask`. A task whose work has begun ends by itself, unless the work can be undone.
pub(crate) fn cancel(shared: &Shared, call: &Call) -> Outcome<Answer> {
    shared.update(|world| {
        let task = world.tasks.get_mut(call.this.value()).ok_or_else(|| not_found(&call.this))?;
        let ended = matches!(task.info.state, t::TaskInfoState::Success | t::TaskInfoState::Error);
        if ended || !task.info.cancelable {
            return Err(fault(t::NotSupported::default(), "The task cannot be canceled (any more)."));
        }
        task.canceled = true;
        // An extension sees it there, and ends its task.
        task.info.cancelled = task.external;
        Ok(Answer::void())
    })
}

async fn run(
    shared: Arc<Shared>,
    machine: Option<String>,
    id: String,
    planned: Option<Planned>,
    begin: Moment,
    work: Work,
) {
    // Each step has its own moment, counted from the beginning: a clock that jumps takes the task through all of them.
    let unwritten = shared.unwritten();
    let pause = shared.settings.task_duration / 5;
    let begin = begin.after(pause);
    sleep_until(&shared, begin).await;
    let outcome = match prepare(&shared, &id, &planned, begin, pause).await {
        Ok(()) => {
            let (worker, task, machine) = (Arc::clone(&shared), id.clone(), machine.clone());
            let job = tokio::task::spawn_blocking(move || {
                if let Some(machine) = &machine {
                    crate::population::materialize(&worker, machine)?;
                }
                let mut progress =
                    Progress { shared: &worker, task: &task, planned: &planned, told: 0, may_stop: false };
                let outcome = work(&worker, &mut progress);
                let after = strike(&planned, 100);
                outcome.and_then(|value| after.map(|()| value))
            });
            match job.await {
                Ok(outcome) => outcome,
                Err(error) => Err(fault(t::SystemError::default(), format!("The task died: {error}"))),
            }
        }
        Err(fault) => Err(fault),
    };
    let written = || shared.check_written(unwritten).map_err(|error| not_kept(&error));
    let outcome = outcome.and_then(|value| written().map(|()| value));
    if outcome.is_ok() {
        shared.update(|world| world.set_progress(&id, AFTER));
        sleep_until(&shared, begin.after(pause * 4)).await;
    }
    shared.update(|world| world.finish(machine.as_deref(), &id, outcome));
}

/// The steps before the work, during which the task can still be canceled.
async fn prepare(
    shared: &Shared,
    id: &str,
    planned: &Option<Planned>,
    begin: Moment,
    pause: std::time::Duration,
) -> Outcome<()> {
    shared.update(|world| {
        let now = world.clock.now();
        if let Some(task) = world.tasks.get_mut(id) {
            task.info.state = t::TaskInfoState::Running;
            task.info.start_time = Some(now.date_time());
            task.info.progress = Some(0);
            task.tell("task begins");
        }
    });
    strike(planned, 0)?;
    for (percent, step) in BEFORE.into_iter().zip(1..) {
        sleep_until(shared, begin.after(pause * step)).await;
        let called_back = shared.update(|world| {
            world.set_progress(id, percent);
            world.tasks.get_mut(id).is_some_and(|task| {
                // With the last of these steps the work begins, and cannot be called back.
                task.info.cancelable = percent != BEFORE[BEFORE.len() - 1] && !task.canceled;
                task.canceled
            })
        });
        if called_back {
            return Err(canceled());
        }
        strike(planned, percent)?;
    }
    Ok(())
}

fn strike(planned: &Option<Planned>, percent: i32) -> Outcome<()> {
    match planned {
        Some(planned) if percent >= planned.at => Err(planned.fault.clone()),
        _ => Ok(()),
    }
}

impl World {
    /// A new task, about an entity or about none.
    fn queue(
        &mut self,
        call: &Call,
        user: &str,
        description_id: &str,
        entity: Option<(MoRef<mo::ManagedEntity>, String)>,
    ) -> String {
        let now = self.clock.now();
        let (entity, entity_name) = entity.unzip();
        let chain = self.events.ring.next_key();
        let mode = self.mode();
        let name = |number| mode.task_id(number, description_id, entity.as_ref());
        let id = self.add_task(name, |id| t::TaskInfo {
            key: id.to_owned(),
            task: moref(id),
            name: Some(call.method.clone()),
            description_id: description_id.to_owned(),
            entity: entity.clone(),
            entity_name,
            state: t::TaskInfoState::Queued,
            cancelled: false,
            cancelable: true,
            reason: Poly::new(t::TaskReasonUser { user_name: user.to_owned(), ..Default::default() }),
            queue_time: now.date_time(),
            event_chain_id: chain,
            ..Default::default()
        });
        if let Some(info) = self.tasks.get(&id).map(|task| task.info.clone()) {
            self.announce(&info);
        }
        id
    }

    /// Adds a task. What another was about that makes room for it shows one less.
    fn add_task(
        &mut self,
        name: impl FnOnce(u32) -> String,
        make: impl FnOnce(&str) -> t::TaskInfo,
    ) -> String {
        let (id, forgotten) = self.tasks.add(name, make);
        if let Some(entity) = forgotten {
            self.bump(entity.value());
        }
        id
    }

    /// Remembers a new task, and posts the event that begins its chain.
    fn announce(&mut self, info: &t::TaskInfo) {
        self.note_task(info);
        let user = info.reason.downcast_ref::<t::TaskReasonUser>().map(|reason| reason.user_name.clone());
        let event = t::TaskEvent { info: info.clone(), ..Default::default() };
        let text = format!("Task: {}", description::label(&info.description_id));
        let draft = Draft::new(event, &text).by(&user.unwrap_or_default());
        self.post(match &info.entity {
            Some(entity) => draft.on(&entity.cast()),
            None => draft,
        });
    }

    /// A task whose work is done by others, until [`finish`](Self::finish): it runs at once, and cannot be canceled.
    pub(crate) fn open_task(
        &mut self,
        call: &Call,
        user: &str,
        description_id: &str,
        entity: Option<(MoRef<mo::ManagedEntity>, String)>,
    ) -> String {
        let id = self.queue(call, user, description_id, entity);
        if let Some(task) = self.tasks.get_mut(&id) {
            task.info.state = t::TaskInfoState::Running;
            task.info.start_time = Some(task.info.queue_time.clone());
            task.info.progress = Some(0);
            task.info.cancelable = false;
            task.tell("task begins");
        }
        id
    }

    pub(crate) fn set_progress(&mut self, id: &str, percent: i32) {
        if let Some(task) = self.tasks.get_mut(id) {
            task.info.progress = Some(percent);
        }
    }

    /// Ends a task, and lets go of the machine that it has held.
    pub(crate) fn finish(&mut self, machine: Option<&str>, id: &str, outcome: Outcome<Option<Value>>) {
        let now = self.clock.now();
        if let Some(task) = self.tasks.get_mut(id) {
            let info = &mut task.info;
            info.complete_time = Some(now.date_time());
            info.cancelable = false;
            info.progress = None;
            match outcome {
                Ok(result) => {
                    info.state = t::TaskInfoState::Success;
                    info.result = result;
                }
                Err(fault) => {
                    info.cancelled = task.canceled;
                    info.state = t::TaskInfoState::Error;
                    info.error = Some(Box::new(localized(&fault)));
                }
            }
            task.tell("task ends");
        }
        if let Some(info) = self.tasks.get(id).map(|task| task.info.clone()) {
            self.note_task(&info);
        }
        if let Some(machine) = machine {
            self.set_busy(machine, None);
        }
    }
}
