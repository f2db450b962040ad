//! Which machines and disks a snapshot can protect: one rule for each obstacle, and never a disk left out in silence.
//!
//! Sources: the VDDK guide on snapshots and disk modes (independent disks and raw devices in physical mode are in no
//! snapshot), ESXi's refusals of snapshots on shared buses and multi-writer disks, and the API's flags of a machine.

use std::fmt;

use serde::{Deserialize, Serialize};
use vim_api::types::VirtualMachineConfigInfo;

use crate::error::{Error, ErrorKind};
use crate::machine::{self, DiskConfig};

/// Why a machine or one of its disks cannot be backed up by a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Obstacle {
    /// The machine is a template.
    Template,
    /// Snapshots of the machine are switched off.
    SnapshotsDisabled,
    /// Snapshots of the machine are locked.
    SnapshotsLocked,
    /// The disk is independent of snapshots.
    Independent,
    /// The disk is a raw device in physical compatibility mode.
    PhysicalRawDevice,
    /// Several machines may write to the disk at a time.
    MultiWriter,
    /// The disk's controller is shared with other machines.
    SharedBus,
    /// Its backing is of a kind that no transport reads.
    Backing {
        /// The API's type of the backing.
        found: String,
    },
    /// The server does not tell the disk's size.
    UnknownCapacity,
    /// The server tells a change id that is none.
    BadChangeId {
        /// What it tells.
        found: String,
    },
}

/// A disk with what stands in the way of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UnprotectedDisk {
    /// Device key.
    pub key: i32,
    /// The disk's label, such as "Hard disk 2".
    pub label: String,
    /// Why a snapshot does not protect it; `None` for one that was merely left out.
    pub obstacle: Option<Obstacle>,
}

impl Obstacle {
    /// What somebody may do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Template => "convert it to a machine for the backup, and back to a template afterwards",
            Self::SnapshotsDisabled => {
                "remove `snapshot.maxSnapshots = 0` and the flag snapshotDisabled from its configuration"
            }
            Self::SnapshotsLocked => "wait until whoever has locked its snapshots is done",
            Self::Independent => {
                "make it dependent while the machine is off, back it up inside the guest, or exclude it"
            }
            Self::PhysicalRawDevice => {
                "use virtual compatibility mode, back up the device itself, or exclude it"
            }
            Self::MultiWriter => {
                "back it up through one of the machines that share it, inside the guest, or exclude it"
            }
            Self::SharedBus => {
                "move it to a controller without bus sharing, back it up inside the guest, or exclude it"
            }
            Self::Backing { .. } => "back it up by other means, and exclude it here",
            Self::UnknownCapacity => "look whether its files are there, or exclude it",
            Self::BadChangeId { .. } => "reset changed block tracking of the machine",
        }
    }

    /// Whether the disk can be read and written all the same while the machine is off.
    pub(crate) fn allows_access(&self) -> bool {
        !matches!(self, Self::Backing { .. } | Self::UnknownCapacity)
    }
}

/// What is wrong with the machine as a whole.
pub(crate) fn of_machine(config: &VirtualMachineConfigInfo) -> Vec<Obstacle> {
    let flags = &config.flags;
    [
        (config.template, Obstacle::Template),
        (flags.snapshot_disabled.unwrap_or(false), Obstacle::SnapshotsDisabled),
        (flags.snapshot_locked.unwrap_or(false), Obstacle::SnapshotsLocked),
    ]
    .into_iter()
    .filter_map(|(is_there, obstacle)| is_there.then_some(obstacle))
    .collect()
}

/// What is in the way of the disks that are not excluded, each with what somebody may do about it. So is a key to exclude that
/// no disk has: it may be a mistake for another one's.
pub(crate) fn of_disks(config: &VirtualMachineConfigInfo, excluded: &[i32]) -> Vec<(String, &'static str)> {
    let disks = machine::disks(config);
    let mut found: Vec<_> = disks
        .iter()
        .filter(|disk| !excluded.contains(&disk.key))
        .filter_map(|disk| {
            let obstacle = disk.obstacle.as_ref()?;
            Some((format!("{} (key {}) {obstacle}", disk.label, disk.key), obstacle.fix()))
        })
        .collect();
    found.extend(excluded.iter().filter(|key| !disks.iter().any(|disk| disk.key == **key)).map(|key| {
        let text = format!("no disk has the key {key}, which is to be excluded");
        (text, "name the disk by its present device key")
    }));
    if disks.iter().all(|disk| excluded.contains(&disk.key)) && !disks.is_empty() {
        found.push(("all of its disks are excluded".to_owned(), "exclude fewer"));
    }
    found
}

/// Sees that nothing is in the way of a backup. All that is stands in one error.
///
/// # Errors
/// [`ErrorKind::NotEligible`].
pub(crate) fn check(name: &str, config: &VirtualMachineConfigInfo, excluded: &[i32]) -> Result<(), Error> {
    let of_machine = of_machine(config).into_iter().map(|obstacle| (obstacle.to_string(), obstacle.fix()));
    let lines: Vec<String> =
        of_machine.chain(of_disks(config, excluded)).map(|(text, fix)| format!("{text}: {fix}")).collect();
    if lines.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::NotEligible,
        format!("{name} cannot be backed up like this: {}", lines.join("; ")),
    ))
}

/// The disks of `config` without those that are excluded, and those.
pub(crate) fn split(
    config: &VirtualMachineConfigInfo,
    excluded: &[i32],
) -> (Vec<DiskConfig>, Vec<UnprotectedDisk>) {
    let (left_out, kept): (Vec<_>, Vec<_>) =
        machine::disks(config).into_iter().partition(|disk| excluded.contains(&disk.key));
    let named =
        |disk: DiskConfig| UnprotectedDisk { key: disk.key, label: disk.label, obstacle: disk.obstacle };
    (kept, left_out.into_iter().map(named).collect())
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template => f.write_str("it is a template"),
            Self::SnapshotsDisabled => f.write_str("its snapshots are switched off"),
            Self::SnapshotsLocked => f.write_str("its snapshots are locked"),
            Self::Independent => f.write_str("is independent of snapshots"),
            Self::PhysicalRawDevice => f.write_str("is a raw device in physical compatibility mode"),
            Self::MultiWriter => f.write_str("may be written by several machines at a time"),
            Self::SharedBus => f.write_str("is on a bus that other machines share"),
            Self::Backing { found } => write!(f, "has a backing that cannot be read: {found}"),
            Self::UnknownCapacity => f.write_str("is of unknown size"),
            Self::BadChangeId { found } => write!(f, "has a change id that is none: {found}"),
        }
    }
}
