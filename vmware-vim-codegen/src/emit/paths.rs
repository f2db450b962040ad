//! What a property path goes on with inside of a data object: a method for each field.

use std::collections::BTreeSet;

use super::names;
use super::rust_types::Context;
use super::structs::describe_field;
use crate::model::{Card, DataType, Field, Model, TypeRef};

/// The data types that a path can lead to. A path begins at a property of a managed object, goes on into the fields of the
/// declared type, and ends at a list, unless its items have keys.
pub(super) fn reachable(model: &Model) -> BTreeSet<&str> {
    let properties = model.managed.values().flat_map(|managed| &managed.properties);
    let mut open: Vec<&str> = properties.filter_map(|p| next(model, &p.ty, p.card)).collect();
    let mut found = BTreeSet::new();
    while let Some(name) = open.pop() {
        if found.insert(name) {
            open.extend(fields(model, name).into_iter().filter_map(|f| next(model, &f.ty, f.card)));
        }
    }
    found
}

/// The methods of paths that lead to a value of type `ty`.
pub(super) fn methods(context: &Context<'_>, ty: &DataType) -> String {
    let item = context.item(&TypeRef::Data(ty.name.clone()));
    let mut text = String::new();
    let fields = fields(context.model, &ty.name);
    if !fields.is_empty() {
        text.push_str(&format!("impl<M, P> p::Property<M, {item}, P> {{\n"));
        for field in &fields {
            let (card, set) = match field.card {
                Card::Optional => (Card::Required, "p::Optional"),
                card => (card, "P"),
            };
            text.push_str(&format!("    /// On to {}\n", describe_field(context, ty.since, field)));
            text.push_str(&format!(
                "    pub fn {}(&self) -> p::Property<M, {}, {set}> {{ self.then({:?}) }}\n",
                names::field(&field.name),
                context.result(&field.ty, card),
                field.name
            ));
        }
        text.push_str("}\n");
    }
    if let Some(key) = key(context.model, &ty.name) {
        let (key, by) = if key.ty == TypeRef::Int { ("i32", "numbered") } else { ("&str", "named") };
        text.push_str(&format!("impl<M, P> p::Property<M, Vec<{item}>, P> {{\n"));
        text.push_str("    /// On to the item whose field `key` has that value.\n");
        text.push_str(&format!(
            "    pub fn at(&self, key: {key}) -> p::Property<M, {item}, p::Optional> {{ self.{by}(key) }}\n}}\n"
        ));
    }
    text
}

/// The data type whose fields a path goes on with behind a value of type `ty`.
fn next<'a>(model: &'a Model, ty: &'a TypeRef, card: Card) -> Option<&'a str> {
    let TypeRef::Data(name) = ty else { return None };
    (card != Card::Many || key(model, name).is_some()).then_some(name)
}

/// The field whose value stands in brackets behind a list of such items.
fn key<'a>(model: &'a Model, name: &str) -> Option<&'a Field> {
    fields(model, name)
        .into_iter()
        .find(|f| f.name == "key" && f.card != Card::Many && matches!(f.ty, TypeRef::Int | TypeRef::String))
}

/// All fields of a type, those of its bases first.
fn fields<'a>(model: &'a Model, name: &str) -> Vec<&'a Field> {
    let Some(ty) = model.types.get(name) else { return Vec::new() };
    let mut out = ty.base.as_deref().map(|base| fields(model, base)).unwrap_or_default();
    out.extend(&ty.fields);
    out
}
