//! What a restore point says beside the blocks. Its own types: a new API version must not change what is stored.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vadp_repository::{MachineId, StoredPoint};

use crate::capture::{Loss, Part, Parts};
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
    /// When the snapshot was taken, by the server's clock: milliseconds since 1970. `None` in a point of an older version.
    #[serde(default)]
    pub taken_ms: Option<u64>,
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
    /// What was captured beside the configuration. In a point of an older version every part is missing.
    #[serde(default)]
    pub parts: Parts,
    /// What a machine made anew from the configuration would not have as it was; `None` in a point of an older version, which
    /// did not try.
    #[serde(default)]
    pub losses: Option<Vec<Loss>>,
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
    /// All keys of its descriptor (`ddb.…` and others), as the transport tells them.
    #[serde(default)]
    pub descriptor: Part<BTreeMap<String, String>>,
}

impl MachineMetadata {
    pub(crate) fn new(
        vm: VmIdentity,
        name: &str,
        snapshot: &str,
        record: &SnapshotRecord,
        excluded: Vec<UnprotectedDisk>,
        config: (&str, String),
        captured: (Parts, Vec<Loss>),
    ) -> Self {
        let ((api_version, config_xml), (parts, losses)) = (config, captured);
        Self {
            version: VERSION,
            vm,
            name: name.to_owned(),
            snapshot: snapshot.to_owned(),
            taken_ms: record.taken_ms,
            excluded,
            consistency: record.consistency,
            snapshot_attempts: record.attempts.clone(),
            api_version: api_version.to_owned(),
            config_xml,
            parts,
            losses: Some(losses),
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

impl MachineMetadata {
    pub(crate) fn taken(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(self.taken_ms?))
    }
}

impl DiskMetadata {
    pub(crate) fn new(
        disk: &crate::machine::DiskConfig,
        decision: &Decision,
        transport: &str,
        descriptor: Part<BTreeMap<String, String>>,
    ) -> Self {
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
            descriptor,
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
    MachineId::new(vm.machine_id()).map_err(|e| Error::repository("naming the machine in the repository", e))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::capture::{Missing, Why};

    /// As version 0.1 wrote it, before anything was captured.
    const OLD: &str = r#"{"version":1,"vm":{"vcenter":"v","instance_uuid":"i","moref":"vm-1"},"name":"web-01","snapshot":"s",
        "consistency":"crash","snapshot_attempts":[],"excluded":[],"api_version":"8.0.1.0","config_xml":"<config/>"}"#;

    fn read(text: &[u8]) -> Result<MachineMetadata, Error> {
        let metadata: MachineMetadata = decode(text, "the test")?;
        check_version(metadata.version)?;
        Ok(metadata)
    }

    #[test]
    fn a_point_from_before_the_capsule_is_read_and_its_parts_are_missing() {
        let old = read(OLD.as_bytes()).unwrap();
        assert_eq!(old.config_xml, "<config/>");
        assert_eq!(old.losses, None);
        let missing = old.parts.missing();
        assert_eq!(missing.len(), crate::capture::PartName::ALL.len());
        assert!(missing.iter().all(|(_, missing)| missing.why == Why::Older));
        let disk = r#"{"version":1,"key":2000,"label":"l","file_name":"f","backing_uuid":null,"change_id":null,
            "full_because":"no_parent","transport":"nbd"}"#;
        let disk = DiskMetadata::from_bytes(disk.as_bytes()).unwrap();
        assert_eq!(disk.descriptor.missing().map(|missing| missing.why), Some(Why::Older));
    }

    #[test]
    fn what_a_later_version_adds_does_not_keep_an_older_one_from_reading() {
        let mut value: serde_json::Value = serde_json::from_str(OLD).unwrap();
        value["parts"] = serde_json::json!({
            "nvram": {"captured": {"path": "[ds] a", "content": "AAEC"}},
            "tags": {"missing": {"why": "mislaid", "text": "t", "more": 1}},
            "hologram": {"captured": {"x": 1}},
        });
        let read = read(&serde_json::to_vec(&value).unwrap()).unwrap();
        assert_eq!(read.parts.nvram.get().unwrap().as_ref().unwrap().content.0, [0, 1, 2]);
        let expected = Missing { why: Why::Unknown, ..read.parts.tags.missing().unwrap().clone() };
        assert_eq!(read.parts.tags.missing(), Some(&expected));
        value["version"] = 2.into();
        assert_eq!(
            self::read(&serde_json::to_vec(&value).unwrap()).unwrap_err().kind(),
            ErrorKind::RestorePoint
        );
    }

    proptest! {
        /// A repository may be anybody's: what is in it is read or refused, and written again as it was.
        #[test]
        fn no_bytes_make_it_panic(junk in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..400, cut in 0usize..400) {
            let mut text = OLD.as_bytes().to_vec();
            let at = at.min(text.len());
            let cut = (at + cut % 20).min(text.len());
            text.splice(at..cut, junk.iter().copied());
            for bytes in [&text[..], &junk[..]] {
                if let Ok(metadata) = read(bytes) {
                    prop_assert_eq!(&read(&encode(&metadata).unwrap()).unwrap(), &metadata);
                }
                let _ = DiskMetadata::from_bytes(bytes);
            }
        }
    }
}
