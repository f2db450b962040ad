//! Small repositories whose points say themselves what is on their disks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use vadp_repository::{
    CheckDepth, Chunk, ChunkStore, DiskSpec, InitOptions, Limits, MachineId, MemoryStore, OpenOptions,
    PointDraft, PointId, PointWriter, PruneOptions, PruneReport, Repository, RestorePoint, Result, Secret,
};

/// The smallest chunk that a repository may have.
pub const CHUNK: usize = 256 * 1024;
/// Chunks of every disk.
pub const CHUNKS: u64 = 6;
pub const GRACE: Duration = Duration::from_secs(3600);

/// Which content is in which chunk; 0 is zeros.
pub type Image = [u8; CHUNKS as usize];

/// The bytes of a content, made once.
pub fn content(number: u8) -> Bytes {
    static CONTENTS: [OnceLock<Bytes>; 256] = [const { OnceLock::new() }; 256];
    CONTENTS[usize::from(number)].get_or_init(|| make(number)).clone()
}

fn make(number: u8) -> Bytes {
    let line: Vec<u8> =
        (0..64).map(|at: u8| number.wrapping_mul(31).wrapping_add(at.wrapping_mul(number))).collect();
    line.iter().copied().cycle().take(CHUNK).collect()
}

pub fn secret() -> Secret {
    Secret::raw_key([7; 32])
}

pub fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.pack_bytes = 1 << 20;
    limits.in_flight_bytes = 4 << 20;
    limits
}

/// Like a repository whose index is large: prunes and checks go through it in parts.
pub fn opening() -> OpenOptions {
    let mut options = OpenOptions::from(limits());
    options.small_index = 3;
    options
}

pub async fn init(store: Arc<dyn ChunkStore>) -> Repository {
    let mut options = InitOptions::with_chunk_size(CHUNK as u32);
    options.limits = limits();
    Repository::init(store, &secret(), options).await.unwrap()
}

pub async fn open(store: &Arc<impl ChunkStore>) -> Result<Repository> {
    Repository::open_with(Arc::clone(store) as Arc<dyn ChunkStore>, &secret(), opening()).await
}

/// A backup up to its commit.
pub async fn write(
    repo: &Repository,
    machine: &str,
    image: &Image,
    created: u64,
    tag: Option<&str>,
) -> Result<PointWriter> {
    let machine = MachineId::new(machine).unwrap();
    let parent = repo.latest(&machine).await?;
    let mut draft = PointDraft::new(machine).created(UNIX_EPOCH + Duration::from_secs(created));
    if let Some(tag) = tag {
        draft = draft.tag(tag, "yes");
    }
    let writer = repo.begin(draft).await?;
    let spec = DiskSpec { key: "disk".to_owned(), capacity_bytes: CHUNKS * CHUNK as u64 };
    let (before, reader) = match &parent {
        Some(parent) => (image_of(parent), Some(parent.disk("disk")?)),
        None => ([0; CHUNKS as usize], None),
    };
    let mut disk = writer.disk(spec, reader.as_ref().map(|reader| reader.map()))?;
    for (chunk, (new, old)) in (0..).zip(image.iter().zip(before)) {
        if *new != old {
            disk.put(chunk, if *new == 0 { Bytes::from(vec![0; CHUNK]) } else { content(*new) }).await?;
        }
    }
    disk.finish().await?;
    Ok(writer)
}

pub async fn commit(writer: PointWriter, image: &Image) -> Result<RestorePoint> {
    writer.commit(Bytes::copy_from_slice(image), BTreeMap::new()).await
}

pub async fn back_up(repo: &Repository, machine: &str, image: &Image, created: u64) -> Result<PointId> {
    let writer = write(repo, machine, image, created, None).await?;
    Ok(commit(writer, image).await?.id())
}

pub fn image_of(point: &RestorePoint) -> Image {
    point.metadata()[..].try_into().unwrap()
}

/// Reads every byte of every point, and compares it with what the point says of itself.
pub async fn verify_all(repo: &Repository) -> BTreeSet<PointId> {
    let mut seen = BTreeSet::new();
    for info in repo.points(None).await.unwrap() {
        let point = match repo.point(info.id).await {
            Ok(point) => point,
            Err(error) if error.is_not_found() => continue,
            Err(error) => panic!("point {}: {error}", info.id),
        };
        let disk = point.disk("disk").unwrap();
        for (chunk, number) in (0..).zip(image_of(&point)) {
            let read = disk.read_chunk(chunk).await.unwrap_or_else(|error| panic!("{}: {error}", info.id));
            let expected = if number == 0 { Chunk::Zero } else { Chunk::Data(content(number)) };
            assert!(read == expected, "chunk {chunk} of point {}", info.id);
        }
        seen.insert(info.id);
    }
    seen
}

pub fn options(change: impl FnOnce(&mut PruneOptions)) -> PruneOptions {
    let mut options = PruneOptions::default();
    options.grace = GRACE;
    options.rewrite_below = 100;
    change(&mut options);
    options
}

pub async fn prune(store: &Arc<impl ChunkStore>, options: PruneOptions) -> Result<PruneReport> {
    open(store).await?.plan_prune(options).await?.apply().await
}

/// Two prunes without merging, each after a grace period: afterwards nothing is there that no point needs.
pub async fn settle(store: &Arc<MemoryStore>) {
    for _ in 0..2 {
        store.advance(GRACE * 30);
        let report = prune(store, options(|options| options.merge_from = 0)).await.unwrap();
        assert!(report.refused.is_empty() && report.damaged.is_empty(), "{report:?}");
        assert_eq!(report.points_removed, 0);
    }
    nothing_is_left(&open(store).await.unwrap(), &store.names()).await;
}

pub async fn nothing_is_left(repo: &Repository, names: &[String]) {
    let report = repo.check(CheckDepth::Deep).await.unwrap();
    assert!(report.is_ok(), "{report}");
    let leftovers = &report.leftovers;
    assert!(leftovers.packs.is_empty() && leftovers.unneeded_chunks == 0, "{report}");
    let odd = names.iter().find(|name| name.starts_with("tombstones/") || name.starts_with("locks/"));
    assert_eq!(odd, None);
    let points = names.iter().filter(|name| name.starts_with("points/")).count();
    let packs = names.iter().filter(|name| name.starts_with("packs/")).count();
    assert!(points > 0 || packs == 0, "{packs} packs without a point");
}

/// Numbers by chance, the same ones for the same seed.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// Some chunks changed, out of so many contents: the fewer there are, the more is deduplicated.
    pub fn change(&mut self, image: &mut Image, contents: u64) {
        for _ in 0..=self.below(3) {
            image[self.below(CHUNKS) as usize] = self.below(contents) as u8;
        }
    }
}

/// From the environment, or what it is without.
pub fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

pub fn seed() -> u64 {
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    setting("PRUNE_SEED", clock())
}
