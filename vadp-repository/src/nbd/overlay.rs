//! What is written to an export that can be written: kept beside the restore point, and gone with the export.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use tokio::sync::OwnedMutexGuard;

use super::blocks::{BLOCK, Blocks, State};
use crate::error::{Error, ErrorKind, Result};
use crate::read::{DiskReader, Extent, Piece};
use crate::repository::blocking;

/// Writers to blocks with the same number modulo this wait for each other.
const LOCKS: u64 = 64;
/// Zeros that are written at a time.
const ZEROS: &[u8] = &[0; 1 << 18];

/// A disk of a restore point with what was written to it since. Clones share it.
///
/// What was written is in a file without a name that has each byte at its place on the disk, so it takes the space of its blocks, and
/// the system takes it back when the process ends, however it does.
#[derive(Clone)]
pub(super) struct Overlay {
    disk: DiskReader,
    written: Arc<Written>,
    locks: Arc<[Arc<tokio::sync::Mutex<()>>]>,
}

struct Written {
    file: File,
    blocks: Mutex<Blocks>,
    /// Set when the file system said that it lost something: then nothing that is read of it can be believed.
    has_failed: AtomicBool,
}

/// What a request does to the file and to the states of blocks.
#[derive(Default)]
struct Change {
    writes: Vec<(u64, Filling)>,
    written: Vec<Range<u64>>,
    zeroed: Range<u64>,
}

enum Filling {
    Bytes(Bytes),
    Zeros(u64),
}

/// While it lives, nobody else changes the blocks of a request.
type Guards = Vec<OwnedMutexGuard<()>>;

impl Overlay {
    pub(super) fn new(disk: DiskReader, folder: &Path) -> Result<Self> {
        let failed = |source| error(&format!("make the overlay in {}", folder.display()), source);
        let file = tempfile::tempfile_in(folder).map_err(failed)?;
        // Also tells whether a file may be so large there.
        file.set_len(disk.capacity()).map_err(failed)?;
        let blocks = Mutex::new(Blocks::new(disk.capacity()));
        let written = Arc::new(Written { file, blocks, has_failed: AtomicBool::new(false) });
        Ok(Self { disk, written, locks: (0..LOCKS).map(|_| Arc::default()).collect() })
    }

    pub(super) fn disk(&self) -> &DiskReader {
        &self.disk
    }

    pub(super) async fn read(&self, bytes: Range<u64>) -> Result<Vec<Piece>> {
        self.written.check()?;
        let mut pieces = Vec::new();
        let mut at = bytes.start;
        while at < bytes.end {
            let (state, to) = self.written.run(at..bytes.end);
            match state {
                State::Base => {
                    let more: Vec<Piece> = self.disk.pieces(at, to - at)?.try_collect().await?;
                    pieces.extend(more);
                }
                State::Zero => pieces.push(Piece::Zero(to - at)),
                State::Written => {
                    let written = Arc::clone(&self.written);
                    pieces.push(Piece::Data(blocking(move || written.read(at..to)).await?));
                }
            }
            at = to;
        }
        Ok(pieces)
    }

    /// The first extent of `within`.
    pub(super) async fn extent(&self, within: Range<u64>) -> Result<Extent> {
        let (state, to) = self.written.run(within.clone());
        match state {
            State::Base => self.disk.extent(within.start..to).await,
            state => Ok(Extent { bytes: within.start..to, is_zero: state == State::Zero }),
        }
    }

    pub(super) async fn write(&self, offset: u64, bytes: Bytes) -> Result<()> {
        let guards = self.lock(offset..offset + bytes.len() as u64).await;
        let mut change = Change::default();
        self.cover(&mut change, offset, Filling::Bytes(bytes)).await?;
        self.apply(change, guards).await
    }

    /// Makes bytes zero; with `may_free`, so that their space is given back.
    pub(super) async fn zero(&self, bytes: Range<u64>, may_free: bool) -> Result<()> {
        let guards = self.lock(bytes.clone()).await;
        let mut change = Change::default();
        let mut edges = [bytes.clone(), 0..0];
        if may_free {
            let whole = self.whole_blocks(&bytes);
            if !whole.is_empty() {
                edges = [bytes.start..whole.start * BLOCK, whole.end.saturating_mul(BLOCK)..bytes.end];
            }
            change.zeroed = whole;
        }
        for edge in edges.into_iter().filter(|edge| !edge.is_empty()) {
            let (state, to) = self.written.run(edge.clone());
            if may_free && state == State::Zero && to == edge.end {
                continue;
            }
            self.cover(&mut change, edge.start, Filling::Zeros(edge.end - edge.start)).await?;
        }
        self.apply(change, guards).await
    }

    /// Gives back the space of whole blocks, which are zero from now on.
    pub(super) async fn trim(&self, bytes: Range<u64>) -> Result<()> {
        let guards = self.lock(bytes.clone()).await;
        let change = Change { zeroed: self.whole_blocks(&bytes), ..Change::default() };
        self.apply(change, guards).await
    }

    /// Nothing of the overlay is there after a power failure; but on NFS and the like only a flush says that what was written is lost.
    pub(super) async fn flush(&self) -> Result<()> {
        let written = Arc::clone(&self.written);
        blocking(move || {
            written.check()?;
            written.file.sync_data().map_err(|source| {
                written.has_failed.store(true, Ordering::Relaxed);
                error("flush the overlay", source)
            })
        })
        .await
    }

    /// Blocks of which no byte is left out.
    fn whole_blocks(&self, bytes: &Range<u64>) -> Range<u64> {
        let first = bytes.start.div_ceil(BLOCK);
        // The last block of the disk may be shorter.
        let is_end = bytes.end == self.disk.capacity();
        let end = if is_end { bytes.end.div_ceil(BLOCK) } else { bytes.end / BLOCK };
        first..end.max(first)
    }

    /// Adds what it takes to have `filling` at `at`: blocks that are not in the file yet go there as a whole.
    async fn cover(&self, change: &mut Change, at: u64, filling: Filling) -> Result<()> {
        let end = at + filling.len();
        let blocks = at / BLOCK..end.div_ceil(BLOCK);
        let before = blocks.start * BLOCK..at;
        let after = end..blocks.end.saturating_mul(BLOCK).min(self.disk.capacity());
        self.carry_over(change, before).await?;
        change.writes.push((at, filling));
        self.carry_over(change, after).await?;
        change.written.push(blocks);
        Ok(())
    }

    /// Adds the rest of a block as it is now, unless the file has it.
    async fn carry_over(&self, change: &mut Change, rest: Range<u64>) -> Result<()> {
        if rest.is_empty() || self.written.run(rest.clone()).0 == State::Written {
            return Ok(());
        }
        let mut bytes = BytesMut::with_capacity((rest.end - rest.start) as usize);
        for piece in self.read(rest.clone()).await? {
            match piece {
                Piece::Zero(length) => bytes.resize(bytes.len() + length as usize, 0),
                Piece::Data(data) => bytes.extend_from_slice(&data),
            }
        }
        change.writes.push((rest.start, Filling::Bytes(bytes.freeze())));
        Ok(())
    }

    /// Carries a change out. It takes the guards along, so that it keeps others away even when nobody waits for it any more.
    async fn apply(&self, change: Change, guards: Guards) -> Result<()> {
        let written = Arc::clone(&self.written);
        blocking(move || {
            let _guards = guards;
            written.check()?;
            written.apply(&change)
        })
        .await
    }

    async fn lock(&self, bytes: Range<u64>) -> Guards {
        let (first, end) = (bytes.start / BLOCK, bytes.end.div_ceil(BLOCK));
        let mut numbers: Vec<u64> = (first..end.min(first + LOCKS)).map(|block| block % LOCKS).collect();
        // In one order, so that nobody waits in a circle.
        numbers.sort_unstable();
        let mut guards = Vec::new();
        for lock in numbers.into_iter().filter_map(|number| self.locks.get(number as usize)) {
            guards.push(Arc::clone(lock).lock_owned().await);
        }
        guards
    }
}

impl Written {
    fn blocks(&self) -> MutexGuard<'_, Blocks> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of the first bytes of `bytes`, and how far it goes.
    fn run(&self, bytes: Range<u64>) -> (State, u64) {
        let (state, block) = self.blocks().run(bytes.start / BLOCK..bytes.end.div_ceil(BLOCK));
        (state, block.saturating_mul(BLOCK).min(bytes.end))
    }

    fn check(&self) -> Result<()> {
        match self.has_failed.load(Ordering::Relaxed) {
            true => Err(Error::new(
                ErrorKind::Store,
                "the overlay has lost what was written to it: begin anew, on a file system without errors",
            )),
            false => Ok(()),
        }
    }

    fn read(&self, bytes: Range<u64>) -> Result<Bytes> {
        let mut buffer = BytesMut::zeroed((bytes.end - bytes.start) as usize);
        read_exact_at(&self.file, &mut buffer, bytes.start)
            .map_err(|source| error("read the overlay", source))?;
        Ok(buffer.freeze())
    }

    /// When a write fails, blocks that were not in the file before are as they were.
    fn apply(&self, change: &Change) -> Result<()> {
        for (at, filling) in &change.writes {
            let done = match filling {
                Filling::Bytes(bytes) => write_all_at(&self.file, bytes, *at),
                Filling::Zeros(length) => write_zeros(&self.file, *at, *length),
            };
            done.map_err(|source| error("write to the overlay", source))?;
        }
        let mut blocks = self.blocks();
        for written in &change.written {
            blocks.set(written.clone(), State::Written);
        }
        blocks.set(change.zeroed.clone(), State::Zero);
        drop(blocks);
        punch(&self.file, change.zeroed.start * BLOCK..change.zeroed.end.saturating_mul(BLOCK));
        Ok(())
    }
}

impl Filling {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Zeros(length) => *length,
        }
    }
}

fn error(what: &str, source: io::Error) -> Error {
    let (kind, advice) = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Full, "no space is left in its folder")
        }
        io::ErrorKind::FileTooLarge => {
            (ErrorKind::Full, "files cannot be so large there: choose another folder")
        }
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "the folder has to exist"),
        io::ErrorKind::PermissionDenied => (ErrorKind::Denied, "check the permissions of the folder"),
        _ => (ErrorKind::Store, "check the health of the file system"),
    };
    Error::new(kind, format!("cannot {what}: {advice}")).with_source(source)
}

fn write_zeros(file: &File, at: u64, length: u64) -> io::Result<()> {
    let mut done = 0;
    while done < length {
        let piece = ZEROS.get(..(length - done) as usize).unwrap_or(ZEROS);
        write_all_at(file, piece, at + done)?;
        done += piece.len() as u64;
    }
    Ok(())
}

#[cfg(unix)]
use std::os::unix::fs::FileExt;

#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
    file.read_exact_at(buffer, at)
}

#[cfg(unix)]
fn write_all_at(file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
    file.write_all_at(bytes, at)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut at: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !buffer.is_empty() {
        let read = file.seek_read(buffer, at)?;
        let (_, rest) = buffer.split_at_mut_checked(read.max(1)).ok_or(io::ErrorKind::UnexpectedEof)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (buffer, at) = (rest, at + read as u64);
    }
    Ok(())
}

#[cfg(windows)]
fn write_all_at(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        let written = file.seek_write(bytes, at)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        (bytes, at) = (bytes.get(written..).unwrap_or_default(), at + written as u64);
    }
    Ok(())
}

/// Gives the space back where the file system can. Blocks that are zero are not read from the file, so nothing depends on it.
fn punch(file: &File, bytes: Range<u64>) {
    #[cfg(target_os = "linux")]
    if !bytes.is_empty() {
        use rustix::fs::{FallocateFlags, fallocate};
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = fallocate(file, flags, bytes.start, bytes.end - bytes.start);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, bytes);
}
