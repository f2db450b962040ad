//! What lies on a datastore.

use super::path::DatastorePath;
use crate::client::Client;
use crate::dynamic::{DateTime, Poly};
use crate::error::Error;
use crate::mo;
use crate::moref::MoRef;
use crate::types::{
    FileInfo, FileQuery, FileQueryFlags, FolderFileInfo, FolderFileQuery, HostDatastoreBrowserSearchResults,
    HostDatastoreBrowserSearchSpec,
};

/// A file or folder that a search found.
#[derive(Debug, Clone)]
pub struct DatastoreEntry {
    /// Where it is.
    pub path: DatastorePath,
    /// Size in bytes, as far as the server tells it. For a virtual disk that of all its parts.
    pub size: Option<u64>,
    /// Time of the last change by the server's clock, as far as the server tells it.
    pub modified: Option<DateTime>,
    /// What the server took it for: a plain `FileInfo`, or one of the types that extend it, such as `VmDiskFileInfo`.
    pub info: Poly<FileInfo>,
}

impl DatastoreEntry {
    /// Whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.info.downcast_ref::<FolderFileInfo>().is_some()
    }
}

impl Client {
    /// All that lies in `folder` and below it and fits one of `patterns` (`*` and `?` in a name; all if there are none),
    /// by the browser of a datastore (`Datastore::BROWSER`), host or machine. Names only are matched, folders too.
    ///
    /// The server answers in one piece, which is held in memory: give a folder, not a datastore's root, where it can be
    /// large. The account wants the privilege `Datastore.Browse`.
    ///
    /// # Errors
    /// Those of a task. [`Error::is_not_found`]: there is no such folder. Fault `InvalidDatastore`: the browser does not know the
    /// datastore. Kind `Protocol`: an answer that names no file.
    pub async fn browse(
        &self,
        browser: &MoRef<mo::HostDatastoreBrowser>,
        folder: &DatastorePath,
        patterns: &[&str],
    ) -> Result<Vec<DatastoreEntry>, Error> {
        let spec = HostDatastoreBrowserSearchSpec {
            // Without a query of its type a folder is no more than a file; the plain query matches all the rest.
            query: vec![Poly::new(FolderFileQuery::default()), Poly::new(FileQuery::default())],
            details: Some(Box::new(FileQueryFlags {
                file_type: true,
                file_size: true,
                modification: true,
                ..FileQueryFlags::default()
            })),
            match_pattern: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
            ..HostDatastoreBrowserSearchSpec::default()
        };
        let browser = self.bind(browser);
        let about = |error: Error| error.about_file(&format!("looking through {folder}"));
        let call = browser.search_datastore_sub_folders_task(&folder.to_string(), Some(&spec));
        let task = call.await.map_err(about)?;
        let mut entries = Vec::new();
        for found in task.wait().await.map_err(about)? {
            add(folder, found, &mut entries)?;
        }
        Ok(entries)
    }
}

fn add(
    searched: &DatastorePath,
    found: HostDatastoreBrowserSearchResults,
    entries: &mut Vec<DatastoreEntry>,
) -> Result<(), Error> {
    let named = found.folder_path.unwrap_or_default();
    // A search stays in its datastore, of which the name is known. Servers differ in what they write behind it: a blank
    // is usual, vcsim writes a slash.
    let below = named.strip_prefix(&format!("[{}]", searched.datastore()));
    let folder = below.and_then(|below| {
        DatastorePath::new(searched.datastore(), below.strip_prefix(' ').unwrap_or(below).trim_matches('/'))
            .ok()
    });
    for info in found.file {
        let path = folder.as_ref().and_then(|folder| folder.join(&info.path).ok()).ok_or_else(|| {
            Error::broken_protocol(format!(
                "a search in {searched} found {:?} in {named:?}, which is no file there",
                info.path
            ))
        })?;
        entries.push(DatastoreEntry {
            path,
            size: info.file_size.and_then(|size| u64::try_from(size).ok()),
            modified: info.modification.clone(),
            info,
        });
    }
    Ok(())
}
