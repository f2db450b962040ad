//! The body of a request: whole in memory, or drawn from a stream as the server takes it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use hyper::body::{Frame, SizeHint};

/// What a large request sends, piece by piece.
pub struct Upload {
    pieces: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    length: Option<u64>,
}

impl Upload {
    /// A body of exactly `length` bytes. A stream that ends sooner, or with a piece that passes the end, fails the
    /// request; after the last byte it is not asked again.
    pub fn sized(length: u64, pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Upload { pieces: Box::pin(pieces), length: Some(length) }
    }

    /// A body of unknown length, sent in chunked coding.
    pub fn chunked(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Upload { pieces: Box::pin(pieces), length: None }
    }
}

/// How far the sending of a body has come. It outlives the body, which the connection owns.
#[derive(Clone, Default)]
pub(super) struct Sent(Arc<SentState>);

#[derive(Default)]
struct SentState {
    bytes: AtomicU64,
    complete: AtomicBool,
}

impl Sent {
    /// Bytes of a stream that were handed to the connection.
    pub(super) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Whether all of the body was handed to the connection.
    pub(super) fn is_complete(&self) -> bool {
        self.0.complete.load(Ordering::Acquire)
    }

    fn add(&self, count: usize) -> u64 {
        let count = count as u64;
        self.0.bytes.fetch_add(count, Ordering::Relaxed).saturating_add(count)
    }

    fn complete(&self) {
        self.0.complete.store(true, Ordering::Release);
    }
}

/// The body that hyper sends.
pub(super) struct Body {
    source: Source,
    sent: Sent,
}

enum Source {
    Whole(Bytes),
    Pieces(Upload),
    Done,
}

impl Body {
    pub(super) fn whole(bytes: Bytes) -> Self {
        let sent = Sent::default();
        if bytes.is_empty() {
            sent.complete();
        }
        Body { source: Source::Whole(bytes), sent }
    }

    pub(super) fn pieces(upload: Upload) -> Self {
        Body { source: Source::Pieces(upload), sent: Sent::default() }
    }

    pub(super) fn sent(&self) -> Sent {
        self.sent.clone()
    }

    fn finish(&mut self) {
        self.source = Source::Done;
        self.sent.complete();
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let upload = match &mut this.source {
            Source::Done => return Poll::Ready(None),
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                this.finish();
                return Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))));
            }
            Source::Pieces(upload) => upload,
        };
        let next = std::task::ready!(upload.pieces.as_mut().poll_next(cx)).transpose()?;
        let bytes = this.sent.add(next.as_ref().map_or(0, Bytes::len));
        if let Some(length) = upload.length
            && (bytes > length || next.is_none() && bytes < length)
        {
            let relation = if next.is_none() { "ended after" } else { "gave more:" };
            let message = format!("{length} bytes were announced, and the source {relation} {bytes}");
            return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidInput, message))));
        }
        // A sized body is not asked for another piece once its last byte is there.
        if next.is_none() || upload.length == Some(bytes) {
            this.finish();
        }
        Poll::Ready(next.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Pieces(_) => false,
            Source::Done => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Pieces(upload) => match upload.length {
                Some(length) => SizeHint::with_exact(length.saturating_sub(self.sent.bytes())),
                None => SizeHint::default(),
            },
            Source::Done => SizeHint::with_exact(0),
        }
    }
}
