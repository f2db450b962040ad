//! Host files: atomic replacement, sparse ranges, hole punching, and the folder lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind as IoKind};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, SeekFrom};
use rustix::io::Errno;

use crate::{Error, ErrorKind, Result, crash};

/// Buffer size of copies in bytes.
const COPY_CHUNK: usize = 1 << 20;

/// Replaces the file by `bytes` in one step: readers see the old content or the new one, never a part.
///
/// The rename orders itself after the write for every process of this host; there is no fsync, since the
/// simulator promises to survive `kill -9`, not a power cut.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = file_name(path)?;
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_file_name(format!(".{name}.{}-{number}.tmp", std::process::id()));
    let written = fs::write(&temporary, bytes).and_then(|()| {
        crash::point();
        fs::rename(&temporary, path)
    });
    crash::point();
    written.map_err(|source| {
        // The first failure is the one to report; a leftover temporary file harms nobody.
        let _ = fs::remove_file(&temporary);
        Error::io("a small file cannot be written; check space and permissions of its folder", source)
            .at(path)
    })
}

/// The file's name as text; names that are not UTF-8 are refused.
pub(crate) fn file_name(path: &Path) -> Result<&str> {
    path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Error::new(ErrorKind::BadPath, "the path names no file, or its name is not UTF-8").at(path)
    })
}

/// The folder that holds the file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Opens for reading, and for writing too if asked.
pub(crate) fn open(path: &Path, write: bool) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(write)
        .open(path)
        .map_err(|source| Error::io("a file of the disk cannot be opened", source).at(path))
}

/// Makes a file that must not exist yet, `length` bytes of hole.
pub(crate) fn create_sparse(path: &Path, length: u64) -> Result<File> {
    let made = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let file = made.map_err(|source| Error::io("a file of the disk cannot be made", source).at(path))?;
    crash::point();
    file.set_len(length).map_err(|source| {
        let _ = fs::remove_file(path);
        Error::io("a file cannot be given its size; the file system may not support it", source).at(path)
    })?;
    crash::point();
    Ok(file)
}

/// Removes a file; that it is gone already is fine.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let removed = fs::remove_file(path);
    crash::point();
    match removed {
        Err(source) if source.kind() != IoKind::NotFound => {
            Err(Error::io("a file cannot be removed", source).at(path))
        }
        _ => Ok(()),
    }
}

/// Takes the writer's lock of a data file without waiting. The lock belongs to the open file and dies with it,
/// so a killed process leaves none behind.
pub(crate) fn lock_writer(file: &File, path: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(Error::new(ErrorKind::Locked, "the disk is open for writing elsewhere; close it there first")
                .at(path))
        }
        Err(TryLockError::Error(source)) => Err(Error::io("a file cannot be locked", source).at(path)),
    }
}

/// Holds a folder's structure still: shared while a chain is being resolved, exclusive while descriptors change.
/// Never held while data is copied, so nobody waits long. Not reentrant.
pub(crate) struct FolderLock {
    _folder: File,
}

impl FolderLock {
    pub(crate) fn shared(folder: &Path) -> Result<Self> {
        Self::take(folder, File::lock_shared)
    }

    pub(crate) fn exclusive(folder: &Path) -> Result<Self> {
        Self::take(folder, File::lock)
    }

    fn take(folder: &Path, lock: fn(&File) -> io::Result<()>) -> Result<Self> {
        let opened = open(folder, false)?;
        loop {
            match lock(&opened) {
                Ok(()) => return Ok(Self { _folder: opened }),
                Err(source) if source.kind() == IoKind::Interrupted => {}
                Err(source) => return Err(Error::io("a folder cannot be locked", source).at(folder)),
            }
        }
    }
}

/// Calls `visit` with each run inside `start..end` that the file system holds data for, ascending, until it breaks.
///
/// A file system that cannot tell reports everything as data, which is always safe.
pub(crate) fn data_ranges(
    file: &File,
    start: u64,
    end: u64,
    visit: &mut dyn FnMut(u64, u64) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    let mut at = start;
    while at < end {
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return visit(at, end),
            Err(source) => return Err(seek_failed(source)),
        };
        if data >= end {
            break;
        }
        let hole = rustix::fs::seek(file, SeekFrom::Hole(data)).map_err(seek_failed)?.min(end);
        if hole <= data {
            break;
        }
        if visit(data, hole)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        at = hole;
    }
    Ok(ControlFlow::Continue(()))
}

/// Makes the range read as zeros and gives its space back where the file system can.
pub(crate) fn punch(file: &File, offset: u64, length: u64) -> Result<()> {
    if length == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, length)
    {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
            let zeros = vec![0; COPY_CHUNK.min(usize::try_from(length).unwrap_or(COPY_CHUNK))];
            pieces(offset, length, zeros.len(), |at, count| file.write_all_at(&zeros[..count], at))
                .map_err(|source| Error::io("zeros cannot be written", source))
        }
        Err(source) => Err(Error::io("a hole cannot be punched", source.into())),
    }
}

/// Copies `offset..offset + length` between files at equal offsets, in pieces of at most 1 MiB.
pub(crate) fn copy_range(from: &File, to: &File, offset: u64, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; COPY_CHUNK.min(usize::try_from(length).unwrap_or(COPY_CHUNK))];
    pieces(offset, length, buffer.len(), |at, count| {
        from.read_exact_at(&mut buffer[..count], at)?;
        to.write_all_at(&buffer[..count], at)
    })
}

/// Walks a range in pieces of at most `step` bytes.
fn pieces(
    offset: u64,
    length: u64,
    step: usize,
    mut each: impl FnMut(u64, usize) -> io::Result<()>,
) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let count = usize::try_from(length - done).unwrap_or(usize::MAX).min(step);
        each(offset + done, count)?;
        done += count as u64;
    }
    Ok(())
}

fn seek_failed(source: Errno) -> Error {
    Error::io("the file system cannot say where a file has data", source.into())
}

/// The path of a sibling file in the same folder.
pub(crate) fn sibling(path: &Path, name: &str) -> PathBuf {
    path.with_file_name(name)
}
