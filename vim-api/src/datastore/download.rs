//! Reading a file, through connections that break.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::files::accept;
use super::path::DatastorePath;
use crate::client::Client;
use crate::error::Error;
use crate::transport::Answer;

/// How often in a row a connection may break without a byte having come.
const MAX_FAILURES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// A file that is being read. When the connection breaks, reading goes on where it stopped, if the server can tell that
/// the file is still the same one.
///
/// It holds one of the client's connections until it has ended or is dropped.
#[derive(Debug)]
pub struct Download {
    client: Client,
    url: String,
    context: String,
    answer: Option<Answer>,
    position: u64,
    /// Where reading ends; `None` when the server did not say how long the file is.
    end: Option<u64>,
    version: Version,
    failures: u32,
}

/// By what a file is known to be the same. A size alone is not enough: disks are changed in place.
#[derive(Debug)]
struct Version {
    size: Option<u64>,
    etag: Option<HeaderValue>,
    modified: Option<HeaderValue>,
}

impl Download {
    pub(super) async fn begin(
        client: Client,
        file: &DatastorePath,
        url: String,
        range: Option<Range<u64>>,
    ) -> Result<Self, Error> {
        let context = format!("reading {file}");
        let mut headers = HeaderMap::new();
        if let Some(range) = &range {
            if range.is_empty() {
                return Err(Error::invalid_input(format!("{context}: the range {range:?} is empty")));
            }
            headers.insert(RANGE, range_header(range.start, Some(range.end))?);
        }
        let answer = client.open(Method::GET, &url, &headers, &context).await?;
        let expected = if range.is_some() { 206 } else { 200 };
        accept(answer.status, &[expected], &context)?;
        answer.check_plain().map_err(|e| Error::transport(&context, e))?;
        let mut download = Download {
            client,
            url,
            context,
            position: range.as_ref().map_or(0, |range| range.start),
            end: None,
            version: Version::of(&answer),
            answer: None,
            failures: 0,
        };
        download.end = range.as_ref().map_or(download.version.size, |range| Some(range.end));
        if range.is_some() {
            download.check_range(&answer)?;
        }
        download.answer = Some(answer);
        Ok(download)
    }

    /// Length of the whole file in bytes, where the server gave one.
    pub fn size(&self) -> Option<u64> {
        self.version.size
    }

    /// Offset in the file of the next byte that [`next`](Self::next) will give.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next piece; `None` when all was read. Dropping the future loses nothing: the next call goes on.
    ///
    /// # Errors
    /// Kind `File` when the file changed while it was read; those of [`DatastoreFiles::status`] when the reading cannot
    /// be taken up again; the last error of the connection after it broke five times in a row. A call after an error
    /// tries once more.
    ///
    /// [`DatastoreFiles::status`]: super::DatastoreFiles::status
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let error = match self.advance().await {
                Err(error) if error.is_retryable() && self.version.is_known() => error,
                result => return result,
            };
            self.answer = None;
            self.failures += 1;
            if self.failures > MAX_FAILURES {
                self.failures = 0;
                return Err(error);
            }
            let pause = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1));
            tracing::info!(%error, position = self.position, ?pause, "a download broke; it will go on");
            tokio::time::sleep(pause).await;
        }
    }

    async fn advance(&mut self) -> Result<Option<Bytes>, Error> {
        if self.answer.is_none() && self.end == Some(self.position) {
            return Ok(None);
        }
        if self.answer.is_none() {
            self.answer = Some(self.resume().await?);
        }
        let Some(answer) = &mut self.answer else { return Ok(None) };
        let piece = answer.next().await.map_err(|e| Error::transport(&self.context, e))?;
        let Some(piece) = piece else {
            self.answer = None;
            match self.end {
                Some(end) if self.position != end => {
                    return Err(Error::file(format!(
                        "{}: the server ended at byte {} of {end}",
                        self.context, self.position
                    )));
                }
                _ => self.end = Some(self.position),
            }
            return Ok(None);
        };
        self.position = self.position.saturating_add(piece.len() as u64);
        self.failures = 0;
        if self.end.is_some_and(|end| self.position > end) {
            return Err(Error::file(format!("{}: the server sent more than was asked for", self.context)));
        }
        Ok(Some(piece))
    }

    async fn resume(&self) -> Result<Answer, Error> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, range_header(self.position, self.end)?);
        if let Some(validator) = self.version.validator() {
            headers.insert(IF_RANGE, validator.clone());
        }
        let answer = self.client.open(Method::GET, &self.url, &headers, &self.context).await?;
        accept(answer.status, &[200, 206], &self.context)?;
        answer.check_plain().map_err(|e| Error::transport(&self.context, e))?;
        if answer.status == 200 || !self.version.allows(&Version::of(&answer)) {
            return Err(Error::file(format!(
                "{}: the file changed while it was read, after {} bytes",
                self.context, self.position
            ))
            .with_advice("read it again from its beginning"));
        }
        self.check_range(&answer)?;
        Ok(answer)
    }

    /// That the answer begins and ends where it was asked to.
    fn check_range(&self, answer: &Answer) -> Result<(), Error> {
        let (start, last) = content_range(&answer.headers).map_or((None, None), |r| (Some(r.0), Some(r.1)));
        let whole = last.and_then(|last| last.checked_add(1));
        if start == Some(self.position) && (self.end.is_none() || whole == self.end) {
            return Ok(());
        }
        // A range that reaches beyond the end is answered with what there is.
        if start == Some(self.position) && self.version.size.is_some_and(|size| self.end > Some(size)) {
            return Err(Error::invalid_input(format!("{}: the range reaches beyond the end", self.context)));
        }
        Err(Error::file(format!("{}: the server sent another range than was asked for", self.context)))
    }
}

impl Version {
    fn of(answer: &Answer) -> Self {
        let size = match answer.status {
            206 => content_range(&answer.headers).and_then(|range| range.2),
            _ => text(&answer.headers, CONTENT_LENGTH).and_then(|size| size.parse().ok()),
        };
        Version {
            size,
            etag: answer.headers.get(ETAG).cloned(),
            modified: answer.headers.get(LAST_MODIFIED).cloned(),
        }
    }

    /// Whether a later answer may be about the same file. Only one that was sent whole need not tell its size.
    fn allows(&self, later: &Version) -> bool {
        let sizes = self.size.is_none() || self.size == later.size;
        sizes && self.etag == later.etag && self.modified == later.modified
    }

    fn is_known(&self) -> bool {
        self.etag.is_some() || self.modified.is_some()
    }

    /// What `If-Range` may carry: not a weak tag, which promises less than equal bytes.
    fn validator(&self) -> Option<&HeaderValue> {
        let strong = self.etag.as_ref().filter(|tag| !tag.as_bytes().starts_with(b"W/"));
        strong.or(self.modified.as_ref())
    }
}

fn range_header(start: u64, end: Option<u64>) -> Result<HeaderValue, Error> {
    let last = end.map(|end| end.saturating_sub(1).to_string()).unwrap_or_default();
    HeaderValue::try_from(format!("bytes={start}-{last}")).map_err(|e| Error::invalid_input(e.to_string()))
}

/// First byte, last byte and length of the whole, from `bytes 0-9/100` or `bytes 0-9/*`.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64, Option<u64>)> {
    let (range, size) = text(headers, CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?, size.parse().ok()))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}
