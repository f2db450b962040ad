//! The sorted tables through which a name from the wire finds its type, and the list of versions.

use super::rust_types::Context;
use super::{BANNER, names};

pub(super) fn file(context: &Context<'_>) -> String {
    let mut text = format!("{BANNER}\n\nuse crate::dynamic::{{DataObject, ManagedInfo, TypeInfo}};\n");
    text.push_str("use crate::generated::{managed as m, types as t};\nuse crate::mo::Managed;\n\n");
    text.push_str("pub use super::methods::METHODS;\n\n");
    text.push_str(
        "macro_rules! types { ($($name:ident)*) => { &[$(<t::$name as DataObject>::INFO,)*] }; }\n",
    );
    text.push_str(
        "macro_rules! managed { ($($name:ident)*) => { &[$(<m::$name as Managed>::INFO,)*] }; }\n\n",
    );
    let types: Vec<String> = context.model.types.keys().map(|name| names::data_type(name)).collect();
    let managed: Vec<String> = context.model.managed.keys().map(|name| names::data_type(name)).collect();
    let enums: Vec<String> = context.model.enums.keys().map(|name| format!("{name:?},")).collect();
    text.push_str("/// Every data object type, sorted by wire name.\n");
    text.push_str(&format!("pub static TYPES: &[&TypeInfo] = types![\n{}];\n\n", wrapped(&types)));
    text.push_str("/// Every managed object type, sorted by wire name.\n");
    text.push_str(&format!("pub static MANAGED: &[&ManagedInfo] = managed![\n{}];\n\n", wrapped(&managed)));
    text.push_str("/// The wire name of every enumeration, sorted.\n");
    text.push_str(&format!("pub static ENUMS: &[&str] = &[\n{}];\n", wrapped(&enums)));
    text
}

pub(super) fn versions(context: &Context<'_>) -> String {
    let mut text = format!(
        "{BANNER}\n\n/// Wire ids of the API versions, oldest first. A `since` is an index into it.\n"
    );
    text.push_str("pub const VERSIONS: &[&str] = &[\n");
    for version in &context.model.versions {
        text.push_str(&format!("    {:?},\n", version.id));
    }
    text.push_str("];\n\n");
    text.push_str("/// Version ids of the services beside, oldest first, each behind the version of the API that it builds on.\n");
    text.push_str("pub const BESIDE: &[(crate::xml::Service, &[(u8, &str)])] = &[\n");
    for (index, service) in context.model.services.iter().enumerate().skip(1) {
        let name = context.service(index);
        text.push_str(&format!("    (crate::xml::Service::{name}, &{:?}),\n", service.versions));
    }
    text.push_str("];\n");
    text
}

/// As many words a line as fit.
fn wrapped(words: &[String]) -> String {
    let mut out = String::new();
    let mut width = 0;
    for word in words {
        if width > 0 && width + word.len() + 1 > 110 {
            out.push('\n');
            width = 0;
        }
        out.push_str(if width == 0 { "    " } else { " " });
        width += word.len() + 1;
        out.push_str(word);
    }
    out.push('\n');
    out
}
