//! Documents that are meant to fill the memory: an error at once, or a fair price. Measured by what the process held at
//! most, so each runs in a process of its own.

use std::process::Command;
use std::{env, fs};

use vim_api::types::OptionValue;
use vim_api::xml::XmlErrorKind;

use crate::{decode, element};

const MIB: usize = 1 << 20;

/// For all that is not the document: most of it is code, read from its file when it is first run.
const LITTLE: usize = 8 * MIB;

/// What the process has held at most, in bytes.
fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// Runs the ignored test of this name in a process of its own.
fn alone(name: &str) {
    let run = Command::new(env::current_exe().unwrap())
        .args([&format!("api::memory::{name}"), "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(
        run.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

/// Refused for `kind`, with little beside the document itself.
fn refused(document: &[u8], kind: XmlErrorKind) {
    let before = peak();
    let error = decode::<OptionValue>(document).unwrap_err();
    assert_eq!(error.kind(), kind);
    assert!(error.to_string().len() < 400);
    let grown = peak() - before;
    assert!(grown < LITTLE, "{grown} bytes for {error}");
}

#[test]
fn hostile_documents_take_little_memory() {
    for name in
        ["a_billion_laughs", "a_depth_bomb", "an_attribute_of_a_gigabyte", "an_attribute_that_is_allowed"]
    {
        alone(name);
    }
}

#[test]
#[ignore = "run by hostile_documents_take_little_memory"]
fn a_billion_laughs() {
    let mut prolog = String::from("<!DOCTYPE v [<!ENTITY l0 \"lol\">");
    for n in 1..10 {
        let ten = format!("&l{};", n - 1).repeat(10);
        prolog.push_str(&format!("<!ENTITY l{n} \"{ten}\">"));
    }
    let document = prolog + "]>" + &element("", "<key>&l9;</key>");
    refused(document.as_bytes(), XmlErrorKind::Forbidden);
}

#[test]
#[ignore = "run by hostile_documents_take_little_memory"]
fn a_depth_bomb() {
    refused(element("", &"<a>".repeat(50 * MIB / 3)).as_bytes(), XmlErrorKind::TooLarge);
    let typed = "<value xsi:type=\"OptionValue\">".repeat(MIB);
    refused(element("", &typed).as_bytes(), XmlErrorKind::TooLarge);
}

#[test]
#[ignore = "run by hostile_documents_take_little_memory"]
fn an_attribute_of_a_gigabyte() {
    // Pages that nobody touches take no memory: if they were read, they would.
    let mut document = vec![0; 1 << 30];
    let start = b"<v a=\"";
    document[..start.len()].copy_from_slice(start);
    refused(&document, XmlErrorKind::TooLarge);
}

/// As long as a document may be: it is looked at in place, and never copied.
#[test]
#[ignore = "run by hostile_documents_take_little_memory"]
fn an_attribute_that_is_allowed() {
    let mut document = b"<v a=\"".to_vec();
    document.resize(64 * MIB, b'x');
    refused(&document, XmlErrorKind::Truncated);
    document.extend_from_slice(b"\"><key>k</key></v>");
    let before = peak();
    assert_eq!(decode::<OptionValue>(&document).unwrap().key, "k");
    assert!(peak() - before < LITTLE);
}
