//! What a repository has grown by, which of its points are found, and how much of it a check reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use vadp_repository::{
    CheckDepth, ChunkStore, DiskSpec, ErrorKind, MachineId, OpenOptions, PointDraft, PointQuery, Repository,
};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn growth_is_told_day_by_day() {
    let repo = init(&MemoryStore::new()).await;
    let at = |day: u64, hour: u64| UNIX_EPOCH + Duration::from_secs(day * 86_400 + hour * 3600);
    // Two machines on the first day, none on the second, and on the third one whose data is there already.
    for (machine, created, byte) in
        [("a", at(20_000, 1), 1), ("b", at(20_000, 23), 2), ("a", at(20_002, 0), 2)]
    {
        let draft = PointDraft::new(MachineId::new(machine).unwrap()).created(created);
        let writer = repo.begin(draft).await.unwrap();
        let spec = DiskSpec { key: "d".into(), capacity_bytes: 4 * CHUNK as u64 };
        let mut disk = writer.disk(spec, None).unwrap();
        disk.put(1, vec![byte; CHUNK].into()).await.unwrap();
        disk.finish().await.unwrap();
        writer.commit(Bytes::new(), BTreeMap::new()).await.unwrap();
    }
    let growth = repo.growth().await.unwrap();
    let counted: Vec<_> = growth
        .iter()
        .map(|day| (day.day, day.points, day.logical_bytes, day.read_bytes, day.new_bytes))
        .collect();
    let chunk = CHUNK as u64;
    let expected =
        [(at(20_000, 0), 2, 8 * chunk, 2 * chunk, 2 * chunk), (at(20_002, 0), 1, 4 * chunk, chunk, 0)];
    assert_eq!(counted, expected);
    assert!(growth[0].stored_bytes > 0 && growth[0].stored_bytes < chunk, "compressed: {growth:?}");
    assert_eq!(growth[1].stored_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn points_are_found_by_machine_time_and_tag() {
    let repo = init(&MemoryStore::new()).await;
    let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
    for (machine, created, tag) in
        [("a", 30, ("kind", "full")), ("a", 10, ("kind", "incremental")), ("b", 20, ("reason", "full"))]
    {
        let machine = MachineId::new(machine).unwrap();
        let draft = PointDraft::new(machine).created(at(created)).tag(tag.0, tag.1);
        repo.begin(draft).await.unwrap().commit(Bytes::new(), BTreeMap::new()).await.unwrap();
    }
    let repo = &repo;
    let found = |query: PointQuery| async move {
        let found = repo.find(&query).await.unwrap();
        found
            .iter()
            .map(|point| point.created.duration_since(UNIX_EPOCH).unwrap().as_secs())
            .collect::<Vec<_>>()
    };
    let with = |change: &dyn Fn(&mut PointQuery)| {
        let mut query = PointQuery::default();
        change(&mut query);
        query
    };
    let tag = |key: &str, value: Option<&str>| [(key.to_owned(), value.map(str::to_owned))].into();
    assert_eq!(found(PointQuery::default()).await, [10, 20, 30]);
    assert_eq!(found(with(&|q| q.machine = Some(machine("a")))).await, [10, 30]);
    assert_eq!(found(with(&|q| q.since = Some(at(20)))).await, [20, 30]);
    assert_eq!(found(with(&|q| q.until = Some(at(20)))).await, [10, 20]);
    assert_eq!(found(with(&|q| q.tags = tag("kind", None))).await, [10, 30]);
    assert_eq!(found(with(&|q| q.tags = tag("kind", Some("full")))).await, [30]);
    assert_eq!(found(with(&|q| (q.machine, q.until) = (Some(machine("a")), Some(at(29))))).await, [10]);
    assert!(found(with(&|q| q.tags = tag("other", None))).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_check_are_all_of_it_once() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let image: Image = (0..40).map(|n| (n, noise(n, CHUNK))).collect();
    back_up(&repo, "web", 40 * CHUNK as u64, &image, None).await.unwrap();
    let packs = store.names("packs");
    let bytes: u64 = packs.iter().map(|name| store.objects()[name].len() as u64).sum();
    // An index that is gone through in parts, too.
    let mut opening = OpenOptions::from(limits());
    opening.small_index = 1;
    let repo = Repository::open_with(store.clone() as Arc<dyn ChunkStore>, &secret(), opening).await.unwrap();
    // One bit in each data pack, so that whatever part reads a pack says so.
    for name in packs {
        store.change(&name, |bytes| bytes[200] ^= u8::from(bytes[10] == 1));
    }
    let whole = repo.check(CheckDepth::Deep).await.unwrap();
    assert!(whole.damage.len() > 5, "several packs: {whole}");
    assert_eq!(whole.verified_bytes, bytes);
    let (mut found, mut read) = (Vec::new(), 0);
    for part in 1..=3 {
        let report = repo.check(CheckDepth::Part { part, of: 3 }).await.unwrap();
        read += report.verified_bytes;
        found.extend(report.damage.into_iter().map(|damage| (damage.pack, damage.chunk)));
    }
    found.sort_unstable();
    let mut expected: Vec<_> = whole.damage.iter().map(|damage| (damage.pack, damage.chunk)).collect();
    expected.sort_unstable();
    assert_eq!((found, read), (expected, whole.verified_bytes));
    for (part, of) in [(0, 3), (4, 3), (1, 0), (0, 0)] {
        let refused = repo.check(CheckDepth::Part { part, of }).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_disks_have_in_common_is_lost_on_each() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let image: Image = [(1, noise(1, CHUNK))].into();
    let mut points = BTreeSet::new();
    for machine in ["a", "b"] {
        // More than a page of its map: the last one is looked at for each disk anyway.
        let capacity = 1025 * CHUNK as u64;
        points.insert(back_up(&repo, machine, capacity, &image, None).await.unwrap().id());
    }
    let packs = store.names("packs");
    assert_eq!(packs.len(), 2, "one of data, one of pages");
    for pack in packs {
        let object = store.objects().remove(&pack).unwrap();
        for depth in [CheckDepth::Quick, CheckDepth::Deep] {
            let report = repo.check(depth).await.unwrap();
            let lost = report.damage.iter().flat_map(|damage| &damage.lost);
            let hit: BTreeSet<_> = lost.clone().map(|lost| lost.point).collect();
            assert_eq!(hit, points, "{report}");
            assert!(lost.clone().all(|lost| lost.bytes.contains(&(CHUNK as u64))), "{report}");
        }
        store.objects().insert(pack, object);
    }
    assert!(repo.check(CheckDepth::Quick).await.unwrap().is_ok());
}
