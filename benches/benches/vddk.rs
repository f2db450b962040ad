//! `vixdisklib` beside a plain C program, on the same library and the same disk.
//!
//! ```text
//! cargo bench -p vadp-benches --bench vddk -- [--json]
//! ```
//!
//! needs a C compiler (`CC` names another than `cc`) and memory for two disks of 4 GiB; without it, room in the folder for temporary
//! files. The library is the fake one, whose reading is copying: the bytes of the disk are in memory. `c/loop.c` calls it without
//! anything in between, so its rate is what the library can do, and the wrapper is measured against that. Both take turns, and the
//! fastest turn of each counts. Nothing waits for storage: the disk and the copies are in `/dev/shm`, if that has room.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};
use vadp_benches::Options;
use vadp_benches::pipeline::read_in_order;
use vixdisklib::{
    ConnectOptions, ConnectParams, Connection, CreateSpec, Disk, DiskType, Library, LibraryOptions,
    OpenOptions, SECTOR_BYTES, Sectors,
};

type Failure = Box<dyn Error>;

const SIZE: u64 = 4 << 30;
const PIECE: usize = 1 << 20;
const ROUNDS: u32 = 3;
const CALLS: u32 = 50_000;
/// Pieces under way at once. One would leave the worker idle while its answer is on the way.
const DEPTH: usize = 4;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vddk: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let options = Options::parse(std::env::args().skip(1))?;
    let folder = tempfile::Builder::new().prefix("vddk-bench").tempdir_in(place()?)?;
    let stage = Stage::new(folder.path())?;
    let mut figures = Map::new();
    let mut keep = |name: &str, value: f64| figures.insert(name.to_owned(), json!(value));

    let (ours, plain) = best(|| stage.read(), || stage.plain(&["read"]))?;
    show("read to memory", ours, plain, SIZE);
    keep("read_vs_memcpy_in_process", plain / ours);
    keep("read_mb_s", SIZE as f64 / 1e6 / ours);

    let copy = folder.path().join("copy");
    let name = copy.to_str().ok_or("the temporary folder's name is not UTF-8")?;
    let (ours, plain) = best(|| stage.copy(&copy), || stage.plain(&["copy", name]))?;
    show("copy to a file", ours, plain, SIZE);
    keep("copy_vs_c_loop", plain / ours);
    keep("copy_mb_s", SIZE as f64 / 1e6 / ours);

    let (ours, plain) = best(|| stage.call(), || stage.plain(&["calls", &CALLS.to_string()]))?;
    let nanoseconds = |seconds: f64| seconds / f64::from(CALLS) * 1e9;
    println!("{:<16} {:>9.0} ns  plain C {:>9.0} ns", "one call", nanoseconds(ours), nanoseconds(plain));
    keep("call_ns", nanoseconds(ours));
    keep("plain_call_ns", nanoseconds(plain));

    if options.json {
        println!("{}", Value::Object(figures));
    }
    Ok(())
}

fn show(what: &str, ours: f64, plain: f64, bytes: u64) {
    let rate = |seconds: f64| bytes as f64 / 1e6 / seconds;
    println!("{what:<16} {:>9.0} MB/s  plain C {:>9.0} MB/s  {:>6.2}", rate(ours), rate(plain), plain / ours);
}

/// The fewest seconds of each, in turns.
fn best(
    mut ours: impl FnMut() -> Result<f64, Failure>,
    mut plain: impl FnMut() -> Result<f64, Failure>,
) -> Result<(f64, f64), Failure> {
    let mut best = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        best = (best.0.min(ours()?), best.1.min(plain()?));
    }
    Ok(best)
}

/// Where the disk is: in memory if two of it fit there with as much to spare, else where temporary files are.
fn place() -> Result<PathBuf, Failure> {
    let shared = PathBuf::from("/dev/shm");
    let memory = fs::read_to_string("/proc/meminfo")?;
    let available =
        memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).ok_or("no MemAvailable")?;
    let kibibytes: u64 = available.trim().trim_end_matches("kB").trim().parse()?;
    let fits = shared.is_dir() && kibibytes << 10 >= 3 * SIZE;
    Ok(if fits { shared } else { std::env::temp_dir() })
}

/// The fake library, running, with a disk of [`SIZE`] without holes.
struct Stage {
    kit: PathBuf,
    disk: String,
    program: PathBuf,
    connection: Connection,
}

impl Stage {
    fn new(folder: &Path) -> Result<Stage, Failure> {
        let kit = folder.join("kit");
        fake_vddk::install(&kit)?;
        let library: Arc<Library> =
            Library::open(LibraryOptions::new(&kit).temp_directory(folder.join("tmp")))?;
        let connection = library.connect(&ConnectParams::local(), ConnectOptions::new())?;
        let disk =
            folder.join("disk.vmdk").to_str().ok_or("the temporary folder's name is not UTF-8")?.to_owned();
        let spec = CreateSpec::new(DiskType::MonolithicFlat, Sectors(SIZE / SECTOR_BYTES));
        connection.create(&disk, &spec, |_| {})?;
        let opened = connection.open(&disk, OpenOptions::read_write())?;
        for number in 0..SIZE / PIECE as u64 {
            // Nothing compresses here, so any content that is not zeros and not twice the same will do.
            let piece = vec![(number % 251) as u8 + 1; PIECE];
            opened.write(Sectors(number * PIECE as u64 / SECTOR_BYTES), &piece)?;
        }
        opened.close()?;
        Ok(Stage { kit, disk, program: build(folder)?, connection })
    }

    fn open(&self) -> Result<Disk, Failure> {
        // The same requests as those of the plain program, which reads synchronously too.
        let options = OpenOptions::read_only().max_request(PIECE).queue_depth(DEPTH);
        Ok(self.connection.open(&self.disk, options)?)
    }

    fn read(&self) -> Result<f64, Failure> {
        let disk = self.open()?;
        let mut check = 0_u64;
        let seconds = timed(|| {
            read_in_order(&disk, PIECE, DEPTH, |_, piece| {
                check += u64::from(piece[0]);
                Ok(())
            })
        })?;
        let expected: u64 = (0..SIZE / PIECE as u64).map(|number| number % 251 + 1).sum();
        if check != expected {
            return Err("what was read is not what was written".into());
        }
        disk.close()?;
        Ok(seconds)
    }

    fn copy(&self, to: &Path) -> Result<f64, Failure> {
        let disk = self.open()?;
        let seconds = timed(|| {
            let file = File::create(to)?;
            read_in_order(&disk, PIECE, DEPTH, |offset, piece| Ok(file.write_all_at(piece, offset)?))
        })?;
        disk.close()?;
        Ok(seconds)
    }

    fn call(&self) -> Result<f64, Failure> {
        let disk = self.open()?;
        let mut sector = [0; SECTOR_BYTES as usize];
        let seconds = timed(|| {
            for _ in 0..CALLS {
                disk.read(Sectors::ZERO, &mut sector)?;
            }
            Ok(())
        })?;
        disk.close()?;
        Ok(seconds)
    }

    /// The seconds that the plain program says it took.
    fn plain(&self, arguments: &[&str]) -> Result<f64, Failure> {
        let ran = Command::new(&self.program).arg(&self.kit).arg(&self.disk).args(arguments).output()?;
        if !ran.status.success() {
            return Err(format!("the plain program: {}", String::from_utf8_lossy(&ran.stderr)).into());
        }
        Ok(String::from_utf8(ran.stdout)?.trim().parse()?)
    }
}

fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<f64, Failure> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_secs_f64())
}

fn build(folder: &Path) -> Result<PathBuf, Failure> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.join("loop");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let built = Command::new(&compiler)
        .args(["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-I"])
        .arg(here.join("../vixdisklib/bindings"))
        .arg(here.join("c/loop.c"))
        .arg("-o")
        .arg(&program)
        .arg("-ldl")
        .output()
        .map_err(|error| format!("{} cannot be run: {error}", compiler.display()))?;
    match built.status.success() {
        true => Ok(program),
        false => Err(String::from_utf8_lossy(&built.stderr).into()),
    }
}
