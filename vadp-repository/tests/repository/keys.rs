//! Who may open a repository. See docs/repository-format.md, "Key slot".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use vadp_repository::{
    CheckDepth, ChunkStore, DiskSpec, Error, ErrorKind, FaultPlan, FaultStore, InitOptions, KeyFuture,
    KeyProvider, KeySlotKind, Limits, PointDraft, PointId, PruneOptions, Repository, Secret,
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

fn key(number: u8) -> Secret {
    Secret::raw_key([number; 32])
}

async fn open_by(store: &Arc<MemoryStore>, secret: Secret) -> Result<Repository, Error> {
    Repository::open_with(Arc::clone(store) as Arc<dyn ChunkStore>, &secret, limits()).await
}

const CAPACITY: u64 = 3 * CHUNK as u64;

fn image(seed: u64) -> Image {
    (0..3).map(|chunk| (chunk, noise(seed + chunk, CHUNK))).collect()
}

async fn is_whole(repo: &Repository, point: PointId, image: &Image) -> Result<(), Error> {
    compare(&repo.point(point).await?.disk("disk")?, image).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_changed_and_the_slot_in_use_stays() {
    let store = MemoryStore::new();
    let first = init(&store).await;
    let old = first.key_slots().await.unwrap().remove(0);
    assert_eq!((old.kind, old.is_own), (KeySlotKind::RawKey, true));
    let error = first.remove_key(old.id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let new = first.add_key(&key(8)).await.unwrap();
    first.add_key(&Secret::provider(Masking::new(1))).await.unwrap();
    let second = open_by(&store, key(8)).await.unwrap();
    let slots = second.key_slots().await.unwrap();
    let own: Vec<_> = slots.iter().filter(|slot| slot.is_own).map(|slot| slot.id).collect();
    assert_eq!((slots.len(), own), (3, vec![new]));
    assert!(slots.iter().any(|slot| slot.kind == KeySlotKind::Provider));
    second.remove_key(old.id).await.unwrap();
    assert_eq!(second.remove_key(old.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(open_by(&store, secret()).await.err().unwrap().kind(), ErrorKind::WrongKey);
    // The first value still works, but may not remove what it cannot vouch for, nor hand on its keyring.
    assert_eq!(first.remove_key(new).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(first.add_key(&key(9)).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!((store.names("keys").len(), store.names("locks").len()), (2, 0));
    // A slot that cannot be read is in nobody's way.
    let third = second.add_key(&key(9)).await.unwrap();
    store.change(&format!("keys/{third}"), |bytes| bytes.truncate(20));
    assert_eq!(second.key_slots().await.unwrap().len(), 2);
    second.remove_key(third).await.unwrap();
    assert_eq!(store.names("keys").len(), 2);
}

/// The key epoch that an object was sealed in, by its header.
fn epoch(store: &MemoryStore, name: &str) -> u32 {
    u32::from_le_bytes(store.objects()[name][12..16].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_seals_anew_what_comes_and_leaves_the_rest() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let first = back_up(&repo, "web", CAPACITY, &image(1), None).await.unwrap().id();
    repo.add_key(&key(8)).await.unwrap();
    let elsewhere = open(&store).await.unwrap();
    let writer = elsewhere.begin(PointDraft::new(machine("db"))).await.unwrap();
    let before = store.objects().clone();

    let rotation = repo.rotate_keys(&[secret(), key(9)], true).await.unwrap();
    assert_eq!((rotation.added.len(), rotation.removed.len(), rotation.refused.len()), (2, 2, 0));
    let gone: Vec<_> = before.keys().filter(|name| !store.objects().contains_key(*name)).cloned().collect();
    assert!(gone.len() == 2 && gone.iter().all(|name| name.starts_with("keys/")), "{gone:?}");
    assert!(before.iter().all(|(name, bytes)| store.objects().get(name).is_none_or(|now| now == bytes)));
    assert_eq!(open_by(&store, key(8)).await.err().unwrap().kind(), ErrorKind::WrongKey);

    // A backup that had begun with the old key ends well, and can be read by all.
    let spec = DiskSpec { key: "disk".to_owned(), capacity_bytes: CAPACITY };
    let mut disk = writer.disk(spec, None).unwrap();
    disk.put(0, noise(50, CHUNK)).await.unwrap();
    disk.finish().await.unwrap();
    let begun = writer.commit(Bytes::new(), BTreeMap::new()).await.unwrap().id();
    // Chunks are recognised over the rotation; what is new has the new key.
    let mut changed = image(1);
    changed.insert(1, noise(60, CHUNK));
    let second = back_up(&repo, "web", CAPACITY, &changed, None).await.unwrap();
    assert_eq!((second.disks()[0].summary.dedup_chunks, second.disks()[0].summary.new_chunks), (2, 1));
    let name = |id: PointId| format!("points/{id}");
    assert_eq!((epoch(&store, &name(first)), epoch(&store, &name(begun))), (1, 1));
    assert!(epoch(&store, &name(second.id())) > 1);
    for holder in [secret(), key(9)] {
        let repo = open_by(&store, holder).await.unwrap();
        is_whole(&repo, first, &image(1)).await.unwrap();
        is_whole(&repo, begun, &[(0, noise(50, CHUNK))].into()).await.unwrap();
        is_whole(&repo, second.id(), &changed).await.unwrap();
        assert!(repo.check(CheckDepth::Deep).await.unwrap().is_ok());
    }
    // Who has it open since before is told what to do about what is new, and goes on with the rest.
    let error = elsewhere.point(second.id()).await.unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert_eq!(error.kind(), ErrorKind::WrongKey, "{text}");
    assert!(text.contains("open the repository again"), "{text}");
    is_whole(&elsewhere, first, &image(1)).await.unwrap();
    let third = back_up(&elsewhere, "db", CAPACITY, &changed, None).await.unwrap();
    assert_eq!(epoch(&store, &name(third.id())), 1);
    is_whole(&repo, third.id(), &changed).await.unwrap();
    // But it must not judge what it cannot read.
    let pruned = elsewhere.plan_prune(PruneOptions::default()).await.err().unwrap();
    assert_eq!(pruned.kind(), ErrorKind::WrongKey, "{pruned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_whose_secret_is_not_at_hand_stop_a_rotation_or_are_dropped() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let other = repo.add_key(&key(8)).await.unwrap();
    let before = store.objects().clone();
    let error = repo.rotate_keys(&[secret()], false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains(&other.to_string()), "{error}");
    assert_eq!(repo.rotate_keys(&[], true).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(*store.objects(), before, "nothing is left of what was refused");
    let rotation = repo.rotate_keys(&[secret()], true).await.unwrap();
    assert!(rotation.removed.contains(&other));
    assert_eq!(open_by(&store, key(8)).await.err().unwrap().kind(), ErrorKind::WrongKey);
    let slots = repo.key_slots().await.unwrap();
    assert!(slots.len() == 1 && slots[0].is_own, "{slots:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_rotation_loses_no_key() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    repo.add_key(&key(8)).await.unwrap();
    let slots: Vec<_> =
        store.names("keys").into_iter().map(|name| (name.clone(), store.objects()[&name].clone())).collect();
    let rotation = repo.rotate_keys(&[secret(), key(8)], false).await.unwrap();
    // As if it had died after the first new slot.
    store.objects().remove(&format!("keys/{}", rotation.added[1]));
    store.objects().extend(slots);
    // The first holder gets the new slot, and writes with the new key.
    let first = open(&store).await.unwrap();
    let point = back_up(&first, "web", CAPACITY, &image(1), None).await.unwrap().id();
    assert!(epoch(&store, &format!("points/{point}")) > 1);
    // The second has an old one only, which opens the repository, but not the new point.
    let second = open_by(&store, key(8)).await.unwrap();
    let error = second.point(point).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey, "{error}");
    // Nobody can do away with the slot that alone holds the key, be it for an index object or for a point.
    let index = store.names("index").remove(0);
    let hidden = store.objects().remove(&index).unwrap();
    for _ in 0..2 {
        assert_eq!(second.remove_key(rotation.added[0]).await.unwrap_err().kind(), ErrorKind::WrongKey);
        assert_eq!(second.rotate_keys(&[key(8)], true).await.unwrap_err().kind(), ErrorKind::WrongKey);
        store.objects().insert(index.clone(), hidden.clone());
    }
    // With both secrets it is brought to its end, also from there.
    second.rotate_keys(&[secret(), key(8)], false).await.unwrap();
    for holder in [secret(), key(8)] {
        is_whole(&open_by(&store, holder).await.unwrap(), point, &image(1)).await.unwrap();
    }
    assert_eq!(store.names("keys").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_dies_at_any_operation_locks_nobody_out() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    back_up(&repo, "web", 4 * CHUNK as u64, &[(1, noise(1, CHUNK))].into(), None).await.unwrap();
    for crash_at in 0.. {
        let fork = MemoryStore::failing(store.objects().clone(), usize::MAX, Failure::Refuse);
        let mut plan = FaultPlan::default();
        plan.crash_at = Some(crash_at);
        let faulty = Arc::new(FaultStore::new(Arc::clone(&fork), plan));
        let rotate = async {
            let store = Arc::clone(&faulty) as Arc<dyn ChunkStore>;
            Repository::open_with(store, &secret(), limits()).await?.rotate_keys(&[secret()], false).await
        };
        let ended = tokio::select! {
            done = rotate => done.unwrap().removed.len() == 1,
            () = faulty.crashed() => false,
        };
        let repo = open(&fork).await.unwrap();
        assert_eq!(repo.points(None).await.unwrap().len(), 1);
        if ended {
            assert!(crash_at > 10, "{crash_at} operations");
            break;
        }
    }
}
