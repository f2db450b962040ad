#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use vim_api::dynamic::method;
use vim_api::xml::Service;

use super::{RULES, Rule, privilege_of};
use crate::authorization::privileges;

/// Each name of a method that the sources speak of, which are all that are dispatched, and some more. Left out are the
/// files whose names need not be methods: the table, which would vouch for itself, and the privileges.
fn methods_in_sources() -> BTreeSet<String> {
    fn read(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, found);
            } else if !path.ends_with("table.rs")
                && !path.ends_with("privileges.rs")
                && path.extension().is_some_and(|suffix| suffix == "rs")
            {
                let text = fs::read_to_string(&path).unwrap();
                let names = text.split('"').filter(|name| is_method(name));
                found.extend(names.map(str::to_owned));
            }
        }
    }
    let mut found = BTreeSet::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found
}

fn is_method(name: &str) -> bool {
    method(name).is_some_and(|method| method.service == Service::Vim25)
        || crate::wire::INTERNAL.contains(&name)
}

#[test]
fn every_method_that_is_dispatched_has_its_privilege() {
    let known = methods_in_sources();
    for name in ["CreateSnapshot_Task", "Destroy_Task", "ReadNextEvents", "DisableMethods"] {
        assert!(known.contains(name), "the sources were not read: {name}");
    }
    let without: Vec<&String> = known
        .iter()
        .filter(|name| privilege_of(name).is_none() && !RULES.iter().any(|(rule, _)| rule == name))
        .collect();
    assert!(without.is_empty(), "nobody has said who may call {without:?}");
}

#[test]
fn rows_are_of_methods_that_exist_and_each_stands_once() {
    for (at, (name, rule)) in RULES.iter().enumerate() {
        assert!(is_method(name) || *name == "Fetch", "{name}");
        assert!(!RULES.iter().skip(at + 1).any(|(other, _)| other == name), "{name} stands twice");
        if let Rule::This(privilege) | Rule::Each(privilege, _) | Rule::Stores(privilege, _) = rule {
            assert!(privileges::is_known(privilege), "{name}: {privilege}");
        }
    }
}

#[test]
fn privileges_of_the_schema_that_calls_here_need_are_known() {
    for name in methods_in_sources() {
        if let Some(privilege) = privilege_of(&name) {
            assert!(privileges::is_known(privilege), "{name}: {privilege}");
        }
    }
}
