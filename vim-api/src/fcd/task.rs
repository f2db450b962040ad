use std::marker::PhantomData;
use std::time::Duration;

use crate::call::Returned;
use crate::client::Client;
use crate::error::Error;
use crate::mo::{self, Managed};
use crate::moref::MoRef;
use crate::task::TaskResult;
use crate::types::{VslmTaskInfo, VslmTaskInfoState};
use crate::xml::{Reader, XmlError};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A task of the service of first-class disks that ends with an `R`. Dropping it does not stop the task.
///
/// It is no [`Task`](crate::Task) of the API: no PropertyCollector tells of it, so it is asked for its state, first often and
/// then every three seconds.
#[derive(Debug)]
pub struct DiskTask<R> {
    task: mo::VslmTask,
    result: PhantomData<fn() -> R>,
}

impl<R> Clone for DiskTask<R> {
    fn clone(&self) -> Self {
        Self { task: self.task.clone(), result: PhantomData }
    }
}

impl<R> DiskTask<R> {
    /// Takes up a task by its reference, such as one that another process began.
    pub fn new(client: &Client, moref: &MoRef<mo::VslmTask>) -> Self {
        Self { task: client.bind(moref), result: PhantomData }
    }

    /// The reference to the task.
    pub fn moref(&self) -> MoRef<mo::VslmTask> {
        self.task.moref()
    }

    /// The task's state now.
    ///
    /// # Errors
    /// When the call fails, or the task is no longer known to the server.
    pub async fn info(&self) -> Result<VslmTaskInfo, Error> {
        self.task.vslm_query_info().await
    }

    /// Asks the server to stop the task. It may refuse (fault `NotSupported`), and the task ends in its own time.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn cancel(&self) -> Result<(), Error> {
        self.task.vslm_cancel_task().await
    }
}

impl<R: TaskResult> DiskTask<R> {
    /// Waits for the end of the task.
    ///
    /// # Errors
    /// The fault with which the task ended; [`ErrorKind::OutcomeUnknown`](crate::ErrorKind::OutcomeUnknown) when the server
    /// no longer knows the task; or that of a call that failed for good.
    pub async fn wait(&self) -> Result<R, Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            let info = self.info().await.map_err(|error| self.vanished(error))?;
            match info.state {
                VslmTaskInfoState::Success => return self.outcome(info).await,
                VslmTaskInfoState::Error => {
                    let context = format!("the task {} ({})", self.moref(), info.description_id);
                    return Err(match info.error {
                        Some(error) => Error::from_task(context, *error),
                        None => Error::broken_protocol(format!("{context} failed without saying why")),
                    });
                }
                _ => tokio::time::sleep(pause).await,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn outcome(&self, info: VslmTaskInfo) -> Result<R, Error> {
        let result = match info.result {
            None => self.task.vslm_query_task_result().await.map_err(|error| self.vanished(error))?,
            told => told,
        };
        R::from_result(result).map_err(|found| {
            Error::broken_protocol(format!(
                "the task {} ({}) ended with {found}",
                self.moref(),
                info.description_id
            ))
        })
    }

    fn vanished(&self, error: Error) -> Error {
        if !error.is_not_found() {
            return error;
        }
        let context =
            format!("the task {} is no longer known to the server: look at the disk's state", self.moref());
        Error::outcome_unknown(context, Some(error))
    }
}

impl<R: 'static> Returned for DiskTask<R> {
    fn read(reader: &mut Reader<'_>, client: &Client) -> Result<Self, XmlError> {
        MoRef::read(reader, client).map(|moref| Self::new(client, &moref))
    }
}
