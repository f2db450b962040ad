//! Managed objects: typed handles with property constants and method stubs.

use super::files::Item;
use super::names;
use super::rust_types::Context;
use super::structs::by_namespace;
use crate::model::{Card, ManagedType, Method, Property};

pub(super) fn items(context: &Context<'_>) -> Vec<Item> {
    let order = super::methods::order(context);
    context.model.managed.values().map(|ty| item(context, ty, &order)).collect()
}

fn item(context: &Context<'_>, ty: &ManagedType, order: &[&str]) -> Item {
    let rust = names::data_type(&ty.name);
    let mut text = String::new();
    let shown = ty.vmodl.as_deref().unwrap_or(&ty.name);
    text.push_str(&format!("/// Managed object `{shown}`.{}\n", context.since(ty.since)));
    text.push_str("#[derive(Clone, Debug)]\n");
    match &ty.base {
        Some(base) => {
            let base = names::data_type(base);
            text.push_str(&format!("pub struct {rust}(m::{base});\n"));
            text.push_str(&format!("d::managed_object!({rust}: m::{base}, {:?}, [\n", ty.name));
        }
        None => {
            text.push_str(&format!("pub struct {rust}(crate::mo::Handle);\n"));
            text.push_str(&format!("d::managed_object!(@info {rust}, None, {:?}, [\n", ty.name));
        }
    }
    for property in &ty.properties {
        text.push_str(&format!(
            "    {:?} {:?} {} {:?},\n",
            property.name,
            context.wire(&property.ty, property.card),
            property.since,
            property.privilege
        ));
    }
    text.push_str("]);\n");
    if ty.base.is_none() {
        text.push_str(&format!("impl std::ops::Deref for {rust} {{\n    type Target = crate::mo::Handle;\n"));
        text.push_str("    fn deref(&self) -> &crate::mo::Handle { &self.0 }\n}\n");
    }
    let constants = all_properties(context, ty);
    if !constants.is_empty() || !ty.methods.is_empty() {
        text.push_str(&format!("#[allow(clippy::too_many_arguments)]\nimpl {rust} {{\n"));
        for property in constants {
            constant(context, property, &mut text);
        }
        for method in &ty.methods {
            stub(context, method, order, &mut text);
        }
        text.push_str("}\n");
    }
    Item { area: by_namespace(ty.vmodl.as_deref()), name: ty.name.clone(), text }
}

/// Inherited properties too: an associated constant is not found through `Deref`.
fn all_properties<'a>(context: &Context<'a>, ty: &'a ManagedType) -> Vec<&'a Property> {
    let mut out: Vec<&Property> = Vec::new();
    let mut at = Some(ty);
    while let Some(level) = at {
        out.extend(level.properties.iter());
        at = level.base.as_ref().and_then(|base| context.model.managed.get(base));
    }
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out.dedup_by(|a, b| a.name == b.name);
    out
}

fn constant(context: &Context<'_>, property: &Property, text: &mut String) {
    // Whether the server leaves the property out is seen on each read; the constant names the value's type alone.
    let card = if property.card == Card::Many { Card::Many } else { Card::Required };
    text.push_str(&format!("    /// Property `{}`.{}", property.name, context.since(property.since)));
    if let Some(privilege) = &property.privilege {
        text.push_str(&format!(" Takes the privilege `{privilege}`."));
    }
    text.push_str(&format!(
        "\n    pub const {}: p::Property<Self, {}> = p::Property::new({:?});\n",
        names::constant(&property.name),
        context.result(&property.ty, card),
        property.name
    ));
}

fn stub(context: &Context<'_>, method: &Method, order: &[&str], text: &mut String) {
    text.push_str(&format!("    /// Calls `{}`.{}", method.name, context.since(method.since)));
    if let Some(privilege) = &method.privilege {
        text.push_str(&format!(" Takes the privilege `{privilege}`."));
    }
    if !method.faults.is_empty() {
        let faults: Vec<String> =
            method.faults.iter().map(|f| format!("[`{0}`](t::{0})", names::data_type(f))).collect();
        text.push_str(&format!("\n    ///\n    /// Faults: {}.", faults.join(", ")));
    }
    text.push_str(&format!("\n    pub fn {}(&self", names::method(&method.name)));
    for param in &method.params {
        text.push_str(&format!(", {}: {}", names::field(&param.name), context.param(&param.ty, param.card)));
    }
    let result = match (&method.is_task, &method.task_result, &method.result) {
        (true, Some(result), _) => format!("c::Task<{}>", context.result(&result.ty, result.card)),
        (true, None, _) => "c::Task<()>".into(),
        (false, _, Some(result)) => context.result(&result.ty, result.card),
        (false, _, None) => "()".into(),
    };
    let index = order.iter().position(|name| *name == method.name).unwrap_or_default();
    text.push_str(&format!(") -> c::Call<{result}> {{\n        c::CallBuilder::to(self, &METHODS[{index}])"));
    for param in &method.params {
        text.push_str(&format!(".arg({})", names::field(&param.name)));
    }
    text.push_str(".end()\n    }\n");
}
