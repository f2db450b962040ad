//! An open disk and its volumes: copies of what is on it, in a folder that goes when the disk is closed.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sim_store::guest::image::{Unpacked, unpack};

use crate::code::{Answer, Code};
use crate::ffi::{RawDisk, log};
use crate::partitions::{self, Partition};

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 20;

/// An open disk.
pub(crate) struct DiskSet {
    /// What it was opened as: connection and name.
    pub(crate) identity: (usize, String),
    pub(crate) flags: u32,
    disk: RawDisk,
    folder: PathBuf,
    volumes: Vec<Volume>,
}

/// A volume of it.
pub(crate) struct Volume {
    pub(crate) partition: Partition,
    pub(crate) mounted: Option<Mounted>,
}

/// Where its files are.
pub(crate) struct Mounted {
    pub(crate) link: PathBuf,
    files: PathBuf,
    pub(crate) found: Unpacked,
}

impl DiskSet {
    /// `folder` must not exist.
    pub(crate) fn new(
        identity: (usize, String),
        flags: u32,
        disk: RawDisk,
        folder: PathBuf,
    ) -> Answer<DiskSet> {
        fs::create_dir(&folder).map_err(|error| system(&folder, &error))?;
        Ok(DiskSet { identity, flags, disk, folder, volumes: Vec::new() })
    }

    /// The flat file of the whole disk; made when it is not there.
    pub(crate) fn flat_file(&mut self) -> Answer<PathBuf> {
        let path = self.folder.join("flat");
        if !path.exists()
            && let Err(error) = copy(&mut self.disk, &path)
        {
            discard(fs::remove_file(&path), &path);
            return Err(system(&path, &error));
        }
        Ok(path)
    }

    /// Reads the partition table; answers the number of volumes.
    pub(crate) fn list(&mut self) -> Answer<usize> {
        let length = self.disk.length();
        let volume = |partition| Volume { partition, mounted: None };
        self.volumes = partitions::read(&mut self.disk, length)?.into_iter().map(volume).collect();
        Ok(self.volumes.len())
    }

    /// Forgets the volumes, none of which may be mounted.
    pub(crate) fn forget_volumes(&mut self) {
        self.volumes.clear();
    }

    pub(crate) fn volume(&self, index: usize) -> Answer<&Volume> {
        self.volumes.get(index).ok_or(Code::INVALID_HANDLE)
    }

    pub(crate) fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    pub(crate) fn mounts(&self) -> usize {
        self.volumes.iter().filter(|volume| volume.mounted.is_some()).count()
    }

    /// Unpacks a volume's files.
    pub(crate) fn mount(&mut self, index: usize, read_only: bool) -> Answer<()> {
        let volume = self.volumes.get_mut(index).ok_or(Code::INVALID_HANDLE)?;
        if volume.mounted.is_some() {
            return Err(Code::VOLUME_ALREADY_MOUNTED);
        }
        if !volume.partition.mountable {
            log::warn(&format!("volume {index} holds no files that could be mounted"));
            return Err(Code::NO_MOUNTABLE_PARTITIONS);
        }
        if !read_only {
            log::warn("this library copies volumes, so what is written would not reach the disk");
            return Err(Code::VOLUME_NOT_WRITABLE);
        }
        let files = self.folder.join(format!("files-{index}"));
        let link = self.folder.join(format!("volume-{index}"));
        fs::create_dir(&files).map_err(|error| system(&files, &error))?;
        let done = unpack(&mut self.disk, volume.partition.bytes.clone(), &files)
            .map_err(|error| {
                log::warn(&format!("volume {index} cannot be mounted: {error}"));
                Code::INTERNAL
            })
            .and_then(|found| {
                set_modes(&files, 0o555, 0o444).map_err(|error| system(&files, &error))?;
                symlink(&files, &link).map_err(|error| system(&link, &error))?;
                Ok(found)
            });
        match done {
            Ok(found) => volume.mounted = Some(Mounted { link, files, found }),
            Err(code) => {
                discard(remove(&files), &files);
                return Err(code);
            }
        }
        Ok(())
    }

    /// Removes what [`DiskSet::mount`] made.
    pub(crate) fn dismount(&mut self, index: usize, force: bool) -> Answer<()> {
        let volume = self.volumes.get_mut(index).ok_or(Code::INVALID_HANDLE)?;
        let Some(mounted) = &volume.mounted else { return Err(Code::VOLUME_NOT_MOUNTED) };
        if !force && is_in_use(&mounted.files) {
            log::warn(&format!("a file of volume {index} is open"));
            return Err(Code::UMOUNT);
        }
        fs::remove_file(&mounted.link).map_err(|error| system(&mounted.link, &error))?;
        let result = remove(&mounted.files).map_err(|error| system(&mounted.files, &error));
        volume.mounted = None;
        result
    }

    /// Closes the disk and removes the folder.
    pub(crate) fn close(self) -> Answer<()> {
        let DiskSet { disk, folder, .. } = self;
        let removed = fs::remove_dir_all(&folder).map_err(|error| system(&folder, &error));
        disk.close()?;
        removed
    }
}

/// Copies a disk, without the zeros.
fn copy(disk: &mut RawDisk, path: &Path) -> io::Result<()> {
    let file = File::create_new(path)?;
    file.set_len(disk.length())?;
    disk.seek(SeekFrom::Start(0))?;
    let mut buffer = vec![0; PIECE];
    let mut at = 0;
    while at < disk.length() {
        let count = usize::try_from(disk.length() - at).unwrap_or(PIECE).min(PIECE);
        disk.read_exact(&mut buffer[..count])?;
        if buffer[..count].iter().any(|byte| *byte != 0) {
            file.write_all_at(&buffer[..count], at)?;
        }
        at += count as u64;
    }
    file.set_permissions(Permissions::from_mode(0o400))
}

/// Whether this process has a file open there.
fn is_in_use(folder: &Path) -> bool {
    let (Ok(folder), Ok(open)) = (folder.canonicalize(), fs::read_dir("/proc/self/fd")) else { return false };
    open.filter_map(Result::ok)
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target.starts_with(&folder))
}

/// Folders must be writable for what is in them to be removed; for root they always are.
fn remove(folder: &Path) -> io::Result<()> {
    set_modes(folder, 0o755, 0o444)?;
    fs::remove_dir_all(folder)
}

/// Gives a folder, and all that is below it, its modes.
fn set_modes(folder: &Path, folders: u32, files: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            set_modes(&entry.path(), folders, files)?;
        } else {
            fs::set_permissions(entry.path(), Permissions::from_mode(files))?;
        }
    }
    fs::set_permissions(folder, Permissions::from_mode(folders))
}

fn discard(result: io::Result<()>, path: &Path) {
    if let Err(error) = result
        && error.kind() != io::ErrorKind::NotFound
    {
        log::warn(&format!("{} stays behind: {error}", path.display()));
    }
}

fn system(path: &Path, error: &io::Error) -> Code {
    log::warn(&format!("{}: {error}", path.display()));
    Code::SYSTEM
}
