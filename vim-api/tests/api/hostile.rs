//! XML that nobody sends who means well.

use vim_api::dynamic::{Element, Value};
use vim_api::soap::{self, Message};
use vim_api::types::{AboutInfo, OptionValue, RetrieveResult};
use vim_api::xml::{Limits, Reader, XmlErrorKind};

use crate::{decode, decode_within, element};

fn refusal(document: impl AsRef<[u8]>) -> XmlErrorKind {
    let error = decode::<OptionValue>(&document).unwrap_err();
    assert!(error.to_string().len() < 400, "an error text must not be as long as the sender likes");
    error.kind()
}

#[test]
fn too_deep() {
    let nested = |depth: usize| element("", &("<a>".repeat(depth) + &"</a>".repeat(depth)));
    let limits = Limits { max_depth: 40, ..Limits::default() };
    assert!(decode_within::<OptionValue>(nested(39), limits).is_ok());
    let error = decode_within::<OptionValue>(nested(40), limits).unwrap_err();
    assert_eq!(error.kind(), XmlErrorKind::TooLarge);
    // Far beyond any stack, both in elements that are kept and in ones that are skipped.
    assert_eq!(refusal(nested(1_000_000)), XmlErrorKind::TooLarge);
    let document = nested(1_000_000);
    let mut reader = Reader::new(document.as_bytes(), Limits::default()).unwrap();
    reader.next_child().unwrap();
    assert_eq!(reader.skip().unwrap_err().kind(), XmlErrorKind::TooLarge);
}

#[test]
fn too_large() {
    let document = element("", &format!("<key>{}</key>", "k".repeat(1000)));
    let limits = |max_bytes| Limits { max_bytes, ..Limits::default() };
    assert!(decode_within::<OptionValue>(&document, limits(document.len())).is_ok());
    let error = decode_within::<OptionValue>(&document, limits(document.len() - 1)).unwrap_err();
    assert_eq!(error.kind(), XmlErrorKind::TooLarge);
}

#[test]
fn documents_that_define_something() {
    for prolog in [
        "<!DOCTYPE v>",
        "<!doctype v>",
        "<!DOCTYPE v SYSTEM \"file:///etc/passwd\">",
        "<!DOCTYPE v [<!ENTITY a \"b\">]>",
        "<!DOCTYPE v [<!ENTITY x SYSTEM \"http://example.com/\">]>",
        "<!DOCTYPE v [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;\">]>",
        "<?xml version=\"1.0\"?><!-- first --><!DOCTYPE v>",
    ] {
        assert_eq!(
            refusal(prolog.to_owned() + &element("", "<key>k</key>")),
            XmlErrorKind::Forbidden,
            "{prolog}"
        );
    }
    assert_eq!(refusal(element("", "<!DOCTYPE v><key>k</key>")), XmlErrorKind::Forbidden);
    assert_eq!(refusal(element("", "<key><!DOCTYPE v>k</key>")), XmlErrorKind::Forbidden);
    assert_eq!(refusal(element("", "<unknown><!DOCTYPE v></unknown>")), XmlErrorKind::Forbidden);
}

#[test]
fn references_to_what_is_not_defined() {
    for reference in [
        "&c;",
        "&nbsp;",
        "&;",
        "&#;",
        "&#x;",
        "&#0;",
        "&#x0;",
        "&#xD800;",
        "&#x110000;",
        "&#99999999999;",
        "&#+65;",
        "&#x+41;",
        "&#-65;",
        "&#1a;",
        "&AMP;",
        "&\u{e4};",
    ] {
        for content in [
            format!("<key>{reference}</key>"),
            format!("{reference}<key>k</key>"),
            format!("<unknown>{reference}</unknown>"),
            format!("<unknown a=\"{reference}\"/>"),
        ] {
            let kind = refusal(element("", &content));
            assert_eq!(kind, XmlErrorKind::Forbidden, "{content}");
        }
        let kind = refusal(element(&format!("xsi:type=\"{reference}\""), ""));
        assert_eq!(kind, XmlErrorKind::Forbidden, "{reference} in a type");
    }
    assert_eq!(
        refusal(element("", &format!("<key>&{};</key>", "x".repeat(100_000)))),
        XmlErrorKind::Forbidden
    );
    for lone in ["<key>a & b</key>", "<key>a &amp b</key>", "<key>&</key>", "<unknown a=\"&amp\"/>"] {
        assert_eq!(refusal(element("", lone)), XmlErrorKind::Malformed, "{lone}");
    }
}

#[test]
fn references_that_are_defined() {
    let text = "&lt;&gt;&amp;&quot;&apos;&#65;&#x42;&#x1F600;&#xa;&#13;";
    let value: OptionValue = decode(element("", &format!("<key>{text}</key>"))).unwrap();
    assert_eq!(value.key, "<>&\"'AB\u{1f600}\n\r");
}

#[test]
fn broken_tags() {
    for content in [
        "<key>k</keys>",
        "<key>k</v></key>",
        "</key>",
        "<key>k</key",
        "<key k</key>",
        "<>k</>",
        "< key>k</key>",
        "<1key>k</1key>",
        "<-key>k</-key>",
        "<ke\"y\">k</key>",
        "<key/ >",
        "<a:>k</a:>",
        "<:a>k</:a>",
        "<a:b:c>k</a:b:c>",
        "<key<key>k</key>",
        "<![CDAT[x]]>",
        "<!ENTITY x \"y\">",
        "<key a>k</key>",
        "<key a=>k</key>",
        "<key a=b>k</key>",
        "<key a=\"b>k</key>",
        "<key a=\"b\"c=\"d\">k</key>",
        "<key a b=\"c\">k</key>",
        "<key =\"c\">k</key>",
        "<key 1=\"c\">k</key>",
        "<key a=\"<\">k</key>",
        "<key a=\"1\" a=\"2\">k</key>",
        "<key a=\"1\" b='2' a=\"1\">k</key>",
        "<key xsi:type=\"xsd:string\" xsi:type=\"xsd:int\">k</key>",
        "<key xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" i:type=\"A\" xsi:type=\"A\">k</key>",
        "<key what:ever=\"1\">k</key>",
        "<key xsi:type=\"what:ever\">k</key>",
        "<key xsi:type=\"\">k</key>",
        "<key xsi:type=\"a b\">k</key>",
        "<key xsi:type=\"a:b:c\">k</key>",
    ] {
        // The same where it is taken, and where it is kept as unknown.
        for content in [content.to_owned(), content.replace("key", "unknown")] {
            let kind = refusal(element("", &content));
            assert!(
                matches!(kind, XmlErrorKind::Malformed | XmlErrorKind::Truncated),
                "{content} gave {kind:?}"
            );
        }
    }
}

#[test]
fn attributes_and_declarations_without_end() {
    let attributes: String = (0..100_000).map(|i| format!(" a{i}=\"\"")).collect();
    assert_eq!(refusal(element("", &format!("<key{attributes}>k</key>"))), XmlErrorKind::TooLarge);
    let open: String =
        (0..200).map(|i| format!("<a xmlns:a{i}=\"u\" xmlns:b{i}=\"u\" xmlns:c{i}=\"u\">")).collect();
    assert_eq!(refusal(element("", &open)), XmlErrorKind::TooLarge);
    // One after the other they are no burden.
    let flat = "<a xmlns:x=\"u\" x:y=\"z\"/>".repeat(10_000);
    assert_eq!(decode::<OptionValue>(element("", &flat)).unwrap().extra.elements().len(), 10_000);
}

#[test]
fn bytes_that_are_no_text() {
    let mut document = element("", "<key>k</key>").into_bytes();
    let at = document.iter().rposition(|b| *b == b'k').unwrap();
    document[at] = 0;
    assert_eq!(refusal(&document), XmlErrorKind::Malformed);
    for bytes in [&[0xff][..], &[0xc0, 0x80], &[0xed, 0xa0, 0x80], &[0xf5, 0x80, 0x80, 0x80]] {
        let mut document = b"<v><key>".to_vec();
        document.extend_from_slice(bytes);
        document.extend_from_slice(b"</key></v>");
        assert_eq!(refusal(&document), XmlErrorKind::Malformed, "{bytes:x?}");
    }
    let utf16: Vec<u8> = "<v/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(refusal(utf16), XmlErrorKind::Malformed);
    assert_eq!(refusal("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><v/>"), XmlErrorKind::Forbidden);
}

#[test]
fn what_stands_around_the_root() {
    let good = element("", "<key>k</key>");
    for document in [
        format!("{good}text"),
        format!("{good}&amp;"),
        format!("{good}<![CDATA[x]]>"),
        format!("{good}{good}"),
        format!("{good}<v/>"),
        format!("{good}</v>"),
        format!("{good}<"),
        format!("{good}<?xml version=\"1.0\"?>"),
        format!("text{good}"),
        format!("&#32;{good}"),
        format!("<![CDATA[ ]]>{good}"),
        format!(" <?xml version=\"1.0\"?>{good}"),
        format!("<?xml version=\"1.0\"?><?xml version=\"1.0\"?>{good}"),
        element("", "<?xml version=\"1.0\"?>"),
    ] {
        let kind = refusal(&document);
        assert!(
            matches!(kind, XmlErrorKind::Malformed | XmlErrorKind::Truncated),
            "{document} gave {kind:?}"
        );
    }
    for document in [
        format!("\u{feff}{good}"),
        format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\" standalone='yes'?>\r\n{good}"),
        format!("<?xml version=\"1.0\"?><!-- > --><?pi <a> ?>\n\t{good} <!-- bye -->\n"),
    ] {
        assert_eq!(decode::<OptionValue>(&document).unwrap().key, "k", "{document}");
    }
    assert_eq!(refusal(""), XmlErrorKind::Truncated);
    assert_eq!(refusal("  \n"), XmlErrorKind::Truncated);
    assert_eq!(refusal("<html><body>Not here</body></html>"), XmlErrorKind::Unexpected);
}

/// A cut connection must never look like a short answer.
#[test]
fn cut_at_every_byte() {
    let content = "<returnval><token>t</token><objects><obj type=\"VirtualMachine\">vm-1</obj><propSet><name>n</name>\
        <val xsi:type=\"xsd:string\">\u{e4}&amp;<![CDATA[b]]>\u{1f600}</val></propSet><new a='1'><!-- c --><b/></new>\
        </objects></returnval>";
    let envelope = soap::envelope("RetrievePropertiesExResponse", &[content]);
    let read = |bytes: &[u8]| {
        let message = Message::new(bytes.to_vec().into(), Limits::default());
        soap::reply(&message, |reader| {
            let start = reader.expect_child("returnval")?;
            let result = RetrieveResult::decode(reader, &start)?;
            while reader.next_child()?.is_some() {
                reader.skip()?;
            }
            Ok(result)
        })
    };
    assert!(read(envelope.as_bytes()).is_ok());
    let declaration = envelope.find("<soapenv").unwrap();
    for length in 0..envelope.len() {
        let error =
            read(&envelope.as_bytes()[..length]).expect_err("a cut document was taken for a whole one");
        assert_eq!(error.kind(), XmlErrorKind::Truncated, "cut at {length} of {declaration}..: {error}");
    }
}

#[test]
fn lies_about_values() {
    for (content, kind) in [
        ("<val xsi:type=\"xsd:int\">2147483648</val>", XmlErrorKind::BadValue),
        ("<val xsi:type=\"xsd:int\"></val>", XmlErrorKind::BadValue),
        ("<val xsi:type=\"xsd:int\">0x10</val>", XmlErrorKind::BadValue),
        ("<val xsi:type=\"xsd:byte\">200</val>", XmlErrorKind::BadValue),
        ("<val xsi:type=\"xsd:boolean\">maybe</val>", XmlErrorKind::BadValue),
        ("<val xsi:type=\"xsd:double\">infinity</val>", XmlErrorKind::BadValue),
        ("<val xsi:type=\"xsd:base64Binary\">*</val>", XmlErrorKind::BadValue),
        ("<val xsi:type=\"xsd:int\"><a/></val>", XmlErrorKind::Unexpected),
        ("<val xsi:type=\"ManagedObjectReference\"><a/></val>", XmlErrorKind::Unexpected),
        ("<val xsi:type=\"ArrayOfInt\"><int>1</int><int>x</int></val>", XmlErrorKind::BadValue),
    ] {
        let error = decode::<vim_api::types::DynamicProperty>(element("", content)).unwrap_err();
        assert_eq!(error.kind(), kind, "{content}");
    }
    assert!(decode::<AboutInfo>(element("", "<name><b>bold</b></name>")).is_err());
}

/// A name that is no name must not come back out of what was kept as XML.
#[test]
fn what_is_kept_is_well_formed() {
    let document =
        element("", "<n:unknown xmlns:n='u' a=\"&quot;&lt;\" b='\"'><x>]]&gt;<![CDATA[<&]]></x></n:unknown>");
    let value: OptionValue = decode(document).unwrap();
    let xml = value.extra.elements()[0].xml().to_owned();
    assert_eq!(xml, "<unknown a=\"&quot;&lt;\" b=\"&quot;\"><x>]]&gt;&lt;&amp;</x></unknown>");
    let mut reader = Reader::fragment(&xml, Limits::default()).unwrap();
    let start = reader.expect_child("unknown").unwrap();
    assert!(matches!(Value::decode(&mut reader, &start).unwrap(), Value::Unknown { .. }));
    reader.finish().unwrap();
}
