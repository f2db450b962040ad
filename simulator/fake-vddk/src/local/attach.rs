//! Putting one open chain on top of another.

use std::path::Path;

use super::disk::LocalDisk;
use crate::code::{Answer, Code};
use crate::content::Content;
use crate::disk::OpenDisk;
use crate::ffi::log;

/// Whether the child, which must be open as a single link, can go on top of the parent.
pub(crate) fn check_attach(parent: &OpenDisk, child: &OpenDisk) -> Answer<()> {
    child.faults().suffer("IsAttachPossible", &child.path)?.settle()?;
    possible(parent, child).map(drop)
}

/// Makes the child stand for the whole chain. What its descriptor says of its parent is corrected when it is open for writing.
pub(crate) fn attach(parent: &OpenDisk, child: &OpenDisk) -> Answer<()> {
    child.faults().suffer("Attach", &child.path)?.settle()?;
    let (lower, upper) = possible(parent, child)?;
    if upper.is_writable() {
        let cid = lower.with(|disk| Ok(disk.links().first().ok_or(Code::FAIL)?.descriptor().cid()))?;
        let hint = hint(&upper.path, &lower.path);
        upper.edit(|descriptor| descriptor.set_parent(Some((cid, &hint))))?;
    }
    upper.reopen_after(false, || Ok(()))
}

fn possible<'a>(parent: &'a OpenDisk, child: &'a OpenDisk) -> Answer<(&'a LocalDisk, &'a LocalDisk)> {
    let (Content::File(lower), Content::File(upper)) = (&parent.content, &child.content) else {
        return Err(Code::NOT_SUPPORTED_ON_REMOTE_OBJECT);
    };
    if std::ptr::eq(lower, upper) {
        return Err(Code::INVALID_ARG);
    }
    let parent_cid =
        upper.with(|disk| Ok(disk.links().first().ok_or(Code::FAIL)?.descriptor().parent_cid()))?;
    let Some(parent_cid) = parent_cid.filter(|_| upper.is_alone()) else {
        log::warn("the child is the root of a chain, or open with its parents");
        return Err(Code::ATTACH_ROOT_LINK);
    };
    if lower.capacity() != upper.capacity() {
        return Err(Code::CAPACITY_MISMATCH);
    }
    let cid = lower.with(|disk| Ok(disk.links().first().ok_or(Code::FAIL)?.descriptor().cid()))?;
    if cid != parent_cid && !upper.is_writable() {
        log::warn("the child wants another content of its parent, and is open for reading");
        return Err(Code::CID_MISMATCH);
    }
    Ok((lower, upper))
}

/// How the child names its parent: by its name where they are in one folder.
fn hint(child: &str, parent: &str) -> String {
    let (child, path) = (Path::new(child), Path::new(parent));
    match path.file_name().and_then(|name| name.to_str()) {
        Some(name) if child.parent() == path.parent() => name.to_owned(),
        _ => parent.to_owned(),
    }
}
