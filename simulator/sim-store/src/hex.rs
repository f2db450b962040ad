//! Hexadecimal text: plain, and in the spaced form that VMware uses for uuids.

use crate::{Error, ErrorKind, Result};

pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn decode(text: &str) -> Result<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return Err(not_hex(text));
    }
    digits
        .chunks_exact(2)
        .map(|pair| {
            let pair = std::str::from_utf8(pair).map_err(|_| not_hex(text))?;
            if !pair.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(not_hex(text));
            }
            u8::from_str_radix(pair, 16).map_err(|_| not_hex(text))
        })
        .collect()
}

/// `52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63`: sixteen bytes, blanks between, a dash in the middle.
pub(crate) fn spaced(bytes: &[u8; 16]) -> String {
    let half = |half: &[u8]| half.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    format!("{}-{}", half(&bytes[..8]), half(&bytes[8..]))
}

/// Reads the form that [`spaced`] writes, in either case, and nothing looser.
pub(crate) fn parse_spaced(text: &str) -> Result<[u8; 16]> {
    let well_formed = text.len() == 47
        && text.bytes().enumerate().all(|(at, byte)| match at {
            23 => byte == b'-',
            at if at % 3 == 2 => byte == b' ',
            _ => byte.is_ascii_hexdigit(),
        });
    if !well_formed {
        return Err(not_hex(text));
    }
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    decode(&digits)?.try_into().map_err(|_| not_hex(text))
}

fn not_hex(text: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("{text:?} is not hexadecimal text of the expected form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaced_form_is_read_back_and_nothing_looser() {
        let text = "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63";
        let bytes = parse_spaced(text).unwrap();
        assert_eq!((bytes[0], bytes[15]), (0x52, 0x63));
        assert_eq!(spaced(&bytes), text);
        for wrong in ["", "52", &text[1..], &text.replace('-', " "), &text.replace("52", "+2")] {
            assert!(parse_spaced(wrong).is_err(), "{wrong:?}");
        }
        assert!(decode("+1").is_err());
        assert!(decode("é1").is_err());
    }
}
