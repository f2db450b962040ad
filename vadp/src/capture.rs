//! The configuration capsule: what a restore point keeps of a machine beside its disks, so that the machine can be made anew
//! where nothing of it is left.
//!
//! The configuration itself is kept as the server wrote it ([`MachineMetadata::config_xml`]), and beside it what the
//! configuration only refers to, by names that mean something elsewhere: the portgroup and not its key, the attribute's name and
//! not its number, the folder's path and not its id. Everything has types of its own: a new API release changes nothing here.
//!
//! Each part stands for itself. One that could not be read is [missing](Part::Missing), with the reason, and the backup goes on:
//! a machine without its tags is worth more than no machine. Who needs a part says so ([`Backup::require`](crate::Backup::require)),
//! and gets no restore point without it. The preflight reads the same parts, and says beforehand which will be missing.
//!
//! The files of the machine and what stands around it are read while its snapshot exists, and are of that moment; the
//! configuration is the snapshot's own.

pub(crate) mod around;
pub(crate) mod convert;
pub(crate) mod files;
mod gather;
mod of_config;
mod owners;
mod types;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use vadp_repository::StoredPoint;
use vim_api::types::{NoPermission, NotSupported, PbmFaultNoPermission};

use crate::error::{Error, ErrorKind, story};
use crate::stored::{self, DiskMetadata, MachineMetadata};

pub(crate) use convert::losses;
pub use convert::{Loss, Verdict};
pub(crate) use gather::gather;
pub use types::{
    Attribute, Content, Device, Drs, DrsRule, DrsRuleKind, Essentials, Grant, Guest, LayoutFile, MachineFile,
    Network, Nic, Place, Policies, Policy, SnapshotNode, VApp, VAppProduct, VAppProperty,
};

/// All that a restore point says of a machine beside the bytes of its disks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capsule {
    /// The machine, with its [parts](MachineMetadata::parts).
    pub machine: MachineMetadata,
    /// Its disks by device key, each with the keys of its descriptor.
    pub disks: BTreeMap<i32, DiskMetadata>,
}

/// A part of a capsule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part<T> {
    /// What was there.
    Captured(T),
    /// It could not be read.
    Missing(Missing),
}

/// Why a part is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Missing {
    /// The class of the reason.
    pub why: Why,
    /// The reason, in the server's words or in ours.
    pub text: String,
}

/// The class of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// The account may not read it.
    NotAllowed,
    /// This server does not have it, such as a host alone has no tags.
    NotOnThisServer,
    /// Reading it failed.
    Failed,
    /// The restore point was made by a version that did not capture it.
    Older,
    /// A later version's reason.
    #[serde(other)]
    Unknown,
}

impl Capsule {
    /// Reads it off a restore point. Parts that the point's maker did not know are missing.
    ///
    /// # Errors
    /// [`ErrorKind::RestorePoint`] when the point was made by something else, or by a newer version of this crate;
    /// [`ErrorKind::Repository`] when it cannot be read.
    pub async fn of(point: &dyn StoredPoint) -> Result<Self, Error> {
        let machine = MachineMetadata::of(point)?;
        let mut disks = BTreeMap::new();
        for disk in &point.info().disks {
            let reader = point.disk(&disk.key).await;
            let reader = reader.map_err(|e| {
                Error::repository(format!("opening disk {} of the restore point", disk.key), e)
            })?;
            let metadata = DiskMetadata::from_bytes(reader.metadata())?;
            if stored::disk_key(metadata.key) != disk.key {
                let text =
                    format!("disk {} of the restore point says that its key is {}", disk.key, metadata.key);
                return Err(Error::new(ErrorKind::RestorePoint, text));
            }
            disks.insert(metadata.key, metadata);
        }
        Ok(Self { machine, disks })
    }

    /// The parts that are missing.
    pub fn missing(&self) -> Vec<(PartName, &Missing)> {
        self.machine.parts.missing()
    }
}

impl<T> Part<T> {
    /// What was captured.
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Captured(value) => Some(value),
            Self::Missing(_) => None,
        }
    }

    /// Why there is nothing.
    pub fn missing(&self) -> Option<&Missing> {
        match self {
            Self::Captured(_) => None,
            Self::Missing(missing) => Some(missing),
        }
    }

    pub(crate) fn absent(why: Why, text: impl Into<String>) -> Self {
        Self::Missing(Missing { why, text: text.into() })
    }
}

impl Part<BTreeMap<String, String>> {
    /// What a transport tells of a disk's descriptor, or why it tells nothing. It is no reason to have no backup.
    pub(crate) fn of_disk(read: Result<BTreeMap<String, String>, Error>) -> Self {
        read.map_or_else(|error| Self::absent(Why::Failed, story(&error)), Self::Captured)
    }
}

impl<T> Default for Part<T> {
    /// As an older restore point has it.
    fn default() -> Self {
        Self::absent(Why::Older, "the restore point was made by a version that did not capture it")
    }
}

impl<T> From<Result<T, vim_api::Error>> for Part<T> {
    fn from(read: Result<T, vim_api::Error>) -> Self {
        read.map_or_else(|error| Self::Missing(Missing::from(&error)), Self::Captured)
    }
}

impl From<&vim_api::Error> for Missing {
    fn from(error: &vim_api::Error) -> Self {
        let text = story(error);
        let refused = error.kind() == vim_api::ErrorKind::File && text.contains("HTTP 403")
            || error.rest_fault().is_some_and(|fault| matches!(fault.status, 401 | 403));
        let refused = refused
            || error.find_fault::<NoPermission>().is_some()
            || error.find_fault::<PbmFaultNoPermission>().is_some();
        let why = if refused {
            Why::NotAllowed
        } else if error.kind() == vim_api::ErrorKind::NotInVersion
            || error.find_fault::<NotSupported>().is_some()
        {
            Why::NotOnThisServer
        } else {
            Why::Failed
        };
        Self { why, text }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::NotAllowed => "not allowed",
            Why::NotOnThisServer => "not on this server",
            Why::Failed => "failed",
            Why::Older => "not captured",
            Why::Unknown => "unknown",
        };
        write!(f, "{why}: {}", self.text)
    }
}

/// Declares the parts once: the struct, their names, and what is asked of each of them.
macro_rules! parts {
    ($($(#[$doc:meta])* $field:ident: $type:ty, $name:ident, $text:literal;)*) => {
        /// What was captured of a machine.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default)]
        #[non_exhaustive]
        pub struct Parts {
            $($(#[$doc])* pub $field: Part<$type>,)*
        }

        /// The name of a part of a capsule.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum PartName {
            $(#[doc = $text] $name,)*
        }

        impl PartName {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }

        impl fmt::Display for PartName {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }

        impl Parts {
            /// The parts that are missing.
            pub fn missing(&self) -> Vec<(PartName, &Missing)> {
                let all = [$((PartName::$name, self.$field.missing()),)*];
                all.into_iter().filter_map(|(name, missing)| Some((name, missing?))).collect()
            }
        }
    };
}

parts! {
    /// What a list of machines shows, and the devices. Read off the snapshot's configuration.
    essentials: Essentials, Essentials, "the configuration's essentials";
    /// The VMX file.
    vmx: MachineFile, Vmx, "the VMX file";
    /// The NVRAM file; `None` for a machine that has none yet, since it was never on. EFI boot entries, secure boot keys and a
    /// virtual TPM's state are in it.
    nvram: Option<MachineFile>, Nvram, "the NVRAM file";
    /// What VSS and its writers have said of the guest's rest, as a ZIP archive of XML files; `None` for a snapshot for which a Windows guest was
    /// not brought to rest.
    vss_manifest: Option<MachineFile>, VssManifest, "the manifest of VSS";
    /// The files that the machine had.
    layout: Vec<LayoutFile>, Layout, "the list of its files";
    /// Tags with their categories.
    tags: Vec<vim_api::rest::TagAssignment>, Tags, "its tags";
    /// Custom attributes that have a value.
    attributes: Vec<Attribute>, Attributes, "its custom attributes";
    /// Storage policies.
    policies: Policies, Policies, "its storage policies";
    /// Where it was.
    place: Place, Place, "its place in the inventory";
    /// Permissions that were set on the machine itself, not those that it inherits.
    permissions: Vec<Grant>, Permissions, "the permissions on it";
    /// What each network adapter was connected to.
    networks: Vec<Nic>, Networks, "its networks";
    /// What the cluster's rules and groups say of it; `None` outside a cluster.
    drs: Option<Drs>, Drs, "its cluster's rules";
    /// Its vApp options; `None` where it has none.
    vapp: Option<VApp>, VApp, "its vApp options";
    /// The snapshots that it had beside the backup's own. They are not in the restore point.
    snapshots: Vec<SnapshotNode>, Snapshots, "its snapshots";
    /// What its guest said of itself.
    guest: Guest, Guest, "its guest's identity";
}
