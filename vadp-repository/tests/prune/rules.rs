//! What a prune does in one case each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vadp_repository::{
    CheckDepth, ChunkStore, DiskSpec, ErrorKind, FaultPlan, FaultStore, MachineId, MemoryStore, PackAction,
    PointDraft, PruneOptions, Repository, Retention,
};

use crate::guarded::Guarded;
use crate::support::*;

async fn fresh() -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new());
    init(Arc::clone(&store) as Arc<dyn ChunkStore>).await;
    store
}

fn keep_last(count: u32) -> PruneOptions {
    options(|options| {
        let mut retention = Retention::default();
        retention.last = count;
        options.retention = retention;
    })
}

fn count(store: &MemoryStore, folder: &str) -> usize {
    store.names().iter().filter(|name| name.starts_with(&format!("{folder}/"))).count()
}

#[tokio::test]
async fn packs_are_marked_first_and_deleted_after_the_grace_period() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    back_up(&repo, "web", &[1, 2, 3, 0, 0, 0], 1).await.unwrap();
    store.advance(GRACE * 2);
    back_up(&repo, "web", &[4, 5, 6, 0, 0, 0], 2).await.unwrap();
    let packs = count(&store, "packs");
    let before = store.names();
    let plan = repo.plan_prune(keep_last(1)).await.unwrap();
    assert_eq!(before, store.names(), "a plan writes nothing");
    assert_eq!(plan.points().iter().filter(|verdict| !verdict.stays()).count(), 1);
    assert_eq!(plan.total(PackAction::Mark).0, 2, "{plan}");
    assert!(plan.to_string().contains("remove"), "{plan}");
    let report = plan.apply().await.unwrap();
    assert_eq!((report.points_removed, report.packs_marked, report.packs_deleted), (1, 2, 0));
    assert!(report.bytes_marked > 0);
    assert_eq!((count(&store, "packs"), count(&store, "tombstones"), count(&store, "locks")), (packs, 2, 0));
    // Too early, then in time.
    store.advance(GRACE / 2);
    let report = prune(&store, keep_last(1)).await.unwrap();
    assert_eq!((report.packs_marked, report.packs_deleted), (0, 0));
    store.advance(GRACE / 2);
    let report = prune(&store, keep_last(1)).await.unwrap();
    assert_eq!((report.packs_marked, report.packs_deleted, report.bytes_marked), (0, 2, 0));
    assert!(report.bytes_deleted > 0);
    nothing_is_left(&open(&store).await.unwrap(), &store.names()).await;
    assert_eq!(verify_all(&repo).await.len(), 1);
}

#[tokio::test]
async fn without_anybody_else_nothing_waits() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    for time in 1..5 {
        back_up(&repo, "web", &[time as u8, 2, 3, time as u8 + 10, 0, 0], time).await.unwrap();
    }
    let report = prune(&store, keep_last(1).danger_nobody_writes()).await.unwrap();
    assert_eq!(report.points_removed, 3);
    assert!(report.packs_deleted > 0 && report.packs_rewritten > 0, "{report:?}");
    nothing_is_left(&open(&store).await.unwrap(), &store.names()).await;
    // Who had the repository open finds what was moved.
    assert_eq!(verify_all(&repo).await.len(), 1);
}

#[tokio::test]
async fn a_pack_that_is_needed_again_loses_its_mark() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    back_up(&repo, "web", &[1, 2, 3, 0, 0, 0], 1).await.unwrap();
    back_up(&repo, "web", &[4, 5, 6, 0, 0, 0], 2).await.unwrap();
    store.advance(GRACE * 2);
    prune(&store, keep_last(1)).await.unwrap();
    // As if the backup had looked for marks just before they were made.
    let marks: Vec<String> =
        store.names().into_iter().filter(|name| name.starts_with("tombstones/")).collect();
    assert!(!marks.is_empty());
    marks.iter().for_each(|name| store.tamper(name, |_| None));
    back_up(&open(&store).await.unwrap(), "db", &[1, 2, 3, 0, 0, 0], 3).await.unwrap();
    marks.iter().for_each(|name| store.tamper(name, |_| Some(Bytes::new())));
    store.advance(GRACE * 2);
    let report = prune(&store, keep_last(1)).await.unwrap();
    assert_eq!((report.packs_deleted, report.packs_restored), (0, 2), "{report:?}");
    assert_eq!(count(&store, "tombstones"), 0);
    assert_eq!(verify_all(&open(&store).await.unwrap()).await.len(), 2);
}

#[tokio::test]
async fn a_backup_notices_what_a_prune_has_taken_or_moved() {
    for rewritten in [false, true] {
        let store = fresh().await;
        let repo = open(&store).await.unwrap();
        let old = back_up(&repo, "web", &[1, 2, 3, 4, 0, 0], 1).await.unwrap();
        back_up(&repo, "web", if rewritten { &[1, 0, 0, 0, 0, 0] } else { &[9, 0, 0, 0, 0, 0] }, 2)
            .await
            .unwrap();
        store.advance(GRACE * 2);
        // This one builds on chunk 1, which is in a pack with others that nobody needs.
        let image = [1, 0, 0, 0, 0, 8];
        let writer = write(&repo, "db", &image, 3, None).await.unwrap();
        let other = open(&store).await.unwrap();
        let report = other.plan_prune(keep_last(1)).await.unwrap().apply().await.unwrap();
        assert_eq!(report.points_removed, 1);
        assert!(!verify_all(&repo).await.contains(&old));
        let committed = commit(writer, &image).await;
        match rewritten {
            true => _ = committed.unwrap(),
            false => assert_eq!(committed.unwrap_err().kind(), ErrorKind::Conflict),
        }
        verify_all(&open(&store).await.unwrap()).await;
        settle(&store).await;
    }
}

#[tokio::test]
async fn a_long_backup_is_left_alone_and_a_longer_one_is_told() {
    for (waits, ends_well) in [(GRACE / 3, true), (GRACE * 2, false)] {
        let store = fresh().await;
        let repo = open(&store).await.unwrap();
        // Bytes that do not compress, so that packs get full before the commit, and no index object names them.
        let writer = repo.begin(PointDraft::new(MachineId::new("web").unwrap())).await.unwrap();
        let spec = DiskSpec { key: "disk".to_owned(), capacity_bytes: 16 * CHUNK as u64 };
        let mut disk = writer.disk(spec, None).unwrap();
        let mut chance = Chance(7);
        for chunk in 0..16 {
            let noise: Vec<u8> = (0..CHUNK / 8).flat_map(|_| chance.below(u64::MAX).to_le_bytes()).collect();
            disk.put(chunk, Bytes::from(noise)).await.unwrap();
        }
        disk.finish().await.unwrap();
        assert!(count(&store, "packs") > 1 && count(&store, "index") == 0);
        store.advance(waits);
        prune(&store, keep_last(1)).await.unwrap();
        store.advance(waits);
        prune(&store, keep_last(1)).await.unwrap();
        let committed = writer.commit(Bytes::new(), BTreeMap::new()).await;
        match ends_well {
            true => _ = committed.unwrap(),
            false => assert_eq!(committed.unwrap_err().kind(), ErrorKind::Conflict),
        }
        let report = open(&store).await.unwrap().check(CheckDepth::Deep).await.unwrap();
        assert!(report.damage.iter().all(|damage| damage.lost.is_empty()), "{report}");
        assert_eq!(report.points, u64::from(ends_well));
    }
}

#[tokio::test]
async fn what_the_store_keeps_is_reported_and_stays_whole() {
    let inner = fresh().await;
    let repo = open(&inner).await.unwrap();
    back_up(&repo, "web", &[1, 2, 3, 0, 0, 0], 1).await.unwrap();
    back_up(&repo, "web", &[4, 5, 6, 0, 0, 0], 2).await.unwrap();
    inner.advance(GRACE * 2);
    let mut plan = FaultPlan::default();
    plan.locked = true;
    let locked = Arc::new(FaultStore::new(Arc::clone(&inner), plan));
    let report = prune(&locked, keep_last(1)).await.unwrap();
    assert_eq!((report.points_removed, report.packs_marked), (0, 0), "the point stays, so its packs do");
    assert_eq!(report.refused.len(), 1, "{report:?}");
    assert!(
        report.refused[0].0.starts_with("points/") && report.refused[0].1.contains("locked"),
        "{report:?}"
    );
    assert_eq!(verify_all(&repo).await.len(), 2);
}

#[tokio::test]
async fn one_prune_at_a_time() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    back_up(&repo, "web", &[1, 2, 3, 0, 0, 0], 1).await.unwrap();
    // A prune that died when it had its lease.
    let mut plan = FaultPlan::default();
    plan.crash_at = Some(u64::MAX);
    let counting = Arc::new(FaultStore::new(Arc::new(store.fork()), plan));
    let planned = open(&counting).await.unwrap().plan_prune(keep_last(1)).await.unwrap();
    plan.crash_at = Some(counting.operations() + 1);
    drop(planned);
    let faulty = Arc::new(FaultStore::new(Arc::clone(&store), plan));
    tokio::select! {
        result = prune(&faulty, keep_last(1)) => panic!("{result:?}"),
        () = faulty.crashed() => {}
    }
    assert_eq!(count(&store, "locks"), 1);
    let error = prune(&store, keep_last(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(error.to_string().contains("another prune"), "{error}");
    assert_eq!(count(&store, "locks"), 1, "who steps back leaves nothing");
    store.advance(Duration::from_secs(3601));
    prune(&store, keep_last(1)).await.unwrap();
    assert_eq!(count(&store, "locks"), 0);
    // What somebody else put there stops nobody, and is not ours to remove.
    store.tamper("locks/00112233445566778899aabbccddeeff", |_| Some(Bytes::from("someone's")));
    prune(&store, keep_last(1)).await.unwrap();
    assert_eq!(count(&store, "locks"), 1);
}

#[tokio::test]
async fn a_damaged_repository_is_not_pruned() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    let first = back_up(&repo, "web", &[1, 2, 3, 0, 0, 0], 1).await.unwrap();
    back_up(&repo, "web", &[1, 2, 3, 4, 0, 0], 2).await.unwrap();
    let flip = |bytes: Option<Bytes>| {
        let mut bytes = bytes.unwrap().to_vec();
        let last = bytes.len() - 1;
        bytes[last / 2 + 50] ^= 1;
        Some(Bytes::from(bytes))
    };
    let names = store.names();
    for folder in ["points/", "index/"] {
        let damaged = Arc::new(store.fork());
        damaged.tamper(names.iter().find(|name| name.starts_with(folder)).unwrap(), flip);
        damaged.advance(GRACE * 2);
        let error = prune(&damaged, keep_last(1)).await.unwrap_err();
        assert!(error.is_damage(), "{folder}: {error}");
        assert!(error.to_string().contains("check"), "{error}");
        assert_eq!(count(&damaged, "packs"), count(&store, "packs"));
    }
    for pack in names.iter().filter(|name| name.starts_with("packs/")) {
        // Missing, or cut: either way what is in it is in no whole pack.
        for cut in [false, true] {
            let damaged = Arc::new(store.fork());
            damaged.tamper(pack, |bytes| bytes.filter(|_| cut).map(|bytes| bytes.slice(..bytes.len() - 1)));
            damaged.advance(GRACE * 2);
            let error = prune(&damaged, options(|_| {})).await.unwrap_err();
            assert!(error.is_damage(), "{error}");
        }
    }
    // A point that is lost can be given up by name; then the rest can be pruned.
    store.tamper(&format!("points/{first}"), flip);
    repo.remove_point(first, false).await.unwrap();
    settle(&store).await;
    assert_eq!(verify_all(&open(&store).await.unwrap()).await.len(), 1);
}

#[tokio::test]
async fn the_last_point_of_a_machine_goes_only_when_asked_twice() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    let first = back_up(&repo, "web", &[1, 0, 0, 0, 0, 0], 1).await.unwrap();
    let other = back_up(&repo, "db", &[2, 0, 0, 0, 0, 0], 1).await.unwrap();
    assert_eq!(repo.remove_point(first, false).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    repo.remove_point(first, true).await.unwrap();
    assert!(repo.remove_point(first, true).await.unwrap_err().is_not_found());
    assert_eq!(verify_all(&repo).await.into_iter().collect::<Vec<_>>(), [other]);
}

#[tokio::test]
async fn tags_and_pins_keep_points() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    let tagged = write(&repo, "web", &[1, 0, 0, 0, 0, 0], 1, Some("release")).await.unwrap();
    let tagged =
        tagged.commit(Bytes::copy_from_slice(&[1, 0, 0, 0, 0, 0]), BTreeMap::new()).await.unwrap().id();
    let pinned = back_up(&repo, "web", &[2, 0, 0, 0, 0, 0], 2).await.unwrap();
    back_up(&repo, "web", &[3, 0, 0, 0, 0, 0], 3).await.unwrap();
    let newest = back_up(&repo, "web", &[4, 0, 0, 0, 0, 0], 4).await.unwrap();
    let mut options = keep_last(1);
    options.retention.tags = vec!["release".to_owned()];
    options.retention.pinned.insert(pinned);
    assert_eq!(prune(&store, options).await.unwrap().points_removed, 1);
    assert_eq!(verify_all(&repo).await, [tagged, pinned, newest].into());
}

#[tokio::test]
async fn many_index_objects_become_one() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    for time in 1..20 {
        back_up(&repo, "web", &[time as u8, 0, 0, 0, 0, 0], time).await.unwrap();
    }
    assert!(count(&store, "index") >= 19);
    let report = prune(&store, options(|_| {})).await.unwrap();
    assert!(report.index_objects_replaced >= 19, "{report:?}");
    assert_eq!(count(&store, "index"), 1);
    assert_eq!(verify_all(&repo).await.len(), 19);
    assert_eq!(verify_all(&open(&store).await.unwrap()).await.len(), 19);
}

#[tokio::test]
async fn an_index_that_is_too_large_to_be_held_at_once_is_written_in_parts() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    for time in 1..=40 {
        back_up(&repo, "web", &[time as u8, time as u8 + 100, 1, 0, 0, 0], time).await.unwrap();
    }
    store.advance(GRACE * 2);
    // All of the packs are small, and merged. What was in two of them counts in one.
    let before = repo.statistics().await.unwrap();
    let report = prune(&store, options(|_| {})).await.unwrap();
    assert!(report.packs_merged >= 80 && report.packs_rewritten == 0, "{report:?}");
    assert!((2..10).contains(&count(&store, "index")), "{} objects", count(&store, "index"));
    assert_eq!(verify_all(&repo).await.len(), 40);
    let after = open(&store).await.unwrap().statistics().await.unwrap();
    assert_eq!((after.chunks, after.pages), (before.chunks, before.pages));
    // When the old packs have gone, every chunk is there once, and the index says no more than that.
    settle(&store).await;
    let repo = open(&store).await.unwrap();
    assert!(count(&store, "packs") < 20 && (2..10).contains(&count(&store, "index")));
    let report = repo.check(CheckDepth::Deep).await.unwrap();
    assert!(report.is_ok() && report.leftovers.unneeded_chunks == 0, "{report}");
    assert_eq!((report.points, report.chunks), (40, before.chunks));
    assert_eq!(verify_all(&repo).await.len(), 40);
}

#[tokio::test]
async fn a_prune_that_dies_between_the_parts_of_an_index_loses_nothing() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    for time in 1..=30 {
        back_up(&repo, "web", &[time as u8, time as u8 + 100, 0, 0, 0, 0], time).await.unwrap();
    }
    let careful = || options(|options| options.merge_from = 0);
    let mut plan = FaultPlan::default();
    plan.crash_at = Some(u64::MAX);
    let counting = Arc::new(FaultStore::new(Arc::new(store.fork()), plan));
    let planned = open(&counting).await.unwrap().plan_prune(careful()).await.unwrap();
    let first = counting.operations();
    planned.apply().await.unwrap();
    let (mut most, mut least) = (0, usize::MAX);
    for crash_at in first..counting.operations() {
        let store = Arc::new(store.fork());
        plan.crash_at = Some(crash_at + 1);
        let faulty = Arc::new(FaultStore::new(Arc::clone(&store), plan));
        tokio::select! {
            _ = prune(&faulty, careful()) => {}
            () = faulty.crashed() => {}
        }
        (most, least) = (most.max(count(&store, "index")), least.min(count(&store, "index")));
        let report = open(&store).await.unwrap().check(CheckDepth::Quick).await.unwrap();
        assert!(report.is_ok(), "crash at {crash_at}: {report}");
        assert_eq!((report.points, report.chunks), (30, 60));
    }
    assert!(least >= 2 && most > 30, "{least} to {most} objects: not in parts");
}

#[tokio::test]
async fn what_was_replaced_stays_replaced_when_what_replaced_it_goes() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    back_up(&repo, "web", &[1, 2, 3, 0, 0, 0], 1).await.unwrap();
    let name = store.names().into_iter().find(|name| name.starts_with("index/")).unwrap();
    let mut replaced = None;
    store.tamper(&name, |bytes| {
        replaced.clone_from(&bytes);
        bytes
    });
    back_up(&repo, "web", &[4, 5, 6, 0, 0, 0], 2).await.unwrap();
    let careless = || keep_last(1).danger_nobody_writes();
    prune(&store, careless()).await.unwrap();
    for round in 0..2 {
        // As a store leaves it that keeps objects. It names packs that have been deleted.
        store.tamper(&name, |_| replaced.clone());
        let report = open(&store).await.unwrap().check(CheckDepth::Quick).await.unwrap();
        assert!(report.is_ok(), "round {round}: {report}");
        back_up(&open(&store).await.unwrap(), "web", &[7, 8, 9 + round, 0, 0, 0], 3).await.unwrap();
        prune(&store, careless()).await.unwrap();
        assert_eq!(count(&store, "index"), 1);
    }
}

#[tokio::test]
async fn what_may_hold_what_is_missing_waits() {
    for is_lost in [false, true] {
        let store = fresh().await;
        let repo = open(&store).await.unwrap();
        let first = back_up(&repo, "web", &[1, 2, 3, 0, 0, 0], 1).await.unwrap();
        let index = store.names().into_iter().find(|name| name.starts_with("index/")).unwrap();
        back_up(&repo, "web", &[4, 5, 6, 0, 0, 0], 2).await.unwrap();
        // Packs that no index object names: a point needs them, or nobody.
        if !is_lost {
            repo.remove_point(first, false).await.unwrap();
        }
        store.advance(GRACE * 2);
        store.tamper(&index, |_| None);
        let report = prune(&store, options(|options| options.despite_losses = true)).await.unwrap();
        assert_eq!(report.packs_marked, if is_lost { 0 } else { 2 }, "{report:?}");
    }
}

#[tokio::test]
async fn a_damaged_pack_is_not_rewritten_and_stays() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    back_up(&repo, "web", &[1, 2, 3, 4, 5, 6], 1).await.unwrap();
    back_up(&repo, "web", &[1, 2, 3, 4, 5, 0], 2).await.unwrap();
    for name in store.names().into_iter().filter(|name| name.starts_with("packs/")) {
        store.tamper(&name, |bytes| {
            let mut bytes = bytes.unwrap().to_vec();
            // All chunks of the data pack, behind its header.
            if bytes[10] == 1 {
                bytes.iter_mut().skip(64).step_by(50).for_each(|byte| *byte ^= 1);
            }
            Some(Bytes::from(bytes))
        });
    }
    store.advance(GRACE * 2);
    let report = prune(&store, keep_last(1)).await.unwrap();
    assert_eq!((report.packs_rewritten, report.damaged.len()), (0, 1), "{report:?}");
    // The map page of the point that goes.
    assert_eq!((report.packs_marked, count(&store, "tombstones")), (1, 1));
}

#[tokio::test]
async fn what_two_packs_hold_is_rewritten_once() {
    let mut stored = Vec::new();
    for together in [false, true] {
        let store = fresh().await;
        let repo = open(&store).await.unwrap();
        let (web, db) = ([1, 2, 0, 0, 0, 0], [1, 3, 0, 0, 0, 0]);
        let first = write(&repo, "web", &web, 1, None).await.unwrap();
        // Two that write at the same time do not know of each other.
        let second = match together {
            true => Some(write(&open(&store).await.unwrap(), "db", &db, 2, None).await.unwrap()),
            false => None,
        };
        commit(first, &web).await.unwrap();
        match second {
            Some(second) => _ = commit(second, &db).await.unwrap(),
            None => _ = back_up(&repo, "db", &db, 2).await.unwrap(),
        }
        let options = options(|options| options.merge_from = 2).danger_nobody_writes();
        assert!(prune(&store, options).await.unwrap().packs_merged >= 2);
        let repo = open(&store).await.unwrap();
        assert_eq!(verify_all(&repo).await.len(), 2);
        stored.push(repo.statistics().await.unwrap().stored_bytes);
    }
    assert_eq!(stored[0], stored[1]);
}

#[tokio::test]
async fn a_young_pack_is_not_rewritten() {
    for (waits, rewritten) in [(GRACE / 2, 0), (GRACE * 2, 1)] {
        let store = fresh().await;
        let repo = open(&store).await.unwrap();
        back_up(&repo, "web", &[1, 2, 3, 4, 5, 6], 1).await.unwrap();
        back_up(&repo, "web", &[1, 0, 0, 0, 0, 0], 2).await.unwrap();
        store.advance(waits);
        let report = prune(&store, keep_last(1)).await.unwrap();
        assert_eq!((report.packs_rewritten, report.points_removed), (rewritten, 1), "{report:?}");
    }
}

#[tokio::test]
async fn what_was_not_planned_is_not_done() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    let first = back_up(&repo, "web", &[1, 2, 3, 0, 0, 0], 1).await.unwrap();
    back_up(&repo, "web", &[4, 5, 6, 0, 0, 0], 2).await.unwrap();
    store.advance(GRACE * 2);
    let plan = repo.plan_prune(options(|_| {})).await.unwrap();
    repo.remove_point(first, false).await.unwrap();
    assert_eq!(plan.apply().await.unwrap().packs_marked, 0);
    assert_eq!(prune(&store, options(|_| {})).await.unwrap().packs_marked, 2);
}

#[tokio::test]
async fn a_map_that_can_be_read_again_counts() {
    let store = fresh().await;
    let repo = open(&store).await.unwrap();
    back_up(&repo, "web", &[1, 2, 3, 0, 0, 0], 1).await.unwrap();
    store.advance(GRACE * 2);
    let mut pages = String::new();
    for name in store.names().into_iter().filter(|name| name.starts_with("packs/")) {
        store.tamper(&name, |bytes| {
            // The kind of an object; 1 is a data pack.
            if bytes.as_ref().unwrap()[10] != 1 {
                pages.clone_from(&name);
            }
            bytes
        });
    }
    let flip = |bytes: Option<Bytes>| {
        let mut bytes = bytes.unwrap().to_vec();
        bytes[100] ^= 1;
        Some(Bytes::from(bytes))
    };
    store.tamper(&pages, flip);
    let repo = open(&store).await.unwrap();
    let plan = repo.plan_prune(options(|options| options.despite_losses = true)).await.unwrap();
    assert_eq!(plan.total(PackAction::Mark).0, 1, "{plan}");
    store.tamper(&pages, flip);
    let report = plan.apply().await.unwrap();
    assert_eq!(report.packs_marked, 0, "{report:?}");
    assert_eq!(verify_all(&open(&store).await.unwrap()).await.len(), 1);
}

#[tokio::test]
async fn a_short_grace_period_is_refused() {
    let store = fresh().await;
    let short = options(|options| options.grace = Duration::from_secs(60));
    let error = prune(&store, short).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("15 minutes"), "{error}");
}

#[tokio::test]
async fn a_commit_that_took_too_long_is_taken_back() {
    let store = fresh().await;
    let mut limits = limits();
    limits.commit_window = Duration::ZERO;
    // It stands still before a point is created, for so long that a prune marks and deletes all packs.
    let memory = Arc::clone(&store);
    let sleepy = Guarded::new(Arc::clone(&store) as Arc<dyn ChunkStore>, move |name| {
        if name.starts_with("points/") {
            let packs = memory.names().into_iter().filter(|name| name.starts_with("packs/"));
            packs.for_each(|name| memory.tamper(&name, |_| None));
        }
        Ok(())
    });
    let repo = Repository::open_with(sleepy, &secret(), limits).await.unwrap();
    let error = back_up(&repo, "web", &[1, 2, 3, 0, 0, 0], 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(count(&store, "points"), 0);
}
