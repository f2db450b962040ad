//! One line of a descriptor: its bytes, and what they are.

use std::fmt;

use super::encoding::Encoding;
use super::extent_line;
use crate::error::{Error, Result};

/// A line with its line end, which the last one may lack.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) raw: Vec<u8>,
    pub(super) item: Item,
}

/// The text, of which what it means can be seen.
impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.raw.escape_ascii())
    }
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// One of the extents, which are kept beside the lines in the same order.
    Extent,
    Entry(Entry),
    /// Blank, a comment, or nothing that anyone knows.
    Other,
}

/// `key=value` or `ddb.key = "value"`.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As it is written, with `ddb.`
    pub(super) key: String,
    /// Without its quotes.
    pub(super) value: String,
    /// Why the value is not to be trusted: a quote that is not closed, or bytes outside the encoding.
    pub(super) fault: Option<Fault>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Quotes,
    Encoding,
}

impl Line {
    pub(super) fn is_blank(&self) -> bool {
        self.raw.trim_ascii().is_empty()
    }

    /// Whether this is a comment of these words, which are divided by single blanks.
    pub(super) fn is_comment(&self, words: &str) -> bool {
        is_comment(&self.raw, words)
    }

    pub(super) fn entry(&self) -> Option<&Entry> {
        match &self.item {
            Item::Entry(entry) => Some(entry),
            Item::Extent | Item::Other => None,
        }
    }

    /// LF, CRLF or, on the last line, nothing.
    pub(super) fn ending(&self) -> &'static [u8] {
        match self.raw.as_slice() {
            [.., b'\r', b'\n'] => b"\r\n",
            [.., b'\n'] => b"\n",
            _ => b"",
        }
    }
}

/// Whether a line is a comment of these words, in any case, with any blanks.
pub(super) fn is_comment(raw: &[u8], words: &str) -> bool {
    let Some(text) = without_bom(raw).trim_ascii().strip_prefix(b"#") else { return false };
    let found = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    found
        .map(<[u8]>::to_ascii_lowercase)
        .eq(words.split(' ').map(|word| word.to_ascii_lowercase().into_bytes()))
}

/// Windows editors put one before the text.
pub(super) fn without_bom(raw: &[u8]) -> &[u8] {
    raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw)
}

/// Takes `key=value` apart: the key, and the value with its quotes. None if it is nothing of that form.
pub(super) fn split_entry(raw: &[u8]) -> Option<(&str, &[u8])> {
    let text = raw.trim_ascii();
    let (key, value) = text.split_at(text.iter().position(|byte| *byte == b'=')?);
    let key = str::from_utf8(key.trim_ascii()).ok().filter(|key| is_key(key))?;
    Some((key, value.strip_prefix(b"=").unwrap_or_default().trim_ascii()))
}

/// Whether this may stand before an equals sign.
pub(super) fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"=#".contains(&byte))
}

/// Reads one line, given with its line end and without a BOM.
///
/// # Errors
/// Those of an extent.
pub(super) fn classify(raw: &[u8], encoding: &Encoding) -> Result<(Item, Option<extent_line::ExtentLine>)> {
    let text = raw.trim_ascii();
    if text.is_empty() || text.starts_with(b"#") {
        return Ok((Item::Other, None));
    }
    if let Some(extent) = extent_line::parse(text, encoding)? {
        return Ok((Item::Extent, Some(extent)));
    }
    let Some((key, value)) = split_entry(text) else { return Ok((Item::Other, None)) };
    let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    let (value, fault) = match encoding.decode(bare) {
        Ok(value) if bare.contains(&b'"') => (value, Some(Fault::Quotes)),
        Ok(value) => (value, None),
        Err(_) => (String::from_utf8_lossy(bare).into_owned(), Some(Fault::Encoding)),
    };
    Ok((Item::Entry(Entry { key: key.to_owned(), value, fault }), None))
}

impl Entry {
    pub(super) fn is(&self, key: &str) -> bool {
        self.key.eq_ignore_ascii_case(key)
    }

    /// The key without `ddb.`, if it has that.
    pub(super) fn ddb_key(&self) -> Option<&str> {
        let (prefix, key) = self.key.split_at_checked(4)?;
        prefix.eq_ignore_ascii_case("ddb.").then_some(key)
    }

    /// The value, if it can be relied on.
    ///
    /// # Errors
    /// `Malformed` for quotes that do not match, and what the encoding says of its bytes.
    pub(super) fn sound(&self, encoding: &Encoding) -> Result<&str> {
        match self.fault {
            None => Ok(&self.value),
            Some(Fault::Quotes) => Err(Error::malformed(format!("the quotes of {} do not match", self.key))),
            // No encoding that can fault a value takes this byte alone, so the error is the one of the value's bytes.
            Some(Fault::Encoding) => match encoding.decode(b"\xff") {
                Err(error) => Err(Error::new(error.kind(), format!("{} cannot be read: {error}", self.key))),
                Ok(_) => Ok(&self.value),
            },
        }
    }
}
