//! References to managed objects.

use std::borrow::Cow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;

use crate::dynamic::{Element, ManagedInfo, Value, managed_type};
use crate::mo::{self, Managed};
use crate::xml::{Reader, Start, Writer, XmlError};

/// What a reference says, whatever type it is declared as: this is compiled once, and [`MoRef`] for each managed type.
#[derive(Clone, Default)]
struct Reference {
    type_name: Cow<'static, str>,
    value: Box<str>,
    server_guid: Option<Box<str>>,
}

impl Reference {
    fn of_type(type_name: &str, value: Box<str>) -> Self {
        let type_name = match managed_type(type_name) {
            Some(info) => Cow::Borrowed(info.name),
            None => Cow::Owned(type_name.to_owned()),
        };
        Self { type_name, value, server_guid: None }
    }

    fn is_a(&self, info: &ManagedInfo) -> bool {
        self.type_name == info.name || managed_type(&self.type_name).is_some_and(|own| own.is_a(info.name))
    }

    fn decode(reader: &mut Reader<'_>, start: &Start<'_>) -> Result<Self, XmlError> {
        let type_name = start.attribute("type")?.unwrap_or_default();
        let server_guid = start.attribute("serverGuid")?.map(Into::into);
        let value = reader.text()?;
        Ok(Self { server_guid, ..Self::of_type(&type_name, value.into()) })
    }

    fn write(&self, name: &str, before: &[(&str, &str)], writer: &mut Writer) {
        let mut attributes = before.to_vec();
        if !self.type_name.is_empty() {
            attributes.push(("type", &*self.type_name));
        }
        if let Some(guid) = &self.server_guid {
            attributes.push(("serverGuid", guid));
        }
        writer.open_with(name, &attributes);
        writer.text(&self.value);
        writer.close(name);
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.type_name, self.value)
    }
}

/// A managed object reference ("moRef"): the server's name for an object, such as `VirtualMachine:vm-101`.
///
/// `T` is the declared type of the object; the reference itself says which type it really is. A moRef is valid on one
/// server and may change when a machine is registered anew: it is never an identity to store.
pub struct MoRef<T = mo::ManagedObject> {
    reference: Reference,
    declared: PhantomData<fn() -> T>,
}

impl<T: Managed> MoRef<T> {
    /// The reference `value` to an object of type `T`.
    pub fn new(value: impl Into<Box<str>>) -> Self {
        let type_name = Cow::Borrowed(T::INFO.name);
        Self::from(Reference { type_name, value: value.into(), server_guid: None })
    }
}

impl<T> From<Reference> for MoRef<T> {
    fn from(reference: Reference) -> Self {
        Self { reference, declared: PhantomData }
    }
}

impl<T> MoRef<T> {
    /// The reference `value` to an object of the type called `type_name`.
    pub fn of_type(type_name: &str, value: impl Into<Box<str>>) -> Self {
        Self::from(Reference::of_type(type_name, value.into()))
    }

    /// The server's name for the object, such as `vm-101`.
    pub fn value(&self) -> &str {
        &self.reference.value
    }

    /// Wire name of the object's real type, such as `VirtualMachine`.
    pub fn type_name(&self) -> &str {
        &self.reference.type_name
    }

    /// The same reference under another declared type, unchecked.
    pub fn cast<U>(&self) -> MoRef<U> {
        MoRef::from(self.reference.clone())
    }

    /// The same reference as one to a `U`, if the object's type is `U` or extends it.
    pub fn downcast<U: Managed>(&self) -> Option<MoRef<U>> {
        self.reference.is_a(U::INFO).then(|| self.cast())
    }

    /// Written as an `anyType`: with `xsi:type`.
    pub(crate) fn encode_any(&self, name: &str, writer: &mut Writer) {
        self.reference.write(name, &[("xsi:type", "ManagedObjectReference")], writer);
    }
}

impl<T: 'static> Element for MoRef<T> {
    const NAME: &'static str = "ManagedObjectReference";

    fn decode(reader: &mut Reader<'_>, start: &Start<'_>) -> Result<Self, XmlError> {
        Reference::decode(reader, start).map(Self::from)
    }

    fn encode(&self, name: &str, writer: &mut Writer) {
        self.reference.write(name, &[], writer);
    }

    fn to_value(&self) -> Value {
        Value::MoRef(self.cast())
    }

    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::MoRef(moref) => Ok(Self::from(moref.reference)),
            other => Err(other),
        }
    }
}

impl<T> Clone for MoRef<T> {
    fn clone(&self) -> Self {
        self.cast()
    }
}

impl<T> Default for MoRef<T> {
    fn default() -> Self {
        Self::from(Reference::default())
    }
}

impl<T, U> PartialEq<MoRef<U>> for MoRef<T> {
    fn eq(&self, other: &MoRef<U>) -> bool {
        self.value() == other.value() && self.type_name() == other.type_name()
    }
}

impl<T> Eq for MoRef<T> {}

impl<T> Hash for MoRef<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.value().hash(state);
        self.type_name().hash(state);
    }
}

impl<T> fmt::Display for MoRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reference.fmt(f)
    }
}

impl<T> fmt::Debug for MoRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
