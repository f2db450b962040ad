//! Whatever is altered is noticed, and the place is named. See docs/repository-format.md, "Threat model".

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use vadp_repository::{
    CheckDepth, CheckReport, DiskSpec, Error, ErrorKind, PackId, PointDraft, PointId, Repository, Secret,
};

use crate::support::*;

const CAPACITY: u64 = 6 * CHUNK as u64 + 512;

fn image() -> Image {
    let mut image: Image = (0..5).map(|n| (n, noise(n, CHUNK))).collect();
    image.insert(6, noise(6, 512));
    image
}

/// A repository with one point, whose data is in two packs.
async fn filled() -> (Arc<MemoryStore>, PointId) {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let id = back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap().id();
    (store, id)
}

/// Packs of data, then packs of pages.
fn packs(store: &MemoryStore) -> (Vec<String>, Vec<String>) {
    store.names("packs").into_iter().partition(|name| store.objects()[name][10] == 1)
}

async fn restore(store: &Arc<MemoryStore>, id: PointId) -> Result<(), Error> {
    let repo = open(store).await?;
    compare(&repo.point(id).await?.disk("disk")?, &image()).await
}

async fn check(store: &Arc<MemoryStore>, depth: CheckDepth) -> CheckReport {
    open(store).await.unwrap().check(depth).await.unwrap()
}

fn pack_id(name: &str) -> PackId {
    PackId::parse(name.rsplit('/').next().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_repository_has_no_damage() {
    let (store, _) = filled().await;
    let report = check(&store, CheckDepth::Deep).await;
    assert!(report.is_ok(), "{report}");
    assert_eq!((report.points, report.packs, report.chunks), (1, 3, 6));
    let stored: usize = store.names("packs").iter().map(|name| store.objects()[name].len()).sum();
    assert_eq!(report.verified_bytes, stored as u64);
    assert_eq!(report.leftovers, Default::default());
    assert!(report.to_string().ends_with("no damage found"));
}

/// Every byte near both ends of an object, and some hundred in between.
fn flips(object: &[u8]) -> Vec<usize> {
    let (edge, step) = (300, (object.len() / 150).max(1));
    (0..object.len()).filter(|at| *at < edge || object.len() - at <= edge || at % step == 0).collect()
}

fn with_flips(before: &BTreeMap<String, Bytes>, flips: &[(&String, usize)]) -> Arc<MemoryStore> {
    let store = MemoryStore::failing(before.clone(), usize::MAX, Failure::Refuse);
    flips.iter().for_each(|(name, at)| store.change(name, |bytes| bytes[*at] ^= 1 << (at % 8)));
    store
}

/// Flips one bit of each byte of the small objects, and of many bytes of the packs.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_anywhere_is_noticed() {
    let (store, id) = filled().await;
    let before = store.objects().clone();
    let (packs, others): (Vec<_>, Vec<_>) = before.iter().partition(|(name, _)| name.starts_with("packs/"));
    for (name, object) in others {
        for at in flips(object) {
            let store = with_flips(&before, &[(name, at)]);
            let noticed = match open(&store).await {
                Err(error) => !matches!(error.kind(), ErrorKind::Store | ErrorKind::Internal),
                Ok(repo) => !repo.check(CheckDepth::Quick).await.unwrap().is_ok(),
            };
            assert!(noticed, "byte {at} of {name} was flipped, and nobody noticed");
            if name.starts_with("points") {
                let error = restore(&store, id).await.unwrap_err();
                assert!(matches!(
                    error.kind(),
                    ErrorKind::Damaged | ErrorKind::UnsupportedFormat | ErrorKind::WrongKey
                ));
            }
        }
    }
    // One bit of each pack at a time: a deep check, which reads them all, has to name each.
    let flips: Vec<_> = packs.iter().map(|(name, object)| (*name, flips(object))).collect();
    for round in 0..flips.iter().map(|(_, flips)| flips.len()).max().unwrap() {
        let flipped: Vec<_> =
            flips.iter().filter_map(|(name, flips)| Some((*name, *flips.get(round)?))).collect();
        let repo = open(&with_flips(&before, &flipped)).await.unwrap();
        let report = repo.check(CheckDepth::Deep).await.unwrap();
        for (name, at) in flipped {
            let noticed = report.damage.iter().any(|damage| damage.object.as_ref() == Some(name));
            assert!(noticed, "byte {at} of {name} was flipped, and nobody noticed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_a_flipped_chunk_names_the_place() {
    let (store, id) = filled().await;
    let (data, _) = packs(&store);
    for name in &data {
        let before = store.objects()[name].clone();
        store.change(name, |bytes| bytes[64 + 1000] ^= 0x10);
        let error = restore(&store, id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        let at = error.location().clone();
        assert_eq!(at.pack, Some(pack_id(name)));
        assert_eq!(at.disk.as_deref(), Some("disk"));
        let range = at.disk_range.unwrap();
        assert_eq!(range.start % CHUNK as u64, 0);
        let text = error.to_string();
        for part in ["altered", "\"disk\"", &format!("{}..{}", range.start, range.end)] {
            assert!(text.contains(part), "{text:?} lacks {part:?}");
        }
        assert!(text.contains(&pack_id(name).to_string()) && text.contains(&at.chunk.unwrap().to_string()));

        assert!(check(&store, CheckDepth::Quick).await.is_ok(), "a quick check does not read chunks");
        let report = check(&store, CheckDepth::Deep).await;
        assert_eq!(report.damage.len(), 1, "{report}");
        let damage = &report.damage[0];
        assert_eq!((damage.pack, damage.chunk), (Some(pack_id(name)), at.chunk));
        assert_eq!((damage.lost.len(), &damage.lost[0].bytes), (1, &range));
        assert_eq!((damage.lost[0].point, damage.lost[0].disk.as_str()), (id, "disk"));
        store.objects().insert(name.clone(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_and_cut_packs_are_damage_and_heal_by_a_full_backup() {
    for cut in [false, true] {
        let (store, id) = filled().await;
        let (data, _) = packs(&store);
        let name = data.iter().max_by_key(|name| store.objects()[*name].len()).unwrap();
        match cut {
            true => store.change(name, |bytes| bytes.truncate(bytes.len() / 2)),
            false => _ = store.objects().remove(name),
        }
        let error = restore(&store, id).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.location().pack),
            (ErrorKind::Damaged, Some(pack_id(name))),
            "{error}"
        );
        let report = check(&store, CheckDepth::Quick).await;
        assert_eq!(report.damage.len(), 1, "{report}");
        assert_eq!(report.damage[0].object.as_ref(), Some(name));
        let lost: u64 = report.damage[0].lost.iter().map(|lost| lost.bytes.end - lost.bytes.start).sum();
        assert!(lost >= 2 * CHUNK as u64, "{report}");

        // An incremental must not hand the loss on; a full backup stores the bytes again, also for the old point.
        let repo = open(&store).await.unwrap();
        let map = repo.point(id).await.unwrap().disk("disk").unwrap().map().clone();
        let error = back_up(&repo, "web", CAPACITY, &Image::new(), Some(&map)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        assert!(error.location().disk_range.is_some());
        back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();
        restore(&store, id).await.unwrap();
        assert!(check(&store, CheckDepth::Quick).await.damage.iter().all(|damage| damage.lost.is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_page_pack_loses_the_whole_disk() {
    let (store, id) = filled().await;
    let (_, pages) = packs(&store);
    store.objects().remove(&pages[0]);
    assert_eq!(restore(&store, id).await.unwrap_err().location().pack, Some(pack_id(&pages[0])));
    let report = check(&store, CheckDepth::Quick).await;
    assert_eq!(report.damage.len(), 1, "{report}");
    assert_eq!(report.damage[0].lost[0].bytes, 0..CAPACITY);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_damaged_index_is_no_hole_and_heals_by_a_full_backup() {
    for flip in [false, true] {
        let (store, id) = filled().await;
        let name = store.names("index").remove(0);
        match flip {
            true => store.change(&name, |bytes| bytes[100] ^= 1),
            false => _ = store.objects().remove(&name),
        }
        let error = restore(&store, id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        let report = check(&store, CheckDepth::Quick).await;
        assert_eq!(report.damage.len(), 1 + usize::from(flip), "{report}");
        assert_eq!(report.leftovers.packs.len(), 3);
        let repo = open(&store).await.unwrap();
        back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();
        restore(&store, id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_under_each_others_names_are_noticed() {
    let (store, first) = filled().await;
    let (data, _) = packs(&store);
    let repo = open(&store).await.unwrap();
    let second = back_up(&repo, "db", CAPACITY, &[(0, noise(50, CHUNK))].into(), None).await.unwrap().id();
    let name = |id: PointId| format!("points/{id}");
    let point = store.objects()[&name(second)].clone();
    let before = store.objects().insert(name(first), point).unwrap();
    assert_eq!(restore(&store, first).await.unwrap_err().kind(), ErrorKind::Damaged);
    let listing = repo.list_points(None).await.unwrap();
    assert_eq!((listing.points.len(), listing.unreadable[0].id), (1, first));
    assert_eq!(repo.points(None).await.unwrap_err().kind(), ErrorKind::Damaged);
    store.objects().insert(name(first), before);

    let other = store.objects()[&data[1]].clone();
    store.objects().insert(data[0].clone(), other);
    assert!(!check(&store, CheckDepth::Deep).await.is_ok());
    assert_eq!(restore(&store, first).await.unwrap_err().kind(), ErrorKind::Damaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_copy_of_a_chunk_is_used_when_the_first_is_bad() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    // Two writers that do not know of each other store the same bytes twice.
    let writers =
        [repo.begin(PointDraft::new(machine("a"))).await, repo.begin(PointDraft::new(machine("b"))).await];
    let mut ids = Vec::new();
    let mut disks = Vec::new();
    for writer in writers {
        let writer = writer.unwrap();
        let mut disk =
            writer.disk(DiskSpec { key: "disk".to_owned(), capacity_bytes: CAPACITY }, None).unwrap();
        for (chunk, data) in image() {
            disk.put(chunk, data).await.unwrap();
        }
        disks.push((writer, disk.finish().await.unwrap()));
    }
    for (writer, summary) in disks {
        assert_eq!(summary.new_chunks, 6);
        ids.push(writer.commit(Bytes::new(), BTreeMap::new()).await.unwrap().id());
    }
    for name in store.names("packs") {
        let before = store.objects()[&name].clone();
        store.change(&name, |bytes| bytes[64] ^= 1);
        for id in &ids {
            restore(&store, *id).await.unwrap();
        }
        let report = check(&store, CheckDepth::Deep).await;
        assert_eq!((report.damage.len(), report.damage[0].lost.len()), (1, 0), "{report}");
        store.objects().insert(name, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_does_not_build_on_a_pack_that_is_being_pruned() {
    let (store, _) = filled().await;
    let repo = open(&store).await.unwrap();
    let (data, _) = packs(&store);
    let tombstone = format!("tombstones/{}", pack_id(&data[0]));

    let writer = repo.begin(PointDraft::new(machine("web"))).await.unwrap();
    let mut disk = writer.disk(DiskSpec { key: "disk".to_owned(), capacity_bytes: CAPACITY }, None).unwrap();
    for (chunk, data) in image() {
        disk.put(chunk, data).await.unwrap();
    }
    assert_eq!(disk.finish().await.unwrap().dedup_chunks, 6);
    store.objects().insert(tombstone, Bytes::new());
    let error = writer.commit(Bytes::new(), BTreeMap::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.location().pack), (ErrorKind::Conflict, Some(pack_id(&data[0]))));
    assert_eq!(store.names("points").len(), 1);

    let point = back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();
    assert!(point.disks()[0].summary.new_chunks > 0, "chunks of a tombstoned pack are stored again");
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_folders_and_formats_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let kind = |result: Result<Repository, Error>| result.err().unwrap().kind();
    let empty = Repository::open_local(folder.path(), &secret()).await;
    assert_eq!(kind(empty), ErrorKind::NotARepository);
    let absent = Repository::open_local(folder.path().join("absent"), &secret()).await;
    assert_eq!(kind(absent), ErrorKind::NotARepository);
    std::fs::write(folder.path().join("notes.txt"), b"not ours").unwrap();
    let occupied = Repository::init_local(folder.path(), &secret(), Default::default()).await;
    assert_eq!(kind(occupied), ErrorKind::AlreadyExists);
    std::fs::write(folder.path().join("config"), b"[core]\n\tbare = true\n").unwrap();
    assert_eq!(kind(Repository::open_local(folder.path(), &secret()).await), ErrorKind::NotARepository);
    std::fs::write(folder.path().join("config"), vec![b'x'; 100_000]).unwrap();
    assert_eq!(kind(Repository::open_local(folder.path(), &secret()).await), ErrorKind::NotARepository);

    let (store, id) = filled().await;
    let (config, point) = ("config".to_owned(), format!("points/{id}"));
    for (name, at) in [(&config, 8), (&config, 12), (&config, 40), (&point, 8)] {
        let before = store.objects()[name].clone();
        store.change(name, |bytes| bytes[at] = 2);
        let error = restore(&store, id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedFormat, "{name} byte {at}: {error}");
        store.objects().insert(name.clone(), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_add_up() {
    let (store, _) = filled().await;
    let repo = open(&store).await.unwrap();
    let statistics = repo.statistics().await.unwrap();
    assert_eq!((statistics.points, statistics.machines, statistics.logical_bytes), (1, 1, CAPACITY));
    assert_eq!((statistics.chunks, statistics.chunk_bytes), (6, 5 * CHUNK as u64 + 512));
    assert_eq!(statistics.stored_bytes, statistics.chunk_bytes + 6 * 16);
    assert_eq!((statistics.pages, statistics.packs, statistics.index_objects), (1, 3, 1));
    let objects = store.objects();
    let others = objects.iter().filter(|(name, _)| *name == "config" || name.starts_with("keys/"));
    let others: usize = others.map(|(_, object)| object.len()).sum();
    let all: usize = objects.values().map(Bytes::len).sum();
    assert_eq!(statistics.total_bytes(), (all - others) as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_readable_is_stored() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let marker = b"a sentence that must not be readable in the store";
    let mut data = vec![0; CHUNK];
    data[1000..1000 + marker.len()].copy_from_slice(marker);
    let text = String::from_utf8(marker.to_vec()).unwrap();
    let writer = repo.begin(PointDraft::new(machine(&text)).tag(&text, &text)).await.unwrap();
    let mut disk = writer.disk(DiskSpec { key: text.clone(), capacity_bytes: CAPACITY }, None).unwrap();
    disk.put(0, Bytes::from(data.clone())).await.unwrap();
    disk.put(1, Bytes::from([&marker[..], &noise(1, CHUNK - marker.len())].concat())).await.unwrap();
    disk.finish().await.unwrap();
    let of_disk = BTreeMap::from([(text.clone(), Bytes::from(text.clone()))]);
    writer.commit(Bytes::from(text), of_disk).await.unwrap();
    for (name, object) in store.objects().iter() {
        assert!(!object.windows(12).any(|bytes| bytes == &marker[..12]), "{name} shows the text");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chunk_ids_of_two_repositories_have_nothing_in_common() {
    let mut entries = Vec::new();
    for _ in 0..2 {
        let repo = init(&MemoryStore::new()).await;
        let point = back_up(&repo, "a", CHUNK as u64, &[(0, noise(1, CHUNK))].into(), None).await.unwrap();
        entries.push(point.disk("disk").unwrap().map().entry(0).await.unwrap());
    }
    assert_ne!(entries[0], entries[1]);
    assert!(Secret::random().unwrap().expose_raw_key() != Secret::random().unwrap().expose_raw_key());
}
