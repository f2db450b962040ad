//! What stands in a tag behind its name, and what `&…;` stands for.

use std::borrow::Cow;

use super::{XmlError, XmlErrorKind};

/// More attributes than this on one tag are refused: each is compared with all others of its tag. An envelope has ten.
const MAX_ATTRIBUTES: usize = 64;

/// An attribute: name as written, value as written between its quotes.
pub(super) type Attribute<'a> = (&'a str, &'a str);

/// Splits what stands in a tag behind its name into `into`, which is emptied first.
pub(super) fn split<'a>(text: &'a str, into: &mut Vec<Attribute<'a>>) -> Result<(), XmlError> {
    into.clear();
    for attribute in Attributes(text) {
        let (key, value) = attribute?;
        if into.iter().any(|(other, _)| *other == key) {
            return Err(malformed(format!("the attribute {key} stands there twice")));
        }
        if into.len() == MAX_ATTRIBUTES {
            let detail = format!("more than {MAX_ATTRIBUTES} attributes on one tag");
            return Err(XmlError::new(XmlErrorKind::TooLarge, 0, detail));
        }
        into.push((key, value));
    }
    Ok(())
}

/// The attributes of a tag in their order, without a check for doubles.
pub(super) struct Attributes<'a>(pub(super) &'a str);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, XmlError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = trim_start(self.0);
        if rest.is_empty() {
            return None;
        }
        let parsed = if rest.len() == self.0.len() { None } else { first(rest) };
        match parsed {
            Some((attribute, tail)) => {
                self.0 = tail;
                Some(Ok(attribute))
            }
            None => {
                self.0 = "";
                Some(Err(malformed("a malformed attribute")))
            }
        }
    }
}

fn first(text: &str) -> Option<(Attribute<'_>, &str)> {
    let key = &text[..name_length(text)];
    split_name(key)?;
    let value = trim_start(trim_start(&text[key.len()..]).strip_prefix('=')?);
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (value, tail) = value[1..].split_once(quote)?;
    (!value.contains('<')).then_some(((key, value), tail))
}

/// Prefix (empty if there is none) and local part of a name; `None` when it is no name.
///
/// Letters outside of ASCII are not looked at further: no name of the API has any, so they meet no known one.
#[inline]
pub(super) fn split_name(name: &str) -> Option<(&str, &str)> {
    if name_length(name) != name.len() {
        return None;
    }
    let (prefix, local) = match name.as_bytes().iter().position(|b| *b == b':') {
        Some(at) => (&name[..at], &name[at + 1..]),
        None => return begins_name(name).then_some(("", name)),
    };
    (begins_name(prefix) && begins_name(local) && !local.contains(':')).then_some((prefix, local))
}

fn begins_name(name: &str) -> bool {
    !matches!(name.as_bytes().first(), None | Some(b'0'..=b'9' | b'-' | b'.'))
}

/// Bytes that can stand in a name: letters, digits, `_-.:`, and all outside of ASCII.
#[inline]
pub(super) fn name_length(text: &str) -> usize {
    const IN_NAME: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            let b = byte as u8;
            table[byte] = b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':') || b >= 0x80;
            byte += 1;
        }
        table
    };
    let bytes = text.as_bytes();
    bytes.iter().position(|b| !IN_NAME[usize::from(*b)]).unwrap_or(bytes.len())
}

pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

pub(super) fn trim_start(text: &str) -> &str {
    text.trim_start_matches(is_space)
}

/// The value of an attribute: references resolved, line ends and tabs as blanks.
pub(super) fn value(raw: &str) -> Result<Cow<'_, str>, XmlError> {
    if !raw.bytes().any(|b| matches!(b, b'&' | b'\t' | b'\n' | b'\r')) {
        return Ok(Cow::Borrowed(raw));
    }
    let blank = |piece: &str| piece.replace("\r\n", " ").replace(['\t', '\n', '\r'], " ");
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(&blank(before));
        let (name, tail) =
            after.split_once(';').ok_or_else(|| malformed("an & without ; in an attribute"))?;
        let c = reference(name)
            .ok_or_else(|| XmlError::new(XmlErrorKind::Forbidden, 0, unknown_reference(name)))?;
        out.push(c);
        rest = tail;
    }
    out.push_str(&blank(rest));
    Ok(Cow::Owned(out))
}

/// What `&name;` stands for: one of the five that XML knows, or a character by its number, NUL excepted.
pub(super) fn reference(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let (digits, radix) = match number.strip_prefix('x') {
                Some(hex) => (hex, 16),
                None => (number, 10),
            };
            // The standard library would take a sign as well.
            if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
                return None;
            }
            let code = u32::from_str_radix(digits, radix).ok()?;
            char::from_u32(code).filter(|c| *c != '\0')
        }
    }
}

/// Says which reference is refused, cut short: its name is as long as the sender likes.
pub(super) fn unknown_reference(name: &str) -> String {
    let shown: String = name.chars().take(40).collect();
    format!("the entity &{shown};")
}

fn malformed(detail: impl Into<String>) -> XmlError {
    XmlError::new(XmlErrorKind::Malformed, 0, detail)
}
