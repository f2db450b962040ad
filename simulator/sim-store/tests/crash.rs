//! A process that writes, takes snapshots, merges and reverts is killed at random moments. What it had acknowledged
//! must be there, and what it had begun must be finished or undone.
//!
//! `SIM_STORE_CRASHES=1000 cargo test -p sim-store --test crash` kills as often; `PROPTEST_RNG_SEED` repeats the
//! choices, though not the moments.

#![allow(clippy::unwrap_used, reason = "a failed test may panic, in its helpers too")]

#[path = "files/life.rs"]
mod life;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use proptest::test_runner::RngSeed;
use sim_store::snapshot::{self, Removal};
use sim_store::tracking::{self, ChangeId, query};
use sim_store::{Access, DeltaFormat, Descriptor, Disk, DiskSpec, Scope, delete};

const STATE: &str = "SIM_STORE_CRASH_STATE";
const CAPACITY: u64 = (6 << 20) + 1536;
const GRAIN: u64 = 4096;
const MAX_SNAPSHOTS: usize = 4;

/// A small generator: both processes need one, and neither needs a good one.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Not a test of its own: the process that is killed.
#[test]
#[ignore = "started by killed_at_any_moment"]
fn victim() {
    let state = std::env::var(STATE).unwrap();
    let mut words = state.split('|');
    let mut chance = Chance(words.next().unwrap().parse().unwrap());
    let format =
        if words.next() == Some("SeSparse") { DeltaFormat::SeSparse } else { DeltaFormat::VmfsSparse };
    let mut live = PathBuf::from(words.next().unwrap());
    let mut snapshots: Vec<PathBuf> = words.map(PathBuf::from).collect();
    let tell = |text: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).unwrap();
    };
    let mut writer = None;
    tell("\nready".to_owned());
    loop {
        let kind = chance.below(100);
        if kind < 75 {
            let offset = chance.below(CAPACITY - 1);
            let length = 1 + chance.below((CAPACITY - offset).min(200_000));
            let byte = if kind < 60 { 1 + chance.below(255) as u8 } else { 0 };
            let disk = writer
                .get_or_insert_with(|| Disk::open(&live, Access::ReadWrite, Scope::WholeChain).unwrap());
            tell(format!("begin write {offset} {length} {byte}"));
            match byte {
                0 => disk.zero_at(offset, length).unwrap(),
                byte => disk.write_at(offset, &vec![byte; length as usize]).unwrap(),
            }
            tell("done".to_owned());
            continue;
        }
        writer = None;
        let which = chance.below(snapshots.len().max(1) as u64) as usize;
        if kind < 87 && snapshots.len() < MAX_SNAPSHOTS {
            tell("begin snapshot".to_owned());
            let new = match live.ends_with("vm.vmdk") {
                true => snapshot::create_as(&live, format).unwrap(),
                false => snapshot::create(&live).unwrap(),
            };
            tell(format!("done {}|{}", new.child.display(), new.change_id.unwrap()));
            snapshots.push(std::mem::replace(&mut live, new.child));
        } else if kind < 96 && !snapshots.is_empty() {
            let path = snapshots.remove(which);
            let parents = descriptors(&live).into_iter().filter_map(|(path, descriptor)| {
                let hint = descriptor.parent_hint?;
                Some(format!(" {}|{}", path.display(), path.with_file_name(hint).display()))
            });
            tell(format!("begin remove {which}{}", parents.collect::<String>()));
            let removal = snapshot::remove_link(&path, &snapshots, &mut |_, _| {}).unwrap();
            let mut text = "done".to_owned();
            let mut follow = |removal: &Removal, live: &mut PathBuf, snapshots: &mut Vec<PathBuf>| {
                if let Removal::Merged { child, survivor } = removal {
                    text = format!("{text} {}|{}", child.display(), survivor.display());
                    let known = snapshots.iter_mut().chain([live]);
                    known.filter(|path| *path == child).for_each(|path| path.clone_from(survivor));
                }
            };
            follow(&removal, &mut live, &mut snapshots);
            for removal in snapshot::consolidate(&live, &snapshots, &mut |_, _| {}).unwrap() {
                follow(&removal, &mut live, &mut snapshots);
            }
            tell(text);
        } else if !snapshots.is_empty() {
            tell(format!("begin revert {which}"));
            live = snapshot::revert(&live, &snapshots[which], &snapshots).unwrap();
            tell(format!("done {}", live.display()));
        }
    }
}

struct Known {
    path: PathBuf,
    content: Vec<u8>,
    id: ChangeId,
}

/// What the killed process has acknowledged.
struct Acknowledged {
    live: PathBuf,
    content: Vec<u8>,
    /// Grains that were written since each of `ids` was given out.
    ids: Vec<(ChangeId, Vec<u8>, BTreeSet<u64>)>,
    snapshots: Vec<Known>,
}

impl Acknowledged {
    fn wrote(&mut self, offset: u64, length: u64, byte: u8) {
        self.content[offset as usize..(offset + length) as usize].fill(byte);
        for (.., grains) in &mut self.ids {
            grains.extend(offset / GRAIN..(offset + length).div_ceil(GRAIN));
        }
    }

    fn moved(&mut self, child: &Path, survivor: &Path) {
        let paths = self.snapshots.iter_mut().map(|known| &mut known.path);
        paths
            .chain([&mut self.live])
            .filter(|path| **path == child)
            .for_each(|path| survivor.clone_into(path));
    }

    fn owned(&self) -> Vec<PathBuf> {
        self.snapshots.iter().map(|known| known.path.clone()).collect()
    }

    /// Takes in what the process said; answers what it had begun and not done.
    fn hear(&mut self, lines: &[String]) -> Option<String> {
        let mut begun: Option<&str> = None;
        for line in lines {
            if let Some(what) = line.strip_prefix("begin ") {
                begun = Some(what);
            } else if let Some(result) = line.strip_prefix("done") {
                self.finish(begun.take().unwrap(), result.trim());
            }
        }
        begun.map(ToOwned::to_owned)
    }

    fn finish(&mut self, begun: &str, result: &str) {
        let words: Vec<&str> = begun.split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "write" => self.wrote(number(1), number(2), number(3) as u8),
            "snapshot" => {
                let (child, id) = result.split_once('|').unwrap();
                let id: ChangeId = id.parse().unwrap();
                self.ids.push((id, self.content.clone(), BTreeSet::new()));
                self.snapshots.push(Known { path: self.live.clone(), content: self.content.clone(), id });
                self.live = PathBuf::from(child);
            }
            "remove" => {
                self.snapshots.remove(number(1) as usize);
                for (child, survivor) in result.split(' ').filter_map(|moved| moved.split_once('|')) {
                    self.moved(Path::new(child), Path::new(survivor));
                }
            }
            "revert" => self.reverted(number(1) as usize, Path::new(result)),
            other => unreachable!("{other}"),
        }
    }

    fn reverted(&mut self, which: usize, live: &Path) {
        self.live = live.to_owned();
        self.content.clone_from(&self.snapshots[which].content);
        self.ids.clear();
    }

    /// What a server does when it starts again: takes note of what the last operation came to, and removes what
    /// belongs to nobody.
    fn recover(&mut self, begun: Option<&str>) {
        let words: Vec<&str> = begun.unwrap_or("nothing").split(' ').collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "write" => {
                // Each byte is the old or the new one.
                let (offset, length, byte) = (number(1) as usize, number(2) as usize, number(3) as u8);
                let mut found = vec![0; length];
                let disk = Disk::open(&self.live, Access::ReadOnly, Scope::WholeChain).unwrap();
                disk.read_at(offset as u64, &mut found).unwrap();
                for (old, new) in self.content[offset..offset + length].iter_mut().zip(found) {
                    assert!(new == *old || new == byte, "garbage at {offset}");
                    *old = new;
                }
            }
            "remove" => {
                self.snapshots.remove(number(1) as usize);
                // A link whose path is gone lives on in the one it was made over.
                let parents: Vec<_> = words[2..].iter().filter_map(|pair| pair.split_once('|')).collect();
                let known = self.owned().into_iter().chain([self.live.clone()]);
                for gone in known.filter(|path| !path.exists()).collect::<Vec<_>>() {
                    let mut at = gone.clone();
                    while !at.exists() {
                        let parent = parents.iter().find(|(child, _)| Path::new(child) == at).unwrap();
                        at = PathBuf::from(parent.1);
                    }
                    self.moved(&gone, &at);
                }
            }
            "revert" if !self.live.exists() => {
                let known = self.owned();
                let target = known[number(1) as usize].file_name().unwrap().to_str().unwrap().to_owned();
                let made = descriptors(&self.live).into_iter().find(|(path, descriptor)| {
                    !known.contains(path) && descriptor.parent_hint.as_ref() == Some(&target)
                });
                self.reverted(number(1) as usize, &made.unwrap().0);
            }
            _ => {}
        }
        loop {
            let all = descriptors(&self.live);
            let used: BTreeSet<String> =
                all.iter().filter_map(|(_, descriptor)| descriptor.parent_hint.clone()).collect();
            let known = self.owned();
            let stray = all.iter().find(|(path, _)| {
                *path != self.live
                    && !known.contains(path)
                    && !used.contains(path.file_name().unwrap().to_str().unwrap())
            });
            match stray {
                Some((path, _)) => delete(path).unwrap(),
                None => break,
            }
        }
    }

    fn check(&self) {
        for known in &self.snapshots {
            assert_eq!(tracking::change_id(&known.path).unwrap(), Some(known.id));
            assert!(read(&known.path) == known.content, "content of {}", known.path.display());
        }
        assert!(read(&self.live) == self.content, "content of the live disk {}", self.live.display());
        for (id, then, written) in &self.ids {
            let window = query(&self.live, &id.to_string(), 0, usize::MAX).unwrap();
            assert_eq!((window.start, window.length), (0, CAPACITY));
            let changed: BTreeSet<u64> = window
                .extents
                .iter()
                .flat_map(|extent| extent.offset / GRAIN..extent.end().div_ceil(GRAIN))
                .collect();
            assert!(changed.is_superset(written), "acknowledged writes since {id} are not reported");
            let grains = then.chunks(GRAIN as usize).zip(self.content.chunks(GRAIN as usize));
            for (number, (then, now)) in (0..).zip(grains) {
                assert!(then == now || changed.contains(&number), "grain {number} changed since {id}");
            }
        }
    }

    fn read_by_vmdk(&self) {
        let states = self.snapshots.iter().map(|known| (&known.path, &known.content));
        for (path, content) in states.chain([(&self.live, &self.content)]) {
            let mut found = vec![0; CAPACITY as usize];
            vmdk::Disk::open_path(path).unwrap().read_exact_at(&mut found, 0).unwrap();
            assert!(found == *content, "{}", path.display());
        }
    }
}

fn read(path: &Path) -> Vec<u8> {
    let mut found = vec![0; CAPACITY as usize];
    Disk::open(path, Access::ReadOnly, Scope::WholeChain).unwrap().read_at(0, &mut found).unwrap();
    found
}

/// All links of the folder, without what a process was writing when it was killed.
fn descriptors(beside: &Path) -> Vec<(PathBuf, Descriptor)> {
    let entries = fs::read_dir(beside.parent().unwrap()).unwrap().map(|entry| entry.unwrap());
    let whole = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    let load = |path: PathBuf| Descriptor::load(&path).ok().map(|descriptor| (path, descriptor));
    whole.filter_map(|entry| load(entry.path())).collect()
}

/// Starts the victim, kills it, and answers what it said. Half of the time it is killed while it changes the chain,
/// which takes it but a moment.
fn kill_one(chance: &mut Chance, format: DeltaFormat, state: &Acknowledged) -> Vec<String> {
    let seed = chance.below(u64::from(u32::MAX));
    let (kind, enough) = match chance.below(6) {
        0 => ("begin snapshot", 1 + chance.below(3)),
        1 => ("begin remove", 1),
        2 => ("begin revert", 1),
        _ => ("begin write", 1 + chance.below(40)),
    };
    let moment = Duration::from_micros(chance.below(6000));
    let mut text = format!("{seed}|{format:?}|{}", state.live.display());
    for path in state.owned() {
        text = format!("{text}|{}", path.display());
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "victim", "--nocapture"])
        .env(STATE, text)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(victim.stdout.take().unwrap());
    let mut line = String::new();
    while line != "ready\n" {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the victim died by itself");
    }
    let (mut said, mut seen) = (String::new(), 0);
    while seen < enough {
        line.clear();
        if output.read_line(&mut line).unwrap() == 0 {
            break;
        }
        seen += u64::from(line.starts_with(kind));
        said.push_str(&line);
    }
    std::thread::sleep(moment);
    victim.kill().unwrap();
    output.read_to_string(&mut said).unwrap();
    let ended = victim.wait_with_output().unwrap();
    let complaints = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.code().is_none() && complaints.is_empty(), "{complaints}");
    // The last line may be cut.
    said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(ToOwned::to_owned).collect()
}

#[test]
fn killed_at_any_moment() {
    let rounds = std::env::var("SIM_STORE_CRASHES").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    let RngSeed::Fixed(seed) = life::chance(0).rng_seed else { unreachable!() };
    let mut chance = Chance(seed);
    let mut interrupted: BTreeMap<String, u32> = BTreeMap::new();
    for format in life::FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let live = folder.path().join("vm.vmdk");
        drop(Disk::create(&live, &DiskSpec::thin(CAPACITY)).unwrap());
        tracking::enable(&live, Some(GRAIN)).unwrap();
        let content = vec![0; CAPACITY as usize];
        let mut state = Acknowledged { live, content, ids: Vec::new(), snapshots: Vec::new() };
        for _ in 0..rounds / 2 {
            let lines = kill_one(&mut chance, format, &state);
            let begun = state.hear(&lines);
            let what = begun.as_deref().and_then(|begun| begun.split(' ').next()).unwrap_or("nothing");
            *interrupted.entry(what.to_owned()).or_insert(0) += 1;
            state.recover(begun.as_deref());
            state.check();
            // Merges that were begun are finished.
            let owned = state.owned();
            for removal in snapshot::consolidate(&state.live, &owned, &mut |_, _| {}).unwrap() {
                if let Removal::Merged { child, survivor } = removal {
                    state.moved(&child, &survivor);
                }
            }
            assert!(!snapshot::needs_consolidation(&state.live, &state.owned()).unwrap());
            state.check();
            state.read_by_vmdk();
            let count = state.ids.len();
            state.ids.drain(..count.saturating_sub(6));
        }
    }
    println!("interrupted: {interrupted:?}");
}
