use std::fmt;

use super::{Object, TypeInfo, Value, decode_object, encode_object};
use crate::xml::{Reader, Start, Writer, XmlError};

/// A value that stands in one XML element: a generated struct, an enum, a primitive, a reference, a [`Poly`](super::Poly) or a
/// [`Value`].
pub trait Element: Sized + Default + Clone + fmt::Debug + Send + Sync + 'static {
    /// Wire name of the type, as it stands behind `ArrayOf` and on an array's elements.
    const NAME: &'static str;

    /// The table of the type, when it is a generated struct. Such a type gives [`as_object`](Self::as_object) and
    /// [`as_object_mut`](Self::as_object_mut), and needs nothing else; every other type gives the methods below them.
    const STRUCT: Option<&'static TypeInfo> = None;

    /// As an object, when it is one.
    fn as_object(&self) -> Option<&dyn Object> {
        None
    }

    /// As an object to fill, when it is a generated struct.
    fn as_object_mut(&mut self) -> Option<&mut dyn Object> {
        None
    }

    /// Reads the element that `start` began.
    ///
    /// # Errors
    /// When the XML is broken, or the text is not of the type. What is merely unknown is kept, not refused.
    #[inline]
    fn decode(reader: &mut Reader<'_>, start: &Start<'_>) -> Result<Self, XmlError> {
        let mut value = Self::default();
        if let Some(object) = value.as_object_mut() {
            decode_object(object, reader, start)?;
        }
        Ok(value)
    }

    /// Writes it as an element called `name`.
    #[inline]
    fn encode(&self, name: &str, writer: &mut Writer) {
        if let Some(object) = self.as_object() {
            encode_object(object, name, Self::STRUCT, writer);
        }
    }

    /// As a value whose type is only known at run time.
    #[inline]
    fn to_value(&self) -> Value {
        self.as_object().map_or(Value::Null, |object| Value::Object(object.boxed_clone()))
    }

    /// From such a value.
    ///
    /// # Errors
    /// Gives the value back when it is of another type.
    #[inline]
    fn from_value(value: Value) -> Result<Self, Value> {
        value.into_struct()
    }
}

impl<T: Element> Element for Box<T> {
    const NAME: &'static str = T::NAME;
    const STRUCT: Option<&'static TypeInfo> = T::STRUCT;

    fn as_object(&self) -> Option<&dyn Object> {
        (**self).as_object()
    }

    fn as_object_mut(&mut self) -> Option<&mut dyn Object> {
        (**self).as_object_mut()
    }

    fn decode(reader: &mut Reader<'_>, start: &Start<'_>) -> Result<Self, XmlError> {
        T::decode(reader, start).map(Box::new)
    }

    fn encode(&self, name: &str, writer: &mut Writer) {
        (**self).encode(name, writer);
    }

    fn to_value(&self) -> Value {
        (**self).to_value()
    }

    fn from_value(value: Value) -> Result<Self, Value> {
        T::from_value(value).map(Box::new)
    }
}

/// An `ArrayOf…` wrapper that stands where a single value is declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArrayOf<T>(pub Vec<T>);

impl<T: Element> Element for ArrayOf<T> {
    const NAME: &'static str = T::NAME;

    fn decode(reader: &mut Reader<'_>, _: &Start<'_>) -> Result<Self, XmlError> {
        let mut items = Vec::new();
        while let Some(start) = reader.next_child()? {
            items.push(T::decode(reader, &start)?);
        }
        Ok(Self(items))
    }

    fn encode(&self, name: &str, writer: &mut Writer) {
        writer.open(name);
        for item in &self.0 {
            item.encode(T::NAME, writer);
        }
        writer.close(name);
    }

    fn to_value(&self) -> Value {
        Value::array(T::NAME, self.0.iter().map(Element::to_value).collect())
    }

    fn from_value(value: Value) -> Result<Self, Value> {
        Vec::from_value(value).map(Self)
    }
}

/// What a property's value can be taken as: one element, or a list of them.
pub trait FromValue: Sized {
    /// From a value whose type is only known at run time.
    ///
    /// # Errors
    /// Gives the value back when it is of another type.
    fn from_value(value: Value) -> Result<Self, Value>;
}

impl<T: Element> FromValue for T {
    fn from_value(value: Value) -> Result<Self, Value> {
        <T as Element>::from_value(value)
    }
}

impl<T: Element> FromValue for Vec<T> {
    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Array(array) => array.into_items().into_iter().map(<T as Element>::from_value).collect(),
            other => Err(other),
        }
    }
}
