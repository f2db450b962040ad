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

    /// All versions that this crate knows, the oldest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (Self::OLDEST.0..=Self::LATEST.0).map(Self)
    }

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

    /// The newest known version that is not above `id`, which may be one that this crate does not know: servers keep their
    /// old versions, so one that is newer than all we know takes our newest.
    pub(crate) fn not_above(id: &str) -> Option<Self> {
        let wanted = numbers(id)?;
        Self::parse(id).or_else(|| {
            VERSIONS
                .iter()
                .filter(|known| numbers(known).is_some_and(|known| known <= wanted))
                .filter_map(|known| Self::parse(known))
                .max()
        })
    }

    /// The newest version that both sides know, out of the ids that a server offers.
    pub(crate) fn negotiate<'a>(offered: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        offered.into_iter().filter_map(Self::parse).max()
    }
}

/// `8.0.3` as numbers; `None` for ids of another form, such as milestones.
pub(crate) fn numbers(id: &str) -> Option<[u16; 4]> {
    let mut out = [0; 4];
    let mut parts = id.split('.');
    for (field, part) in out.iter_mut().zip(&mut parts) {
        *field = part.parse().ok()?;
    }
    parts.next().is_none().then_some(out)
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
