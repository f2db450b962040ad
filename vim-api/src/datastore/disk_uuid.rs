//! What names a disk.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// The 16 bytes that name a virtual disk and go with it wherever it is moved.
///
/// It is read from 32 hexadecimal digits, with any blanks and dashes between them: vSphere writes one and the same uuid
/// as `6000C293-7ba0-3a03-9f22-56c52993b727` in a machine's backing and as `60 00 C2 93 7b a0 3a 03-9f 22 56 c5 29 93 b7 27`
/// in the disk. It prints as the former, in lower case.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DiskUuid([u8; 16]);

impl DiskUuid {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// As it stands in a disk (`ddb.uuid`), and as `SetVirtualDiskUuid` takes it.
    pub fn spaced(&self) -> String {
        let half = |bytes: &[u8]| {
            let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            pairs.join(" ")
        };
        let (first, second) = self.0.split_at(8);
        format!("{}-{}", half(first), half(second))
    }
}

impl FromStr for DiskUuid {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let digits: Option<Vec<u32>> =
            text.chars().filter(|c| !matches!(c, ' ' | '-')).take(33).map(|c| c.to_digit(16)).collect();
        let unusable = || {
            let shown: String = text.chars().take(80).collect();
            Error::invalid_input(format!("{shown:?} is no uuid of a disk, which has 32 hexadecimal digits"))
        };
        let digits = digits.filter(|digits| digits.len() == 32).ok_or_else(unusable)?;
        let mut bytes = [0_u8; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | u8::try_from(*digit).unwrap_or_default());
        }
        Ok(DiskUuid(bytes))
    }
}

impl fmt::Display for DiskUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for DiskUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiskUuid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::DiskUuid;

    #[test]
    fn all_ways_to_write_a_uuid_mean_the_same() {
        let backing: DiskUuid = "6000C293-7ba0-3a03-9f22-56c52993b727".parse().unwrap();
        let descriptor: DiskUuid = "60 00 C2 93 7b a0 3a 03-9f 22 56 c5 29 93 b7 27".parse().unwrap();
        assert_eq!(backing, descriptor);
        assert_eq!(backing, "6000C2937BA03A039F2256C52993B727".parse().unwrap());
        assert_eq!(backing.to_string(), "6000c293-7ba0-3a03-9f22-56c52993b727");
        assert_eq!(backing.spaced(), "60 00 c2 93 7b a0 3a 03-9f 22 56 c5 29 93 b7 27");
        assert_eq!(backing.spaced().parse::<DiskUuid>().unwrap(), backing);
        assert_eq!(backing.as_bytes()[3], 0x93);
    }

    #[test]
    fn what_is_no_uuid_is_refused() {
        let long = "6".repeat(33);
        for bad in ["", "6000C293", "6000C293-7ba0-3a03-9f22-56c52993b72g", &long, "é"] {
            let error = bad.parse::<DiskUuid>().unwrap_err();
            assert!(error.to_string().contains("32 hexadecimal digits"), "{error}");
        }
    }
}
