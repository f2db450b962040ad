use std::fmt;

use super::{DataObject, Object, TypeInfo, Value, decode_object, encode_object};
use crate::xml::{Reader, Start, Writer, XmlError};

/// A value that stands in one XML element: a generated struct, an enum, a primitive, a reference, a [`Poly`](super::Poly) or a
/// [`Value`].
pub trait Element: Sized + Default + Clone + fmt::Debug + Send + Sync + 'static {
    /// Wire name of the type, as it stands behind `ArrayOf` and on an array's elements.
    const NAME: &'static str = match Self::STRUCT {
        Some(of) => of.info.name,
        // Stops the compiler, and no program.
        None => panic!("a type that is no generated struct has to give its name"),
    };

    /// What a generated struct needs to give, and nothing else; every other type gives its name, and the methods below.
    const STRUCT: Option<Struct<Self>> = None;

    /// Whether it is a generated struct. A condition on this constant alone keeps the other branch from being compiled, for
    /// each of the types.
    const IS_STRUCT: bool = Self::STRUCT.is_some();

    /// As an object, when it is one.
    #[inline]
    fn as_object(&self) -> Option<&dyn Object> {
        match Self::STRUCT {
            Some(of) => (of.as_object)(self),
            None => None,
        }
    }

    /// As an object to fill, when it is a generated struct.
    #[inline]
    fn as_object_mut(&mut self) -> Option<&mut dyn Object> {
        match Self::STRUCT {
            Some(of) => (of.as_object_mut)(self),
            None => None,
        }
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
        if let (Some(object), Some(of)) = (self.as_object(), Self::STRUCT) {
            encode_object(object, name, Some(of.info), writer);
        }
    }

    /// As a value whose type is only known at run time.
    #[inline]
    fn to_value(&self) -> Value {
        object_value(self.as_object())
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

/// A generated struct `T`, as the engine sees it. One constant for each type, in place of functions: there are three thousand.
pub struct Struct<T> {
    pub(super) info: &'static TypeInfo,
    as_object: fn(&T) -> Option<&dyn Object>,
    as_object_mut: fn(&mut T) -> Option<&mut dyn Object>,
}

impl<T: DataObject> Struct<T> {
    pub(crate) const THIS: Self = Self { info: T::INFO, as_object, as_object_mut };
}

impl<T> Clone for Struct<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Struct<T> {}

// Functions and not closures: a pointer to a closure takes a second function for each type.

#[inline]
fn as_object<T: DataObject>(value: &T) -> Option<&dyn Object> {
    Some(value)
}

#[inline]
fn as_object_mut<T: DataObject>(value: &mut T) -> Option<&mut dyn Object> {
    Some(value)
}

#[allow(
    clippy::borrowed_box,
    reason = "the pointer's type is that of any element, and the box is the element"
)]
fn boxed_as_object<T: Element>(boxed: &Box<T>) -> Option<&dyn Object> {
    (**boxed).as_object()
}

#[inline]
fn boxed_as_object_mut<T: Element>(boxed: &mut Box<T>) -> Option<&mut dyn Object> {
    (**boxed).as_object_mut()
}

fn object_value(object: Option<&dyn Object>) -> Value {
    object.map_or(Value::Null, |object| Value::Object(object.boxed_clone()))
}

impl<T: Element> Element for Box<T> {
    const NAME: &'static str = T::NAME;
    const STRUCT: Option<Struct<Self>> = match T::STRUCT {
        Some(of) => {
            Some(Struct { info: of.info, as_object: boxed_as_object, as_object_mut: boxed_as_object_mut })
        }
        None => None,
    };

    fn as_object(&self) -> Option<&dyn Object> {
        (**self).as_object()
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

    /// What stands for a value that the schema promises and the server left out: for a list, the empty one.
    fn when_unset() -> Option<Self> {
        None
    }
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

    fn when_unset() -> Option<Self> {
        Some(Vec::new())
    }
}
