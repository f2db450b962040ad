//! Dates, numbers, references, and lists of them.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vim_api::MoRef;
use vim_api::dynamic::{ArrayOf, Binary, DateTime, FromValue, Value};
use vim_api::mo;
use vim_api::types::{DynamicProperty, VirtualMachinePowerState};

use crate::{assert_survives, decode, element, encode};

fn moment(text: &str) -> Option<SystemTime> {
    decode::<DateTime>(element("", text)).unwrap().to_system_time()
}

fn at(seconds: u64, nanos: u32) -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::new(seconds, nanos))
}

#[test]
fn dates_are_read() {
    for (text, expected) in [
        ("1970-01-01T00:00:00Z", at(0, 0)),
        ("2026-08-01T12:00:00Z", at(1_785_585_600, 0)),
        ("2000-02-29T23:59:59Z", at(951_868_799, 0)),
        ("2024-02-29T00:00:00Z", at(1_709_164_800, 0)),
        ("2100-03-01T00:00:00Z", at(4_107_542_400, 0)),
        ("9999-12-31T23:59:59Z", at(253_402_300_799, 0)),
        ("2026-11-22T22:19:03.123456789Z", at(1_795_385_943, 123_456_789)),
        ("2026-11-22T22:19:03.1Z", at(1_795_385_943, 100_000_000)),
        ("2026-11-22T22:19:03.12345678Z", at(1_795_385_943, 123_456_780)),
        ("2026-11-22T22:19:03.1234567899Z", at(1_795_385_943, 123_456_789)),
        ("2026-11-22T23:19:03+01:00", at(1_795_385_943, 0)),
        ("2026-11-22T16:49:03-05:30", at(1_795_385_943, 0)),
        ("2026-11-22T22:19:03", at(1_795_385_943, 0)),
        (" 2026-11-22T22:19:03Z\n", at(1_795_385_943, 0)),
        ("1970-01-01T01:00:00+01:00", at(0, 0)),
        ("2016-12-31T23:59:60Z", at(1_483_228_800, 0)),
        ("2026-11-21T24:00:00Z", at(1_795_305_600, 0)),
    ] {
        assert_eq!(moment(text), expected, "{text}");
    }
}

#[test]
fn what_is_no_date_is_none() {
    for text in [
        "",
        "T",
        "now",
        "2026-11-22",
        "2026-11-22 22:19:03Z",
        "2026-11-22T22:19Z",
        "2026-11-22T22:19:03z",
        "2026-11-22T22:19:03.Z",
        "2026-11-22T22:19:03.1x",
        "2026-11-22T22:19:03.+1Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-11-00T00:00:00Z",
        "2026-11-31T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "2026-11-22T24:00:01Z",
        "2026-11-22T25:00:00Z",
        "2026-11-22T22:60:00Z",
        "2026-11-22T22:19:61Z",
        "2026-1-2T22:19:03Z",
        "+2026-11-22T22:19:03Z",
        "02026-11-22T22:19:03Z",
        "-2026-11-22T22:19:03Z",
        "2026-11-22T22:19:03+1:00",
        "2026-11-22T22:19:03+15:00",
        "2026-11-22T22:19:03+01:60",
        "2026-11-22T22:19:03+0100",
        "2026-11-22T22:19:03+2562047788015215:2562047788015215",
        "2026-11-22T22:19:03\u{e4}",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "2026-11-22T22:19:03ZZ",
    ] {
        assert_eq!(moment(text), None, "{text}");
        // It is kept as it came, so nothing is lost.
        assert_survives(&decode::<DateTime>(element("", text)).unwrap());
    }
}

#[test]
fn dates_are_written() {
    for (seconds, micros, text) in [
        (0, 0, "1970-01-01T00:00:00.000000Z"),
        (951_782_400, 5, "2000-02-29T00:00:00.000005Z"),
        (951_868_800, 0, "2000-03-01T00:00:00.000000Z"),
        (4_107_542_399, 999_999, "2100-02-28T23:59:59.999999Z"),
        (1_795_385_943, 123_456, "2026-11-22T22:19:03.123456Z"),
        (1_767_225_599, 0, "2025-12-31T23:59:59.000000Z"),
        (1_767_225_600, 0, "2026-01-01T00:00:00.000000Z"),
        (253_402_300_799, 0, "9999-12-31T23:59:59.000000Z"),
    ] {
        let time = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros);
        let date = DateTime::from(time);
        assert_eq!(date.as_str(), text);
        assert_eq!(date.to_system_time(), Some(time));
    }
    assert_eq!(DateTime::from(UNIX_EPOCH - Duration::from_secs(1)).as_str(), "1970-01-01T00:00:00.000000Z");
    // Every day of 400 years and some.
    for day in 0..150_000_u64 {
        let time = UNIX_EPOCH + Duration::from_secs(day * 86_400 + day % 86_400);
        assert_eq!(DateTime::from(time).to_system_time(), Some(time), "day {day}");
    }
}

#[test]
fn numbers_keep_their_type_and_their_value() {
    for (type_name, text) in [
        ("xsd:boolean", "true"),
        ("xsd:byte", "-128"),
        ("xsd:short", "32767"),
        ("xsd:int", "-2147483648"),
        ("xsd:long", "9223372036854775807"),
        ("xsd:float", "0.1"),
        ("xsd:float", "INF"),
        ("xsd:float", "NaN"),
        ("xsd:double", "-INF"),
        ("xsd:double", "0.30000000000000004"),
        ("xsd:string", " a &lt;b&gt; "),
        ("xsd:dateTime", "2026-11-22T22:19:03.1234567Z"),
        ("xsd:base64Binary", "AAEC/w=="),
        ("VirtualMachinePowerState", "poweredOn"),
    ] {
        let value: Value = decode(element(&format!("xsi:type=\"{type_name}\""), text)).unwrap();
        assert_eq!(encode(&value), format!("<v xsi:type=\"{type_name}\">{text}</v>"));
        assert_survives(&value);
    }
    let sent = |text: &str| decode::<i32>(element("", text));
    assert_eq!(sent(" +7 ").unwrap(), 7);
    assert!(matches!(decode::<Value>(element("xsi:type=\"xsd:boolean\"", "1")).unwrap(), Value::Bool(true)));
}

/// A value of no special type must not smuggle markup into a request.
#[test]
fn a_date_with_markup_is_escaped() {
    let date: DateTime = decode(element("", "&lt;/v&gt;&lt;evil/&gt;")).unwrap();
    let property =
        DynamicProperty { name: "d".into(), val: Value::DateTime(date.clone()), ..Default::default() };
    assert!(!encode(&property).contains("<evil"));
    assert!(!encode(&date).contains("<evil"));
    assert_survives(&property);
}

#[test]
fn texts_that_xml_bends() {
    for text in [
        "",
        " ",
        "\t",
        "a\nb",
        "a\r\nb",
        "\r",
        "]]>",
        "<![CDATA[x]]>",
        "&amp;",
        "\u{85}\u{2028}",
        "\u{1f600}",
        "\u{7f}",
    ] {
        let value = text.to_owned();
        let again: String = crate::reread(&encode(&value));
        assert_eq!(again, text, "{text:?}");
    }
    // Line ends that are written plainly are one character, whatever the server's system.
    assert_eq!(decode::<String>("<v>a\r\nb\rc\n<![CDATA[\r\n]]>&#13;</v>").unwrap(), "a\nb\nc\n\n\r");
    // XML cannot hold these at all.
    assert_eq!(
        crate::reread::<String>(&encode(&"a\u{1}b\u{0}c\u{ffff}".to_owned())),
        "a\u{fffd}b\u{fffd}c\u{fffd}"
    );
    // A guest may have made this up, and the server passed it on.
    assert_eq!(decode::<String>("<v>a\u{1}b&#2;</v>").unwrap(), "a\u{1}b\u{2}");
}

#[test]
fn lists() {
    for (array, content) in [
        ("ArrayOfInt", "<int>1</int><int>-2</int>"),
        ("ArrayOfString", "<string>a</string><string></string>"),
        ("ArrayOfAnyURI", "<anyURI>urn:a</anyURI>"),
        ("ArrayOfByte", "<byte>-1</byte>"),
        (
            "ArrayOfAnyType",
            "<anyType xsi:type=\"xsd:int\">1</anyType><anyType xsi:type=\"AboutInfo\"></anyType>",
        ),
        (
            "ArrayOfManagedObjectReference",
            "<ManagedObjectReference type=\"VirtualMachine\">vm-1</ManagedObjectReference>",
        ),
        ("ArrayOfVirtualMachinePowerState", "<VirtualMachinePowerState>poweredOn</VirtualMachinePowerState>"),
        (
            "ArrayOfPerfEntityMetricBase",
            "<PerfEntityMetricBase xsi:type=\"PerfEntityMetric\"><entity></entity></PerfEntityMetricBase>",
        ),
    ] {
        let value: Value = decode(element(&format!("xsi:type=\"{array}\""), content)).unwrap();
        let Value::Array(items) = &value else { panic!("{value:?}") };
        assert!(!items.items().is_empty());
        assert_survives(&value);
        if !content.contains("AboutInfo") {
            assert_eq!(encode(&value), format!("<v xsi:type=\"{array}\">{content}</v>"));
        }
        let empty: Value = decode(element(&format!("xsi:type=\"{array}\""), "")).unwrap();
        assert_survives(&empty);
    }
    let value: Value = decode(element("xsi:type=\"ArrayOfInt\"", "<int>1</int><int>2</int>")).unwrap();
    assert_eq!(Vec::<i32>::from_value(value.clone()).unwrap(), [1, 2]);
    assert!(Vec::<String>::from_value(value).is_err());
    let plain: ArrayOf<String> = decode(element("", "<string>a</string><string>b</string>")).unwrap();
    assert_eq!(plain.0, ["a", "b"]);
    assert_survives(&plain);
    let states: Value =
        decode(element("xsi:type=\"ArrayOfVirtualMachinePowerState\"", "<x>poweredOff</x>")).unwrap();
    assert_eq!(
        Vec::<VirtualMachinePowerState>::from_value(states).unwrap(),
        [VirtualMachinePowerState::PoweredOff]
    );
}

#[test]
fn binary_shows_its_size_only() {
    assert_eq!(format!("{:?}", Binary(vec![1, 2, 3])), "Binary(3 bytes)");
    assert_eq!(decode::<Binary>("<v> AAEC\n/w== </v>").unwrap().0, [0, 1, 2, 255]);
}

#[test]
fn references() {
    let vm: MoRef<mo::VirtualMachine> = MoRef::new("vm-1");
    assert_eq!(
        (vm.type_name(), vm.value(), vm.to_string().as_str()),
        ("VirtualMachine", "vm-1", "VirtualMachine:vm-1")
    );
    assert_eq!(encode(&vm), "<v type=\"VirtualMachine\">vm-1</v>");
    let read: MoRef = decode("<v type=\"VirtualMachine\" serverGuid=\"g &amp; h\">vm-1</v>").unwrap();
    assert_eq!(read, vm);
    assert_eq!(encode(&read), "<v type=\"VirtualMachine\" serverGuid=\"g &amp; h\">vm-1</v>");
    assert_eq!(read.downcast::<mo::VirtualMachine>(), Some(vm.clone()));
    assert_eq!(read.downcast::<mo::ManagedEntity>().unwrap(), vm);
    assert!(read.downcast::<mo::HostSystem>().is_none());
    assert_eq!(read.cast::<mo::HostSystem>(), vm, "an unchecked cast keeps the real type");
    // Of the same name, but of other types or in other places.
    assert_ne!(MoRef::<mo::HostSystem>::new("vm-1").cast::<mo::ManagedObject>(), vm);
    assert_ne!(MoRef::<mo::VirtualMachine>::new("vm-2"), vm);
    let set: HashSet<MoRef> =
        [vm.cast(), read.clone(), MoRef::of_type("VirtualMachine", "vm-1"), MoRef::of_type("Folder", "vm-1")]
            .into();
    assert_eq!(set.len(), 2);
    // A type that this crate does not know.
    let new: MoRef = decode("<v type=\"QuantumHost\">q-1</v>").unwrap();
    assert_eq!(new.type_name(), "QuantumHost");
    assert!(new.downcast::<mo::HostSystem>().is_none());
    assert_survives(&new);
    let value = Value::MoRef(read);
    assert_eq!(
        encode(&value),
        "<v xsi:type=\"ManagedObjectReference\" type=\"VirtualMachine\" serverGuid=\"g &amp; h\">vm-1</v>"
    );
    assert_survives(&value);
    // The value may be a path or an id in brackets.
    for odd in ["session[52b8]5294", "/tmp/ds@folder-5", "a&b<c>"] {
        assert_survives(&MoRef::<mo::Datastore>::new(odd));
    }
}
