use super::registry;
use super::{Binary, DataObject, DateTime, Element, Object, encode_object};
use crate::moref::MoRef;
use crate::xml::{Reader, Start, TypeSpace, Writer, XmlError};

/// An `xsd:anyType`: a value whose type is only known from the document.
#[derive(Clone, Debug, Default)]
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
        /// The content of the element as XML.
        xml: Box<str>,
    },
}

/// The items of an `ArrayOf…`.
#[derive(Clone, Debug, Default)]
pub struct Array {
    item_name: Box<str>,
    items: Vec<Value>,
}

impl Array {
    /// Wire name of the items' declared type, which is also their element name.
    pub fn item_name(&self) -> &str {
        &self.item_name
    }

    /// The items.
    pub fn items(&self) -> &[Value] {
        &self.items
    }

    /// The items.
    pub fn into_items(self) -> Vec<Value> {
        self.items
    }
}

impl Value {
    /// An array of items whose declared type is called `item_name`.
    pub fn array(item_name: &str, items: Vec<Value>) -> Self {
        Self::Array(Array { item_name: item_name.into(), items })
    }

    /// The value as an object.
    pub fn as_object(&self) -> Option<&dyn Object> {
        match self {
            Self::Object(object) => Some(&**object),
            _ => None,
        }
    }

    /// The value as a `T`; only the type itself, not one that extends it.
    pub(crate) fn into_object<T: DataObject>(self) -> Result<T, Self> {
        match self {
            Self::Object(object) => {
                if (&*object as &dyn std::any::Any).is::<T>() {
                    let any: Box<dyn std::any::Any> = object;
                    return any.downcast::<T>().map(|value| *value).map_err(|_| Self::Null);
                }
                Err(Self::Object(object))
            }
            other => Err(other),
        }
    }

    fn decode_named(
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
        if let Some(item) = type_name.strip_prefix("ArrayOf")
            && Self::is_item(item)
        {
            return Self::decode_array(item, reader);
        }
        Ok(Self::Unknown { type_name: type_name.into(), xml: reader.capture_content()?.into() })
    }

    fn decode_builtin(name: &str, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<Self, XmlError> {
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

    /// The items' type as it stands behind `ArrayOf`: built-in types begin with a capital there.
    fn is_item(name: &str) -> bool {
        builtin_item(name).is_some()
            || matches!(name, "AnyType" | "ManagedObjectReference")
            || registry::type_info(name).is_some()
            || registry::is_enum(name)
    }

    fn decode_array(item: &str, reader: &mut Reader<'_>) -> Result<Self, XmlError> {
        let builtin = builtin_item(item);
        let mut items = Vec::new();
        while let Some(start) = reader.next_child()? {
            let value = match (start.xsi_type().cloned(), builtin) {
                (Some(sent), _) => Self::decode_named(&sent.local, sent.space, reader, &start)?,
                (None, Some(name)) => Self::decode_builtin(name, reader, &start)?,
                (None, None) if item == "AnyType" => Self::decode(reader, &start)?,
                (None, None) => Self::decode_named(item, TypeSpace::Api, reader, &start)?,
            };
            items.push(value);
        }
        let item_name = builtin.unwrap_or(if item == "AnyType" { "anyType" } else { item });
        Ok(Self::array(item_name, items))
    }

    fn encode_typed(&self, name: &str, declared: Option<&str>, writer: &mut Writer) {
        let builtin = |writer: &mut Writer, type_name: &str, text: &dyn std::fmt::Display| {
            if declared == Some(type_name) {
                writer.open(name);
            } else {
                writer.open_typed(name, true, type_name);
            }
            writer.display(text);
            writer.close(name);
        };
        match self {
            Self::Null => {
                writer.open_with(name, &[("xsi:nil", "true")]);
                writer.close(name);
            }
            Self::Bool(v) => builtin(writer, "boolean", v),
            Self::Byte(v) => builtin(writer, "byte", v),
            Self::Short(v) => builtin(writer, "short", v),
            Self::Int(v) => builtin(writer, "int", v),
            Self::Long(v) => builtin(writer, "long", v),
            Self::Float(v) => builtin(writer, "float", v),
            Self::Double(v) => builtin(writer, "double", v),
            Self::DateTime(v) => builtin(writer, "dateTime", &v.as_str()),
            Self::Binary(v) => builtin(writer, "base64Binary", &v.to_base64()),
            Self::String(v) => {
                if declared == Some("string") {
                    writer.open(name);
                } else {
                    writer.open_typed(name, true, "string");
                }
                writer.text(v);
                writer.close(name);
            }
            Self::Enum { type_name, value } => {
                if declared == Some(type_name) {
                    writer.open(name);
                } else {
                    writer.open_typed(name, false, type_name);
                }
                writer.text(value);
                writer.close(name);
            }
            Self::MoRef(v) if declared == Some("ManagedObjectReference") => v.encode(name, writer),
            Self::MoRef(v) => v.encode_any(name, writer),
            Self::Object(v) => encode_object(&**v, name, declared.and_then(registry::type_info), writer),
            Self::Array(v) => {
                writer.open_typed(name, false, &format!("ArrayOf{}", capitalised(&v.item_name)));
                for item in &v.items {
                    item.encode_typed(&v.item_name, Some(&v.item_name), writer);
                }
                writer.close(name);
            }
            Self::Unknown { type_name, xml } => {
                match type_name.strip_prefix("xsd:") {
                    Some(local) => writer.open_typed(name, true, local),
                    None if type_name.is_empty() => writer.open(name),
                    None => writer.open_typed(name, false, type_name),
                }
                writer.raw(xml);
                writer.close(name);
            }
        }
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

/// The built-in type whose name stands capitalised behind `ArrayOf`.
fn builtin_item(name: &str) -> Option<&'static str> {
    Some(match name {
        "Boolean" => "boolean",
        "Byte" => "byte",
        "Short" => "short",
        "Int" => "int",
        "Long" => "long",
        "Float" => "float",
        "Double" => "double",
        "String" => "string",
        "AnyURI" => "anyURI",
        "DateTime" => "dateTime",
        "Base64Binary" => "base64Binary",
        _ => return None,
    })
}

/// Only built-in types are capitalised: `ArrayOfvslmInfrastructureObjectPolicy` keeps its small letter.
fn capitalised(item: &str) -> String {
    let mut chars = item.chars();
    match chars.next() {
        Some(first) if item == "anyType" || builtin_item(&format!("{}{}", first.to_ascii_uppercase(), chars.as_str())).is_some() => {
            format!("{}{}", first.to_ascii_uppercase(), chars.as_str())
        }
        _ => item.to_owned(),
    }
}
