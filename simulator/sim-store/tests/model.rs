//! Random lives of a disk, compared with a model that keeps everything in memory and is too simple to be wrong.

#![allow(clippy::unwrap_used, reason = "a failed test may panic, in its helpers too")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use sim_store::snapshot::{self, Removal};
use sim_store::tracking::{self, ChangeId, query};
use sim_store::{Access, Disk, DiskSpec, ErrorKind, Scope};

const GRAIN: u64 = 64 << 10;
/// The last grain is cut short, and the bitmap's last byte is not full.
const CAPACITY: u64 = 10 * GRAIN + 1536;

#[derive(Debug, Clone)]
enum Step {
    Write { offset: u64, length: u64, byte: u8 },
    Zero { offset: u64, length: u64 },
    Snapshot,
    Remove(usize),
    Revert(usize),
}

/// What a disk must be at some moment.
#[derive(Debug, Clone)]
struct State {
    path: PathBuf,
    content: Vec<u8>,
    /// Every write of this line of life: when, and which grain.
    writes: Vec<(u64, u64)>,
    /// A new life begins with each revert.
    life: u64,
}

struct Taken {
    state: State,
    id: ChangeId,
    at: u64,
}

struct Model {
    live: State,
    snapshots: Vec<Taken>,
    /// Ids of removed snapshots stay usable.
    ids: Vec<(ChangeId, u64, u64)>,
    clock: u64,
}

impl Model {
    fn new(folder: &Path) -> Self {
        let path = folder.join("vm.vmdk");
        drop(Disk::create(&path, &DiskSpec::thin(CAPACITY)).unwrap());
        tracking::enable(&path, Some(GRAIN)).unwrap();
        let live = State { path, content: vec![0; CAPACITY as usize], writes: Vec::new(), life: 0 };
        Self { live, snapshots: Vec::new(), ids: Vec::new(), clock: 0 }
    }

    fn owned(&self) -> Vec<PathBuf> {
        self.snapshots.iter().map(|taken| taken.state.path.clone()).collect()
    }

    fn apply(&mut self, step: &Step) {
        self.clock += 1;
        match *step {
            Step::Write { offset, length, byte } => {
                let disk = Disk::open(&self.live.path, Access::ReadWrite, Scope::WholeChain).unwrap();
                disk.write_at(offset, &vec![byte; length as usize]).unwrap();
                self.wrote(offset, length, byte);
            }
            Step::Zero { offset, length } => {
                let disk = Disk::open(&self.live.path, Access::ReadWrite, Scope::WholeChain).unwrap();
                disk.zero_at(offset, length).unwrap();
                self.wrote(offset, length, 0);
            }
            Step::Snapshot => {
                let new = snapshot::create(&self.live.path).unwrap();
                assert_eq!(new.frozen, self.live.path);
                let id = new.change_id.unwrap();
                self.ids.push((id, self.clock, self.live.life));
                self.snapshots.push(Taken { state: self.live.clone(), id, at: self.clock });
                self.live.path = new.child;
            }
            Step::Remove(which) if !self.snapshots.is_empty() => {
                let taken = self.snapshots.remove(which % self.snapshots.len());
                let removal =
                    snapshot::remove_link(&taken.state.path, &self.owned(), &mut |_, _| {}).unwrap();
                self.moved(&removal);
                self.consolidate();
            }
            Step::Revert(which) if !self.snapshots.is_empty() => {
                let target = which % self.snapshots.len();
                let state = self.snapshots[target].state.clone();
                let path = snapshot::revert(&self.live.path, &state.path, &self.owned()).unwrap();
                self.live = State { path, writes: Vec::new(), life: self.clock, ..state };
                self.consolidate();
            }
            Step::Remove(_) | Step::Revert(_) => {}
        }
    }

    fn wrote(&mut self, offset: u64, length: u64, byte: u8) {
        self.live.content[offset as usize..(offset + length) as usize].fill(byte);
        for grain in offset / GRAIN..(offset + length).div_ceil(GRAIN) {
            if length > 0 {
                self.live.writes.push((self.clock, grain));
            }
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

    fn consolidate(&mut self) {
        let owned = self.owned();
        for removal in snapshot::consolidate(&self.live.path, &owned, &mut |_, _| {}).unwrap() {
            self.moved(&removal);
        }
        assert!(!snapshot::needs_consolidation(&self.live.path, &self.owned()).unwrap());
    }

    /// Compares every disk that can be opened with the model.
    fn check(&self) {
        self.check_state(&self.live, self.clock);
        for taken in &self.snapshots {
            self.check_state(&taken.state, taken.at);
            assert_eq!(tracking::change_id(&taken.state.path).unwrap(), Some(taken.id));
        }
    }

    fn check_state(&self, state: &State, at: u64) {
        let disk = Disk::open(&state.path, Access::ReadOnly, Scope::WholeChain).unwrap();
        let mut found = vec![0xee; CAPACITY as usize];
        disk.read_at(0, &mut found).unwrap();
        assert!(found == state.content, "content of {}", state.path.display());
        let mut rest = found;
        for extent in disk.allocated(0, CAPACITY).unwrap() {
            rest[extent.offset as usize..extent.end() as usize].fill(0);
        }
        assert!(rest.iter().all(|&byte| byte == 0), "data outside of the allocated areas");
        for &(id, since, life) in &self.ids {
            let answer = query(&state.path, &id.to_string(), 0, 3);
            if life != state.life || since > at {
                assert_eq!(answer.unwrap_err().kind(), ErrorKind::ForeignChangeId);
                continue;
            }
            let expected: BTreeSet<u64> =
                state.writes.iter().filter(|(when, _)| *when > since).map(|(_, grain)| *grain).collect();
            let mut changed = BTreeSet::new();
            let mut from = 0;
            while from < CAPACITY {
                let window = query(&state.path, &id.to_string(), from, 3).unwrap();
                assert_eq!(window.start, from);
                for extent in window.extents {
                    assert!(extent.offset.is_multiple_of(GRAIN) && extent.offset >= from);
                    assert!(extent.end().is_multiple_of(GRAIN) || extent.end() == CAPACITY);
                    changed.extend(extent.offset / GRAIN..extent.end().div_ceil(GRAIN));
                    assert!(extent.end() <= from + window.length);
                }
                from += window.length;
            }
            assert_eq!(from, CAPACITY);
            assert_eq!(changed, expected, "changes of {} since {id}", state.path.display());
        }
    }
}

fn range() -> impl Strategy<Value = (u64, u64)> {
    let anywhere = (0..CAPACITY, 0..3 * GRAIN);
    // Whole grains and their edges are where mistakes live.
    let edges = (0..11_u64, 0..3_u64, 0..3_u64, 0..3_u64).prop_map(|(grain, count, before, after)| {
        ((grain * GRAIN).saturating_sub(before), count * GRAIN + after)
    });
    prop_oneof![anywhere, edges]
        .prop_map(|(offset, length)| (offset.min(CAPACITY), length.min(CAPACITY - offset.min(CAPACITY))))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (range(), 1..255_u8).prop_map(|((offset, length), byte)| Step::Write { offset, length, byte }),
        3 => range().prop_map(|(offset, length)| Step::Zero { offset, length }),
        4 => Just(Step::Snapshot),
        3 => any::<usize>().prop_map(Step::Remove),
        1 => any::<usize>().prop_map(Step::Revert),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn disks_live_as_the_model_says(steps in prop::collection::vec(step(), 1..40)) {
        let folder = tempfile::tempdir().unwrap();
        let mut model = Model::new(folder.path());
        for step in &steps {
            model.apply(step);
            if !matches!(step, Step::Write { .. } | Step::Zero { .. }) {
                model.check();
            }
        }
        model.check();
        // With the last snapshot gone, no link but the base is left, and no litter.
        while !model.snapshots.is_empty() {
            model.apply(&Step::Remove(0));
        }
        model.check();
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["vm-ctk.vmdk", "vm-flat.vmdk", "vm.vmdk"]);
    }
}
