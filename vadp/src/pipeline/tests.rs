use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::FutureExt;
use futures::future::BoxFuture;
use vadp_repository::{
    BackupStore, DiskSpec, InitOptions, MachineId, MemoryStore, PointDraft, Repository, Secret, StoredPoint,
};

use super::*;

const CHUNK: u64 = 256 << 10;
const CHUNKS: u64 = 64;

/// What is read and not let go of, now and at most; and what was read at all.
#[derive(Default)]
struct Counts {
    now: AtomicU64,
    most: AtomicU64,
    read: AtomicU64,
}

/// A disk in memory that knows who still has its bytes.
struct Counted {
    image: Arc<Vec<u8>>,
    counts: Arc<Counts>,
}

struct Lent {
    data: Vec<u8>,
    counts: Arc<Counts>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.counts.now.fetch_sub(self.data.len() as u64, Ordering::SeqCst);
    }
}

impl DiskSource for Counted {
    fn capacity(&self) -> u64 {
        self.image.len() as u64
    }
    fn transport(&self) -> &str {
        "memory"
    }
    fn allocated(&self, range: ByteRange) -> BoxFuture<'_, Result<Extents, Error>> {
        async move { Ok([range].into_iter().collect()) }.boxed()
    }
    fn read(&self, range: ByteRange) -> BoxFuture<'_, Result<Bytes, Error>> {
        let now = self.counts.now.fetch_add(range.length(), Ordering::SeqCst) + range.length();
        self.counts.most.fetch_max(now, Ordering::SeqCst);
        self.counts.read.fetch_add(range.length(), Ordering::SeqCst);
        async move {
            tokio::task::yield_now().await;
            let data = self.image[range.start() as usize..range.end() as usize].to_vec();
            Ok(Bytes::from_owner(Lent { data, counts: Arc::clone(&self.counts) }))
        }
        .boxed()
    }
    fn descriptor(&self) -> BoxFuture<'_, Result<BTreeMap<String, String>, Error>> {
        async { Ok(BTreeMap::new()) }.boxed()
    }
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        async { Ok(()) }.boxed()
    }
}

/// Chunks that are all different, and quickly made.
fn image(seed: u64) -> Arc<Vec<u8>> {
    let chunk = |number: u64| (seed << 32 | number << 1 | 1).to_le_bytes().repeat(CHUNK as usize / 8);
    Arc::new((0..CHUNKS).map(chunk).collect::<Vec<_>>().concat())
}

async fn repository() -> Repository {
    let options = InitOptions::with_chunk_size(CHUNK as u32);
    Repository::init(Arc::new(MemoryStore::new()), &Secret::raw_key([7; 32]), options).await.unwrap()
}

/// Copies disks beside each other into a new point. What a receipt says is kept.
async fn copy(
    store: &dyn BackupStore,
    engine: &Engine,
    sources: &[Counted],
    parent: Option<(&Arc<dyn StoredPoint>, &Extents)>,
    receipts: &Mutex<Vec<Bytes>>,
) -> (Arc<dyn StoredPoint>, u64) {
    let draft = PointDraft::new(MachineId::new("m").unwrap());
    let point = store.begin(draft).await.unwrap();
    let report = Report(&|_| ());
    let one = async |number: usize| {
        let (source, key) = (&sources[number], number.to_string());
        let spec = DiskSpec { key: key.clone(), capacity_bytes: source.capacity() };
        let mut sink = point.disk(spec, parent.map(|(parent, _)| parent.id())).await.unwrap();
        let base = match parent {
            Some((parent, _)) => Some(parent.disk(&key).await.unwrap()),
            None => None,
        };
        let scope = parent.map_or(Scope::Allocated, |(_, changed)| Scope::Changed(changed.clone()));
        let mut resumed = ChunkSet::default();
        let known = receipts.lock().unwrap().clone();
        for receipt in &known {
            sink.resume(receipt).await.unwrap().into_iter().for_each(|chunk| resumed.insert(chunk));
        }
        let copy = Copy {
            engine,
            source,
            scope: &scope,
            parent: base.as_deref(),
            chunk_size: CHUNK,
            resumed: &resumed,
        };
        let total = copy.to_read().await.unwrap();
        let keep = |receipt: &Bytes| {
            receipts.lock().unwrap().push(receipt.clone());
            Ok(())
        };
        let told = Telling { key: 0, total, report: &report, keep: &keep };
        let read = copy.run(&mut *sink, &told).await.unwrap();
        assert_eq!(read, total, "what was planned was read");
        sink.finish().await.unwrap();
        read
    };
    let read = futures::future::join_all((0..sources.len()).map(one)).await;
    let point = point.commit(Bytes::new(), Default::default()).await.unwrap();
    for (number, source) in sources.iter().enumerate() {
        let disk = point.disk(&number.to_string()).await.unwrap();
        for chunk in 0..CHUNKS {
            let at = (chunk * CHUNK) as usize;
            let expected = Bytes::copy_from_slice(&source.image[at..at + CHUNK as usize]);
            assert!(disk.matches(chunk, &expected).await.unwrap(), "chunk {chunk} of disk {number}");
        }
    }
    (point, read.into_iter().sum())
}

fn source(image: &Arc<Vec<u8>>) -> Counted {
    Counted { image: Arc::clone(image), counts: Arc::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_budget_is_one_for_all_disks_and_never_exceeded() {
    let store = repository().await;
    for chunks in [1, 3, 100] {
        let engine = Engine::new(Flow::new().bytes_in_flight(chunks * CHUNK), CancelToken::new());
        let counts = Arc::new(Counts::default());
        let sources: Vec<Counted> =
            (0..4).map(|n| Counted { image: image(n * 100 + chunks), counts: Arc::clone(&counts) }).collect();
        copy(&store, &engine, &sources, None, &Mutex::default()).await;
        let most = counts.most.load(Ordering::SeqCst);
        assert!(most <= chunks * CHUNK, "{most} bytes in flight of {chunks} chunks");
        // It is not that nothing runs beside anything.
        assert!(most >= (chunks * CHUNK).min(4 * CHUNK) / 2, "{most} bytes in flight of {chunks} chunks");
        assert_eq!(counts.now.load(Ordering::SeqCst), 0, "bytes are still held");
        assert_eq!(engine.budget.available_permits() as u64, chunks * CHUNK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_changes_are_merged_with_the_parent_and_large_ones_read_whole() {
    let store = repository().await;
    let engine = Engine::new(Flow::new(), CancelToken::new());
    let before = image(5);
    let (parent, _) = copy(&store, &engine, &[source(&before)], None, &Mutex::default()).await;
    let mut after = before.to_vec();
    let changes =
        [(CHUNK + 8192, 4096), (5 * CHUNK - 4096, 8192), (9 * CHUNK, CHUNK), (20 * CHUNK + 512, 512)];
    let changed: Extents =
        changes.iter().filter_map(|(at, length)| ByteRange::with_length(*at, *length)).collect();
    for range in changed.ranges() {
        after[range.start() as usize..range.end() as usize].iter_mut().for_each(|byte| *byte ^= 0xff);
    }
    let now = source(&Arc::new(after));
    let counts = Arc::clone(&now.counts);
    let with = Some((&parent, &changed));
    let (_, read) = copy(&store, &engine, &[now], with, &Mutex::default()).await;
    assert_eq!(read, 4096 + 8192 + CHUNK + 4096, "blocks, and the one chunk that changed whole");
    assert_eq!(counts.read.load(Ordering::SeqCst), read);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_receipts_prove_is_not_read_again() {
    let store = repository().await;
    let engine = Engine::new(Flow::new().receipt_every(16 * CHUNK), CancelToken::new());
    let disk = image(9);
    let receipts = Mutex::new(Vec::new());
    // The first run is dropped before its point is committed; what it put is in the store.
    {
        let point = BackupStore::begin(&store, PointDraft::new(MachineId::new("m").unwrap())).await.unwrap();
        let spec = DiskSpec { key: "0".into(), capacity_bytes: CHUNKS * CHUNK };
        let mut sink = point.disk(spec, None).await.unwrap();
        for chunk in 0..40_u64 {
            let at = (chunk * CHUNK) as usize;
            sink.put(chunk, Bytes::copy_from_slice(&disk[at..at + CHUNK as usize])).await.unwrap();
            if chunk == 31 {
                let receipt = sink.receipt().await.unwrap();
                receipts.lock().unwrap().push(receipt);
            }
        }
    }
    let second = source(&disk);
    let counts = Arc::clone(&second.counts);
    let (_, read) = copy(&store, &engine, &[second], None, &receipts).await;
    assert_eq!((read, counts.read.load(Ordering::SeqCst)), (32 * CHUNK, 32 * CHUNK));
    assert_eq!(
        receipts.lock().unwrap().len(),
        3,
        "the second run has receipts of its own, each for 16 chunks"
    );
}
