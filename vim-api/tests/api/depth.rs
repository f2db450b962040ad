//! A document as deep as the limit allows must fit any stack, also in a build without optimisation.

use std::thread;

use vim_api::dynamic::{Value, type_infos};
use vim_api::xml::{Limits, XmlErrorKind};

use crate::{decode, decode_within, element, encode};

/// What threads have by default, tokio's included.
const STACK: usize = 2 << 20;

/// Wraps `levels` around nothing: `<a xsi:type="A"><b xsi:type="B"><a ..`.
fn nested(levels: &[(&str, &str)], depth: usize) -> String {
    let around: Vec<_> = levels.iter().cycle().take(depth).collect();
    let mut text = String::new();
    for (name, type_name) in &around {
        text.push_str(&format!("<{name} xsi:type=\"{type_name}\">"));
    }
    for (name, _) in around.iter().rev() {
        text.push_str(&format!("</{name}>"));
    }
    text
}

/// Reads, copies, prints, writes and drops it.
fn exercise(document: &str) {
    let value: Value =
        decode(document).unwrap_or_else(|e| panic!("{e}: {}", &document[..document.len().min(400)]));
    let copy = value.clone();
    assert!(encode(&copy).len() > 2000);
    assert!(!format!("{value:?}").is_empty());
}

fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
}

#[test]
fn types_that_hold_each_other() {
    on_a_small_stack(|| {
        let depth = Limits::default().max_depth - 1;
        for (outer, levels) in [
            ("OptionValue", &[("value", "OptionValue")][..]),
            ("LocalizedMethodFault", &[("fault", "InvalidState"), ("faultCause", "LocalizedMethodFault")]),
            ("VirtualMachineSnapshotTree", &[("childSnapshotList", "VirtualMachineSnapshotTree")]),
            ("VirtualDiskFlatVer2BackingInfo", &[("parent", "VirtualDiskFlatVer2BackingInfo")]),
            (
                "VirtualMachineConfigInfo",
                &[("extraConfig", "OptionValue"), ("value", "VirtualMachineConfigInfo")],
            ),
            (
                "VirtualMachineConfigSpec",
                &[("extraConfig", "OptionValue"), ("value", "VirtualMachineConfigSpec")],
            ),
            (
                "OptionValue",
                &[
                    ("value", "ArrayOfAnyType"),
                    ("anyType", "ArrayOfOptionValue"),
                    ("OptionValue", "OptionValue"),
                ],
            ),
            ("OptionValue", &[("unknown", "NewType")]),
            ("NewType", &[("unknown", "NewType")]),
        ] {
            exercise(&element(&format!("xsi:type=\"{outer}\""), &nested(levels, depth)));
        }
    });
}

/// Every type that has a field for an `OptionValue`, or an `anyType`, can be nested in itself by it.
#[test]
fn every_type_that_can_hold_itself() {
    on_a_small_stack(|| {
        let depth = Limits::default().max_depth - 1;
        let mut found = 0;
        for info in type_infos() {
            for field in info.fields {
                for levels in [
                    &[(field.name, info.name)][..],
                    &[(field.name, "OptionValue"), ("value", info.name)],
                    &[(field.name, "DynamicProperty"), ("val", info.name)],
                ] {
                    let outer = format!("xsi:type=\"{}\"", info.name);
                    let a_few = element(&outer, &nested(levels, 8 * levels.len()));
                    // What does not belong there is an error, or is kept as XML, and nests nothing.
                    if decode::<Value>(&a_few)
                        .is_ok_and(|value| !format!("{value:?}").contains("bytes of XML"))
                    {
                        found += 1;
                        exercise(&element(&outer, &nested(levels, depth)));
                    }
                }
            }
        }
        assert!(found > 30, "only {found} ways were found");
    });
}

#[test]
fn one_level_more_is_refused() {
    let depth = Limits::default().max_depth;
    let document = element("xsi:type=\"OptionValue\"", &nested(&[("value", "OptionValue")], depth));
    let error = decode_within::<Value>(document, Limits::default()).unwrap_err();
    assert_eq!(error.kind(), XmlErrorKind::TooLarge);
}
