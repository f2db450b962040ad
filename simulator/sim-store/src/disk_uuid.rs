//! The uuid of a disk, as `ddb.uuid` and as `backing.uuid`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::descriptor::fill_random;
use crate::{Error, Result, hex};

/// The 16 bytes that name a virtual disk. ESXi draws them with `60 00 C2 9` in front.
///
/// `Display` gives the form of the descriptor, `60 00 C2 9x .. ..-.. ..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DiskUuid(pub [u8; 16]);

impl DiskUuid {
    /// A fresh uuid.
    ///
    /// # Errors
    /// `Io` if the operating system gives no random numbers.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        fill_random(&mut bytes)?;
        bytes[..3].copy_from_slice(&[0x60, 0x00, 0xc2]);
        bytes[3] = 0x90 | bytes[3] & 0x0f;
        Ok(Self(bytes))
    }

    /// The form of the VIM API's `backing.uuid`: `6000C29x-xxxx-xxxx-xxxx-xxxxxxxxxxxx`.
    pub fn dashed(&self) -> String {
        let digits = self.to_string().replace([' ', '-'], "");
        let mut text = String::with_capacity(36);
        for (at, digit) in digits.chars().enumerate() {
            if matches!(at, 8 | 12 | 16 | 20) {
                text.push('-');
            }
            text.push(digit);
        }
        text
    }
}

impl fmt::Display for DiskUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // VMware writes the C of its prefix, and only that, in upper case.
        f.write_str(&hex::spaced(&self.0).replacen("60 00 c2", "60 00 C2", 1))
    }
}

impl FromStr for DiskUuid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        hex::parse_spaced(text).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let uuid: DiskUuid = "60 00 C2 93 7b a0 3a 9a-00 11 22 33 44 55 66 77".parse().unwrap();
        assert_eq!(uuid.dashed(), "6000C293-7ba0-3a9a-0011-223344556677");
        assert_eq!(uuid.to_string().parse::<DiskUuid>().unwrap(), uuid);
        assert!(DiskUuid::random().unwrap().to_string().starts_with("60 00 C2 9"));
    }
}
