//! Every store and every wrapper against the conformance suite, and what each wrapper is for.

// Helpers of tests may panic like the tests themselves; the lint's own exception covers only test functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use vadp_repository::conformance::{self, Load};
use vadp_repository::{
    Backoff, CachePlace, ChunkStore, ErrorKind, FaultPlan, FaultStore, LocalStore, MemoryStore, ObjectName,
    ReadCache, Retry, Throttle,
};

async fn conforms<S: ChunkStore>(store: &S) {
    conforms_under(store, load()).await;
}

async fn conforms_under<S: ChunkStore>(store: &S, load: Load) {
    let report = conformance::run_with(store, load).await.unwrap();
    assert!(report.is_ok(), "{report}");
    assert!(store.list("").await.unwrap().is_empty(), "the suite left objects");
}

fn load() -> Load {
    let mut load = Load::default();
    load.large = 8 << 20;
    load
}

fn name(name: &str) -> ObjectName {
    ObjectName::new(name).unwrap()
}

fn plan(change: impl FnOnce(&mut FaultPlan)) -> FaultPlan {
    let mut plan = FaultPlan::default();
    change(&mut plan);
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_and_wrappers_conform() {
    let folder = tempfile::tempdir().unwrap();
    // Each create flushes a file and its folder, so there are fewer.
    let mut small = load();
    small.listed = 150;
    conforms_under(&LocalStore::create(folder.path().join("local")).unwrap(), small).await;
    conforms(&MemoryStore::new()).await;
    conforms(&Arc::new(MemoryStore::new())).await;
    conforms(&Throttle::new(MemoryStore::new(), 10 << 30).unwrap()).await;
    conforms(&FaultStore::new(MemoryStore::new(), FaultPlan::default())).await;
    conforms(&Retry::new(MemoryStore::new(), Backoff::default())).await;
    conforms(&ReadCache::open(MemoryStore::new(), CachePlace::Memory, 3 << 20).unwrap()).await;
    let place = CachePlace::Directory(folder.path().join("cache"));
    conforms_under(&ReadCache::open(MemoryStore::new(), place, 3 << 20).unwrap(), small).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_which_much_goes_wrong_conforms_with_retries() {
    for seed in 0..3 {
        let faults = plan(|plan| {
            plan.seed = seed;
            (plan.unavailable, plan.cut_uploads, plan.lost_answers) = (100, 100, 100);
            plan.latency = Duration::from_micros(300);
        });
        let store = FaultStore::new(MemoryStore::new(), faults);
        let mut backoff = Backoff::new(20, Duration::from_micros(10));
        backoff.longest_pause = Duration::from_millis(1);
        conforms(&Retry::new(store, backoff)).await;
    }
}

#[tokio::test]
async fn the_suite_finds_what_is_wrong() {
    // Without retries, the faults show.
    let faults = plan(|plan| plan.lost_answers = 200);
    let report = conformance::run_with(&FaultStore::new(MemoryStore::new(), faults), load()).await.unwrap();
    assert!(!report.is_ok());
    assert!(report.to_string().contains("BROKEN"), "{report}");
    let locked = FaultStore::new(MemoryStore::new(), plan(|plan| plan.locked = true));
    let report = conformance::run_with(&locked, load()).await.unwrap();
    let broken: Vec<_> =
        report.rules.iter().filter(|(_, why)| why.is_some()).map(|(rule, _)| *rule).collect();
    assert_eq!(
        broken,
        ["what is removed is gone, and may be removed again", "the suite's own objects can be removed"]
    );
}

#[tokio::test]
async fn the_same_seed_meets_the_same_faults() {
    let run = async |seed| {
        let faults = plan(|plan| {
            plan.seed = seed;
            (plan.unavailable, plan.cut_uploads, plan.lost_answers) = (200, 200, 200);
        });
        let store = FaultStore::new(MemoryStore::new(), faults);
        let mut outcomes = Vec::new();
        for number in 0..100 {
            let result = store.create(&name(&format!("{number}")), Bytes::new()).await;
            outcomes.push(result.map_err(|error| error.to_string()));
        }
        outcomes
    };
    assert_eq!(run(1).await, run(1).await);
    assert_ne!(run(1).await, run(2).await);
    assert!(run(1).await.iter().any(Result::is_ok));
}

#[tokio::test]
async fn a_crash_ends_everything_at_one_operation() {
    for after in [false, true] {
        let faults = plan(|plan| (plan.crash_at, plan.crash_after) = (Some(1), after));
        let inner = Arc::new(MemoryStore::new());
        let store = FaultStore::new(Arc::clone(&inner), faults);
        store.create(&name("0"), Bytes::new()).await.unwrap();
        let second = name("1");
        tokio::select! {
            _ = store.create(&second, Bytes::new()) => panic!("the process is dead"),
            () = store.crashed() => {}
        }
        assert_eq!(inner.names().len(), 1 + usize::from(after));
    }
}

#[tokio::test]
async fn retries_end_and_say_so() {
    let store = FaultStore::new(MemoryStore::new(), plan(|plan| plan.unavailable = 1000));
    let store = Arc::new(store);
    let retry = Retry::new(Arc::clone(&store), Backoff::new(3, Duration::from_micros(1)));
    let error = retry.get(&name("0"), 1).await.unwrap_err();
    assert_eq!((error.kind(), store.operations()), (ErrorKind::Store, 4));
    assert!(error.to_string().contains("failed 4 times"), "{error}");
    // What will not change is not asked twice.
    let store = Arc::new(FaultStore::new(MemoryStore::new(), FaultPlan::default()));
    let retry = Retry::new(Arc::clone(&store), Backoff::new(3, Duration::from_micros(1)));
    assert!(retry.get(&name("0"), 1).await.unwrap_err().is_not_found());
    assert_eq!(store.operations(), 1);
}

#[tokio::test]
async fn a_throttled_store_takes_its_time() {
    let store = Throttle::new(MemoryStore::new(), 10 << 20).unwrap();
    let began = Instant::now();
    for number in 0..4 {
        store.create(&name(&format!("{number}")), Bytes::from(vec![1; 1 << 20])).await.unwrap();
    }
    // The first one passes at once, the last one after the three before it.
    let taken = began.elapsed();
    assert!(taken >= Duration::from_millis(295), "{taken:?}");
    for number in 0..3 {
        store.get_range(&name(&format!("{number}")), 0..u64::MAX).await.unwrap();
    }
    // The first of these waits for the four, the last one for the two before it.
    assert!(began.elapsed() >= Duration::from_millis(590), "{:?}", began.elapsed());
    assert!(Throttle::new(MemoryStore::new(), 0).is_err());
}

#[tokio::test]
async fn a_cache_is_bounded_and_saves_reads() {
    let folder = tempfile::tempdir().unwrap();
    for place in [CachePlace::Memory, CachePlace::Directory(folder.path().to_owned())] {
        let inner = Arc::new(FaultStore::new(MemoryStore::new(), FaultPlan::default()));
        let cache = ReadCache::open(Arc::clone(&inner), place.clone(), 2500).unwrap();
        for number in 0..3 {
            cache.create(&name(&format!("{number}")), Bytes::from(vec![number; 1000])).await.unwrap();
        }
        let before = inner.operations();
        for _ in 0..3 {
            assert_eq!(cache.get(&name("0"), 1000).await.unwrap(), vec![0; 1000]);
            assert_eq!(cache.get_range(&name("1"), 10..20).await.unwrap(), vec![1; 10]);
        }
        assert_eq!(inner.operations() - before, 2);
        assert_eq!(cache.bytes(), 1010);
        // The limit holds for what is in the cache, too.
        assert_eq!(cache.get(&name("0"), 999).await.unwrap_err().kind(), ErrorKind::Damaged);
        cache.get(&name("1"), 1000).await.unwrap();
        cache.get(&name("2"), 1000).await.unwrap();
        assert!(cache.bytes() <= 2500, "{}", cache.bytes());
        let before = inner.operations();
        cache.get(&name("0"), 1000).await.unwrap();
        assert_eq!(inner.operations() - before, 1, "the oldest read was pushed out");
        if let CachePlace::Directory(path) = &place {
            let files = || path.read_dir().unwrap().map(|entry| entry.unwrap().path());
            let stored: u64 = files().map(|file| file.metadata().unwrap().len() - 32).sum();
            assert_eq!(stored, cache.bytes());
            // A later process goes on with it, and rot is no answer.
            let cache = ReadCache::open(Arc::clone(&inner), place.clone(), 2500).unwrap();
            let before = inner.operations();
            cache.get(&name("0"), 1000).await.unwrap();
            assert_eq!(inner.operations() - before, 0);
            for file in files() {
                let mut bytes = std::fs::read(&file).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                std::fs::write(file, bytes).unwrap();
            }
            assert_eq!(cache.get(&name("0"), 1000).await.unwrap(), vec![0; 1000]);
            assert_eq!(inner.operations() - before, 1);
            let smaller = ReadCache::open(Arc::clone(&inner), place.clone(), 10).unwrap();
            assert!(smaller.bytes() <= 10);
            assert!(files().count() <= 1);
        }
    }
}

#[tokio::test]
async fn interrupted_writes_are_swept_up_when_they_are_old() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    store.create(&name("packs/ab/abc"), Bytes::from("whole")).await.unwrap();
    std::fs::write(folder.path().join("packs/ab/abd#1"), "half").unwrap();
    std::fs::write(folder.path().join("packs/ab/someone's #1 file"), "foreign").unwrap();
    assert_eq!(store.list("packs/ab").await.unwrap().len(), 2);
    assert_eq!(store.sweep(SystemTime::now() - Duration::from_secs(60)).await.unwrap(), 0);
    assert_eq!(store.sweep(SystemTime::now() + Duration::from_secs(60)).await.unwrap(), 4);
    let mut left: Vec<_> =
        folder.path().join("packs/ab").read_dir().unwrap().map(|f| f.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["abc", "someone's #1 file"]);
}

#[cfg(unix)]
#[tokio::test]
async fn refusals_of_the_system_are_told_apart() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path()).unwrap();
    store.create(&name("packs/1"), Bytes::from("1")).await.unwrap();
    let packs = folder.path().join("packs");
    std::fs::set_permissions(&packs, std::fs::Permissions::from_mode(0o555)).unwrap();
    // Nothing is forbidden to root.
    if std::fs::write(packs.join("probe"), "").is_ok() {
        eprintln!("not tried: this user may write anywhere");
        return;
    }
    assert_eq!(store.create(&name("packs/2"), Bytes::new()).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(store.remove(&name("packs/1")).await.unwrap_err().kind(), ErrorKind::Denied);
    std::fs::set_permissions(&packs, std::fs::Permissions::from_mode(0o755)).unwrap();
}
