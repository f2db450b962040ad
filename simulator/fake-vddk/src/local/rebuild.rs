//! Writing a sparse disk anew: shrinking, defragmenting, growing.

use std::path::Path;

use vmdk::{AdapterType, Create, CreateType, Geometry, SECTOR, Variant};

use super::disk::{LocalDisk, options};
use super::files::{move_files, remove, stem, unlink_file};
use super::{Progress, copy, name_of, root, told};
use crate::code::{Answer, Code};
use crate::content::Content;
use crate::disk::OpenDisk;
use crate::ffi::log;

/// Gives zeroed grains back. Only for the base of a chain.
pub(crate) fn shrink(disk: &OpenDisk, progress: Progress<'_>) -> Answer<()> {
    let file = changeable(disk, "Shrink")?;
    if file.with(|open| Ok(has_parent(open)))? {
        log::warn("only the base of a chain can shrink");
        return Err(Code::CANNOT_SHRINK);
    }
    file.reopen_after(file.is_alone(), || rebuild(&file.path, None, false, progress))
}

/// Puts grains in order. Flat disks are in order; a child's are left as they are.
pub(crate) fn defragment(disk: &OpenDisk, progress: Progress<'_>) -> Answer<()> {
    let file = changeable(disk, "Defragment")?;
    let (parent, sparse) = file.with(|open| Ok((has_parent(open), form(open).is_some())))?;
    if parent {
        log::warn("a child cannot be defragmented here");
        return Err(Code::TYPE_NOT_SUPPORTED);
    }
    if !sparse {
        progress(100);
        return Ok(());
    }
    file.reopen_after(file.is_alone(), || rebuild(&file.path, None, false, progress))
}

/// Writes the disk to new files and puts them in the place of the old ones. With a capacity it grows; otherwise its content stays
/// the same, and with it the content id that children know.
pub(super) fn rebuild(
    path: &str,
    capacity: Option<u64>,
    update_geometry: bool,
    progress: Progress<'_>,
) -> Answer<()> {
    let before = told(path, options(false, true).open(&root()?, &name_of(path)?))?;
    let old = before.links().first().ok_or(Code::FAIL)?.descriptor().clone();
    let Some(variant) = form(&before) else {
        log::warn("this type of disk is never written anew");
        return Err(Code::TYPE_NOT_SUPPORTED);
    };
    let size = capacity.unwrap_or(before.capacity());
    drop(before);
    let temporary = Path::new(path).with_file_name(format!("{}~new.vmdk", stem(path)?));
    let temporary = temporary.to_str().ok_or(Code::FILE_NAME_INVALID)?;
    let adapter = old.adapter().unwrap_or(AdapterType::LsiLogic);
    let create = Create::new(variant, size).adapter(adapter);
    let mut disk = told(path, create.create(&root()?, &name_of(temporary)?))?;
    let filled = copy::copy(&copy::source(path)?, false, progress, |offset, bytes| {
        told(path, disk.write_all_at(bytes, offset))
    });
    let finished = filled.and_then(|()| {
        told(
            path,
            disk.edit_descriptor(|descriptor| {
                for key in old.ddb_keys().filter(|key| !key.eq_ignore_ascii_case("encoding")) {
                    descriptor.set_ddb(key, old.ddb(key).unwrap_or_default())?;
                }
                if update_geometry {
                    descriptor.set_geometry(Geometry::of(size / SECTOR, adapter));
                }
                descriptor.set_cid(old.cid());
                Ok(())
            }),
        )
    });
    let closed = finished.and_then(|()| told(path, disk.close()));
    if let Err(code) = closed {
        remove(temporary);
        return Err(code);
    }
    unlink_file(path)?;
    move_files(temporary, path, &name_of(path)?)
}

fn changeable<'a>(disk: &'a OpenDisk, function: &str) -> Answer<&'a LocalDisk> {
    disk.faults().suffer(function, &disk.path)?.settle()?;
    let Content::File(file) = &disk.content else { return Err(Code::NOT_SUPPORTED_ON_REMOTE_OBJECT) };
    if file.is_writable() { Ok(file) } else { Err(Code::FILE_READ_ONLY) }
}

fn has_parent(disk: &vmdk::Disk) -> bool {
    disk.links().first().is_some_and(|link| link.descriptor().parent_cid().is_some())
}

/// The form of a disk that can be written anew.
fn form(disk: &vmdk::Disk) -> Option<Variant> {
    match disk.links().first()?.descriptor().create_type() {
        CreateType::MonolithicSparse => Some(Variant::MonolithicSparse),
        CreateType::TwoGbMaxExtentSparse => Some(Variant::SplitSparse),
        CreateType::TwoGbMaxExtentFlat => Some(Variant::SplitFlat),
        _ => None,
    }
}
