//! The data types, their codec and the reader below it, through the public interface.
//!
//! One binary: it links the whole generated API, which takes its time.
#![forbid(unsafe_code)]
// clippy.toml exempts test functions only, and the helpers here are test code too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "api"]
mod api {
    mod depth;
    mod every_type;
    mod faults;
    mod fuzz;
    mod hostile;
    #[cfg(target_os = "linux")]
    mod memory;
    mod older;
    mod paths;
    mod prefixes;
    mod round_trip;
    mod schema;
    mod secrets;
    mod services;
    mod simple_values;
    mod unknown;
}

use vim_api::ApiVersion;
use vim_api::dynamic::Element;
use vim_api::xml::{Limits, NS_VIM, NS_XSD, NS_XSI, Reader, Writer, XmlError};

/// `<v ..>content</v>` with the namespaces that a server declares.
fn element(attributes: &str, content: &str) -> String {
    format!("<v xmlns=\"{NS_VIM}\" xmlns:xsd=\"{NS_XSD}\" xmlns:xsi=\"{NS_XSI}\" {attributes}>{content}</v>")
}

/// Reads a whole document as one value.
fn decode<T: Element>(document: impl AsRef<[u8]>) -> Result<T, XmlError> {
    decode_within(document, Limits::default())
}

fn decode_within<T: Element>(document: impl AsRef<[u8]>, limits: Limits) -> Result<T, XmlError> {
    let mut reader = Reader::new(document.as_ref(), limits)?;
    let start = reader.expect_child("v")?;
    let value = T::decode(&mut reader, &start)?;
    reader.finish()?;
    Ok(value)
}

/// Writes a value as `<v>`, for the newest version.
fn encode(value: &impl Element) -> String {
    encode_for(value, ApiVersion::LATEST)
}

fn encode_for(value: &impl Element, version: ApiVersion) -> String {
    let mut writer = Writer::new(version);
    value.encode("v", &mut writer);
    writer.finish()
}

/// Reads what [`encode`] wrote.
fn reread<T: Element>(written: &str) -> T {
    let mut reader = Reader::fragment(written, Limits::default()).unwrap();
    let start = reader.expect_child("v").unwrap();
    let value = T::decode(&mut reader, &start).unwrap();
    reader.finish().unwrap();
    value
}

/// What is read, written and read again says the same, and is written the same.
fn assert_survives<T: Element>(value: &T) {
    let written = encode(value);
    let again: T = reread(&written);
    assert_eq!(format!("{again:?}"), format!("{value:?}"));
    assert_eq!(encode(&again), written);
}
