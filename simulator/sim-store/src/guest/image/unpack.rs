//! Taking the files out of a FAT volume, wherever it is on a disk.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::path::Path;

use fatfs::Dir;

use super::volume::{Partition, ReadOnly, Volume};
use crate::{Error, ErrorKind, Result};

/// Folders in folders at most; a damaged volume may hold one inside itself.
const MAX_DEPTH: usize = 64;
/// Files and folders at most.
const MAX_ENTRIES: u64 = 1 << 20;

/// What [`unpack`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Number of files.
    pub files: u64,
    /// Bytes in all clusters of the volume.
    pub capacity: u64,
    /// Bytes in the clusters that are taken.
    pub used: u64,
    /// Bytes in a cluster.
    pub cluster: u32,
}

/// Writes every file and folder of the FAT volume that takes the bytes `volume` of `disk` into `folder`, which must exist.
///
/// # Errors
/// `Corrupt` if there is no FAT volume, it is damaged, or it holds names that no file may have; `Io` if the folder takes no
/// more.
pub fn unpack<T: Read + Seek>(disk: &mut T, volume: Range<u64>, folder: &Path) -> Result<Unpacked> {
    super::guarded(|| {
        let mut disk = ReadOnly(disk);
        let length = volume.end.saturating_sub(volume.start);
        let volume = Volume::mount_at(&mut disk, volume.start, length)?;
        let (cluster, all, free) = volume.clusters()?;
        let bytes = |clusters: u32| u64::from(clusters) * u64::from(cluster);
        let mut work = Work { entries: 0, files: 0, bytes_left: length };
        work.folder(&volume.root(), folder, 0)?;
        let (files, used) = (work.files, bytes(all.saturating_sub(free)));
        Ok(Unpacked { files, capacity: bytes(all), used, cluster })
    })?
}

/// What is done, and what may still be.
struct Work {
    entries: u64,
    files: u64,
    /// No honest volume holds more bytes of files than it is long.
    bytes_left: u64,
}

impl Work {
    fn folder<T: Read + Write + Seek>(
        &mut self,
        from: &Dir<'_, Partition<'_, T>>,
        to: &Path,
        depth: usize,
    ) -> Result<()> {
        for entry in from.iter() {
            let entry = entry.map_err(|source| damaged("a folder cannot be read").because(source))?;
            let name = entry.file_name();
            if name == "." || name == ".." {
                continue;
            }
            self.entries += 1;
            if depth >= MAX_DEPTH || self.entries > MAX_ENTRIES {
                return Err(damaged("a folder contains itself or has no end"));
            }
            // A name with a separator would lead out of the folder.
            if name.is_empty() || name.contains(['/', '\0']) {
                return Err(damaged(&format!("a file is named {name:?}")));
            }
            let place = to.join(&name);
            if entry.is_dir() {
                fs::create_dir(&place).map_err(|source| refused(&place, source))?;
                self.folder(&entry.to_dir(), &place, depth + 1)?;
            } else {
                self.files += 1;
                self.file(&mut entry.to_file(), entry.len(), &place)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, from: &mut impl Read, length: u64, place: &Path) -> Result<()> {
        let mut to = File::create_new(place).map_err(|source| refused(place, source))?;
        let mut buffer = vec![0; 64 << 10];
        let mut found = 0;
        loop {
            let count = from
                .read(&mut buffer)
                .map_err(|source| damaged(&format!("{} cannot be read", place.display())).because(source))?;
            if count == 0 {
                break;
            }
            found += count as u64;
            self.bytes_left = self
                .bytes_left
                .checked_sub(count as u64)
                .ok_or_else(|| damaged("its files are longer than it is"))?;
            to.write_all(&buffer[..count]).map_err(|source| refused(place, source))?;
        }
        // Where the chain of clusters breaks off, the reader below ends the file without a word.
        if found != length {
            return Err(damaged(&format!("{} has {found} of {length} bytes", place.display())));
        }
        Ok(())
    }
}

fn damaged(what: &str) -> Error {
    Error::new(ErrorKind::Corrupt, format!("the volume is damaged: {what}"))
}

fn refused(place: &Path, source: io::Error) -> Error {
    Error::io(format!("{} cannot be written", place.display()), source)
}
