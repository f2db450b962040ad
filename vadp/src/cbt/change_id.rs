use std::fmt;
use std::str::FromStr;

/// A changeId: the epoch of the disk's tracking (a uuid, renewed whenever tracking began anew) and a number within it.
///
/// On the wire it is text such as `52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/81`. Ids are comparable only within one
/// epoch.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChangeId {
    epoch: [u8; 16],
    sequence: u64,
    /// As the server wrote it: it is given back letter for letter.
    text: String,
}

/// A text that is no changeId.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeIdError(String);

impl ChangeId {
    /// The tracking's epoch.
    pub fn epoch(&self) -> [u8; 16] {
        self.epoch
    }

    /// The number within the epoch.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether both are of the same epoch, so that the changes between them are known.
    pub fn is_comparable_to(&self, other: &Self) -> bool {
        self.epoch == other.epoch
    }

    /// The text as the server gave it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for ChangeId {
    type Err = ChangeIdError;

    fn from_str(text: &str) -> Result<Self, ChangeIdError> {
        let refuse = || ChangeIdError(text.chars().take(80).collect());
        let (uuid, number) = text.trim().split_once('/').ok_or_else(refuse)?;
        let digits: Vec<u8> = uuid
            .bytes()
            .filter(|b| !matches!(b, b' ' | b'-'))
            .map(hex)
            .collect::<Option<_>>()
            .ok_or_else(refuse)?;
        if digits.len() != 32 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse());
        }
        let mut epoch = [0; 16];
        for (byte, pair) in epoch.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        let sequence = number.parse().map_err(|_| refuse())?;
        Ok(Self { epoch, sequence, text: text.trim().to_owned() })
    }
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok())
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChangeId({})", self.text)
    }
}

impl fmt::Display for ChangeIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is no changeId (16 bytes in hex, a slash, a number)", self.0)
    }
}

impl std::error::Error for ChangeIdError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_servers_write() {
        let id: ChangeId = "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/81".parse().unwrap();
        assert_eq!(id.sequence(), 81);
        assert_eq!(id.epoch()[..3], [0x52, 0xde, 0xc0]);
        assert_eq!(id.to_string(), "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/81");
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            "*",
            "/1",
            "52 de/1",
            "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63",
            "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/",
            "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/-1",
            "52 de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/99999999999999999999",
            "zz de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/8",
        ] {
            let parsed = text.parse::<ChangeId>();
            assert!(parsed.is_err(), "{text} was accepted");
        }
    }
}
