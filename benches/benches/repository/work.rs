//! A whole backup and a whole restore, as a program would do them.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use vadp_benches::Failure;
use vadp_benches::image::CHUNK;
use vadp_repository::{
    DiskReader, DiskSpec, DiskSummary, InitOptions, MachineId, PointDraft, Repository, Secret,
};

/// Reads of the image that are on their way.
const READ_AHEAD: usize = 4;

fn secret() -> Secret {
    Secret::password("long and unguessable")
}

fn machine() -> Result<MachineId, Failure> {
    Ok(MachineId::new("machine")?)
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

pub(crate) fn init(path: &Path) -> Result<Repository, Failure> {
    runtime()?.block_on(async { Ok(Repository::init_local(path, &secret(), InitOptions::default()).await?) })
}

pub(crate) async fn open(repository: &str) -> Result<Repository, Failure> {
    Ok(Repository::open_local(repository, &secret()).await?)
}

pub(crate) async fn last_disk(repository: &Repository) -> Result<DiskReader, Failure> {
    let point = repository.latest(&machine()?).await?.ok_or("there is no point")?;
    Ok(point.disk("disk")?)
}

/// A process that backs an image up into an existing repository.
pub(crate) fn backup(repository: &str, image: &str) -> Result<(), Failure> {
    runtime()?.block_on(async { ingest(&open(repository).await?, Path::new(image)).await.map(drop) })
}

/// A process that restores the last image of a repository.
pub(crate) fn restore(repository: &str, image: &str) -> Result<(), Failure> {
    runtime()?.block_on(async { restore_to(&open(repository).await?, Path::new(image)).await.map(drop) })
}

/// Backs an image up; gives the time from the beginning to the end of the commit.
pub(crate) async fn ingest(
    repository: &Repository,
    image: &Path,
) -> Result<(Duration, DiskSummary), Failure> {
    let file = Arc::new(File::open(image)?);
    let capacity_bytes = file.metadata()?.len();
    let idle = Idle::default();
    let began = Instant::now();
    let writer = repository.begin(PointDraft::new(machine()?)).await?;
    let mut disk = writer.disk(DiskSpec { key: "disk".to_owned(), capacity_bytes }, None)?;
    let reads = (0..disk.chunk_count()).map(|chunk| {
        let (file, idle) = (Arc::clone(&file), Arc::clone(&idle));
        let length = (capacity_bytes - chunk * CHUNK as u64).min(CHUNK as u64) as usize;
        let read = tokio::task::spawn_blocking(move || -> std::io::Result<Bytes> {
            let bytes = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut buffer = Buffer { bytes: bytes.unwrap_or_else(|| vec![0; CHUNK]), idle };
            file.read_exact_at(&mut buffer.bytes[..length], chunk * CHUNK as u64)?;
            Ok(Bytes::from_owner(buffer).slice(..length))
        });
        async move { Ok::<_, Failure>((chunk, read.await??)) }
    });
    let mut reads = futures::stream::iter(reads).buffered(READ_AHEAD);
    while let Some((chunk, bytes)) = reads.try_next().await? {
        disk.put(chunk, bytes).await?;
    }
    let summary = disk.finish().await?;
    writer.commit(Bytes::new(), BTreeMap::new()).await?;
    Ok((began.elapsed(), summary))
}

/// Buffers that nobody uses now.
type Idle = Arc<Mutex<Vec<Vec<u8>>>>;

/// A buffer that comes back, as a program's own do that reads terabytes.
struct Buffer {
    bytes: Vec<u8>,
    idle: Idle,
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

/// Restores the last image into a new file, which has holes where there are zeros.
pub(crate) async fn restore_to(repository: &Repository, image: &Path) -> Result<Duration, Failure> {
    let file = Arc::new(File::create_new(image)?);
    let began = Instant::now();
    let disk = last_disk(repository).await?;
    file.set_len(disk.capacity())?;
    let mut chunks = disk.stream();
    let mut writes = tokio::task::JoinSet::new();
    while let Some((chunk, bytes)) = chunks.next().await? {
        let file = Arc::clone(&file);
        if writes.len() >= READ_AHEAD {
            writes.join_next().await.transpose()?.transpose()?;
        }
        writes.spawn_blocking(move || file.write_all_at(&bytes, chunk * CHUNK as u64));
    }
    while let Some(written) = writes.join_next().await {
        written??;
    }
    Ok(began.elapsed())
}
