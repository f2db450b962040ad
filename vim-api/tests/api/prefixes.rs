//! Servers differ in how they spell namespaces; what counts is what the prefixes are declared to be.

use vim_api::dynamic::Poly;
use vim_api::dynamic::Value;
use vim_api::types::{DynamicProperty, VirtualDevice, VirtualDisk};
use vim_api::xml::{Limits, NS_VIM, NS_XSD, NS_XSI, Reader, XmlErrorKind};

use crate::{decode, element};

fn val(document: &str) -> Value {
    decode::<DynamicProperty>(document).unwrap().val
}

#[test]
fn the_prefix_of_the_instance_namespace_is_free() {
    for (declared, used) in [("xsi", "xsi"), ("_XMLSchema-instance", "_XMLSchema-instance"), ("i", "i")] {
        let outside = format!(
            "<v xmlns:{declared}=\"{NS_XSI}\" xmlns:s=\"{NS_XSD}\"><val {used}:type=\"s:int\">7</val></v>"
        );
        assert!(matches!(val(&outside), Value::Int(7)), "{outside}");
        let inside = format!(
            "<v xmlns:xs=\"{NS_XSD}\"><val xmlns:{declared}=\"{NS_XSI}\" {used}:type=\"xs:int\">7</val></v>"
        );
        assert!(matches!(val(&inside), Value::Int(7)), "{inside}");
        // Declared behind its use, on the same tag.
        let behind = format!(
            "<v><val {used}:type=\"x:int\" xmlns:x='{NS_XSD}' xmlns:{declared}='{NS_XSI}'>7</val></v>"
        );
        assert!(matches!(val(&behind), Value::Int(7)), "{behind}");
    }
}

#[test]
fn a_declaration_ends_with_its_element() {
    let document = format!("<v><name xmlns:i=\"{NS_XSI}\">n</name><val i:type=\"A\"/></v>");
    assert_eq!(decode::<DynamicProperty>(&document).unwrap_err().kind(), XmlErrorKind::Malformed);
    let empty = format!("<v><name xmlns:i=\"{NS_XSI}\"/><val i:type=\"A\"/></v>");
    assert_eq!(decode::<DynamicProperty>(&empty).unwrap_err().kind(), XmlErrorKind::Malformed);
}

#[test]
fn an_inner_declaration_hides_the_outer_one() {
    let document = format!(
        "<v xmlns:i=\"{NS_XSI}\" xmlns:x=\"{NS_XSD}\"><val xmlns:i=\"urn:other\" i:type=\"x:int\">7</val></v>"
    );
    assert!(matches!(val(&document), Value::Unknown { .. }), "the attribute is somebody else's");
    let document = format!(
        "<v xmlns:i=\"{NS_XSI}\" xmlns:x=\"urn:vim25\"><name xmlns:x=\"{NS_XSD}\">n</name><val i:type=\"x:AboutInfo\"/></v>"
    );
    assert!(matches!(val(&document), Value::Object(_)));
}

#[test]
fn types_of_the_api_come_with_any_prefix_or_none() {
    for (declaration, type_name) in [
        (format!("xmlns=\"{NS_VIM}\""), "VirtualDisk"),
        (String::new(), "VirtualDisk"),
        (format!("xmlns:vim25=\"{NS_VIM}\""), "vim25:VirtualDisk"),
        (format!("xmlns:ns1=\"{NS_VIM}\""), "ns1:VirtualDisk"),
        (format!("xmlns:ns1=\"{NS_VIM}\""), " ns1:VirtualDisk\n"),
        ("xmlns:ns1=\"urn:internalvim25\"".to_owned(), "ns1:VirtualDisk"),
    ] {
        let document = format!(
            "<v {declaration} xmlns:xsi=\"{NS_XSI}\" xsi:type=\"{type_name}\"><key>1</key><capacityInKB>2</capacityInKB></v>"
        );
        let device: Poly<VirtualDevice> = decode(&document).unwrap();
        assert_eq!(device.downcast_ref::<VirtualDisk>().unwrap().capacity_in_kb, 2, "{document}");
        assert_eq!(device.unknown_type(), None);
    }
}

#[test]
fn a_type_without_a_prefix_follows_the_default_namespace() {
    let document = format!("<v xmlns:i=\"{NS_XSI}\"><val xmlns=\"{NS_XSD}\" i:type=\"int\">7</val></v>");
    assert!(matches!(val(&document), Value::Int(7)));
    // And a prefix that looks like the built-in one is nothing by itself.
    let document =
        format!("<v xmlns:i=\"{NS_XSI}\" xmlns:xsd=\"{NS_VIM}\"><val i:type=\"xsd:AboutInfo\"/></v>");
    assert!(matches!(val(&document), Value::Object(_)));
}

#[test]
fn the_prefix_of_simple_types_need_not_be_declared() {
    let document = format!("<v xmlns:i=\"{NS_XSI}\"><val i:type=\"xsd:int\">7</val></v>");
    assert!(matches!(val(&document), Value::Int(7)));
    let document = format!("<v xmlns:i=\"{NS_XSI}\"><val i:type=\"other:int\">7</val></v>");
    assert!(decode::<DynamicProperty>(&document).is_err());
}

#[test]
fn elements_go_by_their_local_name() {
    let document = format!("<a:v xmlns:a=\"{NS_VIM}\" xmlns:b=\"urn:x\"><b:name>n</b:name></a:v>");
    assert_eq!(decode::<DynamicProperty>(document).unwrap().name, "n");
    assert_eq!(decode::<DynamicProperty>("<v><name xml:lang=\"en\">n</name></v>").unwrap().name, "n");
}

#[test]
fn nil_unsets_an_optional_field() {
    let device: VirtualDevice = decode(element(
        "",
        "<key xsi:nil=\"true\"/><backing xsi:nil=\"1\"/><connectable xsi:nil=\"true\"></connectable>\
         <controllerKey xsi:nil=\"true\"/><unitNumber xsi:nil=\"false\">3</unitNumber>",
    ))
    .unwrap();
    assert_eq!((device.key, device.controller_key, device.unit_number), (0, None, Some(3)));
    assert!(device.backing.is_none() && device.connectable.is_none());
    assert!(matches!(val(&element("", "<val xsi:nil=\"true\"/>")), Value::Null));
    let list = val(&element("", "<val xsi:type=\"ArrayOfInt\"><int>1</int><int xsi:nil=\"true\"/></val>"));
    let Value::Array(list) = list else { panic!("{list:?}") };
    assert!(matches!(list.items(), [Value::Int(1), Value::Null]));
}

#[test]
fn an_element_is_cut_out_to_the_byte() {
    let document =
        "\u{feff}<a:r xmlns:a='x'> <!-- <b> --> text <a:b c = \"1\"><d/ >\r\n&lt;</a:b ><?pi?><e/>f</a:r>";
    let document = document.replace("<d/ >", "<d />");
    let mut reader = Reader::new(document.as_bytes(), Limits::default()).unwrap();
    let root = reader.expect_child("r").unwrap();
    let first = reader.expect_child("b").unwrap();
    assert_eq!(reader.since(&first), "<a:b c = \"1\">");
    reader.skip().unwrap();
    assert_eq!(reader.since(&first), "<a:b c = \"1\"><d />\r\n&lt;</a:b >");
    let second = reader.expect_child("e").unwrap();
    assert_eq!(reader.text().unwrap(), "");
    assert_eq!(reader.since(&second), "<e/>");
    assert!(reader.next_child().unwrap().is_none());
    assert_eq!(reader.since(&root), document.trim_start_matches('\u{feff}'));
    reader.finish().unwrap();
}
