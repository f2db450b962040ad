//! What a workflow tells on its way.

use crate::cbt::Decision;
use crate::snapshot::Consistency;

/// Something that happened. Byte counts are totals of the disk so far.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Remains of runs that died are gone.
    Swept(&'a crate::Swept),
    /// A snapshot was asked for.
    SnapshotStarted {
        /// Its name.
        name: &'a str,
    },
    /// The snapshot is there.
    SnapshotTaken {
        /// Its name.
        name: &'a str,
        /// In what state its disks are.
        consistency: Consistency,
    },
    /// The guest did not come to rest. What comes next is up to the policy.
    QuiesceFailed {
        /// How often it was asked so far.
        attempt: u32,
        /// Why.
        fault: &'a str,
    },
    /// The snapshot is gone.
    SnapshotRemoved {
        /// Its name.
        name: &'a str,
    },
    /// How a disk will be backed up, and how many bytes that takes.
    DiskPlanned {
        /// Device key.
        key: i32,
        /// The disk's label, such as "Hard disk 1".
        label: &'a str,
        /// The disk's size in bytes.
        capacity: u64,
        /// The decision.
        decision: &'a Decision,
        /// Bytes that will be read.
        to_read: u64,
    },
    /// A chunk had changed, and tracking did not tell. The disk is backed up in full, and its tracking begins anew afterwards.
    TrackingLied {
        /// Device key.
        key: i32,
        /// The disk's label.
        label: &'a str,
        /// Number of the chunk.
        chunk: u64,
    },
    /// A disk of a restore was opened.
    DiskOpened {
        /// Device key.
        key: i32,
        /// The disk's size in bytes.
        capacity: u64,
    },
    /// Bytes of a disk went by.
    DiskProgress {
        /// Device key.
        key: i32,
        /// Which phase they belong to.
        phase: Phase,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A disk is done.
    DiskDone {
        /// Device key.
        key: i32,
    },
    /// The restore point is visible.
    Committed {
        /// Its id.
        point: &'a str,
    },
}

/// A phase of the work on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Reading a snapshot into the repository.
    Backup,
    /// Comparing the disk with the restore point, and writing what differs.
    Write,
    /// Reading everything back.
    Verify,
}

/// Where events go. Called from any task, so it should return at once.
#[derive(Clone, Copy)]
pub(crate) struct Report<'a>(pub(crate) &'a (dyn Fn(Event<'_>) + Send + Sync));

impl Report<'_> {
    pub(crate) fn tell(&self, event: Event<'_>) {
        (self.0)(event);
    }
}
