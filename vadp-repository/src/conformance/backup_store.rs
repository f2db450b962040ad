//! What every [`BackupStore`] has to do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::{Broken, Report, Verdict, bytes, require, require_kind};
use crate::backup_store::{BackupStore, ChunkSink, PointSink, StoredDisk, StoredPoint};
use crate::crypto::random;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{MachineId, PointId};
use crate::read::{Chunk, PointInfo};
use crate::write::{DiskSpec, PointDraft};

/// Chunks of the suite's disks; the last one is half a chunk, and a little more.
const CHUNKS: u64 = 9;
/// Bytes of the large metadata.
const LARGE_METADATA: usize = 8 << 20;
/// Restore points of a chain, each of which has another chunk.
const GENERATIONS: u64 = 6;

/// Judges a store of backups. `open` opens the store, each time anew, as another process would. `damage` changes or takes away, behind
/// the store's back, data of every restore point that is there: a bit in every file will do.
///
/// The suite writes restore points of machines whose names begin with `conformance`, and leaves them damaged: give it a store of its own.
///
/// ```
/// use std::sync::Arc;
/// use vadp_repository::{BackupStore, InitOptions, MemoryStore, Repository, Secret, conformance};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (store, key) = (Arc::new(MemoryStore::new()), Secret::raw_key([7; 32]));
/// Repository::init(store.clone(), &key, InitOptions::with_chunk_size(256 << 10)).await?;
/// let open = async || Ok(Arc::new(Repository::open(store.clone(), &key).await?) as Arc<dyn BackupStore>);
/// let damage = async || {
///     for name in store.names().iter().filter(|name| name.starts_with("packs/")) {
///         store.tamper(name, |_| None);
///     }
///     Ok(())
/// };
/// let report = conformance::run_backup_store(open, damage).await?;
/// assert!(report.is_ok(), "{report}");
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Internal`](ErrorKind::Internal) when there is no randomness for the machines' names, and what `open` fails with at first. All else is
/// in the report.
pub async fn run_backup_store(
    open: impl AsyncFn() -> Result<Arc<dyn BackupStore>>,
    damage: impl AsyncFn() -> Result<()>,
) -> Result<Report> {
    let id: String = random::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    let suite = Suite { store: open().await?, id };
    let rules = vec![
        ("what is put is read back, and the rest is zero", suite.round_trip().await),
        ("nothing of a point is visible before its commit", suite.invisible().await),
        ("a point that lacks something is not committed", suite.incomplete().await),
        ("what is not put is as in the parent, which stays as it was", suite.inheritance().await),
        ("each point of a chain is complete in itself", suite.chain().await),
        ("the disks of a point are written at the same time", suite.concurrent_disks().await),
        ("points are listed by their moments, and by machine", suite.order().await),
        ("metadata and tags come back as they were, large ones too", suite.metadata().await),
        ("what cannot be is refused, and the sink stays usable", suite.bad_input().await),
        ("chunks are compared by their bytes", suite.comparison().await),
        ("two may write at a time, through two openings", suite.two_writers(&open).await),
        ("what a receipt proves need not be put again", suite.receipts(&open).await),
        ("opened anew, everything is as it was", suite.reopened(&open).await),
        ("damage is an error, and not other bytes", suite.damage(&open, &damage).await),
    ];
    let of = |(rule, result): (_, Verdict)| (rule, result.err().map(|broken| broken.0));
    Ok(Report { rules: rules.into_iter().map(of).collect() })
}

struct Suite {
    store: Arc<dyn BackupStore>,
    id: String,
}

/// A disk: chunk to bytes. Absent chunks are zero.
type Image = BTreeMap<u64, Bytes>;

/// A disk that is being written, and what it should become.
struct Written {
    sink: Box<dyn ChunkSink>,
    size: usize,
    image: Image,
}

impl Written {
    async fn begin(point: &dyn PointSink, key: &str, parent: Option<PointId>) -> Result<Self, Broken> {
        // The size of chunks is the store's, so a first disk asks for it.
        let probe = point.disk(spec(&format!("{key} probe"), 1), None).await?;
        let size = probe.chunk_size() as usize;
        require((512..=4 << 20).contains(&size), || format!("chunks of {size} bytes"))?;
        probe.finish().await?;
        let sink = point.disk(spec(key, capacity(size)), parent).await?;
        require(sink.chunk_size() as usize == size, || "two disks have chunks of two sizes".to_owned())?;
        Ok(Self { sink, size, image: Image::new() })
    }

    async fn put(&mut self, chunk: u64, seed: u64) -> Verdict {
        let data = bytes(seed, length(chunk, self.size));
        self.sink.put(chunk, data.clone()).await?;
        self.image.insert(chunk, data);
        Ok(())
    }

    async fn finish(self) -> Result<Image, Broken> {
        self.sink.finish().await?;
        Ok(self.image)
    }
}

impl Suite {
    fn machine(&self, name: &str) -> Result<MachineId> {
        MachineId::new(format!("conformance {} {name}", self.id))
    }

    fn draft(&self, machine: &str) -> Result<PointDraft> {
        Ok(PointDraft::new(self.machine(machine)?))
    }

    /// A point of one disk with these chunks, by seed.
    async fn backup(
        &self,
        store: &dyn BackupStore,
        machine: &str,
        parent: Option<(PointId, &Image)>,
        chunks: &[(u64, u64)],
    ) -> Result<(PointId, Image), Broken> {
        let point = store.begin(self.draft(machine)?).await?;
        let mut disk = Written::begin(&*point, "disk", parent.map(|(id, _)| id)).await?;
        disk.image.extend(parent.into_iter().flat_map(|(_, image)| image.clone()));
        for (chunk, seed) in chunks {
            disk.put(*chunk, *seed).await?;
        }
        let image = disk.finish().await?;
        let point = point.commit(Bytes::new(), BTreeMap::new()).await?;
        Ok((point.id(), image))
    }

    async fn round_trip(&self) -> Verdict {
        let point = self.store.begin(self.draft("round")?).await?;
        let mut disk = Written::begin(&*point, "disk", None).await?;
        for chunk in [CHUNKS - 1, 0, 5, 2] {
            disk.put(chunk, chunk + 1).await?;
        }
        disk.sink.put_zero(3)?;
        disk.sink.put(7, vec![0; disk.size].into()).await?;
        // Equal chunks are two chunks all the same.
        disk.put(6, 3).await?;
        let image = disk.finish().await?;
        let point = point.commit(Bytes::new(), BTreeMap::new()).await?;
        compare(&*point, "disk", &image).await?;
        compare(&*self.store.point(point.id()).await?, "disk", &image).await?;
        let latest = self.store.latest(&self.machine("round")?).await?;
        let latest = latest.map(|latest| latest.id());
        require(latest == Some(point.id()), || format!("the latest point is {latest:?}"))
    }

    async fn invisible(&self) -> Verdict {
        let machine = self.machine("invisible")?;
        let nothing = async |when: &str| {
            let (own, all) = (self.store.points(Some(&machine)).await?, self.store.points(None).await?);
            let is_listed = !own.is_empty() || all.iter().any(|point| point.machine == machine);
            let latest = self.store.latest(&machine).await?;
            require(!is_listed && latest.is_none(), || format!("there is a point {when}"))
        };
        let point = self.store.begin(self.draft("invisible")?).await?;
        nothing("when it has just begun").await?;
        let mut disk = Written::begin(&*point, "disk", None).await?;
        disk.put(0, 1).await?;
        nothing("with a disk half written").await?;
        disk.finish().await?;
        nothing("with all disks written").await?;
        drop(point);
        nothing("after it was dropped").await
    }

    async fn incomplete(&self) -> Verdict {
        let point = self.store.begin(self.draft("incomplete")?).await?;
        let mut disk = Written::begin(&*point, "disk", None).await?;
        disk.put(1, 1).await?;
        drop(disk);
        let committed = point.commit(Bytes::new(), BTreeMap::new()).await.map(drop);
        require_kind(committed, ErrorKind::Incomplete, "committing with a disk that was dropped")?;
        let point = self.store.begin(self.draft("incomplete")?).await?;
        let disk = Written::begin(&*point, "disk", None).await?;
        let committed = point.commit(Bytes::new(), BTreeMap::new()).await.map(drop);
        require_kind(committed, ErrorKind::Incomplete, "committing with a disk that is being written")?;
        drop(disk);
        let point = self.store.begin(self.draft("incomplete")?).await?;
        Written::begin(&*point, "disk", None).await?.finish().await?;
        let stray = [("another".to_owned(), Bytes::new())].into();
        let committed = point.commit(Bytes::new(), stray).await.map(drop);
        require_kind(committed, ErrorKind::InvalidInput, "metadata of a disk that is not there")?;
        let listed = self.store.points(Some(&self.machine("incomplete")?)).await?.len();
        require(listed == 0, || format!("{listed} points are there after commits that failed"))
    }

    async fn inheritance(&self) -> Verdict {
        let (parent, before) =
            self.backup(&*self.store, "parent", None, &[(0, 1), (2, 2), (4, 3), (CHUNKS - 1, 4)]).await?;
        let point = self.store.begin(self.draft("parent")?).await?;
        let mut disk = Written::begin(&*point, "disk", Some(parent)).await?;
        disk.image.clone_from(&before);
        disk.put(2, 9).await?;
        disk.put(3, 10).await?;
        disk.sink.put_zero(4)?;
        disk.image.remove(&4);
        let after = disk.finish().await?;
        let child = point.commit(Bytes::new(), BTreeMap::new()).await?;
        compare(&*child, "disk", &after).await?;
        compare(&*self.store.point(parent).await?, "disk", &before).await?;
        let said = child.info().disks.iter().find(|disk| disk.key == "disk").and_then(|disk| disk.parent);
        require(said == Some(parent), || format!("it says that its parent is {said:?}"))
    }

    async fn chain(&self) -> Verdict {
        let mut made: Vec<(PointId, Image)> = Vec::new();
        for number in 0..GENERATIONS {
            let parent = made.last().map(|(id, image)| (*id, image));
            let made_now =
                self.backup(&*self.store, "chain", parent, &[(number, number + 1), (8, number)]).await?;
            made.push(made_now);
        }
        for (id, image) in &made {
            compare(&*self.store.point(*id).await?, "disk", image).await?;
        }
        Ok(())
    }

    async fn concurrent_disks(&self) -> Verdict {
        let point = self.store.begin(self.draft("concurrent")?).await?;
        let write = async |number: u64| {
            let mut disk = Written::begin(&*point, &format!("disk {number}"), None).await?;
            for chunk in 0..CHUNKS {
                disk.put(chunk, number * 100 + chunk + 1).await?;
                tokio::task::yield_now().await;
            }
            disk.finish().await
        };
        let images = futures::future::try_join_all((0..4).map(write)).await?;
        let point = point.commit(Bytes::new(), BTreeMap::new()).await?;
        for (number, image) in images.iter().enumerate() {
            compare(&*point, &format!("disk {number}"), image).await?;
        }
        Ok(())
    }

    async fn order(&self) -> Verdict {
        let moment = |second: u64| UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second);
        for second in [20, 10, 30] {
            let draft = self.draft("order")?.created(moment(second));
            let point = self.store.begin(draft).await?;
            Written::begin(&*point, "disk", None).await?.finish().await?;
            point.commit(Bytes::new(), BTreeMap::new()).await?;
        }
        let machine = self.machine("order")?;
        let moments = |points: &[PointInfo]| -> Vec<SystemTime> {
            points.iter().filter(|point| point.machine == machine).map(|point| point.created).collect()
        };
        let expected = [moment(10), moment(20), moment(30)];
        let (own, all) = (self.store.points(Some(&machine)).await?, self.store.points(None).await?);
        require(own.len() == 3, || format!("{} points of a machine that has 3", own.len()))?;
        require(moments(&own) == expected, || format!("listed in the order of {:?}", moments(&own)))?;
        require(moments(&all) == expected, || "the list of all points has another order".to_owned())?;
        require(all.is_sorted_by_key(|point| point.created), || "all points are out of order".to_owned())?;
        let latest = self.store.latest(&machine).await?.map(|point| point.info().created);
        require(latest == Some(moment(30)), || format!("the latest is of {latest:?}"))?;
        let nobody = self.store.points(Some(&self.machine("nobody")?)).await?;
        require(nobody.is_empty(), || "a machine without points has some".to_owned())?;
        let unknown = self.store.point(PointId::from_bytes(random()?)).await.map(drop);
        require_kind(unknown, ErrorKind::NotFound, "opening a point that is not there")
    }

    async fn metadata(&self) -> Verdict {
        let (large, small) = (bytes(11, LARGE_METADATA), bytes(12, 1000));
        let draft = self.draft("metadata")?.tag("name", "web-01 \u{e9}").tag("", "");
        let point = self.store.begin(draft.clone()).await?;
        for key in ["first", "second"] {
            Written::begin(&*point, key, None).await?.finish().await?;
        }
        let of_disks = [("second".to_owned(), small.clone())].into();
        let id = point.commit(large.clone(), of_disks).await?.id();
        let point = self.store.point(id).await?;
        let tags = &point.info().tags;
        require(*tags == draft.tags, || format!("the tags are {tags:?}"))?;
        require(*point.metadata() == large, || "large metadata came back as other bytes".to_owned())?;
        let (first, second) = (point.disk("first").await?, point.disk("second").await?);
        require(first.metadata().is_empty(), || "a disk has metadata that it was not given".to_owned())?;
        require(*second.metadata() == small, || "a disk's metadata are other bytes".to_owned())?;
        require_kind(point.disk("third").await.map(drop), ErrorKind::NotFound, "opening an absent disk")
    }

    async fn bad_input(&self) -> Verdict {
        let point = self.store.begin(self.draft("bad")?).await?;
        let mut disk = Written::begin(&*point, "disk", None).await?;
        let invalid = |result: Result<()>, what| require_kind(result, ErrorKind::InvalidInput, what);
        disk.put(1, 1).await?;
        let size = disk.size;
        invalid(disk.sink.put(1, bytes(2, size)).await, "putting a chunk twice")?;
        invalid(disk.sink.put_zero(1), "putting a chunk, and then zeros")?;
        invalid(disk.sink.put(2, bytes(2, size - 1)).await, "putting a short chunk")?;
        invalid(disk.sink.put(CHUNKS - 1, bytes(2, size)).await, "putting a last chunk that is too long")?;
        invalid(disk.sink.put(CHUNKS, bytes(2, size)).await, "putting a chunk beyond the end")?;
        invalid(disk.sink.put_zero(CHUNKS), "zeros beyond the end")?;
        invalid(point.disk(spec("disk", 1), None).await.map(drop), "beginning a disk twice")?;
        disk.put(2, 3).await?;
        let image = disk.finish().await?;
        let point = point.commit(Bytes::new(), BTreeMap::new()).await?;
        compare(&*point, "disk", &image).await?;
        let disk = point.disk("disk").await?;
        invalid(disk.read_chunk(CHUNKS).await.map(drop), "reading a chunk beyond the end")
    }

    async fn comparison(&self) -> Verdict {
        let (id, image) = self.backup(&*self.store, "comparison", None, &[(0, 1), (CHUNKS - 1, 2)]).await?;
        let disk = self.store.point(id).await?.disk("disk").await?;
        let size = disk.chunk_size() as usize;
        for (chunk, data) in &image {
            require(disk.matches(*chunk, data).await?, || format!("chunk {chunk} does not match itself"))?;
            let mut other = data.to_vec();
            if let Some(byte) = other.last_mut() {
                *byte ^= 1;
            }
            let matches = disk.matches(*chunk, &other.into()).await?;
            require(!matches, || format!("chunk {chunk} matches when its last bit differs"))?;
            let shorter = disk.matches(*chunk, &data.slice(..data.len() - 1)).await?;
            require(!shorter, || format!("chunk {chunk} matches when it is shorter"))?;
        }
        let zeros = Bytes::from(vec![0; size]);
        require(disk.matches(1, &zeros).await?, || "zeros are no zeros".to_owned())?;
        require(!disk.matches(0, &zeros).await?, || "data are zeros".to_owned())
    }

    async fn two_writers(&self, open: &impl AsyncFn() -> Result<Arc<dyn BackupStore>>) -> Verdict {
        let (other, chunks) = (open().await?, [(0, 1), (1, 2), (2, 3)]);
        let (a, b) = futures::future::join(
            self.backup(&*self.store, "two", None, &chunks),
            self.backup(&*other, "two", None, &chunks),
        )
        .await;
        let (a, b) = (a?, b?);
        require(a.0 != b.0, || "two points have one name".to_owned())?;
        for store in [&self.store, &other] {
            let listed = store.points(Some(&self.machine("two")?)).await?.len();
            require(listed == 2, || format!("one of the two sees {listed} points"))?;
            for (id, image) in [&a, &b] {
                compare(&*store.point(*id).await?, "disk", image).await?;
            }
        }
        Ok(())
    }

    async fn receipts(&self, open: &impl AsyncFn() -> Result<Arc<dyn BackupStore>>) -> Verdict {
        let point = self.store.begin(self.draft("receipts")?).await?;
        let mut disk = Written::begin(&*point, "disk", None).await?;
        disk.put(0, 21).await?;
        disk.put(3, 22).await?;
        let first = disk.sink.receipt().await?;
        disk.put(CHUNKS - 1, 23).await?;
        let second = disk.sink.receipt().await?;
        let image = std::mem::take(&mut disk.image);
        drop((disk, point));

        let store = open().await?;
        let point = store.begin(self.draft("receipts")?).await?;
        let mut disk = Written::begin(&*point, "disk", None).await?;
        let mut resumed = disk.sink.resume(&first).await?;
        resumed.extend(disk.sink.resume(&second).await?);
        require(resumed.iter().all(|chunk| image.contains_key(chunk)), || {
            format!("the receipts prove {resumed:?}, and other chunks were put")
        })?;
        if let Some(chunk) = resumed.first() {
            let again = disk.sink.put_zero(*chunk);
            require_kind(again, ErrorKind::InvalidInput, "putting a chunk that a receipt has put")?;
        }
        let mut damaged = first.to_vec();
        if let Some(byte) = damaged.last_mut() {
            *byte ^= 1;
        }
        let proved = disk.sink.resume(&damaged.into()).await?;
        require(proved.is_empty(), || format!("a damaged receipt proves {proved:?}"))?;
        for (chunk, data) in image.iter().filter(|(chunk, _)| !resumed.contains(chunk)) {
            disk.sink.put(*chunk, data.clone()).await?;
        }
        disk.finish().await?;
        compare(&*point.commit(Bytes::new(), BTreeMap::new()).await?, "disk", &image).await
    }

    async fn reopened(&self, open: &impl AsyncFn() -> Result<Arc<dyn BackupStore>>) -> Verdict {
        let (id, image) = self.backup(&*self.store, "reopened", None, &[(0, 1), (CHUNKS - 1, 2)]).await?;
        let before = self.store.points(None).await?;
        let store = open().await?;
        let after = store.points(None).await?;
        require(before == after, || format!("{} points were there, now {}", before.len(), after.len()))?;
        compare(&*store.point(id).await?, "disk", &image).await
    }

    /// Runs last: the store is of no use afterwards.
    async fn damage(
        &self,
        open: &impl AsyncFn() -> Result<Arc<dyn BackupStore>>,
        damage: &impl AsyncFn() -> Result<()>,
    ) -> Verdict {
        let chunks: Vec<(u64, u64)> = (0..CHUNKS).map(|chunk| (chunk, chunk + 31)).collect();
        let (id, image) = self.backup(&*self.store, "damaged", None, &chunks).await?;
        damage().await?;
        let read = async || {
            let disk = open().await?.point(id).await?.disk("disk").await?;
            let mut failures = 0;
            for (chunk, data) in &image {
                match disk.read_chunk(*chunk).await {
                    Ok(Chunk::Data(read)) if read == *data => {}
                    Ok(_) => return Ok(Err(Broken(format!("chunk {chunk} is read as other bytes")))),
                    Err(_) => failures += 1,
                }
            }
            Ok::<_, Error>(Ok(failures))
        };
        match read().await {
            // The point, or the whole store, is refused: an error as well.
            Err(_) => Ok(()),
            Ok(Err(broken)) => Err(broken),
            Ok(Ok(0)) => Err(Broken("nothing was damaged, so nothing is shown".to_owned())),
            Ok(Ok(_)) => Ok(()),
        }
    }
}

fn spec(key: &str, capacity_bytes: u64) -> DiskSpec {
    DiskSpec { key: key.to_owned(), capacity_bytes }
}

fn capacity(chunk_size: usize) -> u64 {
    let size = chunk_size as u64;
    (CHUNKS - 1) * size + size / 2 + 1
}

fn length(chunk: u64, chunk_size: usize) -> usize {
    if chunk == CHUNKS - 1 { chunk_size / 2 + 1 } else { chunk_size }
}

/// Whether a disk of a point is what it should be: every chunk of it, and its map.
async fn compare(point: &dyn StoredPoint, key: &str, image: &Image) -> Verdict {
    let disk: Arc<dyn StoredDisk> = point.disk(key).await?;
    let size = disk.chunk_size() as usize;
    require(disk.capacity() == capacity(size), || format!("the disk has {} bytes", disk.capacity()))?;
    let listed = point.info().disks.iter().find(|disk| disk.key == key);
    let listed = listed.map(|disk| disk.capacity_bytes);
    require(listed == Some(capacity(size)), || format!("the listing says {listed:?} bytes"))?;
    for chunk in 0..CHUNKS {
        let read = disk.read_chunk(chunk).await?;
        let zeros = || Bytes::from(vec![0; length(chunk, size)]);
        let expected = image.get(&chunk).cloned().unwrap_or_else(zeros);
        let read = match read {
            Chunk::Data(data) => data,
            Chunk::Zero => zeros(),
        };
        require(read == expected, || format!("chunk {chunk} is not what it should be"))?;
    }
    let mapped = disk.chunks(0..u64::MAX).await?;
    require(mapped.is_sorted(), || format!("the map is out of order: {mapped:?}"))?;
    require(mapped.iter().all(|chunk| *chunk < CHUNKS), || "the map goes beyond the end".to_owned())?;
    let missing = image.keys().find(|chunk| !mapped.contains(chunk));
    require(missing.is_none(), || format!("the map calls chunk {missing:?} zero, and it is not"))?;
    let part = disk.chunks(2..5).await?;
    let expected: Vec<u64> = mapped.into_iter().filter(|chunk| (2..5).contains(chunk)).collect();
    require(part == expected, || format!("chunks 2..5 of the map are {part:?}"))
}
