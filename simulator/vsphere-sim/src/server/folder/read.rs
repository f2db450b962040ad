//! `GET` and `HEAD`.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    IF_RANGE, LAST_MODIFIED, RANGE,
};
use hyper::{Method, StatusCode};
use vim_api::MoRef;

use super::place::{Entry, Place};
use super::range::Part;
use super::{Outcome, Refusal, Wanted, date, listing};
use crate::host_file;
use crate::in_use;
use crate::population;
use crate::server::http::Response;
use crate::world::{Shared, World};

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// What holes are made of: nothing is read for them.
static ZEROS: [u8; PIECE] = [0; PIECE];

/// Answers a file, of which the body is read while it is sent, or the list of a folder; of datacenters and datastores those
/// that the user sees. Hyper leaves the body of an
/// answer to `HEAD` away, and its headers as they are.
pub(super) fn answer(
    shared: &Shared,
    user: &str,
    wanted: &Wanted,
    method: &Method,
    headers: &HeaderMap,
) -> Outcome<Response> {
    wanted.prepare(shared)?;
    let seen = |all: Vec<(String, MoRef)>| {
        let seen = |world: &World| {
            let rights = world.rights(user);
            let seen = all.into_iter().filter(|(_, object)| rights.sees(object));
            seen.map(|(name, _)| name).collect::<Vec<_>>()
        };
        shared.read(seen)
    };
    let entry = match shared.read(|world| wanted.find(world))? {
        Place::Datacenters(all) => return Ok(listing::datacenters(&seen(all))),
        Place::Datastores { datacenter, stores } => {
            return Ok(listing::datastores(&datacenter, &seen(stores)));
        }
        Place::Entry(entry) => entry,
    };
    let failed = |error: &io::Error| Refusal::of_io(error, &entry.path);
    // Opening a pipe would wait for whoever writes into it.
    let metadata = std::fs::metadata(&entry.host).map_err(|error| failed(&error))?;
    if metadata.is_dir() {
        return listing::folder(&entry, population::unmade_folders(shared, &entry.path));
    }
    if !metadata.is_file() {
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("{} is no file.", entry.path)));
    }
    if in_use::is_unreadable(shared, &entry.path) {
        return Err(Refusal::locked(&entry.path));
    }
    let file = File::open(&entry.host).map_err(|error| failed(&error))?;
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    part(&entry, file, &metadata, method, headers)
}

fn part(
    entry: &Entry,
    file: File,
    metadata: &Metadata,
    method: &Method,
    headers: &HeaderMap,
) -> Outcome<Response> {
    let length = metadata.len();
    let tag = tag(metadata);
    let modified = metadata.modified().map(date::http_date).map_err(|e| Refusal::of_io(&e, &entry.path))?;
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let is_the_same = text(IF_RANGE).is_none_or(|known| known == tag || known == modified);
    let range = text(RANGE).filter(|_| *method == Method::GET && is_the_same);
    let (status, bytes, content_range) = match Part::of(range, length) {
        Part::Whole => (StatusCode::OK, 0..length, None),
        Part::Bytes(bytes) => {
            let of_all = format!("bytes {}-{}/{length}", bytes.start, bytes.end - 1);
            (StatusCode::PARTIAL_CONTENT, bytes, Some(of_all))
        }
        Part::Beyond => {
            let refusal = Refusal::new(
                StatusCode::RANGE_NOT_SATISFIABLE,
                format!("{} has only {length} bytes.", entry.path),
            );
            let mut response = refusal.response();
            set(response.headers_mut(), CONTENT_RANGE, &format!("bytes */{length}"));
            return Ok(response);
        }
    };
    let mut response = Response::new(body(file, bytes.clone()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, (bytes.end - bytes.start).into());
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    set(headers, ETAG, &tag);
    set(headers, LAST_MODIFIED, &modified);
    if let Some(of_all) = content_range {
        set(headers, CONTENT_RANGE, &of_all);
    }
    Ok(response)
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}

/// Changes with every write, as far as the host's clock tells writes apart.
fn tag(metadata: &Metadata) -> String {
    let changed = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    let nanos = changed.unwrap_or_default().as_nanos();
    format!("\"{:x}-{:x}-{nanos:x}\"", metadata.ino(), metadata.len())
}

/// The bytes of a file, read as they are wanted.
fn body(file: File, bytes: Range<u64>) -> BoxBody<Bytes, io::Error> {
    let pieces = stream::try_unfold((Arc::new(file), bytes), |(file, bytes)| async move {
        if bytes.is_empty() {
            return Ok(None);
        }
        let (reader, rest) = (Arc::clone(&file), bytes.clone());
        let read = tokio::task::spawn_blocking(move || piece(&reader, rest)).await;
        let piece = read.map_err(io::Error::other)??;
        let next = bytes.start + piece.len() as u64..bytes.end;
        Ok(Some((Frame::data(piece), (file, next))))
    });
    StreamBody::new(pieces).boxed()
}

/// The first bytes of a range, at least one.
fn piece(file: &File, bytes: Range<u64>) -> io::Result<Bytes> {
    let (end, is_data) = host_file::run(file, bytes.clone())?;
    let count = usize::try_from(end - bytes.start).unwrap_or(PIECE).min(PIECE);
    if !is_data {
        return Ok(Bytes::from_static(&ZEROS[..count]));
    }
    let mut buffer = vec![0; count];
    file.read_exact_at(&mut buffer, bytes.start)?;
    Ok(buffer.into())
}
