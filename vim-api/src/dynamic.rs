//! The one engine behind three thousand generated types.
//!
//! A generated type is a plain struct plus a table of its fields ([`TypeInfo`]) and a way to reach each field as a
//! [`Slot`]. Decoding, encoding, printing and walking a property path are written once, here, over those tables.
//!
//! Polymorphism is open. A value of a declared type `T` that may be a subtype is a [`Poly<T>`]. What this crate does
//! not know (a type, an enum value or an element that a newer server sends) never fails a parse: the known base is
//! filled, the rest is kept in [`Extra`] as XML, and is written back under its own names.

mod array;
mod calendar;
mod element;
mod engine;
mod extra;
mod path;
mod poly;
mod primitive;
mod registry;
pub(crate) mod secrets;
mod slot;
mod value;

pub use array::Array;
pub use element::{ArrayOf, Element, FromValue, Struct};
pub(crate) use engine::{copy_object, decode_object, encode_object, fmt_object};
pub use extra::{Extra, RawElement};
pub(crate) use path::set_below;
pub use path::{PathError, get_path, get_path_in, set_path};
pub use poly::{IsA, Poly};
pub use primitive::{Binary, DateTime};
pub use registry::{managed_type, method, type_info, type_infos};
pub use slot::Slot;
pub use value::Value;

use std::any::Any;
use std::fmt;
use std::ops::DerefMut;

use crate::version::ApiVersion;
pub use crate::xml::Service;

/// A data object of the API: any generated struct.
///
/// What a generated struct implements is kept to what only it can know; the rest is on [`Level`] and on `dyn Object`.
pub trait Object: Level {
    /// The type's own field at `index` of [`TypeInfo::fields`].
    fn slot(&self, index: usize) -> Option<&dyn Slot>;
    /// The type's own field at `index` of [`TypeInfo::fields`].
    fn slot_mut(&mut self, index: usize) -> Option<&mut dyn Slot>;
}

/// Where an object stands among the types. A value is made of levels: its own fields, those of the type that its type
/// extends, and so on.
///
/// Implemented once for all types that extend another.
pub trait Level: Any + Send + Sync {
    /// The table of the type.
    fn type_info(&self) -> &'static TypeInfo;
    /// What lies below the type's own fields.
    fn below(&self) -> Below<'_>;
    /// What lies below the type's own fields.
    fn below_mut(&mut self) -> BelowMut<'_>;
}

/// A generated struct derefs to the part of it that belongs to the type it extends.
impl<T: DataObject + DerefMut<Target: DataObject>> Level for T {
    fn type_info(&self) -> &'static TypeInfo {
        T::INFO
    }

    fn below(&self) -> Below<'_> {
        Below::Base(&**self)
    }

    fn below_mut(&mut self) -> BelowMut<'_> {
        BelowMut::Base(&mut **self)
    }
}

/// What lies below the own fields of a type.
#[derive(Clone, Copy)]
pub enum Below<'a> {
    /// The part of the value that belongs to the type it extends.
    Base(&'a dyn Object),
    /// The type extends none. What the server sent beyond the fields of all levels.
    Root(&'a Extra),
}

/// As [`Below`], to change it.
pub enum BelowMut<'a> {
    /// The part of the value that belongs to the type it extends.
    Base(&'a mut dyn Object),
    /// The type extends none. What the server sent beyond the fields of all levels.
    Root(&'a mut Extra),
}

impl dyn Object {
    /// The part of the value that belongs to the type it extends.
    pub fn base(&self) -> Option<&dyn Object> {
        match self.below() {
            Below::Base(base) => Some(base),
            Below::Root(_) => None,
        }
    }

    /// The part of the value that belongs to the type it extends.
    pub fn base_mut(&mut self) -> Option<&mut dyn Object> {
        match self.below_mut() {
            BelowMut::Base(base) => Some(base),
            BelowMut::Root(_) => None,
        }
    }

    /// The value as who speaks `version` knows it: itself, or the part of it that belongs to the nearest type that it
    /// extends and that is not newer.
    pub fn as_of(&self, version: ApiVersion) -> &dyn Object {
        match self.base() {
            Some(base) if self.type_info().since() > version => base.as_of(version),
            _ => self,
        }
    }

    /// What the server sent beyond the known fields.
    pub fn extra(&self) -> &Extra {
        match self.below() {
            Below::Base(base) => base.extra(),
            Below::Root(extra) => extra,
        }
    }

    /// A copy.
    pub fn boxed_clone(&self) -> Box<dyn Object> {
        let mut copy = self.type_info().instantiate();
        copy_object(self, &mut *copy);
        copy
    }

    /// What the server sent beyond the known fields.
    pub fn extra_mut(&mut self) -> &mut Extra {
        match self.below_mut() {
            BelowMut::Base(base) => base.extra_mut(),
            BelowMut::Root(extra) => extra,
        }
    }

    /// The value as a `T`, when it is one or extends it.
    pub fn downcast_ref<T: DataObject>(&self) -> Option<&T> {
        let mut at = self;
        loop {
            if let Some(found) = (at as &dyn Any).downcast_ref::<T>() {
                return Some(found);
            }
            at = at.base()?;
        }
    }

    /// The value as a `T`, when it is one or extends it.
    pub fn downcast_mut<T: DataObject>(&mut self) -> Option<&mut T> {
        if (self as &dyn Any).is::<T>() {
            return (self as &mut dyn Any).downcast_mut::<T>();
        }
        self.base_mut()?.downcast_mut::<T>()
    }

    /// Whether the value is a `T` or extends it.
    pub fn is<T: DataObject>(&self) -> bool {
        self.type_info().is_a(T::INFO)
    }

    /// The name of the type as it stands on the wire: for a type that this crate does not know, the server's.
    pub fn type_name(&self) -> &str {
        self.extra().type_name().unwrap_or(self.type_info().name)
    }
}

impl fmt::Debug for dyn Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_object(self, f)
    }
}

impl Clone for Box<dyn Object> {
    fn clone(&self) -> Self {
        self.boxed_clone()
    }
}

/// A generated struct, as a compile-time type.
pub trait DataObject: Object + Element {
    /// The table of the type.
    const INFO: &'static TypeInfo;
}

/// The table of a data object type.
#[derive(Debug)]
pub struct TypeInfo {
    /// Wire name.
    pub name: &'static str,
    /// The type it extends.
    pub base: Option<&'static TypeInfo>,
    /// Its own fields in schema order, without the inherited ones.
    pub fields: &'static [FieldInfo],
    /// The service whose namespace the type and its own fields are in.
    pub service: Service,
    pub(crate) since: u8,
    pub(crate) new: fn() -> Box<dyn Object>,
}

impl TypeInfo {
    /// Whether this is `other` or extends it.
    pub fn is_a(&self, other: &TypeInfo) -> bool {
        let mut at = Some(self);
        while let Some(info) = at {
            if std::ptr::eq(info, other) || info.name == other.name {
                return true;
            }
            at = info.base;
        }
        false
    }

    /// The version that introduced the type.
    pub fn since(&self) -> ApiVersion {
        ApiVersion::from_index(self.since)
    }

    /// A value with every field at its default.
    pub fn instantiate(&self) -> Box<dyn Object> {
        (self.new)()
    }
}

/// The table entry of one field.
#[derive(Debug)]
pub struct FieldInfo {
    /// Wire name.
    pub name: &'static str,
    /// Whether the API marks the value as a secret. It is never printed, and neither are a few that the API forgot to mark.
    pub secret: bool,
    pub(crate) since: u8,
}

impl FieldInfo {
    /// The version that introduced the field.
    pub fn since(&self) -> ApiVersion {
        ApiVersion::from_index(self.since)
    }
}

/// The table of a managed object type.
#[derive(Debug)]
pub struct ManagedInfo {
    /// Wire name, as in the `type` attribute of a reference.
    pub name: &'static str,
    /// The type it extends.
    pub base: Option<&'static ManagedInfo>,
    /// Its own properties: name, and the name of the value's type (`[]` behind it for arrays).
    pub properties: &'static [PropertyInfo],
}

impl ManagedInfo {
    /// Whether this is the type called `name` or extends it.
    pub fn is_a(&self, name: &str) -> bool {
        let mut at = Some(self);
        while let Some(info) = at {
            if info.name == name {
                return true;
            }
            at = info.base;
        }
        false
    }

    /// The property of this name, inherited ones included.
    pub fn property(&self, name: &str) -> Option<&'static PropertyInfo> {
        let mut at = Some(self);
        while let Some(info) = at {
            if let Some(found) = info.properties.iter().find(|p| p.name == name) {
                return Some(found);
            }
            at = info.base;
        }
        None
    }
}

/// The table entry of a managed object's property.
#[derive(Debug)]
pub struct PropertyInfo {
    /// Wire name.
    pub name: &'static str,
    /// Wire name of the value's type, `[]` behind it for arrays.
    pub type_name: &'static str,
    /// Privilege needed to read it, if it takes one.
    pub privilege: Option<&'static str>,
    pub(crate) since: u8,
}

impl PropertyInfo {
    /// The version that introduced the property.
    pub fn since(&self) -> ApiVersion {
        ApiVersion::from_index(self.since)
    }
}

/// The table of a method.
#[derive(Debug)]
pub struct MethodInfo {
    /// Wire name, such as `CreateSnapshotEx_Task`.
    pub name: &'static str,
    /// The service that has it.
    pub service: Service,
    /// Its parameters, `_this` left out.
    pub params: &'static [FieldInfo],
    /// The faults that it declares, beside the `RuntimeFault` that every method may throw.
    pub faults: &'static [&'static str],
    /// Privilege needed to call it, if it takes one.
    pub privilege: Option<&'static str>,
    /// Whether it returns a task.
    pub is_task: bool,
    pub(crate) since: u8,
}

impl MethodInfo {
    /// The version that introduced the method.
    pub fn since(&self) -> ApiVersion {
        ApiVersion::from_index(self.since)
    }
}

/// A value of an enumeration: generated, and open for values that a newer server may send.
pub trait EnumValue: Sized {
    /// Wire name of the enumeration.
    const NAME: &'static str;
    /// The value as it stands on the wire.
    fn as_str(&self) -> &str;
    /// From the wire; never fails.
    fn from_wire(text: &str) -> Self;
}

/// What the generator writes for each struct beside the struct itself. `object!` is for a type that extends another,
/// `root_object!` for one that does not.
///
/// Each line here is compiled three thousand times: what a generic function can do stands in one.
macro_rules! object {
    ($service:ident $type:ident: $base:ty, $name:literal, $since:literal, [$($index:literal $field:ident $wire:literal $fsince:literal $secret:literal,)*]) => {
        impl std::ops::Deref for $type {
            type Target = $base;
            #[inline]
            fn deref(&self) -> &$base { &self.base }
        }
        impl std::ops::DerefMut for $type {
            #[inline]
            fn deref_mut(&mut self) -> &mut $base { &mut self.base }
        }
        $crate::dynamic::object!(@any $service $type, Some(<$base as $crate::dynamic::DataObject>::INFO), $name, $since, [$($index $field $wire $fsince $secret,)*]);
    };
    (@any $service:ident $type:ident, $base:expr, $name:literal, $since:literal, [$($index:literal $field:ident $wire:literal $fsince:literal $secret:literal,)*]) => {
        impl $crate::dynamic::Object for $type {
            #[allow(unused_variables, clippy::match_single_binding)]
            fn slot(&self, index: usize) -> Option<&dyn $crate::dynamic::Slot> {
                match index { $($index => Some(&self.$field),)* _ => None }
            }
            #[allow(unused_variables, clippy::match_single_binding)]
            fn slot_mut(&mut self, index: usize) -> Option<&mut dyn $crate::dynamic::Slot> {
                match index { $($index => Some(&mut self.$field),)* _ => None }
            }
        }
        impl $crate::dynamic::DataObject for $type {
            // A static behind the constant: as a constant alone, the table would be written out wherever it is used.
            const INFO: &'static $crate::dynamic::TypeInfo = {
                static INFO: $crate::dynamic::TypeInfo = $crate::dynamic::TypeInfo {
                    name: $name,
                    base: $base,
                    fields: &[$($crate::dynamic::FieldInfo { name: $wire, since: $fsince, secret: $secret },)*],
                    service: $crate::dynamic::Service::$service,
                    since: $since,
                    new: $crate::dynamic::instantiate::<$type>,
                };
                &INFO
            };
        }
        impl $crate::dynamic::Element for $type {
            const STRUCT: Option<$crate::dynamic::Struct<Self>> = Some($crate::dynamic::Struct::THIS);
        }
        impl Clone for $type {
            fn clone(&self) -> Self { $crate::dynamic::copy(self) }
        }
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { $crate::dynamic::fmt_object(self, f) }
        }
    };
}
pub(crate) use object;

macro_rules! root_object {
    ($service:ident $type:ident, $name:literal, $since:literal, [$($index:literal $field:ident $wire:literal $fsince:literal $secret:literal,)*]) => {
        impl $crate::dynamic::Level for $type {
            fn type_info(&self) -> &'static $crate::dynamic::TypeInfo { <Self as $crate::dynamic::DataObject>::INFO }
            fn below(&self) -> $crate::dynamic::Below<'_> { $crate::dynamic::Below::Root(&self.extra) }
            fn below_mut(&mut self) -> $crate::dynamic::BelowMut<'_> { $crate::dynamic::BelowMut::Root(&mut self.extra) }
        }
        $crate::dynamic::object!(@any $service $type, None, $name, $since, [$($index $field $wire $fsince $secret,)*]);
    };
}
pub(crate) use root_object;

/// What [`TypeInfo::instantiate`] calls.
#[inline]
pub(crate) fn instantiate<T: DataObject>() -> Box<dyn Object> {
    Box::new(T::default())
}

/// `Clone` of every generated type. A derived one would be as large as all the rest of a type's code.
#[inline]
pub(crate) fn copy<T: DataObject>(from: &T) -> T {
    let mut copy = T::default();
    copy_object(from, &mut copy);
    copy
}

/// What the generator writes for each enumeration: the enum itself, open at its end.
macro_rules! enumeration {
    ($(#[$doc:meta])* $type:ident, $name:literal, [$first:ident $first_wire:literal, $($variant:ident $wire:literal,)*]) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $type {
            #[doc = concat!("`", $first_wire, "`.")]
            #[default]
            $first,
            $(#[doc = concat!("`", $wire, "`.")] $variant,)*
            /// A value that this crate does not know, as the server sent it.
            Unrecognized(Box<str>),
        }
        impl $crate::dynamic::EnumValue for $type {
            const NAME: &'static str = $name;
            fn as_str(&self) -> &str {
                match self { Self::$first => $first_wire, $(Self::$variant => $wire,)* Self::Unrecognized(text) => text }
            }
            #[inline(never)]
            fn from_wire(text: &str) -> Self {
                match text { $first_wire => Self::$first, $($wire => Self::$variant,)* _ => Self::Unrecognized(text.into()) }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str($crate::dynamic::EnumValue::as_str(self))
            }
        }
        $crate::dynamic::enum_element!($type);
    };
}
pub(crate) use enumeration;

macro_rules! enum_element {
    ($type:ident) => {
        impl $crate::dynamic::Element for $type {
            const NAME: &'static str = <$type as $crate::dynamic::EnumValue>::NAME;
            fn decode(
                reader: &mut $crate::xml::Reader<'_>,
                _: &$crate::xml::Start<'_>,
            ) -> Result<Self, $crate::xml::XmlError> {
                Ok(<Self as $crate::dynamic::EnumValue>::from_wire(&reader.text()?))
            }
            fn encode(&self, name: &str, writer: &mut $crate::xml::Writer) {
                writer.open(name);
                writer.text($crate::dynamic::EnumValue::as_str(self));
                writer.close(name);
            }
            fn to_value(&self) -> $crate::dynamic::Value {
                $crate::dynamic::Value::enumeration(
                    <Self as $crate::dynamic::EnumValue>::NAME,
                    $crate::dynamic::EnumValue::as_str(self),
                )
            }
            fn from_value(value: $crate::dynamic::Value) -> Result<Self, $crate::dynamic::Value> {
                value
                    .into_enumeration(Self::NAME)
                    .map(|text| <Self as $crate::dynamic::EnumValue>::from_wire(&text))
            }
        }
    };
}
pub(crate) use enum_element;

/// What the generator writes for each managed object type beside its methods.
macro_rules! managed_object {
    ($type:ident: $base:ty, $name:literal, [$($property:literal $ptype:literal $psince:literal $privilege:expr,)*]) => {
        impl std::ops::Deref for $type {
            type Target = $base;
            fn deref(&self) -> &$base { &self.0 }
        }
        $crate::dynamic::managed_object!(@info $type, Some(<$base as $crate::mo::Managed>::INFO), $name, [$($property $ptype $psince $privilege,)*]);
    };
    (@info $type:ident, $base:expr, $name:literal, [$($property:literal $ptype:literal $psince:literal $privilege:expr,)*]) => {
        impl $crate::mo::Managed for $type {
            const INFO: &'static $crate::dynamic::ManagedInfo = &$crate::dynamic::ManagedInfo {
                name: $name,
                base: $base,
                properties: &[$($crate::dynamic::PropertyInfo { name: $property, type_name: $ptype, since: $psince, privilege: $privilege },)*],
            };
            fn handle(&self) -> &$crate::mo::Handle { self }
        }
        impl From<$crate::mo::Handle> for $type {
            fn from(handle: $crate::mo::Handle) -> Self { Self(handle.into()) }
        }
    };
}
pub(crate) use managed_object;
