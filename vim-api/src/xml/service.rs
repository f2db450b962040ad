use crate::generated::BESIDE;
use crate::version::ApiVersion;

/// One of the web services of a vSphere. Each has a namespace of its own for its types and the elements of its messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Service {
    /// The vSphere API itself, which every server has.
    #[default]
    Vim25,
    /// Storage policies (PBM). On a vCenter only.
    Pbm,
    /// First-class disks (VSLM). On a vCenter only.
    Vslm,
}

impl Service {
    /// The namespace, such as `urn:vim25`.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Vim25 => "urn:vim25",
            Self::Pbm => "urn:pbm",
            Self::Vslm => "urn:vslm",
        }
    }

    /// What the version is called at this service: the newest of its own that builds on no newer one.
    pub(crate) fn version(self, api: ApiVersion) -> &'static str {
        let own =
            BESIDE.iter().find(|(service, _)| *service == self).map_or(&[][..], |(_, versions)| versions);
        let found = own.iter().rfind(|(since, _)| ApiVersion::from_index(*since) <= api);
        found.map_or_else(|| api.id(), |(_, id)| id)
    }
}
