//! The table of methods.

use std::collections::BTreeMap;

use super::BANNER;
use super::rust_types::Context;
use crate::model::Method;

/// Method names in the order of the table.
pub(super) fn order<'a>(context: &Context<'a>) -> Vec<&'a str> {
    let model: &'a crate::model::Model = context.model;
    let mut names: Vec<&str> =
        model.managed.values().flat_map(|m| &m.methods).map(|m| m.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

pub(super) fn file(context: &Context<'_>) -> String {
    let methods: BTreeMap<&str, (usize, &Method)> = context
        .model
        .managed
        .values()
        .flat_map(|m| m.methods.iter().map(|method| (method.name.as_str(), (m.service, method))))
        .collect();
    let mut text =
        format!("{BANNER}\n\nuse crate::dynamic::{{FieldInfo as F, MethodInfo as M, Service as S}};\n\n");
    text.push_str("/// Every method, sorted by name.\n");
    text.push_str(&format!("pub static METHODS: [M; {}] = [\n", methods.len()));
    for (service, method) in methods.values() {
        text.push_str(&format!(
            "    M {{ name: {:?}, service: S::{}, since: {}, is_task: {}, ",
            method.name,
            context.service(*service),
            method.since,
            method.is_task
        ));
        text.push_str(&format!("privilege: {:?}, params: &[", method.privilege));
        for param in &method.params {
            text.push_str(&format!(
                "F {{ name: {:?}, since: {}, secret: {} }}, ",
                param.name, param.since, param.secret
            ));
        }
        text.push_str(&format!("], faults: &{:?} }},\n", method.faults));
    }
    text.push_str("];\n");
    text
}
