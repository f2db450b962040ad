use std::fmt;

use super::array::Items;
use super::poly::decode_declared;
use super::primitive::write_float;
use super::registry;
use super::{Array, Binary, DateTime, Element, Object, TypeInfo, encode_object};
use crate::moref::MoRef;
use crate::version::ApiVersion;
use crate::xml::{Limits, Reader, Start, TypeSpace, Writer, XmlError};

/// An `xsd:anyType`: a value whose type is only known from the document.
#[derive(Clone, Default)]
pub enum Value {
    /// `xsi:nil`, or nothing at all.
    #[default]
    Null,
    /// `xsd:boolean`.
    Bool(bool),
    /// `xsd:byte`.
    Byte(i8),
    /// `xsd:short`.
    Short(i16),
    /// `xsd:int`.
    Int(i32),
    /// `xsd:long`.
    Long(i64),
    /// `xsd:float`.
    Float(f32),
    /// `xsd:double`.
    Double(f64),
    /// `xsd:string`, and `xsd:anyURI`.
    String(String),
    /// `xsd:dateTime`.
    DateTime(DateTime),
    /// `xsd:base64Binary`.
    Binary(Binary),
    /// A value of an enumeration, known to this crate or not.
    Enum {
        /// Wire name of the enumeration.
        type_name: Box<str>,
        /// The value as sent.
        value: Box<str>,
    },
    /// A reference to a managed object.
    MoRef(MoRef),
    /// A data object.
    Object(Box<dyn Object>),
    /// An `ArrayOf…`.
    Array(Array),
    /// A value of a type that this crate does not know.
    Unknown {
        /// Wire name of the type; empty when the server named none.
        type_name: Box<str>,
        /// The content of the element as XML. `Debug` does not show it: nothing says whether it is a secret.
        xml: Box<str>,
    },
}

impl Value {
    /// An array of items whose declared type is called `item_name`.
    pub fn array(item_name: &str, items: Vec<Value>) -> Self {
        Self::Array(Array::new(item_name, items))
    }

    /// A value of the enumeration called `type_name`.
    pub(crate) fn enumeration(type_name: &str, value: &str) -> Self {
        Self::Enum { type_name: type_name.into(), value: value.into() }
    }

    pub(crate) fn into_enumeration(self, wanted: &str) -> Result<Box<str>, Self> {
        match self {
            Self::Enum { type_name, value } if &*type_name == wanted => Ok(value),
            other => Err(other),
        }
    }

    /// The value as an object.
    pub fn as_object(&self) -> Option<&dyn Object> {
        match self {
            Self::Object(object) => Some(&**object),
            _ => None,
        }
    }

    /// The value as a generated struct; only that type itself, not one that extends it.
    pub(super) fn into_struct<T: Element>(self) -> Result<T, Self> {
        let Some(declared) = T::STRUCT.map(|of| of.info) else { return Err(self) };
        let object: Box<dyn std::any::Any> = self.into_exactly(declared)?;
        object.downcast::<T>().map(|value| *value).map_err(|_| Self::Null)
    }

    fn into_exactly(self, declared: &'static TypeInfo) -> Result<Box<dyn Object>, Self> {
        match self {
            Self::Object(object) if std::ptr::eq(object.type_info(), declared) => Ok(object),
            Self::Object(object) => Err(Self::Object(object)),
            other => other.decode_unknown(declared),
        }
    }

    /// A value of an unknown type where a `declared` one belongs: its fields with what else was sent, as when it stands
    /// in a field of that type.
    pub(super) fn decode_unknown(self, declared: &'static TypeInfo) -> Result<Box<dyn Object>, Self> {
        let Self::Unknown { type_name, xml } = &self else { return Err(self) };
        // Text without elements is a value of some simple type.
        let is_object = xml.trim_start().is_empty() || xml.trim_start().starts_with('<');
        if !is_object || type_name.is_empty() || type_name.starts_with("xsd:") {
            return Err(self);
        }
        let mut element = Writer::new(ApiVersion::LATEST);
        element.open_typed("value", false, type_name);
        element.raw(xml);
        element.close("value");
        let element = element.finish();
        // It was within the limits as a part of the whole.
        let limits = Limits { max_depth: usize::MAX, max_bytes: usize::MAX };
        let decoded = Reader::fragment(&element, limits).and_then(|mut reader| {
            let start = reader.expect_child("value")?;
            decode_declared(declared, &mut reader, &start)
        });
        decoded.map_err(|_| self)
    }

    pub(super) fn decode_named(
        type_name: &str,
        space: TypeSpace,
        reader: &mut Reader<'_>,
        start: &Start<'_>,
    ) -> Result<Self, XmlError> {
        if space == TypeSpace::Xsd {
            return Self::decode_builtin(type_name, reader, start);
        }
        if let Some(info) = registry::type_info(type_name) {
            let mut object = info.instantiate();
            super::decode_object(&mut *object, reader, start)?;
            return Ok(Self::Object(object));
        }
        if type_name == "ManagedObjectReference" {
            return MoRef::decode(reader, start).map(Self::MoRef);
        }
        if registry::is_enum(type_name) {
            return Ok(Self::Enum { type_name: type_name.into(), value: reader.text()?.into() });
        }
        if let Some(items) = type_name.strip_prefix("ArrayOf").and_then(Items::named) {
            return items.decode(reader).map(Self::Array);
        }
        Ok(Self::Unknown { type_name: type_name.into(), xml: reader.capture_content()?.into() })
    }

    pub(super) fn decode_builtin(
        name: &str,
        reader: &mut Reader<'_>,
        start: &Start<'_>,
    ) -> Result<Self, XmlError> {
        Ok(match name {
            "boolean" => Self::Bool(bool::decode(reader, start)?),
            "byte" => Self::Byte(i8::decode(reader, start)?),
            "short" => Self::Short(i16::decode(reader, start)?),
            "int" => Self::Int(i32::decode(reader, start)?),
            "long" => Self::Long(i64::decode(reader, start)?),
            "float" => Self::Float(f32::decode(reader, start)?),
            "double" => Self::Double(f64::decode(reader, start)?),
            "string" | "anyURI" => Self::String(reader.text()?.into_owned()),
            "dateTime" => Self::DateTime(DateTime::decode(reader, start)?),
            "base64Binary" => Self::Binary(Binary::decode(reader, start)?),
            other => Self::Unknown {
                type_name: format!("xsd:{other}").into(),
                xml: reader.capture_content()?.into(),
            },
        })
    }

    /// Writes the value, with `xsi:type` unless the reader of the element knows that it is a `declared`.
    fn encode_typed(&self, name: &str, declared: Option<&str>, writer: &mut Writer) {
        match self {
            Self::Null => {
                writer.open_with(name, &[("xsi:nil", "true")]);
                writer.close(name);
                return;
            }
            Self::MoRef(v) if declared == Some("ManagedObjectReference") => return v.encode(name, writer),
            Self::MoRef(v) => return v.encode_any(name, writer),
            Self::Object(v) => {
                return encode_object(&**v, name, declared.and_then(registry::type_info), writer);
            }
            _ => {}
        }
        let builtin = self.builtin();
        match (builtin, self) {
            (Some(builtin), _) if declared == Some(builtin) => writer.open(name),
            (_, Self::String(_)) if declared == Some("anyURI") => writer.open(name),
            (Some(builtin), _) => writer.open_typed(name, true, builtin),
            (_, Self::Enum { type_name, .. }) if declared == Some(type_name) => writer.open(name),
            (_, Self::Enum { type_name, .. }) => writer.open_typed(name, false, type_name),
            (_, Self::Array(v)) => writer.open_typed(name, false, &v.type_name()),
            (_, Self::Unknown { type_name, .. }) => match type_name.strip_prefix("xsd:") {
                Some(local) => writer.open_typed(name, true, local),
                None if type_name.is_empty() => writer.open(name),
                None => writer.open_typed(name, false, type_name),
            },
            _ => writer.open(name),
        }
        match self {
            Self::Bool(v) => writer.display(v),
            Self::Byte(v) => writer.display(v),
            Self::Short(v) => writer.display(v),
            Self::Int(v) => writer.display(v),
            Self::Long(v) => writer.display(v),
            Self::Float(v) => write_float(*v, writer),
            Self::Double(v) => write_float(*v, writer),
            Self::String(v) => writer.text(v),
            Self::DateTime(v) => writer.text(v.as_str()),
            Self::Binary(v) => writer.raw(&v.to_base64()),
            Self::Enum { value, .. } => writer.text(value),
            Self::Array(v) => {
                for item in v.items() {
                    item.encode_typed(v.item_name(), Some(v.item_name()), writer);
                }
            }
            Self::Unknown { xml, .. } => writer.raw(xml),
            Self::Null | Self::MoRef(_) | Self::Object(_) => {}
        }
        writer.close(name);
    }

    /// The name of the value's type, when that is one of XML Schema's own.
    fn builtin(&self) -> Option<&'static str> {
        Some(match self {
            Self::Bool(_) => "boolean",
            Self::Byte(_) => "byte",
            Self::Short(_) => "short",
            Self::Int(_) => "int",
            Self::Long(_) => "long",
            Self::Float(_) => "float",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::DateTime(_) => "dateTime",
            Self::Binary(_) => "base64Binary",
            _ => return None,
        })
    }
}

impl Element for Value {
    const NAME: &'static str = "anyType";

    fn decode(reader: &mut Reader<'_>, start: &Start<'_>) -> Result<Self, XmlError> {
        if start.is_nil() {
            reader.skip()?;
            return Ok(Self::Null);
        }
        match start.xsi_type().cloned() {
            Some(sent) => Self::decode_named(&sent.local, sent.space, reader, start),
            None => Ok(Self::Unknown { type_name: "".into(), xml: reader.capture_content()?.into() }),
        }
    }

    fn encode(&self, name: &str, writer: &mut Writer) {
        self.encode_typed(name, None, writer);
    }

    fn to_value(&self) -> Value {
        self.clone()
    }

    fn from_value(value: Value) -> Result<Self, Value> {
        Ok(value)
    }

    fn as_object(&self) -> Option<&dyn Object> {
        Value::as_object(self)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Bool(v) => v.fmt(f),
            Self::Byte(v) => v.fmt(f),
            Self::Short(v) => v.fmt(f),
            Self::Int(v) => v.fmt(f),
            Self::Long(v) => v.fmt(f),
            Self::Float(v) => v.fmt(f),
            Self::Double(v) => v.fmt(f),
            Self::String(v) => v.fmt(f),
            Self::DateTime(v) => v.fmt(f),
            Self::Binary(v) => v.fmt(f),
            Self::Enum { type_name, value } => write!(f, "{type_name}::{value}"),
            Self::MoRef(v) => v.fmt(f),
            Self::Object(v) => v.fmt(f),
            Self::Array(v) => v.fmt(f),
            Self::Unknown { type_name, xml } => write!(f, "{type_name} ({} bytes of XML)", xml.len()),
        }
    }
}
