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

/// The same answer, with what the rule makes of its bytes. Nothing is collected: it streams as before.
pub(super) async fn spoil(response: Response, rule: &FaultRule, fate: &Fate) -> Response {
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
        Some(Effect::IgnoreRange | Effect::Reset | Effect::ExpireSession) | None => {}
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;

    use super::*;
    use crate::faults::FaultPlace;

    fn part(first: usize, last: usize) -> Response {
        let bytes: Vec<u8> = (first..=last).map(|at| (at % 251) as u8).collect();
        let body = Full::new(Bytes::from(bytes)).map_err(|never: Infallible| match never {}).boxed();
        let mut response = hyper::Response::new(body);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        Range { first: first as u64, last: last as u64, total: "5000".to_owned() }
            .tell(response.headers_mut());
        response
    }

    async fn spoilt(rule: FaultRule) -> (HeaderMap, Result<Bytes, io::Error>) {
        let rule = FaultRule { at: FaultPlace::Body, ..rule };
        let response = spoil(part(1000, 1999), &rule, &Fate::default()).await;
        let (head, body) = response.into_parts();
        (head.headers, body.collect().await.map(http_body_util::Collected::to_bytes))
    }

    fn told(headers: &HeaderMap) -> (&str, &str) {
        let text = |name| headers.get(name).map_or("", |value| value.to_str().unwrap());
        (text(CONTENT_RANGE), text(CONTENT_LENGTH))
    }

    fn effect(effect: Effect) -> FaultRule {
        FaultRule { effect: Some(effect), ..FaultRule::default() }
    }

    #[tokio::test]
    async fn parts_that_are_not_what_was_asked_for() {
        let whole = part(1000, 1999).into_body().collect().await.unwrap().to_bytes();
        let (headers, short) = spoilt(effect(Effect::ShortRange)).await;
        assert_eq!(told(&headers), ("bytes 1000-1499/5000", "500"));
        assert_eq!(short.unwrap(), whole[..500]);
        let (headers, same) = spoilt(effect(Effect::WrongContentRange)).await;
        assert_eq!(told(&headers), ("bytes 1512-2511/5000", "1000"));
        assert_eq!(same.unwrap(), whole);
        let (headers, shifted) = spoilt(effect(Effect::ShiftedBytes)).await;
        assert_eq!(told(&headers), ("bytes 1000-1999/5000", "1000"));
        let shifted = shifted.unwrap();
        assert_eq!((shifted.len(), &shifted[..999]), (1000, &whole[1..]));
        let mut request = Request::get("/folder/x").header(RANGE, "bytes=0-1").body(()).unwrap();
        prepare(&mut request, &effect(Effect::ShortRange));
        assert!(request.headers().contains_key(RANGE));
        prepare(&mut request, &effect(Effect::IgnoreRange));
        assert!(!request.headers().contains_key(RANGE));
    }

    #[tokio::test]
    async fn bodies_that_end_or_stop_or_creep() {
        let (headers, cut) = spoilt(FaultRule { cut_after: Some(10), ..FaultRule::default() }).await;
        assert_eq!(told(&headers).1, "1000");
        assert!(cut.is_err());
        let (_, whole) = spoilt(FaultRule { cut_after: Some(2000), ..FaultRule::default() }).await;
        assert_eq!(whole.unwrap().len(), 1000, "it ends before");
        let begun = std::time::Instant::now();
        let (_, slow) = spoilt(FaultRule { bytes_per_second: Some(4000), ..FaultRule::default() }).await;
        assert_eq!(slow.unwrap().len(), 1000);
        assert!(begun.elapsed() >= Duration::from_millis(240), "{:?}", begun.elapsed());
        let stalled = spoilt(FaultRule { stall_after: Some(10), ..FaultRule::default() });
        assert!(tokio::time::timeout(Duration::from_millis(100), stalled).await.is_err());
        let (headers, garbage) = spoilt(effect(Effect::GzipGarbage)).await;
        assert_eq!(headers.get(CONTENT_ENCODING).unwrap(), "gzip");
        let mut plain = Vec::new();
        let garbage = garbage.unwrap();
        assert!(io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&garbage[..]), &mut plain).is_err());
    }
}
