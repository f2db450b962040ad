//! Input that must be refused: every case breaks a copy of the `mini` set in one place.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy spares only the test functions, not what they call"
)]

use std::fs;
use std::path::{Path, PathBuf};

use vmware_vim_codegen::{Error, ErrorKind, load};

const WSDL: &str = "vim.wsdl";
const TYPES: &str = "mini-types.xsd";
const SIDECAR: &str = "sidecar.json";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Loads `mini` after replacing the first `from` in `file` by `to`.
fn broken(file: &str, from: &str, to: &str) -> Result<(), Error> {
    let dir = tempfile::tempdir().unwrap();
    for name in [WSDL, TYPES, SIDECAR] {
        let mut text = fs::read_to_string(golden("mini").join(name)).unwrap();
        if name == file {
            assert!(text.contains(from), "{from:?} is not in {file}: the case tests nothing");
            text = text.replacen(from, to, 1);
        }
        fs::write(dir.path().join(name), text).unwrap();
    }
    load(dir.path(), Some(&dir.path().join(SIDECAR))).map(drop)
}

/// Expects each case to fail with its kind, and with a message that names what is wrong.
fn refuses(cases: &[(&str, &str, &str, ErrorKind, &str)]) {
    for (file, from, to, kind, named) in cases {
        match broken(file, from, to) {
            Ok(()) => panic!("{file}: {to:?} instead of {from:?} was accepted"),
            Err(error) => {
                let mut text = error.to_string();
                if let Some(source) = std::error::Error::source(&error) {
                    text = format!("{text}: {source}");
                }
                assert_eq!(error.kind(), *kind, "{file}: {to:?} instead of {from:?} gave: {text}");
                assert!(
                    text.contains(named),
                    "{file}: {to:?} instead of {from:?} does not name {named:?}: {text}"
                );
            }
        }
    }
}

#[test]
fn the_unbroken_set_is_accepted() {
    broken(WSDL, "urn:vim25/4.0", "urn:vim25/4.0").unwrap();
}

#[test]
fn malformed_wsdl() {
    use ErrorKind::{Dangling, Duplicate, Unsupported, Wsdl};
    refuses(&[
        (WSDL, "</binding>", "</bind>", Wsdl, "vim.wsdl"),
        (WSDL, "</definitions>", "", Wsdl, "definitions"),
        (WSDL, "<soap:binding ", "<nowhere:binding ", Wsdl, "nowhere"),
        (WSDL, "name=\"FeedAnimal_TaskRequestMsg\"", "", Wsdl, "name"),
        (WSDL, "urn:vim25/4.0", "urn:vim25/9.9", Wsdl, "9.9"),
        (WSDL, "urn:vim25/4.0", "urn:other/4.0", Wsdl, "urn:other"),
        (WSDL, "<input message=\"vim25:CloseZooRequestMsg\"/>", "", Wsdl, "CloseZoo"),
        (WSDL, "\"vim25:CloseZooRequestMsg\"", "\"vim25:Nothing\"", Dangling, "Nothing"),
        (WSDL, "element=\"vim25:CloseZoo\"", "element=\"vim25:Nothing\"", Dangling, "Nothing"),
        (WSDL, "element=\"vim25:HungryFault\"", "element=\"vim25:Nothing\"", Dangling, "Nothing"),
        (
            WSDL,
            "<operation name=\"CloseZoo\">",
            "<operation name=\"CountAnimals\">",
            Duplicate,
            "CountAnimals",
        ),
        (
            WSDL,
            "<message name=\"AsleepFaultMsg\">",
            "<message name=\"HungryFaultMsg\">",
            Duplicate,
            "HungryFaultMsg",
        ),
        (
            WSDL,
            "</types>",
            "<schema xmlns=\"http://www.w3.org/2001/XMLSchema\"/></types>",
            Unsupported,
            "<schema>",
        ),
    ]);
}

#[test]
fn malformed_schema() {
    use ErrorKind::{Cycle, Dangling, Duplicate, Schema, Unsupported};
    refuses(&[
        (TYPES, "</schema>", "", Schema, "read"),
        (WSDL, "mini-types.xsd", "missing.xsd", Schema, ""),
        (TYPES, "type=\"vim25:Mood\"", "type=\"vim25:Gloom\"", Dangling, "Gloom"),
        (TYPES, "base=\"vim25:DynamicData\"", "base=\"vim25:Nothing\"", Dangling, "Nothing"),
        (TYPES, "base=\"vim25:DynamicData\"", "base=\"vim25:Bird\"", Cycle, ""),
        (TYPES, "<complexType name=\"Ant\">", "<complexType name=\"Bird\">", Duplicate, "Bird"),
        (WSDL, "<element name=\"AsleepFault\"", "<element name=\"HungryFault\"", Duplicate, "HungryFault"),
        (TYPES, "<complexType name=\"Ant\">", "<complexType>", Schema, "no name"),
        (TYPES, "<element name=\"wingspan\"", "<element name=\"mood\"", Duplicate, "Bird"),
        (TYPES, "<element name=\"fine\"", "<element name=\"rough\"", Duplicate, "Everything"),
        (
            TYPES,
            "<element name=\"yes\" type=\"xsd:boolean\"/>",
            "<choice><element name=\"yes\" type=\"xsd:boolean\"/></choice>",
            Unsupported,
            "Everything",
        ),
        (TYPES, "<sequence/>", "<attribute name=\"id\" type=\"xsd:string\"/>", Unsupported, "attributes"),
        (TYPES, "<enumeration value=\"Wild\"/>", "<enumeration value=\"calm\"/>", Duplicate, "Mood"),
        (TYPES, "type=\"xsd:float\"", "type=\"xsd:gYear\"", Unsupported, "gYear"),
        (TYPES, "type=\"xsd:float\"", "type=\"xsd:float\" maxOccurs=\"3\"", Unsupported, "Everything"),
        (
            TYPES,
            "<sequence>\n         <element name=\"_this\"",
            "<sequence>\n         <element name=\"self\"",
            Unsupported,
            "FeedAnimal",
        ),
        (
            TYPES,
            "type=\"vim25:ArrayOfString\"",
            "type=\"vim25:CloseZooRequestType\"",
            Dangling,
            "CloseZooRequestType",
        ),
    ]);
}

#[test]
fn malformed_sidecar() {
    use ErrorKind::{Contradiction, Duplicate, Sidecar, Versions};
    refuses(&[
        (SIDECAR, "\"service\": \"vim25\",", "", Sidecar, "service"),
        (SIDECAR, "\"service\"", "\"surprise\": 1, \"service\"", Sidecar, "surprise"),
        (SIDECAR, "\"m7\": [\"2.5\"]", "\"2.5\": []", Sidecar, "twice"),
        (SIDECAR, "[\"optional\"]", "[\"optimal\"]", Sidecar, "optimal"),
        (SIDECAR, "\"service\": \"vim25\"", "\"service\": \"pbm\"", Contradiction, "urn:pbm"),
        (SIDECAR, "\"version\": \"4.0\"", "\"version\": \"m7\"", Contradiction, "m7"),
        (SIDECAR, "\"m7\": [\"2.5\"]", "\"m7\": []", Versions, ""),
        (SIDECAR, "\"aliases\": {\"2.0\": \"2.5\"", "\"aliases\": {\"2.0\": \"1.0\"", Versions, "1.0"),
        (SIDECAR, "\"aliases\": {\"2.0\": \"2.5\"", "\"aliases\": {\"4.0\": \"2.5\"", Duplicate, "4.0"),
        (SIDECAR, "\"since\": \"m7\"", "\"since\": \"6.6.6\"", Versions, "6.6.6"),
        (
            SIDECAR,
            "\"vim.Zoo\", \"extends\": \"ManagedObject\", \"since\": \"2.5\"",
            "\"vim.Zoo\", \"extends\": \"ManagedObject\", \"since\": \"4.0\"",
            Versions,
            "Zoo",
        ),
        (SIDECAR, "\"internal\": {\"2.5\"", "\"internal\": {\"1.0\"", Versions, "1.0"),
    ]);
}

#[test]
fn a_sidecar_that_contradicts_the_schema() {
    use ErrorKind::{Contradiction, Cycle, Dangling, Duplicate};
    refuses(&[
        (SIDECAR, "\"wsdl\": \"CountAnimals\"", "\"wsdl\": \"CountPlants\"", Contradiction, "CountPlants"),
        (
            SIDECAR,
            "\"wsdl\": \"CountAnimals\"",
            "\"wsdl\": \"FeedAnimal_Task\"",
            Contradiction,
            "FeedAnimal_Task",
        ),
        (SIDECAR, "\"task\": true", "\"task\": false", Contradiction, "FeedAnimal_Task"),
        (SIDECAR, "\"result\": \"Animal[]\"", "\"result\": \"Animal\"", Contradiction, "CountAnimals"),
        (SIDECAR, "\"result\": \"Animal[]\"", "\"result\": null", Contradiction, "CountAnimals"),
        (SIDECAR, "\"result\": \"Animal\"", "\"result\": \"Plant\"", Dangling, "Plant"),
        (SIDECAR, "{\"name\": \"helper\"", "{\"name\": \"helpers\"", Contradiction, "helpers"),
        (SIDECAR, "\"type\": \"Zoo[]\"", "\"type\": \"Zoo\"", Contradiction, "helper"),
        (SIDECAR, "\"type\": \"Animal[]\"", "\"type\": \"Plant[]\"", Dangling, "Plant"),
        (SIDECAR, "\"name\": \"neighbour\"", "\"name\": \"animal\"", Duplicate, "animal"),
        (
            SIDECAR,
            "\"keeper\": {\"type\": \"Zoo\"}",
            "\"keeper\": {\"type\": \"Animal\"}",
            Contradiction,
            "keeper",
        ),
        (SIDECAR, "\"keeper\": {", "\"leeper\": {", Contradiction, "leeper"),
        (SIDECAR, "\"Everything\": {", "\"Nothing\": {", Contradiction, "Nothing"),
        (SIDECAR, "\"Mood\": {", "\"Gloom\": {", Contradiction, "Gloom"),
        (SIDECAR, "\"Task\": {", "\"Animal\": {", Duplicate, "Animal"),
        (SIDECAR, "\"extends\": null", "\"extends\": \"Zoo\"", Cycle, ""),
        (SIDECAR, "\"extends\": \"ManagedObject\"", "\"extends\": \"Nothing\"", Dangling, "Nothing"),
    ]);
}

#[test]
fn missing_files() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(load(dir.path(), None).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(load(&dir.path().join("nothing"), None).unwrap_err().kind(), ErrorKind::Io);
    let error = load(&golden("mini"), Some(&dir.path().join("none.json"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(error.to_string().contains("none.json"));
    fs::write(
        dir.path().join(WSDL),
        "<definitions xmlns=\"http://schemas.xmlsoap.org/wsdl/\" targetNamespace=\"urn:vim25\"/>",
    )
    .unwrap();
    assert_eq!(load(dir.path(), None).unwrap_err().kind(), ErrorKind::Wsdl);
    fs::write(dir.path().join(WSDL), [0xff, 0xfe, 0x00]).unwrap();
    assert_eq!(load(dir.path(), None).unwrap_err().kind(), ErrorKind::Io);
}

#[test]
fn circles_end() {
    let error = load(&golden("hostile"), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cycle, "{error}");
}
