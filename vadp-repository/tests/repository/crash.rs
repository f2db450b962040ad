//! The power goes at every write in turn. See docs/repository-format.md, "Write order".

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use vadp_repository::{
    CheckDepth, ChunkStore, DiskMap, DiskSpec, ErrorKind, InitOptions, PointDraft, Repository, RestorePoint,
    Result,
};

use crate::support::*;

const CAPACITY: u64 = 14 * CHUNK as u64 + 512;

fn first_image() -> Image {
    (0..14).map(|n| (n, noise(n, CHUNK))).collect()
}

fn changes(disk: u64) -> Image {
    (0..7).map(|n| (2 * n, noise(1000 * (disk + 1) + n, CHUNK))).collect()
}

/// The second backup: two disks at the same time, an incremental and a new one, several packs.
async fn second_backup(repo: &Repository, parent: &DiskMap) -> Result<RestorePoint> {
    let writer = repo.begin(PointDraft::new(machine("web"))).await?;
    let spec = |key: &str| DiskSpec { key: key.to_owned(), capacity_bytes: CAPACITY };
    let write = |number, parent: Option<&DiskMap>| {
        let disk = writer.disk(spec(&format!("disk {number}")), parent);
        async move {
            let mut disk = disk?;
            for (chunk, data) in changes(number) {
                disk.put(chunk, data).await?;
            }
            disk.finish().await
        }
    };
    let (first, second) = tokio::join!(write(0, Some(parent)), write(1, None));
    first?;
    second?;
    writer.commit(Bytes::from_static(b"second"), BTreeMap::new()).await
}

async fn is_second(point: &RestorePoint) {
    let mut image = first_image();
    image.extend(changes(0));
    compare(&point.disk("disk 0").unwrap(), &image).await.unwrap();
    compare(&point.disk("disk 1").unwrap(), &changes(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_stops_anywhere_is_absent_or_complete() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let first = back_up(&repo, "web", CAPACITY, &first_image(), None).await.unwrap().id();
    let before = store.objects().clone();
    for failure in [Failure::Refuse, Failure::LoseAnswer, Failure::Hang, Failure::HangAfterStore] {
        let mut appeared = 0;
        for fail_from in 0.. {
            let store = MemoryStore::failing(before.clone(), fail_from, failure);
            let repo = open(&store).await.unwrap();
            let map = repo.point(first).await.unwrap().disk("disk").unwrap().map().clone();
            let result = tokio::select! {
                result = second_backup(&repo, &map) => Some(result),
                () = store.hung.notified() => None,
            };
            if let Some(Ok(point)) = result {
                is_second(&point).await;
                assert!(fail_from > 6, "the backup is too small for this test: {fail_from} writes");
                break;
            }
            // What a program finds after the machine has started again.
            let store = MemoryStore::failing(store.objects().clone(), usize::MAX, failure);
            let repo = open(&store).await.unwrap();
            compare(&repo.point(first).await.unwrap().disk("disk").unwrap(), &first_image()).await.unwrap();
            let report = repo.check(CheckDepth::Deep).await.unwrap();
            assert!(report.is_ok(), "{failure:?} at write {fail_from}: {report}");
            for point in repo.points(None).await.unwrap() {
                if point.id != first {
                    appeared += 1;
                    is_second(&repo.point(point.id).await.unwrap()).await;
                }
            }
            let again = second_backup(&repo, &map).await.unwrap();
            is_second(&again).await;
        }
        let stores = matches!(failure, Failure::LoseAnswer | Failure::HangAfterStore);
        assert_eq!(
            appeared,
            usize::from(stores),
            "only the last write makes the point visible ({failure:?})"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backup_is_resumed_by_deduplication() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    // All but the commit: the index is written when the point's own create fails.
    let writes = store.creates();
    back_up(&repo, "web", CAPACITY, &first_image(), None).await.unwrap();
    let writes = store.creates() - writes;
    let fresh = MemoryStore::failing(BTreeMap::new(), 2 + writes - 1, Failure::Refuse);
    let repo = init(&fresh).await;
    let error = back_up(&repo, "web", CAPACITY, &first_image(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
    let store = MemoryStore::failing(fresh.objects().clone(), usize::MAX, Failure::Refuse);
    let repo = open(&store).await.unwrap();
    let leftovers = repo.check(CheckDepth::Deep).await.unwrap().leftovers;
    assert_eq!((leftovers.packs.len(), leftovers.unneeded_chunks), (0, 14 + 1));
    let point = back_up(&repo, "web", CAPACITY, &first_image(), None).await.unwrap();
    assert_eq!(point.disks()[0].summary.dedup_chunks, 14);
    assert_eq!(repo.check(CheckDepth::Deep).await.unwrap().leftovers.unneeded_chunks, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphan_packs_are_reported_and_are_no_damage() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let writer = repo.begin(PointDraft::new(machine("web"))).await.unwrap();
    let mut disk = writer.disk(DiskSpec { key: "disk".to_owned(), capacity_bytes: CAPACITY }, None).unwrap();
    for (chunk, data) in first_image() {
        disk.put(chunk, data).await.unwrap();
    }
    disk.finish().await.unwrap();
    drop(writer);
    let report = repo.check(CheckDepth::Deep).await.unwrap();
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.leftovers.packs.len(), store.names("packs").len());
    assert!(!report.leftovers.packs.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_init_that_stops_may_be_run_again() {
    for failure in [Failure::Refuse, Failure::LoseAnswer] {
        for fail_from in 0..2 {
            let store = MemoryStore::failing(BTreeMap::new(), fail_from, failure);
            let options = InitOptions::with_chunk_size(CHUNK as u32);
            let result =
                Repository::init(Arc::clone(&store) as Arc<dyn ChunkStore>, &secret(), options).await;
            assert_eq!(result.err().unwrap().kind(), ErrorKind::Store);
            let store = MemoryStore::failing(store.objects().clone(), usize::MAX, failure);
            if fail_from == 1 && failure == Failure::LoseAnswer {
                assert!(open(&store).await.is_ok());
                continue;
            }
            assert_eq!(open(&store).await.err().unwrap().kind(), ErrorKind::NotARepository);
            let repo = init(&store).await;
            let report = repo.check(CheckDepth::Quick).await.unwrap();
            assert!(report.is_ok(), "{report}");
            assert_eq!(report.leftovers.key_slots.len(), store.names("keys").len() - 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_one_of_two_inits_that_race_wins() {
    let store = MemoryStore::new();
    let options = InitOptions::with_chunk_size(CHUNK as u32);
    let secret = secret();
    let race = || Repository::init(Arc::clone(&store) as Arc<dyn ChunkStore>, &secret, options);
    let (a, b) = tokio::join!(race(), race());
    let (winner, loser) = if a.is_ok() { (a, b) } else { (b, a) };
    assert_eq!(loser.err().unwrap().kind(), ErrorKind::AlreadyExists);
    assert_eq!(open(&store).await.unwrap().id(), winner.unwrap().id());
}

#[tokio::test(flavor = "multi_thread")]
async fn staged_files_of_a_crash_are_not_objects() {
    let folder = tempfile::tempdir().unwrap();
    let options = InitOptions::with_chunk_size(CHUNK as u32);
    let repo = Repository::init_local(folder.path(), &secret(), options).await.unwrap();
    let point = back_up(&repo, "web", CAPACITY, &first_image(), None).await.unwrap();
    let name = point.id().to_string();
    std::fs::write(folder.path().join("points").join(format!("{name}#1")), b"half a point").unwrap();
    std::fs::create_dir_all(folder.path().join("packs/ab")).unwrap();
    std::fs::write(folder.path().join(format!("packs/ab/ab{}#2", &name[2..])), b"half a pack").unwrap();
    let repo = Repository::open_local(folder.path(), &secret()).await.unwrap();
    assert_eq!(repo.points(None).await.unwrap().len(), 1);
    let report = repo.check(CheckDepth::Deep).await.unwrap();
    assert!(report.is_ok(), "{report}");
    assert_eq!(report.leftovers, Default::default());
    back_up(&repo, "web", CAPACITY, &first_image(), None).await.unwrap();
}
