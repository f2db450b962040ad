//! Compression of chunks, see docs/repository-format.md, "Chunks".

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use zstd::bulk::{Compressor, Decompressor};

use crate::buffers::Buffers;
use crate::error::{Error, ErrorKind, Result};

const LEVEL: i32 = 3;
/// Chunks below this size are not sampled.
const SAMPLED_FROM: usize = 32 * 1024;
const SAMPLE_WINDOWS: usize = 64;
const SAMPLE_WINDOW_BYTES: usize = 64;
/// Bits a byte above which a sample counts as incompressible. Uniformly random samples of 4 KiB measure 7.95.
const INCOMPRESSIBLE_BITS: f64 = 7.9;

/// How the bytes of a chunk are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    Raw,
    Zstd,
}

impl Encoding {
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Raw => 0,
            Self::Zstd => 1,
        }
    }

    pub(crate) fn from_number(number: u8) -> Result<Self> {
        match number {
            0 => Ok(Self::Raw),
            1 => Ok(Self::Zstd),
            other => Err(Error::damaged(format!("unknown chunk encoding {other}"))),
        }
    }
}

/// Compresses chunks. Contexts (about a megabyte each) are kept for reuse; there are never more than workers.
pub(crate) struct Codec {
    idle: Mutex<Vec<Compressor<'static>>>,
}

impl Codec {
    pub(crate) fn new() -> Self {
        Self { idle: Mutex::new(Vec::new()) }
    }

    /// Encodes a chunk: compressed where that saves at least 3 %, else the same bytes.
    pub(crate) fn encode(&self, plain: &Bytes, buffers: &Buffers) -> Result<(Encoding, Bytes)> {
        if looks_incompressible(plain) {
            return Ok((Encoding::Raw, plain.clone()));
        }
        let failed = |source| Error::new(ErrorKind::Internal, "zstd could not compress").with_source(source);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut compressor = match idle {
            Some(compressor) => compressor,
            None => Compressor::new(LEVEL).map_err(failed)?,
        };
        // A buffer without room for more than 97 % would make zstd fail instead of answering, so it has room for all.
        let mut buffer = buffers.take(zstd::zstd_safe::compress_bound(plain.len()));
        let length = compressor.compress_to_buffer(plain, buffer.as_mut()).map_err(failed)?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(compressor);
        match length as u64 * 100 <= plain.len() as u64 * 97 {
            // All of the buffer waits with what is in it: a quarter more than the plain bytes, which wait no longer.
            true => {
                buffer.truncate(length);
                Ok((Encoding::Zstd, buffer.freeze()))
            }
            false => Ok((Encoding::Raw, plain.clone())),
        }
    }
}

/// Decodes into exactly `plain_len` bytes. No more memory than that is taken, whatever the frame claims.
pub(crate) fn decode(
    encoding: Encoding,
    encoded: Bytes,
    plain_len: usize,
    buffers: &Buffers,
) -> Result<Bytes> {
    let plain = match encoding {
        Encoding::Raw => encoded,
        Encoding::Zstd => {
            let failed = |source| Error::damaged("a chunk does not decompress").with_source(source);
            let mut plain = buffers.take(plain_len);
            let mut zstd = Decompressor::new().map_err(failed)?;
            let length = zstd.decompress_to_buffer(&encoded, plain.as_mut()).map_err(failed)?;
            plain.truncate(length);
            plain.freeze()
        }
    };
    match plain.len() == plain_len {
        true => Ok(plain),
        false => Err(Error::damaged(format!("a chunk decodes to {} bytes, not to {plain_len}", plain.len()))),
    }
}

/// Whether every byte is zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Folding block by block compiles to vector code and still ends early on the first block with data.
    bytes.chunks(4096).all(|block| block.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Estimates the entropy of single bytes on windows spread over the chunk. Media, archives and ciphertext measure nearly eight
/// bits a byte; zstd would spend its time on them in vain.
fn looks_incompressible(bytes: &[u8]) -> bool {
    if bytes.len() < SAMPLED_FROM {
        return false;
    }
    let mut counts = [0_u32; 256];
    let step = bytes.len() / SAMPLE_WINDOWS;
    let windows = bytes.chunks_exact(step).take(SAMPLE_WINDOWS);
    for byte in windows.flat_map(|window| window.iter().take(SAMPLE_WINDOW_BYTES)) {
        counts[usize::from(*byte)] += 1;
    }
    let total = f64::from(counts.iter().sum::<u32>());
    let bits: f64 = counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) / total)
        .map(|share| -share * share.log2())
        .sum();
    bits > INCOMPRESSIBLE_BITS
}
