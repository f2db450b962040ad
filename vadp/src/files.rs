//! Files in restore points, without restoring a disk: [`vadp_files`] over what a store of backups holds.
//!
//! ```no_run
//! # async fn example(point: std::sync::Arc<dyn vadp_repository::StoredPoint>) -> Result<(), Box<dyn std::error::Error>> {
//! let disks = vadp::files::disks(&*point).await?;
//! // Reading files blocks its thread, so not one of the runtime's.
//! let hosts = tokio::task::spawn_blocking(move || -> vadp_files::Result<_> {
//!     for volume in disks.volumes()?.iter().filter(|volume| volume.kind().is_readable()) {
//!         if let Ok(file) = volume.open()?.open("etc/hosts") {
//!             return file.read_all(1 << 20).map(Some);
//!         }
//!     }
//!     Ok(None)
//! });
//! # let _ = hosts.await??;
//! # Ok(())
//! # }
//! ```

use std::io;
use std::num::NonZero;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::runtime::Handle;
use vadp_files::{Disks, ReadAt};
use vadp_repository::{Chunk, StoredDisk, StoredPoint};

use crate::error::Error;

/// Chunks that are kept for each disk: metadata of a file system is read in small pieces from a few places.
const KEPT: usize = 16;

/// The disks of a restore point, by their keys. To be read by threads that may block, while the runtime of this call goes on running.
///
/// # Errors
/// [`Repository`](crate::ErrorKind::Repository) when a disk cannot be opened.
pub async fn disks(point: &dyn StoredPoint) -> Result<Disks, Error> {
    let mut disks = Disks::new();
    for disk in &point.info().disks {
        let stored = point.disk(&disk.key).await;
        let stored = stored.map_err(|error| {
            Error::repository(format!("opening disk {} of the restore point", disk.key), error)
        })?;
        disks.add(disk.key.clone(), Arc::new(Source::new(stored)));
    }
    Ok(disks)
}

/// A disk of a restore point as bytes at positions.
struct Source {
    disk: Arc<dyn StoredDisk>,
    runtime: Handle,
    /// The chunks that were read last, the newest at the end; `None` for one of zeros.
    kept: Mutex<Vec<(u64, Option<Bytes>)>>,
}

impl Source {
    fn new(disk: Arc<dyn StoredDisk>) -> Self {
        Self { disk, runtime: Handle::current(), kept: Mutex::default() }
    }

    fn chunk(&self, number: u64) -> io::Result<Option<Bytes>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(own, _)| *own == number) {
            let found = kept.remove(at);
            let chunk = found.1.clone();
            kept.push(found);
            return Ok(chunk);
        }
        drop(kept);
        let chunk = match self.runtime.block_on(self.disk.read_chunk(number)).map_err(io::Error::other)? {
            Chunk::Zero => None,
            Chunk::Data(bytes) => Some(bytes),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((number, chunk.clone()));
        Ok(chunk)
    }
}

impl ReadAt for Source {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|&end| end <= self.disk.capacity());
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let size = NonZero::new(u64::from(self.disk.chunk_size())).ok_or(io::ErrorKind::InvalidData)?;
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let (number, within) = (at / size, (at % size) as usize);
            let length = (size.get() as usize - within).min(rest.len());
            let (now, later) = rest.split_at_mut_checked(length).ok_or(io::ErrorKind::InvalidData)?;
            match self.chunk(number)? {
                None => now.fill(0),
                Some(bytes) => now
                    .copy_from_slice(bytes.get(within..within + length).ok_or(io::ErrorKind::UnexpectedEof)?),
            }
            rest = later;
            at += length as u64;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.capacity())
    }
}
