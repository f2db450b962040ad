//! Two repositories that live through all there is (backups, prunes, copies, files, key rotations, damage and repair) beside an oracle;
//! then a crash at each operation of the store in turn, for each of these.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use vadp_repository::{
    CheckDepth, Chunk, ChunkStore, DiskSpec, Error, ErrorKind, FaultPlan, FaultStore, MachineId, MemoryStore,
    PointDraft, PointId, RepairPlan, Repository, Result, Secret,
};

use crate::support::*;

const MACHINES: u64 = 3;

/// A point as it ought to be. The time names it, also in copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    time: u64,
    machine: u64,
    image: Image,
}

/// A repository, and what ought to be in it.
struct Side {
    store: Arc<MemoryStore>,
    points: BTreeMap<PointId, Known>,
    /// Chunks of points that cannot be read.
    lost: BTreeSet<(PointId, u64)>,
    /// Opened a while ago, maybe with an older keyring.
    old: Repository,
}

impl Side {
    async fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let old = init(Arc::clone(&store) as Arc<dyn ChunkStore>).await;
        Self { store, points: BTreeMap::new(), lost: BTreeSet::new(), old }
    }

    async fn open(&self) -> Repository {
        open(&self.store).await.unwrap()
    }

    fn any_point(&self, chance: &mut Chance) -> Option<(PointId, Known)> {
        let at = chance.below(self.points.len().max(1) as u64) as usize;
        self.points.iter().nth(at).map(|(id, known)| (*id, *known))
    }

    fn has(&self, time: u64) -> bool {
        self.points.values().any(|known| known.time == time)
    }

    fn has_lost(&self, point: PointId) -> bool {
        self.lost.iter().any(|(id, _)| *id == point)
    }

    /// What there is, is what the oracle says; what is lost is an error, and may have become whole.
    async fn verify(&mut self) {
        let repo = self.open().await;
        let listed: BTreeMap<_, _> =
            repo.points(None).await.unwrap().into_iter().map(|p| (p.id, p)).collect();
        assert!(listed.keys().eq(self.points.keys()));
        for (id, known) in &self.points {
            let point = &listed[id];
            assert_eq!(point.machine.as_str(), format!("machine {}", known.machine));
            assert_eq!(point.created, UNIX_EPOCH + Duration::from_secs(known.time));
        }
        let unreadable = unreadable(&repo, &self.points).await;
        assert!(unreadable.is_subset(&self.lost), "{:?}", unreadable.difference(&self.lost));
        self.lost = unreadable;
    }
}

/// Reads every chunk; gives those that are lost, and sees that the others are right.
async fn unreadable(repo: &Repository, points: &BTreeMap<PointId, Known>) -> BTreeSet<(PointId, u64)> {
    let mut lost = BTreeSet::new();
    for (id, known) in points {
        let point = repo.point(*id).await.unwrap();
        assert_eq!(image_of(&point), known.image);
        let disk = point.disk("disk").unwrap();
        for (chunk, number) in (0..).zip(known.image) {
            match disk.read_chunk(chunk).await {
                Ok(Chunk::Zero) => assert_eq!(number, 0),
                Ok(Chunk::Data(bytes)) => {
                    assert!(number != 0 && bytes == content(number), "chunk {chunk} of {id}")
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
                    lost.insert((*id, chunk));
                }
            }
        }
    }
    lost
}

fn lost_by(plan: &RepairPlan) -> BTreeSet<(PointId, u64)> {
    let chunks = |lost: &vadp_repository::LostRange| {
        let (id, size) = (lost.point, CHUNK as u64);
        (lost.bytes.start / size..lost.bytes.end.div_ceil(size)).map(move |chunk| (id, chunk))
    };
    plan.lost().flat_map(chunks).collect()
}

/// A backup that reads everything.
async fn back_up_all(repo: &Repository, known: &Known) -> Result<PointId> {
    let machine = MachineId::new(format!("machine {}", known.machine))?;
    let writer =
        repo.begin(PointDraft::new(machine).created(UNIX_EPOCH + Duration::from_secs(known.time))).await?;
    let spec = DiskSpec { key: "disk".to_owned(), capacity_bytes: CHUNKS * CHUNK as u64 };
    let mut disk = writer.disk(spec, None)?;
    for (chunk, number) in (0..).zip(known.image) {
        disk.put(chunk, if number == 0 { Bytes::from(vec![0; CHUNK]) } else { content(number) }).await?;
    }
    disk.finish().await?;
    Ok(commit(writer, &known.image).await?.id())
}

struct Life {
    here: Side,
    there: Side,
    images: BTreeMap<u64, Image>,
    clock: u64,
    chance: Chance,
    seen: BTreeMap<&'static str, u32>,
}

impl Life {
    async fn begin(seed: u64) -> Self {
        let (here, there) = (Side::new().await, Side::new().await);
        Self { here, there, images: BTreeMap::new(), clock: 0, chance: Chance(seed), seen: BTreeMap::new() }
    }

    async fn step(&mut self) {
        let what = match self.chance.below(20) {
            0..6 => self.back_up().await,
            6..8 => self.copy().await,
            8..10 => self.carry().await,
            10 => {
                // The other way: what comes back is known, or new again after a prune.
                std::mem::swap(&mut self.here, &mut self.there);
                let what = self.copy().await;
                std::mem::swap(&mut self.here, &mut self.there);
                what
            }
            11..13 => self.rotate().await,
            13..16 => self.prune().await,
            16..18 => self.damage().await,
            _ => {
                let time = GRACE.mul_f64(self.chance.below(30) as f64 / 10.0);
                self.here.store.advance(time);
                self.there.store.advance(time);
                "time"
            }
        };
        *self.seen.entry(what).or_default() += 1;
    }

    async fn verify(&mut self) {
        self.here.verify().await;
        self.there.verify().await;
    }

    async fn back_up(&mut self) -> &'static str {
        let machine = self.chance.below(MACHINES);
        let mut image = self.images.get(&machine).copied().unwrap_or_default();
        self.chance.change(&mut image, 20);
        self.clock += 1;
        let known = Known { time: self.clock, machine, image };
        let is_old = self.chance.below(3) == 0;
        let repo = if is_old { self.here.old.clone() } else { self.here.open().await };
        let written = back_up(&repo, &format!("machine {machine}"), &image, known.time).await;
        let (id, what) = match written {
            Ok(id) => (id, "backup"),
            // The parent has a loss, which must not be handed on. Or it had one, and a prune that did not know what it needs has marked
            // its packs before it became whole again: until the next prune nothing may build on them.
            Err(error)
                if error.is_damage()
                    && (!self.here.lost.is_empty() || error.to_string().contains("about to be pruned")) =>
            {
                (back_up_all(&repo, &known).await.unwrap(), "backup in full")
            }
            // The parent is sealed with a newer key.
            Err(error) if error.kind() == ErrorKind::WrongKey && is_old => {
                self.here.old = self.here.open().await;
                return "backup with an old key";
            }
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        };
        self.images.insert(machine, image);
        self.here.points.insert(id, known);
        what
    }

    async fn copy(&mut self) -> &'static str {
        let Some((id, known)) = self.here.any_point(&mut self.chance) else { return "nothing" };
        let (from, to) = (self.here.open().await, self.there.open().await);
        let copied = from.copy_point(id, &to, |_| ()).await;
        self.arrived(id, known, copied, "copy")
    }

    async fn carry(&mut self) -> &'static str {
        let Some((id, known)) = self.here.any_point(&mut self.chance) else { return "nothing" };
        let mut file = Vec::new();
        let secret = Secret::raw_key([3; 32]);
        let exported = self.here.open().await.export_point(id, &secret, &mut file, |_| ()).await;
        let to = self.there.open().await;
        let imported = match exported {
            Ok(_) => to.import_point(&file[..], &secret, |_| ()).await,
            Err(error) => {
                let import = to.import_point(&file[..], &secret, |_| ()).await;
                assert!(import.map_or(true, |known| !known.is_new), "a file without an end was imported");
                Err(error)
            }
        };
        self.arrived(id, known, imported, "file")
    }

    fn arrived(
        &mut self,
        id: PointId,
        known: Known,
        copied: Result<vadp_repository::Copied>,
        what: &'static str,
    ) -> &'static str {
        match copied {
            Ok(copied) => {
                assert_eq!(copied.is_new, !self.there.has(known.time), "{what}");
                self.there.points.insert(copied.point.id(), known);
                if copied.is_new { what } else { "known already" }
            }
            Err(error) => {
                assert!(error.is_damage() && self.here.has_lost(id), "{error}");
                "refused, as damaged"
            }
        }
    }

    async fn rotate(&mut self) -> &'static str {
        let side = if self.chance.below(3) == 0 { &mut self.there } else { &mut self.here };
        let repo = side.open().await;
        if self.chance.below(2) == 0 {
            repo.add_key(&Secret::raw_key([8; 32])).await.unwrap();
        }
        repo.rotate_keys(&[secret()], true).await.unwrap();
        assert_eq!(repo.key_slots().await.unwrap().len(), 1);
        if self.chance.below(4) == 0 {
            side.old = repo;
        }
        "rotation"
    }

    async fn prune(&mut self) -> &'static str {
        let side = if self.chance.below(3) == 0 { &mut self.there } else { &mut self.here };
        let last = 1 + self.chance.below(4) as u32;
        let (below, merge) = (self.chance.below(101) as u8, [0, 2, 3, 8][self.chance.below(4) as usize]);
        let mut options = options(|options| {
            (options.rewrite_below, options.merge_from) = (below, merge);
            options.despite_losses = !side.lost.is_empty();
            options.retention = vadp_repository::Retention::default();
            options.retention.last = last;
        });
        if self.chance.below(4) == 0 {
            options = options.danger_nobody_writes();
        }
        let report = prune(&side.store, options).await.unwrap();
        assert!(report.refused.is_empty() && report.damaged.is_empty(), "{report:?}");
        let mut kept = BTreeMap::new();
        for machine in 0..MACHINES {
            let mut own: Vec<_> = side.points.iter().filter(|(_, known)| known.machine == machine).collect();
            own.sort_by_key(|(_, known)| std::cmp::Reverse(known.time));
            kept.extend(own.into_iter().take(last as usize).map(|(id, known)| (*id, *known)));
        }
        assert_eq!(report.points_removed as usize, side.points.len() - kept.len());
        side.points = kept;
        side.lost.retain(|(id, _)| side.points.contains_key(id));
        if report.packs_merged > 0 { "prune that merges" } else { "prune" }
    }

    async fn damage(&mut self) -> &'static str {
        let side = if self.chance.below(3) == 0 { &mut self.there } else { &mut self.here };
        for _ in 0..=self.chance.below(2) {
            spoil(&side.store, &mut self.chance);
        }
        let repo = side.open().await;
        let plan = repo.plan_repair().await.unwrap();
        let lost = lost_by(&plan);
        assert!(plan.unreadable_points().is_empty());
        let report = plan.apply().await.unwrap();
        assert_eq!((report.refused.len(), report.lost_since), (0, 0));
        // The plan has said exactly what cannot be read now.
        assert_eq!(unreadable(&side.open().await, &side.points).await, lost);
        assert!(side.open().await.plan_repair().await.unwrap().is_empty());
        let is_more = !lost.is_subset(&side.lost);
        side.lost = lost;
        if is_more { "repair with a loss" } else { "repair" }
    }

    /// Backs up once more what was lost.
    async fn heal(&mut self) {
        for side in [&mut self.here, &mut self.there] {
            let repo = side.open().await;
            for known in side.points.clone().into_values() {
                self.clock += 1;
                let known = Known { time: self.clock, ..known };
                side.points.insert(back_up_all(&repo, &known).await.unwrap(), known);
            }
            side.verify().await;
            assert!(side.lost.is_empty(), "{:?}", side.lost);
        }
    }
}

/// Flips, cuts or deletes a pack or index object.
fn spoil(store: &MemoryStore, chance: &mut Chance) {
    let names: Vec<_> = store
        .names()
        .into_iter()
        .filter(|name| name.starts_with("packs/") || name.starts_with("index/"))
        .collect();
    if names.is_empty() {
        return;
    }
    let name = &names[chance.below(names.len() as u64) as usize];
    let (how, place) = (chance.below(4), chance.below(1 << 32));
    store.tamper(name, |object| {
        let mut bytes = object?.to_vec();
        let at = (place % bytes.len() as u64) as usize;
        match how {
            0 => return None,
            1 => bytes.truncate(at),
            // Version and epoch are left alone: they could be ones that this program or keyring lacks.
            _ if (8..16).contains(&at) => bytes.truncate(at),
            _ => bytes[at] ^= 1 << (place % 8),
        }
        Some(bytes.into())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn two_repositories_live_through_everything() {
    let seed = seed();
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    for life in 0..setting("CARE_LIVES", 1) {
        println!("PRUNE_SEED={} CARE_LIVES=1", seed.wrapping_add(life));
        let mut life = Life::begin(seed.wrapping_add(life)).await;
        for _ in 0..40 {
            life.step().await;
            life.verify().await;
        }
        life.heal().await;
        for side in [&life.here, &life.there] {
            settle(&side.store).await;
        }
        life.verify().await;
        life.seen.into_iter().for_each(|(what, count)| *seen.entry(what).or_default() += count);
    }
    println!("{seen:?}");
}

/// Has the process die at each operation of a store, before and after it is carried out, and looks at what is left. `CARE_STRIDE` 1 is
/// each; by default it is each twentieth, others for another seed.
async fn die_everywhere(
    what: &str,
    store: &Arc<MemoryStore>,
    run: impl AsyncFn(Repository) -> Result<()>,
    judge: impl AsyncFn(Arc<MemoryStore>),
) {
    let mut crashes = 0_u64;
    let stride = setting("CARE_STRIDE", 20);
    'operations: for at in (seed() % stride.min(5)..).step_by(stride as usize) {
        for after in [false, true] {
            let store = Arc::new(store.fork());
            let mut plan = FaultPlan::default();
            (plan.crash_at, plan.crash_after) = (Some(at), after);
            let faulty = Arc::new(FaultStore::new(Arc::clone(&store), plan));
            let work = async { run(open(&faulty).await?).await };
            let ended = tokio::select! {
                result = work => Some(result),
                () = faulty.crashed() => None,
            };
            // Longer than a lease.
            store.advance(Duration::from_secs(2 * 3600));
            judge(Arc::clone(&store)).await;
            match ended {
                Some(result) => {
                    result.unwrap();
                    break 'operations;
                }
                None => crashes += 1,
            }
        }
    }
    println!("{what}: {crashes} crashes");
    assert!(crashes > 10 / stride, "{what} does hardly anything: {crashes}");
}

/// Two repositories after some backups, of which one has a copy in the other.
async fn grown(seed: u64) -> (Life, PointId) {
    let mut life = Life::begin(seed).await;
    for _ in 0..4 {
        life.back_up().await;
    }
    life.copy().await;
    life.back_up().await;
    let newest = life.here.points.iter().max_by_key(|(_, known)| known.time).map(|(id, _)| *id).unwrap();
    (life, newest)
}

/// The copy is not there or whole, a second try brings it, once, and nothing is left of the first.
async fn is_there_once(
    store: Arc<MemoryStore>,
    origin: PointId,
    again: impl AsyncFn(&Repository) -> Result<()>,
) {
    let of_origin = async |repo: &Repository| {
        let points = repo.points(None).await.unwrap();
        points.iter().filter(|point| point.origin.is_some_and(|known| known.point == origin)).count()
    };
    let repo = open(&store).await.unwrap();
    assert!(of_origin(&repo).await <= 1);
    verify_all(&repo).await;
    assert!(repo.check(CheckDepth::Deep).await.unwrap().is_ok());
    again(&repo).await.unwrap();
    assert_eq!(of_origin(&repo).await, 1);
    verify_all(&repo).await;
    settle(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_or_an_import_that_dies_anywhere_is_taken_up() {
    let seed = seed();
    for life in 0..setting("CARE_CRASHES", 1) {
        println!("PRUNE_SEED={} CARE_CRASHES=1", seed.wrapping_add(life));
        let (life, newest) = grown(seed.wrapping_add(life)).await;
        let from = life.here.open().await;
        let copy = async |to: &Repository| from.copy_point(newest, to, |_| ()).await.map(drop);
        let judge = async |store| is_there_once(store, newest, copy).await;
        die_everywhere("copy", &life.there.store, async |repo| copy(&repo).await, judge).await;
        let secret = Secret::raw_key([3; 32]);
        let mut file = Vec::new();
        from.export_point(newest, &secret, &mut file, |_| ()).await.unwrap();
        let import = async |to: &Repository| to.import_point(&file[..], &secret, |_| ()).await.map(drop);
        let judge = async |store| is_there_once(store, newest, import).await;
        die_everywhere("import", &life.there.store, async |repo| import(&repo).await, judge).await;
    }
}

fn second() -> Secret {
    Secret::raw_key([8; 32])
}

async fn open_as(store: &Arc<MemoryStore>, secret: &Secret) -> Repository {
    Repository::open_with(Arc::clone(store) as Arc<dyn ChunkStore>, secret, opening()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_keys_that_dies_anywhere_locks_nobody_out() {
    let seed = seed();
    for life in 0..setting("CARE_CRASHES", 1) {
        println!("PRUNE_SEED={} CARE_CRASHES=1", seed.wrapping_add(life));
        let (life, _) = grown(seed.wrapping_add(life)).await;
        life.here.open().await.add_key(&second()).await.unwrap();
        let points = &life.here.points;
        let rotate = async |repo: Repository| repo.rotate_keys(&[secret(), second()], false).await.map(drop);
        let judge = async |store: Arc<MemoryStore>| {
            let holders = [open_as(&store, &secret()).await, open_as(&store, &second()).await];
            for (number, repo) in (0..).zip(&holders) {
                assert!(unreadable(repo, points).await.is_empty());
                let known =
                    Known { time: 1000 + number, machine: 0, image: [40 + number as u8; CHUNKS as usize] };
                back_up_all(repo, &known).await.unwrap();
            }
            // What one has written the other reads, or is told why not.
            for repo in &holders {
                for point in repo.list_points(None).await.unwrap().unreadable {
                    assert_eq!(point.error.kind(), ErrorKind::WrongKey, "{}", point.error);
                }
            }
            // Whoever brings it to its end: then both read everything.
            holders[1].rotate_keys(&[secret(), second()], false).await.unwrap();
            for secret in [secret(), second()] {
                let repo = open_as(&store, &secret).await;
                assert_eq!(verify_all(&repo).await.len(), points.len() + 2);
                assert!(repo.check(CheckDepth::Deep).await.unwrap().is_ok());
                assert_eq!(repo.key_slots().await.unwrap().len(), 2);
            }
        };
        die_everywhere("rotation", &life.here.store, rotate, judge).await;
        // A password is changed: one of the two opens at any moment.
        let change = async |repo: Repository| {
            let old = repo.key_slots().await?.into_iter().find(|slot| !slot.is_own);
            repo.add_key(&Secret::raw_key([9; 32])).await?;
            match old {
                Some(old) => repo.remove_key(old.id).await,
                None => Ok(()),
            }
        };
        let judge = async |store: Arc<MemoryStore>| {
            let repo = open(&store).await.unwrap();
            assert!(unreadable(&repo, points).await.is_empty());
            let mut opens = 0;
            for secret in [second(), Secret::raw_key([9; 32])] {
                let store = Arc::clone(&store) as Arc<dyn ChunkStore>;
                opens += u32::from(Repository::open_with(store, &secret, limits()).await.is_ok());
            }
            assert!(opens > 0);
        };
        die_everywhere("password", &life.here.store, change, judge).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_that_dies_anywhere_makes_nothing_worse() {
    let seed = seed();
    for life in 0..setting("CARE_CRASHES", 1) {
        println!("PRUNE_SEED={} CARE_CRASHES=1", seed.wrapping_add(life));
        let (mut life, _) = grown(seed.wrapping_add(life)).await;
        // One data pack is bad in its first chunk, one in its frame, and an index object is gone.
        let names = life.here.store.names();
        let packs: Vec<_> = names.iter().filter(|name| name.starts_with("packs/")).collect();
        let (flipped, other) = (life.chance.below(packs.len() as u64), life.chance.below(packs.len() as u64));
        let flip = |name: &str, at: usize| {
            life.here.store.tamper(name, |object| {
                let mut bytes = object?.to_vec();
                bytes[at] ^= 1;
                Some(bytes.into())
            });
        };
        flip(packs[flipped as usize], 70);
        flip(packs[other as usize], 40);
        let index = names.iter().find(|name| name.starts_with("index/")).unwrap();
        flip(index, 90);
        let points = life.here.points.clone();
        let plan = life.here.open().await.plan_repair().await.unwrap();
        let lost = lost_by(&plan);
        drop(plan);
        let repair = async |repo: Repository| repo.plan_repair().await?.apply().await.map(drop);
        let before = unreadable(&life.here.open().await, &points).await;
        let judge = async |store: Arc<MemoryStore>| {
            let repo = open(&store).await.unwrap();
            assert!(unreadable(&repo, &points).await.is_subset(&before));
            repair(repo).await.unwrap();
            let repo = open(&store).await.unwrap();
            assert_eq!(unreadable(&repo, &points).await, lost);
            assert!(repo.plan_repair().await.unwrap().is_empty());
            for known in points.values() {
                back_up_all(&repo, known).await.unwrap();
            }
            assert!(unreadable(&repo, &points).await.is_empty());
            settle(&store).await;
        };
        die_everywhere("repair", &life.here.store, repair, judge).await;
    }
}

#[tokio::test]
async fn many_small_packs_become_few() {
    let store = Arc::new(MemoryStore::new());
    let repo = init(Arc::clone(&store) as Arc<dyn ChunkStore>).await;
    let mut image = Image::default();
    for time in 0..12 {
        image[(time % CHUNKS) as usize] = time as u8 + 1;
        back_up(&repo, "web", &image, time).await.unwrap();
    }
    let packs = || store.names().iter().filter(|name| name.starts_with("packs/")).count();
    assert_eq!(packs(), 24);
    let rules = |merge_from| options(|options| (options.rewrite_below, options.merge_from) = (0, merge_from));
    let error = repo.plan_prune(rules(1)).await.err().map(|error: Error| error.kind());
    assert_eq!(error, Some(ErrorKind::InvalidInput));
    store.advance(GRACE * 2);
    for enough in [0, 13] {
        let report = prune(&store, rules(enough)).await.unwrap();
        assert_eq!((report.packs_merged, report.packs_marked, packs()), (0, 0, 24));
    }
    let plan = open(&store).await.unwrap().plan_prune(rules(12)).await.unwrap();
    assert!(plan.to_string().contains("24 packs are merged"), "{plan}");
    let report = plan.apply().await.unwrap();
    assert_eq!((report.packs_merged, report.packs_rewritten, packs()), (24, 0, 26));
    assert_eq!(verify_all(&repo).await.len(), 12);
    store.advance(GRACE * 2);
    let report = prune(&store, rules(2)).await.unwrap();
    assert_eq!((report.packs_deleted, report.packs_merged, packs()), (24, 0, 2));
    nothing_is_left(&open(&store).await.unwrap(), &store.names()).await;
    assert_eq!(verify_all(&repo).await.len(), 12);
}
