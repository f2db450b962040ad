//! No key seals twice with one nonce, over all that a repository does. See docs/repository-format.md, "Keys".

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::{
    ChunkStore, DiskSpec, InitOptions, MachineId, MemoryStore, PointDraft, PointId, PruneOptions, Repository,
    Result, Secret,
};

/// Keys (by their digests) and nonces, and how often each seal was made.
type Seals = BTreeMap<([u8; 32], [u8; 12]), u32>;

/// Every seal of this process.
static SEALS: Mutex<Seals> = Mutex::new(BTreeMap::new());

pub(super) fn note(key: blake3::Hash, nonce: [u8; 12]) {
    *SEALS.lock().unwrap().entry((*key.as_bytes(), nonce)).or_default() += 1;
}

const CHUNK: usize = 256 * 1024;

async fn init(store: &Arc<MemoryStore>, key: u8) -> Repository {
    let mut options = InitOptions::with_chunk_size(CHUNK as u32);
    options.limits.pack_bytes = 1 << 20;
    let store = Arc::clone(store) as Arc<dyn ChunkStore>;
    Repository::init(store, &Secret::raw_key([key; 32]), options).await.unwrap()
}

async fn back_up(repo: &Repository, machine: &str, first: u8) -> Result<PointId> {
    let writer = repo.begin(PointDraft::new(MachineId::new(machine)?)).await?;
    let mut disk =
        writer.disk(DiskSpec { key: "disk".to_owned(), capacity_bytes: 8 * CHUNK as u64 }, None)?;
    for chunk in 0..8 {
        disk.put(chunk, Bytes::from(vec![first + chunk as u8; CHUNK])).await?;
    }
    disk.finish().await?;
    Ok(writer.commit(Bytes::new(), BTreeMap::new()).await?.id())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_seals_twice_with_one_nonce() {
    let (store, other) = (Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()));
    let (repo, copies) = (init(&store, 1).await, init(&other, 2).await);
    let (one, two) = tokio::join!(back_up(&repo, "web", 1), back_up(&repo, "db", 5));
    let (one, two) = (one.unwrap(), two.unwrap());
    repo.add_key(&Secret::raw_key([3; 32])).await.unwrap();
    repo.rotate_keys(&[Secret::raw_key([1; 32]), Secret::raw_key([3; 32])], false).await.unwrap();
    let three = back_up(&repo, "web", 30).await.unwrap();
    for point in [one, two, three] {
        repo.copy_point(point, &copies, |_| ()).await.unwrap();
    }
    // The same point twice, for the same secret.
    for _ in 0..2 {
        let mut file = Vec::new();
        repo.export_point(three, &Secret::raw_key([4; 32]), &mut file, |_| ()).await.unwrap();
        let copies = init(&Arc::new(MemoryStore::new()), 2).await;
        copies.import_point(&file[..], &Secret::raw_key([4; 32]), |_| ()).await.unwrap();
    }
    repo.remove_point(one, false).await.unwrap();
    let mut rules = PruneOptions::default().danger_nobody_writes();
    (rules.rewrite_below, rules.merge_from) = (100, 2);
    let report = repo.plan_prune(rules).await.unwrap().apply().await.unwrap();
    assert!(report.packs_rewritten + report.packs_merged > 0, "{report:?}");
    let pack = store.names().into_iter().find(|name| name.starts_with("packs/")).unwrap();
    store.tamper(&pack, |object| {
        let mut bytes = object?.to_vec();
        bytes[40] ^= 1;
        Some(bytes.into())
    });
    let report = repo.plan_repair().await.unwrap().apply().await.unwrap();
    assert!(report.salvaged > 0, "{report:?}");
    let seals = SEALS.lock().unwrap();
    assert!(seals.len() > 150, "only {} seals", seals.len());
    let keys: HashMap<[u8; 32], usize> = seals.keys().fold(HashMap::new(), |mut keys, (key, _)| {
        *keys.entry(*key).or_default() += 1;
        keys
    });
    assert!(keys.len() > 40, "only {} keys", keys.len());
    assert_eq!(seals.iter().find(|(_, count)| **count > 1), None);
}
