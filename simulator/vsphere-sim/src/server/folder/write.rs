//! `PUT`, `POST` and `DELETE`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{CONTENT_RANGE, EXPECT};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use tokio::io::AsyncWriteExt;

use super::place::{Entry, Place};
use super::{Outcome, Refusal, Wanted, blocking};
use crate::host_file::{self, Temporary};
use crate::in_use;
use crate::server::http::{Response, plain};
use crate::world::Shared;

/// Bytes that are taken of a file that is refused.
const MAX_DRAINED: usize = 64 << 20;

/// What becomes of a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IfThere {
    Replace,
    /// Refuse with this status.
    Refuse(StatusCode),
}

/// Writes a file whole: 201 for a new one, 200 for one that is replaced. Until all of it has arrived, everybody sees
/// what was there before. `POST` makes new files only; `Overwrite: f` lets `PUT` do the same.
pub(super) async fn put(
    shared: Arc<Shared>,
    wanted: Wanted,
    head: Parts,
    mut body: Incoming,
) -> Outcome<Response> {
    if head.headers.contains_key(CONTENT_RANGE) {
        let text = "Only whole files can be written: Content-Range is not supported.";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, text));
    }
    let keep = head.headers.get("overwrite").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"f"));
    let if_there = match head.method {
        Method::POST => IfThere::Refuse(StatusCode::CONFLICT),
        _ if keep => IfThere::Refuse(StatusCode::PRECONDITION_FAILED),
        _ => IfThere::Replace,
    };
    let to = Arc::clone(&shared);
    let begun = blocking(move || begin(&to, &wanted, if_there)).await;
    if begun.is_err() && !head.headers.contains_key(EXPECT) {
        drain(&mut body).await;
    }
    let (entry, temporary, file) = begun?;
    let mut file = tokio::fs::File::from_std(file);
    let failed = |error: io::Error| Refusal::of_io(&error, &entry.path);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Refusal::new(StatusCode::BAD_REQUEST, format!("The file did not arrive whole: {error}"))
        })?;
        if let Some(bytes) = frame.data_ref() {
            if let Err(error) = host_file::claim(&entry.host, bytes.len() as u64) {
                drain(&mut body).await;
                return Err(failed(error));
            }
            file.write_all(bytes).await.map_err(failed)?;
        }
    }
    file.flush().await.map_err(failed)?;
    blocking(move || finish(&shared, &entry, temporary, if_there)).await
}

/// Takes what a client sends that does not wait to be asked for it: it would find the connection closed, and not the
/// refusal.
async fn drain(body: &mut Incoming) {
    let mut left = MAX_DRAINED;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, |bytes| bytes.len());
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// Removes a file, or a folder with nothing in it.
pub(super) fn delete(shared: &Shared, wanted: &Wanted) -> Outcome<Response> {
    let entry = entry(shared, wanted)?;
    let failed = |error: io::Error| Refusal::of_io(&error, &entry.path);
    let metadata = fs::symlink_metadata(&entry.host).map_err(failed)?;
    if in_use::is_unwritable(shared, &entry.path) {
        return Err(Refusal::locked(&entry.path));
    }
    if metadata.is_dir() { fs::remove_dir(&entry.host) } else { fs::remove_file(&entry.host) }
        .map_err(failed)?;
    Ok(plain(StatusCode::OK, "text/plain", String::new()))
}

fn entry(shared: &Shared, wanted: &Wanted) -> Outcome<Entry> {
    wanted.prepare(shared)?;
    match shared.read(|world| wanted.find(world))? {
        Place::Entry(entry) if !entry.path.relative().is_empty() => Ok(entry),
        _ => Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "Only files on a datastore can be changed.")),
    }
}

fn begin(shared: &Shared, wanted: &Wanted, if_there: IfThere) -> Outcome<(Entry, Temporary, File)> {
    let entry = entry(shared, wanted)?;
    check(shared, &entry, if_there)?;
    let folder = entry.host.parent().unwrap_or(Path::new("/")).to_owned();
    if !folder.is_dir() {
        let text = format!("The folder {} is not there.", entry.path.parent());
        return Err(Refusal::new(StatusCode::NOT_FOUND, text));
    }
    let (temporary, file) =
        Temporary::create(&folder).map_err(|error| Refusal::of_io(&error, &entry.path))?;
    Ok((entry, temporary, file))
}

fn check(shared: &Shared, entry: &Entry, if_there: IfThere) -> Outcome<()> {
    if entry.host.is_dir() {
        return Err(Refusal::new(StatusCode::CONFLICT, format!("{} is a folder.", entry.path)));
    }
    match if_there {
        IfThere::Refuse(status) if entry.host.exists() => Err(is_there(entry, status)),
        _ if in_use::is_unwritable(shared, &entry.path) => Err(Refusal::locked(&entry.path)),
        _ => Ok(()),
    }
}

fn is_there(entry: &Entry, status: StatusCode) -> Refusal {
    Refusal::new(status, format!("{} is there already.", entry.path))
}

/// The machine may have been switched on while the file came, and another file have been put there.
fn finish(shared: &Shared, entry: &Entry, temporary: Temporary, if_there: IfThere) -> Outcome<Response> {
    check(shared, entry, if_there)?;
    let host: &PathBuf = &entry.host;
    let failed = |error: io::Error| match (error.kind(), if_there) {
        (io::ErrorKind::AlreadyExists, IfThere::Refuse(status)) => is_there(entry, status),
        _ => Refusal::of_io(&error, &entry.path),
    };
    let replaced = match if_there {
        IfThere::Replace => temporary.replace(host),
        IfThere::Refuse(_) => temporary.add(host).map(|()| false),
    };
    let status = if replaced.map_err(failed)? { StatusCode::OK } else { StatusCode::CREATED };
    Ok(plain(status, "text/plain", String::new()))
}
