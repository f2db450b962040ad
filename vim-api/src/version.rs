//! The versions of the API, which form a total order.

use std::fmt;

use crate::generated::VERSIONS;

/// A version of the vSphere API that this crate knows, such as `8.0.3.0`.
///
/// Versions are ordered as VMware released them. Fields and methods carry the version that introduced them; what is
/// newer than the version agreed with the server is not sent to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApiVersion(u8);

impl ApiVersion {
    /// The oldest version: what every server since 2.5 understands.
    pub const OLDEST: Self = Self(0);

    /// The version that this crate was generated from.
    pub const LATEST: Self = Self((VERSIONS.len() - 1) as u8);

    /// The version with this wire id, if it is known.
    pub fn parse(id: &str) -> Option<Self> {
        let index = VERSIONS.iter().position(|known| *known == id)?;
        u8::try_from(index).ok().map(Self)
    }

    /// The wire id, as in `SOAPAction: "urn:vim25/8.0.3.0"`.
    pub fn id(self) -> &'static str {
        VERSIONS.get(usize::from(self.0)).copied().unwrap_or("2.5")
    }

    pub(crate) const fn from_index(index: u8) -> Self {
        Self(index)
    }

    /// The newest version that both sides know, out of the ids that a server offers. A server that offers none we
    /// know, but something that looks newer than all we know, accepts ours: servers keep their old versions.
    pub(crate) fn negotiate<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        offered.into_iter().filter_map(Self::parse).max()
    }
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl fmt::Debug for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiVersion({})", self.id())
    }
}
