//! Bytes that went in come out, and are stored once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use vadp_repository::{Chunk, ChunkStore, DiskSpec, ErrorKind, InitOptions, PointDraft, Repository, Secret};

use crate::support::*;

const CAPACITY: u64 = 12 * CHUNK as u64 + 5_000;

fn image() -> Image {
    let mut image: Image = (0..6).map(|n| (n * 2, noise(n, CHUNK))).collect();
    image.insert(1, prose(1, CHUNK));
    image.insert(12, prose(2, 5_000));
    image
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/repo");
    let options = InitOptions::with_chunk_size(CHUNK as u32);
    let repo = Repository::init_local(&path, &Secret::password("s3cret"), options).await.unwrap();
    let point = back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();

    let repo = Repository::open_local(&path, &Secret::password("s3cret")).await.unwrap();
    assert_eq!(repo.chunk_size(), CHUNK as u32);
    let latest = repo.latest(&machine("web")).await.unwrap().unwrap();
    assert_eq!(latest.id(), point.id());
    assert_eq!(latest.metadata(), &Bytes::from("metadata of web"));
    assert_eq!(latest.parent(), None);
    let disk = latest.disk("disk").unwrap();
    assert_eq!((disk.capacity(), disk.map().chunk_count()), (CAPACITY, 13));
    compare(&disk, &image()).await.unwrap();
    let allocated = disk.allocated_chunks().collect().await.unwrap();
    assert_eq!(allocated, [0, 1, 2, 4, 6, 8, 10, 12]);
    assert!(latest.disk("other").unwrap_err().is_not_found());
    assert!(repo.latest(&machine("other")).await.unwrap().is_none());

    let error = Repository::open_local(&path, &Secret::password("S3cret")).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    let error = Repository::init_local(&path, &secret(), options).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_at_any_offset_cross_chunks_and_holes() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let point = back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();
    let disk = point.disk("disk").unwrap();
    let mut whole = vec![0; CAPACITY as usize];
    for (chunk, data) in image() {
        let start = chunk as usize * CHUNK;
        whole[start..start + data.len()].copy_from_slice(&data);
    }
    for (offset, length) in
        [(0, 10), (CHUNK - 3, 7), (CHUNK / 2, 3 * CHUNK), (CAPACITY as usize - 1, 1), (5, 0)]
    {
        let mut bytes = vec![0xff; length];
        disk.read_at(offset as u64, &mut bytes).await.unwrap();
        assert!(bytes == whole[offset..offset + length], "{length} bytes at {offset} differ");
    }
    for offset in [CAPACITY, CAPACITY - 1, u64::MAX] {
        let error = disk.read_at(offset, &mut [0; 2]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(disk.read_chunk(13).await.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incremental_stores_only_what_changed_and_is_whole() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let first = back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();
    let parent = first.disk("disk").unwrap();

    let writer = repo.begin(PointDraft::new(machine("web")).tag("kind", "incremental")).await.unwrap();
    let spec = DiskSpec { key: "disk".to_owned(), capacity_bytes: CAPACITY };
    let mut disk = writer.disk(spec, Some(parent.map())).unwrap();
    disk.put(3, noise(99, CHUNK)).await.unwrap();
    disk.put(4, image()[&4].clone()).await.unwrap();
    disk.put(6, Bytes::from(vec![0; CHUNK])).await.unwrap();
    disk.put_zero(8).unwrap();
    let summary = disk.finish().await.unwrap();
    let second = writer.commit(Bytes::new(), BTreeMap::new()).await.unwrap();

    assert_eq!((summary.read_chunks, summary.read_bytes), (3, 3 * CHUNK as u64));
    assert_eq!((summary.new_chunks, summary.new_bytes), (1, CHUNK as u64));
    assert_eq!(summary.stored_bytes, CHUNK as u64 + 16);
    assert_eq!((summary.dedup_chunks, summary.zero_chunks, summary.inherited_chunks), (1, 2, 5));
    assert_eq!(second.disks()[0].summary, summary);
    assert_eq!(second.parent(), Some(first.id()));

    let mut expected = image();
    expected.insert(3, noise(99, CHUNK));
    expected.remove(&6);
    expected.remove(&8);
    let repo = open(&store).await.unwrap();
    let reopened = repo.point(second.id()).await.unwrap();
    assert_eq!(reopened.tags()["kind"], "incremental");
    compare(&reopened.disk("disk").unwrap(), &expected).await.unwrap();
    compare(&repo.point(first.id()).await.unwrap().disk("disk").unwrap(), &image()).await.unwrap();
    let diff = reopened.disk("disk").unwrap().map().diff(parent.map()).await.unwrap();
    assert_eq!(diff, [3, 6, 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_incremental_stores_nothing_but_the_point() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let first = back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();
    let before = store.objects().len();
    let map = first.disk("disk").unwrap().map().clone();
    let second = back_up(&repo, "web", CAPACITY, &Image::new(), Some(&map)).await.unwrap();
    assert_eq!(store.objects().len(), before + 1);
    assert_eq!(second.disk("disk").unwrap().map().diff(&map).await.unwrap(), [0_u64; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_chunks_are_stored_once_over_disks_machines_and_runs() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let same: Image = (0..8).map(|n| (n, noise(1, CHUNK))).collect();
    let point = back_up(&repo, "a", 8 * CHUNK as u64, &same, None).await.unwrap();
    let summary = point.disks()[0].summary;
    assert_eq!((summary.new_chunks, summary.dedup_chunks), (1, 7));
    let repo = open(&store).await.unwrap();
    let point = back_up(&repo, "b", 8 * CHUNK as u64, &same, None).await.unwrap();
    let summary = point.disks()[0].summary;
    assert_eq!((summary.new_chunks, summary.dedup_chunks, summary.stored_bytes), (0, 8, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn prose_is_compressed_and_noise_is_not() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let point = back_up(&repo, "a", CHUNK as u64, &[(0, prose(1, CHUNK))].into(), None).await.unwrap();
    assert!(point.disks()[0].summary.stored_bytes < CHUNK as u64 / 4);
    let point = back_up(&repo, "a", CHUNK as u64, &[(0, noise(1, CHUNK))].into(), None).await.unwrap();
    assert_eq!(point.disks()[0].summary.stored_bytes, CHUNK as u64 + 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sparse_disk_of_a_tebibyte_is_small() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let capacity = 1_u64 << 40;
    let chunks = capacity / CHUNK as u64;
    let image: Image = [0, chunks / 2, chunks - 1].into_iter().map(|n| (n, prose(n, CHUNK))).collect();
    let point = back_up(&repo, "big", capacity, &image, None).await.unwrap();
    let stored: usize = store.objects().values().map(Bytes::len).sum();
    assert!(stored < 400_000, "{stored} bytes are stored for three chunks");
    let disk = point.disk("disk").unwrap();
    let mut walk = disk.allocated_chunks();
    for (chunk, data) in &image {
        assert_eq!(walk.next().await.unwrap(), Some(*chunk));
        assert_eq!(disk.read_chunk(*chunk).await.unwrap(), Chunk::Data(data.clone()));
    }
    assert_eq!(walk.next().await.unwrap(), None);
    let map = disk.map().clone();
    let next = back_up(&repo, "big", capacity, &[(7, noise(7, CHUNK))].into(), Some(&map)).await.unwrap();
    assert_eq!(next.disks()[0].summary.inherited_chunks, 3);
    assert_eq!(next.disk("disk").unwrap().map().diff(&map).await.unwrap(), [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grown_disk_inherits_what_it_can() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let first = back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();
    let map = first.disk("disk").unwrap().map().clone();
    let grown = CAPACITY + 4 * CHUNK as u64;
    let error = back_up(&repo, "web", grown, &Image::new(), Some(&map)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");

    let mut last = image()[&12].to_vec();
    last.resize(CHUNK, 0);
    let changes: Image = [(12, Bytes::from(last)), (15, noise(3, CHUNK))].into();
    let second = back_up(&repo, "web", grown, &changes, Some(&map)).await.unwrap();
    let mut expected = image();
    expected.extend(changes);
    compare(&second.disk("disk").unwrap(), &expected).await.unwrap();
    let error =
        back_up(&repo, "web", CAPACITY, &Image::new(), Some(second.disk("disk").unwrap().map())).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_disks_and_points_are_written_at_the_same_time() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let capacity = 24 * CHUNK as u64;
    let image = |seed: u64| -> Image { (0..24).map(|n| (n, noise(seed * 100 + n % 20, CHUNK))).collect() };
    let back_up_two = |name: &'static str, seed: u64| {
        let repo = repo.clone();
        async move {
            let writer = repo.begin(PointDraft::new(machine(name))).await.unwrap();
            let disks = [0, 1].map(|number| {
                let spec = DiskSpec { key: format!("disk {number}"), capacity_bytes: capacity };
                let mut disk = writer.disk(spec, None).unwrap();
                tokio::spawn(async move {
                    for (chunk, data) in image(seed + number) {
                        disk.put(chunk, data).await.unwrap();
                    }
                    disk.finish().await.unwrap()
                })
            });
            for disk in disks {
                let summary = disk.await.unwrap();
                assert_eq!(summary.new_chunks + summary.dedup_chunks, 24);
            }
            let of_disk = BTreeMap::from([("disk 1".to_owned(), Bytes::from("of disk 1"))]);
            writer.commit(Bytes::from("of point"), of_disk).await.unwrap()
        }
    };
    // The two machines share the images of one disk.
    let (a, b) = tokio::join!(back_up_two("a", 1), back_up_two("b", 2));
    let repo = open(&store).await.unwrap();
    for (point, seed) in [(a, 1), (b, 2)] {
        let point = repo.point(point.id()).await.unwrap();
        for number in [0, 1] {
            compare(&point.disk(&format!("disk {number}")).unwrap(), &image(seed + number)).await.unwrap();
        }
        assert_eq!(point.disk("disk 0").unwrap().metadata(), &Bytes::new());
        assert_eq!(point.disk("disk 1").unwrap().metadata(), &Bytes::from("of disk 1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn points_are_listed_by_machine_and_time() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    for (name, second) in [("a", 30), ("b", 20), ("a", 10), ("a", 20)] {
        let created = UNIX_EPOCH + Duration::new(second, 123_456_000);
        let draft = PointDraft::new(machine(name)).created(created);
        repo.begin(draft).await.unwrap().commit(Bytes::new(), BTreeMap::new()).await.unwrap();
    }
    let times = |points: Vec<vadp_repository::PointInfo>| -> Vec<u64> {
        points.iter().map(|point| point.created.duration_since(UNIX_EPOCH).unwrap().as_secs()).collect()
    };
    assert_eq!(times(repo.points(Some(&machine("a"))).await.unwrap()), [10, 20, 30]);
    assert_eq!(times(repo.points(None).await.unwrap()), [10, 20, 20, 30]);
    let latest = repo.latest(&machine("a")).await.unwrap().unwrap();
    assert_eq!(latest.created(), UNIX_EPOCH + Duration::new(30, 123_456_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_head_is_listed_too() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let draft = PointDraft::new(machine("a")).tag("note", "x".repeat(100_000));
    let point = repo.begin(draft).await.unwrap().commit(Bytes::new(), BTreeMap::new()).await.unwrap();
    assert_eq!(repo.points(None).await.unwrap(), [point.info().clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use_is_refused() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let kind = |result: vadp_repository::Result<()>| result.unwrap_err().kind();
    let spec = |key: &str, capacity_bytes| DiskSpec { key: key.to_owned(), capacity_bytes };

    let writer = repo.begin(PointDraft::new(machine("a"))).await.unwrap();
    let mut disk = writer.disk(spec("d", CAPACITY), None).unwrap();
    assert_eq!(kind(disk.put(0, noise(1, CHUNK - 1)).await), ErrorKind::InvalidInput);
    assert_eq!(kind(disk.put(12, noise(1, CHUNK)).await), ErrorKind::InvalidInput);
    assert_eq!(kind(disk.put(13, noise(1, CHUNK)).await), ErrorKind::InvalidInput);
    disk.put(0, noise(1, CHUNK)).await.unwrap();
    assert_eq!(kind(disk.put(0, noise(1, CHUNK)).await), ErrorKind::InvalidInput);
    assert_eq!(kind(disk.put_zero(0)), ErrorKind::InvalidInput);
    for bad in [
        spec("d", CAPACITY),
        spec("", CAPACITY),
        spec("e", 0),
        spec(&"k".repeat(1025), 1),
        spec("f", u64::MAX),
    ] {
        assert_eq!(kind(writer.disk(bad, None).map(|_| ())), ErrorKind::InvalidInput);
    }
    // The good put is still good.
    disk.finish().await.unwrap();
    let unknown = BTreeMap::from([("x".to_owned(), Bytes::new())]);
    assert_eq!(kind(writer.commit(Bytes::new(), unknown).await.map(|_| ())), ErrorKind::InvalidInput);

    let writer = repo.begin(PointDraft::new(machine("a"))).await.unwrap();
    let mut disk = writer.disk(spec("d", CAPACITY), None).unwrap();
    disk.put(0, noise(1, CHUNK)).await.unwrap();
    drop(disk);
    assert_eq!(kind(writer.commit(Bytes::new(), BTreeMap::new()).await.map(|_| ())), ErrorKind::Incomplete);
    assert!(repo.points(None).await.unwrap().is_empty());

    let other = init(&MemoryStore::new()).await;
    let foreign = back_up(&other, "a", CAPACITY, &image(), None).await.unwrap().disk("disk").unwrap();
    let error = back_up(&repo, "a", CAPACITY, &image(), Some(foreign.map())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    for bad in [0, 1 << 17, (1 << 20) + 1, 1 << 23] {
        let options = InitOptions::with_chunk_size(bad);
        let store: Arc<MemoryStore> = MemoryStore::new();
        assert_eq!(
            kind(Repository::init(store, &secret(), options).await.map(|_| ())),
            ErrorKind::InvalidInput
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_nobody_polls_any_more_holds_nobody_up() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let image: Image = (0..12).map(|chunk| (chunk, prose(chunk, CHUNK))).collect();
    back_up(&repo, "web", CAPACITY, &image, None).await.unwrap();
    let mut one_worker = limits();
    one_worker.workers = 1;
    let repo = Repository::open_with(Arc::clone(&store) as Arc<dyn ChunkStore>, &secret(), one_worker).await;
    let disk = repo.unwrap().latest(&machine("web")).await.unwrap().unwrap().disk("disk").unwrap();
    disk.read_chunk(11).await.unwrap();
    // Each is begun, and left alone in line for the worker.
    let mut left: Vec<_> = (0..8).map(|chunk| Box::pin(disk.read_chunk(chunk))).collect();
    for read in &mut left {
        assert!(futures::poll!(read.as_mut()).is_pending());
    }
    let last = tokio::time::timeout(Duration::from_secs(60), disk.read_chunk(9)).await;
    assert!(last.expect("it waits for those that nobody polls").unwrap() == Chunk::Data(image[&9].clone()));
}
