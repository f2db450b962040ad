//! Who may open a repository. See docs/repository-format.md, "Key slot".

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vadp_repository::{
    ChunkStore, Error, ErrorKind, InitOptions, KeyFuture, KeyProvider, Limits, Repository, Secret,
};
use zeroize::Zeroizing;

use crate::support::*;

/// A key service that masks keys with its own number.
struct Masking {
    mask: u8,
    is_down: AtomicBool,
}

impl Masking {
    fn new(mask: u8) -> Arc<Self> {
        Arc::new(Self { mask, is_down: AtomicBool::new(false) })
    }
}

impl KeyProvider for Masking {
    fn wrap<'a>(&'a self, key: &'a [u8; 32]) -> KeyFuture<'a, Vec<u8>> {
        Box::pin(async move { Ok([&[self.mask][..], &key.map(|byte| byte ^ self.mask)].concat()) })
    }

    fn unwrap<'a>(&'a self, blob: &'a [u8]) -> KeyFuture<'a, Zeroizing<[u8; 32]>> {
        Box::pin(async move {
            if self.is_down.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::KeyProvider, "the key service does not answer"));
            }
            match blob.split_first_chunk::<1>() {
                Some(([mask], rest)) if *mask == self.mask => {
                    let key: [u8; 32] = rest.try_into().unwrap();
                    Ok(Zeroizing::new(key.map(|byte| byte ^ self.mask)))
                }
                _ => Err(Error::new(ErrorKind::WrongKey, "wrapped by another service")),
            }
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_slot_opens_the_repository_and_no_other_secret_does() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let open = |secret: Secret| {
        let store = Arc::clone(&store) as Arc<dyn ChunkStore>;
        async move { Repository::open_with(store, &secret, Limits::default()).await }
    };
    let kind = |result: Result<Repository, Error>| result.err().unwrap().kind();
    // Before there is a slot of the kind, and after.
    let provider = Masking::new(1);
    assert_eq!(kind(open(Secret::password("a")).await), ErrorKind::WrongKey);
    assert_eq!(kind(open(Secret::provider(provider.clone())).await), ErrorKind::WrongKey);
    repo.add_key(&Secret::password("a")).await.unwrap();
    repo.add_key(&Secret::provider(Masking::new(2))).await.unwrap();
    repo.add_key(&Secret::provider(provider.clone())).await.unwrap();
    for secret in [Secret::password("a"), Secret::provider(provider.clone()), secret()] {
        assert_eq!(open(secret).await.unwrap().id(), repo.id());
    }
    assert_eq!(kind(open(Secret::password("b")).await), ErrorKind::WrongKey);
    assert_eq!(kind(open(Secret::raw_key([8; 32])).await), ErrorKind::WrongKey);
    assert_eq!(kind(open(Secret::provider(Masking::new(3))).await), ErrorKind::WrongKey);
    provider.is_down.store(true, Ordering::SeqCst);
    assert_eq!(kind(open(Secret::provider(provider)).await), ErrorKind::KeyProvider);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_asks_for_absurd_memory_is_refused() {
    let store: Arc<MemoryStore> = MemoryStore::new();
    let password = || Secret::password("a");
    let dynamic = Arc::clone(&store) as Arc<dyn ChunkStore>;
    Repository::init(Arc::clone(&dynamic), &password(), InitOptions::default()).await.unwrap();
    let name = store.names("keys").remove(0);
    store.change(&name, |bytes| bytes[84..88].copy_from_slice(&u32::MAX.to_le_bytes()));
    let error = Repository::open(dynamic, &password()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_damaged_slot_is_damage_and_not_a_wrong_key() {
    let store = MemoryStore::new();
    init(&store).await;
    let name = store.names("keys").remove(0);
    store.change(&name, |bytes| bytes.truncate(50));
    assert_eq!(open(&store).await.err().unwrap().kind(), ErrorKind::Damaged);
}
