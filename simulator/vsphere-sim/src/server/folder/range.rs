//! The part of a file that a `Range` header asks for.

use std::ops::Range;

/// What a header comes to, for a file of some length.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it: there is no header, it makes no sense, or it asks for several ranges at once.
    Whole,
    /// These bytes, of which there is at least one.
    Bytes(Range<u64>),
    /// Nothing that the file has.
    Beyond,
}

impl Part {
    pub(super) fn of(header: Option<&str>, length: u64) -> Self {
        let Some(spec) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else {
            return Self::Whole;
        };
        let Some((first, last)) = spec.trim().split_once('-') else { return Self::Whole };
        let bytes = match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
            (Some(first), None) if last.is_empty() => first..length,
            (None, Some(count)) if first.is_empty() => length.saturating_sub(count)..length,
            _ => return Self::Whole,
        };
        if bytes.is_empty() { Self::Beyond } else { Self::Bytes(bytes) }
    }
}

/// More than fits is beyond the end of any file.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (header, part) in [
            ("bytes=0-0", Part::Bytes(0..1)),
            ("bytes=0-99", Part::Bytes(0..100)),
            ("bytes=10-19", Part::Bytes(10..20)),
            ("bytes=90-200", Part::Bytes(90..100)),
            ("bytes=99-", Part::Bytes(99..100)),
            ("bytes=0-18446744073709551615", Part::Bytes(0..100)),
            ("bytes=0-99999999999999999999999", Part::Bytes(0..100)),
            ("bytes=-1", Part::Bytes(99..100)),
            ("bytes=-100", Part::Bytes(0..100)),
            ("bytes=-1000", Part::Bytes(0..100)),
            ("bytes=100-", Part::Beyond),
            ("bytes=100-100", Part::Beyond),
            ("bytes=99999999999999999999999-", Part::Beyond),
            ("bytes=-0", Part::Beyond),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=5-4", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=1", Part::Whole),
            ("lines=1-2", Part::Whole),
        ] {
            assert_eq!(Part::of(Some(header), 100), part, "{header}");
        }
        assert_eq!(Part::of(None, 100), Part::Whole);
        assert_eq!(Part::of(Some("bytes=0-0"), 0), Part::Beyond);
        assert_eq!(Part::of(Some("bytes=-5"), 0), Part::Beyond);
    }
}
