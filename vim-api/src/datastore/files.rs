//! The server's `/folder` service: files of datastores over HTTPS.

use std::ops::Range;

use http::header::{CONTENT_LENGTH, LAST_MODIFIED};
use http::{HeaderMap, Method};

use super::download::Download;
use super::path::DatastorePath;
use crate::client::Client;
use crate::error::Error;
use crate::transport::Upload;

/// Files on the datastores of one datacenter: read and written over HTTPS within the client's session, and made, copied,
/// moved and deleted by the server.
///
/// It takes the privileges `Datastore.Browse` and `Datastore.FileManagement`. What a running machine has locked cannot be
/// read.
#[derive(Debug, Clone)]
pub struct DatastoreFiles {
    pub(super) client: Client,
    pub(super) datacenter: Option<String>,
}

/// What the server tells of a file without sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStatus {
    /// Length in bytes, where the server gives one.
    pub size: Option<u64>,
    /// When it was last changed, as an HTTP date such as `Thu, 26 Nov 2026 13:00:00 GMT`.
    pub modified: Option<String>,
}

impl Client {
    /// Files on the datastores of a datacenter, given by its inventory path such as `DC0` or `Europe/DC0`. A host alone
    /// has one datacenter only, and ignores the name.
    pub fn datastore_files(&self, datacenter: &str) -> DatastoreFiles {
        DatastoreFiles { client: self.clone(), datacenter: self.datacenter_path(datacenter) }
    }

    pub(super) fn datacenter_path(&self, datacenter: &str) -> Option<String> {
        self.is_vcenter().then(|| datacenter.trim_matches('/').to_owned())
    }
}

impl DatastoreFiles {
    /// Size and date of a file.
    ///
    /// # Errors
    /// [`Error::is_not_found`] when there is none; [`Error::is_session_lost`] when there is no session; kind `File` when
    /// the server refuses.
    pub async fn status(&self, file: &DatastorePath) -> Result<FileStatus, Error> {
        let context = format!("looking at {file}");
        let mut answer = self.client.open(Method::HEAD, &self.url(file), &HeaderMap::new(), &context).await?;
        // There is no body, but reading its end gives the connection back.
        answer.next().await.map_err(|e| Error::transport(&context, e))?;
        accept(answer.status, &[200], &context)?;
        let text = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
        Ok(FileStatus {
            size: text(CONTENT_LENGTH).and_then(|size| size.parse().ok()),
            modified: text(LAST_MODIFIED).map(str::to_owned),
        })
    }

    /// Begins to read a file.
    ///
    /// # Errors
    /// As for [`status`](Self::status).
    pub async fn download(&self, file: &DatastorePath) -> Result<Download, Error> {
        Download::begin(self.client.clone(), file, self.url(file), None).await
    }

    /// Begins to read the bytes `range` of a file, counted from 0, the end excluded.
    ///
    /// # Errors
    /// As for [`status`](Self::status); kind `InvalidInput` when the range is empty or reaches beyond the end.
    pub async fn download_range(&self, file: &DatastorePath, range: Range<u64>) -> Result<Download, Error> {
        Download::begin(self.client.clone(), file, self.url(file), Some(range)).await
    }

    /// Writes a file; one of that name is replaced. Its folder must exist.
    ///
    /// A failed upload may leave part of the file behind: delete it, or upload again.
    ///
    /// # Errors
    /// [`Error::is_session_lost`] when there is no session: log in and upload again; kind `InvalidInput` when the stream
    /// fails or is not as long as announced; kind `File` when the server refuses, such as for a full datastore.
    pub async fn upload(&self, file: &DatastorePath, content: Upload) -> Result<(), Error> {
        let context = format!("writing {file}");
        let response = self.client.upload(Method::PUT, &self.url(file), content, &context).await?;
        accept(response.status, &[200, 201, 204], &context)
    }

    fn url(&self, file: &DatastorePath) -> String {
        file.url_path(self.datacenter.as_deref())
    }
}

/// What a status other than the expected ones means.
pub(super) fn accept(status: u16, expected: &[u16], context: &str) -> Result<(), Error> {
    if expected.contains(&status) {
        return Ok(());
    }
    let says = format!("{context}: the server answered HTTP {status}");
    Err(match status {
        401 => Error::session_lost(says),
        403 => Error::file(says)
            .with_advice("the account lacks Datastore.Browse or Datastore.FileManagement there"),
        404 => Error::not_found(says).with_advice("check datacenter, datastore and path"),
        416 => Error::invalid_input(says).with_advice("the range is not within the file"),
        429 | 502..=504 => Error::unavailable(says),
        507 => Error::file(says).with_advice("the datastore is full"),
        500 => Error::file(says)
            .with_advice("the file may be locked by a running machine, or its folder be missing"),
        _ => Error::file(says),
    })
}
