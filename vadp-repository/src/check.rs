//! Looking for damage, and naming what it hits. See docs/repository-format.md, "Reading" and "Write order".

mod inspect;
mod maps;
mod packs;

use std::fmt;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::ids::{ChunkId, KeySlotId, MachineId, PackId, PointId};
use crate::repository::Repository;
pub(crate) use inspect::{Examined, examine};

/// How far a check goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckDepth {
    /// Key slots, index, points and all maps are read and verified; packs are there with the right size; every chunk
    /// of every point is in the index.
    Quick,
    /// All that, and every byte of a share of the packs is read, opened and verified: part `part` of `of` about equal parts, `1..=of`.
    /// A pack belongs to the same part of as many parts for ever. So a check of part 1 of 7 on Mondays, of part 2 on
    /// Tuesdays, and so on, has read every byte within a week; a part that is chosen by chance makes a sample.
    Part {
        /// Which part.
        part: u32,
        /// How many parts there are.
        of: u32,
    },
    /// All that is quick, and every byte of every pack is read, opened and verified, also of packs that have not the right size.
    Deep,
}

impl CheckDepth {
    /// Whether the bytes of a pack are read. Ids are random, so parts have about as many packs each.
    fn reads(self, pack: PackId) -> bool {
        match self {
            Self::Quick => false,
            Self::Deep => true,
            Self::Part { part, of } => {
                let [.., a, b, c, d] = *pack.as_bytes();
                u32::from_le_bytes([a, b, c, d]).checked_rem(of) == part.checked_sub(1)
            }
        }
    }
}

/// What a check found.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckReport {
    /// How far the check went.
    pub depth: CheckDepth,
    /// Restore points that were looked at, damaged ones included.
    pub points: u64,
    /// Packs that the index names.
    pub packs: u64,
    /// Different chunks with data that points need.
    pub chunks: u64,
    /// Bytes of packs that were read and verified; zero for a quick check, all of them after a deep one without damage.
    pub verified_bytes: u64,
    /// What is missing or altered. Empty means that every point can be restored, as far as the depth can tell.
    pub damage: Vec<Damage>,
    /// What no point needs. This is not damage.
    pub leftovers: Leftovers,
}

/// One thing that is missing or altered, and what is lost with it.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The object that is missing or altered; `None` when the index does not say where a chunk should be.
    pub object: Option<String>,
    /// The pack, when the object is one.
    pub pack: Option<PackId>,
    /// The chunk or map page, when the damage is that small.
    pub chunk: Option<ChunkId>,
    /// What is wrong.
    pub problem: String,
    /// What cannot be restored because of it. Empty when nothing needs the bytes, or another good copy exists.
    pub lost: Vec<LostRange>,
}

/// Bytes of a disk that cannot be restored.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostRange {
    /// The restore point.
    pub point: PointId,
    /// Its machine.
    pub machine: MachineId,
    /// The key of the disk.
    pub disk: String,
    /// The bytes of the disk, half open.
    pub bytes: Range<u64>,
}

/// What no point needs: traces of interrupted or running backups.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Packs that no index object names. They may belong to a backup that is running now.
    pub packs: Vec<PackId>,
    /// Key slots of another repository id, left by an interrupted `init`.
    pub key_slots: Vec<KeySlotId>,
    /// Objects that are not of the format, by name.
    pub foreign: Vec<String>,
    /// Chunks and pages that the index names and no point needs.
    pub unneeded_chunks: u64,
    /// What they take in packs.
    pub unneeded_bytes: u64,
}

impl Repository {
    /// Looks for damage. It takes no lock; backups may run meanwhile. Memory: a quarter of a byte for each chunk, some 300 bytes for each
    /// pack, what damage there is, and one pack and 50 MB of lists where packs are read.
    ///
    /// # Errors
    /// [`Store`](crate::ErrorKind::Store) when the store fails, so that nothing can be said. Damage is no error but in the report.
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for a part that there is not.
    pub async fn check(&self, depth: CheckDepth) -> Result<CheckReport> {
        if let CheckDepth::Part { part, of } = depth
            && !(1..=of).contains(&part)
        {
            return Err(Error::invalid(format!("there is no part {part} of {of}: parts are counted from 1")));
        }
        Ok(examine(&self.shared, depth).await?.report)
    }
}

impl CheckReport {
    /// Whether nothing is damaged.
    pub fn is_ok(&self) -> bool {
        self.damage.is_empty()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { points, packs, chunks, .. } = self;
        writeln!(f, "{points} restore points, {packs} packs, {chunks} chunks in use")?;
        if self.depth != CheckDepth::Quick {
            writeln!(f, "{} bytes of packs read and verified", self.verified_bytes)?;
        }
        for damage in &self.damage {
            writeln!(f, "{damage}")?;
        }
        let Leftovers { packs, key_slots, foreign, unneeded_chunks, unneeded_bytes } = &self.leftovers;
        if !packs.is_empty() || *unneeded_chunks > 0 {
            let packs = packs.len();
            writeln!(
                f,
                "no point needs {packs} packs and {unneeded_chunks} chunks ({unneeded_bytes} bytes); this is no damage"
            )?;
        }
        if !key_slots.is_empty() || !foreign.is_empty() {
            let (slots, foreign) = (key_slots.len(), foreign.len());
            writeln!(
                f,
                "{slots} key slots and {foreign} other objects do not belong to this repository; this is no damage"
            )?;
        }
        match self.damage.len() {
            0 => write!(f, "no damage found"),
            count => write!(f, "{count} damages found"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "damage: {}", self.problem)?;
        if let Some(object) = &self.object {
            write!(f, "; object {object}")?;
        }
        if let Some(chunk) = &self.chunk {
            write!(f, "; chunk {chunk}")?;
        }
        match self.lost.is_empty() {
            true => write!(f, "; no restore point loses anything by it"),
            false => self.lost.iter().try_for_each(|lost| {
                let LostRange { point, machine, disk, bytes } = lost;
                let (machine, disk) = (machine.as_str().escape_debug(), disk.escape_debug());
                write!(
                    f,
                    "\n  lost: point {point} of {machine}, disk \"{disk}\", bytes {}..{}",
                    bytes.start, bytes.end
                )
            }),
        }
    }
}
