//! The index in a file of this machine. See docs/repository-format.md, "Index cache".

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use zeroize::Zeroizing;

use super::IndexedPack;
use super::merge::Rows;
use super::sealed::{BLOCKS_AT, SealedTable, altered, cannot_read, cannot_write, read_exact_at};
use super::table::Fence;
use crate::crypto::{Keyring, NonceAt, SealKey, TAG_BYTES, random};
use crate::error::Result;
use crate::format::bytes::{ByteReader, ByteWriter};
use crate::format::header::ObjectHeader;
use crate::format::pack::content_of;
use crate::ids::{IndexId, PackId, RepositoryId};

const MAGIC: &[u8; 8] = b"VADPCACH";
const END: &[u8; 8] = b"VADPCEND";
const VERSION: u16 = 1;
const FOOTER_BYTES: u64 = 16;
/// Bytes of a pack in the summary.
const PACK_BYTES: usize = 16 + ObjectHeader::BYTES + 8;
/// A file that somebody is writing is not older than this.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// Where the index of one repository is kept on this machine.
pub(crate) struct IndexCache {
    folder: PathBuf,
    repository: RepositoryId,
    secret: Zeroizing<[u8; 32]>,
    /// Entries up to which an index stays in memory.
    pub(super) small: usize,
    /// New entries above which they go into a file.
    pub(super) most_in_memory: usize,
}

/// What was in a cache file.
pub(super) struct Cached {
    pub(super) objects: HashSet<IndexId>,
    pub(super) packs: Vec<IndexedPack>,
    pub(super) table: SealedTable,
}

impl IndexCache {
    pub(crate) fn new(folder: &Path, small: usize, repository: RepositoryId, keyring: &Keyring) -> Self {
        let (folder, secret) = (folder.to_owned(), keyring.cache_secret());
        Self { folder, repository, secret, small, most_in_memory: small.saturating_mul(32) }
    }

    /// What the file holds; `None` when there is none that can be used.
    pub(super) fn load(&self) -> Option<Cached> {
        let file = File::open(self.path()).ok()?;
        self.read(file)
            .inspect_err(|error| tracing::info!(%error, "the index cache is of no use and is built anew"))
            .ok()
    }

    /// Writes sorted rows, and what goes with them, as the file that the next ones find; gives them as a table.
    pub(super) fn store(
        &self,
        objects: &HashSet<IndexId>,
        packs: &[IndexedPack],
        rows: Rows<'_>,
        most: usize,
    ) -> Result<SealedTable> {
        self.sweep();
        let (path, file) = self.new_file()?;
        let stored = self.write(file, rows, most).and_then(|table| {
            self.write_sections(&table, objects, packs)?;
            // Those that have the old file open go on to read it.
            std::fs::rename(&path, self.path()).map_err(cannot_write)?;
            Ok(table)
        });
        if stored.is_err() {
            let _ = std::fs::remove_file(&path);
        }
        stored
    }

    /// Writes sorted rows into a file that has no name, and is gone with this process.
    pub(super) fn spill(&self, rows: Rows<'_>, most: usize) -> Result<SealedTable> {
        let (path, file) = self.new_file()?;
        let table = self.write(file, rows, most);
        // Where open files cannot be removed, the sweep does it.
        let _ = std::fs::remove_file(&path);
        table
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.index", self.repository))
    }

    fn new_file(&self) -> Result<(PathBuf, File)> {
        std::fs::create_dir_all(&self.folder).map_err(cannot_write)?;
        let path = self.folder.join(format!("{}.{}.tmp", self.repository, IndexId::from_bytes(random()?)));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(cannot_write)?;
        Ok((path, file))
    }

    /// Removes what processes that died have left of files they were writing.
    fn sweep(&self) {
        let prefix = format!("{}.", self.repository);
        let Ok(entries) = self.folder.read_dir() else { return };
        for entry in entries.filter_map(std::result::Result::ok) {
            let name = entry.file_name();
            let is_ours =
                name.to_str().is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".tmp"));
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|modified| SystemTime::now().duration_since(modified).ok());
            if is_ours && age.is_some_and(|age| age > ABANDONED) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn write(&self, file: File, rows: Rows<'_>, most: usize) -> Result<SealedTable> {
        let mut header = [0; BLOCKS_AT as usize];
        header[..8].copy_from_slice(MAGIC);
        header[8..10].copy_from_slice(&VERSION.to_le_bytes());
        header[16..32].copy_from_slice(self.repository.as_bytes());
        header[32..].copy_from_slice(&random::<32>()?);
        SealedTable::write(file, &header, self.key(&header)?, rows, most)
    }

    fn key(&self, header: &[u8; BLOCKS_AT as usize]) -> Result<SealKey> {
        let mut material = Zeroizing::new([0; 32 + BLOCKS_AT as usize]);
        material[..32].copy_from_slice(&*self.secret);
        material[32..].copy_from_slice(header);
        SealKey::derive("vadp-repository v1 index cache file", &*material)
    }

    fn write_sections(
        &self,
        table: &SealedTable,
        objects: &HashSet<IndexId>,
        packs: &[IndexedPack],
    ) -> Result<()> {
        let (mut file, key, fence, tags) = table.parts();
        let begin = SealedTable::end_of(table.len());
        let mut at = file.seek(SeekFrom::Start(begin)).map_err(cannot_write)?;
        let mut write = |section: ByteWriter| -> Result<()> {
            let mut section = section.into_vec();
            let length = (section.len() + TAG_BYTES) as u64;
            file.write_all(&length.to_le_bytes()).map_err(cannot_write)?;
            key.seal_tail(NonceAt::Offset(at + 8), &[], &mut section, 0)?;
            file.write_all(&section).map_err(cannot_write)?;
            at += 8 + length;
            Ok(())
        };
        let (bits, starts) = fence.parts();
        let mut section = ByteWriter::with_capacity(12 + 4 * starts.len());
        section.u64(tags.len() as u64);
        section.u32(bits);
        starts.iter().for_each(|start| section.u32(*start));
        write(section)?;
        let mut section = ByteWriter::with_capacity(2 * tags.len());
        tags.iter().for_each(|tag| section.u16(*tag));
        write(section)?;
        let mut section = ByteWriter::with_capacity(8 + 16 * objects.len() + PACK_BYTES * packs.len());
        section.count(objects.len())?;
        objects.iter().for_each(|id| section.array(id.as_bytes()));
        section.count(packs.len())?;
        for pack in packs {
            section.array(pack.pack.as_bytes());
            section.array(&pack.header.to_bytes());
            section.u64(pack.size);
        }
        write(section)?;
        file.write_all(&begin.to_le_bytes()).and_then(|()| file.write_all(END)).map_err(cannot_write)
    }

    fn read(&self, mut file: File) -> Result<Cached> {
        let mut header = [0; BLOCKS_AT as usize];
        read_exact_at(&file, &mut header, 0).map_err(cannot_read)?;
        let length = file.seek(SeekFrom::End(0)).map_err(cannot_read)?;
        let end = length.checked_sub(FOOTER_BYTES).ok_or_else(altered)?;
        let mut footer = [0; FOOTER_BYTES as usize];
        read_exact_at(&file, &mut footer, end).map_err(cannot_read)?;
        let (begin, magic) = footer.split_first_chunk().ok_or_else(altered)?;
        if magic != END {
            return Err(altered());
        }
        // Another repository, version or secret has another key, so the first section tells.
        let key = self.key(&header)?;
        let (begin, mut at) = (u64::from_le_bytes(*begin), u64::from_le_bytes(*begin));
        let mut read = || -> Result<Vec<u8>> {
            let mut length = [0; 8];
            read_exact_at(&file, &mut length, at).map_err(cannot_read)?;
            let length = u64::from_le_bytes(length);
            let next = at.checked_add(8).and_then(|at| at.checked_add(length)).filter(|next| *next <= end);
            let (next, length) = next.zip(usize::try_from(length).ok()).ok_or_else(altered)?;
            let mut section = vec![0; length];
            read_exact_at(&file, &mut section, at + 8).map_err(cannot_read)?;
            let plain = key.open_in_place(NonceAt::Offset(at + 8), &[], &mut section).ok_or_else(altered)?;
            section.truncate(plain);
            at = next;
            Ok(section)
        };
        let section = read()?;
        let mut bytes = ByteReader::new(&section);
        let rows = usize::try_from(bytes.u64()?).map_err(|_| altered())?;
        let bits = bytes.u32()?;
        let (starts, _) = bytes.take(bytes.remaining())?.as_chunks();
        let starts = starts.iter().map(|start| u32::from_le_bytes(*start)).collect();
        let fence = Fence::from_parts(bits, starts, rows).ok_or_else(altered)?;
        let section = read()?;
        let tags: Vec<u16> = section.as_chunks().0.iter().map(|tag| u16::from_le_bytes(*tag)).collect();
        if tags.len() != rows || SealedTable::end_of(rows) != begin {
            return Err(altered());
        }
        let section = read()?;
        let (objects, packs) = self.parse_summary(&section)?;
        Ok(Cached { objects, packs, table: SealedTable::reopen(file, key, fence, tags) })
    }

    fn parse_summary(&self, section: &[u8]) -> Result<(HashSet<IndexId>, Vec<IndexedPack>)> {
        let mut bytes = ByteReader::new(section);
        let count = bytes.u32()?;
        let count = bytes.expect_at_least(count, 16)?;
        let objects = (0..count).map(|_| bytes.array().map(IndexId::from_bytes)).collect::<Result<_>>()?;
        let count = bytes.u32()?;
        let count = bytes.expect_at_least(count, PACK_BYTES)?;
        let mut packs = Vec::with_capacity(count);
        for _ in 0..count {
            let pack = PackId::from_bytes(bytes.array()?);
            let header = ObjectHeader::parse(&mut bytes, self.repository)?;
            packs.push(IndexedPack { pack, header, content: content_of(&header)?, size: bytes.u64()? });
        }
        bytes.finish()?;
        Ok((objects, packs))
    }
}
