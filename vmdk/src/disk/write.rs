//! Changing a disk: only its top link, and only after its content id was renewed.

use std::io;
use std::sync::{MutexGuard, PoisonError};

use super::{Disk, Link};
use crate::SECTOR;
use crate::descriptor::{Cid, Descriptor};
use crate::error::{Error, ErrorKind, Result};
use crate::extent::{Extent, Layout, Place};
use crate::io::WriteAt;
use crate::sparse::Hosted;

/// What is known of a disk that is written to. Its lock is held for each write.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    /// Whether the content id was renewed, and there may be something to flush.
    begun: bool,
}

impl Disk {
    /// Writes all bytes from `offset` on, into the top link. They survive a loss of power after the next [`flush`](Self::flush);
    /// until then either the old or the new bytes are there, sector by sector.
    ///
    /// The first write gives the disk a new content id (CID), so children that it had are refused from then on, and ends its
    /// change tracking: the tracking file knows nothing of what is written here.
    ///
    /// # Errors
    /// `ReadOnly` if the disk was opened for reading, or the extent is; `InvalidInput` behind the end; `TooLarge` when a sparse
    /// file would grow beyond 2 TiB; `Io` from the storage, after which the range may have old, new, or both bytes.
    pub fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<()> {
        self.check_range(offset, bytes.len() as u64)?;
        let (_writing, link) = self.begin()?;
        while !bytes.is_empty() {
            let extent = link.extent_at(offset)?;
            let (piece, rest) = bytes.split_at(bytes.len().min((extent.end() - offset) as usize));
            self.write_extent(extent, piece, offset)?;
            offset += piece.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Makes a range zero: without writing where the disk's format can record it, or where nothing is allocated above zeros.
    ///
    /// # Errors
    /// As [`write_all_at`](Self::write_all_at).
    pub fn write_zeroes(&self, offset: u64, length: u64) -> Result<()> {
        self.check_range(offset, length)?;
        let (_writing, link) = self.begin()?;
        let (mut offset, end) = (offset, offset + length);
        let zeros = vec![0; (64 << 10).min(length) as usize];
        while offset < end {
            let extent = link.extent_at(offset)?;
            let piece = (end.min(extent.end()) - offset).min(zeros.len() as u64);
            match &extent.layout {
                Layout::Zero => offset += piece,
                Layout::Hosted { file, grains } => {
                    let grain = grains.header().grain * SECTOR;
                    let within = offset - extent.start;
                    let whole = within % grain == 0 && (end - offset >= grain || end == extent.end());
                    // One grain at a time, so that a whole one is seen as such.
                    let piece = (grain - within % grain).min(end.min(extent.end()) - offset);
                    let run = extent.locate(&self.backing, within, piece)?;
                    match run.place {
                        Place::Zero => {}
                        Place::Unallocated if self.links.len() == 1 => {}
                        _ if whole && grains.can_zero() => {
                            grains.zero(&self.backing, *file, within / grain)?
                        }
                        _ => {
                            let mut at = offset;
                            while at < offset + piece {
                                let part = (offset + piece - at).min(zeros.len() as u64);
                                self.write_extent(extent, &zeros[..part as usize], at)?;
                                at += part;
                            }
                        }
                    }
                    offset += piece;
                }
                _ => {
                    self.write_extent(extent, &zeros[..piece as usize], offset)?;
                    offset += piece;
                }
            }
        }
        Ok(())
    }

    /// Makes all that was written so far survive a loss of power.
    ///
    /// # Errors
    /// `Io` from the storage. Then nothing of it is certain; flushing may be tried again.
    pub fn flush(&self) -> Result<()> {
        let Some(writing) = self.lock() else { return Ok(()) };
        if writing.begun { self.flush_links() } else { Ok(()) }
    }

    /// Flushes, and takes back the mark in sparse files that says that they are being written to. A disk that is only dropped is
    /// flushed, too, but nobody is told if that fails, and its files keep the mark.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub fn close(self) -> Result<()> {
        let Some(mut writing) = self.lock() else { return Ok(()) };
        if writing.begun {
            self.flush_links()?;
            for extent in self.links.iter().take(1).flat_map(|link| &link.extents) {
                if let Layout::Hosted { file, grains } = &extent.layout
                    && extent.writable
                {
                    grains.mark_clean(&self.backing, *file)?;
                }
            }
        }
        writing.begun = false;
        drop(writing);
        Ok(())
    }

    /// Changes the descriptor of the top link, such as its disk data base. Extents are named by it, not moved: whoever changes
    /// those has to open the disk anew. The content id is what `edit` makes of it, until the first write renews it.
    ///
    /// # Errors
    /// `ReadOnly` if the disk was opened for reading; those of `edit`; `TooLarge` for a text that the file has no room for; `Io`
    /// from the storage. The descriptor is then as it was.
    pub fn edit_descriptor(&mut self, edit: impl FnOnce(&mut Descriptor) -> Result<()>) -> Result<()> {
        let read_only = || Error::new(ErrorKind::ReadOnly, "the disk was opened for reading");
        let begun = self.lock().ok_or_else(read_only)?.begun;
        let link = self.links.first().ok_or_else(read_only)?;
        let mut descriptor = link.descriptor.clone();
        if begun {
            // What the file has since the first change.
            descriptor.set_cid(link.next_cid);
            if descriptor.change_track_path().is_some() || descriptor.version() == 3 {
                descriptor.drop_change_tracking();
            }
        }
        edit(&mut descriptor)?;
        self.store_top_descriptor(&descriptor)?;
        if let Some(link) = self.links.first_mut() {
            // Of what was changed already, the id is the one that stands now.
            link.next_cid = if begun { descriptor.cid() } else { descriptor.cid().random_but() };
            link.descriptor = descriptor;
        }
        Ok(())
    }

    /// Renews the content id now, and says what it has become.
    pub(crate) fn begin_changes(&self) -> Result<Cid> {
        self.begin().map(|(_, link)| link.next_cid)
    }

    fn lock(&self) -> Option<MutexGuard<'_, Writing>> {
        // What a panic left is at worst a write that was not finished, which flush and close can bear.
        self.writing.as_ref().map(|writing| writing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The lock on writing, with the content id renewed.
    fn begin(&self) -> Result<(MutexGuard<'_, Writing>, &Link)> {
        let read_only = || Error::new(ErrorKind::ReadOnly, "the disk was opened for reading");
        let link = self.links.first().ok_or_else(read_only)?;
        let mut writing = self.lock().ok_or_else(|| read_only().in_file(&link.name))?;
        if !writing.begun {
            self.renew_content_id(link).map_err(|error| error.in_file(&link.name))?;
            writing.begun = true;
        }
        Ok((writing, link))
    }

    /// Before the first change, so that no child is ever taken to belong to what its parent has become.
    fn renew_content_id(&self, link: &Link) -> Result<()> {
        let mut descriptor = link.descriptor.clone();
        descriptor.set_cid(link.next_cid);
        if descriptor.change_track_path().is_some() || descriptor.version() == 3 {
            descriptor.drop_change_tracking();
        }
        self.store_descriptor(link, &descriptor)
    }

    /// Writes a link's descriptor where it was read from.
    pub(super) fn store_descriptor(&self, link: &Link, descriptor: &Descriptor) -> Result<()> {
        let mut text = descriptor.to_bytes();
        let Some(embedded) = &link.embedded else {
            return self
                .backing
                .folder()
                .replace(&link.name, &text)
                .map_err(|error| Error::io("its descriptor can't be replaced", error));
        };
        let room = (embedded.range.end - embedded.range.start) as usize;
        // At least one zero ends the text.
        if text.len() >= room {
            return Err(Error::new(
                ErrorKind::TooLarge,
                format!(
                    "a descriptor of {} bytes does not fit the {room} bytes that the file has for it",
                    text.len()
                ),
            ));
        }
        text.resize(room, 0);
        self.backing.write(embedded.file, &text, embedded.range.start)?;
        self.backing.sync(embedded.file)
    }

    /// Writes the descriptor of the top link anew, without changing its content id.
    pub(crate) fn store_top_descriptor(&self, descriptor: &Descriptor) -> Result<()> {
        match self.links.first() {
            Some(link) => self.store_descriptor(link, descriptor).map_err(|error| error.in_file(&link.name)),
            None => Ok(()),
        }
    }

    fn flush_links(&self) -> Result<()> {
        for extent in
            self.links.iter().take(1).flat_map(|link| &link.extents).filter(|extent| extent.writable)
        {
            match &extent.layout {
                Layout::Hosted { file, grains } => grains.flush(&self.backing, *file)?,
                _ => extent.file().map_or(Ok(()), |file| self.backing.sync(file))?,
            }
        }
        Ok(())
    }

    /// Writes bytes that are all in one extent of the top link.
    fn write_extent(&self, extent: &Extent, bytes: &[u8], offset: u64) -> Result<()> {
        let within = offset - extent.start;
        match &extent.layout {
            Layout::Flat { file, offset: start } if extent.writable => {
                self.backing.write(*file, bytes, start + within)
            }
            Layout::Hosted { file, grains } if extent.writable => {
                grains.mark_unclean(&self.backing, *file)?;
                self.write_grains(extent, *file, grains, bytes, within)
            }
            // Whoever copies zeros onto a hole has changed nothing.
            Layout::Zero if is_zero(bytes) => Ok(()),
            _ => Err(Error::new(
                ErrorKind::ReadOnly,
                format!("the extent of byte {offset} can't be written to"),
            )),
        }
    }

    fn write_grains(
        &self,
        extent: &Extent,
        file: usize,
        grains: &Hosted,
        mut bytes: &[u8],
        mut within: u64,
    ) -> Result<()> {
        let grain_bytes = grains.header().grain * SECTOR;
        while !bytes.is_empty() {
            let run = extent.locate(&self.backing, within, bytes.len() as u64)?;
            if let Place::At(position) = run.place {
                let (piece, rest) = bytes.split_at(run.length as usize);
                self.backing.write(file, piece, position)?;
                bytes = rest;
                within += run.length;
                continue;
            }
            let (grain, skip) = (within / grain_bytes, within % grain_bytes);
            let (piece, rest) = bytes.split_at(bytes.len().min((grain_bytes - skip) as usize));
            self.write_new_grain(extent, file, grains, grain, skip as usize, piece, run.place)?;
            bytes = rest;
            within += piece.len() as u64;
        }
        Ok(())
    }

    /// Gives a grain a place: with the new bytes, and around them with what the disk had there.
    #[expect(clippy::too_many_arguments, reason = "all of them say where the one grain is")]
    fn write_new_grain(
        &self,
        extent: &Extent,
        file: usize,
        grains: &Hosted,
        grain: u64,
        skip: usize,
        piece: &[u8],
        before: Place,
    ) -> Result<()> {
        let grain_bytes = (grains.header().grain * SECTOR) as usize;
        let was_zero = before == Place::Zero || (before == Place::Unallocated && self.links.len() == 1);
        if was_zero && is_zero(piece) {
            return Ok(());
        }
        if piece.len() == grain_bytes {
            return grains.allocate(&self.backing, file, grain, piece);
        }
        let mut content = vec![0; grain_bytes];
        let start = grain * grain_bytes as u64;
        if !was_zero {
            let length = (extent.length - start).min(grain_bytes as u64) as usize;
            self.read_from(0, &mut content[..length], extent.start + start)?;
        }
        content[skip..skip + piece.len()].copy_from_slice(piece);
        grains.allocate(&self.backing, file, grain, &content)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // `close` is for those who want to know.
        let _ = self.flush();
    }
}

/// Errors as those of [`ReadAt`](crate::ReadAt) for a disk; its size can't be changed.
impl WriteAt for Disk {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        Ok(Disk::write_all_at(self, bytes, offset)?)
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        match size == self.capacity {
            true => Ok(()),
            false => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "the capacity of a disk can't be changed"))
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        Ok(self.flush()?)
    }
}

/// Whether all bytes are zero; by words, as it is asked of every byte that is copied.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|chunk| chunk.iter().fold(0, |seen, byte| seen | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}
