//! Writing what a child has into its parent.

use std::sync::Arc;

use crate::disk::{Disk, OpenOptions, State};
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::name::{Reference, resolve};

/// Bytes that are moved at once.
const PIECE: u64 = 1 << 20;

/// Writes what the child has into its parent, which then reads as the child does. Returns the bytes that were written.
///
/// The parent gets a new content id, so other children that it has are refused from then on: their data would no longer fit. The
/// child is left, and names the new id, so until it is removed the chain can still be read; also after a failure half-way, when
/// committing may be tried again. Nobody else may use the disks meanwhile.
///
/// # Errors
/// `InvalidInput` if the disk has no parent, and those of opening both for writing: a parent that is a snapshot of ESXi or a stream
/// is `ReadOnly`.
pub fn commit(folder: &Arc<dyn Folder>, child: &str) -> Result<u64> {
    let opened = OpenOptions::new().writable(true).open(folder, child)?;
    let [top, below, ..] = opened.links() else {
        return Err(Error::invalid("it has no parent to be committed into").in_file(child));
    };
    let parent = OpenOptions::new().writable(true).open(folder, below.name())?;
    let new_cid = parent.begin_changes()?;
    let mut descriptor = top.descriptor().clone();
    let hint = descriptor.parent_hint().unwrap_or_default().to_owned();
    let hint = match resolve(child, &hint)? {
        Reference::Inside(name) if name == below.name() => hint,
        // It was found beside the child, and not where the hint says.
        _ => below.name().rsplit('/').next().unwrap_or_default().to_owned(),
    };
    descriptor.set_parent(Some((new_cid, &hint)))?;
    opened.store_top_descriptor(&descriptor)?;
    let written = copy_own(&opened, &parent)?;
    parent.close()?;
    Ok(written)
}

/// Copies what the top link itself has.
fn copy_own(child: &Disk, parent: &Disk) -> Result<u64> {
    let mut written = 0;
    let mut buffer = vec![0; PIECE as usize];
    for span in child.map(0..child.capacity()) {
        let span = span?;
        if span.link != Some(0) {
            continue;
        }
        if span.state == State::Zero {
            parent.write_zeroes(span.offset, span.length)?;
            continue;
        }
        let mut offset = span.offset;
        while offset < span.offset + span.length {
            let length = (span.offset + span.length - offset).min(PIECE) as usize;
            child.read_exact_at(&mut buffer[..length], offset)?;
            parent.write_all_at(&buffer[..length], offset)?;
            offset += length as u64;
            written += length as u64;
        }
    }
    Ok(written)
}
