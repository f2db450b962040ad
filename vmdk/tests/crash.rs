//! A process that is killed, or a machine that loses power, at any write: what was flushed is there, and the disk opens.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "files/campaign.rs"]
mod campaign;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use vmdk::{Create, Disk, Folder, MemoryFolder, OpenOptions, ReadAt, Variant, WriteAt};

/// A folder whose files keep what was written since their last sync apart, and which stops to work after some writes.
#[derive(Clone, Default)]
struct Failing {
    durable: MemoryFolder,
    state: Arc<Mutex<State>>,
    writes_left: Arc<AtomicU64>,
}

#[derive(Default)]
struct State {
    /// Writes that no sync has followed, in order: file, offset, bytes.
    loose: Vec<(String, u64, Vec<u8>)>,
}

struct FailingFile {
    folder: Failing,
    name: String,
    seen: Arc<dyn WriteAt>,
}

impl Failing {
    fn new(durable: MemoryFolder, writes: u64) -> Self {
        Self { durable, state: Arc::default(), writes_left: Arc::new(AtomicU64::new(writes)) }
    }

    fn spend(&self) -> io::Result<()> {
        let spent =
            self.writes_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        spent.map(|_| ()).map_err(|_| io::Error::other("the machine is off"))
    }

    fn is_off(&self) -> bool {
        self.writes_left.load(Ordering::SeqCst) == 0
    }
}

impl ReadAt for FailingFile {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.seen.read_exact_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.seen.size()
    }
}

impl WriteAt for FailingFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.folder.spend()?;
        self.seen.write_all_at(bytes, offset)?;
        self.folder.state.lock().unwrap().loose.push((self.name.clone(), offset, bytes.to_vec()));
        Ok(())
    }

    fn set_size(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        self.folder.spend()?;
        let mut state = self.folder.state.lock().unwrap();
        let (mine, others) = state.loose.drain(..).partition(|(name, ..)| *name == self.name);
        state.loose = others;
        let file = self.folder.durable.open_writable(&self.name)?;
        let mine: Vec<(String, u64, Vec<u8>)> = mine;
        mine.iter().try_for_each(|(_, offset, bytes)| file.write_all_at(bytes, *offset))
    }
}

impl Folder for Failing {
    fn open(&self, name: &str) -> io::Result<Arc<dyn ReadAt>> {
        self.durable.open(name)
    }

    fn open_writable(&self, name: &str) -> io::Result<Arc<dyn WriteAt>> {
        let seen = MemoryFolder::new();
        seen.insert(name, self.durable.content(name).ok_or(io::ErrorKind::NotFound)?);
        Ok(Arc::new(FailingFile {
            folder: self.clone(),
            name: name.to_owned(),
            seen: seen.open_writable(name)?,
        }))
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn WriteAt>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.spend()?;
        self.durable.replace(name, content)
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[derive(Debug, Clone)]
enum Step {
    Write { at: u64, length: usize, byte: u8 },
    Zero { at: u64, length: u64 },
    Flush,
}

const CAPACITY: u64 = 600 * 512;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..CAPACITY - 20_000, 1..20_000_usize, 1..=255_u8).prop_map(|(at, length, byte)| Step::Write { at, length, byte }),
        1 => (0..CAPACITY - 20_000, 1..20_000_u64).prop_map(|(at, length)| Step::Zero { at, length }),
        2 => Just(Step::Flush),
    ];
    prop::collection::vec(step, 3..20)
}

/// What a byte may be after the crash: what it was at the last flush, or anything that was written to it since.
fn model(steps: &[Step], flushed: usize, begun: usize) -> Vec<Vec<u8>> {
    let mut possible = vec![vec![0]; CAPACITY as usize];
    for (number, step) in steps.iter().take(begun).enumerate() {
        let (range, byte) = match step {
            Step::Write { at, length, byte } => (*at as usize..*at as usize + length, *byte),
            Step::Zero { at, length } => (*at as usize..(at + length) as usize, 0),
            Step::Flush => continue,
        };
        for byte_at in &mut possible[range] {
            if number < flushed {
                byte_at.clear();
            }
            byte_at.push(byte);
        }
    }
    possible
}

proptest! {
    #![proptest_config(campaign::slice(200))]

    /// `kept` picks which of the writes after the last sync reached the disk, in whichever order a power loss leaves them: for a
    /// killed process all of them did, so that case is among the others.
    #[test]
    fn what_was_flushed_is_there_after_a_crash_at_any_write(
        steps in steps(),
        crash_after in 1_u64..60,
        kept in prop::collection::vec(any::<bool>(), 64),
        killed_only in any::<bool>(),
        torn in 0..4096_usize,
        zeroed in any::<bool>(),
        with_parent in any::<bool>(),
        variant in prop::sample::select(vec![Variant::MonolithicSparse, Variant::SplitSparse]),
    ) {
        let durable = MemoryFolder::new();
        let plain: Arc<dyn Folder> = Arc::new(durable.clone());
        let name = if with_parent { "child.vmdk" } else { "disk.vmdk" };
        Create::new(variant, CAPACITY).grain(16).split(256).zeroed_grains(zeroed).create(&plain, "disk.vmdk").unwrap().close().unwrap();
        if with_parent {
            vmdk::create_child(&plain, "disk.vmdk", "child.vmdk").unwrap().close().unwrap();
        }
        let failing = Failing::new(durable.clone(), crash_after);
        let folder: Arc<dyn Folder> = Arc::new(failing.clone());
        let disk = OpenOptions::new().writable(true).open(&folder, name).unwrap();
        let (mut flushed, mut begun) = (0, 0);
        for (number, step) in steps.iter().enumerate() {
            begun = number + 1;
            let result = match step {
                Step::Write { at, length, byte } => disk.write_all_at(&vec![*byte; *length], *at),
                Step::Zero { at, length } => disk.write_zeroes(*at, *length),
                Step::Flush => disk.flush(),
            };
            match (result, step) {
                (Ok(()), Step::Flush) => flushed = number,
                (Ok(()), _) => {}
                (Err(error), _) => {
                    prop_assert!(failing.is_off(), "{error}");
                    break;
                }
            }
        }
        // Nothing more gets through, not even what dropping the disk would flush.
        failing.writes_left.store(0, Ordering::SeqCst);
        drop(disk);
        let loose = std::mem::take(&mut failing.state.lock().unwrap().loose);
        for (number, (file, offset, bytes)) in loose.iter().enumerate() {
            if killed_only || kept[number % kept.len()] {
                // The last one may be torn, between sectors.
                let cut = number + 1 == loose.len() && !killed_only;
                let length = if cut { bytes.len().min(torn / 512 * 512) } else { bytes.len() };
                durable.open_writable(file).unwrap().write_all_at(&bytes[..length], *offset).unwrap();
            }
        }

        let disk = Disk::open(&plain, name).unwrap();
        let mut content = vec![0; CAPACITY as usize];
        disk.read_exact_at(&mut content, 0).unwrap();
        for (at, possible) in model(&steps, flushed, begun).iter().enumerate() {
            prop_assert!(possible.contains(&content[at]), "byte {at} is {}, and may be {possible:?}", content[at]);
        }
        drop(disk);
        let report = vmdk::check(&plain, name, &OpenOptions::new(), true).unwrap();
        prop_assert!(report.findings.iter().all(|finding| finding.problem.is_repairable() || !finding.problem.loses_data()), "{report:?}");
        vmdk::repair(&plain, name).unwrap();
        let again = vmdk::check(&plain, name, &OpenOptions::new(), true).unwrap();
        prop_assert!(again.findings.iter().all(|finding| matches!(finding.problem, vmdk::Problem::Leaked { .. })), "{again:?}");
        let disk = OpenOptions::new().writable(true).open(&plain, name).unwrap();
        disk.write_all_at(b"goes on", 0).unwrap();
        disk.close().unwrap();
    }
}
