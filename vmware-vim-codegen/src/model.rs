//! The vSphere API as plain data: what [`crate::load`] reads and the emitter writes out.
//!
//! Names are wire names throughout; turning them into Rust names is the emitter's business. Everything that refers to
//! another item does so by name, and [`crate::load`] has checked that the name exists. All maps are ordered and all
//! lists have a defined order, so that the same input always gives the same output.

use std::collections::BTreeMap;

/// A whole service, and those beside it that import its types: every type, enum and managed object visible at one API
/// version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// The services: `urn:vim25`, then those beside it. Every `service` below is an index into this list.
    pub services: Vec<Service>,
    /// Wire id of the API version the input describes, for example `9.1.1.0`. Empty when the input does not say.
    pub version: String,
    /// All API versions, oldest first. Every `since` below is an index into this list. Never empty.
    pub versions: Vec<ApiVersion>,
    /// Data objects, faults and events by wire name. Neither `ArrayOf…` wrappers nor request and response types nor
    /// `ManagedObjectReference` are among them.
    pub types: BTreeMap<String, DataType>,
    /// Enumerations by wire name.
    pub enums: BTreeMap<String, EnumType>,
    /// Managed object types by wire name.
    pub managed: BTreeMap<String, ManagedType>,
}

/// A service of its own namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// XML namespace, such as `urn:pbm`.
    pub namespace: String,
    /// Of a service beside: its own version ids, oldest first, each behind the version of the API that it builds on.
    pub versions: Vec<(u8, String)>,
}

/// One released version of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiVersion {
    /// The id as it travels in `SOAPAction` and in `vimServiceVersions.xml`, for example `8.0.2.0`.
    pub id: String,
    /// VMware's inner name, for example `vim.version.v8_0_2_0`. Empty when the input does not say.
    pub internal: String,
}

/// A data object type: a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataType {
    /// Wire name, as it appears in `xsi:type`.
    pub name: String,
    /// The service whose namespace it is in.
    pub service: usize,
    /// Wire name of the type this one extends. The chain of bases is free of cycles.
    pub base: Option<String>,
    /// The type's own fields without the inherited ones, in schema order. No name repeats an inherited one.
    pub fields: Vec<Field>,
    /// Version that introduced the type.
    pub since: u8,
    /// Direct subtypes, sorted.
    pub subtypes: Vec<String>,
    /// Dotted inner name such as `vim.vm.ConfigInfo`, if a sidecar gave it.
    pub vmodl: Option<String>,
}

/// A field of a data object, or a parameter of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Wire name.
    pub name: String,
    /// Type of one element.
    pub ty: TypeRef,
    /// How often the element may occur.
    pub card: Card,
    /// Version that introduced the field; never older than the type or method that owns it.
    pub since: u8,
    /// Whether the value is a secret (a password) that must not be logged.
    pub secret: bool,
    /// Privilege needed to pass the parameter, for example `VirtualMachine.State.CreateSnapshot`.
    pub privilege: Option<String>,
}

/// How often a value occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Card {
    /// Exactly once.
    Required,
    /// At most once.
    Optional,
    /// Any number of times. Byte arrays are `Many` of [`TypeRef::Byte`].
    Many,
}

/// The type of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TypeRef {
    /// `xsd:boolean`.
    Bool,
    /// `xsd:byte`, signed.
    Byte,
    /// `xsd:short`.
    Short,
    /// `xsd:int`.
    Int,
    /// `xsd:long`.
    Long,
    /// `xsd:float`.
    Float,
    /// `xsd:double`.
    Double,
    /// `xsd:string`.
    String,
    /// `xsd:dateTime`.
    DateTime,
    /// `xsd:base64Binary`.
    Binary,
    /// `xsd:anyURI`.
    Uri,
    /// `xsd:anyType`: the document's `xsi:type` decides.
    AnyType,
    /// A reference to a managed object; the managed type if the sidecar knows it (a key of [`Model::managed`]).
    MoRef(Option<String>),
    /// A data object or one of its subtypes (a key of [`Model::types`]).
    Data(String),
    /// An enumeration (a key of [`Model::enums`]).
    Enum(String),
    /// An `ArrayOf…` wrapper used directly as a type; holds the type of its elements.
    ArrayOf(Box<TypeRef>),
}

/// An enumeration. Servers may send values that are not listed here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnumType {
    /// Wire name.
    pub name: String,
    /// The service whose namespace it is in.
    pub service: usize,
    /// Values in schema order, without repetition.
    pub values: Vec<String>,
    /// Version that introduced the enumeration (its values carry no version).
    pub since: u8,
    /// Dotted inner name, if a sidecar gave it.
    pub vmodl: Option<String>,
}

/// A managed object type: it lives on the server, has properties and methods, and is passed by reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedType {
    /// Wire name, as in the `type` attribute of a reference.
    pub name: String,
    /// The service that its methods are called at.
    pub service: usize,
    /// Wire name of the managed type this one extends. The chain of bases is free of cycles.
    pub base: Option<String>,
    /// Version that introduced the type.
    pub since: u8,
    /// Own properties, without the inherited ones. None at a service beside: it has no PropertyCollector to read them.
    pub properties: Vec<Property>,
    /// Own methods, without the inherited ones.
    pub methods: Vec<Method>,
    /// Dotted inner name such as `vim.VirtualMachine`, if a sidecar gave it.
    pub vmodl: Option<String>,
}

/// A property of a managed object, read through the PropertyCollector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Wire name, the first step of a property path.
    pub name: String,
    /// Type of the value, or of one element if `card` is `Many`.
    pub ty: TypeRef,
    /// `Many` when the value arrives as an `ArrayOf…`; an optional array is `Many` too.
    pub card: Card,
    /// Version that introduced the property.
    pub since: u8,
    /// Privilege needed to read it.
    pub privilege: Option<String>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// Name of the WSDL operation, for example `CreateSnapshotEx_Task`.
    pub name: String,
    /// VMware's inner name, for example `createSnapshotEx`, if a sidecar gave it.
    pub vmodl: Option<String>,
    /// Parameters in wire order, without `_this`.
    pub params: Vec<Field>,
    /// What the call itself returns; `None` if it returns nothing. For a task method: the reference to the task, which at a
    /// service beside is of a type of its own.
    pub result: Option<MethodResult>,
    /// What the task leaves in `info.result`. Only for task methods whose result a sidecar states.
    pub task_result: Option<MethodResult>,
    /// Whether the name ends in `_Task`: the work continues on the server after the call returned.
    pub is_task: bool,
    /// Faults the call declares besides `RuntimeFault`, sorted (keys of [`Model::types`]).
    pub faults: Vec<String>,
    /// Version that introduced the method.
    pub since: u8,
    /// Privilege needed to call it.
    pub privilege: Option<String>,
}

/// Type and cardinality of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodResult {
    /// Type of the value, or of one element if `card` is `Many`.
    pub ty: TypeRef,
    /// How often it occurs.
    pub card: Card,
}
