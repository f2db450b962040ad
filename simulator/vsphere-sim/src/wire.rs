//! Requests and answers as SOAP: the server's side of `vim_api::soap`.

use bytes::Bytes;
use vim_api::dynamic::{Element, Value};
use vim_api::soap::{self, Message};
use vim_api::xml::{Limits, NS_SOAP, NS_XSD, NS_XSI, Reader, Service, Writer, XmlError};
use vim_api::{ApiVersion, MoRef};

use crate::fault::{Fault, Outcome, invalid_argument, invalid_request};
use crate::style::attributes;

/// Largest request, in bytes. The largest honest one is a filter with some thousand objects.
pub(crate) const MAX_REQUEST: usize = 4 << 20;

/// Deepest nesting in a request: a filter's traversal specs nest, but by name, not by depth.
const MAX_DEPTH: usize = 64;

/// Methods beside the published API, which have a namespace of their own.
pub(crate) const INTERNAL: [&str; 7] = [
    "CreateChildDisk_Task",
    "DisableMethods",
    "EnableMethods",
    "QueryDisabledMethods",
    "QueryVirtualDiskInfo_Task",
    "ReparentDisks_Task",
    "RetrieveInternalContent",
];
const INTERNAL_NAMESPACE: &str = "urn:internalvim25";

/// A method call, its arguments still as XML. Not `Debug`: an argument may be a password.
pub(crate) struct Call {
    /// Method name, such as `CreateSnapshot_Task`.
    pub(crate) method: String,
    /// The object that is called.
    pub(crate) this: MoRef,
    /// The service that is called.
    pub(crate) service: Service,
    /// The version that the client speaks, at most the server's.
    pub(crate) version: ApiVersion,
    arguments: Vec<(String, String)>,
    /// Whose session it is, where there is one.
    pub(crate) user: Option<String>,
    /// The whole message, for what is signed and what stands in its header.
    pub(crate) envelope: Bytes,
}

/// The children of a response element, and the cookie that goes with them.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// XML, empty for a null result.
    pub(crate) xml: String,
    /// Value of a `Set-Cookie` header.
    pub(crate) set_cookie: Option<String>,
}

impl Call {
    /// Reads an envelope.
    pub(crate) fn parse(body: Bytes, service: Service, version: ApiVersion) -> Outcome<Self> {
        let message = Message::new(body.clone(), limits());
        let parsed = message.read(|start, reader| {
            let method = start.local().to_owned();
            let mut arguments = Vec::new();
            let mut this = None;
            while let Some(child) = reader.next_child()? {
                if child.local() == "_this" {
                    this = Some(MoRef::decode(reader, &child)?);
                } else {
                    let name = child.local().to_owned();
                    arguments.push((name, reader.capture(&child)?));
                }
            }
            Ok((method, this, arguments))
        });
        let (method, this, arguments) = parsed.map_err(unreadable)?;
        match this {
            Some(this) if !this.value().is_empty() => {
                Ok(Self { method, this, service, version, arguments, user: None, envelope: body })
            }
            _ => Err(invalid_request("The request names no object in \"_this\".")),
        }
    }

    /// The same call, if its method is one of its service's namespace. Elements go by their names alone elsewhere.
    pub(crate) fn in_namespace(self) -> Outcome<Self> {
        let wanted = self.service.namespace();
        match namespace_of_call(&self.envelope).map_err(unreadable)? {
            Some(space) if space == wanted => Ok(self),
            Some(space) if self.is_internal() && space == INTERNAL_NAMESPACE => Ok(self),
            Some(space) => {
                Err(invalid_request(format!("{} is of the namespace {space}, not of {wanted}.", self.method)))
            }
            None => Err(invalid_request(format!("{} is of no namespace.", self.method))),
        }
    }

    /// Whether the method is one of those that clients know and the published API does not have.
    pub(crate) fn is_internal(&self) -> bool {
        INTERNAL.contains(&self.method.as_str())
    }

    /// The names of the arguments, each as often as it was sent.
    pub(crate) fn argument_names(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(|(name, _)| name.as_str())
    }

    /// An argument that has to be there.
    pub(crate) fn required<T: Element>(&self, name: &str) -> Outcome<T> {
        self.optional(name)?
            .ok_or_else(|| invalid_request(format!("{}: the parameter \"{name}\" is missing.", self.method)))
    }

    /// An argument that may be left out.
    pub(crate) fn optional<T: Element>(&self, name: &str) -> Outcome<Option<T>> {
        Ok(self.list(name)?.into_iter().next())
    }

    /// An argument as XML, where its type is none of the API's.
    pub(crate) fn raw(&self, name: &str) -> Option<&str> {
        self.arguments.iter().find(|(argument, _)| argument == name).map(|(_, xml)| xml.as_str())
    }

    /// An argument that may stand several times, as XML.
    pub(crate) fn raw_list(&self, name: &str) -> impl Iterator<Item = &str> {
        let found = self.arguments.iter().filter(move |(argument, _)| argument == name);
        found.map(|(_, xml)| xml.as_str())
    }

    /// An argument that may stand several times.
    pub(crate) fn list<T: Element>(&self, name: &str) -> Outcome<Vec<T>> {
        let found = self.arguments.iter().filter(|(argument, _)| argument == name);
        found.map(|(_, xml)| decode(xml).map_err(|error| invalid_argument(name, error.to_string()))).collect()
    }
}

impl Answer {
    /// A null result.
    pub(crate) fn void() -> Self {
        Self::default()
    }

    /// One value of the method's declared type.
    pub(crate) fn one(call: &Call, value: &impl Element) -> Self {
        Self::many(call, std::slice::from_ref(value))
    }

    /// A value, or null.
    pub(crate) fn maybe(call: &Call, value: Option<&impl Element>) -> Self {
        value.map_or_else(Self::void, |value| Self::one(call, value))
    }

    /// Any number of values.
    pub(crate) fn many(call: &Call, values: &[impl Element]) -> Self {
        let mut writer = Writer::of_answer(call.service, call.version);
        for value in values {
            value.encode("returnval", &mut writer);
        }
        Self { xml: writer.finish(), set_cookie: None }
    }

    /// The whole envelope.
    pub(crate) fn envelope(&self, call: &Call) -> String {
        // Clients ask for what is internal by either name, and are answered by theirs.
        let asked = namespace_of_call(&call.envelope).ok().flatten();
        let internal = call.is_internal() && asked.as_deref() == Some(INTERNAL_NAMESPACE);
        let namespace = if internal { INTERNAL_NAMESPACE } else { call.service.namespace() };
        soap::envelope_in(namespace, "", &format!("{}Response", call.method), &[&self.xml])
    }
}

/// The envelope of a fault. The detail is named by the type and `Fault`, and carries the type.
pub(crate) fn fault_envelope(fault: &Fault, version: ApiVersion) -> String {
    let mut text = Writer::new(version);
    text.text(&fault.message);
    let value = fault.fault.as_object().as_of(version);
    let service = value.type_info().service;
    let mut detail = Writer::of_answer(service, version);
    let name = format!("{}Fault", value.type_name());
    // As an anyType, so that the type stands on the element even where it is the declared one.
    Value::Object(value.boxed_clone()).encode(&name, &mut detail);
    // The detail belongs to the namespace of its service, the fault around it to SOAP's.
    let detail = detail.finish().replacen(&name, &format!("{name} xmlns=\"{}\"", service.namespace()), 1);
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<soapenv:Envelope xmlns:soapenv=\"{NS_SOAP}\" \
         xmlns:xsi=\"{NS_XSI}\" xmlns:xsd=\"{NS_XSD}\"><soapenv:Body><soapenv:Fault>\
         <faultcode>ServerFaultCode</faultcode><faultstring>{}</faultstring><detail>{detail}</detail>\
         </soapenv:Fault></soapenv:Body></soapenv:Envelope>",
        text.finish()
    )
}

/// The text of the element called `name` in the header of an envelope.
pub(crate) fn in_header(body: &[u8], name: &str) -> Result<Option<String>, XmlError> {
    header_entry(body, name, |reader| reader.text().map(std::borrow::Cow::into_owned))
}

/// The element called `name` in the security header of an envelope, as it was sent.
pub(crate) fn in_security(body: &[u8], name: &str) -> Result<Option<String>, XmlError> {
    let found = header_entry(body, "Security", |reader| {
        while let Some(child) = reader.next_child()? {
            reader.skip()?;
            if child.local() == name {
                return Ok(Some(reader.since(&child).to_owned()));
            }
        }
        Ok(None)
    });
    found.map(Option::flatten)
}

/// The namespace of the element in an envelope's body, by what is declared on it and around it.
fn namespace_of_call(body: &[u8]) -> Result<Option<String>, XmlError> {
    let mut reader = Reader::new(body, limits())?;
    let envelope = reader.expect_child("Envelope")?;
    let envelope = reader.since(&envelope);
    while let Some(part) = reader.next_child()? {
        if part.local() != "Body" {
            reader.skip()?;
            continue;
        }
        let part = reader.since(&part);
        let Some(call) = reader.next_child()? else { break };
        let call = reader.since(&call);
        let name =
            call.trim_start_matches('<').split([' ', '\t', '\r', '\n', '/', '>']).next().unwrap_or_default();
        let declaration = match name.split_once(':') {
            Some((prefix, _)) => format!("xmlns:{prefix}"),
            None => "xmlns".to_owned(),
        };
        let declared = |tag| attributes(tag).find(|(name, _)| *name == declaration).map(|(_, value)| value);
        return Ok([call, part, envelope].into_iter().find_map(declared).map(str::to_owned));
    }
    Ok(None)
}

fn header_entry<'a, T>(
    body: &'a [u8],
    name: &str,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, XmlError>,
) -> Result<Option<T>, XmlError> {
    let mut reader = Reader::new(body, limits())?;
    reader.expect_child("Envelope")?;
    while let Some(part) = reader.next_child()? {
        if part.local() != "Header" {
            return Ok(None);
        }
        while let Some(header) = reader.next_child()? {
            if header.local() == name {
                return read(&mut reader).map(Some);
            }
            reader.skip()?;
        }
    }
    Ok(None)
}

/// A value as text, to tell whether it changed.
pub(crate) fn fingerprint(value: &Value) -> String {
    let mut writer = Writer::new(ApiVersion::LATEST);
    value.encode("v", &mut writer);
    writer.finish()
}

/// The version in `SOAPAction: "urn:vim25/8.0.3.0"`, quoted or not; `server` if it is absent, unknown or newer.
pub(crate) fn version_of(soap_action: Option<&str>, server: ApiVersion) -> ApiVersion {
    let asked = soap_action.and_then(|action| action.trim().trim_matches('"').rsplit('/').next());
    asked.and_then(ApiVersion::parse).map_or(server, |asked| asked.min(server))
}

fn unreadable(error: XmlError) -> Fault {
    invalid_request(format!("The request cannot be read: {error}"))
}

fn decode<T: Element>(xml: &str) -> Result<T, XmlError> {
    let mut reader = Reader::fragment(xml, limits())?;
    match reader.next_child()? {
        Some(start) => T::decode(&mut reader, &start),
        None => Err(reader.unexpected("an argument without an element".to_owned())),
    }
}

fn limits() -> Limits {
    Limits { max_depth: MAX_DEPTH, max_bytes: MAX_REQUEST }
}
