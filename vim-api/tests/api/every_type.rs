//! All data types of the schema, one after the other: what holds for one has to hold for three thousand.

use vim_api::ApiVersion;
use vim_api::dynamic::{FieldInfo, Object, TypeInfo, Value, type_info, type_infos};
use vim_api::xml::{Limits, Reader};

use crate::{decode, element, encode, encode_for, reread};

/// All fields of a type, those of the root first, as they travel.
fn fields(info: &'static TypeInfo) -> Vec<&'static FieldInfo> {
    let mut fields = info.base.map_or_else(Vec::new, fields);
    fields.extend(info.fields);
    fields
}

fn object(value: &Value) -> &dyn Object {
    value.as_object().expect("a known type gives an object")
}

/// Some content that the field called `name` of type `info` takes: of the built-in types, numbers do not take `true`.
fn content(info: &TypeInfo, name: &str) -> &'static str {
    ["true", "1"]
        .into_iter()
        .find(|text| {
            let document =
                element(&format!("xsi:type=\"{}\"", info.name), &format!("<{name}>{text}</{name}>"));
            decode::<Value>(&document).is_ok()
        })
        .unwrap_or_else(|| panic!("{}.{name} takes neither a word nor a number", info.name))
}

/// An object of the type with every field set.
fn full(info: &'static TypeInfo) -> Value {
    let content: String = fields(info)
        .into_iter()
        .map(|field| format!("<{0}>{1}</{0}>", field.name, content(info, field.name)))
        .collect();
    decode(element(&format!("xsi:type=\"{}\"", info.name), &content)).unwrap()
}

/// The names of the children of the one element in `xml`.
fn children(xml: &str) -> Vec<String> {
    let mut reader = Reader::fragment(xml, Limits::default()).unwrap();
    reader.expect_child("v").unwrap();
    let mut names = Vec::new();
    while let Some(child) = reader.next_child().unwrap() {
        names.push(child.local().to_owned());
        reader.skip().unwrap();
    }
    names
}

#[test]
fn the_registry_is_whole_and_finds_each() {
    let mut count = 0;
    let mut last = "";
    for info in type_infos() {
        assert!(last < info.name, "{last} stands before {}", info.name);
        last = info.name;
        count += 1;
        assert!(std::ptr::eq(type_info(info.name).unwrap(), info), "{}", info.name);
        assert!(std::ptr::eq(info.instantiate().type_info(), info), "{}", info.name);
        if let Some(base) = info.base {
            assert!(std::ptr::eq(type_info(base.name).unwrap(), base), "{} extends a copy", info.name);
            assert!(info.since() >= base.since(), "{} is older than what it extends", info.name);
        }
    }
    assert_eq!(count, 3030 + 75 + 18, "the API, storage policies, first-class disks");
    assert!(type_info("VirtualQuantumDisk").is_none() && type_info("").is_none());
}

#[test]
fn empty_ones_survive() {
    for info in type_infos() {
        let value = Value::Object(info.instantiate());
        let written = encode(&value);
        let again: Value = reread(&written);
        assert_eq!(encode(&again), written);
        assert_eq!(object(&again).type_name(), info.name);
        assert!(object(&again).extra().is_empty(), "{written}");
        assert_eq!(encode(&again.clone()), written);
    }
}

/// Shows that each of the 7,818 fields is filled by the element of its name and by no other, and is written in the order
/// of the schema.
#[test]
fn full_ones_survive() {
    for info in type_infos() {
        let value = full(info);
        assert!(object(&value).extra().is_empty(), "{}", info.name);
        let written = encode(&value);
        let expected: Vec<_> = fields(info).into_iter().map(|field| field.name).collect();
        assert_eq!(children(&written), expected, "{}", info.name);
        let again: Value = reread(&written);
        assert_eq!(encode(&again), written);
        assert_eq!(format!("{again:?}"), format!("{value:?}"));
        assert_eq!(encode(&value.clone()), written);
    }
}

#[test]
fn each_field_alone_is_the_one_that_is_set() {
    let unset: Vec<_> = type_infos().collect();
    for info in unset.iter().step_by(7) {
        let empty = children(&encode(&Value::Object(info.instantiate())));
        for field in fields(info) {
            let document = element(
                &format!("xsi:type=\"{}\"", info.name),
                &format!("<{0}>{1}</{0}>", field.name, content(info, field.name)),
            );
            let set = children(&encode(&decode::<Value>(document).unwrap()));
            let more: Vec<_> = set.iter().filter(|name| !empty.contains(name)).collect();
            assert!(
                more.is_empty() && empty.iter().any(|name| name == field.name) || more == [field.name],
                "{}.{} gave {more:?}",
                info.name,
                field.name
            );
        }
    }
}

/// A server refuses what it does not know, so what is newer than the agreed version is not written.
#[test]
fn newer_fields_are_left_out() {
    for id in ["2.5", "5.5", "6.7", "7.0.3.0", "8.0.3.0", "9.1.1.0"] {
        let version = ApiVersion::parse(id).unwrap();
        let mut left_out = 0;
        for info in type_infos().step_by(3) {
            let known: Vec<_> =
                fields(info).into_iter().filter(|f| f.since() <= version).map(|f| f.name).collect();
            left_out += fields(info).len() - known.len();
            assert_eq!(children(&encode_for(&full(info), version)), known, "{} for {id}", info.name);
        }
        assert_eq!(left_out == 0, version == ApiVersion::LATEST, "{left_out} fields are newer than {id}");
    }
}
