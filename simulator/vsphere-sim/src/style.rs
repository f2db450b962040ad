//! How answers are written: what differs from one server to another although it means the same.

mod markup;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(crate) use self::markup::attributes;
use crate::{Error, ErrorKind, Result};

/// How answers are written. Every client has to understand all of it.
///
/// As text, for the command line: `prefix=local,chunked=always,gzip=never,fraction=9`, of which any part may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WireStyle {
    /// How a type is named.
    pub prefix: Prefix,
    /// When an answer comes in chunks, and not with its length.
    pub chunked: Chunked,
    /// When an answer is compressed.
    pub gzip: Gzip,
    /// Digits of the fraction of a second in a time: 6, 8 or 9.
    pub fraction: u8,
}

/// How the type of an element is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefix {
    /// `xsi:type="Type"`, with `xsi` declared on the envelope.
    #[default]
    Xsi,
    /// Each element declares `_XMLSchema-instance` for itself, as vcsim does it. Also called `vcsim`.
    #[serde(alias = "vcsim")]
    Local,
    /// `xsi:type="vim25:Type"`, with the prefix declared on the envelope.
    Vim25,
}

/// When an answer comes in chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chunked {
    /// Answers have a `Content-Length`.
    #[default]
    Never,
    /// Only those of more than 2 KiB do not, as with vcsim.
    Large,
    /// All of them.
    Always,
}

/// When an answer is compressed, which only those are told who ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gzip {
    /// Never, as with vcsim.
    Never,
    /// Where it is of use, as with a vCenter.
    #[default]
    Offered,
    /// However small it is.
    Always,
}

impl Default for WireStyle {
    fn default() -> Self {
        Self { prefix: Prefix::Xsi, chunked: Chunked::Never, gzip: Gzip::Offered, fraction: DIGITS }
    }
}

/// Digits in the times as they are written first.
const DIGITS: u8 = 6;

/// An answer is worth compressing from so many bytes on.
const WORTH_COMPRESSING: usize = 1000;

/// An answer is large from so many bytes on.
const LARGE: usize = 2048;

impl WireStyle {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// `InvalidArgument` for a fraction that no server writes.
    pub(crate) fn check(self) -> Result<Self> {
        if matches!(self.fraction, 6 | 8 | 9) {
            return Ok(self);
        }
        let what = format!("the field \"fraction\" of a wire style is 6, 8 or 9, not {}", self.fraction);
        Err(Error::new(ErrorKind::InvalidArgument, what))
    }

    /// An envelope in this style. It must be one of our own.
    pub(crate) fn dress(self, envelope: String) -> String {
        if self.prefix == Prefix::Xsi && self.fraction == DIGITS {
            return envelope;
        }
        match markup::rewrite(&envelope, self) {
            Ok(dressed) => dressed,
            Err(error) => {
                tracing::error!(%error, "an answer of our own cannot be read, and is sent as it is");
                envelope
            }
        }
    }

    /// Whether an answer of so many bytes is compressed, for who takes that.
    pub(crate) fn compresses(self, bytes: usize) -> bool {
        match self.gzip {
            Gzip::Never => false,
            Gzip::Offered => bytes > WORTH_COMPRESSING,
            Gzip::Always => true,
        }
    }

    /// Whether an answer of so many bytes comes in chunks.
    pub(crate) fn chunks(self, bytes: usize) -> bool {
        match self.chunked {
            Chunked::Never => false,
            Chunked::Large => bytes > LARGE,
            Chunked::Always => true,
        }
    }
}

impl FromStr for WireStyle {
    type Err = Error;

    /// Reads `key=value` pairs with commas between them.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: String| Error::new(ErrorKind::InvalidArgument, what);
        let mut fields = serde_json::Map::new();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| wrong(format!("{pair:?} of a wire style is not key=value")))?;
            let value = value.trim();
            let value = value.parse::<u8>().map_or_else(|_| value.into(), serde_json::Value::from);
            fields.insert(key.trim().to_owned(), value);
        }
        let style: Self = serde_json::from_value(fields.into())
            .map_err(|error| wrong(format!("the wire style {text:?}: {error}")))?;
        style.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form() {
        let style: WireStyle = "prefix=vcsim, chunked=always,gzip=never,fraction=9".parse().unwrap();
        let wanted =
            WireStyle { prefix: Prefix::Local, chunked: Chunked::Always, gzip: Gzip::Never, fraction: 9 };
        assert_eq!(style, wanted);
        assert_eq!("".parse::<WireStyle>().unwrap(), WireStyle::default());
        for (text, hint) in [
            ("prefix=soap", "`vim25`"),
            ("chunks=always", "`chunked`"),
            ("fraction=7", "6, 8 or 9"),
            ("fraction=many", "u8"),
            ("gzip", "key=value"),
        ] {
            let refused = text.parse::<WireStyle>().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
            assert!(refused.to_string().contains(hint), "{refused}");
        }
    }
}
