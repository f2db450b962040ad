use std::fmt;

use serde::{Deserialize, Serialize};

use super::ChangeId;
use super::distrust::Signs;

/// How a disk is to be backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Only what changed since this id, which the parent restore point carries.
    Incremental(ChangeId),
    /// Everything that is allocated.
    Full(Reason),
}

/// Why a disk is backed up in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// It was asked for.
    Requested,
    /// There is no earlier restore point with this disk.
    NoParent,
    /// The earlier restore point carries no changeId for this disk.
    ParentWithoutChangeId,
    /// The snapshot carries no changeId: changed block tracking is off, or does not cover this disk.
    NotTracked,
    /// Tracking began anew since the earlier restore point.
    TrackingRestarted,
    /// The snapshot's id is older than the earlier restore point's: the disk went back in time.
    WentBack,
    /// The disk's size differs from the earlier restore point's.
    CapacityChanged {
        /// Bytes then.
        before: u64,
        /// Bytes now.
        now: u64,
    },
    /// The disk at this device key is another one: its backing uuid differs.
    DiskReplaced,
    /// An audit has seen a change that tracking did not tell, in this run or the last, and tracking did not begin anew since.
    Distrusted,
    /// Tracking is known not to tell all changes under the conditions that were seen.
    KnownFault {
        /// What goes wrong.
        what: String,
        /// Who says so.
        source: String,
        /// Whether ids of this tracking stay worthless until it begins anew.
        lasting: bool,
    },
    /// The server refused to tell the changes.
    Refused {
        /// The server's fault.
        fault: String,
    },
}

/// What the decision rests on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What the latest restore point says of the disk, if it has it.
    pub parent: Option<ParentFacts<'a>>,
    /// The changeId of the disk in the snapshot that is to be backed up.
    pub snapshot_change_id: Option<&'a ChangeId>,
    /// The disk's size in bytes in that snapshot.
    pub capacity: u64,
    /// The backing uuid of the disk in that snapshot.
    pub backing_uuid: Option<&'a str>,
    /// What the machine and its host show of conditions under which tracking is not to be trusted.
    pub signs: &'a Signs,
}

/// What a restore point says of a disk.
#[derive(Debug, Clone, Copy)]
pub struct ParentFacts<'a> {
    /// Its changeId.
    pub change_id: Option<&'a ChangeId>,
    /// Its size in bytes.
    pub capacity: u64,
    /// Its backing uuid.
    pub backing_uuid: Option<&'a str>,
    /// Whether its tracking was found to lie.
    pub distrusted: bool,
}

/// The one decision table. A server may still refuse the id afterwards: that is [`Reason::Refused`].
pub fn decide(facts: Facts<'_>) -> Decision {
    let Some(parent) = facts.parent else { return Decision::Full(Reason::NoParent) };
    if parent.backing_uuid != facts.backing_uuid {
        return Decision::Full(Reason::DiskReplaced);
    }
    let grown = (parent.capacity != facts.capacity).then_some((parent.capacity, facts.capacity));
    let known = facts.signs.known_fault(grown).map(|fault| Reason::KnownFault {
        what: fault.what.to_owned(),
        source: fault.source.to_owned(),
        lasting: fault.lasting,
    });
    if let Some((before, now)) = grown {
        return Decision::Full(known.unwrap_or(Reason::CapacityChanged { before, now }));
    }
    let Some(before) = parent.change_id else { return Decision::Full(Reason::ParentWithoutChangeId) };
    let Some(now) = facts.snapshot_change_id else { return Decision::Full(Reason::NotTracked) };
    if !before.is_comparable_to(now) {
        return Decision::Full(Reason::TrackingRestarted);
    }
    if let Some(known) = known {
        return Decision::Full(known);
    }
    if parent.distrusted {
        return Decision::Full(Reason::Distrusted);
    }
    if now.sequence() < before.sequence() {
        return Decision::Full(Reason::WentBack);
    }
    Decision::Incremental(before.clone())
}

impl Reason {
    /// Whether ids of the tracking that was in use are worthless, until it begins anew.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::Distrusted | Self::KnownFault { lasting: true, .. })
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incremental(since) => write!(f, "incremental since {since}"),
            Self::Full(reason) => write!(f, "full: {reason}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requested => f.write_str("it was asked for"),
            Self::NoParent => f.write_str("there is no earlier restore point with this disk"),
            Self::ParentWithoutChangeId => {
                f.write_str("the earlier restore point has no changeId for this disk")
            }
            Self::NotTracked => {
                f.write_str("the snapshot has no changeId: changed block tracking is off for this disk")
            }
            Self::TrackingRestarted => {
                f.write_str("changed block tracking began anew since the earlier restore point")
            }
            Self::WentBack => f.write_str("the disk went back to a state before the earlier restore point"),
            Self::CapacityChanged { before, now } => write!(f, "the disk had {before} bytes and has {now}"),
            Self::DiskReplaced => f.write_str("the disk is another one than in the earlier restore point"),
            Self::Distrusted => f.write_str("changed block tracking was found not to tell all changes"),
            Self::KnownFault { what, source, .. } => {
                write!(f, "changed block tracking is not to be trusted here: {what} ({source})")
            }
            Self::Refused { fault } => write!(f, "the server refused to tell the changes: {fault}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        let id = |epoch: &str, n: u32| -> ChangeId {
            format!("{epoch} de c0 d9 b9 43 9d 10-61 d5 4c 1b e9 7b 65 63/{n}").parse().unwrap()
        };
        let (old, new, other) = (id("52", 5), id("52", 9), id("53", 9));
        let parent =
            ParentFacts { change_id: Some(&old), capacity: 100, backing_uuid: Some("a"), distrusted: false };
        let lied = ParentFacts { distrusted: true, ..parent };
        let facts = Facts {
            parent: Some(parent),
            snapshot_change_id: Some(&new),
            capacity: 100,
            backing_uuid: Some("a"),
            signs: &Signs::default(),
        };
        assert_eq!(decide(facts), Decision::Incremental(old.clone()));
        let full = |facts: Facts<'_>| match decide(facts) {
            Decision::Full(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(full(Facts { parent: None, ..facts }), Reason::NoParent);
        assert_eq!(full(Facts { snapshot_change_id: None, ..facts }), Reason::NotTracked);
        assert_eq!(full(Facts { snapshot_change_id: Some(&other), ..facts }), Reason::TrackingRestarted);
        assert_eq!(full(Facts { backing_uuid: Some("b"), ..facts }), Reason::DiskReplaced);
        assert_eq!(full(Facts { capacity: 101, ..facts }), Reason::CapacityChanged { before: 100, now: 101 });
        assert_eq!(full(Facts { parent: Some(lied), ..facts }), Reason::Distrusted);
        let anew = Facts { parent: Some(lied), snapshot_change_id: Some(&other), ..facts };
        assert_eq!(full(anew), Reason::TrackingRestarted, "a new epoch is trusted again");
        let reverted = Signs { reverted: true, ..Signs::default() };
        let reverted = Facts { signs: &reverted, ..facts };
        assert!(matches!(full(reverted), Reason::KnownFault { lasting: false, .. }));
        let elsewhere = Facts { snapshot_change_id: Some(&other), ..reverted };
        assert_eq!(full(elsewhere), Reason::TrackingRestarted, "the id says it already");
        let old_host = Signs { host: Some(("5.5.0".into(), 1)), ..Signs::default() };
        let small = ParentFacts { capacity: 1 << 37, ..parent };
        let grown = Facts { parent: Some(small), capacity: 1 << 38, signs: &old_host, ..facts };
        assert!(full(grown).is_lasting());
        let silent = ParentFacts { change_id: None, ..parent };
        assert_eq!(full(Facts { parent: Some(silent), ..facts }), Reason::ParentWithoutChangeId);
        let later = ParentFacts { change_id: Some(&new), ..parent };
        assert_eq!(
            full(Facts { parent: Some(later), snapshot_change_id: Some(&old), ..facts }),
            Reason::WentBack
        );
    }
}
