//! What the machine's disks have to hold, and which change ids have to be answered.

use std::rc::Rc;

/// How often what was asked.
#[derive(Debug, Default)]
pub struct Told {
    pub answered: u64,
    pub refused: u64,
    /// Answers to `*`.
    pub all: u64,
    pub snapshots: u64,
}

/// A moment of a life of tracking: ids of one life are comparable, those of another are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub life: u64,
    pub number: u32,
}

/// A disk, now or at a snapshot.
#[derive(Debug, Clone)]
pub struct DiskState {
    pub content: Rc<Vec<u8>>,
    /// Nothing while it is not tracked.
    pub tracked: Option<Moment>,
    /// What was written in this life of tracking: nothing else may be told to have changed.
    pub touched: Rc<Vec<Touched>>,
    /// What was ever written, in whatever life: nothing else is allocated.
    pub used: Rc<Vec<(usize, usize)>>,
}

/// Bytes that were written, changed by that or not, and the number that was in force.
#[derive(Debug, Clone, Copy)]
pub struct Touched {
    pub number: u32,
    pub start: usize,
    pub end: usize,
}

/// A snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub id: String,
    pub parent: Option<String>,
    pub disks: Vec<DiskState>,
    /// Whether tracking was configured.
    pub wanted: bool,
}

/// A change id that was handed out.
#[derive(Debug, Clone)]
pub struct Known {
    pub disk: usize,
    pub id: String,
    pub moment: Moment,
    pub content: Rc<Vec<u8>>,
}

/// A machine.
#[derive(Debug, Default)]
pub struct Oracle {
    pub live: Vec<DiskState>,
    pub wanted: bool,
    pub snapshots: Vec<Snapshot>,
    pub current: Option<String>,
    pub known: Vec<Known>,
    lives: u64,
}

/// The rules, in our own words of part 4.2 of the specification.
impl Oracle {
    pub fn begin(capacities: &[usize]) -> Self {
        let mut oracle = Self { wanted: true, ..Self::default() };
        for capacity in capacities {
            let tracked = Some(oracle.new_life());
            let (content, touched, used) = (Rc::new(vec![0; *capacity]), Rc::default(), Rc::default());
            oracle.live.push(DiskState { content, tracked, touched, used });
        }
        oracle
    }

    fn new_life(&mut self) -> Moment {
        self.lives += 1;
        Moment { life: self.lives, number: 1 }
    }

    pub fn write(&mut self, disk: usize, offset: usize, bytes: &[u8]) {
        self.touch(disk, offset, bytes.len());
        Rc::make_mut(&mut self.live[disk].content)[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// Bytes were written that may have been the same before.
    pub fn touch(&mut self, disk: usize, start: usize, length: usize) {
        let (live, end) = (&mut self.live[disk], start + length);
        Rc::make_mut(&mut live.used).push((start, end));
        if let Some(Moment { number, .. }) = live.tracked {
            Rc::make_mut(&mut live.touched).push(Touched { number, start, end });
        }
    }

    /// The machine was stunned: what is configured takes effect.
    pub fn stunned(&mut self) {
        for at in 0..self.live.len() {
            let begins = match (self.wanted, self.live[at].tracked) {
                (true, Some(_)) => continue,
                (true, None) => Some(self.new_life()),
                (false, _) => None,
            };
            self.begin_life(at, begins);
        }
    }

    /// Ids that were handed out before are refused from now on.
    pub fn renew(&mut self, disk: usize) {
        if self.live[disk].tracked.is_some() {
            let begins = Some(self.new_life());
            self.begin_life(disk, begins);
        }
    }

    fn begin_life(&mut self, disk: usize, tracked: Option<Moment>) {
        self.live[disk].tracked = tracked;
        self.live[disk].touched = Rc::default();
    }

    pub fn snapshot(&mut self, id: &str) {
        self.snapshots.push(Snapshot {
            id: id.to_owned(),
            parent: self.current.replace(id.to_owned()),
            disks: self.live.clone(),
            wanted: self.wanted,
        });
        for disk in &mut self.live {
            if let Some(moment) = &mut disk.tracked {
                moment.number += 1;
            }
        }
        self.stunned();
    }

    pub fn remove(&mut self, id: &str, children: bool) {
        let mut gone = vec![id.to_owned()];
        if children {
            for snapshot in &self.snapshots {
                if snapshot.parent.as_ref().is_some_and(|parent| gone.contains(parent)) {
                    gone.push(snapshot.id.clone());
                }
            }
        }
        let parents: Vec<_> = self.snapshots.iter().map(|s| (s.id.clone(), s.parent.clone())).collect();
        let staying = |mut at: Option<String>| {
            while let Some(id) = at.as_ref().filter(|id| gone.contains(id)) {
                at = parents.iter().find(|(known, _)| known == id).unwrap().1.clone();
            }
            at
        };
        self.current = staying(self.current.take());
        self.snapshots.retain(|snapshot| !gone.contains(&snapshot.id));
        for snapshot in &mut self.snapshots {
            snapshot.parent = staying(snapshot.parent.take());
        }
        self.stunned();
    }

    pub fn revert(&mut self, id: &str) {
        let target = self.snapshots.iter().find(|snapshot| snapshot.id == id).unwrap().clone();
        self.live = target.disks;
        self.wanted = target.wanted;
        self.current = Some(target.id);
        (0..self.live.len()).for_each(|disk| self.renew(disk));
        self.stunned();
    }

    pub fn grow(&mut self, disk: usize, capacity: usize) {
        Rc::make_mut(&mut self.live[disk].content).resize(capacity, 0);
        self.renew(disk);
    }

    /// What may be told to have changed since a moment of the state's life.
    pub fn touched_since(moment: Moment, at: &DiskState) -> Vec<(usize, usize)> {
        let since = at.touched.iter().filter(|touched| touched.number > moment.number);
        since.map(|touched| (touched.start, touched.end)).collect()
    }

    /// Whether the id is to be answered for a disk in this state.
    pub fn answers(known: &Known, at: &DiskState) -> bool {
        at.tracked.is_some_and(|now| now.life == known.moment.life && known.moment.number <= now.number)
    }
}

/// The runs of bytes that differ, or that are new. By nothing of the code under test: pages, then byte by byte.
pub fn differing(before: &[u8], after: &[u8]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (number, page) in after.chunks(4096).enumerate() {
        let first = number * 4096;
        if before.get(first..first + page.len()) == Some(page) {
            continue;
        }
        for (at, byte) in (first..).zip(page) {
            if before.get(at) != Some(byte) {
                match runs.last_mut() {
                    Some((_, end)) if *end == at => *end = at + 1,
                    _ => runs.push((at, at + 1)),
                }
            }
        }
    }
    runs
}
