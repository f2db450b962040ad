//! The partition table and the FAT32 volume, with the few file operations that the guest needs.

mod dots;

use std::io::{self, Read, Seek, SeekFrom, Write};

use fatfs::{Date, DateTime, Dir, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time, TimeProvider};
use gptman::{GPT, GPTPartitionEntry};

use super::ImagePlan;
use crate::descriptor::SECTOR;
use crate::guest::random::Random;
use crate::{Error, ErrorKind, Result};

/// Where the partition begins, and to what its end is aligned: 1 MiB, as every partitioning tool does today.
const ALIGN: u64 = 1 << 20;
const MIN_DISK: u64 = 48 << 20;
const MAX_PARTITION: u64 = 64 << 30;
/// "Microsoft basic data" EBD0A0A2-B9E5-4433-87C0-68B6B72699C7, in the byte order of the table.
const BASIC_DATA: [u8; 16] =
    [0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7];

/// A mounted volume of the disk's first partition.
pub(super) struct Volume<'a, T: Read + Write + Seek> {
    system: FileSystem<Partition<'a, T>>,
}

/// Writes the partition table and an empty file system; answers the partition's length in bytes.
pub(super) fn create<T: Read + Write + Seek>(disk: &mut T, length: u64, plan: &ImagePlan) -> Result<u64> {
    let invalid = |what: String| Error::new(ErrorKind::InvalidArgument, what);
    if length < MIN_DISK || !length.is_multiple_of(SECTOR) {
        return Err(invalid(format!(
            "a disk of {length} bytes is too small for a FAT32 volume; 48 MiB is the least"
        )));
    }
    let mut label = [b' '; 11];
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-' | b'_');
    if plan.label.is_empty() || plan.label.len() > label.len() || !plan.label.bytes().all(allowed) {
        return Err(invalid(format!(
            "{:?} is no volume label of 1 to 11 letters, digits, - or _",
            plan.label
        )));
    }
    label[..plan.label.len()].copy_from_slice(plan.label.to_ascii_uppercase().as_bytes());

    let mut random = Random::keyed(plan.seed, &[0]);
    let mut guid = || {
        let mut guid = [0; 16];
        random.fill(&mut guid);
        // Version 4, variant 1, where the table's byte order has them.
        guid[7] = guid[7] & 0x0f | 0x40;
        guid[8] = guid[8] & 0x3f | 0x80;
        guid
    };
    let failed = |source: gptman::Error| write_failed("the partition table", source);
    GPT::write_protective_mbr_into(disk, SECTOR).map_err(failed)?;
    let mut table = GPT::new_from(disk, SECTOR, guid()).map_err(failed)?;
    let last = (table.header.last_usable_lba + 1) * SECTOR / ALIGN * ALIGN;
    let partition = (last - ALIGN).min(MAX_PARTITION);
    table[1] = GPTPartitionEntry {
        partition_type_guid: BASIC_DATA,
        unique_partition_guid: guid(),
        starting_lba: ALIGN / SECTOR,
        ending_lba: (ALIGN + partition) / SECTOR - 1,
        attribute_bits: 0,
        partition_name: plan.label.as_str().into(),
    };
    table.write_into(disk).map_err(failed)?;

    let options =
        FormatVolumeOptions::new().fat_type(FatType::Fat32).volume_id(plan.seed as u32).volume_label(label);
    fatfs::format_volume(Partition::new(disk, ALIGN, partition), options)
        .map_err(|source| write_failed("the file system", source))?;
    Ok(partition)
}

/// Puts right what fatfs leaves behind in new folders; the volume must be unmounted.
pub(super) fn tidy_folders<T: Read + Write + Seek>(disk: &mut T) -> Result<()> {
    dots::tidy(&mut first_partition(disk)?).map_err(|source| write_failed("the folders", source))
}

impl<'a, T: Read + Write + Seek> Volume<'a, T> {
    pub(super) fn mount(disk: &'a mut T) -> Result<Self> {
        Self::of(first_partition(disk)?)
    }

    /// The same for `length` bytes from `start` on, whatever the partition table says.
    pub(super) fn mount_at(disk: &'a mut T, start: u64, length: u64) -> Result<Self> {
        Self::of(Partition::new(disk, start, length))
    }

    fn of(partition: Partition<'a, T>) -> Result<Self> {
        let options = FsOptions::new().time_provider(&MIDNIGHT);
        let system = FileSystem::new(partition, options).map_err(|source| {
            Error::new(ErrorKind::Corrupt, "the partition holds no readable file system").because(source)
        })?;
        Ok(Self { system })
    }

    pub(super) fn root(&self) -> Dir<'_, Partition<'a, T>> {
        self.system.root_dir()
    }

    /// Bytes in a cluster, number of clusters, and of free ones.
    pub(super) fn clusters(&self) -> Result<(u32, u32, u32)> {
        let stats = self.system.stats().map_err(|source| {
            Error::new(ErrorKind::Corrupt, "the volume's clusters cannot be counted").because(source)
        })?;
        Ok((stats.cluster_size(), stats.total_clusters(), stats.free_clusters()))
    }

    /// All files, by path.
    pub(super) fn files(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        list(&self.system.root_dir(), "", &mut found).map_err(|source| {
            Error::new(ErrorKind::Corrupt, "a folder of the volume cannot be read").because(source)
        })?;
        Ok(found)
    }

    /// Creates a file and the folders on its way.
    pub(super) fn create(&self, path: &str, bytes: &[u8]) -> Result<()> {
        let root = self.system.root_dir();
        let write = || {
            for (end, _) in path.match_indices('/') {
                root.create_dir(&path[..end])?;
            }
            let mut file = root.create_file(path)?;
            file.truncate()?;
            file.write_all(bytes)?;
            file.flush()
        };
        write().map_err(|source| write_failed(path, source))
    }

    /// Overwrites or appends in an existing file.
    pub(super) fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let root = self.system.root_dir();
        let write = || {
            let mut file = root.open_file(path)?;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(bytes)?;
            file.flush()
        };
        write().map_err(|source| write_failed(path, source))
    }

    pub(super) fn remove(&self, path: &str) -> Result<()> {
        self.system.root_dir().remove(path).map_err(|source| write_failed(path, source))
    }

    /// Reads a file from its beginning to its end.
    pub(super) fn read(&self, path: &str, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut read = || {
            let root = self.system.root_dir();
            let mut file = root.open_file(path)?;
            let mut buffer = vec![0; 64 << 10];
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(()),
                    count => take(&buffer[..count]),
                }
            }
        };
        read().map_err(|source: io::Error| {
            Error::new(ErrorKind::Corrupt, format!("the file {path:?} cannot be read")).because(source)
        })
    }

    /// Counts the free clusters, so that the summary that guests trust is written at [`Volume::unmount`].
    pub(super) fn count_free(&self) -> Result<()> {
        self.system.stats().map(|_| ()).map_err(|source| write_failed("the file system's summary", source))
    }

    pub(super) fn unmount(self) -> Result<()> {
        self.system.unmount().map_err(|source| write_failed("the file system's summary", source))
    }
}

fn first_partition<T: Read + Seek>(disk: &mut T) -> Result<Partition<'_, T>> {
    let unreadable = || Error::new(ErrorKind::Corrupt, "the disk has no readable partition table");
    let table = GPT::read_from(disk, SECTOR).map_err(|source| unreadable().because(source))?;
    let (_, entry) = table.iter().find(|(_, entry)| entry.is_used()).ok_or_else(unreadable)?;
    let end =
        entry.ending_lba.checked_add(1).and_then(|end| end.checked_mul(SECTOR)).ok_or_else(unreadable)?;
    let start = entry.starting_lba.checked_mul(SECTOR).filter(|start| *start < end).ok_or_else(unreadable)?;
    Ok(Partition::new(disk, start, end - start))
}

/// Keeps to a partition of the disk below it.
pub(super) struct Partition<'a, T> {
    disk: &'a mut T,
    start: u64,
    length: u64,
    position: u64,
}

impl<'a, T> Partition<'a, T> {
    fn new(disk: &'a mut T, start: u64, length: u64) -> Self {
        Self { disk, start, length, position: 0 }
    }

    fn reach(&self, wanted: usize) -> usize {
        usize::try_from(self.length.saturating_sub(self.position)).unwrap_or(usize::MAX).min(wanted)
    }
}

impl<T: Read + Seek> Read for Partition<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.reach(buffer.len());
        self.disk.seek(SeekFrom::Start(self.start + self.position))?;
        let count = self.disk.read(&mut buffer[..wanted])?;
        self.position += count as u64;
        Ok(count)
    }
}

impl<T: Write + Seek> Write for Partition<'_, T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wanted = self.reach(bytes.len());
        self.disk.seek(SeekFrom::Start(self.start + self.position))?;
        let count = self.disk.write(&bytes[..wanted])?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush()
    }
}

impl<T> Seek for Partition<'_, T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            SeekFrom::End(delta) => self.length.checked_add_signed(delta),
        };
        // Kept inside the partition, so that no sum with its start can overflow.
        self.position = target.filter(|target| *target <= self.length).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "a seek to outside of the partition")
        })?;
        Ok(self.position)
    }
}

/// A reader in the clothes of a writer: the file system crate asks for both, and verifying must never write.
pub(super) struct ReadOnly<'a, T>(pub(super) &'a mut T);

impl<T: Read> Read for ReadOnly<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<T: Seek> Seek for ReadOnly<'_, T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl<T> Write for ReadOnly<'_, T> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, "the volume was mounted for reading"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One moment for all files, so that the same plan gives the same bytes.
#[derive(Debug)]
struct Midnight;

static MIDNIGHT: Midnight = Midnight;

impl TimeProvider for Midnight {
    fn get_current_date(&self) -> Date {
        Date { year: 2026, month: 1, day: 1 }
    }

    fn get_current_date_time(&self) -> DateTime {
        DateTime { date: self.get_current_date(), time: Time { hour: 0, min: 0, sec: 0, millis: 0 } }
    }
}

fn list<T: Read + Write + Seek>(
    folder: &Dir<'_, Partition<'_, T>>,
    prefix: &str,
    found: &mut Vec<String>,
) -> io::Result<()> {
    // A damaged volume may hold a folder inside itself, or one without end; no honest one here is that deep or wide.
    let endless = || io::Error::new(io::ErrorKind::InvalidData, "a folder contains itself or has no end");
    if prefix.len() > 1024 {
        return Err(endless());
    }
    for (index, entry) in folder.iter().enumerate() {
        let entry = entry?;
        if index > 65_536 || found.len() > 1 << 20 {
            return Err(endless());
        }
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        let path = format!("{prefix}{name}");
        if entry.is_dir() {
            list(&entry.to_dir(), &format!("{path}/"), found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

fn write_failed(what: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Io, format!("{what} cannot be written on the guest's disk")).because(source)
}
