//! The index in a file of this machine is never believed over the store. See docs/repository-format.md, "Index cache".

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use vadp_repository::{
    CheckDepth, ChunkStore, InitOptions, LocalStore, OpenOptions, PruneOptions, Repository, Result,
};

use crate::support::*;

const CAPACITY: u64 = 40 * CHUNK as u64;

fn options(folder: &Path) -> OpenOptions {
    let mut options = OpenOptions::from(limits()).index_cache(folder);
    options.small_index = 4;
    options
}

async fn open_cached(store: &Arc<MemoryStore>, folder: &Path) -> Result<Repository> {
    Repository::open_with(Arc::clone(store) as Arc<dyn ChunkStore>, &secret(), options(folder)).await
}

/// Small packs of zeros are cheap, so the chunks are long lines of one byte.
fn image(seed: u64) -> Image {
    let content = |chunk: u64| vec![(seed + chunk) as u8 | 1; CHUNK];
    (0..40).filter(|chunk| chunk % 5 != seed % 5).map(|chunk| (chunk, content(chunk).into())).collect()
}

fn cache_file(folder: &Path) -> PathBuf {
    let files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.into_iter().find(|file| file.extension().is_some_and(|end| end == "index")).unwrap()
}

/// Everything can be read, and a check by the same index finds the same as one without a cache.
async fn is_whole(store: &Arc<MemoryStore>, folder: &Path) {
    let cached = open_cached(store, folder).await.unwrap();
    for info in cached.points(None).await.unwrap() {
        let seed = info.machine.as_str().parse().unwrap();
        compare(&cached.point(info.id).await.unwrap().disk("disk").unwrap(), &image(seed)).await.unwrap();
    }
    let plain = open(store).await.unwrap();
    let (with, without) =
        (cached.check(CheckDepth::Deep).await.unwrap(), plain.check(CheckDepth::Deep).await.unwrap());
    assert_eq!(with, without);
    assert!(with.is_ok(), "{with}");
    assert_eq!(cached.statistics().await.unwrap(), plain.statistics().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_is_used_and_follows_what_others_add_and_replace() {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let repo = init(&store).await;
    let mut cached = Vec::new();
    for seed in 0..10 {
        back_up(&repo, &seed.to_string(), CAPACITY, &image(seed), None).await.unwrap();
        is_whole(&store, folder.path()).await;
        // The last ones may not be worth a new file yet.
        if seed == 4 {
            cached = store.names("index");
        }
    }
    // It is used: with objects whose content has rotted since, all is as it was.
    let before = store.objects().clone();
    for name in cached {
        store.change(&name, |bytes| bytes[100] ^= 1);
    }
    let cached = open_cached(&store, folder.path()).await.unwrap();
    for info in cached.points(None).await.unwrap() {
        let seed = info.machine.as_str().parse().unwrap();
        compare(&cached.point(info.id).await.unwrap().disk("disk").unwrap(), &image(seed)).await.unwrap();
    }
    *store.objects() = before;
    // A prune replaces the index objects. One process has them open meanwhile.
    let mut prune = PruneOptions::default().danger_nobody_writes();
    prune.rewrite_below = 100;
    let points = repo.points(None).await.unwrap();
    for info in &points[..5] {
        repo.remove_point(info.id, true).await.unwrap();
    }
    let report = repo.plan_prune(prune).await.unwrap().apply().await.unwrap();
    assert!(report.index_objects_replaced > 0, "{report:?}");
    for info in &points[5..] {
        let seed = info.machine.as_str().parse().unwrap();
        compare(&cached.point(info.id).await.unwrap().disk("disk").unwrap(), &image(seed)).await.unwrap();
    }
    is_whole(&store, folder.path()).await;
    // What the store has lost, the cache does not know any more.
    store.objects().retain(|name, _| !name.starts_with("index/"));
    let repo = open_cached(&store, folder.path()).await.unwrap();
    assert!(repo.check(CheckDepth::Quick).await.unwrap().damage.iter().any(|damage| !damage.lost.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_was_altered_is_built_anew() {
    let (store, folder) = (MemoryStore::new(), tempfile::tempdir().unwrap());
    let repo = init(&store).await;
    for seed in 0..3 {
        back_up(&repo, &seed.to_string(), CAPACITY, &image(seed), None).await.unwrap();
    }
    is_whole(&store, folder.path()).await;
    let file = cache_file(folder.path());
    let good = std::fs::read(&file).unwrap();
    // In the header, in a block, in each section, at the end; and torn by a crash.
    let places = [20, 40, 70, 500, good.len() / 2, good.len() - 300, good.len() - 20, good.len() - 3];
    let altered = places.map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 4;
        bytes
    });
    let torn = [0, 64, 1000, good.len() - 1].map(|length| good[..length].to_vec());
    for bytes in altered.into_iter().chain(torn) {
        std::fs::write(&file, &bytes).unwrap();
        is_whole(&store, folder.path()).await;
        assert_ne!(std::fs::read(&file).unwrap(), bytes, "the file is as it was");
        // A backup begins with a good index, too: nothing is stored twice.
        std::fs::write(&file, &bytes).unwrap();
        let repo = open_cached(&store, folder.path()).await.unwrap();
        let again = back_up(&repo, "1", CAPACITY, &image(1), None).await;
        match again {
            Ok(point) => assert_eq!(point.disks()[0].summary.new_chunks, 0),
            Err(error) => {
                assert_eq!(error.kind(), vadp_repository::ErrorKind::Store, "{error}");
                back_up(&repo, "1", CAPACITY, &image(1), None).await.unwrap();
            }
        }
    }
}

fn start(folder: &Path, role: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["index_cache::a_process_of_its_own", "--exact", "--ignored", "--nocapture"])
        .env("INDEX_CACHE_FOLDER", folder)
        .env("INDEX_CACHE_ROLE", role)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

async fn open_folder(folder: &Path) -> Repository {
    let store = Arc::new(LocalStore::open(folder.join("repo")).unwrap());
    Repository::open_with(store, &secret(), options(&folder.join("cache"))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "started by the test below"]
async fn a_process_of_its_own() {
    let folder = PathBuf::from(std::env::var_os("INDEX_CACHE_FOLDER").unwrap());
    let role = std::env::var("INDEX_CACHE_ROLE").unwrap();
    for round in 0.. {
        let repo = open_folder(&folder).await;
        if role == "writer" {
            back_up(&repo, &(round % 50).to_string(), CAPACITY, &image(round % 50), None).await.unwrap();
        }
        for info in repo.points(None).await.unwrap().iter().rev().take(2) {
            let seed = info.machine.as_str().parse().unwrap();
            compare(&repo.point(info.id).await.unwrap().disk("disk").unwrap(), &image(seed)).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_share_a_cache_and_are_killed_while_they_write_it() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let mut init = InitOptions::with_chunk_size(CHUNK as u32);
    init.limits = limits();
    Repository::init_local(folder.join("repo"), &secret(), init).await.unwrap();
    back_up(&open_folder(folder).await, "7", CAPACITY, &image(7), None).await.unwrap();
    let mut processes = ["writer", "reader", "reader"].map(|role| (role, start(folder, role)));
    for kill in 0..12 {
        tokio::time::sleep(std::time::Duration::from_millis(50 + 37 * (kill % 4))).await;
        let (role, process) = &mut processes[kill as usize % 3];
        assert!(process.try_wait().unwrap().is_none(), "{role} ended by itself");
        process.kill().unwrap();
        process.wait().unwrap();
        *process = start(folder, role);
    }
    for (role, process) in &mut processes {
        assert!(process.try_wait().unwrap().is_none(), "{role} ended by itself");
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let repo = open_folder(folder).await;
    assert!(repo.check(CheckDepth::Deep).await.unwrap().is_ok());
    for info in repo.points(None).await.unwrap() {
        let seed = info.machine.as_str().parse().unwrap();
        compare(&repo.point(info.id).await.unwrap().disk("disk").unwrap(), &image(seed)).await.unwrap();
    }
    cache_file(&folder.join("cache"));
}
