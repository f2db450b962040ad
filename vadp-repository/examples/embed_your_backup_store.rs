//! A store of backups of your own, in place of a repository: here a folder of plain files, one image for each disk.
//! `cargo run -p vadp-repository --example embed_your_backup_store`
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use vadp_repository::*;

const CHUNK: usize = 64 << 10;

/// A folder, in which each point has one of its own: `about.json`, `metadata`, and an image and `metadata` for each disk.
/// A real store would keep this work off the runtime's threads, and flush folders.
#[derive(Clone)]
pub struct PlainFiles(pub PathBuf);

#[derive(Serialize, Deserialize)]
struct About {
    machine: String,
    created: SystemTime,
    tags: BTreeMap<String, String>,
    disks: Vec<AboutDisk>,
}

#[derive(Serialize, Deserialize, Clone)]
struct AboutDisk {
    key: String,
    capacity: u64,
    parent: Option<[u8; 16]>,
    digests: BTreeMap<u64, [u8; 32]>,
}

type Disks = Arc<Mutex<Vec<(String, Option<AboutDisk>)>>>;
struct Draft(PlainFiles, PathBuf, PointDraft, Disks);
struct Writing(Disks, usize, AboutDisk, File, BTreeSet<u64>);
struct Point(PathBuf, PointInfo, Bytes, Vec<AboutDisk>);
struct Disk(AboutDisk, File, Bytes);

fn io(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Store, "a file cannot be used: check the disk").with_source(source)
}

fn invalid<T>(why: &str) -> Result<T> {
    Err(Error::new(ErrorKind::InvalidInput, why))
}

fn write(path: PathBuf, bytes: &[u8]) -> Result<()> {
    File::create(path).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all())).map_err(io)
}

fn lock(disks: &Disks) -> std::sync::MutexGuard<'_, Vec<(String, Option<AboutDisk>)>> {
    disks.lock().unwrap_or_else(PoisonError::into_inner)
}

fn length(disk: &AboutDisk, chunk: u64) -> Result<usize> {
    match disk.capacity.checked_sub(chunk.saturating_mul(CHUNK as u64)) {
        None | Some(0) => invalid("the chunk is beyond the end"),
        Some(rest) => Ok(rest.min(CHUNK as u64) as usize),
    }
}

fn open(path: &Path, id: PointId) -> Result<Point> {
    let missing = |e| Error::new(ErrorKind::NotFound, format!("there is no point {id}")).with_source(e);
    let about = fs::read(path.join("about.json")).map_err(missing)?;
    let About { machine, created, tags, disks } = serde_json::from_slice(&about).map_err(io)?;
    let mut draft = PointDraft::new(MachineId::new(machine)?).created(created);
    draft.tags = tags;
    let listed = disks.iter().map(|disk| {
        let spec = DiskSpec { key: disk.key.clone(), capacity_bytes: disk.capacity };
        PointDisk::of_spec(spec, disk.parent.map(PointId::from_bytes), DiskSummary::default())
    });
    let info = PointInfo::of_draft(id, draft, listed.collect());
    Ok(Point(path.to_owned(), info, fs::read(path.join("metadata")).map_err(io)?.into(), disks))
}

impl BackupStore for PlainFiles {
    fn describe(&self) -> String {
        self.0.display().to_string()
    }
    fn begin(&self, draft: PointDraft) -> StoreFuture<'_, Box<dyn PointSink>> {
        Box::pin(async move {
            let path = tempfile::Builder::new().prefix("unfinished-").tempdir_in(&self.0).map_err(io)?.keep();
            Ok(Box::new(Draft(self.clone(), path, draft, Disks::default())) as Box<dyn PointSink>)
        })
    }
    fn points<'a>(&'a self, machine: Option<&'a MachineId>) -> StoreFuture<'a, Vec<PointInfo>> {
        Box::pin(async move {
            let mut points = Vec::new();
            for entry in fs::read_dir(&self.0).map_err(io)? {
                let entry = entry.map_err(io)?;
                let Ok(id) = PointId::parse(&entry.file_name().to_string_lossy()) else { continue };
                points.push(open(&entry.path(), id)?.1);
            }
            points.retain(|point| machine.is_none_or(|machine| point.machine == *machine));
            points.sort_by_key(|point| (point.created, point.id));
            Ok(points)
        })
    }
    fn point(&self, id: PointId) -> StoreFuture<'_, Arc<dyn StoredPoint>> {
        Box::pin(async move { Ok(Arc::new(open(&self.0.join(id.to_string()), id)?) as Arc<dyn StoredPoint>) })
    }
}

impl PointSink for Draft {
    fn disk(&self, spec: DiskSpec, parent: Option<PointId>) -> StoreFuture<'_, Box<dyn ChunkSink>> {
        Box::pin(async move {
            let DiskSpec { key, capacity_bytes: capacity } = spec;
            let number = lock(&self.3).len();
            if lock(&self.3).iter().any(|(other, _)| *other == key) {
                return invalid("a disk of this key was begun before");
            }
            let path = self.1.join(format!("{number}.image"));
            let mut digests = BTreeMap::new();
            if let Some(id) = parent {
                let Point(folder, .., disks) = open(&self.0.0.join(id.to_string()), id)?;
                let of_key = disks.iter().position(|disk| disk.key == key && disk.capacity <= capacity);
                let Some(old) = of_key else { return invalid("the parent has no such disk") };
                fs::copy(folder.join(format!("{old}.image")), &path).map_err(io)?;
                digests.clone_from(&disks[old].digests);
            }
            let file = File::options().write(true).create(true).truncate(false).open(path).map_err(io)?;
            lock(&self.3).push((key.clone(), None));
            let about = AboutDisk { key, capacity, parent: parent.map(|id| *id.as_bytes()), digests };
            let writing = Writing(Arc::clone(&self.3), number, about, file, BTreeSet::new());
            Ok(Box::new(writing) as Box<dyn ChunkSink>)
        })
    }
    fn commit(
        self: Box<Self>,
        metadata: Bytes,
        mut of_disks: BTreeMap<String, Bytes>,
    ) -> StoreFuture<'static, Arc<dyn StoredPoint>> {
        Box::pin(async move {
            let unfinished = || Error::new(ErrorKind::Incomplete, "a disk was not finished");
            let disks: Option<Vec<_>> = lock(&self.3).iter().map(|(_, disk)| disk.clone()).collect();
            let disks = disks.ok_or_else(unfinished)?;
            for (number, disk) in disks.iter().enumerate() {
                let metadata = of_disks.remove(&disk.key).unwrap_or_default();
                write(self.1.join(format!("{number}.metadata")), &metadata)?;
            }
            if !of_disks.is_empty() {
                return invalid("there is metadata of a disk that the point does not have");
            }
            write(self.1.join("metadata"), &metadata)?;
            let PointDraft { machine, created, tags, .. } = self.2.clone();
            let about = About { machine: machine.to_string(), created, tags, disks };
            write(self.1.join("about.json"), &serde_json::to_vec(&about).map_err(io)?)?;
            // A name that no point has: the folder's own, which is unique, at a time that does not come again.
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(io)?;
            let name = blake3::hash(format!("{} {now:?}", self.1.display()).as_bytes());
            let id = PointId::from_bytes(name.as_bytes()[..16].try_into().map_err(io)?);
            let path = self.0.0.join(id.to_string());
            fs::rename(&self.1, &path).map_err(io)?;
            Ok(Arc::new(open(&path, id)?) as Arc<dyn StoredPoint>)
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _gone_after_a_commit = fs::remove_dir_all(&self.1);
    }
}

impl Writing {
    fn mark(&mut self, chunk: u64) -> Result<usize> {
        let length = length(&self.2, chunk)?;
        if self.4.insert(chunk) { Ok(length) } else { invalid("the chunk was put before") }
    }
}

impl ChunkSink for Writing {
    fn chunk_size(&self) -> u32 {
        CHUNK as u32
    }
    fn put(&mut self, chunk: u64, data: Bytes) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            if data.len() != length(&self.2, chunk)? {
                return invalid("the chunk has another length");
            }
            self.mark(chunk)?;
            self.2.digests.insert(chunk, *blake3::hash(&data).as_bytes());
            self.3.write_all_at(&data, chunk * CHUNK as u64).map_err(io)
        })
    }
    fn put_zero(&mut self, chunk: u64) -> Result<()> {
        self.mark(chunk)?;
        self.2.digests.remove(&chunk);
        Ok(())
    }
    fn receipt(&mut self) -> StoreFuture<'_, Bytes> {
        Box::pin(async { Ok(Bytes::new()) })
    }
    fn resume<'a>(&'a mut self, _receipt: &'a Bytes) -> StoreFuture<'a, Vec<u64>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn finish(self: Box<Self>) -> StoreFuture<'static, DiskSummary> {
        Box::pin(async move {
            self.3.sync_all().map_err(io)?;
            lock(&self.0)[self.1].1 = Some(self.2);
            Ok(DiskSummary::default())
        })
    }
}

impl StoredPoint for Point {
    fn info(&self) -> &PointInfo {
        &self.1
    }
    fn metadata(&self) -> &Bytes {
        &self.2
    }
    fn disk<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Arc<dyn StoredDisk>> {
        Box::pin(async move {
            let missing = || Error::new(ErrorKind::NotFound, "the point has no such disk");
            let number = self.3.iter().position(|disk| disk.key == key).ok_or_else(missing)?;
            let image = File::open(self.0.join(format!("{number}.image"))).map_err(io)?;
            let metadata = fs::read(self.0.join(format!("{number}.metadata"))).map_err(io)?;
            Ok(Arc::new(Disk(self.3[number].clone(), image, metadata.into())) as Arc<dyn StoredDisk>)
        })
    }
}

impl StoredDisk for Disk {
    fn capacity(&self) -> u64 {
        self.0.capacity
    }
    fn chunk_size(&self) -> u32 {
        CHUNK as u32
    }
    fn metadata(&self) -> &Bytes {
        &self.2
    }
    fn chunks(&self, range: Range<u64>) -> StoreFuture<'_, Vec<u64>> {
        Box::pin(async move { Ok(self.0.digests.range(range).map(|(chunk, _)| *chunk).collect()) })
    }
    fn read_chunk(&self, chunk: u64) -> StoreFuture<'_, Chunk> {
        Box::pin(async move {
            let mut data = vec![0; length(&self.0, chunk)?];
            let Some(digest) = self.0.digests.get(&chunk) else { return Ok(Chunk::Zero) };
            self.1.read_exact_at(&mut data, chunk * CHUNK as u64).map_err(io)?;
            match blake3::hash(&data).as_bytes() == digest {
                true => Ok(Chunk::Data(data.into())),
                false => Err(Error::new(ErrorKind::Damaged, format!("chunk {chunk} was altered"))),
            }
        })
    }
    fn matches<'a>(&'a self, chunk: u64, bytes: &'a Bytes) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            let is_whole = bytes.len() == length(&self.0, chunk)?;
            Ok(is_whole
                && match self.0.digests.get(&chunk) {
                    Some(digest) => blake3::hash(bytes).as_bytes() == digest,
                    None => bytes.iter().all(|byte| *byte == 0),
                })
        })
    }
}

/// Flips a bit of every image: the suite wants to see that it is found.
pub fn damage(folder: &Path) -> Result<()> {
    for point in fs::read_dir(folder).map_err(io)? {
        for file in fs::read_dir(point.map_err(io)?.path()).map_err(io)? {
            let path = file.map_err(io)?.path();
            let mut bytes = fs::read(&path).map_err(io)?;
            if let Some(byte) = bytes.get_mut(100).filter(|_| path.extension().is_some_and(|e| e == "image"))
            {
                *byte ^= 1;
                fs::write(&path, &bytes).map_err(io)?;
            }
        }
    }
    Ok(())
}

#[tokio::main]
#[allow(dead_code)] // A test of this crate uses the store, and brings a `main` of its own.
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let store = PlainFiles(folder.path().to_owned());
    let open = async || Ok(Arc::new(store.clone()) as Arc<dyn BackupStore>);
    let report = conformance::run_backup_store(open, async || damage(folder.path())).await?;
    anyhow::ensure!(report.is_ok(), "{report}");
    println!("{report}the plain files conform");
    Ok(())
}
