use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use super::engine::{decode_object, encode_object};
use super::{DataObject, Element, Object, TypeInfo, Value, registry};
use crate::xml::{Reader, Start, TypeSpace, Writer, XmlError};

/// A `T`, or anything that extends `T`, on the heap.
///
/// It derefs to `T`, so that the fields of `T` are at hand whatever the value really is; [`downcast_ref`](Self::downcast_ref)
/// reaches the fields of a subtype. A subtype that this crate does not know is a `T` whose
/// [`unknown_type`](Self::unknown_type) says so, with its further elements in the object's [`Extra`](super::Extra).
pub struct Poly<T: DataObject> {
    inner: Box<dyn Object>,
    declared: PhantomData<fn() -> T>,
}

/// Says that the type is `T` or extends it. Implemented by the generator, for the types that occur as fields.
pub trait IsA<T: DataObject>: DataObject {}

impl<T: DataObject> Poly<T> {
    /// Wraps a value.
    pub fn new(value: impl IsA<T>) -> Self {
        Self { inner: Box::new(value), declared: PhantomData }
    }

    /// Wraps an object whose type is only known at run time.
    ///
    /// # Errors
    /// Gives the object back when it is no `T`.
    pub fn try_from_object(object: Box<dyn Object>) -> Result<Self, Box<dyn Object>> {
        if object.is::<T>() { Ok(Self { inner: object, declared: PhantomData }) } else { Err(object) }
    }

    /// Whether the value is an `S`, or extends it.
    pub fn is<S: DataObject>(&self) -> bool {
        self.inner.is::<S>()
    }

    /// The value as an `S`, when it is one or extends it.
    pub fn downcast_ref<S: DataObject>(&self) -> Option<&S> {
        self.inner.downcast_ref::<S>()
    }

    /// The value as an `S`, when it is one or extends it.
    pub fn downcast_mut<S: DataObject>(&mut self) -> Option<&mut S> {
        self.inner.downcast_mut::<S>()
    }

    /// The value as a polymorphic `S`.
    ///
    /// # Errors
    /// Gives the value back when it is no `S`.
    pub fn cast<S: DataObject>(self) -> Result<Poly<S>, Self> {
        Poly::try_from_object(self.inner).map_err(|inner| Self { inner, declared: PhantomData })
    }

    /// The name of the type as the server sent it, when this crate does not know that type.
    pub fn unknown_type(&self) -> Option<&str> {
        self.inner.extra().type_name()
    }

    /// The name of the type as it stands on the wire.
    pub fn type_name(&self) -> &str {
        self.inner.type_name()
    }

    /// The value without its declared type.
    pub fn as_object(&self) -> &dyn Object {
        &*self.inner
    }

    /// The value without its declared type.
    pub fn into_object(self) -> Box<dyn Object> {
        self.inner
    }
}

impl<T: DataObject> Poly<T> {
    /// Reads an element whose type, where `xsi:type` does not say it, is the one called `otherwise`.
    pub(crate) fn decode_as(
        reader: &mut Reader<'_>,
        start: &Start<'_>,
        otherwise: Option<&str>,
    ) -> Result<Self, XmlError> {
        let Some(name) = otherwise.filter(|_| start.xsi_type().is_none()) else {
            return Self::decode(reader, start);
        };
        let info = registry::type_info(name).filter(|info| info.is_a(T::INFO));
        let mut inner = info.unwrap_or(T::INFO).instantiate();
        if info.is_none() {
            inner.extra_mut().set_type_name(name);
        }
        decode_object(&mut *inner, reader, start)?;
        Ok(Self { inner, declared: PhantomData })
    }
}

impl<T: DataObject> Deref for Poly<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self.inner.downcast_ref::<T>() {
            Some(value) => value,
            None => unreachable!("every constructor checked that the object is a {}", T::INFO.name),
        }
    }
}

impl<T: DataObject> DerefMut for Poly<T> {
    fn deref_mut(&mut self) -> &mut T {
        match self.inner.downcast_mut::<T>() {
            Some(value) => value,
            None => unreachable!("every constructor checked that the object is a {}", T::INFO.name),
        }
    }
}

impl<T: DataObject> Clone for Poly<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.boxed_clone(), declared: PhantomData }
    }
}

impl<T: DataObject> Default for Poly<T> {
    fn default() -> Self {
        Self { inner: Box::new(T::default()), declared: PhantomData }
    }
}

impl<T: DataObject> fmt::Debug for Poly<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: DataObject> Element for Poly<T> {
    const NAME: &'static str = T::NAME;

    fn as_object(&self) -> Option<&dyn Object> {
        Some(&*self.inner)
    }

    fn decode(reader: &mut Reader<'_>, start: &Start<'_>) -> Result<Self, XmlError> {
        let inner = decode_declared(T::INFO, reader, start)?;
        Ok(Self { inner, declared: PhantomData })
    }

    fn encode(&self, name: &str, writer: &mut Writer) {
        encode_object(&*self.inner, name, Some(T::INFO), writer);
    }

    fn to_value(&self) -> Value {
        Value::Object(self.inner.boxed_clone())
    }

    fn from_value(value: Value) -> Result<Self, Value> {
        match value {
            Value::Object(object) => Self::try_from_object(object).map_err(Value::Object),
            other => other.decode_unknown(T::INFO).map(|inner| Self { inner, declared: PhantomData }),
        }
    }
}

/// Reads an object of the type that the element names, as long as it extends `declared`; as `declared` otherwise.
pub(super) fn decode_declared(
    declared: &'static TypeInfo,
    reader: &mut Reader<'_>,
    start: &Start<'_>,
) -> Result<Box<dyn Object>, XmlError> {
    let info = match start.xsi_type() {
        Some(sent) if sent.space == TypeSpace::Api && sent.local != declared.name => {
            registry::type_info(&sent.local).filter(|info| info.is_a(declared)).unwrap_or(declared)
        }
        _ => declared,
    };
    let mut object = info.instantiate();
    decode_object(&mut *object, reader, start)?;
    Ok(object)
}
