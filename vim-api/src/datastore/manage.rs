//! Files and folders that the server itself makes, copies, moves and deletes: the `FileManager`.

use super::files::DatastoreFiles;
use super::path::DatastorePath;
use crate::call::{Call, Task};
use crate::client::Client;
use crate::error::Error;
use crate::mo;
use crate::moref::MoRef;

/// What becomes of a file that stands where another one is to be put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// It stays, and the call fails with the fault `FileAlreadyExists`.
    Fail,
    /// It is overwritten.
    Replace,
}

impl IfExists {
    /// The API's argument `force`.
    pub(super) fn force(self) -> Option<bool> {
        Some(self == IfExists::Replace)
    }
}

/// The server's own management of files. Disks are for [`DatastoreDisks`](super::DatastoreDisks): one is several files, of
/// which the descriptor names the others.
///
/// What these calls have in common: the server does the work, and they wait for its end. A call that is given up goes on
/// there. Source and destination are in the same datacenter; for two of them there are the calls of
/// [`mo::FileManager`].
impl DatastoreFiles {
    /// Makes a folder, and those above it that are missing.
    ///
    /// # Errors
    /// Fault `FileAlreadyExists` when something of that name is there, on a vCenter even if it is a folder; the fault
    /// `CannotCreateFile` where the server can't make it. Those of all methods here: [`Error::is_not_found`] when there is
    /// no such datacenter or file, which the text names; fault `InvalidDatastore` when the datacenter has no such datastore;
    /// fault `NoPermission` without `Datastore.FileManagement`; or that of a call that failed.
    pub async fn make_directory(&self, folder: &DatastorePath) -> Result<(), Error> {
        let doing = format!("making the folder {folder}");
        let (manager, datacenter) = self.at(&doing).await?;
        let made = manager.make_directory(&folder.to_string(), datacenter.as_ref(), Some(true)).await;
        made.map_err(|error| error.about_file(&doing))
    }

    /// Copies a file, or a folder with all that is in it, to the path `to`, whose folder must exist.
    ///
    /// # Errors
    /// Fault `FileAlreadyExists` as `if_exists` says; those of [`make_directory`](Self::make_directory).
    pub async fn copy(
        &self,
        from: &DatastorePath,
        to: &DatastorePath,
        if_exists: IfExists,
    ) -> Result<(), Error> {
        let doing = format!("copying {from} to {to}");
        let (manager, datacenter) = self.at(&doing).await?;
        let call = manager.copy_datastore_file_task(
            &from.to_string(),
            datacenter.as_ref(),
            &to.to_string(),
            datacenter.as_ref(),
            if_exists.force(),
        );
        self.client.done(&doing, call).await
    }

    /// Moves a file or folder to the path `to`, whose folder must exist: onto another datastore, too.
    ///
    /// # Errors
    /// Fault `FileAlreadyExists` as `if_exists` says; those of [`make_directory`](Self::make_directory).
    pub async fn move_to(
        &self,
        from: &DatastorePath,
        to: &DatastorePath,
        if_exists: IfExists,
    ) -> Result<(), Error> {
        let doing = format!("moving {from} to {to}");
        let (manager, datacenter) = self.at(&doing).await?;
        let call = manager.move_datastore_file_task(
            &from.to_string(),
            datacenter.as_ref(),
            &to.to_string(),
            datacenter.as_ref(),
            if_exists.force(),
        );
        self.client.done(&doing, call).await
    }

    /// Deletes a file, or a folder **with all that is in it**.
    ///
    /// # Errors
    /// [`Error::is_not_found`] when there is none; kind `InvalidInput` for the root of a datastore, which would be all that
    /// it holds; those of [`make_directory`](Self::make_directory).
    pub async fn delete(&self, path: &DatastorePath) -> Result<(), Error> {
        if path.path().is_empty() {
            return Err(Error::invalid_input(format!(
                "{path} is a whole datastore, and is not deleted: name what in it shall go"
            )));
        }
        let doing = format!("deleting {path}");
        let (manager, datacenter) = self.at(&doing).await?;
        let call = manager.delete_datastore_file_task(&path.to_string(), datacenter.as_ref());
        self.client.done(&doing, call).await
    }

    async fn at(&self, doing: &str) -> Result<(mo::FileManager, Option<MoRef<mo::Datacenter>>), Error> {
        let find = async || {
            let manager = self.client.manager("FileManager", |content| content.file_manager.as_ref())?;
            Ok((manager, self.client.datacenter_at(self.datacenter.as_deref()).await?))
        };
        find().await.map_err(|error: Error| error.about_file(doing))
    }
}

impl Client {
    /// The datacenter at an inventory path; `None` stays that. It is looked up each time: it may be another one by now.
    pub(super) async fn datacenter_at(
        &self,
        path: Option<&str>,
    ) -> Result<Option<MoRef<mo::Datacenter>>, Error> {
        let Some(path) = path else { return Ok(None) };
        let found = self.search_index()?.find_by_inventory_path(path).await?;
        match found.and_then(|object| object.downcast()) {
            Some(datacenter) => Ok(Some(datacenter)),
            None => Err(Error::not_found(format!("there is no datacenter {path:?} on {}", self.host()))),
        }
    }

    /// Sends a call and waits for the end of its task. What the task gives back is not looked at: some servers give nothing
    /// where the schema has a name.
    pub(super) async fn done<R: 'static>(&self, doing: &str, call: Call<Task<R>>) -> Result<(), Error> {
        let about = |error: Error| error.about_file(doing);
        let task = call.await.map_err(about)?;
        Task::<()>::new(self.clone(), task.moref().clone()).wait().await.map_err(about)
    }
}
