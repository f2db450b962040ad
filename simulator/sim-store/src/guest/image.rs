//! A real guest disk: a GPT with one FAT32 partition that holds real files.
//!
//! [`populate`] formats and fills, [`mutate`] works on the files as a guest would, and [`verify`] reads partition
//! table, file system and files back and compares them with what was meant to be there. All three work on anything
//! that reads, writes and seeks; use a [`DiskCursor`](super::DiskCursor) for a disk. [`unpack`] takes the files out of
//! any FAT volume.

mod content;
mod unpack;
mod volume;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Read, Seek, SeekFrom, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::random::Random;
use crate::digest::Hasher;
use crate::{Error, ErrorKind, Result, Sha256};
pub use unpack::{Unpacked, unpack};
use volume::{ReadOnly, Volume};

/// What [`populate`] shall make. The same plan gives the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePlan {
    /// Seed of sizes, names and contents.
    pub seed: u64,
    /// Number of files.
    pub files: u32,
    /// Bytes in all files together; must leave a tenth of the partition free.
    pub bytes_total: u64,
    /// Label of the volume, at most 11 ASCII characters; also the partition's name.
    pub label: String,
}

/// The files that a volume must hold, by path (forward slashes, no leading one).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Manifest {
    /// Path to size and digest.
    pub files: BTreeMap<String, FileRecord>,
}

/// Size and digest of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Bytes.
    pub size: u64,
    /// Digest of the content.
    pub sha256: Sha256,
}

/// Where a volume differs from its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The partition table or the file system cannot be read.
    Unreadable(String),
    /// A file is not there.
    Missing(String),
    /// A file is there that should not be.
    Unexpected(String),
    /// A file is there and cannot be read.
    Broken {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
    /// A file has other content.
    Changed {
        /// The file.
        path: String,
        /// What it should be.
        expected: FileRecord,
        /// What it is.
        found: FileRecord,
    },
}

impl Manifest {
    /// Bytes in all files together.
    pub fn bytes_total(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(reason) => write!(f, "the volume cannot be read: {reason}"),
            Self::Missing(path) => write!(f, "{path}: missing"),
            Self::Unexpected(path) => write!(f, "{path}: should not be there"),
            Self::Broken { path, reason } => write!(f, "{path}: {reason}"),
            Self::Changed { path, expected, found } => write!(
                f,
                "{path}: {} bytes {} instead of {} bytes {}",
                found.size, found.sha256, expected.size, expected.sha256
            ),
        }
    }
}

/// Partitions the disk (at least 48 MiB), formats the partition and writes the files.
///
/// The partition takes the whole disk, but at most 64 GiB: FAT32 goes not much further.
///
/// # Errors
/// `InvalidArgument` if the disk is too small for the plan, or the label is not one; those of the disk.
pub fn populate<T: Read + Write + Seek>(disk: &mut T, plan: &ImagePlan) -> Result<Manifest> {
    let length =
        disk.seek(SeekFrom::End(0)).map_err(|source| Error::io("the disk cannot be measured", source))?;
    let partition = volume::create(disk, length, plan)?;
    if plan.bytes_total > partition / 10 * 9 {
        let what = format!("{} bytes of files do not fit a partition of {partition} bytes", plan.bytes_total);
        return Err(Error::new(ErrorKind::InvalidArgument, what));
    }
    let volume = Volume::mount(disk)?;
    let mut manifest = Manifest::default();
    for (index, size) in content::sizes(plan).into_iter().enumerate() {
        let path = content::path(plan.seed, index as u64);
        let record = write_new(&volume, &path, &content::bytes(plan.seed, index as u64, size))?;
        manifest.files.insert(path, record);
    }
    volume.count_free()?;
    volume.unmount()?;
    volume::tidy_folders(disk)?;
    Ok(manifest)
}

/// Changes about `about_bytes` of file content through the file system: rewrites parts of files, appends, deletes
/// and creates. `before` is what the volume holds; the answer is what it holds then. At least half of the files
/// survive.
///
/// # Errors
/// `Corrupt` if the volume cannot be read or is not as `before` says; those of the disk.
pub fn mutate<T: Read + Write + Seek>(
    disk: &mut T,
    before: &Manifest,
    seed: u64,
    about_bytes: u64,
) -> Result<Manifest> {
    guarded(|| work(disk, before, seed, about_bytes))?
}

/// Reads the partition table, mounts the volume, reads every file and compares.
///
/// # Errors
/// All differences found, sorted by path.
pub fn verify<T: Read + Seek>(disk: &mut T, manifest: &Manifest) -> std::result::Result<(), Vec<Difference>> {
    let unreadable = |error: Error| vec![Difference::Unreadable(chain_of(&error))];
    guarded(|| compare(disk, manifest)).map_err(unreadable)?
}

fn work<T: Read + Write + Seek>(
    disk: &mut T,
    before: &Manifest,
    seed: u64,
    about_bytes: u64,
) -> Result<Manifest> {
    let volume = Volume::mount(disk)?;
    let mut manifest = before.clone();
    let mut random = Random::keyed(seed, &[0x6d75_7461]);
    let mut spent = 0;
    let mut step = 0;
    while spent < about_bytes {
        let left = about_bytes - spent;
        let piece = (4096 + random.below((about_bytes / 16).min(2 << 20))).min(left);
        let mut bytes = vec![0; piece as usize];
        random.fill(&mut bytes);
        let victim = manifest.files.keys().nth(random.below(manifest.files.len() as u64) as usize).cloned();
        // Each kind of work is done once before chance decides.
        let choice = [0, 9, 6, 1].get(step).copied().unwrap_or_else(|| random.below(10));
        match (choice, victim) {
            (0, Some(path)) if manifest.files.len() > before.files.len().div_ceil(2) => {
                volume.remove(&path)?;
                manifest.files.remove(&path);
                // Only directory and table change, which is worth a block.
                spent += 4096.min(left);
            }
            (1..=5, Some(path)) => {
                let mut whole = read_known(&volume, &path, &manifest)?;
                let at = random.below(whole.len() as u64) as usize;
                let count = bytes.len().min(whole.len() - at);
                // An empty file has nothing to rewrite; the loop goes on with another choice.
                volume.write_at(&path, at as u64, &bytes[..count])?;
                whole[at..at + count].copy_from_slice(&bytes[..count]);
                manifest.files.insert(path, record_of(&whole));
                spent += count as u64;
            }
            (6 | 7, Some(path)) => {
                let mut whole = read_known(&volume, &path, &manifest)?;
                volume.write_at(&path, whole.len() as u64, &bytes)?;
                whole.extend_from_slice(&bytes);
                manifest.files.insert(path, record_of(&whole));
                spent += piece;
            }
            _ => {
                let path = format!("new-{seed:016x}/created-{step:04}.bin");
                // A repeated seed meets its own files; those are left to the other branches.
                if let Entry::Vacant(slot) = manifest.files.entry(path) {
                    let record = write_new(&volume, slot.key(), &bytes)?;
                    slot.insert(record);
                    spent += piece;
                }
            }
        }
        step += 1;
    }
    volume.unmount()?;
    volume::tidy_folders(disk)?;
    Ok(manifest)
}

fn compare<T: Read + Seek>(disk: &mut T, manifest: &Manifest) -> std::result::Result<(), Vec<Difference>> {
    let unreadable = |error: Error| vec![Difference::Unreadable(chain_of(&error))];
    let mut disk = ReadOnly(disk);
    let volume = Volume::mount(&mut disk).map_err(unreadable)?;
    let present: BTreeSet<String> = volume.files().map_err(unreadable)?.into_iter().collect();
    let mut differences = Vec::new();
    for path in present.iter().chain(manifest.files.keys()).collect::<BTreeSet<_>>() {
        let Some(expected) = manifest.files.get(path) else {
            differences.push(Difference::Unexpected(path.clone()));
            continue;
        };
        if !present.contains(path) {
            differences.push(Difference::Missing(path.clone()));
            continue;
        }
        match digest_of(&volume, path) {
            Ok(found) if found == *expected => {}
            Ok(found) => {
                differences.push(Difference::Changed { path: path.clone(), expected: *expected, found });
            }
            Err(error) => {
                differences.push(Difference::Broken { path: path.clone(), reason: chain_of(&error) })
            }
        }
    }
    if differences.is_empty() { Ok(()) } else { Err(differences) }
}

/// fatfs 0.3 panics at some damaged file systems, by unchecked arithmetic. A damaged disk is an expected finding
/// here, so the panic ends at this line and becomes an error.
fn guarded<R>(work: impl FnOnce() -> R) -> Result<R> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
        Error::new(ErrorKind::Corrupt, "the file system is damaged beyond what its reader can take")
    })
}

fn write_new<T: Read + Write + Seek>(volume: &Volume<'_, T>, path: &str, bytes: &[u8]) -> Result<FileRecord> {
    volume.create(path, bytes)?;
    Ok(record_of(bytes))
}

fn read_known<T: Read + Write + Seek>(
    volume: &Volume<'_, T>,
    path: &str,
    manifest: &Manifest,
) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    volume.read(path, &mut |bytes| whole.extend_from_slice(bytes))?;
    if manifest.files.get(path) != Some(&record_of(&whole)) {
        return Err(Error::new(ErrorKind::Corrupt, format!("the file {path:?} is not as its manifest says")));
    }
    Ok(whole)
}

fn digest_of<T: Read + Write + Seek>(volume: &Volume<'_, T>, path: &str) -> Result<FileRecord> {
    let mut hasher = Hasher::new();
    let mut size = 0;
    volume.read(path, &mut |bytes| {
        hasher.update(bytes);
        size += bytes.len() as u64;
    })?;
    Ok(FileRecord { size, sha256: hasher.finish() })
}

fn record_of(bytes: &[u8]) -> FileRecord {
    FileRecord { size: bytes.len() as u64, sha256: Sha256::of(bytes) }
}

fn chain_of(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
