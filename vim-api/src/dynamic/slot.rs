use std::fmt;

use super::{Element, Object, Value};
use crate::xml::{Reader, Start, Writer, XmlError};

/// A field of a generated struct, seen without its type.
pub trait Slot: fmt::Debug {
    /// Takes the element that `start` began into the field: a list grows by it, anything else is replaced.
    ///
    /// # Errors
    /// See [`Element::decode`].
    fn decode(&mut self, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError>;

    /// Writes the field under `name`: nothing, one element, or one for each item.
    fn encode(&self, name: &str, writer: &mut Writer);

    /// The field's value, or `None` when it is not set.
    fn value(&self) -> Option<Value>;

    /// The field as an object, when it is set and is one.
    fn object(&self) -> Option<&dyn Object>;

    /// Whether the field has a value. A required field always has one.
    fn is_set(&self) -> bool;
}

impl<T: Element> Slot for T {
    fn decode(&mut self, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError> {
        *self = T::decode(reader, start)?;
        Ok(())
    }

    fn encode(&self, name: &str, writer: &mut Writer) {
        Element::encode(self, name, writer);
    }

    fn value(&self) -> Option<Value> {
        Some(self.to_value())
    }

    fn object(&self) -> Option<&dyn Object> {
        self.as_object()
    }

    fn is_set(&self) -> bool {
        true
    }
}

impl<T: Element> Slot for Option<T> {
    fn decode(&mut self, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError> {
        *self = Some(T::decode(reader, start)?);
        Ok(())
    }

    fn encode(&self, name: &str, writer: &mut Writer) {
        if let Some(value) = self {
            Element::encode(value, name, writer);
        }
    }

    fn value(&self) -> Option<Value> {
        self.as_ref().map(Element::to_value)
    }

    fn object(&self) -> Option<&dyn Object> {
        self.as_ref().and_then(Element::as_object)
    }

    fn is_set(&self) -> bool {
        self.is_some()
    }
}

impl<T: Element> Slot for Vec<T> {
    fn decode(&mut self, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError> {
        self.push(T::decode(reader, start)?);
        Ok(())
    }

    fn encode(&self, name: &str, writer: &mut Writer) {
        for item in self {
            Element::encode(item, name, writer);
        }
    }

    fn value(&self) -> Option<Value> {
        (!self.is_empty()).then(|| Value::array(T::NAME, self.iter().map(Element::to_value).collect()))
    }

    fn object(&self) -> Option<&dyn Object> {
        None
    }

    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}
