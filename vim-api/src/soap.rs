//! SOAP envelopes, seen from both sides: the client writes requests and reads replies with it, a server the reverse.

use bytes::Bytes;

use crate::dynamic::{Element, Poly};
use crate::error::Fault;
use crate::moref::MoRef;
use crate::types::MethodFault;
use crate::version::ApiVersion;
use crate::xml::{Limits, NS_SOAP, NS_XSD, NS_XSI, Reader, Service, Start, Writer, XmlError};

/// An envelope around one element of the vim25 namespace, called `body_name`, that holds `content`, which is XML already.
pub fn envelope(body_name: &str, content: &[&str]) -> String {
    envelope_in(Service::Vim25.namespace(), "", body_name, content)
}

/// The same in the namespace of another service, with `header`, XML too, as what the envelope's header holds.
pub fn envelope_in(namespace: &str, header: &str, body_name: &str, content: &[&str]) -> String {
    let size: usize = content.iter().map(|part| part.len()).sum::<usize>() + header.len();
    let mut out = String::with_capacity(size + 512);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str("<soapenv:Envelope xmlns:soapenv=\"");
    out.push_str(NS_SOAP);
    out.push_str("\" xmlns:xsi=\"");
    out.push_str(NS_XSI);
    out.push_str("\" xmlns:xsd=\"");
    out.push_str(NS_XSD);
    out.push_str("\">");
    if !header.is_empty() {
        out.push_str("<soapenv:Header>");
        out.push_str(header);
        out.push_str("</soapenv:Header>");
    }
    out.push_str("<soapenv:Body><");
    out.push_str(body_name);
    out.push_str(" xmlns=\"");
    out.push_str(namespace);
    out.push_str("\">");
    for part in content {
        out.push_str(part);
    }
    out.push_str("</");
    out.push_str(body_name);
    out.push_str("></soapenv:Body></soapenv:Envelope>");
    out
}

/// An envelope that somebody sent.
#[derive(Debug, Clone)]
pub struct Message {
    bytes: Bytes,
    limits: Limits,
}

impl Message {
    /// Takes the bytes of an HTTP body. Nothing is read yet.
    pub fn new(bytes: Bytes, limits: Limits) -> Self {
        Self { bytes, limits }
    }

    /// Reads the one element in the envelope's body: `read` is given its start and a reader inside of it, which `read` has
    /// to take to the element's end. What follows is read too: a document that is cut or goes on behind its end is refused.
    ///
    /// # Errors
    /// When it is no SOAP envelope, its XML is broken or cut, or `read` fails.
    pub fn read<T>(
        &self,
        read: impl FnOnce(&Start<'_>, &mut Reader<'_>) -> Result<T, XmlError>,
    ) -> Result<T, XmlError> {
        let mut reader = Reader::new(&self.bytes, self.limits)?;
        reader.expect_child("Envelope")?;
        while let Some(part) = reader.next_child()? {
            if part.local() != "Body" {
                reader.skip()?;
                continue;
            }
            let Some(start) = reader.next_child()? else {
                return Err(reader.unexpected("an empty SOAP body".into()));
            };
            let value = read(&start, &mut reader)?;
            for _ in ["Body", "Envelope"] {
                while reader.next_child()?.is_some() {
                    reader.skip()?;
                }
            }
            reader.finish()?;
            return Ok(value);
        }
        Err(reader.unexpected("a SOAP envelope without a body".into()))
    }
}

/// What a server answers.
#[derive(Debug)]
pub enum Outcome<T> {
    /// The response element.
    Returned(T),
    /// A `Fault` element.
    Fault(Fault),
}

/// Reads a reply: either the children of the response element through `read`, or the fault.
///
/// # Errors
/// See [`Message::read`].
pub fn reply<T>(
    message: &Message,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, XmlError>,
) -> Result<Outcome<T>, XmlError> {
    message.read(|start, reader| {
        if start.local() == "Fault" {
            return fault(reader).map(Outcome::Fault);
        }
        read(reader).map(Outcome::Returned)
    })
}

/// The content of an envelope that calls a method: `_this`, then the arguments.
pub(crate) fn this_argument(this: &MoRef, version: ApiVersion) -> String {
    let mut writer = Writer::new(version);
    this.encode("_this", &mut writer);
    writer.finish()
}

/// `<faultcode>`, `<faultstring>`, `<detail>` with one element that names the fault's type in `xsi:type`. Where that is
/// missing, the element's name says it: servers call it by the type and `Fault`. Further elements are not the fault.
fn fault(reader: &mut Reader<'_>) -> Result<Fault, XmlError> {
    let mut message = String::new();
    let mut fault = None;
    while let Some(part) = reader.next_child()? {
        match part.local() {
            "faultstring" => message = reader.text()?.into_owned(),
            "detail" => {
                while let Some(detail) = reader.next_child()? {
                    if fault.is_some() {
                        reader.skip()?;
                        continue;
                    }
                    let name = detail.local().strip_suffix("Fault").filter(|name| !name.is_empty());
                    fault = Some(Poly::<MethodFault>::decode_as(reader, &detail, name)?);
                }
            }
            _ => reader.skip()?,
        }
    }
    Ok(Fault { fault: fault.unwrap_or_default(), message })
}
