//! Disks of many pages of the map, of which a writer keeps few in memory.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use vadp_repository::{CheckDepth, Chunk, DiskSpec, DiskSummary, ErrorKind, PointDraft, RestorePoint};

use crate::support::*;

/// More than a writer keeps open.
const PAGES: u64 = 200;
const SLOTS: u64 = 1024;

fn spec() -> DiskSpec {
    DiskSpec { key: "disk".to_owned(), capacity_bytes: PAGES * SLOTS * CHUNK as u64 }
}

/// Few different chunks, so that little is stored; what counts here is which of them is where.
fn content(number: u64) -> Bytes {
    static DIFFERENT: OnceLock<Vec<Bytes>> = OnceLock::new();
    let different = DIFFERENT.get_or_init(|| (1..8).map(|byte| vec![byte; CHUNK].into()).collect());
    different[(number % 7) as usize].clone()
}

/// What the disk holds, as far as it is not zero, and nothing else.
async fn assert_is(point: &RestorePoint, image: &Image) {
    let disk = point.disk("disk").unwrap();
    let allocated = disk.allocated_chunks().collect().await.unwrap();
    assert_eq!(allocated, image.keys().copied().collect::<Vec<_>>());
    for (chunk, data) in image {
        assert!(disk.read_chunk(*chunk).await.unwrap() == Chunk::Data(data.clone()), "chunk {chunk} differs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_order_the_map_is_the_same() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    // One chunk in each page, each at another place of it.
    let base: Image = (0..PAGES).map(|page| (page * SLOTS + page * 37 % SLOTS, content(page))).collect();
    let parent = back_up(&repo, "web", spec().capacity_bytes, &base, None).await.unwrap();
    assert_is(&parent, &base).await;
    let parent = parent.disk("disk").unwrap();

    let mut edits: Vec<(u64, Option<Bytes>)> =
        (0..PAGES).map(|page| (page * SLOTS + 1023 - page, Some(content(page + 3)))).collect();
    // Behind all others: into pages that are stored by then, also in place of what they have of the parent.
    let (replaced, zeroed, added) = (37 + SLOTS, 2 * 37 + 2 * SLOTS, 3 * SLOTS);
    edits.extend([(replaced, Some(content(1))), (zeroed, None), (added, Some(content(2)))]);
    let mut expected = base.clone();
    for (chunk, data) in &edits {
        match data {
            Some(data) => expected.insert(*chunk, data.clone()),
            None => expected.remove(chunk),
        };
    }
    let mut summaries: Vec<DiskSummary> = Vec::new();
    let mut in_order = edits.clone();
    in_order.sort_by_key(|(chunk, _)| *chunk);
    for order in [edits.clone(), in_order.into_iter().rev().collect()] {
        let writer = repo.begin(PointDraft::new(machine("web"))).await.unwrap();
        let mut disk = writer.disk(spec(), Some(parent.map())).unwrap();
        for (chunk, data) in order {
            match data {
                Some(data) => disk.put(chunk, data).await.unwrap(),
                None => disk.put_zero(chunk).unwrap(),
            }
        }
        for (chunk, _) in &edits {
            let again = disk.put(*chunk, content(0)).await.unwrap_err();
            assert_eq!(again.kind(), ErrorKind::InvalidInput, "chunk {chunk}");
            assert_eq!(disk.put_zero(*chunk).unwrap_err().kind(), ErrorKind::InvalidInput, "chunk {chunk}");
        }
        summaries.push(disk.finish().await.unwrap());
        let point = writer.commit(Bytes::new(), BTreeMap::new()).await.unwrap();
        assert_is(&point, &expected).await;
        assert!(repo.check(CheckDepth::Deep).await.unwrap().is_ok());
    }
    for summary in &summaries {
        assert_eq!((summary.inherited_chunks, summary.zero_chunks), (PAGES - 2, 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_put_into_pages_that_are_stored_stands_in_receipts_too() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let image: Image = (0..PAGES).map(|page| (page * SLOTS + page, content(page))).collect();
    let writer = repo.begin(PointDraft::new(machine("web"))).await.unwrap();
    let mut disk = writer.disk(spec(), None).unwrap();
    for (chunk, data) in &image {
        disk.put(*chunk, data.clone()).await.unwrap();
    }
    disk.put_zero(5).unwrap();
    let receipt = disk.receipt().await.unwrap();
    drop((disk, writer));

    let repo = open(&store).await.unwrap();
    let writer = repo.begin(PointDraft::new(machine("web"))).await.unwrap();
    let mut disk = writer.disk(spec(), None).unwrap();
    let mut resumed = disk.resume(&receipt).await.unwrap();
    resumed.sort_unstable();
    let all: Vec<u64> = std::iter::once(0).chain([5]).chain(image.keys().copied().skip(1)).collect();
    assert_eq!(resumed, all);
    let again = disk.put(image.keys().copied().nth(100).unwrap(), content(0)).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::InvalidInput);
    disk.finish().await.unwrap();
    assert_is(&writer.commit(Bytes::new(), BTreeMap::new()).await.unwrap(), &image).await;
}
