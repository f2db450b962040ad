//! Documents that chance made: whatever comes, the reader gives a value or an error.

use proptest::collection::vec;
use proptest::prelude::*;
use quick_xml::events::Event;
use vim_api::dynamic::{DateTime, Element, Poly, Value, get_path};
use vim_api::soap::{self, Message};
use vim_api::types::{RetrieveResult, UpdateSet, VirtualDevice, VirtualMachineConfigInfo};
use vim_api::xml::{Limits, Reader};

use crate::{decode, element, encode, reread};

const SEED: &str = "<name>config</name><val xsi:type=\"VirtualMachineConfigInfo\"><name>a &amp; b</name>\
<hardware><numCPU>2</numCPU><device xsi:type=\"VirtualDisk\"><key>2000</key><backing xsi:type=\"New\"><fileName>f</fileName>\
<x y='1'>t<!-- c --><![CDATA[d]]></x></backing><capacityInKB>1</capacityInKB></device></hardware><extraConfig><key>k</key>\
<value xsi:type=\"ArrayOfInt\"><int>1</int></value></extraConfig></val>";

/// Pieces that matter to a parser, more often than chance would make them.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "<",
            ">",
            "</",
            "/>",
            "<v>",
            "</v>",
            "<a>",
            "</a>",
            "<a/>",
            "<a b=\"c\">",
            "&",
            "&amp;",
            "&#65;",
            "&#x",
            ";",
            "<!--",
            "-->",
            "<![CDATA[",
            "]]>",
            "<?xml",
            "?>",
            "<!DOCTYPE",
            "\"",
            "'",
            "=",
            " ",
            "\r\n",
            ":",
            "xsi:type=",
            "xsi:type=\"VirtualDisk\"",
            "xsi:nil=\"true\"",
            "xmlns:xsi=\"",
            "<key>1</key>",
            "\u{feff}",
            "\u{e4}",
            "\u{0}",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,3}",
    ]
}

/// A good document.
fn tree() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "b:c", "key", "x-1", "_", "\u{e4}"]);
    let blank = prop::sample::select(vec!["", " ", "\n", "\t "]);
    let text = prop::sample::select(vec![
        "",
        "t",
        " a b ",
        "&amp;",
        "&#10;x",
        "<![CDATA[<&]]>",
        "<![CDATA[]]>",
        "<!-- - -->",
        "<?pi x?>",
        "a\r\nb",
        "\u{1f600}",
        ">",
    ]);
    let attributes =
        prop::sample::select(vec!["", " a='\"'", " a=\"x>y\" b = '1'", "\n a=\"&lt;\"", " xml:lang=\"e\""]);
    let leaf = (name.clone(), attributes.clone(), blank.clone(), text.clone()).prop_map(
        |(name, attributes, blank, text)| match text {
            "" => format!("<{name}{attributes}{blank}/>"),
            text => format!("<{name}{attributes}{blank}>{text}</{name}{blank}>"),
        },
    );
    leaf.prop_recursive(5, 60, 6, move |inner| {
        (name.clone(), attributes.clone(), vec((inner, text.clone()), 0..6)).prop_map(
            |(name, attributes, children)| {
                let content: String = children.into_iter().map(|(child, text)| child + text).collect();
                format!("<{name}{attributes}>{content}</{name}>")
            },
        )
    })
}

/// Reads the bytes in every way there is. What was understood has to survive being written.
fn read_in_every_way(bytes: &[u8]) {
    if let Ok(value) = decode::<Value>(bytes) {
        assert_stays(&value);
    }
    if let Ok(value) = decode::<VirtualMachineConfigInfo>(bytes) {
        assert_stays(&value);
    }
    if let Ok(value) = decode::<Poly<VirtualDevice>>(bytes) {
        assert_stays(&value);
    }
    let _ = decode::<UpdateSet>(bytes);
    if let Ok(date) = decode::<DateTime>(bytes) {
        let _ = date.to_system_time();
    }
    if let Ok(mut reader) = Reader::new(bytes, Limits { max_depth: 5, max_bytes: 1000 }) {
        while let Ok(Some(_)) = reader.next_child() {}
        let _ = reader.skip();
        let _ = reader.text();
        let _ = reader.finish();
    }
    let message = Message::new(bytes.to_vec().into(), Limits::default());
    let _ = soap::reply(&message, |reader| {
        let start = reader.expect_child("returnval")?;
        RetrieveResult::decode(reader, &start)
    });
}

/// The names of the elements in a document, an empty one for each end, with the text before each.
type Outline = Vec<(String, String)>;

/// By our reader; `None` when it refuses the document.
fn outline(document: &str) -> Option<Outline> {
    let mut reader = Reader::new(document.as_bytes(), Limits::default()).ok()?;
    let start = reader.next_child().ok()??;
    let written = reader.capture(&start).ok()?;
    reader.finish().ok()?;
    // What was captured is of our own writing, so little is left that the other parser could see in another way.
    outline_by_quick_xml(&written)
}

/// By a parser that others wrote; `None` when it refuses the document.
fn outline_by_quick_xml(document: &str) -> Option<Outline> {
    let mut reader = quick_xml::Reader::from_str(document.trim_start_matches('\u{feff}'));
    let mut out = Outline::new();
    let mut text = String::new();
    loop {
        let name = match reader.read_event().ok()? {
            Event::Start(tag) => tag.local_name().as_ref().to_owned(),
            Event::Empty(tag) => {
                // Blanks before the root are no text, of an empty one neither.
                let before = std::mem::take(&mut text);
                let before = if out.is_empty() { String::new() } else { before };
                out.push((tag.local_name().as_ref().to_owned(), before));
                String::new()
            }
            Event::End(_) => String::new(),
            Event::Text(more) => {
                text.push_str(&more.replace("\r\n", "\n").replace('\r', "\n"));
                continue;
            }
            Event::CData(more) => {
                text.push_str(&more.replace("\r\n", "\n").replace('\r', "\n"));
                continue;
            }
            Event::GeneralRef(name) => {
                match (name.resolve_char_ref().ok()?, quick_xml::escape::resolve_xml_entity(&name)) {
                    (Some(c), _) => text.push(c),
                    (None, known) => text.push_str(known?),
                }
                continue;
            }
            Event::Eof => return Some(out),
            _ => continue,
        };
        // Blanks before and behind the root are no text of it.
        let is_around = out.is_empty();
        out.push((name, if is_around { String::new() } else { std::mem::take(&mut text) }));
        text.clear();
    }
}

/// What our scanner takes, another parser takes too, and sees the same in it.
fn compare_with_quick_xml(document: &str) -> Result<(), TestCaseError> {
    if let Some(ours) = outline(document) {
        prop_assert_eq!(outline_by_quick_xml(document), Some(ours), "{}", document);
    }
    Ok(())
}

fn assert_stays<T: Element>(value: &T) {
    let written = encode(value);
    let again: T = reread(&written);
    assert_eq!(encode(&again), written);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        read_in_every_way(&bytes);
    }

    #[test]
    fn any_pieces(pieces in vec(piece(), 0..40)) {
        let content = pieces.concat();
        read_in_every_way(content.as_bytes());
        read_in_every_way(element("", &content).as_bytes());
        read_in_every_way(element("xsi:type=\"VirtualDisk\"", &content).as_bytes());
        read_in_every_way(soap::envelope("R", &["<returnval>", &content, "</returnval>"]).as_bytes());
        compare_with_quick_xml(&content)?;
        compare_with_quick_xml(&element("", &content))?;
    }

    #[test]
    fn a_good_document_with_bytes_changed(changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut document = element("", SEED).into_bytes();
        for (at, byte) in changes {
            let at = at.index(document.len());
            document[at] = byte;
        }
        read_in_every_way(&document);
    }

    #[test]
    fn a_good_document_with_pieces_put_in_and_taken_out(
        changes in vec((any::<prop::sample::Index>(), 0_usize..12, piece()), 1..5)
    ) {
        let mut document = element("xsi:type=\"DynamicProperty\"", SEED).into_bytes();
        for (at, length, piece) in changes {
            let at = at.index(document.len());
            let end = (at + length).min(document.len());
            document.splice(at..end, piece.into_bytes());
        }
        read_in_every_way(&document);
        if let Ok(document) = std::str::from_utf8(&document) {
            compare_with_quick_xml(document)?;
        }
    }

    /// Here most documents are good ones, so that the comparison has something to compare.
    #[test]
    fn a_tree_is_seen_as_another_parser_sees_it(tree in tree()) {
        prop_assert!(outline(&tree).is_some(), "{}", tree);
        compare_with_quick_xml(&tree)?;
    }

    #[test]
    fn any_text_survives(text in "\\PC{0,40}") {
        let again: String = reread(&encode(&text));
        prop_assert_eq!(again, text);
    }

    #[test]
    fn any_path(path in "[a-z.\\[\\]\"0-9]{0,20}") {
        let config: VirtualMachineConfigInfo = decode(element("", "<hardware><numCPU>1</numCPU></hardware>")).unwrap();
        let _ = get_path(&config, &path);
    }

    #[test]
    fn any_date(text in "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,12}[Z+-]?[0-9:]{0,6}") {
        let date: DateTime = decode(element("", &text)).unwrap();
        let _ = date.to_system_time();
    }
}
