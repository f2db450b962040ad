//! What stands in a tag behind its name, and what `&…;` stands for.

use std::borrow::Cow;

use super::name::{self, is_same};
use super::{XmlError, XmlErrorKind};

/// More attributes than this on one tag are refused: each is compared with all others of its tag. An envelope has ten.
const MAX_ATTRIBUTES: usize = 64;

/// An attribute, each part as written.
#[derive(Clone, Copy)]
pub(super) struct Attribute<'a> {
    /// Empty if there is none.
    pub(super) prefix: &'a str,
    pub(super) local: &'a str,
    /// What stands between the quotes.
    pub(super) value: &'a str,
}

/// Splits what stands in a tag behind its name into `into`, which is emptied first.
pub(super) fn split<'a>(text: &'a str, into: &mut Vec<Attribute<'a>>) -> Result<(), XmlError> {
    into.clear();
    for attribute in Attributes(text) {
        let attribute = attribute?;
        let is_other =
            |a: &Attribute<'_>| is_same(a.local, attribute.local) && is_same(a.prefix, attribute.prefix);
        if into.iter().any(is_other) {
            return Err(malformed(format!("the attribute {} stands there twice", attribute.local)));
        }
        if into.len() == MAX_ATTRIBUTES {
            let detail = format!("more than {MAX_ATTRIBUTES} attributes on one tag");
            return Err(XmlError::new(XmlErrorKind::TooLarge, 0, detail));
        }
        into.push(attribute);
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
    let (length, has_colon) = name::measure(text);
    let (prefix, local) = name::parts(&text[..length], has_colon)?;
    let quoted = trim_start(trim_start(&text[length..]).strip_prefix('=')?);
    let quote = quoted.bytes().next().filter(|b| matches!(b, b'"' | b'\''))?;
    let value = &quoted[1..];
    let end = value.bytes().position(|b| b == quote || b == b'<')?;
    let tail = value[end..].strip_prefix(char::from(quote))?;
    Some((Attribute { prefix, local, value: &value[..end] }, tail))
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
