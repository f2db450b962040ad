//! Enumerations.

use std::collections::BTreeSet;

use super::files::Item;
use super::rust_types::Context;
use super::structs::by_namespace;
use super::{names, pages};
use crate::model::EnumType;

pub(super) fn items(context: &Context<'_>) -> Vec<Item> {
    context.model.enums.values().map(|ty| item(context, ty)).collect()
}

fn item(context: &Context<'_>, ty: &EnumType) -> Item {
    let mut text = String::new();
    let shown = ty.vmodl.as_deref().unwrap_or(&ty.name);
    text.push_str("d::enumeration!(\n");
    text.push_str(&format!("    /// Enumeration `{shown}`.{}\n", context.since(ty.service, ty.since)));
    text.push_str(&pages::link("    ", ty.vmodl.as_deref()));
    text.push_str(&format!("    {}, {:?}, [\n", names::data_type(&ty.name), ty.name));
    let mut taken = BTreeSet::new();
    for value in &ty.values {
        let mut name = names::variant(value);
        while !taken.insert(name.clone()) {
            name.push('_');
        }
        text.push_str(&format!("        {name} {value:?},\n"));
    }
    text.push_str("    ]\n);\n");
    Item { area: by_namespace(ty.vmodl.as_deref()), name: ty.name.clone(), text }
}
