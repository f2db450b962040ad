use std::any::Any;
use std::fmt;

use super::{Element, Object, Value, copy_object, decode_object};
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

    /// An item of a list as an object, when there is one and it is one.
    fn item(&self, _at: usize) -> Option<&dyn Object> {
        None
    }

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
        if T::IS_STRUCT {
            clear(self);
            return fill(self.as_object_mut(), reader, start);
        }
        *self = T::decode(reader, start)?;
        Ok(())
    }

    fn set_nil(&mut self) {
        clear(self);
    }

    fn copy_from(&mut self, other: &dyn Slot) {
        if T::IS_STRUCT {
            clear(self);
            return copy_into(self.as_object_mut(), other.object());
        }
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
        if T::IS_STRUCT {
            return fill(renew(self).as_object_mut(), reader, start);
        }
        *self = Some(T::decode(reader, start)?);
        Ok(())
    }

    fn set_nil(&mut self) {
        *self = None;
    }

    fn copy_from(&mut self, other: &dyn Slot) {
        if T::IS_STRUCT {
            return copy_into(renew(self).as_object_mut(), other.object());
        }
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
        if T::IS_STRUCT {
            grow(self);
            return fill(self.last_mut().and_then(T::as_object_mut), reader, start);
        }
        self.push(T::decode(reader, start)?);
        Ok(())
    }

    fn set_nil(&mut self) {
        grow(self);
    }

    fn copy_from(&mut self, other: &dyn Slot) {
        if T::IS_STRUCT {
            self.clear();
            while let Some(item) = other.item(self.len()) {
                grow(self);
                copy_into(self.last_mut().and_then(T::as_object_mut), Some(item));
            }
            return;
        }
        copy(self, other);
    }

    fn encode(&self, name: &str, writer: &mut Writer) {
        for item in self {
            Element::encode(item, name, writer);
        }
    }

    fn value(&self) -> Option<Value> {
        list_value(T::NAME, &|at| self.get(at).map(Element::to_value))
    }

    fn object(&self) -> Option<&dyn Object> {
        None
    }

    fn item(&self, at: usize) -> Option<&dyn Object> {
        self.get(at).and_then(T::as_object)
    }

    fn is_set(&self) -> bool {
        !self.is_empty()
    }

    fn debug(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_list(f, &|at| self.get(at).map(|item| item as &dyn fmt::Debug))
    }
}

/// Reads a generated struct into its place, without a copy on the way.
fn fill(place: Option<&mut dyn Object>, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError> {
    match place {
        Some(object) => decode_object(object, reader, start),
        None => reader.skip(),
    }
}

/// Makes a new generated struct equal to another one.
fn copy_into(place: Option<&mut dyn Object>, from: Option<&dyn Object>) {
    if let (Some(to), Some(from)) = (place, from) {
        copy_object(from, to);
    }
}

fn list_value(name: &str, item: &dyn Fn(usize) -> Option<Value>) -> Option<Value> {
    let items: Vec<Value> = (0..).map_while(item).collect();
    (!items.is_empty()).then(|| Value::array(name, items))
}

fn debug_list<'a>(
    f: &mut fmt::Formatter<'_>,
    item: &dyn Fn(usize) -> Option<&'a dyn fmt::Debug>,
) -> fmt::Result {
    f.debug_list().entries((0..).map_while(item)).finish()
}

// Functions of their own, so that the new value, which may have kilobytes, is off the stack before the descent into it.

fn clear<T: Default>(place: &mut T) {
    *place = T::default();
}

fn renew<T: Default>(place: &mut Option<T>) -> &mut T {
    place.insert(T::default())
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
