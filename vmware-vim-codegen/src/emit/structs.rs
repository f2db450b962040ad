//! Data objects, faults and events.

use super::files::Item;
use super::rust_types::Context;
use super::{names, pages, paths};
use crate::model::{DataType, Field};

pub(super) fn items(context: &Context<'_>) -> Vec<Item> {
    context.model.types.values().map(|ty| item(context, ty)).collect()
}

fn item(context: &Context<'_>, ty: &DataType) -> Item {
    let rust = names::data_type(&ty.name);
    let mut text = String::new();
    text.push_str(&format!("/// {}\n", describe(context, ty)));
    text.push_str(&pages::link("", ty.vmodl.as_deref()));
    let mut line = |s: String| {
        text.push_str(&s);
        text.push('\n');
    };
    line("#[derive(Default)]".into());
    line(format!("pub struct {rust} {{"));
    match &ty.base {
        Some(base) => {
            let base = names::data_type(base);
            line(format!("    /// The fields of [`{base}`](t::{base})."));
            line(format!("    pub base: t::{base},"));
        }
        None => {
            line("    /// What the server sent beyond the known fields.\n    pub extra: d::Extra,".into())
        }
    }
    for field in &ty.fields {
        line(format!("    /// {}", describe_field(context, ty.since, field)));
        line(format!("    pub {}: {},", names::field(&field.name), context.field(&field.ty, field.card)));
    }
    line("}".into());
    let service = context.service(ty.service);
    match &ty.base {
        Some(base) => {
            let base = names::data_type(base);
            line(format!("d::object!({service} {rust}: t::{base}, {:?}, {}, [", ty.name, ty.since))
        }
        None => line(format!("d::root_object!({service} {rust}, {:?}, {}, [", ty.name, ty.since)),
    }
    for (index, field) in ty.fields.iter().enumerate() {
        line(format!(
            "    {index} {} {:?} {} {},",
            names::field(&field.name),
            field.name,
            field.since,
            field.secret
        ));
    }
    line("]);".into());
    for base in std::iter::once(ty.name.as_str()).chain(context.ancestors(&ty.name)) {
        if context.polymorphic.contains(base) {
            line(format!("impl d::IsA<t::{}> for {rust} {{}}", names::data_type(base)));
        }
    }
    if context.on_paths.contains(ty.name.as_str()) {
        text.push_str(&paths::methods(context, ty));
    }
    Item { area: area(context, ty), name: ty.name.clone(), text }
}

fn describe(context: &Context<'_>, ty: &DataType) -> String {
    let kind = if is_a(context, ty, "MethodFault") {
        "Fault"
    } else if is_a(context, ty, "Event") {
        "Event"
    } else {
        "Data object"
    };
    let mut text = format!("{kind} `{}`", ty.vmodl.as_deref().unwrap_or(&ty.name));
    if let Some(base) = &ty.base {
        let base = names::data_type(base);
        text.push_str(&format!(", which extends [`{base}`](t::{base})"));
    }
    text.push('.');
    text.push_str(&context.since(ty.service, ty.since));
    text
}

pub(super) fn describe_field(context: &Context<'_>, owner_since: u8, field: &Field) -> String {
    let mut text = format!("`{}`.", field.name);
    if field.since > owner_since {
        text.push_str(&context.since(0, field.since));
    }
    if field.secret {
        text.push_str(" A secret: never printed.");
    }
    if let Some(privilege) = &field.privilege {
        text.push_str(&format!(" Setting it takes the privilege `{privilege}`."));
    }
    text
}

fn is_a(context: &Context<'_>, ty: &DataType, base: &str) -> bool {
    ty.name == base || context.ancestors(&ty.name).contains(&base)
}

/// Faults and events have areas of their own, and so do services beside; the rest follows the namespaces of the API.
fn area(context: &Context<'_>, ty: &DataType) -> String {
    if ty.service > 0 {
        return by_namespace(ty.vmodl.as_deref());
    }
    if is_a(context, ty, "MethodFault") {
        return "fault".into();
    }
    if is_a(context, ty, "Event") {
        return "event".into();
    }
    by_namespace(ty.vmodl.as_deref())
}

/// `vim.vm.device.VirtualDisk` belongs to `vm`, `vim.Description` to `general`, `pbm.profile.Profile` to `pbm`.
pub(super) fn by_namespace(vmodl: Option<&str>) -> String {
    let parts: Vec<&str> = vmodl.unwrap_or_default().split('.').collect();
    match parts.as_slice() {
        [service, ..] if !matches!(*service, "vim" | "vmodl" | "") => (*service).to_owned(),
        [_, area, _, ..] => names::field(area).trim_start_matches("r#").to_owned(),
        _ => "general".into(),
    }
}
