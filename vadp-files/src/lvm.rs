//! LVM2: logical volumes, linear and striped, over one or several disks.
//!
//! The format of labels and metadata is that of the "LVM2 text format", as its manual pages and libvslvm's documentation describe it.

mod text;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use vmdk::ReadAt;

use crate::checksum::crc32;
use crate::device::Device;
use crate::error::{Error, Result};
use crate::fields::{Fields, in_memory};
use crate::lvm::text::{Section, Value};

/// What LVM's checksums begin with.
const SEED: u32 = 0xF597_A6CF;
const SECTOR: u64 = 512;
/// The most bytes of the text of a group.
const LONGEST: usize = 16 << 20;
/// The most segments of all volumes of a group, and stripes of one.
const MOST_SEGMENTS: u64 = 1 << 20;
const MOST_STRIPES: u64 = 1024;

/// A physical volume: what a disk or a partition says of itself.
pub(crate) struct Member {
    id: String,
    source: Arc<dyn ReadAt>,
    /// The metadata of its group, if it has a copy.
    text: Option<String>,
}

/// A logical volume.
pub(crate) struct Logical {
    /// Group and volume.
    pub(crate) name: String,
    pub(crate) size: u64,
    /// Its bytes, or why it has none.
    pub(crate) source: Result<Arc<dyn ReadAt>>,
}

impl Member {
    pub(crate) fn read(source: Arc<dyn ReadAt>) -> Result<Self> {
        let device = Device::new(source.clone())?;
        for sector in 0..4 {
            let label = device.block(sector * SECTOR, SECTOR as usize)?;
            if label.part(0, 8)? != b"LABELONE" {
                continue;
            }
            if crc32(SEED, label.part(20, 492)?) != label.le32(16)? || label.le64(8)? != sector {
                return Err(Error::damaged("the checksum of the label of LVM does not hold"));
            }
            let header = label.get(label.le32(20)? as usize..).unwrap_or_default();
            let id = String::from_utf8_lossy(header.part(0, 32)?).into_owned();
            let areas = areas(header)?;
            let text = areas.map(|(at, size)| metadata(&device, at, size)).transpose()?.flatten();
            return Ok(Self { id, source, text });
        }
        Err(Error::damaged("no label of LVM"))
    }
}

/// The first area of metadata: behind the list of those of data.
fn areas(header: &[u8]) -> Result<Option<(u64, u64)>> {
    let mut at = 40;
    while header.le64(at)? != 0 {
        at += 16;
    }
    at += 16;
    let (start, size) = (header.le64(at)?, header.le64(at + 8)?);
    Ok((start != 0).then_some((start, size)))
}

/// The text in force: an area is a ring of texts, whose header says where the last one is.
fn metadata(device: &Device, start: u64, size: u64) -> Result<Option<String>> {
    let header = device.block(start, SECTOR as usize)?;
    if header.part(4, 16)? != b" LVM2 x[5A%r0N*>" || crc32(SEED, header.part(4, 508)?) != header.le32(0)? {
        return Err(Error::damaged("the checksum of the metadata of LVM does not hold"));
    }
    let (offset, length, sum) = (header.le64(40)?, header.le64(48)?, header.le32(56)?);
    if offset == 0 || length == 0 {
        return Ok(None);
    }
    if offset < SECTOR || offset >= size || length > size - SECTOR {
        return Err(Error::damaged("metadata of LVM outside its area"));
    }
    in_memory(length, LONGEST, "metadata of LVM")?;
    let first = length.min(size - offset);
    let mut text = vec![0; length as usize];
    let (before, after) = text.split_at_mut(first as usize);
    let within = |offset: u64| {
        start.checked_add(offset).ok_or_else(|| Error::damaged("metadata of LVM behind the disk's end"))
    };
    device.read(within(offset)?, before)?;
    if !after.is_empty() {
        device.read(within(SECTOR)?, after)?;
    }
    if crc32(SEED, &text) != sum {
        return Err(Error::damaged("the checksum of the text of a group of LVM does not hold"));
    }
    Ok(Some(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned()))
}

/// The logical volumes of all groups.
pub(crate) fn volumes(members: &[Member]) -> Result<Vec<Logical>> {
    // The copies of a group's metadata need not be of one age: the one with the highest number is in force.
    let mut groups: BTreeMap<String, (u64, String, Section)> = BTreeMap::new();
    for text in members.iter().filter_map(|member| member.text.as_deref()) {
        for (name, value) in text::parse(text)?.0 {
            let Value::Section(group) = value else { continue };
            let (Ok(id), Ok(number)) = (group.text("id").map(str::to_owned), group.number("seqno")) else {
                continue;
            };
            let newest = groups.entry(id).or_insert_with(|| (number, name.clone(), group.clone()));
            if newest.0 < number {
                *newest = (number, name, group);
            }
        }
    }
    let mut found = Vec::new();
    for (_, name, group) in groups.into_values() {
        self::group(&name, &group, members, &mut found)?;
    }
    Ok(found)
}

fn group(name: &str, group: &Section, members: &[Member], found: &mut Vec<Logical>) -> Result<()> {
    let extent = group.number("extent_size")?.checked_mul(SECTOR).filter(|&size| size > 0);
    let extent = extent.ok_or_else(|| Error::damaged("extents of LVM without a size"))?;
    // Where the extents of each physical volume begin; `None` for one that is not here.
    let mut physical = BTreeMap::new();
    for (name, value) in &group.section("physical_volumes")?.0 {
        let Value::Section(volume) = value else { continue };
        let id = volume.text("id")?.replace('-', "");
        let start = volume.number("pe_start")?.saturating_mul(SECTOR);
        let member = members.iter().find(|member| member.id == id);
        physical.insert(name.as_str(), member.map(|member| (member.source.clone(), start)));
    }
    let Ok(volumes) = group.section("logical_volumes") else { return Ok(()) };
    for (volume_name, value) in &volumes.0 {
        let Value::Section(volume) = value else { continue };
        // The others are parts of mirrors and pools.
        if !volume.list("status")?.iter().any(|status| *status == Value::Text("VISIBLE".into())) {
            continue;
        }
        let segments = segments(volume, extent, &physical);
        let count = volume.number("segment_count").unwrap_or(0).min(MOST_SEGMENTS);
        let extents = (1..=count).filter_map(|number| {
            volume.section(&format!("segment{number}")).ok()?.number("extent_count").ok()
        });
        let size = extents.fold(0_u64, u64::saturating_add).saturating_mul(extent);
        let source = segments.map(|segments| Arc::new(Mapped { segments, size }) as Arc<dyn ReadAt>);
        found.push(Logical { name: format!("{name}/{volume_name}"), size, source });
    }
    Ok(())
}

type Physical<'a> = BTreeMap<&'a str, Option<(Arc<dyn ReadAt>, u64)>>;

fn segments(volume: &Section, extent: u64, physical: &Physical<'_>) -> Result<Vec<Segment>> {
    let bad = || Error::damaged("a segment of a logical volume contradicts itself");
    let count = volume.number("segment_count")?;
    if count > MOST_SEGMENTS {
        return Err(Error::too_large("a logical volume of too many segments"));
    }
    let mut segments = Vec::new();
    let mut next = 0_u64;
    for number in 1..=count {
        let segment = volume.section(&format!("segment{number}"))?;
        let kind = segment.text("type")?;
        if !matches!(kind, "striped" | "linear") {
            return Err(Error::unsupported(format!(
                "a logical volume of the type \"{kind}\"; linear and striped ones can be read"
            )));
        }
        let start = segment.number("start_extent")?.checked_mul(extent).ok_or_else(bad)?;
        let length = segment.number("extent_count")?.checked_mul(extent).ok_or_else(bad)?;
        let stripes = segment.list("stripes")?;
        let count = segment.number("stripe_count")?;
        if start != next || count == 0 || count > MOST_STRIPES || stripes.len() as u64 != count * 2 {
            return Err(bad());
        }
        next = start.checked_add(length).ok_or_else(bad)?;
        let size = match count {
            1 => length.max(1),
            _ => {
                segment.number("stripe_size")?.checked_mul(SECTOR).filter(|&size| size > 0).ok_or_else(bad)?
            }
        };
        let mut places = Vec::new();
        for pair in stripes.chunks_exact(2) {
            let [Value::Text(name), Value::Number(first)] = pair else { return Err(bad()) };
            let Some((source, start)) = physical.get(name.as_str()).ok_or_else(bad)? else {
                return Err(Error::not_found(format!(
                    "the physical volume {name} is on a disk that was not given"
                )));
            };
            let first =
                first.checked_mul(extent).and_then(|first| first.checked_add(*start)).ok_or_else(bad)?;
            places.push((source.clone(), first));
        }
        segments.push(Segment { start, length, stripe: size, places });
    }
    Ok(segments)
}

struct Segment {
    start: u64,
    length: u64,
    /// Bytes on one disk before those on the next.
    stripe: u64,
    places: Vec<(Arc<dyn ReadAt>, u64)>,
}

/// The bytes of a logical volume.
struct Mapped {
    /// In rising order and without gaps.
    segments: Vec<Segment>,
    size: u64,
}

impl ReadAt for Mapped {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let index = self.segments.partition_point(|segment| segment.start + segment.length <= at);
            let segment = self.segments.get(index).ok_or(io::ErrorKind::UnexpectedEof)?;
            let within = at - segment.start;
            let (number, skip) = (within / segment.stripe, within % segment.stripe);
            let disks = segment.places.len() as u64;
            let place = segment.places.get((number % disks) as usize).ok_or(io::ErrorKind::InvalidData)?;
            let length = (segment.stripe - skip).min(segment.length - within).min(rest.len() as u64) as usize;
            let (now, later) = rest.split_at_mut_checked(length).ok_or(io::ErrorKind::InvalidData)?;
            let from = (number / disks)
                .checked_mul(segment.stripe)
                .and_then(|from| from.checked_add(place.1 + skip));
            place.0.read_exact_at(now, from.ok_or(io::ErrorKind::InvalidData)?)?;
            rest = later;
            at += length as u64;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}
