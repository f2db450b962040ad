//! The index is made anew from the packs. See docs/repository-format.md, "Rebuilding the index".

use std::sync::Arc;

use vadp_repository::{CheckDepth, ChunkStore, ErrorKind, FaultPlan, FaultStore, Repository};

use crate::support::*;

const CAPACITY: u64 = 14 * CHUNK as u64 + 512;

fn image(seed: u64) -> Image {
    (0..14)
        .map(|n| (n, if n % 2 == 0 { noise(100 * seed + n, CHUNK) } else { prose(100 * seed + n, CHUNK) }))
        .collect()
}

/// Three points, each with an index object of its own.
async fn filled() -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    for seed in 0..3 {
        back_up(&repo, &seed.to_string(), CAPACITY, &image(seed), None).await.unwrap();
    }
    assert_eq!(store.names("index").len(), 3);
    store
}

async fn is_whole(store: &Arc<MemoryStore>) {
    let repo = open(store).await.unwrap();
    let report = repo.check(CheckDepth::Deep).await.unwrap();
    assert!(report.is_ok(), "{report}");
    assert_eq!((report.points, report.leftovers.packs.len()), (3, 0));
    for info in repo.points(None).await.unwrap() {
        let seed = info.machine.as_str().parse().unwrap();
        compare(&repo.point(info.id).await.unwrap().disk("disk").unwrap(), &image(seed)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_flipped_and_missing_index_objects_are_made_good() {
    type Harm = fn(&MemoryStore);
    let harms: [(&str, u64, Harm); 4] = [
        ("one deleted", 0, |store| {
            let name = store.names("index").remove(1);
            store.objects().remove(&name);
        }),
        ("one flipped, one cut", 2, |store| {
            store.change(&store.names("index")[0], |bytes| bytes[200] ^= 1);
            store.change(&store.names("index")[2], |bytes| bytes.truncate(90));
        }),
        ("one flipped, one deleted", 1, |store| {
            store.change(&store.names("index")[0], |bytes| bytes[20] ^= 1);
            let name = store.names("index").remove(1);
            store.objects().remove(&name);
        }),
        ("all gone", 0, |store| store.objects().retain(|name, _| !name.starts_with("index/"))),
    ];
    for (what, replaced, harm) in harms {
        let store = filled().await;
        harm(&store);
        let repo = open(&store).await.unwrap();
        assert!(!repo.check(CheckDepth::Quick).await.unwrap().is_ok(), "{what}: nothing was harmed");
        let report = repo.rebuild_index().await.unwrap();
        assert_eq!(report.objects_replaced, replaced, "{what}");
        assert!(report.packs_found > 0 && report.chunks_found > report.packs_found, "{what}: {report:?}");
        assert!(report.damaged.is_empty() && report.refused.is_empty(), "{what}: {report:?}");
        // Who did it sees it at once, others when they open.
        assert!(repo.check(CheckDepth::Quick).await.unwrap().is_ok(), "{what}");
        is_whole(&store).await;
        assert!(store.names("locks").is_empty());
        // There is nothing left to do, and nothing is written.
        let before = store.objects().clone();
        let again = repo.rebuild_index().await.unwrap();
        assert_eq!((again.packs_found, again.objects_replaced), (0, 0), "{what}");
        assert_eq!(*store.objects(), before, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_that_stops_anywhere_has_harmed_nothing_and_goes_on() {
    let filled = filled().await;
    filled.change(&filled.names("index")[0], |bytes| bytes[200] ^= 1);
    let name = filled.names("index").remove(1);
    filled.objects().remove(&name);
    let before = filled.objects().clone();
    for failure in [Failure::Refuse, Failure::LoseAnswer, Failure::Hang, Failure::HangAfterStore] {
        for fail_from in 0.. {
            let store = MemoryStore::failing(before.clone(), fail_from, failure);
            let repo = open(&store).await.unwrap();
            let done = tokio::select! {
                done = repo.rebuild_index() => Some(done),
                () = store.hung.notified() => None,
            };
            // A lease of somebody who died is in the way for an hour.
            store.objects().retain(|name, _| !name.starts_with("locks/"));
            let after = MemoryStore::failing(store.objects().clone(), usize::MAX, failure);
            open(&after).await.unwrap().rebuild_index().await.unwrap();
            is_whole(&after).await;
            if let Some(Ok(report)) = done {
                assert_eq!(
                    (fail_from, report.objects_replaced),
                    (2, 1),
                    "a lease and an index object are written"
                );
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_whose_own_list_is_damaged_are_reported() {
    let store = filled().await;
    store.objects().retain(|name, _| !name.starts_with("index/"));
    let packs = store.names("packs");
    let harms: [fn(&mut Vec<u8>); 5] = [
        |bytes| *bytes.last_mut().unwrap() ^= 1,
        |bytes| {
            let at = bytes.len() - 40;
            bytes[at] ^= 1;
        },
        |bytes| bytes[40] ^= 1,
        |bytes| bytes.truncate(30),
        // A length that would take more memory than there is.
        |bytes| {
            let at = bytes.len() - 12;
            bytes[at..at + 4].fill(0xff);
        },
    ];
    for (name, harm) in packs.iter().zip(harms) {
        store.change(name, harm);
    }
    let report = open(&store).await.unwrap().rebuild_index().await.unwrap();
    let mut damaged: Vec<String> = report.damaged.iter().map(|(pack, _)| pack.to_string()).collect();
    damaged.sort_unstable();
    let mut expected: Vec<_> =
        packs.iter().take(harms.len()).map(|name| name.rsplit('/').next().unwrap().to_owned()).collect();
    expected.sort_unstable();
    assert_eq!(damaged, expected);
    assert_eq!(report.packs_found as usize, packs.len() - harms.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_keeps_away_from_prunes_and_not_from_backups() {
    let store = filled().await;
    store.objects().retain(|name, _| !name.starts_with("index/"));
    let repo = open(&store).await.unwrap();
    // A backup that is on its way when the index is rebuilt, and ends afterwards.
    let other = open(&store).await.unwrap();
    let draft = vadp_repository::PointDraft::new(machine("9"));
    let writer = other.begin(draft).await.unwrap();
    let spec = vadp_repository::DiskSpec { key: "disk".to_owned(), capacity_bytes: CAPACITY };
    let mut disk = writer.disk(spec, None).unwrap();
    for (chunk, data) in image(9) {
        disk.put(chunk, data).await.unwrap();
    }
    repo.rebuild_index().await.unwrap();
    disk.finish().await.unwrap();
    let point = writer.commit(Default::default(), Default::default()).await.unwrap();
    compare(&open(&store).await.unwrap().point(point.id()).await.unwrap().disk("disk").unwrap(), &image(9))
        .await
        .unwrap();
    repo.remove_point(point.id(), true).await.unwrap();
    is_whole(&store).await;
    // A prune that has taken its lease.
    let hanging = MemoryStore::failing(store.objects().clone(), 0, Failure::HangAfterStore);
    let pruning = open(&hanging).await.unwrap();
    let plan = pruning.plan_prune(Default::default()).await.unwrap();
    tokio::select! {
        _ = plan.apply() => panic!("the prune did not stop"),
        () = hanging.hung.notified() => {}
    }
    assert_eq!(hanging.names("locks").len(), 1);
    let beside = MemoryStore::failing(hanging.objects().clone(), usize::MAX, Failure::Refuse);
    let error = open(&beside).await.unwrap().rebuild_index().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_object_that_the_store_keeps_says_nothing_any_more() {
    let store = filled().await;
    store.change(&store.names("index")[1], |bytes| bytes[80] ^= 1);
    let mut plan = FaultPlan::default();
    plan.locked = true;
    let locked = Arc::new(FaultStore::new(Arc::clone(&store), plan)) as Arc<dyn ChunkStore>;
    let repo = Repository::open_with(locked, &secret(), limits()).await.unwrap();
    let report = repo.rebuild_index().await.unwrap();
    assert_eq!((report.objects_replaced, report.refused.len()), (0, 1), "{report:?}");
    is_whole(&store).await;
}
