//! Names of elements and attributes: where they end, where their prefix does, and whether two are the same.

/// What a byte is in a name.
const NO: u8 = 0;
const YES: u8 = 1;
const COLON: u8 = 2;

/// Letters, digits, `_-.:`, and all outside of ASCII. Letters outside of ASCII are not looked at further: no name of the API
/// has any, so they meet no known one.
const IN_NAME: [u8; 256] = {
    let mut table = [NO; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b == b':' {
            table[byte] = COLON;
        } else if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.') || b >= 0x80 {
            table[byte] = YES;
        }
        byte += 1;
    }
    table
};

/// The bytes at the start of `text` that can stand in a name, and whether a colon is among them.
#[inline]
pub(super) fn measure(text: &str) -> (usize, bool) {
    let mut kinds = 0;
    for (at, byte) in text.bytes().enumerate() {
        match IN_NAME[usize::from(byte)] {
            NO => return (at, kinds & COLON != 0),
            kind => kinds |= kind,
        }
    }
    (text.len(), kinds & COLON != 0)
}

/// Prefix (empty if there is none) and local part of a name; `None` when it is no name.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    let (length, has_colon) = measure(name);
    if length == name.len() { parts(name, has_colon) } else { None }
}

/// As [`split`], of what was measured before.
#[inline]
pub(super) fn parts(name: &str, has_colon: bool) -> Option<(&str, &str)> {
    if !has_colon {
        return begins(name).then_some(("", name));
    }
    let (prefix, local) = name.split_once(':')?;
    (begins(prefix) && begins(local) && !local.contains(':')).then_some((prefix, local))
}

fn begins(name: &str) -> bool {
    !matches!(name.as_bytes().first(), None | Some(b'0'..=b'9' | b'-' | b'.'))
}

/// Whether two names are the same. Nearly all have up to 16 bytes, for which this is a few instructions where `==` is a
/// call; and a decoder does it twice for each element.
#[inline]
pub(crate) fn is_same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk::<8>(), b.first_chunk::<8>()) {
        (Some(first), Some(other)) => {
            first == other && a.last_chunk::<8>() == b.last_chunk::<8>() && (a.len() <= 16 || a == b)
        }
        _ => match (a.first_chunk::<4>(), b.first_chunk::<4>()) {
            (Some(first), Some(other)) => first == other && a.last_chunk::<4>() == b.last_chunk::<4>(),
            _ => a.iter().eq(b),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_what_is_equal() {
        let names: Vec<String> = (0..40).map(|length| "abcdefgh".repeat(5)[..length].to_owned()).collect();
        for a in &names {
            for b in &names {
                assert_eq!(is_same(a, b), a == b, "{a} {b}");
            }
            for at in 0..a.len() {
                let mut other = a.clone().into_bytes();
                other[at] = b'_';
                assert!(!is_same(a, std::str::from_utf8(&other).unwrap()), "{a} at {at}");
            }
        }
    }
}
