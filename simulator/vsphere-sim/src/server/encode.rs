//! How the bytes of an answer are sent: compressed, in chunks, or as they are.

use std::convert::Infallible;
use std::io::{self, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue};

use super::http::{Answered, Response};
use crate::style::WireStyle;

/// Bytes in a chunk, where an answer comes in chunks.
const CHUNK: usize = 2048;

/// The same answer to `request`, as the style has it.
pub(super) async fn send(response: Response, request: &HeaderMap, style: WireStyle) -> Answered {
    let (mut head, body) = response.into_parts();
    let mut bytes = body.collect().await?.to_bytes();
    if takes_gzip(request) && style.compresses(bytes.len()) {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&bytes)?;
        bytes = encoder.finish()?.into();
        head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    let body = if style.chunks(bytes.len()) {
        let chunks: Vec<io::Result<Frame<Bytes>>> = (0..bytes.len())
            .step_by(CHUNK)
            .map(|at| Ok(Frame::data(bytes.slice(at..bytes.len().min(at + CHUNK)))))
            .collect();
        StreamBody::new(stream::iter(chunks)).boxed()
    } else {
        Full::new(bytes).map_err(|never: Infallible| match never {}).boxed()
    };
    Ok(hyper::Response::from_parts(head, body))
}

fn takes_gzip(request: &HeaderMap) -> bool {
    let offered = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|text| text.split(',')).any(|coding| coding.trim() == "gzip")
}
