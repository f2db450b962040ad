//! The content of files: inline, in extents, compressed.

use std::io::Read;
use std::sync::Arc;

use flate2::read::ZlibDecoder;

use crate::btrfs::{Btrfs, item};
use crate::device::Device;
use crate::error::{Error, ErrorKind, Result};
use crate::fields::{Fields, in_memory};
use crate::file::{Extent, File, MOST_EXTENTS, Packed, Place};
use crate::system::{Node, Stat};

/// The largest extent that is compressed is 128 KiB.
const LARGEST: usize = 1 << 20;
const INLINE: u8 = 0;
const REGULAR: u8 = 1;
const PREALLOCATED: u8 = 2;

pub(super) fn open(btrfs: &Btrfs, node: Node, stat: &Stat) -> Result<File> {
    let mut extents = Vec::new();
    btrfs.of_node(node, item::EXTENT, &mut |key, bytes| {
        if extents.len() >= MOST_EXTENTS {
            return Err(Error::too_large(format!("a file in more than {MOST_EXTENTS} pieces")));
        }
        if bytes.byte(17)? != 0 || bytes.le16(18)? != 0 {
            return Err(Error::new(ErrorKind::Encrypted, "encrypted by the guest's file system"));
        }
        let method = Method::of(bytes.byte(16)?)?;
        let unpacked = bytes.le64(8)?;
        let start = key.offset;
        let (length, place) = match bytes.byte(20)? {
            INLINE => {
                let data = bytes.get(21..).unwrap_or_default();
                let data = match method {
                    None => data.to_vec(),
                    Some(method) => method.unpack(
                        data,
                        in_memory(unpacked, LARGEST, "an extent")?,
                        btrfs.layout.sector_size,
                    )?,
                };
                (data.len() as u64, Place::Memory(data.into()))
            }
            REGULAR => {
                let (at, stored, skip, length) =
                    (bytes.le64(21)?, bytes.le64(29)?, bytes.le64(37)?, bytes.le64(45)?);
                let within = skip.checked_add(length).is_some_and(|end| end <= unpacked);
                // Address 0 is a hole.
                match (at, method) {
                    (0, _) => return Ok(()),
                    _ if !within => return Err(Error::damaged("a part of an extent that is not within it")),
                    (at, None) => (length, Place::Device(at.saturating_add(skip))),
                    (at, Some(method)) => {
                        let packed = Extents {
                            at,
                            stored: in_memory(stored, LARGEST, "an extent")?,
                            size: in_memory(unpacked, LARGEST, "an extent")?,
                            sector: btrfs.layout.sector_size,
                            method,
                        };
                        (length, Place::Packed(Arc::new(packed), skip as usize))
                    }
                }
            }
            PREALLOCATED => return Ok(()),
            _ => return Err(Error::unsupported("an extent of a kind that this version does not know")),
        };
        extents.push(Extent { start, length, place });
        Ok(())
    })?;
    File::new(btrfs.device.clone(), stat.size, extents)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Zlib,
    Zstd,
}

impl Method {
    fn of(number: u8) -> Result<Option<Self>> {
        match number {
            0 => Ok(None),
            1 => Ok(Some(Self::Zlib)),
            2 => Err(Error::unsupported("compressed by LZO, which this version cannot unpack")),
            3 => Ok(Some(Self::Zstd)),
            _ => Err(Error::unsupported("compressed in a way that this version does not know")),
        }
    }

    /// Exactly `size` bytes, or fewer by less than a sector, which are zero.
    fn unpack(self, packed: &[u8], size: usize, sector: usize) -> Result<Vec<u8>> {
        let mut unpacked = Vec::with_capacity(size);
        let limit = size as u64;
        let done = match self {
            Self::Zlib => ZlibDecoder::new(packed).take(limit).read_to_end(&mut unpacked),
            Self::Zstd => zstd::Decoder::new(packed)
                .and_then(|decoder| decoder.single_frame().take(limit).read_to_end(&mut unpacked)),
        };
        if done.is_err() || unpacked.len() + sector <= size {
            return Err(Error::damaged("a compressed extent that does not unpack to what it should"));
        }
        unpacked.resize(size, 0);
        Ok(unpacked)
    }
}

/// A compressed extent.
struct Extents {
    at: u64,
    stored: usize,
    size: usize,
    sector: usize,
    method: Method,
}

impl Packed for Extents {
    fn unpack(&self, device: &Device) -> Result<Vec<u8>> {
        let mut packed = vec![0; self.stored];
        device.read(self.at, &mut packed)?;
        self.method.unpack(&packed, self.size, self.sector)
    }
}
