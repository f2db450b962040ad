//! Live objects: a stream of what changes, over `WaitForUpdatesEx`.
//!
//! [`Updates`] holds a replica of the objects that it watches, and tells what enters, changes and leaves. It lives longer
//! than its session: when the session, the collector or the connection is lost, it reads everything anew and tells the
//! difference, so nothing that happened meanwhile is lost, and nothing is told twice.
//!
//! ```no_run
//! # async fn example(vc: vim_api::Client) -> Result<(), vim_api::Error> {
//! use vim_api::{Change, mo};
//!
//! let root = vc.content().root_folder.cast();
//! let mut machines = vc.updates::<mo::VirtualMachine>(&root, &["name", "runtime.powerState"]);
//! loop {
//!     for change in machines.next().await?.changes {
//!         match change {
//!             Change::Enter(vm) => println!("+ {:?}", machines.get(&vm)),
//!             Change::Modify { object, paths } => println!("~ {object}: {paths:?}"),
//!             Change::Leave(vm) => println!("- {vm}"),
//!         }
//!     }
//! }
//! # }
//! ```

mod replica;
mod watch;

use std::time::Duration;

use futures::Stream;

use crate::client::Client;
use crate::collector::is_restartable;
use crate::error::{Error, ErrorKind};
use crate::mo::{Managed, ManagedObject};
use crate::moref::MoRef;
use crate::property::Properties;

use replica::Replica;
use watch::{Source, Watch};

/// How often in a row one [`Updates::next`] begins anew after something was lost.
const MAX_RESTARTS: u32 = 5;

/// Objects in one answer, as long as the whole state is being read.
const DEFAULT_PAGE: i32 = 500;

/// What happened to one object.
#[derive(Debug)]
pub enum Change<M = ManagedObject> {
    /// It is watched from now on: it was made, moved here, or was there from the start.
    Enter(MoRef<M>),
    /// Some of its properties have other values now.
    Modify {
        /// The object.
        object: MoRef<M>,
        /// The watched paths whose values changed, sorted.
        paths: Vec<String>,
    },
    /// It is gone, or no longer below the root.
    Leave(MoRef<M>),
}

// Not derived: that would ask `M` for the same, and a handle has no equality.
impl<M> Clone for Change<M> {
    fn clone(&self) -> Self {
        match self {
            Self::Enter(object) => Self::Enter(object.clone()),
            Self::Modify { object, paths } => Self::Modify { object: object.clone(), paths: paths.clone() },
            Self::Leave(object) => Self::Leave(object.clone()),
        }
    }
}

impl<M> PartialEq for Change<M> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Enter(one), Self::Enter(two)) | (Self::Leave(one), Self::Leave(two)) => one == two,
            (Self::Modify { object, paths }, Self::Modify { object: other, paths: others }) => {
                object == other && paths == others
            }
            _ => false,
        }
    }
}

impl<M> Eq for Change<M> {}

/// What one call of [`Updates::next`] found.
#[derive(Debug)]
pub struct Changes<M = ManagedObject> {
    /// What happened, in the server's order. All of it is in the replica already, so an object that entered may have left
    /// again by a later change of the same list.
    pub changes: Vec<Change<M>>,
    /// Whether the replica is whole: `false` only while the first state is still coming in parts.
    pub in_sync: bool,
    /// Whether this is the difference after something was lost and everything was read anew.
    pub resynced: bool,
}

/// The watched objects as they are, and what becomes of them.
///
/// It uses a PropertyCollector of its own, so several of them may be used side by side. Dropping it gives the collector
/// back; dropping the future of [`next`](Self::next) is prompt, loses nothing, and the next call goes on.
#[derive(Debug)]
pub struct Updates<M: Managed> {
    client: Client,
    source: Source<M>,
    paths: Vec<String>,
    page: i32,
    watch: Option<Watch>,
    replica: Replica<M>,
}

impl Client {
    /// Watches every object of type `M` below `root`: a folder, a datacenter, a host or the like. Objects that appear later
    /// are included. Nothing is sent before the first [`Updates::next`].
    ///
    /// `paths` are property paths of `M`; with none, only coming and going is told.
    pub fn updates<M: Managed>(&self, root: &MoRef, paths: &[&str]) -> Updates<M> {
        Updates::new(self, Source::Below { root: root.clone(), and_root: false }, paths)
    }

    /// Watches these objects. One that does not exist leaves, if it was known, or is not told at all.
    pub fn updates_of<M: Managed>(&self, objects: &[MoRef<M>], paths: &[&str]) -> Updates<M> {
        Updates::new(self, Source::These(objects.to_vec()), paths)
    }
}

impl<M: Managed> Updates<M> {
    fn new(client: &Client, source: Source<M>, paths: &[&str]) -> Self {
        Self {
            client: client.clone(),
            source,
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            page: DEFAULT_PAGE,
            watch: None,
            replica: Replica::new(paths),
        }
    }

    pub(crate) fn with_root(client: &Client, root: &MoRef, paths: &[&str]) -> Self {
        Self::new(client, Source::Below { root: root.clone(), and_root: true }, paths)
    }

    /// Most objects in one answer of the server, at least 1; 500 unless told. It bounds the memory of one answer.
    #[must_use]
    pub fn page(mut self, objects: u16) -> Self {
        self.page = i32::from(objects.max(1));
        self
    }

    /// Waits for something to happen, as long as it takes.
    ///
    /// The first calls bring what is there now, in parts ([`Changes::in_sync`]). The server forgets a change only when the
    /// call after the one that told it asks for more: what a dropped future had not given out comes again.
    ///
    /// # Errors
    /// When a call fails for good: a path is no property of `M` (fault `InvalidProperty`), the login is refused, or the
    /// server could not be reached after several attempts. The replica stays as it was; calling again goes on.
    pub async fn next(&mut self) -> Result<Changes<M>, Error> {
        let mut restarts = 0;
        loop {
            match self.advance().await {
                Ok(Some(changes)) => return Ok(changes),
                Ok(None) => restarts = 0,
                Err(error) if restarts < MAX_RESTARTS && is_restartable(&error) => {
                    // After a broken connection the collector still has what was not acknowledged.
                    if error.kind() != ErrorKind::Interrupted || restarts > 0 {
                        self.watch = None;
                        self.replica.begin_again();
                    }
                    tracing::debug!(%error, restarts, "watching anew");
                    tokio::time::sleep(Duration::from_millis(50 << restarts)).await;
                    restarts += 1;
                }
                Err(error) => {
                    self.watch = None;
                    self.replica.begin_again();
                    return Err(error);
                }
            }
        }
    }

    /// As an endless stream of what [`next`](Self::next) gives. It ends behind the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Changes<M>, Error>> + Send {
        futures::stream::unfold(Some(self), |updates| async move {
            let mut updates = updates?;
            let next = updates.next().await;
            let rest = next.is_ok().then_some(updates);
            Some((next, rest))
        })
    }

    /// What is known of an object. `None` when it is not watched (any more).
    pub fn get(&self, object: &MoRef<M>) -> Option<&Properties<M>> {
        self.replica.get(object)
    }

    /// All objects that are known, in no order.
    pub fn objects(&self) -> impl Iterator<Item = &Properties<M>> {
        self.replica.objects()
    }

    /// Whether the first state has come in completely.
    pub fn is_in_sync(&self) -> bool {
        self.replica.is_in_sync()
    }

    /// One call of the server. `None` when nothing happened in its time.
    async fn advance(&mut self) -> Result<Option<Changes<M>>, Error> {
        let watch = match &mut self.watch {
            Some(watch) => watch,
            none => none.insert(Watch::start(&self.client, &self.source, &self.paths).await?),
        };
        let set = watch.wait(self.replica.is_settled(), self.page).await?;
        // From here on nothing waits, so the version and the replica go on together or not at all.
        let truncated = set.as_ref().is_some_and(|set| set.truncated == Some(true));
        if set.is_none() && self.replica.is_settled() {
            return Ok(None);
        }
        let mut changes = Vec::new();
        let mut fits = true;
        if let Some(set) = set {
            watch.version.clone_from(&set.version);
            for filter in set.filter_set {
                for update in filter.object_set {
                    fits &= self.replica.apply(update, &mut changes);
                }
                for missing in filter.missing_set {
                    self.replica.leave(&missing.obj.cast(), &mut changes);
                }
            }
        }
        let settled = self.replica.is_settled();
        let resynced = !truncated && self.replica.settle(&mut changes);
        if !fits {
            self.watch = None;
            self.replica.begin_again();
        }
        let told = !changes.is_empty() || resynced || (!settled && self.replica.is_settled());
        Ok(told.then(|| Changes { changes, in_sync: self.replica.is_in_sync(), resynced }))
    }
}
