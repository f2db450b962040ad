//! Reading and writing the XML of the vSphere wire, hardened: the peer is not trusted.
//!
//! [`Reader`] is a pull parser over one complete document. It never resolves anything outside the document: a
//! `DOCTYPE` is refused, only the five predefined entities and character references are known, and depth and size
//! are bounded by [`Limits`]. The prefixes of attributes and of types are resolved by their declarations, never by their
//! spelling; elements go by their local name, in whatever namespace a server puts them.
//!
//! In one point it is more lenient than XML: control characters in text are taken as they are (NUL excepted), because
//! servers pass on strings that a guest made up.

mod attributes;
mod error;
mod name;
mod reader;
mod scanner;
mod service;
mod start;
mod writer;

pub use error::{XmlError, XmlErrorKind};
pub(crate) use name::is_same;
pub use reader::{Limits, Reader};
pub use service::Service;
pub use start::{Start, TypeName, TypeSpace};
pub use writer::Writer;
pub(crate) use writer::escape_text;

/// Namespace of `xsi:type` and `xsi:nil`.
pub const NS_XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// Namespace of the schema's built-in types.
pub const NS_XSD: &str = "http://www.w3.org/2001/XMLSchema";
/// Namespace of the vSphere API.
pub const NS_VIM: &str = Service::Vim25.namespace();
/// Namespace of a SOAP 1.1 envelope.
pub const NS_SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
