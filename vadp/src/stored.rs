//! What a restore point says beside the blocks. Its own types: a new API version must not change what is stored.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vadp_repository::{MachineId, StoredPoint};

use crate::cbt::{ChangeId, Decision, Reason};
use crate::eligibility::UnprotectedDisk;
use crate::error::{Error, ErrorKind};
use crate::machine::VmIdentity;
use crate::snapshot::{Consistency, SnapshotAttempt, SnapshotRecord};

/// Version of the metadata; a reader refuses a newer one.
const VERSION: u32 = 1;

/// Metadata of a restore point of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MachineMetadata {
    version: u32,
    /// The machine.
    pub vm: VmIdentity,
    /// Its name then.
    pub name: String,
    /// Name of the snapshot that was read.
    pub snapshot: String,
    /// In what state its disks were.
    #[serde(default)]
    pub consistency: Consistency,
    /// The attempts that did not bring it about as it was wanted.
    #[serde(default)]
    pub snapshot_attempts: Vec<SnapshotAttempt>,
    /// The disks that it does not have, on request.
    #[serde(default)]
    pub excluded: Vec<UnprotectedDisk>,
    /// API version that the configuration is written in.
    pub api_version: String,
    /// The machine's configuration in the snapshot (`VirtualMachineConfigInfo`), as XML.
    pub config_xml: String,
}

/// Metadata of a disk in a restore point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DiskMetadata {
    version: u32,
    /// Device key.
    pub key: i32,
    /// The disk's label, such as "Hard disk 1".
    pub label: String,
    /// Datastore path of the disk in the snapshot.
    pub file_name: String,
    /// Its backing uuid.
    pub backing_uuid: Option<String>,
    /// Its changeId in the snapshot: what the next incremental backup asks for.
    pub change_id: Option<String>,
    /// Why it was backed up in full; `None` for an incremental backup.
    pub full_because: Option<Reason>,
    /// Transport through which it was read.
    pub transport: String,
}

impl MachineMetadata {
    pub(crate) fn new(
        vm: VmIdentity,
        name: &str,
        snapshot: &str,
        record: &SnapshotRecord,
        excluded: Vec<UnprotectedDisk>,
        api_version: &str,
        config_xml: String,
    ) -> Self {
        Self {
            version: VERSION,
            vm,
            name: name.to_owned(),
            snapshot: snapshot.to_owned(),
            excluded,
            consistency: record.consistency,
            snapshot_attempts: record.attempts.clone(),
            api_version: api_version.to_owned(),
            config_xml,
        }
    }

    /// Reads it off a restore point.
    ///
    /// # Errors
    /// [`ErrorKind::RestorePoint`] when the point was made by something else, or by a newer version of this crate.
    pub fn of(point: &dyn StoredPoint) -> Result<Self, Error> {
        let metadata: Self = decode(point.metadata(), &format!("the restore point {}", point.id()))?;
        check_version(metadata.version)?;
        Ok(metadata)
    }
}

impl DiskMetadata {
    pub(crate) fn new(disk: &crate::machine::DiskConfig, decision: &Decision, transport: &str) -> Self {
        Self {
            version: VERSION,
            key: disk.key,
            label: disk.label.clone(),
            file_name: disk.file_name.clone(),
            backing_uuid: disk.backing_uuid.clone(),
            change_id: disk.change_id.as_ref().map(ToString::to_string),
            full_because: match decision {
                Decision::Full(reason) => Some(reason.clone()),
                Decision::Incremental(_) => None,
            },
            transport: transport.to_owned(),
        }
    }

    /// Reads it off a disk's metadata in the repository.
    ///
    /// # Errors
    /// [`ErrorKind::RestorePoint`] when it was made by something else, or by a newer version of this crate.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let metadata: Self = decode(bytes, "a disk of the restore point")?;
        check_version(metadata.version)?;
        Ok(metadata)
    }

    pub(crate) fn parsed_change_id(&self) -> Option<ChangeId> {
        self.change_id.as_deref()?.parse().ok()
    }
}

/// The name under which a machine stands in a repository.
pub(crate) fn machine_id(vm: &VmIdentity) -> Result<MachineId, Error> {
    let name = format!("{}/{}", vm.vcenter.as_deref().unwrap_or("host"), vm.instance_uuid);
    MachineId::new(name).map_err(|e| Error::repository("naming the machine in the repository", e))
}

pub(crate) fn disk_key(key: i32) -> String {
    key.to_string()
}

pub(crate) fn encode(value: &impl Serialize) -> Result<Bytes, Error> {
    let text = serde_json::to_vec(value);
    text.map(Bytes::from).map_err(|e| Error::new(ErrorKind::RestorePoint, "writing the metadata").because(e))
}

fn decode<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|e| {
        let context = format!("{what} carries no metadata of this program: it was made by something else");
        Error::new(ErrorKind::RestorePoint, context).because(e)
    })
}

fn check_version(version: u32) -> Result<(), Error> {
    if version <= VERSION {
        return Ok(());
    }
    let context = format!(
        "the metadata has version {version}, and this program reads up to {VERSION}: use a newer one"
    );
    Err(Error::new(ErrorKind::RestorePoint, context))
}
