//! The first sector of a hosted sparse extent, which is also the footer of a stream (docs/vmdk.md, "Hosted sparse").

use crate::error::{Error, ErrorKind, Result};
use crate::{SECTOR, Sectors};

pub(crate) const MAGIC: [u8; 4] = *b"KDMV";
/// Written by open-vmdk while a stream is being written, and replaced at its end.
pub(crate) const MAGIC_UNFINISHED: [u8; 4] = *b"kdmv";
/// `gd_offset` of a stream whose directory is known only at its end: it stands in the footer.
pub(crate) const GD_AT_END: u64 = u64::MAX;
const NEWLINES: [u8; 4] = [0x0A, 0x20, 0x0D, 0x0A];

/// What the 32 bits of `flags` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(pub(crate) u32);

impl Flags {
    pub(crate) const NEWLINES: u32 = 1;
    pub(crate) const REDUNDANT: u32 = 1 << 1;
    pub(crate) const ZEROED_GRAINS: u32 = 1 << 2;
    pub(crate) const COMPRESSED: u32 = 1 << 16;
    pub(crate) const MARKERS: u32 = 1 << 17;
    /// A reader that does not know a bit of the upper half must not read the file.
    const INCOMPATIBLE: u32 = 0xFFFF_0000;

    pub(crate) fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }
}

/// The header's fields; offsets and sizes are in sectors, as in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) flags: Flags,
    pub(crate) capacity: Sectors,
    pub(crate) grain: Sectors,
    pub(crate) descriptor_offset: Sectors,
    pub(crate) descriptor_size: Sectors,
    pub(crate) entries_per_table: u32,
    pub(crate) redundant_offset: Sectors,
    pub(crate) directory_offset: Sectors,
    pub(crate) overhead: Sectors,
    pub(crate) unclean: bool,
    pub(crate) compression: u16,
}

impl Header {
    /// Reads a header, and refuses every one whose numbers can't be worked with. Whether they fit the file is for the
    /// caller to see.
    pub(crate) fn parse(sector: &[u8; SECTOR as usize]) -> Result<Self> {
        match sector[..4].try_into() {
            Ok(MAGIC) => {}
            Ok(MAGIC_UNFINISHED) => {
                return Err(Error::new(
                    ErrorKind::Unfinished,
                    "its writer has not finished it (the magic is \"kdmv\"); write the file anew",
                ));
            }
            _ => return Err(Error::new(ErrorKind::NotADisk, "no sparse extent: the magic is not \"KDMV\"")),
        }
        let header = Self {
            version: u32_at(sector, 4),
            flags: Flags(u32_at(sector, 8)),
            capacity: u64_at(sector, 12),
            grain: u64_at(sector, 20),
            descriptor_offset: u64_at(sector, 28),
            descriptor_size: u64_at(sector, 36),
            entries_per_table: u32_at(sector, 44),
            redundant_offset: u64_at(sector, 48),
            directory_offset: u64_at(sector, 56),
            overhead: u64_at(sector, 64),
            unclean: sector[72] != 0,
            compression: u16::from_le_bytes([sector[77], sector[78]]),
        };
        if header.flags.has(Flags::NEWLINES) && sector[73..77] != NEWLINES {
            return Err(Error::malformed(
                "the line ends in its header were changed: it was copied as text; copy it again as binary",
            ));
        }
        header.validate()?;
        Ok(header)
    }

    fn validate(&self) -> Result<()> {
        if !(1..=3).contains(&self.version) {
            return Err(Error::unsupported(format!(
                "version {} of the sparse header; 1 to 3 are known",
                self.version
            )));
        }
        let unknown = self.flags.0 & Flags::INCOMPATIBLE & !(Flags::COMPRESSED | Flags::MARKERS);
        if unknown != 0 {
            return Err(Error::unsupported(format!(
                "unknown incompatible flags {unknown:#x} in the sparse header"
            )));
        }
        if self.flags.has(Flags::MARKERS) && !self.flags.has(Flags::COMPRESSED) {
            return Err(Error::malformed("the header says that there are markers, but no compressed grains"));
        }
        match (self.flags.has(Flags::COMPRESSED), self.compression) {
            (false, _) | (true, 1) => {}
            (true, other) => {
                return Err(Error::unsupported(format!("compression algorithm {other}; 1 is known")));
            }
        }
        if self.flags.has(Flags::COMPRESSED) && !self.flags.has(Flags::MARKERS) {
            return Err(Error::new(
                ErrorKind::Disputed,
                "compressed grains without markers: no public source shows such a file",
            ));
        }
        if !self.grain.is_power_of_two() || !(1..=MAX_GRAIN).contains(&self.grain) {
            return Err(Error::malformed(format!(
                "a grain of {} sectors; it has to be a power of two up to {MAX_GRAIN}",
                self.grain
            )));
        }
        if !(1..=512).contains(&self.entries_per_table) {
            return Err(Error::malformed(format!(
                "{} entries in a grain table; 1 to 512 work",
                self.entries_per_table
            )));
        }
        if self.capacity > MAX_CAPACITY {
            return Err(Error::malformed(format!(
                "a capacity of {} sectors is beyond every disk",
                self.capacity
            )));
        }
        Ok(())
    }

    /// The bytes of the header's sector.
    pub(crate) fn encode(&self) -> [u8; SECTOR as usize] {
        let mut sector = [0; SECTOR as usize];
        sector[..4].copy_from_slice(&MAGIC);
        sector[4..8].copy_from_slice(&self.version.to_le_bytes());
        sector[8..12].copy_from_slice(&self.flags.0.to_le_bytes());
        sector[12..20].copy_from_slice(&self.capacity.to_le_bytes());
        sector[20..28].copy_from_slice(&self.grain.to_le_bytes());
        sector[28..36].copy_from_slice(&self.descriptor_offset.to_le_bytes());
        sector[36..44].copy_from_slice(&self.descriptor_size.to_le_bytes());
        sector[44..48].copy_from_slice(&self.entries_per_table.to_le_bytes());
        sector[48..56].copy_from_slice(&self.redundant_offset.to_le_bytes());
        sector[56..64].copy_from_slice(&self.directory_offset.to_le_bytes());
        sector[64..72].copy_from_slice(&self.overhead.to_le_bytes());
        sector[72] = u8::from(self.unclean);
        sector[73..77].copy_from_slice(&NEWLINES);
        sector[77..79].copy_from_slice(&self.compression.to_le_bytes());
        sector
    }

    /// Sectors of the guest that one grain table covers.
    pub(crate) fn table_span(&self) -> Sectors {
        self.grain * u64::from(self.entries_per_table)
    }

    /// Entries of the grain directory: one for each grain table.
    pub(crate) fn tables(&self) -> u64 {
        self.capacity.div_ceil(self.table_span())
    }

    /// Sectors that a grain table takes in the file.
    pub(crate) fn table_sectors(&self) -> Sectors {
        (u64::from(self.entries_per_table) * 4).div_ceil(SECTOR)
    }

    /// Sectors that the grain directory takes in the file.
    pub(crate) fn directory_sectors(&self) -> Sectors {
        (self.tables() * 4).div_ceil(SECTOR)
    }

    /// Sectors that the disk has of a grain, which are fewer for the last one.
    pub(crate) fn grain_needs(&self, grain: u64) -> Sectors {
        self.grain.min(self.capacity.saturating_sub(grain.saturating_mul(self.grain)))
    }

    /// Whether a footer is that of a stream with this header.
    pub(crate) fn is_of_one_disk_with(&self, footer: &Self) -> bool {
        (self.capacity, self.grain, self.entries_per_table)
            == (footer.capacity, footer.grain, footer.entries_per_table)
    }

    /// The descriptor's place in the file in bytes, if there is one within it.
    pub(crate) fn descriptor_range(&self) -> Option<std::ops::Range<u64>> {
        let start = self.descriptor_offset.checked_mul(SECTOR).filter(|start| *start != 0)?;
        let size = self.descriptor_size.checked_mul(SECTOR).filter(|size| *size != 0)?;
        Some(start..start.checked_add(size)?)
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.flags.has(Flags::COMPRESSED)
    }
}

/// All known writers have 128, and a grain has to be kept in memory. qemu would read grains of 1 GiB.
const MAX_GRAIN: Sectors = 1 << 14;
/// 1 EiB. Keeps every product of what the header says within 64 bits.
const MAX_CAPACITY: Sectors = 1 << 51;

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}
