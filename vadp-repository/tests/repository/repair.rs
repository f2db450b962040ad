//! What is damaged is mended as far as it goes, and what is lost is named to the byte. See docs/repository-format.md, "Repair".

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use bytes::Bytes;
use vadp_repository::{
    CheckDepth, ChunkStore, Error, ErrorKind, FaultPlan, FaultStore, PointId, PruneOptions, RepairPlan,
    Repository,
};

use crate::guarded::Guarded;
use crate::support::*;

const POINTS: u64 = 4;
const CAPACITY: u64 = (POINTS + 1) * CHUNK as u64;

/// The bytes of a chunk, made once.
fn chunk_of(number: u64) -> Bytes {
    static CHUNKS: LazyLock<Vec<Bytes>> =
        LazyLock::new(|| (0..10).map(|number| noise(number, CHUNK)).collect());
    CHUNKS[number as usize].clone()
}

/// What is on the disk of a point.
fn image(point: u64) -> Image {
    (0..=point).map(|chunk| (chunk, chunk_of(chunk))).collect()
}

/// A repository in which it is known what is where: point `n` adds chunk `n`, which is alone in its pack, and has a map page and an
/// index object of its own.
struct Known {
    store: Arc<MemoryStore>,
    points: Vec<PointId>,
    data: Vec<String>,
    pages: Vec<String>,
    index: Vec<String>,
}

impl Known {
    async fn new() -> Self {
        let store = MemoryStore::new();
        let repo = init(&store).await;
        let mut known = Self { store, points: vec![], data: vec![], pages: vec![], index: vec![] };
        let mut parent = None;
        for number in 0..POINTS {
            let before = known.store.objects().clone();
            let image = [(number, chunk_of(number))].into();
            let point = back_up(&repo, "web", CAPACITY, &image, parent.as_ref()).await.unwrap();
            parent = Some(point.disk("disk").unwrap().map().clone());
            known.points.push(point.id());
            for (name, object) in known.store.objects().iter().filter(|(name, _)| !before.contains_key(*name))
            {
                match (name.split('/').next().unwrap(), object[10]) {
                    ("packs", 1) => known.data.push(name.clone()),
                    ("packs", _) => known.pages.push(name.clone()),
                    ("index", _) => known.index.push(name.clone()),
                    _ => {}
                }
            }
        }
        assert_eq!((known.data.len(), known.pages.len(), known.index.len()), (4, 4, 4));
        known
    }

    fn fork(&self) -> Self {
        let store = MemoryStore::failing(self.store.objects().clone(), usize::MAX, Failure::Refuse);
        let (points, data) = (self.points.clone(), self.data.clone());
        Self { store, points, data, pages: self.pages.clone(), index: self.index.clone() }
    }

    fn damage(&self, what: Damage) {
        let change = |name: &String, change: &dyn Fn(&mut Vec<u8>)| {
            // What was deleted cannot be altered, too.
            if self.store.objects().contains_key(name) {
                self.store.change(name, change);
            }
        };
        let of = |names: &[String], number: u64| names[number as usize].clone();
        match what {
            Damage::FlippedChunk(n) => change(&of(&self.data, n), &|bytes| flip(bytes, 64 + 5000)),
            Damage::CutPack(n) => change(&of(&self.data, n), &|bytes| bytes.truncate(CHUNK / 2)),
            Damage::DeletedPack(n) => _ = self.store.objects().remove(&of(&self.data, n)),
            Damage::LongerPack(n) => change(&of(&self.data, n), &|bytes| bytes.extend([1, 2, 3])),
            Damage::FlippedTrailer(n) => change(&of(&self.data, n), &|bytes| {
                let at = bytes.len() - 20;
                flip(bytes, at);
            }),
            Damage::FlippedHeader(n) => change(&of(&self.data, n), &|bytes| flip(bytes, 40)),
            Damage::FlippedPage(n) => change(&of(&self.pages, n), &|bytes| flip(bytes, 64 + 10)),
            Damage::DeletedPages(n) => _ = self.store.objects().remove(&of(&self.pages, n)),
            Damage::FlippedIndex(n) => change(&of(&self.index, n), &|bytes| flip(bytes, 68)),
            Damage::CutIndex(n) => change(&of(&self.index, n), &|bytes| bytes.truncate(70)),
            Damage::DeletedIndex(n) => _ = self.store.objects().remove(&of(&self.index, n)),
            Damage::FlippedPoint(n) => {
                change(&format!("points/{}", self.points[n as usize]), &|bytes| flip(bytes, 100))
            }
        }
    }

    /// What the damages do, by what is known of the repository and by nothing that reads it.
    fn expected(&self, damages: &[Damage]) -> Lost {
        use Damage::*;
        let is =
            |wanted: &[fn(u64) -> Damage], n: u64| wanted.iter().any(|damage| damages.contains(&damage(n)));
        let mut expected = Lost::default();
        for (n, id) in (0..).zip(&self.points) {
            if is(&[FlippedPoint], n) {
                expected.points.insert(*id);
                continue;
            }
            let has_no_map = is(&[FlippedPage, DeletedPages], n);
            for chunk in 0..=POINTS {
                let index_is_gone = is(&[FlippedIndex, CutIndex, DeletedIndex], chunk);
                // Without index and trailer, nobody knows what is in a pack.
                let is_nameless = index_is_gone && is(&[FlippedTrailer, FlippedHeader, LongerPack], chunk);
                let is_bad = is(&[FlippedChunk, CutPack, DeletedPack], chunk) || is_nameless;
                if has_no_map || chunk <= n && is_bad {
                    expected.chunks.insert((*id, chunk));
                }
            }
        }
        expected
    }

    /// Reads everything; gives what cannot be read, and sees that the rest is right.
    async fn unreadable(&self, repo: &Repository) -> Lost {
        let mut found = Lost::default();
        for (number, id) in (0..).zip(&self.points) {
            let point = match repo.point(*id).await {
                Ok(point) => point,
                Err(error) if error.is_not_found() => continue,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                    found.points.insert(*id);
                    continue;
                }
            };
            let (disk, image) = (point.disk("disk").unwrap(), image(number));
            for chunk in 0..=POINTS {
                let start = chunk * CHUNK as u64;
                let mut bytes = vec![7; CHUNK];
                match disk.read_at(start, &mut bytes).await {
                    Ok(()) => {
                        let expected = image.get(&chunk).cloned().unwrap_or_else(|| vec![0; CHUNK].into());
                        assert!(bytes == expected, "chunk {chunk} of point {number} is wrong");
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                        let named = error.location().disk_range.clone().unwrap();
                        assert!(named.contains(&start), "{error}");
                        found.chunks.insert((*id, chunk));
                    }
                }
            }
        }
        found
    }
}

/// Sets a bit the other way.
fn flip(bytes: &mut [u8], at: usize) {
    bytes[at] ^= 4;
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    FlippedChunk(u64),
    CutPack(u64),
    DeletedPack(u64),
    LongerPack(u64),
    FlippedTrailer(u64),
    FlippedHeader(u64),
    FlippedPage(u64),
    DeletedPages(u64),
    FlippedIndex(u64),
    CutIndex(u64),
    DeletedIndex(u64),
    FlippedPoint(u64),
}

const EACH: [fn(u64) -> Damage; 12] = [
    Damage::FlippedChunk,
    Damage::CutPack,
    Damage::DeletedPack,
    Damage::LongerPack,
    Damage::FlippedTrailer,
    Damage::FlippedHeader,
    Damage::FlippedPage,
    Damage::DeletedPages,
    Damage::FlippedIndex,
    Damage::CutIndex,
    Damage::DeletedIndex,
    Damage::FlippedPoint,
];

/// What cannot be had.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lost {
    chunks: BTreeSet<(PointId, u64)>,
    /// Points of which nothing can be read.
    points: BTreeSet<PointId>,
}

impl Lost {
    fn by(plan: &RepairPlan) -> Self {
        let mut lost = Self { points: plan.unreadable_points().iter().copied().collect(), ..Self::default() };
        for range in plan.lost() {
            assert_eq!((range.machine.as_str(), range.disk.as_str()), ("web", "disk"));
            assert_eq!((range.bytes.start % CHUNK as u64, range.bytes.end % CHUNK as u64), (0, 0));
            let chunks = range.bytes.start / CHUNK as u64..range.bytes.end / CHUNK as u64;
            lost.chunks.extend(chunks.map(|chunk| (range.point, chunk)));
        }
        lost
    }
}

fn careless() -> PruneOptions {
    PruneOptions::default().danger_nobody_writes()
}

async fn is_repaired(known: &Known, damages: &[Damage]) {
    let known = known.fork();
    damages.iter().for_each(|damage| known.damage(*damage));
    let expected = known.expected(damages);
    let before = known.store.objects().clone();
    let repo = open(&known.store).await.unwrap();
    let plan = repo.plan_repair().await.unwrap();
    assert!(*known.store.objects() == before, "{damages:?}: a plan writes nothing");
    assert_eq!(Lost::by(&plan), expected, "{damages:?}: {plan}");
    assert!(plan.to_string().ends_with(" bytes of restore points are lost") || plan.is_empty(), "{plan}");
    let report = plan.apply().await.unwrap();
    assert_eq!((report.refused.len(), report.lost_since, report.points_removed), (0, 0, 0), "{damages:?}");
    assert!(known.store.names("locks").is_empty());
    for repo in [repo, open(&known.store).await.unwrap()] {
        assert_eq!(known.unreadable(&repo).await, expected, "{damages:?}");
    }
    // There is nothing left to do, and what is said to be damaged is what is lost.
    let repo = open(&known.store).await.unwrap();
    let again = repo.plan_repair().await.unwrap();
    assert!(again.is_empty(), "{damages:?}: {again}");
    assert_eq!(Lost::by(&again), expected, "{damages:?}");
    let is_of_point =
        |object: &Option<String>| object.as_ref().is_some_and(|name| name.starts_with("points/"));
    let idle =
        again.report().damage.iter().find(|damage| damage.lost.is_empty() && !is_of_point(&damage.object));
    assert_eq!(idle, None, "{damages:?}");
    // Points that nobody can read go when that is asked for, and no others.
    let report = again.remove_unreadable_points().apply().await.unwrap();
    assert_eq!(report.points_removed as usize, expected.points.len());
    assert_eq!(known.store.names("points").len(), known.points.len() - expected.points.len());
    // A prune goes on beside what is lost only when told so, and takes nothing more.
    let of_readable = Lost { chunks: expected.chunks.clone(), ..Lost::default() };
    if !of_readable.chunks.is_empty() {
        assert_eq!(repo.plan_prune(careless()).await.err().unwrap().kind(), ErrorKind::Damaged);
    }
    let mut options = careless();
    options.despite_losses = true;
    repo.plan_prune(options).await.unwrap().apply().await.unwrap();
    assert_eq!(known.unreadable(&repo).await, of_readable, "{damages:?}: a prune took more");
    // What is backed up again is stored again, and older points become whole.
    for number in 0..POINTS {
        back_up(&repo, "again", CAPACITY, &image(number), None).await.unwrap();
    }
    let repo = open(&known.store).await.unwrap();
    assert_eq!(known.unreadable(&repo).await, Lost::default(), "{damages:?}: not healed");
    repo.plan_prune(careless()).await.unwrap().apply().await.unwrap();
    let report = repo.check(CheckDepth::Deep).await.unwrap();
    assert!(report.is_ok() && report.leftovers == Default::default(), "{damages:?}: {report}");
    assert!(repo.plan_repair().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_damage_is_mended_as_far_as_it_goes_and_the_loss_is_named() {
    let known = Known::new().await;
    is_repaired(&known, &[]).await;
    // A pack that the repair has dropped is met again by who looks for what another one has lost.
    is_repaired(&known, &[Damage::DeletedPack(0), Damage::FlippedPoint(3), Damage::FlippedPage(3)]).await;
    for damage in EACH {
        is_repaired(&known, &[damage(2)]).await;
    }
}

/// `REPAIR_CASES` says how many, `REPAIR_SEED` repeats them.
#[tokio::test(flavor = "multi_thread")]
async fn damages_in_any_number_do_not_hide_each_other() {
    let setting = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = setting("REPAIR_SEED").unwrap_or_else(clock);
    let known = Known::new().await;
    for case in 0..setting("REPAIR_CASES").unwrap_or(6) {
        let case = seed.wrapping_add(case);
        println!("REPAIR_SEED={case} REPAIR_CASES=1");
        let chance: Vec<u8> = noise(case, 64).to_vec();
        let count = 2 + usize::from(chance[0] % 5);
        let damage =
            |at: usize| EACH[usize::from(chance[at]) % EACH.len()](u64::from(chance[at + 1]) % POINTS);
        // Twice the same flip would be none.
        let mut damages: Vec<Damage> = (0..count).map(|number| damage(1 + 2 * number)).collect();
        let all = damages.clone();
        let mut number = 0;
        damages.retain(|damage| {
            number += 1;
            !all[..number - 1].contains(damage)
        });
        is_repaired(&known, &damages).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_good_of_a_pack_is_taken_out_of_it() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let image: Image = (0..3).map(|chunk| (chunk, chunk_of(chunk))).collect();
    let point = back_up(&repo, "web", CAPACITY, &image, None).await.unwrap();
    let pack = store.names("packs").into_iter().max_by_key(|name| store.objects()[name].len()).unwrap();
    // Three chunks in a row: the middle one is bad, then the last two are cut off.
    for (cut, salvaged, lost) in [(false, 2, 1), (true, 1, 2)] {
        let store = MemoryStore::failing(store.objects().clone(), usize::MAX, Failure::Refuse);
        store.change(&pack, |bytes| match cut {
            true => bytes.truncate(64 + CHUNK + 16 + 1000),
            false => bytes[64 + CHUNK + 16 + 1000] ^= 1,
        });
        let repo = open(&store).await.unwrap();
        let plan = repo.plan_repair().await.unwrap();
        let [pack] = plan.packs() else { panic!("{plan}") };
        assert_eq!((pack.salvaged, pack.lost), (salvaged, lost), "{plan}");
        let bytes: u64 = plan.lost().map(|lost| lost.bytes.end - lost.bytes.start).sum();
        assert_eq!(bytes, lost * CHUNK as u64);
        let report = plan.apply().await.unwrap();
        assert_eq!((report.salvaged, report.packs_dropped), (salvaged, 1));
        let disk = repo.point(point.id()).await.unwrap().disk("disk").unwrap();
        let mut good = 0;
        for chunk in 0..3 {
            good += u64::from(disk.read_chunk(chunk).await.is_ok());
        }
        assert_eq!(good, salvaged);
        // It is marked, for a prune to delete; nothing that is good hangs on it.
        assert_eq!(store.names("tombstones").len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_finds_no_room_changes_nothing_for_the_worse() {
    let known = Known::new().await;
    known.damage(Damage::FlippedHeader(1));
    known.damage(Damage::FlippedIndex(2));
    let whole = known.expected(&[]);
    let counting = Arc::new(FaultStore::new(Arc::clone(&known.fork().store), FaultPlan::default()));
    let repo =
        Repository::open_with(counting.clone() as Arc<dyn ChunkStore>, &secret(), limits()).await.unwrap();
    let repair = repo.plan_repair().await.unwrap();
    let planned = counting.operations();
    repair.apply().await.unwrap();
    for full_from in (planned..counting.operations()).step_by(2) {
        let known = known.fork();
        let mut plan = FaultPlan::default();
        plan.full_from = Some(full_from);
        let store = Arc::new(FaultStore::new(Arc::clone(&known.store), plan));
        let repo =
            Repository::open_with(store.clone() as Arc<dyn ChunkStore>, &secret(), limits()).await.unwrap();
        let result = repo.plan_repair().await.unwrap().apply().await;
        let fresh = open(&known.store).await.unwrap();
        match result {
            Ok(_) => assert!(full_from > planned, "the disk was never full"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Full, "{error}");
                fresh.plan_repair().await.unwrap().apply().await.unwrap();
            }
        }
        assert_eq!(known.unreadable(&fresh).await, whole);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_read_only_medium_all_is_said_and_nothing_done() {
    let known = Known::new().await;
    known.damage(Damage::FlippedChunk(3));
    let store = Arc::clone(&known.store) as Arc<dyn ChunkStore>;
    let store = Guarded::new(store, |_| Err(Error::new(ErrorKind::Denied, "the medium is read-only")));
    let repo = Repository::open_with(store, &secret(), limits()).await.unwrap();
    let expected = known.expected(&[Damage::FlippedChunk(3)]);
    assert_eq!(known.unreadable(&repo).await, expected);
    let plan = repo.plan_repair().await.unwrap();
    assert_eq!(Lost::by(&plan), expected);
    let before = known.store.objects().clone();
    assert_eq!(plan.apply().await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(back_up(&repo, "web", CAPACITY, &image(4), None).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(repo.rotate_keys(&[secret()], false).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(repo.add_key(&secret()).await.unwrap_err().kind(), ErrorKind::Denied);
    assert_eq!(repo.remove_point(known.points[0], false).await.unwrap_err().kind(), ErrorKind::Denied);
    assert!(*known.store.objects() == before);
    let mut file = Vec::new();
    repo.export_point(known.points[1], &secret(), &mut file, |_| ()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_of_before_a_rotation_repairs_nothing() {
    let known = Known::new().await;
    let old = open(&known.store).await.unwrap();
    let new = open(&known.store).await.unwrap();
    new.rotate_keys(&[secret()], false).await.unwrap();
    back_up(&new, "db", CAPACITY, &[(0, noise(90, CHUNK))].into(), None).await.unwrap();
    assert_eq!(old.plan_repair().await.err().unwrap().kind(), ErrorKind::WrongKey);
    assert!(new.plan_repair().await.unwrap().is_empty());
}
