//! What restore points are held against: bytes that were copied out of the simulator's own files, apart from all that is tried.

use std::collections::BTreeMap;
use std::sync::Mutex;

use vadp::{Backup, BackupOutcome, Error, Event};
use vadp_repository::{PointId, RestorePoint};

use crate::harness::{VM, World};

/// The bytes of each disk by the name that it has in a restore point.
pub(crate) type Contents = BTreeMap<String, Vec<u8>>;

/// The disks as the guest has them now.
pub(crate) fn contents(world: &World) -> Contents {
    let machine = world.sim.vm(VM).unwrap();
    let copy = |key: i32| {
        let disk = machine.open_disk(key, None).unwrap();
        let mut bytes = vec![0; usize::try_from(disk.capacity()).unwrap()];
        disk.read_at(0, &mut bytes).unwrap();
        (key.to_string(), bytes)
    };
    world.keys().into_iter().map(copy).collect()
}

/// The disks of a restore point, read through the repository.
pub(crate) async fn contents_of(point: &RestorePoint) -> Contents {
    let mut found = Contents::new();
    for disk in point.disks() {
        let reader = point.disk(&disk.key).unwrap();
        let mut bytes = vec![0; usize::try_from(reader.capacity()).unwrap()];
        reader.read_at(0, &mut bytes).await.unwrap();
        found.insert(disk.key.clone(), bytes);
    }
    found
}

/// What differs, in a line: a failed comparison of megabytes helps nobody.
pub(crate) fn difference(found: &Contents, wanted: &Contents) -> Option<String> {
    if found.keys().ne(wanted.keys()) {
        return Some(format!("disks {:?} and {:?}", found.keys(), wanted.keys()));
    }
    found.iter().find_map(|(key, found)| {
        let wanted = &wanted[key];
        let at = found.iter().zip(wanted).position(|(a, b)| a != b);
        let is_short = found.len() != wanted.len();
        at.map(|at| format!("disk {key} differs from byte {at} on"))
            .or_else(|| is_short.then(|| format!("disk {key}: {} and {} bytes", found.len(), wanted.len())))
    })
}

/// What each restore point has to hold.
#[derive(Default)]
pub(crate) struct Expected(pub(crate) BTreeMap<PointId, Contents>);

impl Expected {
    /// Takes note of points that are new: they hold `wanted`. Says what is wrong with one.
    pub(crate) async fn note_new(&mut self, world: &World, wanted: &Contents) -> Result<usize, String> {
        let mut new = 0;
        for info in world.repository.points(None).await.unwrap() {
            if self.0.contains_key(&info.id) {
                continue;
            }
            let point = world.repository.point(info.id).await.unwrap();
            if let Some(difference) = difference(&contents_of(&point).await, wanted) {
                return Err(format!("the new restore point {}: {difference}", info.id));
            }
            self.0.insert(info.id, wanted.clone());
            new += 1;
        }
        Ok(new)
    }

    /// Reads every point again.
    pub(crate) async fn check_all(&self, world: &World) -> Result<(), String> {
        for (id, wanted) in &self.0 {
            let point = world.repository.point(*id).await.map_err(|e| format!("{id}: {e}"))?;
            if let Some(difference) = difference(&contents_of(&point).await, wanted) {
                return Err(format!("restore point {id}: {difference}"));
            }
        }
        Ok(())
    }
}

/// Runs a backup during which the guest writes as soon as its snapshot is there, and copies the disks just before. With
/// `drop_at`, the backup is dropped at that event.
pub(crate) async fn backup_of_a_busy_guest(
    world: &World,
    backup: Backup<'_>,
    random: &mut Random,
    drop_at: Option<usize>,
) -> (Option<Contents>, Option<Result<BackupOutcome, Error>>) {
    let copied = Mutex::new(None);
    let seed = Mutex::new(Random::new(random.next()));
    let events = Mutex::new(0);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let stop = Mutex::new(Some(stop));
    let run = backup.run(|event| {
        if matches!(event, Event::SnapshotTaken { .. }) {
            *copied.lock().unwrap() = Some(contents(world));
            write_somewhere(world, &mut seed.lock().unwrap());
        }
        let mut seen = events.lock().unwrap();
        if drop_at == Some(*seen)
            && let Some(stop) = stop.lock().unwrap().take()
        {
            let _ = stop.send(());
        }
        *seen += 1;
    });
    let outcome = tokio::select! {
        biased;
        Ok(()) = stopped => None,
        outcome = run => Some(outcome),
    };
    (copied.into_inner().unwrap(), outcome)
}

/// A few writes of the guest.
pub(crate) fn write_somewhere(world: &World, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let n = usize::try_from(random.below(world.keys().len() as u64)).unwrap();
        let sectors = world.disk(n, |disk| disk.capacity()) / 512;
        let start = random.below(sectors);
        let most = 1 << random.below(11);
        let length = (1 + random.below(most)).min(sectors - start);
        world.write(n, start * 512, length * 512, random.next());
    }
}

/// xorshift64*: the same seed gives the same life.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound.max(1)
    }
}

/// A number from the environment.
pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

/// The seed from the environment, or a fresh one.
pub(crate) fn seed_from(name: &str) -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    setting(name, u64::from(now.subsec_nanos()) ^ now.as_secs())
}
