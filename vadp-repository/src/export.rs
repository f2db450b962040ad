//! A restore point as one file, out and in. See docs/repository-format.md, "Export".

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::codec;
use crate::copy::{Copied, Passed, Progress, READ_AHEAD, allocated};
use crate::crypto::{Keyring, random};
use crate::error::{Error, ErrorKind, Result};
use crate::format::export::{
    ExportChunk, ExportHead, PREFIX_BYTES, RECORD_HEAD_BYTES, Record, Records, parse_prefix, prefix,
};
use crate::format::key_slot::{self, KeySlot};
use crate::format::point::{DiskHead, PointHead};
use crate::geometry::Geometry;
use crate::ids::{KeySlotId, Origin, PointId, RepositoryId};
use crate::read::{Chunk, RestorePoint};
use crate::repository::{Repository, open_by, seal_slot};
use crate::secret::Secret;
use crate::write::{DiskSpec, DiskWriter, PointDraft, PointWriter};

/// What an export has written.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exported {
    /// Chunks with data.
    pub chunks: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

impl Repository {
    /// Writes a restore point as one file, from beginning to end: to a disk, a tape, a pipe. It is sealed for `secret`, which need not be
    /// one of the repository's: who gets the file gets nothing else of it. Memory: some chunks.
    ///
    /// # Errors
    /// Those of [`point`](Self::point); [`Damaged`](ErrorKind::Damaged) when something of the point is lost, and what was written is then no
    /// whole export; [`Store`](ErrorKind::Store), [`Denied`](ErrorKind::Denied) or [`Full`](ErrorKind::Full) when `to` takes no more.
    pub async fn export_point(
        &self,
        point: PointId,
        secret: &Secret,
        to: impl AsyncWrite + Unpin + Send,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Exported> {
        let source = self.point(point).await?;
        let mut out = Output::begin(secret, to).await?;
        out.record(&Record::Head(head_of(&source, self)?)).await?;
        let mut passed = Passed::new(&source, &progress);
        let mut chunks = 0;
        for (number, info) in (0_u32..).zip(source.disks()) {
            let from = source.disk(&info.key)?;
            let shared = &self.shared;
            let read = allocated(&from).map_ok(|chunk| {
                let from = from.clone();
                async move {
                    // The map has told that it holds data.
                    let Chunk::Data(bytes) = from.read_chunk(chunk).await? else { return Ok(None) };
                    let encode = move |shared: &crate::repository::Shared| {
                        let plain = crate::format::bytes::u32_of(bytes.len())?;
                        let (encoding, bytes) = shared.codec.encode(&bytes, &shared.buffers)?;
                        Ok(ExportChunk { disk: number, chunk, encoding, plain, bytes })
                    };
                    shared.compute(encode).await.map(Some)
                }
            });
            let mut read = read.try_buffered(READ_AHEAD);
            while let Some(record) = read.try_next().await? {
                let Some(record) = record else { continue };
                let end = from.map().geometry().bytes_of(record.chunk)?.end;
                out.record(&Record::Chunk(record)).await?;
                chunks += 1;
                passed.on_disk(end);
            }
            passed.end_of_disk(info.capacity_bytes);
        }
        out.record(&Record::End(chunks)).await?;
        Ok(Exported { chunks, bytes: out.finish().await? })
    }

    /// Reads a restore point that [`export_point`](Self::export_point) has written, from beginning to end. Content, machine, time, tags
    /// and metadata are as they were, and its origin is recorded: what is here already, as a copy or as the original, is not read to its
    /// end. Nothing is visible before the whole file has been read and verified. Memory: some chunks.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for anything that is no export, and when its chunks have another size than this repository's;
    /// [`WrongKey`](ErrorKind::WrongKey); [`UnsupportedFormat`](ErrorKind::UnsupportedFormat); [`Damaged`](ErrorKind::Damaged) when it is
    /// altered, cut short or goes on after its end; those of writing a point, and of reading `from`.
    pub async fn import_point(
        &self,
        from: impl AsyncRead + Unpin + Send,
        secret: &Secret,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Copied> {
        let mut input = Input::begin(secret, from).await?;
        let Record::Head(head) = input.record().await? else {
            return Err(Error::damaged("the export does not begin with its head"));
        };
        self.require_chunk_size(head.chunk_size)?;
        let origin = head.point.origin;
        let origin = origin.ok_or_else(|| Error::damaged("the export does not say of what it is one"))?;
        let listed = self.list_points(Some(&head.point.machine)).await?.points;
        if let Some(copied) = self.copy_of(&listed, origin).await? {
            return Ok(copied);
        }
        let point = self.import(&mut input, head, origin, &progress).await?;
        Ok(Copied { point, is_new: true })
    }

    async fn import(
        &self,
        input: &mut Input<impl AsyncRead + Unpin + Send>,
        head: ExportHead,
        origin: Origin,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<RestorePoint> {
        let ExportHead {
            point: PointHead { machine, created, tags, disks, .. },
            metadata,
            disk_metadata,
            ..
        } = head;
        let mut draft = PointDraft::new(machine).created(crate::time::from_micros(created));
        (draft.tags, draft.origin) = (tags, Some(origin));
        let writer = self.begin(draft).await?;
        let mut passed = Passed::over(disks.iter().map(|disk| disk.capacity), progress);
        let (mut next, mut chunks) = (input.record().await?, 0_u64);
        for (number, disk) in (0_u32..).zip(&disks) {
            let geometry = Geometry::new(disk.capacity, self.chunk_size())?;
            let mut target = begin_disk(&writer, disk)?;
            let mut expected = 0;
            loop {
                let chunk = match next {
                    Record::Chunk(chunk) if chunk.disk == number && chunk.chunk >= expected => chunk,
                    other => {
                        next = other;
                        break;
                    }
                };
                (expected, chunks) = (chunk.chunk.saturating_add(1), chunks + 1);
                let end = geometry.bytes_of(chunk.chunk).map_err(misplaced)?.end;
                self.put(&mut target, chunk).await?;
                passed.on_disk(end);
                next = input.record().await?;
            }
            target.finish().await?;
            passed.end_of_disk(disk.capacity);
        }
        match next {
            Record::End(counted) if counted == chunks => input.finish().await?,
            Record::End(_) => return Err(Error::damaged("the export has not as many chunks as it says")),
            Record::Chunk(_) | Record::Head(_) => {
                return Err(Error::damaged("the chunks of the export are not in order"));
            }
        }
        let disk_metadata: BTreeMap<String, Bytes> =
            disks.into_iter().map(|disk| disk.key).zip(disk_metadata).collect();
        writer.commit(metadata, disk_metadata).await
    }

    async fn put(&self, disk: &mut DiskWriter, chunk: ExportChunk) -> Result<()> {
        let ExportChunk { chunk, encoding, plain, bytes, .. } = chunk;
        let decode = move |shared: &crate::repository::Shared| {
            codec::decode(encoding, bytes, plain as usize, &shared.buffers)
        };
        let bytes = self.shared.compute(decode).await?;
        disk.put(chunk, bytes).await.map_err(|error| match error.kind() {
            ErrorKind::InvalidInput => misplaced(error),
            _ => error,
        })
    }
}

fn begin_disk(writer: &PointWriter, disk: &DiskHead) -> Result<DiskWriter> {
    writer.disk(DiskSpec { key: disk.key.clone(), capacity_bytes: disk.capacity }, None)
}

fn misplaced(error: Error) -> Error {
    Error::damaged("the export has a chunk that does not fit its disk").with_source(error)
}

fn head_of(point: &RestorePoint, repository: &Repository) -> Result<ExportHead> {
    let info = point.info();
    let disk = |disk: &crate::read::PointDisk| DiskHead {
        key: disk.key.clone(),
        capacity: disk.capacity_bytes,
        parent: None,
        counters: disk.summary.to_counters(),
    };
    let point_head = PointHead {
        machine: info.machine.clone(),
        created: crate::time::to_micros(info.created),
        tags: info.tags.clone(),
        disks: info.disks.iter().map(disk).collect(),
        origin: Some(info.identity(repository.id())),
    };
    let of_disks = info.disks.iter().map(|disk| Ok(point.disk(&disk.key)?.metadata().clone()));
    Ok(ExportHead {
        chunk_size: repository.chunk_size(),
        point: point_head,
        metadata: point.metadata().clone(),
        disk_metadata: of_disks.collect::<Result<_>>()?,
    })
}

/// A file that is written.
struct Output<W> {
    to: W,
    records: Records,
    bytes: u64,
}

impl<W: AsyncWrite + Unpin + Send> Output<W> {
    async fn begin(secret: &Secret, to: W) -> Result<Self> {
        let (file, slot) = (RepositoryId::from_bytes(random()?), KeySlotId::from_bytes(random()?));
        let keyring = Keyring::new(random()?, random()?);
        let key_slot = seal_slot(file, slot, &keyring, secret).await?;
        let mut output = Self { to, records: Records::new(&keyring, file)?, bytes: 0 };
        output.write(&prefix(&key_slot)?).await?;
        output.write(&key_slot).await?;
        Ok(output)
    }

    async fn record(&mut self, record: &Record) -> Result<()> {
        let bytes = self.records.seal(record)?;
        self.write(&bytes).await
    }

    async fn finish(mut self) -> Result<u64> {
        self.to.flush().await.map_err(|source| of_stream("write", source))?;
        Ok(self.bytes)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.to.write_all(bytes).await.map_err(|source| of_stream("write", source))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

/// A file that is read.
struct Input<R> {
    from: R,
    records: Records,
}

impl<R: AsyncRead + Unpin + Send> Input<R> {
    async fn begin(secret: &Secret, mut from: R) -> Result<Self> {
        let length = parse_prefix(&read(&mut from, PREFIX_BYTES as u32).await?)?;
        if u64::from(length) > key_slot::MAX_BYTES {
            return Err(Error::damaged(format!("the export has a key slot of {length} bytes")));
        }
        let object = read(&mut from, length).await?;
        require_all(&object, length)?;
        let slot = KeySlot::parse(&object)?;
        let keyring = open_by(secret, &slot).await?.ok_or_else(|| {
            Error::new(ErrorKind::WrongKey, "wrong password or key: the export does not open with it")
        })?;
        Ok(Self { from, records: Records::new(&keyring, slot.repository)? })
    }

    async fn record(&mut self) -> Result<Record> {
        let head = read(&mut self.from, RECORD_HEAD_BYTES as u32).await?;
        let head = head.first_chunk().ok_or_else(cut)?;
        let length = Records::length(head)?;
        let sealed = read(&mut self.from, length).await?;
        require_all(&sealed, length)?;
        self.records.open(head, &sealed)
    }

    /// Nothing may come after the end.
    async fn finish(&mut self) -> Result<()> {
        match read(&mut self.from, 1).await?.is_empty() {
            true => Ok(()),
            false => Err(Error::damaged("the export goes on after its end: something was appended to it")),
        }
    }
}

/// Up to so many bytes, fewer at the end. Memory is taken as the bytes come.
async fn read(from: &mut (impl AsyncRead + Unpin), length: u32) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(u64::from(length)).read_to_end(&mut bytes).await.map_err(|source| of_stream("read", source))?;
    Ok(bytes)
}

fn require_all(bytes: &[u8], length: u32) -> Result<()> {
    match bytes.len() == length as usize {
        true => Ok(()),
        false => Err(cut()),
    }
}

fn cut() -> Error {
    Error::damaged("the export is cut short")
}

fn of_stream(what: &str, source: std::io::Error) -> Error {
    let (kind, advice) = match source.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            (ErrorKind::Full, ": no space is left")
        }
        std::io::ErrorKind::PermissionDenied => (ErrorKind::Denied, ": check the permissions"),
        _ => (ErrorKind::Store, ""),
    };
    Error::new(kind, format!("cannot {what} the export{advice}")).with_source(source)
}
