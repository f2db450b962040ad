//! Reads what XML Schema cannot say out of `vim.wsdl`: operations, their messages and faults, the API version; and
//! cuts the embedded `<schema>` out of it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{Namespace, ResolveResult};
use quick_xml::{NsReader, Writer, XmlVersion};

use crate::error::{Error, ErrorKind, Result};

const WSDL: &str = "http://schemas.xmlsoap.org/wsdl/";
const SOAP: &str = "http://schemas.xmlsoap.org/wsdl/soap/";
const XSD: &str = "http://www.w3.org/2001/XMLSchema";

/// The content of a WSDL file, as far as the generator needs it.
#[derive(Debug, Default)]
pub(crate) struct Wsdl {
    /// `targetNamespace`, the namespace of the service.
    pub(crate) service_ns: String,
    /// The part of `soapAction` after the service namespace, or empty.
    pub(crate) version: String,
    /// Operations of the port type in file order.
    pub(crate) operations: Vec<Operation>,
    /// The embedded schema as a document of its own, with absolute locations in its includes.
    pub(crate) schema: Option<String>,
}

/// One operation; the messages are already replaced by the schema elements they carry.
#[derive(Debug)]
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) input: String,
    pub(crate) output: String,
    pub(crate) faults: Vec<String>,
}

/// Reads `text`, the content of a WSDL file in the (absolute) folder `dir`.
pub(crate) fn read(text: &str, dir: &Path) -> Result<Wsdl> {
    let mut state = State::default();
    let mut reader = NsReader::from_str(text);
    loop {
        let (ns, event) = reader.read_resolved_event().map_err(malformed)?;
        let ns = match ns {
            ResolveResult::Bound(Namespace(ns)) => ns.to_owned(),
            ResolveResult::Unbound => String::new(),
            ResolveResult::Unknown(prefix) => {
                return Err(Error::new(
                    ErrorKind::Wsdl,
                    format!("the namespace prefix {prefix:?} is not declared"),
                ));
            }
        };
        match event {
            Event::Eof => break,
            Event::Start(start) => {
                state.start(&ns, &start, dir, false)?;
                state.open.push((start.local_name().into_inner().to_owned(), xmlns(&start)?));
            }
            Event::Empty(start) => {
                state.start(&ns, &start, dir, true)?;
                state.end(&ns, start.local_name().into_inner());
            }
            Event::End(end) => {
                state.open.pop();
                state.end(&ns, end.local_name().into_inner());
                state.copy(Event::End(end))?;
                state.close_schema()?;
            }
            other => state.copy(other)?,
        }
    }
    state.finish()
}

#[derive(Default)]
struct State {
    wsdl: Wsdl,
    /// Local names and namespace declarations of the open elements.
    open: Vec<(String, Vec<(String, String)>)>,
    /// The schema being copied, and how many elements were open when it began.
    cutting: Option<(Writer<Vec<u8>>, usize)>,
    message: Option<String>,
    /// Message name to element name.
    messages: BTreeMap<String, String>,
    operation: Option<RawOperation>,
    operations: Vec<RawOperation>,
    in_port_type: bool,
}

#[derive(Default)]
struct RawOperation {
    name: String,
    input: Option<String>,
    output: Option<String>,
    faults: Vec<String>,
}

impl State {
    fn start(&mut self, ns: &str, element: &BytesStart<'_>, dir: &Path, empty: bool) -> Result<()> {
        if self.cutting.is_some() {
            let element = located(element, dir)?;
            return self.copy(if empty { Event::Empty(element) } else { Event::Start(element) });
        }
        let local = element.local_name();
        match (ns, local.into_inner()) {
            (WSDL, "definitions") => self.wsdl.service_ns = required(element, "targetNamespace")?,
            (XSD, "schema") => self.open_schema(element, dir, empty)?,
            (WSDL, "message") => self.message = Some(required(element, "name")?),
            (WSDL, "part") => self.part(element)?,
            (WSDL, "portType") => self.in_port_type = !empty,
            (WSDL, "operation") if self.in_port_type => {
                self.operation =
                    Some(RawOperation { name: required(element, "name")?, ..Default::default() });
            }
            (WSDL, kind @ ("input" | "output" | "fault")) => {
                if let Some(operation) = &mut self.operation {
                    let message = local_part(&required(element, "message")?).to_owned();
                    match kind {
                        "input" => operation.input = Some(message),
                        "output" => operation.output = Some(message),
                        _ => operation.faults.push(message),
                    }
                }
            }
            (SOAP, "operation") => self.soap_action(&required(element, "soapAction")?)?,
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, ns: &str, local: &str) {
        match (ns, local) {
            (WSDL, "message") => self.message = None,
            (WSDL, "portType") => self.in_port_type = false,
            (WSDL, "operation") => self.operations.extend(self.operation.take()),
            _ => {}
        }
    }

    fn part(&mut self, element: &BytesStart<'_>) -> Result<()> {
        let Some(message) = self.message.clone() else {
            return Err(Error::new(ErrorKind::Wsdl, "a <part> stands outside of a <message>"));
        };
        let target = local_part(&required(element, "element")?).to_owned();
        match self.messages.entry(message) {
            Entry::Vacant(slot) => {
                slot.insert(target);
                Ok(())
            }
            Entry::Occupied(slot) => Err(Error::new(
                ErrorKind::Duplicate,
                format!("message {:?} is defined twice or has more than one part", slot.key()),
            )),
        }
    }

    fn soap_action(&mut self, action: &str) -> Result<()> {
        let version = action
            .strip_prefix(self.wsdl.service_ns.as_str())
            .map(|rest| rest.strip_prefix('/').unwrap_or(rest))
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Wsdl,
                    format!(
                        "soapAction {action:?} does not begin with the namespace {:?}",
                        self.wsdl.service_ns
                    ),
                )
            })?;
        if self.wsdl.version.is_empty() {
            version.clone_into(&mut self.wsdl.version);
        } else if self.wsdl.version != version {
            return Err(Error::new(
                ErrorKind::Wsdl,
                format!(
                    "soapActions disagree about the API version: {:?} and {version:?}",
                    self.wsdl.version
                ),
            ));
        }
        Ok(())
    }

    fn open_schema(&mut self, element: &BytesStart<'_>, dir: &Path, empty: bool) -> Result<()> {
        if self.wsdl.schema.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "there is more than one embedded <schema>"));
        }
        // The cut-out text loses its ancestors, so it has to carry their namespace declarations itself.
        let mut root = located(element, dir)?;
        let mut declared: Vec<String> = xmlns(element)?.into_iter().map(|(key, _)| key).collect();
        for (key, value) in self.open.iter().rev().flat_map(|(_, declarations)| declarations) {
            if !declared.contains(key) {
                root.push_attribute((key.as_str(), value.as_str()));
                declared.push(key.clone());
            }
        }
        self.cutting = Some((Writer::new(Vec::new()), self.open.len()));
        self.copy(if empty { Event::Empty(root) } else { Event::Start(root) })?;
        if empty { self.close_schema() } else { Ok(()) }
    }

    fn copy(&mut self, event: Event<'_>) -> Result<()> {
        match &mut self.cutting {
            Some((writer, _)) => writer.write_event(event).map_err(|e| {
                Error::new(ErrorKind::Wsdl, "the embedded schema cannot be copied").with_source(e)
            }),
            None => Ok(()),
        }
    }

    fn close_schema(&mut self) -> Result<()> {
        if self.cutting.as_ref().is_some_and(|(_, depth)| self.open.len() <= *depth)
            && let Some((writer, _)) = self.cutting.take()
        {
            let text = String::from_utf8(writer.into_inner()).map_err(|e| {
                Error::new(ErrorKind::Wsdl, "the embedded schema is not UTF-8").with_source(e)
            })?;
            self.wsdl.schema = Some(text);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Wsdl> {
        if let Some((name, _)) = self.open.last() {
            return Err(Error::new(ErrorKind::Wsdl, format!("the file ends inside of <{name}>")));
        }
        if self.wsdl.service_ns.is_empty() {
            return Err(Error::new(ErrorKind::Wsdl, "there is no WSDL 1.1 <definitions> element"));
        }
        let mut seen = BTreeSet::new();
        for raw in std::mem::take(&mut self.operations) {
            if !seen.insert(raw.name.clone()) {
                return Err(Error::new(
                    ErrorKind::Duplicate,
                    format!("operation {:?} is defined twice", raw.name),
                ));
            }
            let operation = Operation {
                input: self.element_of(&raw, "input", raw.input.as_deref())?,
                output: self.element_of(&raw, "output", raw.output.as_deref())?,
                faults: raw
                    .faults
                    .iter()
                    .map(|fault| self.element_of(&raw, "fault", Some(fault)))
                    .collect::<Result<_>>()?,
                name: raw.name,
            };
            self.wsdl.operations.push(operation);
        }
        Ok(self.wsdl)
    }

    fn element_of(&self, operation: &RawOperation, kind: &str, message: Option<&str>) -> Result<String> {
        let name = &operation.name;
        let message = message
            .ok_or_else(|| Error::new(ErrorKind::Wsdl, format!("operation {name:?} has no <{kind}>")))?;
        self.messages.get(message).cloned().ok_or_else(|| {
            Error::new(
                ErrorKind::Dangling,
                format!("operation {name:?}: its {kind} message {message:?} is not defined"),
            )
        })
    }
}

/// `element` with its `schemaLocation` made absolute, since the cut-out text has no place of its own.
fn located(element: &BytesStart<'_>, dir: &Path) -> Result<BytesStart<'static>> {
    let Some(location) = attribute(element, "schemaLocation")? else {
        return Ok(element.to_owned());
    };
    if location.contains(':') || location.starts_with('/') {
        return Ok(element.to_owned());
    }
    let mut copy = BytesStart::new(element.name().into_inner().to_owned());
    for attribute in element.attributes() {
        let attribute = attribute.map_err(malformed)?;
        if attribute.key.into_inner() == "schemaLocation" {
            copy.push_attribute(("schemaLocation", file_url(&dir.join(&location)).as_str()));
        } else {
            copy.push_attribute(attribute);
        }
    }
    Ok(copy)
}

fn file_url(path: &Path) -> String {
    let mut url = String::from("file://");
    for byte in path.to_string_lossy().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                url.push(char::from(byte))
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

fn xmlns(element: &BytesStart<'_>) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for attribute in element.attributes() {
        let attribute = attribute.map_err(malformed)?;
        let key = attribute.key.into_inner();
        if key == "xmlns" || key.starts_with("xmlns:") {
            found.push((key.to_owned(), value(&attribute)?));
        }
    }
    Ok(found)
}

fn attribute(element: &BytesStart<'_>, name: &str) -> Result<Option<String>> {
    element.try_get_attribute(name).map_err(malformed)?.map(|attribute| value(&attribute)).transpose()
}

fn required(element: &BytesStart<'_>, name: &str) -> Result<String> {
    attribute(element, name)?.ok_or_else(|| {
        let element = element.name().into_inner();
        Error::new(ErrorKind::Wsdl, format!("a <{element}> lacks the attribute {name:?}"))
    })
}

fn value(attribute: &quick_xml::events::attributes::Attribute<'_>) -> Result<String> {
    Ok(attribute.normalized_value(XmlVersion::Implicit1_0).map_err(malformed)?.into_owned())
}

fn local_part(qname: &str) -> &str {
    qname.rsplit_once(':').map_or(qname, |(_, local)| local)
}

fn malformed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Wsdl, "the file is not well-formed XML").with_source(source)
}
