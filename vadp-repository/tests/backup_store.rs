//! Stores of backups against their suite: a repository, one of plain files, and ones that break a rule each.

// Helpers of tests may panic like the tests themselves; the lint's own exception covers only test functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../examples/embed_your_backup_store.rs"]
mod embed_your_backup_store;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use vadp_repository::conformance::{Report, run_backup_store};
use vadp_repository::{
    BackupStore, Chunk, ChunkSink, DiskSpec, DiskSummary, Error, ErrorKind, InitOptions, MachineId,
    MemoryStore, PointDraft, PointId, PointInfo, PointSink, Repository, Result, Secret, StoreFuture,
    StoredDisk, StoredPoint,
};

use embed_your_backup_store::{PlainFiles, damage};

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_conforms() {
    let (store, key) = (Arc::new(MemoryStore::new()), Secret::raw_key([7; 32]));
    Repository::init(store.clone(), &key, InitOptions::with_chunk_size(256 << 10)).await.unwrap();
    let open = async || Ok(Arc::new(Repository::open(store.clone(), &key).await?) as Arc<dyn BackupStore>);
    let damage = async || {
        for name in store.names().iter().filter(|name| name.starts_with("packs/")) {
            store.tamper(name, |bytes| {
                let mut bytes = bytes.unwrap().to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                Some(bytes.into())
            });
        }
        Ok(())
    };
    let report = run_backup_store(open, damage).await.unwrap();
    assert!(report.is_ok(), "{report}");
}

/// The rules that do not hold.
async fn broken(breach: Option<Breach>) -> Vec<&'static str> {
    let folder = tempfile::tempdir().unwrap();
    let files = PlainFiles(folder.path().to_owned());
    let open = async || {
        let files = files.clone();
        Ok(match breach {
            Some(breach) => Arc::new(Broken(files, breach)) as Arc<dyn BackupStore>,
            None => Arc::new(files),
        })
    };
    let report: Report = run_backup_store(open, async || damage(folder.path())).await.unwrap();
    let unfinished = folder.path().read_dir().unwrap().any(|e| is_unfinished(&e.unwrap().path()));
    assert!(breach.is_some() || !unfinished, "a point that was not committed has left something");
    assert!(breach.is_some() || report.is_ok(), "{report}");
    report.rules.iter().filter(|(_, why)| why.is_some()).map(|(rule, _)| *rule).collect()
}

fn is_unfinished(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with("unfinished")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_plain_files_conforms() {
    assert!(broken(None).await.is_empty());
}

#[test]
fn a_store_that_breaks_a_rule_is_found_out() {
    let breaches = [
        (Breach::ShowsEarly, "nothing of a point is visible before its commit"),
        (Breach::CommitsUnfinished, "a point that lacks something is not committed"),
        (Breach::ForgetsParent, "what is not put is as in the parent, which stays as it was"),
        (Breach::ForgetsZeros, "what is not put is as in the parent, which stays as it was"),
        (Breach::NewestFirst, "points are listed by their moments, and by machine"),
        (Breach::AllMachines, "points are listed by their moments, and by machine"),
        (Breach::ShortMetadata, "metadata and tags come back as they were, large ones too"),
        (Breach::TakesShort, "what cannot be is refused, and the sink stays usable"),
        (Breach::MatchesAll, "chunks are compared by their bytes"),
        (Breach::LosesLast, "what is put is read back, and the rest is zero"),
        (Breach::SparseMap, "what is put is read back, and the rest is zero"),
        (Breach::FalseReceipts, "what a receipt proves need not be put again"),
        (Breach::DamageIsZero, "damage is an error, and not other bytes"),
    ];
    // Beside each other, since they mostly wait for the disk.
    std::thread::scope(|scope| {
        for (breach, rule) in breaches {
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let found = runtime.block_on(broken(Some(breach)));
                assert!(found.contains(&rule), "{breach:?} breaks {found:?}");
            });
        }
    });
}

/// What a store does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breach {
    ShowsEarly,
    CommitsUnfinished,
    ForgetsParent,
    ForgetsZeros,
    NewestFirst,
    AllMachines,
    ShortMetadata,
    TakesShort,
    MatchesAll,
    LosesLast,
    SparseMap,
    FalseReceipts,
    DamageIsZero,
}

struct Broken<T>(T, Breach);

/// A point that is there, with its metadata, which may be others.
struct BrokenPoint(Arc<dyn StoredPoint>, Breach, Bytes);

/// The chunk that a sink loses, and how many bytes it takes for whole.
struct BrokenSink(Box<dyn ChunkSink>, Breach, Option<u64>);

fn wrap(point: Arc<dyn StoredPoint>, breach: Breach) -> Arc<dyn StoredPoint> {
    let mut metadata = point.metadata().clone();
    if breach == Breach::ShortMetadata {
        metadata.truncate(1 << 20);
    }
    Arc::new(BrokenPoint(point, breach, metadata))
}

impl BackupStore for Broken<PlainFiles> {
    fn describe(&self) -> String {
        self.0.describe()
    }
    fn begin(&self, draft: PointDraft) -> StoreFuture<'_, Box<dyn PointSink>> {
        Box::pin(async move {
            if self.1 == Breach::ShowsEarly {
                let early = self.0.begin(draft.clone()).await?;
                early.commit(Bytes::new(), BTreeMap::new()).await?;
            }
            Ok(Box::new(Broken(self.0.begin(draft).await?, self.1)) as Box<dyn PointSink>)
        })
    }
    fn points<'a>(&'a self, machine: Option<&'a MachineId>) -> StoreFuture<'a, Vec<PointInfo>> {
        Box::pin(async move {
            let machine = machine.filter(|_| self.1 != Breach::AllMachines);
            let mut points = self.0.points(machine).await?;
            if self.1 == Breach::NewestFirst {
                points.reverse();
            }
            Ok(points)
        })
    }
    fn point(&self, id: PointId) -> StoreFuture<'_, Arc<dyn StoredPoint>> {
        Box::pin(async move { Ok(wrap(self.0.point(id).await?, self.1)) })
    }
}

impl PointSink for Broken<Box<dyn PointSink>> {
    fn disk(&self, spec: DiskSpec, parent: Option<PointId>) -> StoreFuture<'_, Box<dyn ChunkSink>> {
        Box::pin(async move {
            let last = spec.capacity_bytes / (64 << 10);
            let parent = parent.filter(|_| self.1 != Breach::ForgetsParent);
            let sink = self.0.disk(spec, parent).await?;
            let sink = BrokenSink(sink, self.1, (self.1 == Breach::LosesLast).then_some(last));
            Ok(Box::new(sink) as Box<dyn ChunkSink>)
        })
    }
    fn commit(
        self: Box<Self>,
        metadata: Bytes,
        of_disks: BTreeMap<String, Bytes>,
    ) -> StoreFuture<'static, Arc<dyn StoredPoint>> {
        Box::pin(async move { Ok(wrap(self.0.commit(metadata, of_disks).await?, self.1)) })
    }
}

impl Drop for BrokenSink {
    fn drop(&mut self) {
        if self.1 == Breach::CommitsUnfinished {
            let nothing = Box::new(Nothing) as Box<dyn ChunkSink>;
            let sink = std::mem::replace(&mut self.0, nothing);
            futures::executor::block_on(sink.finish()).unwrap();
        }
    }
}

impl ChunkSink for BrokenSink {
    fn chunk_size(&self) -> u32 {
        self.0.chunk_size()
    }
    fn put(&mut self, chunk: u64, mut data: Bytes) -> StoreFuture<'_, ()> {
        if self.2 == Some(chunk) {
            return Box::pin(async move { self.0.put_zero(chunk) });
        }
        if self.1 == Breach::TakesShort && data.len() == 65_535 {
            data = [&data[..], &[0]].concat().into();
        }
        self.0.put(chunk, data)
    }
    fn put_zero(&mut self, chunk: u64) -> Result<()> {
        match self.1 {
            Breach::ForgetsZeros => Ok(()),
            _ => self.0.put_zero(chunk),
        }
    }
    fn receipt(&mut self) -> StoreFuture<'_, Bytes> {
        self.0.receipt()
    }
    fn resume<'a>(&'a mut self, receipt: &'a Bytes) -> StoreFuture<'a, Vec<u64>> {
        match self.1 {
            Breach::FalseReceipts => Box::pin(async { Ok(vec![0, 1]) }),
            _ => self.0.resume(receipt),
        }
    }
    fn finish(mut self: Box<Self>) -> StoreFuture<'static, DiskSummary> {
        std::mem::replace(&mut self.0, Box::new(Nothing)).finish()
    }
}

/// What stands where a sink was.
struct Nothing;

impl ChunkSink for Nothing {
    fn chunk_size(&self) -> u32 {
        512
    }
    fn put(&mut self, _: u64, _: Bytes) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }
    fn put_zero(&mut self, _: u64) -> Result<()> {
        Ok(())
    }
    fn receipt(&mut self) -> StoreFuture<'_, Bytes> {
        Box::pin(async { Ok(Bytes::new()) })
    }
    fn resume<'a>(&'a mut self, _: &'a Bytes) -> StoreFuture<'a, Vec<u64>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn finish(self: Box<Self>) -> StoreFuture<'static, DiskSummary> {
        Box::pin(async { Ok(DiskSummary::default()) })
    }
}

impl StoredPoint for BrokenPoint {
    fn info(&self) -> &PointInfo {
        self.0.info()
    }
    fn metadata(&self) -> &Bytes {
        &self.2
    }
    fn disk<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Arc<dyn StoredDisk>> {
        Box::pin(async move { Ok(Arc::new(Broken(self.0.disk(key).await?, self.1)) as Arc<dyn StoredDisk>) })
    }
}

impl StoredDisk for Broken<Arc<dyn StoredDisk>> {
    fn capacity(&self) -> u64 {
        self.0.capacity()
    }
    fn chunk_size(&self) -> u32 {
        self.0.chunk_size()
    }
    fn metadata(&self) -> &Bytes {
        self.0.metadata()
    }
    fn chunks(&self, range: Range<u64>) -> StoreFuture<'_, Vec<u64>> {
        Box::pin(async move {
            let mut chunks = self.0.chunks(range).await?;
            if self.1 == Breach::SparseMap {
                chunks.pop();
            }
            Ok(chunks)
        })
    }
    fn read_chunk(&self, chunk: u64) -> StoreFuture<'_, Chunk> {
        Box::pin(async move {
            match self.0.read_chunk(chunk).await {
                Err(error) if error.is_damage() && self.1 == Breach::DamageIsZero => Ok(Chunk::Zero),
                other => other,
            }
        })
    }
    fn matches<'a>(&'a self, chunk: u64, bytes: &'a Bytes) -> StoreFuture<'a, bool> {
        Box::pin(async move {
            match self.1 {
                Breach::MatchesAll => Ok(true),
                _ => self.0.matches(chunk, bytes).await,
            }
        })
    }
}

#[tokio::test]
async fn a_store_that_does_not_open_is_an_error_of_the_suite() {
    let open = async || Err::<Arc<dyn BackupStore>, _>(Error::new(ErrorKind::Denied, "closed on Sundays"));
    let error = run_backup_store(open, async || Ok(())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
}
