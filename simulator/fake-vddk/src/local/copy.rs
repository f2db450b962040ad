//! Copying whole disks, and how much room that takes.

use std::fs::OpenOptions;
use std::io::{BufWriter, Write};
use std::path::Path;

use vmdk::{SECTOR, StreamOptions, StreamWriter};

use super::disk::LocalDisk;
use super::files::{remove, unlink_file};
use super::lock::Lock;
use super::manage::{
    MONOLITHIC_FLAT, SPLIT_FLAT, STREAM_OPTIMIZED, Spec, VMFS_FLAT, adapter_of, make, type_of,
};
use super::{Progress, name_of, told, told_io};
use crate::code::{Answer, Code};
use crate::connection::{Connection, Target};
use crate::content::Content;
use crate::disk::OpenDisk;
use crate::ffi::log;
use crate::open;

/// Bytes that are looked at for zeros at once: a grain of every format.
const GRAIN: u64 = 64 << 10;
const UNKNOWN: u32 = 256;

/// Copies a disk, of this machine or a server, to this machine or onto a disk of a server.
pub(crate) fn clone(
    to: &Connection,
    to_path: &str,
    from: &Connection,
    from_path: &str,
    spec: &Spec,
    overwrite: bool,
    progress: Progress<'_>,
) -> Answer<()> {
    to.faults.suffer("Clone", to_path)?.settle()?;
    if to.read_only {
        return Err(Code::FILE_READ_ONLY);
    }
    for end in [from, to] {
        if let Target::Remote(remote) = &end.target {
            remote.transport(None)?;
        }
    }
    let source = open::content(from, from_path, true, false)?;
    match &to.target {
        Target::Remote(_) => {
            if !overwrite {
                log::warn(
                    "a disk on a server is there already: the vSphere API makes it, and Clone fills it",
                );
                return Err(Code::FILE_ALREADY_EXISTS);
            }
            let target = open::content(to, to_path, false, false)?;
            if target.capacity() != source.capacity() {
                return Err(Code::CAPACITY_MISMATCH);
            }
            // What it had before must not shine through.
            copy(&source, true, progress, |offset, bytes| target.write_at(offset, bytes))?;
            target.flush()
        }
        Target::Local => {
            name_of(to_path)?;
            make_room(to_path, from_path, &source, overwrite)?;
            let _lock = Lock::take(to_path)?;
            let spec = Spec { sectors: source.capacity() / SECTOR, ..*spec };
            fill_new(to_path, &source, &spec, progress).inspect_err(|_| remove(to_path))
        }
    }
}

/// Bytes that a clone of this type takes: of flat ones all, of others what is in use and the tables.
pub(crate) fn space_needed(disk: &OpenDisk, disk_type: u32) -> Answer<u64> {
    disk.faults().suffer("SpaceNeededForClone", &disk.path)?.settle()?;
    let disk_type = match (disk_type, &disk.content) {
        (UNKNOWN, Content::File(file)) => type_of(file)?,
        (UNKNOWN, Content::Store(_)) => VMFS_FLAT,
        (known @ 1..=8, _) => known,
        _ => return Err(Code::INVALID_ARG),
    };
    let capacity = disk.content.capacity();
    if matches!(disk_type, MONOLITHIC_FLAT | SPLIT_FLAT | VMFS_FLAT) {
        return Ok(capacity);
    }
    let mut used = 0;
    let mut end = 0;
    for (offset, length) in disk.content.allocated(0, capacity)? {
        let (from, to) = ((offset / GRAIN).max(end), (offset + length).div_ceil(GRAIN));
        used += to.saturating_sub(from) * GRAIN;
        end = end.max(to);
    }
    // Two tables of four bytes for each grain, and a header with the descriptor.
    Ok(used + capacity.div_ceil(GRAIN) * 8 + 2 * GRAIN)
}

/// Reads the disk and hands on what is not zero, in order, by grains; with `zeros` everything.
pub(super) fn copy(
    source: &Content,
    zeros: bool,
    progress: Progress<'_>,
    mut put: impl FnMut(u64, &[u8]) -> Answer<()>,
) -> Answer<()> {
    let capacity = source.capacity();
    let runs = if zeros { vec![(0, capacity)] } else { source.allocated(0, capacity)? };
    let mut buffer = vec![0; GRAIN as usize];
    let (mut at, mut told) = (0, 0);
    progress(0);
    for (offset, length) in runs {
        let end = offset + length;
        at = at.max(offset / GRAIN * GRAIN);
        while at < end {
            let size = GRAIN.min(capacity - at);
            let bytes = buffer.get_mut(..size as usize).ok_or(Code::FAIL)?;
            source.read_at(at, bytes)?;
            if zeros || bytes.iter().any(|byte| *byte != 0) {
                put(at, bytes)?;
            }
            at += size;
            let percent = (u128::from(at) * 100 / u128::from(capacity.max(1))) as i32;
            if percent > told && percent < 100 {
                told = percent;
                progress(percent);
            }
        }
    }
    progress(100);
    Ok(())
}

fn make_room(to_path: &str, from_path: &str, source: &Content, overwrite: bool) -> Answer<()> {
    if std::fs::symlink_metadata(to_path).is_err() {
        return Ok(());
    }
    if !overwrite {
        log::warn(&format!("{to_path} exists"));
        return Err(Code::FILE_ALREADY_EXISTS);
    }
    let same =
        |a: &Path, b: &Path| a.canonicalize().ok().is_some_and(|a| b.canonicalize().is_ok_and(|b| a == b));
    if matches!(source, Content::File(_)) && same(Path::new(to_path), Path::new(from_path)) {
        log::warn("a disk cannot be cloned over itself");
        return Err(Code::INVALID_ARG);
    }
    let _lock = Lock::take(to_path)?;
    unlink_file(to_path)
}

fn fill_new(path: &str, source: &Content, spec: &Spec, progress: Progress<'_>) -> Answer<()> {
    if spec.disk_type == STREAM_OPTIMIZED {
        return fill_stream(path, source, spec, progress);
    }
    let disk = make(path, spec)?;
    copy(source, false, progress, |offset, bytes| told(path, disk.write_all_at(bytes, offset)))?;
    told(path, disk.close())
}

fn fill_stream(path: &str, source: &Content, spec: &Spec, progress: Progress<'_>) -> Answer<()> {
    let file = told_io(path, OpenOptions::new().write(true).create_new(true).open(path))?;
    let name = Path::new(path).file_name().and_then(|name| name.to_str()).ok_or(Code::FILE_NAME_INVALID)?;
    let options = StreamOptions::new(source.capacity()).adapter(adapter_of(spec.adapter)?).threads(1);
    let mut stream = told(path, StreamWriter::new(BufWriter::new(file), name, options))?;
    copy(source, false, progress, |offset, bytes| told(path, stream.write_grain(offset, bytes)))?;
    let (mut output, _) = told(path, stream.finish())?;
    told_io(path, output.flush())
}

/// Opens a disk of this machine to be copied.
pub(super) fn source(path: &str) -> Answer<Content> {
    Ok(Content::File(LocalDisk::open(path, false, false)?))
}
