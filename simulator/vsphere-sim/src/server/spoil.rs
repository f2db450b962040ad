//! Requests and answers that a fault rule strikes on their way, whatever they are about.

use std::future::pending;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body as _, Frame};
use hyper::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE, RETRY_AFTER,
};
use hyper::{Request, StatusCode};

use super::connection::Fate;
use super::http::{Answered, Response, plain};
use crate::faults::{Effect, FaultRule, expire};
use crate::world::Shared;

/// How long an answer that is cut waits, so that what comes before the cut is on its way.
const FLUSH: Duration = Duration::from_millis(20);

/// How often a slow body sends something.
const BEAT: Duration = Duration::from_millis(50);

/// A whole `gzip` head, behind which nothing follows that could be decompressed.
const GZIP_HEAD: [u8; 13] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];

/// What a rule for the HTTP exchange says instead of an answer. `None` if the request shall be answered all the same: its
/// session has ended.
pub(super) async fn struck(
    rule: FaultRule,
    shared: &Shared,
    cookie: Option<&str>,
    fate: &Fate,
) -> Option<Answered> {
    tokio::time::sleep(rule.delay()).await;
    let expires = rule.effect == Some(Effect::ExpireSession);
    if expires {
        expire(shared, cookie);
    }
    let Some(status) = rule.status.and_then(|status| StatusCode::from_u16(status).ok()) else {
        if expires {
            return None;
        }
        if rule.effect == Some(Effect::Reset) {
            fate.reset();
        }
        return Some(Err(io::Error::other("a fault rule closes the connection")));
    };
    let mut response = plain(status, "text/plain", rule.message.unwrap_or_default());
    // A server that says 503 nearly always says how long.
    let after = rule.retry_after.or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(1));
    if let Some(after) = after {
        response.headers_mut().insert(RETRY_AFTER, after.into());
    }
    Some(Ok(response))
}

/// Makes of a request what the rule for its answer needs: one that ignores ranges never hears of them.
pub(super) fn prepare<B>(request: &mut Request<B>, rule: &FaultRule) {
    if rule.effect == Some(Effect::IgnoreRange) {
        request.headers_mut().remove(RANGE);
    }
}

/// The same answer, with what the rule makes of it. Nothing is collected: it streams as before.
pub(super) async fn spoil(
    response: Response,
    rule: &FaultRule,
    shared: &Shared,
    cookie: Option<&str>,
    fate: &Fate,
) -> Response {
    tokio::time::sleep(rule.delay()).await;
    let (mut head, body) = response.into_parts();
    // A body that is passed on as a stream no longer knows its length, which the client was to be told.
    if let Some(length) = body.size_hint().exact() {
        head.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    let mut spoilt = Spoilt {
        body,
        piece: Bytes::new(),
        sent: 0,
        cut: rule.cut_after,
        stall: rule.stall_after,
        rate: rule.bytes_per_second,
        drop_first: false,
        before: None,
        behind: None,
        left: u64::MAX,
        over: false,
    };
    match rule.effect {
        Some(Effect::ExpireSession) => expire(shared, cookie),
        Some(Effect::ResetAfterHead) => {
            fate.reset();
            spoilt.cut = Some(0);
        }
        Some(Effect::NoCloseNotify) => {
            fate.skip_close_notify();
            head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Some(Effect::GzipGarbage) => {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            head.headers.remove(CONTENT_LENGTH);
            spoilt.before = Some(Bytes::from_static(&GZIP_HEAD));
        }
        Some(Effect::ShiftedBytes) => {
            spoilt.drop_first = true;
        }
        Some(Effect::ShortRange) => {
            if let Some(range) = Range::of(&head.headers) {
                let length = (range.length() / 2).max(1);
                spoilt.left = length;
                Range { last: range.first + length - 1, ..range }.tell(&mut head.headers);
                head.headers.insert(CONTENT_LENGTH, length.into());
            }
        }
        Some(Effect::WrongContentRange) => {
            if let Some(range) = Range::of(&head.headers) {
                Range { first: range.first + 512, last: range.last + 512, ..range }.tell(&mut head.headers);
            }
        }
        Some(Effect::IgnoreRange | Effect::Reset) | None => {}
    }
    hyper::Response::from_parts(head, spoilt.into_body())
}

/// `Content-Range: bytes FIRST-LAST/TOTAL`.
#[derive(Clone)]
struct Range {
    first: u64,
    last: u64,
    total: String,
}

impl Range {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
        let (range, total) = text.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first <= last).then(|| Self { first, last, total: total.to_owned() })
    }

    fn length(&self) -> u64 {
        self.last - self.first + 1
    }

    fn tell(&self, headers: &mut HeaderMap) {
        let text = format!("bytes {}-{}/{}", self.first, self.last, self.total);
        if let Ok(value) = text.parse() {
            headers.insert(CONTENT_RANGE, value);
        }
    }
}

/// A body with something wrong.
struct Spoilt {
    body: BoxBody<Bytes, io::Error>,
    /// What the body gave and was not sent yet.
    piece: Bytes,
    sent: u64,
    cut: Option<u64>,
    stall: Option<u64>,
    /// Bytes in a second.
    rate: Option<u64>,
    drop_first: bool,
    /// Goes before the body.
    before: Option<Bytes>,
    /// Goes behind it.
    behind: Option<Bytes>,
    /// How much of it is sent at most.
    left: u64,
    over: bool,
}

impl Spoilt {
    fn into_body(self) -> BoxBody<Bytes, io::Error> {
        StreamBody::new(stream::unfold(self, Self::next)).boxed()
    }

    async fn next(mut self) -> Option<(io::Result<Frame<Bytes>>, Self)> {
        if self.over || self.left == 0 {
            return None;
        }
        if self.stall == Some(self.sent) {
            pending::<()>().await;
        }
        if self.cut == Some(self.sent) {
            tokio::time::sleep(FLUSH).await;
            return Some(self.end(Err(io::Error::other("a fault rule cuts the answer"))));
        }
        if let Err(error) = self.fill().await {
            return Some(self.end(Err(error)));
        }
        if self.piece.is_empty() {
            return None;
        }
        let mut most = self.left;
        for end in [self.cut, self.stall].into_iter().flatten() {
            most = most.min(end - self.sent);
        }
        if let Some(rate) = self.rate {
            let beats = u64::try_from(Duration::from_secs(1).as_millis() / BEAT.as_millis()).unwrap_or(1);
            most = most.min((rate / beats).max(1));
        }
        let length = self.piece.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let part = self.piece.split_to(length);
        let count = part.len() as u64;
        if let Some(rate) = self.rate {
            tokio::time::sleep(Duration::from_secs(1).mul_f64(count as f64 / rate as f64)).await;
        }
        self.sent += count;
        self.left -= count;
        Some((Ok(Frame::data(part)), self))
    }

    fn end(mut self, last: io::Result<Frame<Bytes>>) -> (io::Result<Frame<Bytes>>, Self) {
        self.over = true;
        (last, self)
    }

    /// Sees to it that there is something to send, unless all is sent.
    async fn fill(&mut self) -> io::Result<()> {
        while self.piece.is_empty() {
            if let Some(before) = self.before.take() {
                self.piece = before;
                continue;
            }
            match self.body.frame().await {
                Some(frame) => {
                    // What is no data are trailers, which nobody here sends.
                    self.piece = frame?.into_data().unwrap_or_default();
                    if self.drop_first && !self.piece.is_empty() {
                        self.piece = self.piece.slice(1..);
                        self.drop_first = false;
                        self.behind = Some(Bytes::from_static(&[0]));
                    }
                }
                None => match self.behind.take() {
                    Some(behind) => self.piece = behind,
                    None => return Ok(()),
                },
            }
        }
        Ok(())
    }
}
