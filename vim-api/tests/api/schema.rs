//! Documents that chance makes from a schema, for every type of it: no field may be lost on the way through the codec.
//!
//! The tables come from the WSDL files (`cargo xtask field-tables`): that of 9.1.1, from which the types are generated,
//! and VMware's own of 6.7.3, from which they are not. A failure prints the seed; `SCHEMA_SEED=n` runs that one alone.

mod documents;
mod table;

use std::env;

use vim_api::ApiVersion;
use vim_api::dynamic::{Object, Value, method, type_info, type_infos};
use vim_api::xml::Service;

use crate::{assert_survives, decode, element, encode_for};
use documents::{Document, Documents};
use table::Table;

const TODAY: &str = include_str!("../schema/9.1.1.txt");
const VMWARE: &str = include_str!("../schema/6.7.3.txt");

/// Types of 6.7.3 that 9.1.1 does not have: none. A new input that drops one names it here, with the reason.
const GONE_TYPES: &[(&str, &str)] = &[];

/// Methods of 6.7.3 that 9.1.1 does not have.
const GONE_METHODS: &[(&str, &str)] =
    &[("UpdateHostCustomizations_Task", "a later release took it away again, and pyVmomi knows it no more")];

fn seeds() -> Vec<u64> {
    match env::var("SCHEMA_SEED") {
        Ok(seed) => vec![seed.parse().expect("SCHEMA_SEED is a number")],
        // One that differs from run to run, so that many runs see more than one does.
        Err(_) => vec![1, 2, std::process::id().into()],
    }
}

/// The levels and the objects below are counted: elements that found no field, and types that nobody knows.
fn extras(object: &dyn Object) -> usize {
    let own = match object.base() {
        Some(base) => extras(base),
        None => object.extra().elements().len() + usize::from(object.extra().type_name().is_some()),
    };
    let fields = (0..object.type_info().fields.len()).filter_map(|index| object.slot(index)?.value());
    own + fields.map(|value| extras_of(&value)).sum::<usize>()
}

fn extras_of(value: &Value) -> usize {
    match value {
        Value::Object(object) => extras(&**object),
        Value::Array(array) => array.items().iter().map(extras_of).sum(),
        Value::Unknown { .. } => 1,
        _ => 0,
    }
}

/// The documents are of no namespace; `services.rs` is about those.
fn without_namespaces(written: &str) -> String {
    let mut text = written.replace("xsi:type=\"of:", "xsi:type=\"");
    for declaration in ["xmlns", "xmlns:of"] {
        for service in [Service::Vim25, Service::Pbm, Service::Vslm] {
            text = text.replace(&format!(" {declaration}=\"{}\"", service.namespace()), "");
        }
    }
    text
}

/// The document is read, holds what it should, and is written again to the last byte.
fn check(name: &str, document: &Document, version: ApiVersion, seed: u64) {
    let typed = format!("xsi:type=\"{name}\"");
    let told = || format!("{name}, SCHEMA_SEED={seed}: {}", document.content);
    let value: Value =
        decode(element(&typed, &document.content)).unwrap_or_else(|error| panic!("{error} in {}", told()));
    let written = without_namespaces(&encode_for(&value, version));
    assert_eq!(written, format!("<v {typed}>{}</v>", document.content), "{}", told());
    assert_eq!(extras_of(&value), document.extras, "{}", told());
    assert_survives(&value);
    assert_survives(&value.clone());
}

/// With fields set to values of subtypes, of types, of enumeration values and with elements that nobody knows yet.
#[test]
fn every_generated_type_keeps_every_field() {
    let table = Table::read(TODAY);
    let names: Vec<_> = type_infos().map(|info| info.name).collect();
    assert!(table.types.keys().copied().eq(names.iter().copied()), "the table is of another schema");
    for seed in seeds() {
        let mut documents = Documents::of_tomorrow(&table, seed);
        let (mut checked, mut extras) = (0, 0);
        for name in &names {
            let document = documents.object(name);
            check(name, &document, ApiVersion::LATEST, seed);
            checked += 1;
            extras += document.extras;
        }
        assert_eq!(checked, 3030 + 75 + 18);
        assert!(extras > 3000, "only {extras} things of tomorrow were tried");
    }
}

#[test]
fn every_array_keeps_every_item() {
    let table = Table::read(TODAY);
    for seed in seeds() {
        let mut documents = Documents::of_tomorrow(&table, seed);
        for item in table.item_types() {
            let document = documents.array(item);
            check(&documents::array_name(item), &document, ApiVersion::LATEST, seed);
        }
    }
}

/// The types are not made from this schema, so what both say is seen by two.
#[test]
fn every_type_of_vmwares_schema_keeps_every_field() {
    let (table, today) = (Table::read(VMWARE), Table::read(TODAY));
    let gone: Vec<_> = table.types.keys().copied().filter(|name| type_info(name).is_none()).collect();
    assert_eq!(gone, GONE_TYPES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let version = ApiVersion::parse("6.7.3").unwrap();
    for seed in seeds() {
        let mut documents = Documents::of_its_time(&table, &today, seed);
        let mut checked = 0;
        for name in table.types.keys().filter(|name| !gone.contains(name)) {
            check(name, &documents.object(name), version, seed);
            checked += 1;
        }
        assert_eq!(checked + gone.len(), 2765);
        for item in table.item_types() {
            let document = documents.array(item);
            check(&documents::array_name(item), &document, version, seed);
        }
    }
}

/// Requests are written from a method's parameters and are no types of their own: the names have to be there, in order.
#[test]
fn every_method_of_vmwares_schema_takes_its_parameters() {
    let table = Table::read(VMWARE);
    let gone: Vec<_> = table.methods.keys().copied().filter(|name| method(name).is_none()).collect();
    assert_eq!(gone, GONE_METHODS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, params) in table.methods.iter().filter(|(name, _)| !gone.contains(name)) {
        let known: Vec<_> = method(name).unwrap().params.iter().map(|param| param.name).collect();
        let kept: Vec<_> = known.into_iter().filter(|param| params.contains(param)).collect();
        assert_eq!(&kept, params, "{name}");
    }
    assert_eq!(table.methods.len(), 881);
}
