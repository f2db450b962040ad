//! Machines that are backed up and pruned by chance, beside an oracle; then a crash at each operation of the store in turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use vadp_repository::{
    ChunkStore, ErrorKind, FaultPlan, FaultStore, MemoryStore, PointId, PointWriter, PruneReport, Repository,
    Result, Retention,
};

use crate::support::*;

/// What ought to be in the repository.
#[derive(Clone, Default)]
struct Oracle {
    /// Machine and time of each point.
    points: BTreeMap<PointId, (u8, u64)>,
    images: BTreeMap<u8, Image>,
    clock: u64,
}

impl Oracle {
    fn last_points(&self, count: usize) -> BTreeMap<PointId, (u8, u64)> {
        let mut kept = BTreeMap::new();
        for machine in 0..MACHINES {
            let mut own: Vec<_> = self.points.iter().filter(|(_, (owner, _))| *owner == machine).collect();
            own.sort_by_key(|(_, (_, created))| std::cmp::Reverse(*created));
            kept.extend(own.into_iter().take(count.max(1)).map(|(id, point)| (*id, *point)));
        }
        kept
    }

    fn next_image(&mut self, machine: u8, chance: &mut Chance) -> Image {
        let mut image = self.images.get(&machine).copied().unwrap_or_default();
        chance.change(&mut image, 20);
        self.clock += 1;
        image
    }
}

const MACHINES: u8 = 3;

/// A backup that is not committed yet, by another process.
struct Open {
    writer: PointWriter,
    machine: u8,
    image: Image,
    created: u64,
}

struct Life {
    store: Arc<MemoryStore>,
    oracle: Oracle,
    chance: Chance,
    open: Vec<Open>,
    conflicts: u32,
    commits: u32,
}

impl Life {
    async fn begin(seed: u64) -> Self {
        let store = Arc::new(MemoryStore::new());
        init(Arc::clone(&store) as Arc<dyn ChunkStore>).await;
        let (oracle, chance) = (Oracle::default(), Chance(seed));
        Self { store, oracle, chance, open: Vec::new(), conflicts: 0, commits: 0 }
    }

    async fn step(&mut self) {
        match self.chance.below(12) {
            0..4 => {
                let machine = self.chance.below(u64::from(MACHINES)) as u8;
                self.begin_backup(machine).await;
                if self.chance.below(3) > 0 {
                    self.commit_one().await;
                }
            }
            4..6 => self.commit_one().await,
            6 => {
                let points: Vec<PointId> = self.oracle.points.keys().copied().collect();
                if !points.is_empty() {
                    let id = points[self.chance.below(points.len() as u64) as usize];
                    open(&self.store).await.unwrap().remove_point(id, true).await.unwrap();
                    self.oracle.points.remove(&id);
                }
            }
            7..10 => {
                let (last, below) = (1 + self.chance.below(3) as u32, self.chance.below(101) as u8);
                let report = prune(&self.store, rules(last, below)).await.unwrap();
                assert!(report.refused.is_empty() && report.damaged.is_empty(), "{report:?}");
                let kept = self.oracle.last_points(last as usize);
                assert_eq!(report.points_removed as usize, self.oracle.points.len() - kept.len());
                self.oracle.points = kept;
            }
            _ => self.store.advance(GRACE.mul_f64(self.chance.below(30) as f64 / 10.0)),
        }
    }

    async fn begin_backup(&mut self, machine: u8) {
        let image = self.oracle.next_image(machine, &mut self.chance);
        let repo = open(&self.store).await.unwrap();
        let created = self.oracle.clock;
        // The parent is the latest point that is there, so what has changed since then is read from it.
        let writer = write(&repo, &format!("machine {machine}"), &image, created, None).await.unwrap();
        self.open.push(Open { writer, machine, image, created });
    }

    async fn commit_one(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let at = self.chance.below(self.open.len() as u64) as usize;
        let Open { writer, machine, image, created } = self.open.swap_remove(at);
        match commit(writer, &image).await {
            Ok(point) => {
                self.commits += 1;
                self.oracle.points.insert(point.id(), (machine, created));
                self.oracle.images.insert(machine, image);
            }
            // Only a prune can be the reason; that it is rare is seen in the end.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                self.conflicts += 1;
            }
        }
    }

    async fn verify(&self) {
        let seen = verify_all(&open(&self.store).await.unwrap()).await;
        assert_eq!(seen, self.oracle.points.keys().copied().collect());
    }
}

fn rules(last: u32, below: u8) -> vadp_repository::PruneOptions {
    options(|options| {
        options.rewrite_below = below;
        let mut retention = Retention::default();
        retention.last = last;
        options.retention = retention;
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_needed_goes_and_nothing_else_stays() {
    let seed = seed();
    let (mut commits, mut conflicts) = (0, 0);
    for life in 0..setting("PRUNE_LIVES", 5) {
        println!("PRUNE_SEED={} PRUNE_LIVES=1", seed.wrapping_add(life));
        let mut life = Life::begin(seed.wrapping_add(life)).await;
        for _ in 0..30 {
            life.step().await;
            life.verify().await;
        }
        life.open.clear();
        settle(&life.store).await;
        life.verify().await;
        (commits, conflicts) = (commits + life.commits, conflicts + life.conflicts);
    }
    println!("{commits} commits, {conflicts} conflicts");
    assert!(conflicts < commits, "backups hardly ever end well beside prunes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_at_any_operation_loses_nothing_and_leaves_nothing_for_ever() {
    let seed = seed();
    for life in 0..setting("PRUNE_CRASHES", 1) {
        println!("PRUNE_SEED={} PRUNE_CRASHES=1", seed.wrapping_add(life));
        let mut life = Life::begin(seed.wrapping_add(life)).await;
        for _ in 0..12 {
            life.step().await;
        }
        life.open.clear();
        // So that the prune has something to delete, to mark and to rewrite.
        for machine in 0..MACHINES {
            life.begin_backup(machine).await;
            life.commit_one().await;
        }
        prune(&life.store, rules(2, 100)).await.unwrap();
        life.oracle.points = life.oracle.last_points(2);
        life.store.advance(GRACE * 2);
        let machine = 1;
        let (mut oracle, mut chance) = (life.oracle.clone(), Chance(life.chance.below(u64::MAX)));
        let image = oracle.next_image(machine, &mut chance);
        let backup = async |repo: Repository| -> Result<()> {
            back_up(&repo, "machine 1", &image, oracle.clock).await.map(drop)
        };
        let prune = async |repo: Repository| -> Result<()> {
            let report: PruneReport = repo.plan_prune(rules(1, 100)).await?.apply().await?;
            assert!(report.packs_deleted + report.packs_marked + report.packs_rewritten > 0, "{report:?}");
            Ok(())
        };
        crash_everywhere(&life, "backup", backup).await;
        crash_everywhere(&life, "prune", prune).await;
    }
}

/// Runs an operation, and has the process die at each operation of the store, before and after it is carried out.
async fn crash_everywhere(life: &Life, what: &str, run: impl AsyncFn(Repository) -> Result<()>) {
    let must_stay: Vec<PointId> = match what {
        "prune" => life.oracle.last_points(1).into_keys().collect(),
        _ => life.oracle.points.keys().copied().collect(),
    };
    let mut crashes = 0;
    'operations: for at in 0.. {
        for after in [false, true] {
            let store = Arc::new(life.store.fork());
            let mut plan = FaultPlan::default();
            (plan.crash_at, plan.crash_after) = (Some(at), after);
            let faulty = Arc::new(FaultStore::new(Arc::clone(&store), plan));
            let repo = async { run(open(&faulty).await?).await };
            let ended = tokio::select! {
                result = repo => Some(result),
                () = faulty.crashed() => None,
            };
            if let Some(result) = ended {
                result.unwrap();
                break 'operations;
            }
            crashes += 1;
            let repo = open(&store).await.unwrap();
            let seen = verify_all(&repo).await;
            assert!(must_stay.iter().all(|id| seen.contains(id)), "{what} at {at}: a point has gone");
            let extra = seen.iter().filter(|id| !life.oracle.points.contains_key(id)).count();
            assert!(extra <= usize::from(what == "backup"), "{what} at {at}: points from nowhere");
            let report = repo.check(vadp_repository::CheckDepth::Deep).await.unwrap();
            assert!(report.is_ok(), "{what} at {at}, after: {after}: {report}");
            // Backups go on at once, whatever the dead one has left.
            back_up(&repo, "machine 2", &[9, 8, 7, 6, 5, 4], 1 << 30).await.unwrap();
            settle(&store).await;
            let seen = verify_all(&open(&store).await.unwrap()).await;
            assert!(must_stay.iter().all(|id| seen.contains(id)), "{what} at {at}: a point has gone later");
        }
    }
    println!("{what}: {crashes} crashes");
    assert!(crashes > 20, "{what} does hardly anything: {crashes}");
}
