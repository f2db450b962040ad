//! Answers that come compressed.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

use super::error::{TransportError, TransportErrorKind as Kind};
use super::limits::Limits;

/// The body as it was before it was compressed, of at most `max_response_bytes`.
pub(super) fn decoded(
    headers: &HeaderMap,
    body: Bytes,
    host: &str,
    limits: &Limits,
) -> Result<Bytes, TransportError> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let Some(encoding) = encodings.next() else { return Ok(body) };
    let name = encoding.as_bytes().trim_ascii();
    let known = name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip");
    if name.eq_ignore_ascii_case(b"identity") && encodings.next().is_none() {
        return Ok(body);
    }
    if !known || encodings.next().is_some() {
        let message = format!("the answer is encoded as {encoding:?}, where only gzip was offered");
        return Err(TransportError::new(Kind::Encoding, host, message));
    }
    // The answer to HEAD, or one without content, has nothing to decode.
    if body.is_empty() {
        return Ok(body);
    }
    let mut decoder = GzDecoder::new(&body[..]);
    let mut plain = Vec::new();
    let count = decoder.by_ref().take(limits.max_response_bytes.saturating_add(1)).read_to_end(&mut plain);
    if let Err(source) = count {
        let message = match source.kind() {
            std::io::ErrorKind::UnexpectedEof => "the answer's gzip data ends before its end",
            _ => "the answer's gzip data is damaged",
        };
        return Err(TransportError::new(Kind::Encoding, host, message).with_source(source));
    }
    if plain.len() as u64 > limits.max_response_bytes {
        return Err(super::exchange::too_large(host, limits));
    }
    let rest = decoder.into_inner().len();
    if rest > 0 {
        let message = format!("{rest} bytes follow the end of the answer's gzip data");
        return Err(TransportError::new(Kind::Encoding, host, message));
    }
    Ok(plain.into())
}
