//! The character encodings of descriptors: two that are decoded, and the rest, of which ASCII is understood.

use crate::error::{Error, Result};

/// What `encoding` names. Every encoding seen in a descriptor has ASCII as a part, and none has a quote, a line end or
/// an equals sign as a part of another character, so lines can be taken apart before their text is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Windows1252,
    Latin1,
    /// Only ASCII is read and written.
    Other(String),
}

impl Encoding {
    pub(super) fn of(label: &str) -> Self {
        match label.to_ascii_lowercase().as_str() {
            "utf-8" | "utf8" => Self::Utf8,
            "windows-1252" | "cp1252" => Self::Windows1252,
            "iso-8859-1" | "iso8859-1" | "latin1" => Self::Latin1,
            _ => Self::Other(label.to_owned()),
        }
    }

    /// # Errors
    /// `Malformed` for bytes that are no UTF-8 although it was promised, `Unsupported` for other encodings.
    pub(super) fn decode(&self, bytes: &[u8]) -> Result<String> {
        match self {
            Self::Utf8 => str::from_utf8(bytes).map(str::to_owned).map_err(|_| {
                Error::malformed(
                    "it is not UTF-8; if the host wrote another encoding, say so in an encoding= line",
                )
            }),
            Self::Windows1252 => Ok(bytes.iter().copied().map(windows_1252).collect()),
            Self::Latin1 => Ok(bytes.iter().copied().map(char::from).collect()),
            Self::Other(_) if bytes.is_ascii() => Ok(bytes.iter().copied().map(char::from).collect()),
            Self::Other(label) => Err(Error::unsupported(format!(
                "it is in the encoding \"{}\", of which this crate reads ASCII only; convert the descriptor to UTF-8",
                label.escape_debug()
            ))),
        }
    }

    /// # Errors
    /// `InvalidInput` when the text cannot be written in this encoding.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u8>> {
        let (encoded, label) = match self {
            Self::Utf8 => return Ok(text.as_bytes().to_vec()),
            Self::Windows1252 => (by_table(text, windows_1252), "windows-1252"),
            Self::Latin1 => (by_table(text, char::from), "ISO-8859-1"),
            Self::Other(label) => (text.is_ascii().then(|| text.as_bytes().to_vec()), label.as_str()),
        };
        encoded.ok_or_else(|| {
            Error::invalid(format!(
                "\"{}\" cannot be written in the descriptor's encoding, {}; use ASCII, or make a new UTF-8 descriptor",
                text.escape_debug(),
                label.escape_debug()
            ))
        })
    }
}

fn by_table(text: &str, table: impl Fn(u8) -> char) -> Option<Vec<u8>> {
    text.chars().map(|wanted| (0..=u8::MAX).find(|byte| table(*byte) == wanted)).collect()
}

/// The 32 bytes that differ from ISO-8859-1. Five have no character, and stay the control codes that they are there.
const HIGH: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}',
    '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

fn windows_1252(byte: u8) -> char {
    byte.checked_sub(0x80).and_then(|high| HIGH.get(usize::from(high))).copied().unwrap_or(char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_byte_of_the_single_byte_encodings_comes_back() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        for label in ["Windows-1252", "ISO-8859-1"] {
            let encoding = Encoding::of(label);
            assert_eq!(encoding.encode(&encoding.decode(&all).unwrap()).unwrap(), all, "{label}");
        }
        assert_eq!(Encoding::Windows1252.decode(b"\x80\xfc").unwrap(), "€ü");
        assert_eq!(Encoding::Latin1.decode(b"\xfc").unwrap(), "ü");
        assert!(Encoding::Latin1.encode("€").is_err());
    }

    #[test]
    fn other_encodings_carry_ascii_and_are_named_otherwise() {
        let gbk = Encoding::of("GBK");
        assert_eq!(gbk.decode(b"x-flat.vmdk").unwrap(), "x-flat.vmdk");
        let error = gbk.decode(b"\xc4\xe3.vmdk").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("GBK"));
        assert_eq!(Encoding::Utf8.decode(b"\xfc").unwrap_err().kind(), ErrorKind::Malformed);
    }
}
