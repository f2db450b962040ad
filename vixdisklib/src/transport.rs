//! Ways in which the bytes of a disk travel.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// A transport mode of VixDiskLib.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TransportMode {
    /// Local files.
    File,
    /// Straight from the LUN; needs a physical proxy that sees it.
    San,
    /// The disk attached to the virtual machine that this program runs in.
    HotAdd,
    /// The network, encrypted.
    NbdSsl,
    /// The network, in the clear. Newer hosts refuse it.
    Nbd,
    /// One that this crate does not know by name.
    Other(String),
}

impl TransportMode {
    /// The library's name for it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            TransportMode::File => "file",
            TransportMode::San => "san",
            TransportMode::HotAdd => "hotadd",
            TransportMode::NbdSsl => "nbdssl",
            TransportMode::Nbd => "nbd",
            TransportMode::Other(name) => name,
        }
    }

    pub(crate) fn from_name(name: &str) -> TransportMode {
        match name {
            "file" => TransportMode::File,
            "san" => TransportMode::San,
            "hotadd" => TransportMode::HotAdd,
            "nbdssl" => TransportMode::NbdSsl,
            "nbd" => TransportMode::Nbd,
            other => TransportMode::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for TransportMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Joins modes in order of preference, the way the library wants them.
pub(crate) fn join(modes: &[TransportMode]) -> Result<String> {
    for mode in modes {
        let name = mode.as_str();
        if name.is_empty() || name.contains([':', '\0']) {
            let text = format!("{name:?} is not the name of a transport mode");
            return Err(Error::new(ErrorKind::InvalidArgument, "choose transport modes", text));
        }
    }
    Ok(modes.iter().map(TransportMode::as_str).collect::<Vec<_>>().join(":"))
}

/// Splits a list with colons between.
pub(crate) fn split(list: &str) -> Vec<TransportMode> {
    list.split(':').filter(|name| !name.is_empty()).map(TransportMode::from_name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_survive_the_way_there_and_back() {
        let modes = split("file:san:hotadd:nbdssl:nbd:warp");
        assert_eq!(modes.len(), 6);
        assert_eq!(modes.last(), Some(&TransportMode::Other("warp".into())));
        assert_eq!(join(&modes).unwrap(), "file:san:hotadd:nbdssl:nbd:warp");
        assert!(join(&[TransportMode::Other("a:b".into())]).is_err());
    }
}
