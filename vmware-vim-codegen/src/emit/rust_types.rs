//! Which Rust type stands for which type of the model.

use std::collections::BTreeSet;

use super::{names, paths};
use crate::model::{Card, Model, TypeRef};

pub(super) struct Context<'a> {
    pub(super) model: &'a Model,
    /// Types that have subtypes and stand somewhere as a declared type: there a `Poly` stands in Rust.
    pub(super) polymorphic: BTreeSet<&'a str>,
    /// Types that a property path can go through.
    pub(super) on_paths: BTreeSet<&'a str>,
}

impl<'a> Context<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        let mut polymorphic = BTreeSet::new();
        let mut note = |ty: &'a TypeRef| {
            let mut at = ty;
            while let TypeRef::ArrayOf(inner) = at {
                at = inner;
            }
            if let TypeRef::Data(name) = at
                && model.types.get(name).is_some_and(|t| !t.subtypes.is_empty())
            {
                polymorphic.insert(name.as_str());
            }
        };
        for field in model.types.values().flat_map(|t| &t.fields) {
            note(&field.ty);
        }
        for managed in model.managed.values() {
            managed.properties.iter().for_each(|p| note(&p.ty));
            for method in &managed.methods {
                method.params.iter().for_each(|p| note(&p.ty));
                method.result.iter().chain(&method.task_result).for_each(|r| note(&r.ty));
            }
        }
        Self { model, polymorphic, on_paths: paths::reachable(model) }
    }

    /// The sentence of a doc comment that says which version brought something, with a blank before it; nothing where
    /// the input does not know versions, or of a service beside only that it is older than what it builds on.
    pub(super) fn since(&self, service: usize, since: u8) -> String {
        match self.model.versions.get(usize::from(since)) {
            Some(version) if !version.id.is_empty() && (service == 0 || since > 0) => {
                format!(" Since API {}.", version.id)
            }
            _ => String::new(),
        }
    }

    /// One item, as a field holds it.
    pub(super) fn item(&self, ty: &TypeRef) -> String {
        match ty {
            TypeRef::Bool => "bool".into(),
            TypeRef::Byte => "i8".into(),
            TypeRef::Short => "i16".into(),
            TypeRef::Int => "i32".into(),
            TypeRef::Long => "i64".into(),
            TypeRef::Float => "f32".into(),
            TypeRef::Double => "f64".into(),
            TypeRef::String | TypeRef::Uri => "String".into(),
            TypeRef::DateTime => "d::DateTime".into(),
            TypeRef::Binary => "d::Binary".into(),
            TypeRef::AnyType => "d::Value".into(),
            TypeRef::MoRef(None) => "MoRef".into(),
            TypeRef::MoRef(Some(name)) => format!("MoRef<m::{}>", names::data_type(name)),
            TypeRef::Data(name) if self.polymorphic.contains(name.as_str()) => {
                format!("d::Poly<t::{}>", names::data_type(name))
            }
            TypeRef::Data(name) | TypeRef::Enum(name) => format!("t::{}", names::data_type(name)),
            TypeRef::ArrayOf(inner) => format!("d::ArrayOf<{}>", self.item(inner)),
        }
    }

    /// A field, with its cardinality. Optional structs are boxed: most are absent most of the time.
    pub(super) fn field(&self, ty: &TypeRef, card: Card) -> String {
        let item = self.item(ty);
        match card {
            Card::Required => item,
            Card::Many => format!("Vec<{item}>"),
            Card::Optional if matches!(ty, TypeRef::Data(name) if !self.polymorphic.contains(name.as_str())) =>
            {
                format!("Option<Box<{item}>>")
            }
            Card::Optional => format!("Option<{item}>"),
        }
    }

    /// A result or a property: nothing is boxed.
    pub(super) fn result(&self, ty: &TypeRef, card: Card) -> String {
        let item = self.item(ty);
        match card {
            Card::Required => item,
            Card::Optional => format!("Option<{item}>"),
            Card::Many => format!("Vec<{item}>"),
        }
    }

    /// A parameter: borrowed unless it is a number.
    pub(super) fn param(&self, ty: &TypeRef, card: Card) -> String {
        let item = match ty {
            TypeRef::Bool
            | TypeRef::Byte
            | TypeRef::Short
            | TypeRef::Int
            | TypeRef::Long
            | TypeRef::Float
            | TypeRef::Double => self.item(ty),
            TypeRef::String | TypeRef::Uri => "&str".into(),
            _ => format!("&{}", self.item(ty)),
        };
        match card {
            Card::Required => item,
            Card::Optional => format!("Option<{item}>"),
            Card::Many => format!("&[{}]", self.item(ty)),
        }
    }

    /// The wire name of a property's type, `[]` behind an array.
    pub(super) fn wire(&self, ty: &TypeRef, card: Card) -> String {
        let name = match ty {
            TypeRef::Bool => "boolean",
            TypeRef::Byte => "byte",
            TypeRef::Short => "short",
            TypeRef::Int => "int",
            TypeRef::Long => "long",
            TypeRef::Float => "float",
            TypeRef::Double => "double",
            TypeRef::String => "string",
            TypeRef::Uri => "anyURI",
            TypeRef::DateTime => "dateTime",
            TypeRef::Binary => "base64Binary",
            TypeRef::AnyType => "anyType",
            TypeRef::MoRef(_) => "ManagedObjectReference",
            TypeRef::Data(name) | TypeRef::Enum(name) => name,
            TypeRef::ArrayOf(inner) => return format!("{}[]", self.wire(inner, Card::Required)),
        };
        if card == Card::Many { format!("{name}[]") } else { name.to_owned() }
    }

    /// The variant of vim-api's `Service`: `Pbm` for `urn:pbm`.
    pub(super) fn service(&self, service: usize) -> String {
        let namespace = self.model.services.get(service).map_or("", |service| service.namespace.as_str());
        names::data_type(namespace.trim_start_matches("urn:"))
    }

    /// The bases of a data type, nearest first.
    pub(super) fn ancestors(&self, name: &str) -> Vec<&'a str> {
        let model: &'a Model = self.model;
        let mut out = Vec::new();
        let mut at = model.types.get(name).and_then(|t| t.base.as_deref());
        while let Some(base) = at {
            out.push(base);
            at = model.types.get(base).and_then(|t| t.base.as_deref());
        }
        out
    }
}
