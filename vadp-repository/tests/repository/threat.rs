//! What the threat model says of whoever runs the store, beside what other tests show. See docs/repository-format.md, "Threat model";
//! docs/testing.md says which test is for which claim.

use std::sync::Arc;

use vadp_repository::{CheckDepth, ChunkStore, ErrorKind, InitOptions, Repository, Secret};

use crate::support::*;

const CAPACITY: u64 = 3 * CHUNK as u64;

fn image() -> Image {
    (0..3).map(|chunk| (chunk, noise(chunk, CHUNK))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_another_repository_is_none_of_this() {
    let (mine, theirs) = (MemoryStore::new(), MemoryStore::new());
    let (repo, other) = (init(&mine).await, init(&theirs).await);
    let point = back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap().id();
    back_up(&other, "web", CAPACITY, &image(), None).await.unwrap();
    // The same secret, machine and bytes: each kind of object in place of the one that is here.
    for folder in ["packs", "index", "points", "keys"] {
        let store = MemoryStore::failing(mine.objects().clone(), usize::MAX, Failure::Refuse);
        for (name, by) in store.names(folder).iter().zip(theirs.names(folder)) {
            let mut bytes = theirs.objects()[&by].to_vec();
            store.change(name, |object| object.clone_from(&bytes));
            assert_is_refused(&store, point).await;
            // And with this repository's id written into it.
            let at = if folder == "keys" { 12 } else { 16 };
            bytes[at..at + 16].copy_from_slice(repo.id().as_bytes());
            store.change(name, |object| *object = bytes);
            assert_is_refused(&store, point).await;
        }
    }
}

async fn assert_is_refused(store: &Arc<MemoryStore>, point: vadp_repository::PointId) {
    let error = match open(store).await {
        // No slot of this repository opens.
        Err(error) => return assert_eq!(error.kind(), ErrorKind::WrongKey, "{error}"),
        Ok(repo) => {
            assert!(!repo.check(CheckDepth::Deep).await.unwrap().is_ok());
            let read = async { compare(&repo.point(point).await?.disk("disk")?, &image()).await };
            read.await.unwrap_err()
        }
    };
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_costs_what_the_document_says() {
    let store = MemoryStore::new();
    let dynamic = Arc::clone(&store) as Arc<dyn ChunkStore>;
    Repository::init(dynamic, &Secret::password("a"), InitOptions::default()).await.unwrap();
    let name = store.names("keys").remove(0);
    let slot = store.objects()[&name].clone();
    let field = |at: usize| u32::from_le_bytes(slot[at..at + 4].try_into().unwrap());
    assert_eq!((slot[10], field(84), field(88), field(92)), (1, 64 * 1024, 3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_of_other_numbers_is_not_believed() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();
    let before = store.objects()["config"].clone();
    // Chunk size, and the date: both well formed.
    for (at, value) in [(36, (2 * CHUNK as u32).to_le_bytes()), (44, [1, 2, 3, 4])] {
        store.change("config", |bytes| bytes[at..at + 4].copy_from_slice(&value));
        assert_eq!(open(&store).await.err().unwrap().kind(), ErrorKind::Damaged);
        store.objects().insert("config".to_owned(), before.clone());
    }
}
