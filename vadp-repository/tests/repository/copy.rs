//! Restore points that go to another repository. See docs/repository-format.md, "Copies".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use vadp_repository::{
    CheckDepth, ChunkStore, DiskMap, DiskSpec, ErrorKind, FaultPlan, FaultStore, InitOptions, Origin,
    PointDraft, Repository, RestorePoint, Secret,
};

use crate::support::*;

const CAPACITY: u64 = 9 * CHUNK as u64 + 512;

fn image(seed: u64) -> Image {
    let mut image: Image = (0..6).map(|chunk| (chunk, noise(seed + chunk, CHUNK))).collect();
    image.insert(7, prose(seed, CHUNK));
    image.insert(9, noise(seed, 512));
    image
}

/// With everything that a point can have.
async fn rich(repo: &Repository, time: u64, image: &Image, parent: Option<&DiskMap>) -> RestorePoint {
    let created = UNIX_EPOCH + Duration::from_micros(time);
    let draft = PointDraft::new(machine("web")).created(created).tag("kind", "nightly").tag("a", "");
    let writer = repo.begin(draft).await.unwrap();
    let spec = |key: &str, capacity_bytes| DiskSpec { key: key.to_owned(), capacity_bytes };
    let mut disk = writer.disk(spec("disk", CAPACITY), parent).unwrap();
    for (chunk, data) in image {
        disk.put(*chunk, data.clone()).await.unwrap();
    }
    disk.finish().await.unwrap();
    writer.disk(spec("empty", 1), None).unwrap().finish().await.unwrap();
    let of_disks = BTreeMap::from([("disk".to_owned(), Bytes::from("of the disk"))]);
    writer.commit(Bytes::from("of the point"), of_disks).await.unwrap()
}

pub fn is_alike(copy: &RestorePoint, original: &RestorePoint) {
    assert_eq!((copy.machine(), copy.created()), (original.machine(), original.created()));
    assert_eq!((copy.tags(), copy.metadata()), (original.tags(), original.metadata()));
    let disks = |point: &RestorePoint| -> Vec<_> {
        let disk = |key: &str| point.disk(key).unwrap().metadata().clone();
        point.disks().iter().map(|info| (info.key.clone(), info.capacity_bytes, disk(&info.key))).collect()
    };
    assert_eq!(disks(copy), disks(original));
}

/// Another repository, with other keys.
async fn another(chunk_size: u32) -> (Arc<MemoryStore>, Repository) {
    let store = MemoryStore::new();
    let mut options = InitOptions::with_chunk_size(chunk_size);
    options.limits = limits();
    let secret = Secret::raw_key([99; 32]);
    let repo = Repository::init(Arc::clone(&store) as Arc<dyn ChunkStore>, &secret, options).await.unwrap();
    (store, repo)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_the_point_with_all_that_it_has() {
    let repo = init(&MemoryStore::new()).await;
    let point = rich(&repo, 1_234_567, &image(1), None).await;
    let (_, other) = another(CHUNK as u32).await;
    let seen = Mutex::new(Vec::new());
    let copied =
        repo.copy_point(point.id(), &other, |progress| seen.lock().unwrap().push(progress)).await.unwrap();
    assert!(copied.is_new);
    is_alike(&copied.point, &point);
    let origin = Origin { repository: repo.id(), point: point.id() };
    assert_eq!((copied.point.origin(), point.origin()), (Some(origin), None));
    // As it is read, not only as it was handed back.
    let read = other.point(copied.point.id()).await.unwrap();
    is_alike(&read, &point);
    compare(&read.disk("disk").unwrap(), &image(1)).await.unwrap();
    assert!(other.check(CheckDepth::Deep).await.unwrap().is_ok());
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted_by_key(|progress| progress.done_bytes));
    let last = seen.last().unwrap();
    assert_eq!((last.done_bytes, last.total_bytes), (CAPACITY + 1, CAPACITY + 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_is_copied_once_by_whatever_way() {
    let repo = init(&MemoryStore::new()).await;
    let point = rich(&repo, 1, &image(1), None).await;
    let ((store, second), (_, third)) = (another(CHUNK as u32).await, another(CHUNK as u32).await);
    let copy = repo.copy_point(point.id(), &second, |_| ()).await.unwrap().point;
    let before = store.objects().clone();
    let again = repo.copy_point(point.id(), &second, |_| ()).await.unwrap();
    assert_eq!((again.is_new, again.point.id()), (false, copy.id()));
    assert_eq!(*store.objects(), before);
    // A copy of a copy is one of the original; and back at home it is known.
    let far = second.copy_point(copy.id(), &third, |_| ()).await.unwrap().point;
    assert_eq!(far.origin(), copy.origin());
    assert!(!repo.copy_point(point.id(), &third, |_| ()).await.unwrap().is_new);
    let home = third.copy_point(far.id(), &repo, |_| ()).await.unwrap();
    assert_eq!((home.is_new, home.point.id()), (false, point.id()));
    // When it has gone there, it comes back.
    repo.remove_point(point.id(), true).await.unwrap();
    let home = third.copy_point(far.id(), &repo, |_| ()).await.unwrap();
    assert!(home.is_new && home.point.disks()[0].summary.new_chunks == 0);
    compare(&home.point.disk("disk").unwrap(), &image(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_further_copy_reads_and_sends_what_differs() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let first = rich(&repo, 1, &image(1), None).await;
    let (there, other) = another(CHUNK as u32).await;
    let first_copy = repo.copy_point(first.id(), &other, |_| ()).await.unwrap().point;
    let zero = Bytes::from(vec![0; CHUNK]);
    let changes: Image = [(2, noise(70, CHUNK)), (3, zero), (8, noise(71, CHUNK))].into();
    let second = rich(&repo, 2, &changes, Some(first.disk("disk").unwrap().map())).await;
    let mut expected = image(1);
    expected.extend(changes);
    expected.remove(&3);
    let size = |store: &MemoryStore| store.objects().values().map(|object| object.len()).sum::<usize>();
    let before = size(&there);
    let counting = Arc::new(FaultStore::new(Arc::clone(&store), FaultPlan::default()));
    let from = Repository::open(Arc::clone(&counting) as Arc<dyn ChunkStore>, &secret()).await.unwrap();
    let opened = counting.operations();
    let copied = from.copy_point(second.id(), &other, |_| ()).await.unwrap().point;
    compare(&copied.disk("disk").unwrap(), &expected).await.unwrap();
    let summary = copied.disks()[0].summary;
    assert_eq!((summary.read_chunks, summary.zero_chunks, summary.new_chunks), (2, 1, 2));
    assert_eq!((summary.inherited_chunks, copied.parent()), (6, Some(first_copy.id())));
    // Points, index listings, two maps and two chunks: not the seven chunks that were there.
    assert!(counting.operations() - opened < 18, "{} operations", counting.operations() - opened);
    let added = size(&there) - before;
    assert!((2 * CHUNK..2 * CHUNK + 10_000).contains(&added), "{added} bytes were sent");

    // Without a point that both have, everything is read, and still sent only once.
    repo.remove_point(first.id(), false).await.unwrap();
    other.remove_point(copied.id(), false).await.unwrap();
    let third = repo.copy_point(second.id(), &other, |_| ()).await.unwrap().point;
    let summary = third.disks()[0].summary;
    assert_eq!((summary.read_chunks, summary.new_chunks, summary.inherited_chunks), (8, 0, 0));
    assert!(size(&there) - before < 2 * CHUNK + 20_000);
    compare(&third.disk("disk").unwrap(), &expected).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_has_grown_or_shrunk_is_copied_after_the_other() {
    let repo = init(&MemoryStore::new()).await;
    let (_, other) = another(CHUNK as u32).await;
    let mut parent: Option<DiskMap> = None;
    for (capacity, whole) in [(CAPACITY, false), (CAPACITY + 2 * CHUNK as u64, false), (CHUNK as u64, true)] {
        let last = capacity.div_ceil(CHUNK as u64) - 1;
        let mut image: Image = (0..=last).map(|chunk| (chunk, noise(chunk, CHUNK))).collect();
        image.insert(last, noise(capacity, (capacity - last * CHUNK as u64) as usize));
        let before = parent.take().filter(|_| !whole);
        let point = back_up(&repo, "web", capacity, &image, before.as_ref()).await.unwrap();
        parent = Some(point.disk("disk").unwrap().map().clone());
        let copied = repo.copy_point(point.id(), &other, |_| ()).await.unwrap().point;
        compare(&copied.disk("disk").unwrap(), &image).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_not_copied_and_what_the_other_has_lost_is_given_again() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let first = rich(&repo, 1, &image(1), None).await;
    let (there, other) = another(CHUNK as u32).await;
    repo.copy_point(first.id(), &other, |_| ()).await.unwrap();
    let changes: Image = [(2, noise(70, CHUNK))].into();
    let second = rich(&repo, 2, &changes, Some(first.disk("disk").unwrap().map())).await;
    let lost = there.names("packs").into_iter().max_by_key(|name| there.objects()[name].len()).unwrap();
    there.objects().remove(&lost);
    let copied = repo.copy_point(second.id(), &other, |_| ()).await.unwrap().point;
    let mut expected = image(1);
    expected.extend(changes);
    compare(&copied.disk("disk").unwrap(), &expected).await.unwrap();
    // The first copy is whole again by it, but for what only it had.
    assert!(there.objects().len() > 3);

    let (there, other) = another(CHUNK as u32).await;
    let pack = store.names("packs").into_iter().max_by_key(|name| store.objects()[name].len()).unwrap();
    store.change(&pack, |bytes| bytes[64 + 1000] ^= 1);
    let error = repo.copy_point(first.id(), &other, |_| ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.location().disk_range.is_some(), "{error}");
    assert!(there.names("points").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_cannot_be_are_refused() {
    let repo = init(&MemoryStore::new()).await;
    let point = rich(&repo, 1, &image(1), None).await;
    let (there, other) = another(2 * CHUNK as u32).await;
    let before = there.objects().clone();
    let error = repo.copy_point(point.id(), &other, |_| ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("262144") && error.to_string().contains("524288"), "{error}");
    assert_eq!(*there.objects(), before);
    assert_eq!(repo.copy_point(point.id(), &repo, |_| ()).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let (_, other) = another(CHUNK as u32).await;
    assert_eq!(other.copy_point(point.id(), &repo, |_| ()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_dropped_leaves_no_point_and_is_taken_up_again() {
    let repo = init(&MemoryStore::new()).await;
    let point = rich(&repo, 1, &image(1), None).await;
    let store = MemoryStore::failing(BTreeMap::new(), 4, Failure::HangAfterStore);
    let mut options = InitOptions::with_chunk_size(CHUNK as u32);
    options.limits = limits();
    let other =
        Repository::init(Arc::clone(&store) as Arc<dyn ChunkStore>, &secret(), options).await.unwrap();
    tokio::select! {
        _ = repo.copy_point(point.id(), &other, |_| ()) => panic!("the store hangs"),
        () = store.hung.notified() => {}
    }
    let store = MemoryStore::failing(store.objects().clone(), usize::MAX, Failure::Refuse);
    let other = open(&store).await.unwrap();
    assert!(other.points(None).await.unwrap().is_empty());
    let copied = repo.copy_point(point.id(), &other, |_| ()).await.unwrap().point;
    compare(&copied.disk("disk").unwrap(), &image(1)).await.unwrap();
}
