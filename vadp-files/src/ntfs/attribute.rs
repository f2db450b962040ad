//! Attributes: everything that a file has is one, its content, too.

use std::sync::Arc;

use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::fields::{Fields, units};
use crate::file::{Extent, File, MOST_EXTENTS, Packed, Place};
use crate::ntfs::record::Record;
use crate::ntfs::{Ntfs, lznt1};

pub(super) mod kind {
    pub(in crate::ntfs) const STANDARD: u32 = 0x10;
    pub(in crate::ntfs) const LIST: u32 = 0x20;
    pub(in crate::ntfs) const NAME: u32 = 0x30;
    pub(in crate::ntfs) const VOLUME_NAME: u32 = 0x60;
    pub(in crate::ntfs) const DATA: u32 = 0x80;
    pub(in crate::ntfs) const INDEX_ROOT: u32 = 0x90;
    pub(in crate::ntfs) const INDEX: u32 = 0xA0;
    pub(in crate::ntfs) const REPARSE: u32 = 0xC0;
}

/// The most clusters of a file: with the largest clusters, more bytes than any file has.
const MOST_CLUSTERS: u64 = 1 << 42;
const COMPRESSED: u16 = 0x00FF;
const ENCRYPTED: u16 = 0x4000;

/// An attribute, or a piece of one.
pub(super) struct Attribute {
    pub(super) kind: u32,
    pub(super) name: Vec<u16>,
    flags: u16,
    form: Form,
}

enum Form {
    Resident(Vec<u8>),
    Extents { first: u64, unit: u32, size: u64, valid: u64, runs: Vec<Run> },
}

/// Clusters that lie together; without a place they are a hole.
#[derive(Clone, Copy)]
struct Run {
    place: Option<u64>,
    count: u64,
}

impl Attribute {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let name_at = usize::from(bytes.le16(10)?);
        let name = units(bytes.part(name_at, usize::from(bytes.byte(9)?) * 2)?).collect();
        let form = match bytes.byte(8)? {
            0 => {
                let (length, at) = (bytes.le32(16)? as usize, usize::from(bytes.le16(20)?));
                Form::Resident(bytes.part(at, length)?.to_vec())
            }
            _ => {
                let (first, last) = (bytes.le64(16)?, bytes.le64(24)?);
                // Sizes are said by the first piece only.
                let (size, valid) = if first == 0 { (bytes.le64(48)?, bytes.le64(56)?) } else { (0, 0) };
                let runs = runs(bytes.get(usize::from(bytes.le16(32)?)..).unwrap_or_default())?;
                let count = runs.iter().try_fold(0_u64, |sum, run| sum.checked_add(run.count));
                if count.is_some_and(|count| count > MOST_CLUSTERS)
                    || count != last.wrapping_add(1).checked_sub(first)
                {
                    return Err(Error::damaged("an attribute with more or fewer clusters than it says"));
                }
                Form::Extents { first, unit: bytes.byte(34)?.into(), size, valid, runs }
            }
        };
        Ok(Self { kind: bytes.le32(0)?, name, flags: bytes.le16(12)?, form })
    }

    /// Its value, which is in the record.
    pub(super) fn resident(&self) -> Result<&[u8]> {
        match &self.form {
            Form::Resident(value) => Ok(value),
            Form::Extents { .. } => Err(Error::damaged("an attribute that has to be in its record is not")),
        }
    }

    /// Whether it is all of the attribute, or its first piece.
    pub(super) fn is_first(&self) -> bool {
        !matches!(self.form, Form::Extents { first: 1.., .. })
    }

    pub(super) fn size(&self) -> u64 {
        match &self.form {
            Form::Resident(value) => value.len() as u64,
            Form::Extents { size, .. } => *size,
        }
    }
}

/// A byte of two sizes, a count, and how far the place is from the one before.
fn runs(bytes: &[u8]) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    let mut place = 0_i64;
    let mut at = 0;
    loop {
        let head = bytes.byte(at)?;
        if head == 0 {
            return Ok(runs);
        }
        let (count_size, place_size) = (usize::from(head & 15), usize::from(head >> 4));
        let count = number(bytes.part(at + 1, count_size)?)?;
        let moved = number(bytes.part(at + 1 + count_size, place_size)?)?;
        at += 1 + count_size + place_size;
        let count = u64::try_from(count).ok().filter(|&count| count > 0);
        let count = count.ok_or_else(|| Error::damaged("a run of no clusters"))?;
        place = place
            .checked_add(moved)
            .filter(|&place| place >= 0)
            .ok_or_else(|| Error::damaged("a run before the volume"))?;
        runs.push(Run { place: (place_size > 0).then_some(place as u64), count });
    }
}

/// A number with a sign in as many bytes as it needs.
fn number(bytes: &[u8]) -> Result<i64> {
    let Some(&top) = bytes.last() else { return Ok(0) };
    if bytes.len() > 8 {
        return Err(Error::damaged("a number of more than 64 bits"));
    }
    let fill = if top & 0x80 != 0 { 0xFF } else { 0 };
    let mut whole = [fill; 8];
    for (byte, stored) in whole.iter_mut().zip(bytes) {
        *byte = *stored;
    }
    Ok(i64::from_le_bytes(whole))
}

/// The content of an attribute.
pub(super) fn content(ntfs: &Ntfs, record: &Record, kind: u32, name: &[u16]) -> Result<File> {
    let first = record.find(kind, name).ok_or_else(|| Error::damaged("an attribute is missing"))?;
    if first.flags & ENCRYPTED != 0 {
        return Err(Error::new(
            ErrorKind::Encrypted,
            "encrypted by Windows (EFS); its key is not in the volume",
        ));
    }
    let (unit, size, valid) = match &first.form {
        Form::Resident(value) => return File::of_bytes(ntfs.device.clone(), value.clone()),
        Form::Extents { unit, size, valid, .. } => (*unit, *size, *valid),
    };
    let mut pieces: Vec<(u64, &[Run])> = record
        .pieces(kind, name)
        .filter_map(|piece| match &piece.form {
            Form::Extents { first, runs, .. } => Some((*first, runs.as_slice())),
            Form::Resident(_) => None,
        })
        .collect();
    pieces.sort_by_key(|&(first, _)| first);
    let mut runs = Vec::new();
    let mut next = 0;
    for (first, piece) in pieces {
        if first != next {
            return Err(Error::damaged("a piece of the content is missing"));
        }
        next += piece.iter().map(|run| run.count).sum::<u64>();
        if next > MOST_CLUSTERS {
            return Err(Error::damaged("more clusters than a file can have"));
        }
        if runs.len() + piece.len() > MOST_EXTENTS {
            return Err(Error::too_large(format!("a file in more than {MOST_EXTENTS} pieces")));
        }
        runs.extend_from_slice(piece);
    }
    if next.checked_mul(ntfs.cluster).is_none_or(|bytes| bytes < size) || valid > size {
        return Err(Error::damaged("fewer clusters than the content needs"));
    }
    let mut extents = match first.flags & COMPRESSED {
        0 => plain(ntfs, &runs)?,
        1 if (1..=8).contains(&unit) => compressed(ntfs, &runs, 1 << unit, size)?,
        _ => return Err(Error::unsupported("compressed in a way that this version does not know")),
    };
    // What was never written reads as zeros, whatever is there.
    extents.retain(|extent| extent.start < valid);
    if let Some(last) = extents.last_mut() {
        last.length = last.length.min(valid - last.start);
    }
    File::new(ntfs.device.clone(), size, extents)
}

/// As far as the first record tells of the table of records.
pub(super) fn beginning(ntfs: &Ntfs, record: &Record) -> Result<File> {
    let first = record.find(kind::DATA, &[]).ok_or_else(|| Error::damaged("no table of files"))?;
    let Form::Extents { runs, .. } = &first.form else { return Err(Error::damaged("no table of files")) };
    let size = runs.iter().map(|run| run.count).sum::<u64>().saturating_mul(ntfs.cluster);
    File::new(ntfs.device.clone(), size, plain(ntfs, runs)?)
}

fn place(ntfs: &Ntfs, cluster: u64, count: u64) -> Result<u64> {
    match cluster.checked_add(count).is_some_and(|end| end <= ntfs.clusters) {
        true => Ok(cluster * ntfs.cluster),
        false => Err(Error::damaged("a run behind the end of the volume")),
    }
}

fn plain(ntfs: &Ntfs, runs: &[Run]) -> Result<Vec<Extent>> {
    let mut extents = Vec::new();
    let mut start = 0;
    for run in runs {
        let length = run.count * ntfs.cluster;
        if let Some(cluster) = run.place {
            extents.push(Extent { start, length, place: Place::Device(place(ntfs, cluster, run.count)?) });
        }
        start += length;
    }
    Ok(extents)
}

/// Units of so many clusters: stored as they are when all of their clusters are there, compressed when some are not, zeros when none is.
fn compressed(ntfs: &Ntfs, runs: &[Run], unit: u64, size: u64) -> Result<Vec<Extent>> {
    let bytes = unit * ntfs.cluster;
    if bytes > 1 << 20 {
        return Err(Error::damaged("a unit of compression that is too large"));
    }
    let mut extents = Vec::new();
    let mut runs = runs.iter().copied();
    let mut left = Run { place: None, count: 0 };
    let mut start = 0;
    while start < size {
        let mut pieces: Vec<(u64, u64)> = Vec::new();
        let (mut there, mut wanted) = (0, unit);
        while wanted > 0 {
            if left.count == 0 {
                let Some(run) = runs.next() else { break };
                left = run;
                // A long hole is many units at once.
                if left.place.is_none() && wanted == unit {
                    start += left.count / unit * bytes;
                    left.count %= unit;
                }
                continue;
            }
            let count = left.count.min(wanted);
            if let Some(cluster) = left.place {
                pieces.push((place(ntfs, cluster, count)?, count * ntfs.cluster));
                there += count;
                left.place = Some(cluster + count);
            }
            left.count -= count;
            wanted -= count;
        }
        if extents.len() + pieces.len() > MOST_EXTENTS {
            return Err(Error::too_large(format!("a file in more than {MOST_EXTENTS} pieces")));
        }
        match there {
            0 => {}
            there if there == unit => {
                let mut at = start;
                for (place, length) in pieces {
                    extents.push(Extent { start: at, length, place: Place::Device(place) });
                    at += length;
                }
            }
            _ => {
                let packed = Arc::new(Unit { pieces, size: bytes as usize });
                extents.push(Extent { start, length: bytes, place: Place::Packed(packed, 0) });
            }
        }
        start += bytes;
    }
    Ok(extents)
}

/// A compressed unit.
struct Unit {
    /// Where its bytes are, and how many.
    pieces: Vec<(u64, u64)>,
    size: usize,
}

impl Packed for Unit {
    fn unpack(&self, device: &Device) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for &(at, length) in &self.pieces {
            bytes.extend(device.block(at, length as usize)?);
        }
        lznt1::unpack(&bytes, self.size)
    }
}
