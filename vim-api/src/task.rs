//! Tasks: what a method leaves running on the server.

use std::marker::PhantomData;
use std::time::{Duration, Instant};

use futures::Stream;

use crate::client::Client;
use crate::collector::{MAX_WAIT_SECONDS, OwnCollector, is_restartable};
use crate::dynamic::{FromValue, Value};
use crate::error::Error;
use crate::mo::{self, Managed};
use crate::moref::MoRef;
use crate::types::{
    ManagedObjectNotFound, ObjectSpec, ObjectUpdateKind, PropertyFilterSpec, PropertySpec, TaskInProgress,
    TaskInfo, TaskInfoState, UpdateSet, WaitOptions,
};

/// How often a wait begins anew after its collector or connection was lost.
const MAX_RESTARTS: u32 = 5;

/// Pauses between attempts on an object that another task has.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A task that ends with an `R`. Dropping it does not stop the task.
#[derive(Debug)]
pub struct Task<R> {
    client: Client,
    moref: MoRef<mo::Task>,
    result: PhantomData<fn() -> R>,
}

/// One item of [`Task::into_stream`].
#[derive(Debug, Clone)]
pub enum TaskStep<R> {
    /// The task is queued or running: `info.progress` is in percent where the task tells it.
    Going(Box<TaskInfo>),
    /// It has ended well. Nothing follows.
    Done(R),
}

/// What a task can end with: nothing, or a value.
pub trait TaskResult: Sized {
    /// From `info.result`.
    ///
    /// # Errors
    /// Gives back a description of what was found instead.
    fn from_result(result: Option<Value>) -> Result<Self, String>;
}

impl TaskResult for () {
    fn from_result(_: Option<Value>) -> Result<Self, String> {
        Ok(())
    }
}

impl<T: FromValue> TaskResult for T {
    fn from_result(result: Option<Value>) -> Result<Self, String> {
        let value = result.ok_or("no result")?;
        T::from_value(value).map_err(|other| format!("a result of another type: {other:?}"))
    }
}

impl<R> Clone for Task<R> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), moref: self.moref.clone(), result: PhantomData }
    }
}

impl<R> Task<R> {
    /// Takes up a task by its reference, such as one that another process began.
    pub fn new(client: Client, moref: MoRef<mo::Task>) -> Self {
        Self { client, moref, result: PhantomData }
    }

    /// The reference to the task.
    pub fn moref(&self) -> &MoRef<mo::Task> {
        &self.moref
    }

    /// The task's state now.
    ///
    /// # Errors
    /// When the call fails, or the task is no longer known to the server.
    pub async fn info(&self) -> Result<TaskInfo, Error> {
        self.client.bind(&self.moref).require(mo::Task::INFO).await
    }

    /// Asks the server to stop the task. It may refuse (fault `NotSupported`), and the task ends in its own time.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn cancel(&self) -> Result<(), Error> {
        self.client.bind(&self.moref).cancel_task().await
    }
}

impl<R: TaskResult> Task<R> {
    /// Waits for the end of the task.
    ///
    /// # Errors
    /// The fault with which the task ended; [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when the
    /// task can no longer be seen; or that of a call that failed for good.
    pub async fn wait(&self) -> Result<R, Error> {
        self.wait_with(|_| ()).await
    }

    /// Waits for the end of the task, and tells each state on the way.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub async fn wait_with(&self, mut told: impl FnMut(&TaskInfo) + Send) -> Result<R, Error> {
        let mut follower = Follower::new(self.client.clone(), self.moref.clone());
        loop {
            let info = follower.next().await?;
            told(&info);
            if has_ended(&info) {
                return self.outcome(info);
            }
        }
    }

    /// The task's states as they come, and how it ended. The stream ends behind the outcome or the first error, which are
    /// those of [`wait`](Self::wait). It survives the loss of its session; a state may then be told twice.
    pub fn into_stream(self) -> impl Stream<Item = Result<TaskStep<R>, Error>> + Send
    where
        R: Send,
    {
        let follower = Follower::new(self.client.clone(), self.moref.clone());
        futures::stream::unfold(Some((self, follower)), |state| async move {
            let (task, mut follower) = state?;
            match follower.next().await {
                Ok(info) if has_ended(&info) => Some((task.outcome(info).map(TaskStep::Done), None)),
                Ok(info) => Some((Ok(TaskStep::Going(Box::new(info))), Some((task, follower)))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    fn outcome(&self, info: TaskInfo) -> Result<R, Error> {
        let name = info.description_id.clone();
        if info.state == TaskInfoState::Error {
            let context = format!("the task {} ({name})", self.moref);
            return Err(match info.error {
                Some(error) => Error::from_task(context, *error),
                None => Error::broken_protocol(format!("{context} failed without saying why")),
            });
        }
        R::from_result(info.result).map_err(|found| {
            Error::broken_protocol(format!("the task {} ({name}) ended with {found}", self.moref))
        })
    }
}

fn has_ended(info: &TaskInfo) -> bool {
    matches!(info.state, TaskInfoState::Success | TaskInfoState::Error)
}

/// Follows a task with a collector of its own.
struct Follower {
    client: Client,
    moref: MoRef<mo::Task>,
    watch: Option<Watch>,
}

struct Watch {
    collector: OwnCollector,
    version: String,
}

impl Follower {
    fn new(client: Client, moref: MoRef<mo::Task>) -> Self {
        Self { client, moref, watch: None }
    }

    /// The task's next state, the present one first. Begins anew when collector, session or connection are lost.
    async fn next(&mut self) -> Result<TaskInfo, Error> {
        let mut restarts = 0;
        loop {
            match self.advance().await {
                Ok(Some(info)) => return Ok(info),
                Ok(None) => restarts = 0,
                // Some servers take the filter and miss the task only now.
                Err(error)
                    if error.fault::<ManagedObjectNotFound>().is_some_and(|it| it.obj == self.moref) =>
                {
                    return Err(vanished(&self.moref, Some(error)));
                }
                Err(error) if restarts < MAX_RESTARTS && is_restartable(&error) => {
                    self.watch = None;
                    tracing::debug!(task = %self.moref, %error, restarts, "waiting anew");
                    tokio::time::sleep(Duration::from_millis(50 << restarts)).await;
                    restarts += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn advance(&mut self) -> Result<Option<TaskInfo>, Error> {
        let watch = match &mut self.watch {
            Some(watch) => watch,
            none => {
                let collector = watch_task(&self.client, &self.moref).await?;
                none.insert(Watch { collector, version: String::new() })
            }
        };
        let options = WaitOptions { max_wait_seconds: Some(MAX_WAIT_SECONDS), ..WaitOptions::default() };
        let update = watch.collector.get().wait_for_updates_ex(Some(&watch.version), Some(&options)).await?;
        let Some(update) = update else { return Ok(None) };
        watch.version.clone_from(&update.version);
        newest(&self.moref, update)
    }
}

async fn watch_task(client: &Client, task: &MoRef<mo::Task>) -> Result<OwnCollector, Error> {
    let collector = OwnCollector::new(client).await?;
    let filter = PropertyFilterSpec {
        prop_set: vec![PropertySpec {
            r#type: "Task".into(),
            path_set: vec!["info".into()],
            ..PropertySpec::default()
        }],
        object_set: vec![ObjectSpec { obj: task.cast(), ..ObjectSpec::default() }],
        ..PropertyFilterSpec::default()
    };
    match collector.get().create_filter(&filter, false).await {
        Ok(_) => Ok(collector),
        // Not the collector, which is new, so it is the task.
        Err(error) if error.is_not_found() => Err(vanished(task, Some(error))),
        Err(error) => Err(error),
    }
}

fn newest(task: &MoRef<mo::Task>, update: UpdateSet) -> Result<Option<TaskInfo>, Error> {
    let mut newest = None;
    for object in update.filter_set.into_iter().flat_map(|filter| filter.object_set) {
        if object.kind == ObjectUpdateKind::Leave {
            return Err(vanished(task, None));
        }
        for change in object.change_set {
            if let Some(value) = change.val {
                let info = TaskInfo::from_value(value)
                    .map_err(|other| Error::wrong_type(&task.cast(), "info", &format!("{other:?}")))?;
                newest = Some(info);
            }
        }
    }
    Ok(newest)
}

fn vanished(task: &MoRef<mo::Task>, source: Option<Error>) -> Error {
    let context = format!("the task {task} is no longer known to the server: look at the object's state");
    Error::outcome_unknown(context, source)
}

impl Client {
    /// Repeats `attempt` as long as it fails because another task has the object (fault `TaskInProgress`), and waits for
    /// that task in between. vSphere refuses a second task on one machine instead of queueing it.
    ///
    /// ```no_run
    /// # async fn example(vc: vim_api::Client, vm: vim_api::mo::VirtualMachine) -> Result<(), vim_api::Error> {
    /// let patience = std::time::Duration::from_secs(600);
    /// vc.when_free(patience, || async { vm.power_off_vm_task().await?.wait().await }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// That of the last attempt: another one than `TaskInProgress`, or that one when the object was not free in
    /// `patience`. An attempt that is under way by then is not cut off.
    pub async fn when_free<T, F>(&self, patience: Duration, attempt: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match attempt().await {
                Err(error) if error.find_fault::<TaskInProgress>().is_some() => error,
                result => return result,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(error.with_advice("it was waited for, and is still not free"));
            }
            if let Some(busy) = error.find_fault::<TaskInProgress>() {
                let other = Task::<()>::new(self.clone(), busy.task.clone());
                // How the other one ends is no matter of ours; when it can't be followed, the pause has to do.
                let _ = tokio::time::timeout(left, other.wait()).await;
            }
            // The object may be free a moment later than its task says.
            tokio::time::sleep(pause.min(deadline.saturating_duration_since(Instant::now()))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}
