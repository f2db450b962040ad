//! A whole disk, read ahead and in order.

use std::sync::Arc;

use vadp_repository::{DiskReader, ErrorKind, RestorePoint, Result};

use crate::support::*;

const CHUNKS: u64 = 60;
const CAPACITY: u64 = CHUNKS * CHUNK as u64 - 100;

/// Holes, copies side by side and far apart, chunks that compress and such that do not, and a shorter end.
fn image() -> Image {
    let content = |chunk: u64| match chunk % 7 {
        0 | 1 => noise(3, CHUNK),
        2 => noise(chunk / 2, CHUNK),
        _ => prose(chunk, CHUNK),
    };
    let chunks = (0..CHUNKS).filter(|chunk| chunk % 5 != 3 && !(20..30).contains(chunk));
    chunks
        .map(|chunk| (chunk, if chunk == CHUNKS - 1 { noise(9, CHUNK - 100) } else { content(chunk) }))
        .collect()
}

async fn filled() -> (Arc<MemoryStore>, RestorePoint) {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let point = back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();
    (store, point)
}

async fn all(disk: &DiskReader) -> Result<Image> {
    let (mut stream, mut read, mut last) = (disk.stream(), Image::new(), None);
    while let Some((chunk, bytes)) = stream.next().await? {
        assert!(last < Some(chunk), "chunk {chunk} comes after {last:?}");
        last = Some(chunk);
        read.insert(chunk, bytes);
    }
    assert_eq!(stream.next().await?, None);
    Ok(read)
}

#[tokio::test(flavor = "multi_thread")]
async fn gives_what_was_stored_and_nothing_for_zeros() {
    let (store, point) = filled().await;
    assert!(store.names("packs").len() > 3);
    assert!(all(&point.disk("disk").unwrap()).await.unwrap() == image());
    // Of an incremental, chunks are in the packs of several backups.
    let repo = open(&store).await.unwrap();
    let mut changed = image();
    let changes: Image =
        (0..CHUNKS - 1).step_by(9).map(|chunk| (chunk, noise(1000 + chunk, CHUNK))).collect();
    let parent = repo.point(point.id()).await.unwrap().disk("disk").unwrap();
    let point = back_up(&repo, "web", CAPACITY, &changes, Some(parent.map())).await.unwrap();
    changed.extend(changes);
    assert!(all(&point.disk("disk").unwrap()).await.unwrap() == changed);
    // A disk without data.
    let point = back_up(&repo, "empty", CAPACITY, &Image::new(), None).await.unwrap();
    assert!(all(&point.disk("disk").unwrap()).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_an_error_that_names_the_place_after_what_was_good() {
    let (store, point) = filled().await;
    let data: Vec<String> =
        store.names("packs").into_iter().filter(|name| store.objects()[name][10] == 1).collect();
    for name in &data {
        let before = store.objects()[name].clone();
        for harm in [|bytes: &mut Vec<u8>| bytes[70] ^= 1, |bytes: &mut Vec<u8>| bytes.truncate(80)] {
            store.change(name, harm);
            let repo = open(&store).await.unwrap();
            let disk = repo.point(point.id()).await.unwrap().disk("disk").unwrap();
            let (mut stream, image) = (disk.stream(), image());
            let error = loop {
                match stream.next().await {
                    Ok(Some((chunk, bytes))) => assert!(image[&chunk] == bytes),
                    Ok(None) => panic!("damage in {name} was not noticed"),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::Damaged);
            let at = error.location();
            assert!(at.pack.is_some_and(|pack| name.ends_with(&pack.to_string())), "{error}");
            assert!(at.disk_range.is_some(), "{error}");
            store.objects().insert(name.clone(), before.clone());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_copy_does_where_one_is_bad() {
    // Two backups at the same time store the same chunks twice.
    let store = MemoryStore::new();
    let (one, other) = (init(&store).await, open(&store).await.unwrap());
    let (image, capacity) = (image(), CAPACITY);
    let (first, second) = tokio::join!(
        back_up(&one, "one", capacity, &image, None),
        back_up(&other, "other", capacity, &image, None)
    );
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(second.disks()[0].summary.new_chunks, first.disks()[0].summary.new_chunks);
    let data: Vec<String> =
        store.names("packs").into_iter().filter(|name| store.objects()[name][10] == 1).collect();
    for name in data {
        let before = store.objects()[&name].clone();
        store.change(&name, |bytes| bytes[70..].fill(7));
        let repo = open(&store).await.unwrap();
        let disk = repo.point(first.id()).await.unwrap().disk("disk").unwrap();
        assert!(all(&disk).await.unwrap() == image, "{name}");
        store.objects().insert(name, before);
    }
}
