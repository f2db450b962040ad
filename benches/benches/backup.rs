//! Whole backups through the simulator and the fake VDDK, beside the work that is in them.
//!
//! ```text
//! cargo bench --workspace --bench backup -- [--json] [--size MIB]
//! ```
//!
//! needs twice the disk's size (4 GiB unless told) in `/dev/shm`, else in the folder for temporary files. A quarter of the disk is empty,
//! the rest are words, noise and copies, by a seed. The simulator is in this process. Each backup is a process of its own, so that the
//! memory it takes is its own too, and so is each stage alone: reading the snapshot through the transport; keyed BLAKE3 of what was read;
//! zstd of what was new and can be compressed; writing and flushing what is stored. Digests and compression have all processors. A
//! ratio of 0.7 says that the whole took 1.43 times as long as its slowest part.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};
use vadp::{Backup, ByteRange, Journal, ProtectedVm, Vddk, VddkCredentials, VmSelector};
use vadp_repository::{InitOptions, Repository, Secret};
use vim_api::Client;
use vim_api::mo::Managed;
use vixdisklib::{Library, LibraryOptions};
use vsphere_sim::{DiskSpec, Sim, SimVm, VmSpec};

type Failure = Box<dyn Error + Send + Sync>;

const CHUNK: usize = 1 << 20;
const MIB: u64 = 1 << 20;
const KEY: [u8; 32] = [7; 32];
const VM: &str = "web-01";
const CHILD: &str = "--child";
/// Changed parts of the incremental backup in the middle of the row: together one hundredth of the disk.
const RUNS: [u64; 7] = [64 << 10, 128 << 10, 256 << 10, 512 << 10, MIB, 2 * MIB, 4 * MIB];
/// Each stage and the full backup are tried so often, and the fastest counts.
const ROUNDS: u32 = 2;

fn main() -> ExitCode {
    vixdisklib::worker::serve_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().position(|argument| argument == CHILD) {
        Some(at) => child(&arguments[at + 1..]),
        None => parent(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backup: {error}");
            ExitCode::FAILURE
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Where the disk and the repository are: in memory, if they fit there with as much to spare.
fn place(size: u64) -> Result<PathBuf, Failure> {
    let shared = PathBuf::from("/dev/shm");
    let memory = fs::read_to_string("/proc/meminfo")?;
    let available =
        memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).ok_or("no MemAvailable")?;
    let kibibytes: u64 = available.trim().trim_end_matches("kB").trim().parse()?;
    let fits = shared.is_dir() && kibibytes << 10 >= 4 * size;
    Ok(if fits { shared } else { std::env::temp_dir() })
}

fn parent(arguments: &[String]) -> Result<(), Failure> {
    let mut size = 4096 * MIB;
    let (mut is_json, mut rest) = (false, arguments.iter());
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--json" => is_json = true,
            "--bench" => {}
            "--size" => size = rest.next().ok_or("--size wants MiB")?.parse::<u64>()? * MIB,
            other => return Err(format!("{other} is not understood").into()),
        }
    }
    let folder = tempfile::Builder::new().prefix("backup-bench").tempdir_in(place(size)?)?;
    let kit = folder.path().join("kit");
    fake_vddk::install(&kit)?;
    let mut figures = Map::new();
    let runtime = runtime()?;
    runtime.block_on(moved(folder.path(), size, &mut figures))?;
    runtime.block_on(unchanged(folder.path(), &mut figures))?;
    for (name, value) in &figures {
        println!("{name:<28} {value:>12.3}");
    }
    if is_json {
        let figures: Map<String, Value> =
            figures.into_iter().map(|(name, value)| (name, json!(value))).collect();
        println!("{}", Value::Object(figures));
    }
    Ok(())
}

/// A simulated server, and what a child needs to get there.
struct Stage {
    sim: Sim,
    folder: PathBuf,
    kit: PathBuf,
}

impl Stage {
    async fn new(folder: &Path, name: &str, disks: &[u64]) -> Result<Self, Failure> {
        let (kit, folder) = (folder.join("kit"), folder.join(name));
        fs::create_dir(&folder)?;
        let vm = disks.iter().fold(VmSpec::new(VM).cbt(), |vm, size| vm.disk(DiskSpec::empty(*size)));
        let sim = Sim::builder().vm(vm).data_dir(folder.join("vsphere")).start().await?;
        sim.install_vddk_entry(&kit)?;
        Ok(Self { sim, folder, kit })
    }

    fn vm(&self) -> Result<SimVm, Failure> {
        Ok(self.sim.vm(VM)?)
    }

    /// Runs this program with some work to do, and gives what it says of it.
    async fn child(&self, work: &[&str]) -> Result<Said, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(CHILD)
            .args(work)
            .env("CHILD_KIT", &self.kit)
            .env("CHILD_URL", self.sim.url())
            .env("CHILD_PIN", self.sim.thumbprint_sha256())
            .env("CHILD_USER", self.sim.user())
            .env("CHILD_PASSWORD", self.sim.password().expose_secret())
            .env("CHILD_FOLDER", &self.folder);
        let ran = tokio::task::spawn_blocking(move || command.output()).await??;
        if !ran.status.success() {
            return Err(format!("{work:?}: {}", String::from_utf8_lossy(&ran.stderr)).into());
        }
        let said: Value = serde_json::from_slice(&ran.stdout)?;
        let number = |name: &str| said[name].as_f64().unwrap_or(0.0);
        Ok(Said {
            seconds: number("seconds"),
            read: number("read"),
            new: number("new"),
            stored: number("stored"),
            peak_mb: number("peak_mb"),
        })
    }

    async fn fastest(&self, work: &[&str]) -> Result<Said, Failure> {
        let mut best = self.child(work).await?;
        for _ in 1..ROUNDS {
            let next = self.child(work).await?;
            if next.seconds < best.seconds {
                best = next;
            }
        }
        Ok(best)
    }
}

/// What a child says of its work. Bytes, seconds, and MB of memory at most.
#[derive(Clone, Copy)]
struct Said {
    seconds: f64,
    read: f64,
    new: f64,
    stored: f64,
    peak_mb: f64,
}

/// Backups of a disk of mixed data: all of it, a hundredth, a little here and there.
async fn moved(folder: &Path, size: u64, figures: &mut Map<String, Value>) -> Result<(), Failure> {
    let stage = Stage::new(folder, "mixed", &[size]).await?;
    let (vm, key) = (stage.vm()?, stage.vm()?.disks()?[0].key);
    let chunks = size / MIB;
    vm.with_live_disk(key, |disk| -> Result<(), Failure> {
        let mut data = Mixed::new(7);
        for chunk in 0..chunks {
            if let Some(bytes) = data.chunk(chunk) {
                disk.write_at(chunk * MIB, &bytes)?;
            }
        }
        Ok(disk.flush()?)
    })??;

    let mut full = stage.child(&["full", "0"]).await?;
    for round in 1..ROUNDS {
        let next = stage.child(&["full", &round.to_string()]).await?;
        full.peak_mb = full.peak_mb.max(next.peak_mb);
        full.seconds = full.seconds.min(next.seconds);
    }
    let (read, new, stored) = (full.read.to_string(), full.new.to_string(), full.stored.to_string());
    let stages = [
        ("read", stage.fastest(&["read"]).await?.seconds),
        ("hash", stage.fastest(&["hash", &read]).await?.seconds),
        ("compress", stage.fastest(&["compress", &new]).await?.seconds),
        ("write", stage.fastest(&["write", &stored]).await?.seconds),
    ];
    let (slowest, longest) = stages.into_iter().fold(("", 0.0), |a, b| if b.1 > a.1 { b } else { a });
    for (name, seconds) in stages {
        println!("{name:<10} {seconds:>8.2} s alone");
    }
    println!(
        "{:<10} {:>8.2} s, {:.0} MB read; the slowest stage is {slowest}",
        "full",
        full.seconds,
        full.read / 1e6
    );

    let mut chance = Chance(11);
    let mut left = size / 100;
    vm.with_live_disk(key, |disk| -> Result<(), Failure> {
        for number in 0.. {
            let length = RUNS[number % RUNS.len()].min(left / 4096 * 4096);
            if length == 0 {
                break;
            }
            let at = chance.below((size - length) / 4096) * 4096;
            disk.write_at(at, &noise(&mut chance, length as usize))?;
            left -= length;
        }
        Ok(disk.flush()?)
    })??;
    let incremental = stage.child(&["incremental", "0"]).await?;

    let places = size / MIB / 8;
    vm.with_live_disk(key, |disk| -> Result<(), Failure> {
        for _ in 0..places {
            disk.write_at(chance.below(size / 4096) * 4096, &noise(&mut chance, 4096))?;
        }
        Ok(disk.flush()?)
    })??;
    let scattered = stage.child(&["incremental", "0"]).await?;
    for (name, said) in [("1 %", incremental), ("scattered", scattered)] {
        println!("{name:<10} {:>8.2} s, {:.1} MB read", said.seconds, said.read / 1e6);
    }
    let mut keep = |name: &str, value: f64| figures.insert(name.to_owned(), json!(value));
    keep("full_vs_slowest_stage", longest / full.seconds);
    keep("full_mb_s", full.read / 1e6 / full.seconds);
    keep("full_s", full.seconds);
    keep("incremental_vs_full", incremental.seconds / full.seconds);
    keep("incremental_s", incremental.seconds);
    keep("incremental_read_vs_changed", incremental.read / (size as f64 / 100.0));
    keep("scattered_4k_vs_full", scattered.seconds / full.seconds);
    keep("scattered_4k_read_mb", scattered.read / 1e6);
    keep("peak_rss_mb", full.peak_mb.max(incremental.peak_mb).max(scattered.peak_mb));
    Ok(())
}

/// A machine with 10 disks of 1 TiB, of which next to nothing is written, and nothing since the last backup.
async fn unchanged(folder: &Path, figures: &mut Map<String, Value>) -> Result<(), Failure> {
    let stage = Stage::new(folder, "large", &[1 << 40; 10]).await?;
    let vm = stage.vm()?;
    let mut chance = Chance(13);
    for disk in vm.disks()? {
        vm.with_live_disk(disk.key, |disk| -> Result<(), Failure> {
            for part in 0..16 {
                disk.write_at(part << 36, &noise(&mut chance, CHUNK))?;
            }
            Ok(disk.flush()?)
        })??;
    }
    stage.child(&["full", "0"]).await?;
    let said = stage.child(&["incremental", "0"]).await?;
    figures.insert("unchanged_10tib_s".to_owned(), json!(said.seconds));
    figures.insert("unchanged_10tib_rss_mb".to_owned(), json!(said.peak_mb));
    Ok(())
}

fn child(work: &[String]) -> Result<(), Failure> {
    let began = Instant::now();
    let nothing = json!({});
    let mut said = match work {
        [what, to] if what == "full" || what == "incremental" => {
            runtime()?.block_on(back_up(what == "full", to))?
        }
        [what] if what == "read" => runtime()?.block_on(read())?,
        [what, bytes] if what == "hash" => alone(bytes, |data| {
            std::hint::black_box(blake3::keyed_hash(&KEY, data));
            Ok(())
        })?,
        [what, bytes] if what == "compress" => alone(bytes, |data| {
            std::hint::black_box(zstd::bulk::compress(data, 3)?);
            Ok(())
        })?,
        [what, bytes] if what == "write" => write(bytes)?,
        _ => return Err(format!("{work:?} is not understood").into()),
    };
    if said == nothing {
        return Err("nothing was measured".into());
    }
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    let kibibytes: f64 = peak.trim().trim_end_matches("kB").trim().parse()?;
    said["peak_mb"] = json!(kibibytes * 1024.0 / 1e6);
    said["process_s"] = json!(began.elapsed().as_secs_f64());
    println!("{said}");
    Ok(())
}

fn variable(name: &str) -> Result<String, Failure> {
    Ok(std::env::var(name).map_err(|e| format!("{name}: {e}"))?)
}

async fn connect() -> Result<(ProtectedVm, Vddk, PathBuf), Failure> {
    let (user, password) = (variable("CHILD_USER")?, SecretString::from(variable("CHILD_PASSWORD")?));
    let pin = variable("CHILD_PIN")?.parse()?;
    let client = Client::connect(&variable("CHILD_URL")?).thumbprint(pin).await?;
    client.login(&user, &password).await?;
    let vm = ProtectedVm::resolve(&client, &VmSelector::Name(VM.into())).await?;
    let library = Library::open(LibraryOptions::new(variable("CHILD_KIT")?))?;
    let vddk = Vddk::new(library, VddkCredentials::password(user, password));
    Ok((vm, vddk, PathBuf::from(variable("CHILD_FOLDER")?)))
}

/// Into the repository with this number, which a full backup makes.
async fn back_up(full: bool, number: &str) -> Result<Value, Failure> {
    let (vm, vddk, folder) = connect().await?;
    let (path, secret) = (folder.join(format!("repository-{number}")), Secret::raw_key(KEY));
    let repository = match full {
        true => Repository::init_local(path, &secret, InitOptions::default()).await?,
        false => Repository::open_local(path, &secret).await?,
    };
    let journal = Journal::open(folder.join("journal"))?;
    let backup = match full {
        true => Backup::full(&vm, &repository, &vddk, &journal),
        false => Backup::incremental(&vm, &repository, &vddk, &journal),
    };
    let began = Instant::now();
    let done = backup.run(|_| ()).await?;
    let seconds = began.elapsed().as_secs_f64();
    if let Some(error) = done.cleanup_error {
        return Err(error.into());
    }
    let sum = |of: fn(&vadp::DiskOutcome) -> u64| done.disks.iter().map(of).sum::<u64>();
    Ok(json!({
        "seconds": seconds,
        "read": sum(|disk| disk.read),
        "new": sum(|disk| disk.summary.new_bytes),
        "stored": sum(|disk| disk.summary.stored_bytes),
    }))
}

/// Reads what is allocated of a snapshot, as a backup does, and lets go of it.
async fn read() -> Result<Value, Failure> {
    let (vm, vddk, _) = connect().await?;
    let name = "of the benchmark";
    let snapshot = vm.vm().create_snapshot_task(name, None, false, false).await?.wait().await?;
    let config = vm.vm().require(vim_api::mo::VirtualMachine::LAYOUT_EX).await?;
    let path = config.file.iter().find(|file| file.r#type.as_str() == "diskDescriptor");
    let path = path.ok_or("the machine has no disk")?.name.clone();
    let source = vddk.open_source(&vm, snapshot.value(), &path).await?;
    let whole = ByteRange::new(0, source.capacity()).ok_or("a disk without bytes")?;
    let began = Instant::now();
    let allocated = source.allocated(whole).await?;
    let chunks = allocated.chunks(MIB).filter_map(|chunk| ByteRange::with_length(chunk * MIB, MIB));
    let ranges: Vec<ByteRange> = chunks.filter_map(|chunk| chunk.intersection(whole)).collect();
    let source_ref = &source;
    let read = futures::stream::iter(ranges)
        .map(|range| async move { source_ref.read(range).await })
        .buffer_unordered(8)
        .try_fold(0, async |sum, data| Ok(sum + data.len()))
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    source.close().await?;
    vm.vm().remove_all_snapshots_task(Some(true), None).await?.wait().await?;
    Ok(json!({ "seconds": seconds, "read": read }))
}

/// So many bytes of mixed data, chunk by chunk, on all processors.
fn alone(bytes: &str, work: impl Fn(&[u8]) -> Result<(), Failure> + Sync) -> Result<Value, Failure> {
    let chunks = (bytes.parse::<f64>()? / CHUNK as f64).ceil() as u64;
    let mut data = Mixed::new(7);
    // Enough that no cache holds it.
    let samples: Vec<Vec<u8>> = (0..200).filter_map(|chunk| data.chunk(chunk)).collect();
    let next = AtomicU64::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| -> Result<(), Failure> {
        let threads: Vec<_> = (0..std::thread::available_parallelism()?.get())
            .map(|_| {
                scope.spawn(|| -> Result<(), Failure> {
                    loop {
                        let chunk = next.fetch_add(1, Ordering::Relaxed);
                        if chunk >= chunks {
                            return Ok(());
                        }
                        work(&samples[chunk as usize % samples.len()])?;
                    }
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread has ended")?)
    })?;
    Ok(json!({ "seconds": began.elapsed().as_secs_f64() }))
}

/// So many bytes into files of a pack's size, each flushed.
fn write(bytes: &str) -> Result<Value, Failure> {
    let folder = tempfile::tempdir_in(variable("CHILD_FOLDER")?)?;
    let pack = noise(&mut Chance(3), 64 << 20);
    let mut left = bytes.parse::<f64>()? as usize;
    let began = Instant::now();
    for number in 0.. {
        if left == 0 {
            break;
        }
        let length = left.min(pack.len());
        let mut file = File::create(folder.path().join(number.to_string()))?;
        file.write_all(&pack[..length])?;
        file.sync_all()?;
        left -= length;
    }
    Ok(json!({ "seconds": began.elapsed().as_secs_f64() }))
}

/// A disk's content: of 20 chunks 5 are zero, 8 words, 4 noise, and 3 are what was there before.
struct Mixed {
    chance: Chance,
    words: Arc<Vec<Vec<u8>>>,
    made: Vec<u64>,
}

impl Mixed {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let word = |chance: &mut Chance| -> Vec<u8> {
            let length = 2 + chance.below(9);
            (0..length).map(|_| b'a' + chance.below(26) as u8).chain([b' ']).collect()
        };
        let words = (0..4096).map(|_| word(&mut chance)).collect();
        Self { chance, words: Arc::new(words), made: Vec::new() }
    }

    fn chunk(&mut self, number: u64) -> Option<Vec<u8>> {
        let seed = match self.chance.below(20) {
            0..5 => return None,
            5..8 if !self.made.is_empty() => self.made[self.chance.below(self.made.len() as u64) as usize],
            8..12 => number * 2 + 1,
            _ => number * 2 + 2,
        };
        self.made.push(seed);
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        if seed % 2 == 1 {
            return Some(noise(&mut chance, CHUNK));
        }
        let mut text = Vec::with_capacity(CHUNK + 16);
        while text.len() < CHUNK {
            // Frequent words are the first ones.
            let rank = chance.below(64) * chance.below(64);
            text.extend_from_slice(&self.words[rank as usize]);
        }
        text.truncate(CHUNK);
        Some(text)
    }
}

fn noise(chance: &mut Chance, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&chance.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// xorshift64*: enough that zstd finds nothing.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}
