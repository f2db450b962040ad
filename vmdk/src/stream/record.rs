//! Grain records and markers: what a stream consists of behind its descriptor.

use flate2::{Decompress, FlushDecompress, Status};

use crate::SECTOR;
use crate::error::{Error, Result};
use crate::io::ReadAt;
use crate::sparse::header::Header;

/// Bytes before the compressed data of a grain: its first guest sector, and the size of the data.
pub(crate) const HEAD: usize = 12;

/// The most that a grain of this size can take, compressed. qemu reads as much; zlib at its worst needs an eighth more than the
/// grain.
pub(crate) fn most_compressed(grain_bytes: usize) -> usize {
    2 * grain_bytes
}

/// Inflates a grain, whose record is at byte `at` of a file: all of it, or what the disk has of its last one. Also returns the
/// sectors that the record takes.
pub(crate) fn read_packed(
    file: &dyn ReadAt,
    file_size: u64,
    at: u64,
    grain: u64,
    header: &Header,
) -> Result<(Vec<u8>, u64)> {
    let sector = grain * header.grain;
    let grain_bytes = (header.grain * SECTOR) as usize;
    let reading = |error| Error::io(format!("reading the grain record at byte {at} failed"), error);
    // Nearly all grains are shorter than this, so one read is enough.
    let guess = (file_size.saturating_sub(at)).min((grain_bytes + SECTOR as usize) as u64) as usize;
    let mut record = vec![0; guess];
    file.read_exact_at(&mut record, at).map_err(reading)?;
    let head = record.get(..HEAD).ok_or_else(|| cut(at))?;
    let (own, size) = parse_head(head);
    if own != sector {
        return Err(Error::malformed(format!(
            "the record at byte {at} is of guest sector {own}, and the tables say {sector}"
        )));
    }
    check_size(size, grain_bytes, at)?;
    let end = HEAD + size as usize;
    if end > record.len() {
        let have = record.len();
        if at + end as u64 > file_size {
            return Err(cut(at));
        }
        record.resize(end, 0);
        file.read_exact_at(&mut record[have..], at + have as u64).map_err(reading)?;
    }
    let mut content = Vec::new();
    inflate(&mut Decompress::new(true), &record[HEAD..end], at, grain, header, &mut content)?;
    Ok((content, (end as u64).div_ceil(SECTOR)))
}

/// First guest sector and compressed size.
pub(crate) fn parse_head(head: &[u8]) -> (u64, u32) {
    let (mut sector, mut size) = ([0; 8], [0; 4]);
    sector.copy_from_slice(&head[..8]);
    size.copy_from_slice(&head[8..HEAD]);
    (u64::from_le_bytes(sector), u32::from_le_bytes(size))
}

pub(crate) fn check_size(size: u32, grain_bytes: usize, at: u64) -> Result<()> {
    if size == 0 || size as usize > most_compressed(grain_bytes) {
        return Err(Error::malformed(format!(
            "the record at byte {at} says that it has {size} bytes, which no grain has"
        )));
    }
    Ok(())
}

/// Inflates one grain, whose record is at byte `at`. Writers compress either all of the last grain or what the disk has of it.
pub(crate) fn inflate(
    zlib: &mut Decompress,
    packed: &[u8],
    at: u64,
    grain: u64,
    header: &Header,
    content: &mut Vec<u8>,
) -> Result<()> {
    let (whole, wanted) = (header.grain * SECTOR, header.grain_needs(grain) * SECTOR);
    zlib.reset(true);
    content.clear();
    content.resize(whole as usize, 0);
    let status = zlib.decompress(packed, content, FlushDecompress::Finish);
    let complete = matches!(status, Ok(Status::StreamEnd)) && zlib.total_in() == packed.len() as u64;
    if !complete || ![whole, wanted].contains(&zlib.total_out()) {
        return Err(Error::malformed(format!(
            "the grain of guest sector {}, at byte {at}, does not inflate to {wanted} bytes: it is damaged",
            grain * header.grain
        )));
    }
    content.truncate(wanted as usize);
    Ok(())
}

fn cut(at: u64) -> Error {
    Error::malformed(format!(
        "the grain record at byte {at} ends behind the end of the file: the stream was cut"
    ))
}

/// What follows a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marker {
    EndOfStream,
    Table,
    Directory,
    Footer,
    /// Undocumented, seen from recent vSpheres; nothing follows it.
    Progress,
}

impl Marker {
    const ALL: [Self; 5] = [Self::EndOfStream, Self::Table, Self::Directory, Self::Footer, Self::Progress];

    /// The marker that this sector is; its size field was seen to be zero.
    pub(crate) fn parse(sector: &[u8; SECTOR as usize], at: u64) -> Result<Self> {
        let kind = u32::from_le_bytes([sector[12], sector[13], sector[14], sector[15]]);
        let found = usize::try_from(kind).ok().and_then(|kind| Self::ALL.get(kind).copied());
        match found {
            Some(Self::EndOfStream) if sector.iter().any(|byte| *byte != 0) => Err(Error::malformed(
                format!("neither a grain nor a marker at byte {at}: the stream is damaged"),
            )),
            Some(marker) => Ok(marker),
            None => Err(Error::malformed(format!(
                "an unknown marker ({kind}) at byte {at}: the stream is damaged"
            ))),
        }
    }

    /// The marker's sector, before that many sectors of what it names.
    pub(crate) fn encode(self, sectors: u64) -> [u8; SECTOR as usize] {
        let mut bytes = [0; SECTOR as usize];
        bytes[..8].copy_from_slice(&sectors.to_le_bytes());
        let kind = Self::ALL.iter().position(|marker| *marker == self).unwrap_or_default() as u32;
        bytes[12..16].copy_from_slice(&kind.to_le_bytes());
        bytes
    }
}
