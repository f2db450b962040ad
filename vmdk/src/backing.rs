//! The files below a disk and all of its parents, with a bound on open handles and on cached tables.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::folder::Folder;
use crate::io::{ReadAt, WriteAt};
use crate::slots::Slots;

/// Bytes of tables that are read and kept at once.
const BLOCK: u64 = 16 << 10;
/// A disk of 62 TB in parts of 2 GB has 31,000 files, and a process rarely more than 1,024 handles.
const HANDLES: usize = 256;

/// A file, by its place in the list.
pub(crate) type FileId = usize;

pub(crate) struct Backing {
    folder: Arc<dyn Folder>,
    files: Vec<BackingFile>,
    ids: HashMap<String, FileId>,
    handles: Slots<Handle>,
    tables: Slots<Arc<[u8]>>,
    /// Inflated grains of streams, which small reads come back to.
    pub(crate) grains: Slots<Arc<[u8]>>,
}

struct BackingFile {
    name: String,
    writable: bool,
    size: AtomicU64,
    /// Whether something was written since the last sync.
    dirty: AtomicBool,
}

#[derive(Clone)]
enum Handle {
    Read(Arc<dyn ReadAt>),
    Write(Arc<dyn WriteAt>),
}

impl Backing {
    /// `table_memory` bytes are spent on tables at most, and as many on inflated grains of 64 KiB.
    pub(crate) fn new(folder: Arc<dyn Folder>, table_memory: usize) -> Self {
        Self {
            folder,
            files: Vec::new(),
            ids: HashMap::new(),
            handles: Slots::new(HANDLES),
            tables: Slots::new(table_memory / BLOCK as usize),
            grains: Slots::new(table_memory / (64 << 10)),
        }
    }

    pub(crate) fn folder(&self) -> &Arc<dyn Folder> {
        &self.folder
    }

    /// Opens a file, once for all who name it. What one opened for reading stays so.
    pub(crate) fn open(&mut self, name: &str, writable: bool) -> Result<FileId> {
        if let Some(&id) = self.ids.get(name) {
            return match self.files.get(id) {
                Some(file) if file.writable || !writable => Ok(id),
                _ => Err(Error::malformed("the file is part of the disk and of its parent").in_file(name)),
            };
        }
        let handle = self.open_handle(name, writable)?;
        let size =
            handle.read().size().map_err(|error| Error::io("its size can't be had", error).in_file(name))?;
        let id = self.files.len();
        self.files.push(BackingFile {
            name: name.to_owned(),
            writable,
            size: AtomicU64::new(size),
            dirty: AtomicBool::new(false),
        });
        self.ids.insert(name.to_owned(), id);
        self.handles.put(id as u64, handle);
        Ok(id)
    }

    pub(crate) fn name(&self, id: FileId) -> &str {
        self.files.get(id).map_or("", |file| &file.name)
    }

    pub(crate) fn size(&self, id: FileId) -> u64 {
        self.files.get(id).map_or(0, |file| file.size.load(Ordering::Acquire))
    }

    pub(crate) fn read(&self, id: FileId, buffer: &mut [u8], offset: u64) -> Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        let size = self.size(id);
        if end > size {
            return Err(Error::malformed(format!(
                "it ends at byte {size}, and the disk needs bytes {offset} to {end} of it: the file was cut"
            ))
            .in_file(self.name(id)));
        }
        let handle = self.handle(id)?;
        handle.read().read_exact_at(buffer, offset).map_err(|error| self.io(id, "reading", offset, error))
    }

    /// The handle for reading, for those who read by themselves.
    pub(crate) fn reader(&self, id: FileId) -> Result<Arc<dyn ReadAt>> {
        Ok(match self.handle(id)? {
            Handle::Read(file) => file,
            Handle::Write(file) => Arc::new(file),
        })
    }

    pub(crate) fn write(&self, id: FileId, bytes: &[u8], offset: u64) -> Result<()> {
        let (Some(file), Handle::Write(handle)) = (self.files.get(id), self.handle(id)?) else {
            return Err(Error::new(ErrorKind::ReadOnly, "it was opened for reading").in_file(self.name(id)));
        };
        file.dirty.store(true, Ordering::Release);
        let end = offset.saturating_add(bytes.len() as u64);
        let result = handle.write_all_at(bytes, offset);
        // Also after a failure: what stands in the file then is not known.
        for block in offset / BLOCK..=end.saturating_sub(1).max(offset) / BLOCK {
            self.tables.forget(table_key(id, block));
        }
        result.map_err(|error| self.io(id, "writing", offset, error))?;
        file.size.fetch_max(end, Ordering::AcqRel);
        Ok(())
    }

    /// Makes what was written to the file survive a loss of power.
    pub(crate) fn sync(&self, id: FileId) -> Result<()> {
        let Some(file) = self.files.get(id) else { return Ok(()) };
        if !file.dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        // The handle may be another one than wrote, and have to be opened again: what it syncs is the file.
        let synced = self.handle(id).and_then(|handle| match handle {
            Handle::Write(handle) => {
                handle.sync().map_err(|error| Error::io("syncing it", error).in_file(&file.name))
            }
            Handle::Read(_) => Ok(()),
        });
        if synced.is_err() {
            file.dirty.store(true, Ordering::Release);
        }
        synced
    }

    /// Reads entries of tables of one file.
    pub(crate) fn lookup(&self, id: FileId) -> Lookup<'_> {
        Lookup { backing: self, id, last: None }
    }

    fn block(&self, id: FileId, block: u64) -> Result<Arc<[u8]>> {
        self.tables.get_or_load(table_key(id, block), || {
            let start = block.saturating_mul(BLOCK);
            let length = self.size(id).saturating_sub(start).min(BLOCK);
            let mut bytes = vec![0; length as usize];
            self.read(id, &mut bytes, start)?;
            Ok(bytes.into())
        })
    }

    fn handle(&self, id: FileId) -> Result<Handle> {
        self.handles.get_or_load(id as u64, || match self.files.get(id) {
            Some(file) => self.open_handle(&file.name, file.writable),
            None => Err(Error::invalid("no such file of the disk")),
        })
    }

    fn open_handle(&self, name: &str, writable: bool) -> Result<Handle> {
        let opened = if writable {
            self.folder.open_writable(name).map(Handle::Write)
        } else {
            self.folder.open(name).map(Handle::Read)
        };
        opened.map_err(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => {
                Error::io("it can't be opened: no permission, or not in the folder of the disk", error)
                    .in_file(name)
            }
            _ => Error::io("it can't be opened", error).in_file(name),
        })
    }

    fn io(&self, id: FileId, doing: &str, offset: u64, error: std::io::Error) -> Error {
        Error::io(format!("{doing} at byte {offset} failed"), error).in_file(self.name(id))
    }
}

impl Handle {
    fn read(&self) -> &dyn ReadAt {
        match self {
            Self::Read(file) => file,
            Self::Write(file) => file,
        }
    }
}

fn table_key(id: FileId, block: u64) -> u64 {
    // Odd, and far apart: the tables of the links of a chain stand at the same places of their files.
    block.wrapping_add((id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// Entries of tables, read block by block; the last block is kept at hand.
pub(crate) struct Lookup<'a> {
    backing: &'a Backing,
    id: FileId,
    last: Option<(u64, Arc<[u8]>)>,
}

impl Lookup<'_> {
    pub(crate) fn u32_at(&mut self, position: u64) -> Result<u32> {
        self.bytes(position).map(u32::from_le_bytes)
    }

    pub(crate) fn u64_at(&mut self, position: u64) -> Result<u64> {
        self.bytes(position).map(u64::from_le_bytes)
    }

    pub(crate) fn file_size(&self) -> u64 {
        self.backing.size(self.id)
    }

    pub(crate) fn name(&self) -> &str {
        self.backing.name(self.id)
    }

    /// Entries are aligned to their size, so none crosses from one block to the next.
    fn bytes<const N: usize>(&mut self, position: u64) -> Result<[u8; N]> {
        let block = position / BLOCK;
        if self.last.as_ref().is_none_or(|(number, _)| *number != block) {
            self.last = Some((block, self.backing.block(self.id, block)?));
        }
        let start = (position % BLOCK) as usize;
        let found = self.last.as_ref().and_then(|(_, bytes)| bytes.get(start..start + N)?.try_into().ok());
        found.ok_or_else(|| {
            Error::malformed(format!("a table at byte {position} lies behind its end: the file was cut"))
                .in_file(self.backing.name(self.id))
        })
    }
}
