use std::any::Any;
use std::fmt;

use super::{Element, Object, Value, decode_object};
use crate::xml::{Reader, Start, Writer, XmlError};

/// A field of a generated struct, seen without its type.
pub trait Slot: Any {
    /// Takes the element that `start` began into the field: a list grows by it, anything else is replaced.
    ///
    /// # Errors
    /// See [`Element::decode`].
    fn decode(&mut self, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError>;

    /// Takes an element that says `xsi:nil`: it unsets an optional field, and stands for a default elsewhere.
    fn set_nil(&mut self);

    /// Makes the field equal to `other`, which is the same field of another value of the type.
    fn copy_from(&mut self, other: &dyn Slot);

    /// Writes the field under `name`: nothing, one element, or one for each item.
    fn encode(&self, name: &str, writer: &mut Writer);

    /// The field's value, or `None` when it is not set.
    fn value(&self) -> Option<Value>;

    /// The field as an object, when it is set and is one.
    fn object(&self) -> Option<&dyn Object>;

    /// Whether the field has a value. A required field always has one.
    fn is_set(&self) -> bool;

    /// Prints the value.
    ///
    /// # Errors
    /// When the formatter fails.
    fn debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

impl fmt::Debug for dyn Slot + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.debug(f)
    }
}

impl<T: Element> Slot for T {
    fn decode(&mut self, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError> {
        if T::STRUCT.is_none() {
            *self = T::decode(reader, start)?;
            return Ok(());
        }
        clear(self);
        fill(self, reader, start)
    }

    fn set_nil(&mut self) {
        clear(self);
    }

    fn copy_from(&mut self, other: &dyn Slot) {
        copy(self, other);
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

    fn debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt(f)
    }
}

impl<T: Element> Slot for Option<T> {
    fn decode(&mut self, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError> {
        if T::STRUCT.is_none() {
            *self = Some(T::decode(reader, start)?);
            return Ok(());
        }
        renew(self);
        match self {
            Some(new) => fill(new, reader, start),
            None => reader.skip(),
        }
    }

    fn set_nil(&mut self) {
        *self = None;
    }

    fn copy_from(&mut self, other: &dyn Slot) {
        copy(self, other);
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

    fn debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Some(value) => value.fmt(f),
            None => f.write_str("None"),
        }
    }
}

impl<T: Element> Slot for Vec<T> {
    fn decode(&mut self, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError> {
        if T::STRUCT.is_none() {
            self.push(T::decode(reader, start)?);
            return Ok(());
        }
        grow(self);
        match self.last_mut() {
            Some(new) => fill(new, reader, start),
            None => reader.skip(),
        }
    }

    fn set_nil(&mut self) {
        grow(self);
    }

    fn copy_from(&mut self, other: &dyn Slot) {
        copy(self, other);
    }

    fn encode(&self, name: &str, writer: &mut Writer) {
        for item in self {
            Element::encode(item, name, writer);
        }
    }

    fn value(&self) -> Option<Value> {
        if self.is_empty() {
            return None;
        }
        let mut items = Vec::with_capacity(self.len());
        for item in self {
            items.push(item.to_value());
        }
        Some(Value::array(T::NAME, items))
    }

    fn object(&self) -> Option<&dyn Object> {
        None
    }

    fn is_set(&self) -> bool {
        !self.is_empty()
    }

    fn debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for item in self {
            list.entry(item);
        }
        list.finish()
    }
}

/// Reads a generated struct into its place, without a copy on the way.
#[inline]
fn fill<T: Element>(place: &mut T, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError> {
    match place.as_object_mut() {
        Some(object) => decode_object(object, reader, start),
        None => reader.skip(),
    }
}

// Functions of their own, so that the new value, which may have kilobytes, is off the stack before the descent into it.

fn clear<T: Default>(place: &mut T) {
    *place = T::default();
}

fn renew<T: Default>(place: &mut Option<T>) {
    *place = Some(T::default());
}

fn grow<T: Default>(list: &mut Vec<T>) {
    list.push(T::default());
}

#[allow(clippy::assigning_clones)]
fn copy<S: Clone + 'static>(to: &mut S, from: &dyn Slot) {
    if let Some(from) = (from as &dyn Any).downcast_ref::<S>() {
        // Not clone_from: there is nothing to reuse, and it is compiled into far more.
        *to = from.clone();
    }
}
