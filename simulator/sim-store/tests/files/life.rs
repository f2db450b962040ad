//! Lives of a disk, and what it must be at every moment of them: kept in memory, too simple to be wrong.

#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use sim_store::snapshot::{self, Removal};
use sim_store::tracking::{self, ChangeId, query};
use sim_store::{Access, DeltaFormat, Disk, DiskSpec, ErrorKind, Extent, Scope, grow};

pub const FORMATS: [DeltaFormat; 2] = [DeltaFormat::VmfsSparse, DeltaFormat::SeSparse];
/// Grains of change tracking after a disk grew: the default.
const DEFAULT: u64 = 64 << 10;

/// As many cases as `PROPTEST_CASES` says, else `usual`; from the seed in `PROPTEST_RNG_SEED`, else one of the clock,
/// which is printed.
pub fn chance(usual: u32) -> ProptestConfig {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("PROPTEST_RNG_SEED").unwrap_or_else(clock);
    println!("to repeat: PROPTEST_RNG_SEED={seed}");
    ProptestConfig {
        cases: number("PROPTEST_CASES").map_or(usual, |cases| cases as u32),
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[derive(Debug, Clone)]
pub enum Step {
    Write {
        offset: u64,
        length: u64,
        byte: u8,
    },
    Zero {
        offset: u64,
        length: u64,
    },
    /// The writer closes the disk and opens it again.
    Reopen,
    Snapshot,
    /// A snapshot goes, and its link with it.
    Remove(usize),
    /// A snapshot goes; its link waits for consolidation.
    Forget(usize),
    Consolidate,
    Revert(usize),
    Grow(u64),
    TrackOn(u64),
    TrackOff,
    Renew,
}

/// Where writes go: anywhere, and to the edges of grains, of tables of vmfsSparse, and of the disk.
pub fn range(capacity: u64) -> impl Strategy<Value = (u64, u64)> {
    let anywhere = (0..capacity, 0..capacity / 2);
    let short = (0..capacity, 0..2000_u64);
    let edges =
        (0..=capacity / 4096, 0..4_u64, 0..3_u64, 0..3_u64).prop_map(|(grain, count, before, after)| {
            ((grain * 4096).saturating_sub(before), count * 4096 + after)
        });
    let tables = (0..=capacity >> 21, 0..9000_u64, 0..20_000_u64)
        .prop_map(|(table, before, length)| ((table << 21).saturating_sub(before), length));
    prop_oneof![1 => anywhere, 3 => short, 3 => edges, 1 => tables].prop_map(move |(offset, length)| {
        let offset = offset.min(capacity);
        (offset, length.min(capacity - offset))
    })
}

/// What a guest and an administrator of snapshots do.
pub fn step(capacity: u64) -> impl Strategy<Value = Step> {
    let range = move || range(capacity);
    prop_oneof![
        8 => (range(), 1..255_u8).prop_map(|((offset, length), byte)| Step::Write { offset, length, byte }),
        4 => range().prop_map(|(offset, length)| Step::Zero { offset, length }),
        1 => Just(Step::Reopen),
        4 => Just(Step::Snapshot),
        2 => any::<usize>().prop_map(Step::Remove),
        1 => any::<usize>().prop_map(Step::Forget),
        1 => Just(Step::Consolidate),
        1 => any::<usize>().prop_map(Step::Revert),
    ]
}

/// What a disk must be at some moment.
#[derive(Debug, Clone)]
pub struct State {
    pub path: PathBuf,
    pub content: Rc<Vec<u8>>,
    at: u64,
    track: Option<Track>,
}

#[derive(Debug, Clone)]
struct Track {
    /// Ids of another epoch are void.
    epoch: u64,
    granularity: u64,
    /// When which bytes were written, since the epoch began.
    writes: Vec<(u64, Extent)>,
}

pub struct Taken {
    pub state: State,
    pub id: Option<ChangeId>,
}

/// An id that a snapshot had, which may be gone.
struct Known {
    id: ChangeId,
    epoch: u64,
    at: u64,
    content: Rc<Vec<u8>>,
}

pub struct Life {
    pub live: State,
    pub snapshots: Vec<Taken>,
    format: DeltaFormat,
    writer: Option<Disk>,
    ids: Vec<Known>,
    clock: u64,
}

impl Life {
    pub fn new(folder: &Path, capacity: u64, format: DeltaFormat) -> Self {
        let path = folder.join("vm.vmdk");
        let writer = Some(Disk::create(&path, &DiskSpec::thin(capacity)).unwrap());
        let live = State { path, content: Rc::new(vec![0; capacity as usize]), at: 0, track: None };
        Self { live, snapshots: Vec::new(), format, writer, ids: Vec::new(), clock: 0 }
    }

    pub fn owned(&self) -> Vec<PathBuf> {
        self.snapshots.iter().map(|taken| taken.state.path.clone()).collect()
    }

    /// Every disk that a client can open.
    pub fn states(&self) -> impl Iterator<Item = &State> {
        self.snapshots.iter().map(|taken| &taken.state).chain([&self.live])
    }

    pub fn apply(&mut self, step: &Step) {
        self.clock += 1;
        self.live.at = self.clock;
        if !matches!(step, Step::Write { .. } | Step::Zero { .. }) {
            self.writer = None;
        }
        let count = self.snapshots.len();
        match *step {
            Step::Write { offset, length, byte } => {
                let (offset, length) = self.cut(offset, length);
                self.writer().write_at(offset, &vec![byte; length as usize]).unwrap();
                self.wrote(offset, length, byte);
            }
            Step::Zero { offset, length } => {
                let (offset, length) = self.cut(offset, length);
                self.writer().zero_at(offset, length).unwrap();
                self.wrote(offset, length, 0);
            }
            Step::Snapshot if count < 6 => self.snapshot(),
            Step::Remove(which) if count > 0 => {
                let taken = self.snapshots.remove(which % count);
                let owned = self.owned();
                let removal = snapshot::remove_link(&taken.state.path, &owned, &mut |_, _| {}).unwrap();
                self.moved(&removal);
                self.consolidate();
            }
            Step::Forget(which) if count > 0 => {
                let links = Disk::open(&self.live.path, Access::ReadOnly, Scope::WholeChain).unwrap().links();
                let path = &self.snapshots[which % count].state.path;
                if links.iter().any(|link| link.descriptor == *path) {
                    self.snapshots.remove(which % count);
                }
            }
            Step::Consolidate => self.consolidate(),
            Step::Revert(which) if count > 0 => {
                let state = self.snapshots[which % count].state.clone();
                let path = snapshot::revert(&self.live.path, &state.path, &self.owned()).unwrap();
                let restart = |track: Track| Track {
                    epoch: self.clock,
                    granularity: track.granularity,
                    writes: Vec::new(),
                };
                self.live = State { path, track: state.track.map(restart), at: self.clock, ..state };
                self.consolidate();
            }
            Step::Grow(bytes) => self.grow(bytes),
            Step::TrackOn(granularity) => {
                tracking::enable(&self.live.path, Some(granularity)).unwrap();
                let epoch = self.clock;
                self.live.track.get_or_insert(Track { epoch, granularity, writes: Vec::new() });
            }
            Step::TrackOff => {
                tracking::disable(&self.live.path).unwrap();
                self.live.track = None;
            }
            Step::Renew => {
                let renewed = tracking::renew(&self.live.path);
                match &mut self.live.track {
                    Some(track) => {
                        renewed.unwrap();
                        (track.epoch, track.writes) = (self.clock, Vec::new());
                    }
                    None => assert_eq!(renewed.unwrap_err().kind(), ErrorKind::TrackingOff),
                }
            }
            Step::Reopen | Step::Snapshot | Step::Remove(_) | Step::Forget(_) | Step::Revert(_) => {}
        }
    }

    fn snapshot(&mut self) {
        let new = match self.is_base() {
            true => snapshot::create_as(&self.live.path, self.format),
            false => snapshot::create(&self.live.path),
        };
        let new = new.unwrap();
        assert_eq!(new.frozen, self.live.path);
        assert_eq!(new.change_id.is_some(), self.live.track.is_some());
        if let (Some(id), Some(track)) = (new.change_id, &self.live.track) {
            let content = Rc::clone(&self.live.content);
            self.ids.push(Known { id, epoch: track.epoch, at: self.clock, content });
            if self.ids.len() > 8 {
                self.ids.remove(3);
            }
        }
        self.snapshots.push(Taken { state: self.live.clone(), id: new.change_id });
        self.live.path = new.child;
    }

    fn grow(&mut self, bytes: u64) {
        let capacity = self.live.content.len() as u64 + bytes;
        let grown = grow(&self.live.path, capacity);
        if !self.is_base() {
            assert_eq!(grown.unwrap_err().kind(), ErrorKind::InUse);
            return;
        }
        grown.unwrap();
        Rc::make_mut(&mut self.live.content).resize(capacity as usize, 0);
        if let Some(track) = &mut self.live.track {
            *track = Track { epoch: self.clock, granularity: DEFAULT, writes: Vec::new() };
        }
    }

    /// Whether the live disk is the base disk.
    fn is_base(&self) -> bool {
        self.live.path.ends_with("vm.vmdk")
    }

    fn cut(&self, offset: u64, length: u64) -> (u64, u64) {
        let capacity = self.live.content.len() as u64;
        let offset = offset.min(capacity);
        (offset, length.min(capacity - offset))
    }

    fn writer(&mut self) -> &Disk {
        let open = || Disk::open(&self.live.path, Access::ReadWrite, Scope::WholeChain).unwrap();
        self.writer.get_or_insert_with(open)
    }

    fn wrote(&mut self, offset: u64, length: u64, byte: u8) {
        Rc::make_mut(&mut self.live.content)[offset as usize..(offset + length) as usize].fill(byte);
        if let Some(track) = &mut self.live.track
            && length > 0
        {
            track.writes.push((self.clock, Extent { offset, length }));
        }
    }

    fn moved(&mut self, removal: &Removal) {
        if let Removal::Merged { child, survivor } = removal {
            let snapshots = self.snapshots.iter_mut().map(|taken| &mut taken.state);
            for state in snapshots.chain([&mut self.live]).filter(|state| state.path == *child) {
                state.path.clone_from(survivor);
            }
        }
    }

    pub fn consolidate(&mut self) {
        let owned = self.owned();
        let needed = snapshot::needs_consolidation(&self.live.path, &owned).unwrap();
        let removals = snapshot::consolidate(&self.live.path, &owned, &mut |_, _| {}).unwrap();
        assert_eq!(needed, !removals.is_empty());
        for removal in removals {
            self.moved(&removal);
        }
        assert!(!snapshot::needs_consolidation(&self.live.path, &self.owned()).unwrap());
    }

    /// Compares every disk that can be opened with the memory of it.
    pub fn check(&self, limit: usize) {
        for taken in &self.snapshots {
            assert_eq!(tracking::change_id(&taken.state.path).unwrap(), taken.id);
            self.check_state(&taken.state, limit);
        }
        self.check_state(&self.live, limit);
    }

    fn check_state(&self, state: &State, limit: usize) {
        let disk = Disk::open(&state.path, Access::ReadOnly, Scope::WholeChain).unwrap();
        let capacity = state.content.len() as u64;
        let mut found = vec![0xee; capacity as usize];
        disk.read_at(0, &mut found).unwrap();
        assert!(found == *state.content, "content of {}", state.path.display());
        assert_covered(&state.content, &disk.allocated(0, capacity).unwrap());
        let refused = |id: ChangeId| query(&state.path, &id.to_string(), 0, limit).unwrap_err().kind();
        let Some(track) = &state.track else {
            assert_eq!(query(&state.path, "*", 0, limit).unwrap_err().kind(), ErrorKind::TrackingOff);
            assert!(self.ids.iter().all(|known| refused(known.id) == ErrorKind::TrackingOff));
            return;
        };
        assert_covered(&state.content, &areas(state, "*", limit, capacity, track.granularity));
        let now = tracking::change_id(&state.path).unwrap().unwrap();
        for wrong in [
            ChangeId { uuid: [7; 16], ..now },
            ChangeId { sequence: now.sequence + 1, ..now },
            ChangeId { sequence: 0, ..now },
        ] {
            assert_eq!(refused(wrong), ErrorKind::ForeignChangeId);
        }
        assert_eq!(areas(state, &now.to_string(), limit, capacity, track.granularity), []);
        for known in &self.ids {
            if known.epoch != track.epoch || known.at > state.at {
                assert_eq!(refused(known.id), ErrorKind::ForeignChangeId);
                continue;
            }
            let changed = areas(state, &known.id.to_string(), limit, capacity, track.granularity);
            // What a backup lives on: outside of the areas, both moments have the same bytes.
            let grains =
                |extent: &Extent| extent.offset / track.granularity..extent.end().div_ceil(track.granularity);
            let changed: BTreeSet<u64> = changed.iter().flat_map(grains).collect();
            let grain = track.granularity as usize;
            for (number, (old, new)) in
                (0..).zip(known.content.chunks(grain).zip(state.content.chunks(grain)))
            {
                assert!(changed.contains(&number) || old == new, "grain {number} since {}", known.id);
            }
            // And it is no guess: just what was written.
            let since = track.writes.iter().filter(|(when, _)| *when > known.at);
            let expected: BTreeSet<u64> = since.flat_map(|(_, extent)| grains(extent)).collect();
            assert_eq!(changed, expected, "changes of {} since {}", state.path.display(), known.id);
        }
    }
}

/// All areas that a query names, asked for in windows of at most `limit` areas that must add up to the disk.
fn areas(state: &State, since: &str, limit: usize, capacity: u64, granularity: u64) -> Vec<Extent> {
    let mut all: Vec<Extent> = Vec::new();
    let mut at = 0;
    while at < capacity {
        let window = query(&state.path, since, at, limit).unwrap();
        assert_eq!(window.start, at);
        assert!(window.length > 0 && window.extents.len() <= limit);
        for extent in window.extents {
            assert!(extent.length > 0 && extent.offset >= all.last().map_or(0, Extent::end));
            assert!(extent.offset >= at && extent.end() <= at + window.length);
            assert!(extent.offset.is_multiple_of(granularity));
            assert!(extent.end().is_multiple_of(granularity) || extent.end() == capacity);
            all.push(extent);
        }
        at += window.length;
    }
    assert_eq!(at, capacity);
    all
}

/// Outside of the extents there are only zeros.
fn assert_covered(content: &[u8], extents: &[Extent]) {
    static ZEROS: [u8; 4096] = [0; 4096];
    let capacity = content.len() as u64;
    let mut at = 0;
    for end in extents.iter().map(|extent| extent.offset).chain([capacity]) {
        let hidden = &content[at as usize..end as usize];
        assert!(hidden.chunks(ZEROS.len()).all(|chunk| *chunk == ZEROS[..chunk.len()]), "{at}..{end}");
        at = extents.iter().find(|extent| extent.offset == end).map_or(capacity, Extent::end);
    }
}
