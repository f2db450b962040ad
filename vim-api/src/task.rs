//! Tasks: what a method leaves running on the server.

use std::marker::PhantomData;

use crate::client::Client;
use crate::dynamic::{FromValue, Value};
use crate::error::Error;
use crate::mo::{self, Managed};
use crate::moref::MoRef;
use crate::types::{
    InvalidCollectorVersion, ObjectSpec, ObjectUpdateKind, PropertyFilterSpec, PropertySpec, TaskInfo,
    TaskInfoState, UpdateSet, WaitOptions,
};

/// How long the server holds back one answer when nothing happens. Kept well under the idle limits of proxies.
const MAX_WAIT_SECONDS: i32 = 20;

/// How often a wait begins anew after its collector or connection was lost.
const MAX_RESTARTS: u32 = 5;

/// A task that ends with an `R`. Dropping it does not stop the task.
#[derive(Debug)]
pub struct Task<R> {
    client: Client,
    moref: MoRef<mo::Task>,
    result: PhantomData<fn() -> R>,
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
        let mut restarts = 0;
        loop {
            match self.follow(&mut told).await {
                Ok(info) => return self.outcome(info),
                Err(error) if restarts < MAX_RESTARTS && is_restartable(&error) => {
                    restarts += 1;
                    tracing::debug!(task = %self.moref, %error, restarts, "waiting anew");
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Follows the task with a collector of its own until it has ended.
    async fn follow(&self, told: &mut (impl FnMut(&TaskInfo) + Send)) -> Result<TaskInfo, Error> {
        let collector = OwnCollector::new(&self.client).await?;
        let filter = PropertyFilterSpec {
            prop_set: vec![PropertySpec {
                r#type: "Task".into(),
                path_set: vec!["info".into()],
                ..PropertySpec::default()
            }],
            object_set: vec![ObjectSpec { obj: self.moref.cast(), ..ObjectSpec::default() }],
            ..PropertyFilterSpec::default()
        };
        if let Err(error) = collector.get().create_filter(&filter, false).await {
            return Err(if error.is_not_found() { self.vanished(Some(error)) } else { error });
        }
        let mut version = String::new();
        loop {
            let options = WaitOptions { max_wait_seconds: Some(MAX_WAIT_SECONDS), ..WaitOptions::default() };
            let update = collector.get().wait_for_updates_ex(Some(&version), Some(&options)).await?;
            let Some(update) = update else { continue };
            version.clone_from(&update.version);
            if let Some(info) = self.newest(update)? {
                told(&info);
                if matches!(info.state, TaskInfoState::Success | TaskInfoState::Error) {
                    return Ok(info);
                }
            }
        }
    }

    fn newest(&self, update: UpdateSet) -> Result<Option<TaskInfo>, Error> {
        let mut newest = None;
        for object in update.filter_set.into_iter().flat_map(|filter| filter.object_set) {
            if object.kind == ObjectUpdateKind::Leave {
                return Err(self.vanished(None));
            }
            for change in object.change_set {
                if let Some(value) = change.val {
                    let info = TaskInfo::from_value(value).map_err(|other| {
                        Error::wrong_type(&self.moref.cast(), "info", &format!("{other:?}"))
                    })?;
                    newest = Some(info);
                }
            }
        }
        Ok(newest)
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

    fn vanished(&self, source: Option<Error>) -> Error {
        let context =
            format!("the task {} is no longer known to the server: look at the object's state", self.moref);
        Error::outcome_unknown(context, source)
    }
}

/// Lost with the session or the connection, and worth a new collector.
fn is_restartable(error: &Error) -> bool {
    error.fault::<InvalidCollectorVersion>().is_some()
        || error.is_session_lost()
        || (error.is_not_found() && error.kind() != crate::ErrorKind::OutcomeUnknown)
        || error.kind() == crate::ErrorKind::Interrupted
}

/// A PropertyCollector of one waiter's own: two that wait on the same one would take each other's updates.
struct OwnCollector(Option<mo::PropertyCollector>);

impl OwnCollector {
    async fn new(client: &Client) -> Result<Self, Error> {
        let moref = client.property_collector().create_property_collector().await?;
        Ok(Self(Some(client.bind(&moref))))
    }

    fn get(&self) -> &mo::PropertyCollector {
        match &self.0 {
            Some(collector) => collector,
            None => unreachable!("only drop takes it"),
        }
    }
}

impl Drop for OwnCollector {
    /// Destroys it in the background. If that fails, it goes with the session.
    fn drop(&mut self) {
        let Some(collector) = self.0.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = collector.destroy_property_collector().await {
                tracing::debug!(%error, "a collector was not destroyed");
            }
        });
    }
}
