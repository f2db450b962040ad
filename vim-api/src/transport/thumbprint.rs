//! Certificate thumbprints: the short name under which vSphere pins a certificate.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;

use super::error::TransportError;

/// SHA-1 or SHA-256 over the DER form of a server's own (leaf) certificate.
///
/// It is read from hexadecimal text, upper or lower case, with or without colons or blanks between bytes; the number of bytes
/// (20 or 32) tells the algorithm. It prints as vSphere writes it: upper case with colons. SHA-1 is there because
/// VDDK and older tools know nothing else; prefer SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint(Digest);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Digest {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

impl Thumbprint {
    /// The SHA-1 thumbprint of a certificate in DER form.
    pub fn sha1(der: &[u8]) -> Self {
        let mut bytes = [0; 20];
        bytes.copy_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der).as_ref());
        Thumbprint(Digest::Sha1(bytes))
    }

    /// The SHA-256 thumbprint of a certificate in DER form.
    pub fn sha256(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Thumbprint(Digest::Sha256(bytes))
    }

    /// Whether `der` is the certificate that this thumbprint names.
    pub fn matches(&self, der: &[u8]) -> bool {
        match self.0 {
            Digest::Sha1(_) => *self == Self::sha1(der),
            Digest::Sha256(_) => *self == Self::sha256(der),
        }
    }

    /// `"SHA-1"` or `"SHA-256"`.
    pub fn algorithm(&self) -> &'static str {
        match self.0 {
            Digest::Sha1(_) => "SHA-1",
            Digest::Sha256(_) => "SHA-256",
        }
    }

    /// The digest: 20 bytes for SHA-1, 32 for SHA-256.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Digest::Sha1(bytes) => bytes,
            Digest::Sha256(bytes) => bytes,
        }
    }
}

impl FromStr for Thumbprint {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = Vec::with_capacity(32);
        for group in text.split(|c: char| c == ':' || c.is_whitespace()) {
            if !group.bytes().all(|b| b.is_ascii_hexdigit()) || group.len() % 2 != 0 {
                return Err(TransportError::input(format!(
                    "{text:?} is not a thumbprint: write pairs of hexadecimal digits, such as \"AA:BB:..\""
                )));
            }
            for pair in group.as_bytes().chunks_exact(2) {
                bytes.push(hex_value(pair[0]) << 4 | hex_value(pair[1]));
            }
        }
        match (<[u8; 20]>::try_from(bytes.as_slice()), <[u8; 32]>::try_from(bytes.as_slice())) {
            (Ok(sha1), _) => Ok(Thumbprint(Digest::Sha1(sha1))),
            (_, Ok(sha256)) => Ok(Thumbprint(Digest::Sha256(sha256))),
            _ => Err(TransportError::input(format!(
                "a thumbprint has 20 bytes (SHA-1) or 32 bytes (SHA-256), {text:?} has {}",
                bytes.len()
            ))),
        }
    }
}

/// Value of a character that is already known to be a hexadecimal digit.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.as_bytes().iter().enumerate() {
            if index > 0 {
                f.write_str(":")?;
            }
            write!(f, "{byte:02X}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({} {self})", self.algorithm())
    }
}

/// Both thumbprints of the certificate that a server showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerThumbprints {
    /// The SHA-1 thumbprint, as VDDK wants it.
    pub sha1: Thumbprint,
    /// The SHA-256 thumbprint, the one to pin.
    pub sha256: Thumbprint,
}

impl PeerThumbprints {
    pub(super) fn of(der: &[u8]) -> Self {
        PeerThumbprints { sha1: Thumbprint::sha1(der), sha256: Thumbprint::sha256(der) }
    }

    /// The one of the two that can be compared with `other`.
    pub(super) fn like(&self, other: &Thumbprint) -> Thumbprint {
        match other.0 {
            Digest::Sha1(_) => self.sha1,
            Digest::Sha256(_) => self.sha256,
        }
    }
}
