//! What the server is, and how that shows in the ids and names that it gives.

pub(crate) mod lacks;

use serde::{Deserialize, Serialize};
use vim_api::MoRef;
use vim_api::mo::ManagedEntity;

/// What a simulator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Mode {
    /// A vCenter, with any number of datacenters, clusters and hosts.
    #[default]
    VirtualCenter,
    /// An ESXi host by itself: one host in one datacenter with one pool, and without what only a vCenter does. Objects have
    /// a host's ids, such as `ha-folder-root`, and machines are numbers.
    HostAgent,
}

impl Mode {
    /// Whether it is a host by itself.
    pub(crate) fn is_host(self) -> bool {
        self == Self::HostAgent
    }

    /// What people call such a server.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::VirtualCenter => "a vCenter",
            Self::HostAgent => "an ESXi host by itself",
        }
    }

    /// Who may log in where nobody said anything else.
    pub fn first_user(self) -> &'static str {
        match self {
            Self::VirtualCenter => "administrator@vsphere.local",
            Self::HostAgent => "root",
        }
    }

    /// The id of the machine of a number.
    pub(crate) fn machine_id(self, number: u32) -> String {
        match self {
            Self::VirtualCenter => format!("vm-{number}"),
            Self::HostAgent => number.to_string(),
        }
    }

    /// The id of a task, by its number, what it does and the entity that it is about.
    pub(crate) fn task_id(
        self,
        number: u32,
        description_id: &str,
        entity: Option<&MoRef<ManagedEntity>>,
    ) -> String {
        match self {
            Self::VirtualCenter => format!("task-{number}"),
            Self::HostAgent => {
                let about = entity.map(MoRef::value).unwrap_or_default();
                format!("haTask-{about}-vim.{description_id}-{number}")
            }
        }
    }

    /// The id of the PropertyCollector that every session has.
    pub(crate) const fn collector_id(self) -> &'static str {
        match self {
            Self::VirtualCenter => "propertyCollector",
            Self::HostAgent => "ha-property-collector",
        }
    }

    /// The URL by which a datastore is mounted.
    pub(crate) fn datastore_url(self, uuid: &str) -> String {
        match self {
            Self::VirtualCenter => format!("ds:///vmfs/volumes/{uuid}/"),
            Self::HostAgent => format!("/vmfs/volumes/{uuid}"),
        }
    }
}
