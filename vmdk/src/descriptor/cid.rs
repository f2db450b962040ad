//! Content ids.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;

use crate::error::{Error, Result};

/// A content id: a random number that a disk gets anew with its first write after each opening.
///
/// A child notes its parent's as `parentCID`. When they differ, the parent was written to since, and the child's data
/// no longer belong to it (VMware KB 1007969).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cid(pub u32);

impl Cid {
    /// `ffffffff`, as `parentCID` of a disk without a parent.
    pub const NONE: Self = Self(0xffff_ffff);
    /// `fffffffe`, of a disk that was made and never written to. Children of such disks have it as `parentCID`.
    pub const FRESH: Self = Self(0xffff_fffe);

    /// A random id that is neither this one nor one of the two with a meaning.
    ///
    /// Its source is the seed of the standard library's hash maps: enough to tell contents apart, which is all that
    /// 32 bits are for, and no secret.
    #[must_use]
    pub fn random_but(self) -> Self {
        loop {
            let drawn = RandomState::new().build_hasher().finish();
            let cid = Self((drawn >> 32) as u32);
            if ![self, Self::NONE, Self::FRESH].contains(&cid) {
                return cid;
            }
        }
    }
}

/// Eight lower-case digits. qemu leaves leading zeros away, and then overflows a full descriptor on the next change.
impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl FromStr for Cid {
    type Err = Error;

    /// Reads one to eight hexadecimal digits.
    ///
    /// # Errors
    /// `Malformed` for everything else.
    fn from_str(digits: &str) -> Result<Self> {
        let hexadecimal =
            (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        hexadecimal.then(|| u32::from_str_radix(digits, 16).ok()).flatten().map(Self).ok_or_else(|| {
            Error::malformed("a content id (CID) is no hexadecimal number of one to eight digits")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pitfall_1_seven_digits_are_read_and_eight_written() {
        assert_eq!("50fc0af".parse::<Cid>().unwrap().to_string(), "050fc0af");
        assert_eq!("0".parse::<Cid>().unwrap(), Cid(0));
        assert_eq!("FFFFFFFF".parse::<Cid>().unwrap(), Cid::NONE);
        for text in ["", "123456789", "+1", "0x1", "g", "é"] {
            assert!(text.parse::<Cid>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn random_ids_differ() {
        let first = Cid::FRESH.random_but();
        let second = first.random_but();
        assert_ne!(first, second);
        assert!(![Cid::NONE, Cid::FRESH].contains(&second));
    }
}
