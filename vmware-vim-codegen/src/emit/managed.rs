//! Managed objects: typed handles with property constants and method stubs.

use super::files::Item;
use super::rust_types::Context;
use super::structs::by_namespace;
use super::{names, pages};
use crate::model::{Card, ManagedType, Method, Property};

pub(super) fn items(context: &Context<'_>) -> Vec<Item> {
    let order = super::methods::order(context);
    context.model.managed.values().map(|ty| item(context, ty, &order)).collect()
}

fn item(context: &Context<'_>, ty: &ManagedType, order: &[&str]) -> Item {
    let rust = names::data_type(&ty.name);
    let mut text = String::new();
    let shown = ty.vmodl.as_deref().unwrap_or(&ty.name);
    text.push_str(&format!("/// Managed object `{shown}`.{}\n", context.since(ty.service, ty.since)));
    text.push_str(&pages::link("", ty.vmodl.as_deref()));
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
        for (owner, property) in constants {
            constant(context, owner, property, &mut text);
        }
        for method in &ty.methods {
            stub(context, ty, method, order, &mut text);
        }
        text.push_str("}\n");
    }
    Item { area: by_namespace(ty.vmodl.as_deref()), name: ty.name.clone(), text }
}

/// Each property and the type that has it. Inherited ones too: an associated constant is not found through `Deref`.
fn all_properties<'a>(context: &Context<'a>, ty: &'a ManagedType) -> Vec<(&'a ManagedType, &'a Property)> {
    let mut out: Vec<(&ManagedType, &Property)> = Vec::new();
    let mut at = Some(ty);
    while let Some(level) = at {
        out.extend(level.properties.iter().map(|property| (level, property)));
        at = level.base.as_ref().and_then(|base| context.model.managed.get(base));
    }
    out.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    out.dedup_by(|(_, a), (_, b)| a.name == b.name);
    out
}

fn constant(context: &Context<'_>, owner: &ManagedType, property: &Property, text: &mut String) {
    let (card, set) = match property.card {
        Card::Optional => (Card::Required, ", p::Optional"),
        card => (card, ""),
    };
    text.push_str(&format!(
        "    /// Property `{}`.{}",
        property.name,
        context.since(owner.service, property.since)
    ));
    if let Some(privilege) = &property.privilege {
        text.push_str(&format!(" Takes the privilege `{privilege}`."));
    }
    text.push('\n');
    text.push_str(&pages::link_within("    ", owner.vmodl.as_deref(), Some(&property.name)));
    text.push_str(&format!(
        "    pub const {}: p::Property<Self, {}{set}> = p::Property::new({:?});\n",
        names::constant(&property.name),
        context.result(&property.ty, card),
        property.name
    ));
}

fn stub(context: &Context<'_>, owner: &ManagedType, method: &Method, order: &[&str], text: &mut String) {
    text.push_str(&format!("    /// Calls `{}`.{}", method.name, context.since(owner.service, method.since)));
    if let Some(privilege) = &method.privilege {
        text.push_str(&format!(" Takes the privilege `{privilege}`."));
    }
    if !method.faults.is_empty() {
        let faults: Vec<String> =
            method.faults.iter().map(|f| format!("[`{0}`](t::{0})", names::data_type(f))).collect();
        text.push_str(&format!("\n    ///\n    /// Faults: {}.", faults.join(", ")));
    }
    text.push('\n');
    text.push_str(&pages::link_within("    ", owner.vmodl.as_deref(), method.vmodl.as_deref()));
    text.push_str(&format!("    pub fn {}(&self", names::method(&method.name)));
    for param in &method.params {
        text.push_str(&format!(", {}: {}", names::field(&param.name), context.param(&param.ty, param.card)));
    }
    // Tasks of a service beside are of a type of their own, and no PropertyCollector follows them.
    let task = if owner.service == 0 { "Task" } else { "DiskTask" };
    let result = match (&method.is_task, &method.task_result, &method.result) {
        (true, Some(result), _) => format!("c::{task}<{}>", context.result(&result.ty, result.card)),
        (true, None, _) => format!("c::{task}<()>"),
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
