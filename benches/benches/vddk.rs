//! `vixdisklib` beside a plain C program, on the same library and the same disk.
//!
//! ```text
//! cargo bench -p vadp-benches --bench vddk -- [--json]
//! ```
//!
//! needs a C compiler (`CC` names another than `cc`) and memory for two disks of 4 GiB; without it, room in the folder for temporary
//! files. The library is the fake one, whose reading is copying: the bytes of the disk are in memory. `c/loop.c` calls it without
//! anything in between, so its rate is what the library can do, and the wrapper is measured against that. Both are programs, this one
//! with `--measure`, and with `--measure-isolated` over a worker process; they take turns, and the fastest turn of each counts. Nothing waits for storage: the disk and the copies are in
//! `/dev/shm`, if that has room.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use serde_json::{Map, Value, json};
use vadp_benches::{Options, roomy_folder};
use vixdisklib::{
    ConnectOptions, ConnectParams, Connection, CreateSpec, DiskType, Library, LibraryOptions, OpenOptions,
    SECTOR_BYTES, SectorRange, Sectors,
};

#[path = "../../examples/disks/pipeline.rs"]
mod pipeline;

type Failure = Box<dyn Error>;

const SIZE: u64 = 4 << 30;
const PIECE: usize = 1 << 20;
const ROUNDS: u32 = 3;
const CALLS: u32 = 50_000;
const MEASURE: &str = "--measure";
const MEASURE_ISOLATED: &str = "--measure-isolated";
/// Pieces under way at once. One would leave the worker idle while its answer is on the way.
const DEPTH: usize = 4;

fn main() -> ExitCode {
    vixdisklib::worker::serve_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let isolated = |argument: &String| match argument.as_str() {
        MEASURE => Some(false),
        MEASURE_ISOLATED => Some(true),
        _ => None,
    };
    let place = |(at, argument)| isolated(argument).map(|isolated| (at, isolated));
    let done = match arguments.iter().enumerate().find_map(place) {
        Some((at, isolated)) => measure(&arguments[at + 1..], isolated),
        None => run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vddk: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), Failure> {
    let options = Options::parse(arguments)?;
    let folder = tempfile::Builder::new().prefix("vddk-bench").tempdir_in(roomy_folder(3 * SIZE)?)?;
    let stage = Stage::new(folder.path())?;
    let mut figures = Map::new();
    let mut keep = |name: &str, value: f64| figures.insert(name.to_owned(), json!(value));

    let (ours, plain) = stage.compare(MEASURE_ISOLATED, &["read"])?;
    show("isolated", ours, plain);
    keep("read_vs_memcpy_isolated", plain / ours);

    let (ours, plain) = stage.compare(MEASURE, &["read"])?;
    show("read to memory", ours, plain);
    keep("read_vs_memcpy_in_process", plain / ours);
    keep("read_mb_s", SIZE as f64 / 1e6 / ours);

    let copy = text(folder.path().join("copy"))?;
    let (ours, plain) = stage.compare(MEASURE, &["copy", &copy])?;
    show("copy to a file", ours, plain);
    keep("copy_vs_c_loop", plain / ours);
    keep("copy_mb_s", SIZE as f64 / 1e6 / ours);

    let (ours, _) = stage.compare(MEASURE_ISOLATED, &["calls", &CALLS.to_string()])?;
    keep("isolated_call_ns", ours / f64::from(CALLS) * 1e9);
    let (ours, plain) = stage.compare(MEASURE, &["calls", &CALLS.to_string()])?;
    let nanoseconds = |seconds: f64| seconds / f64::from(CALLS) * 1e9;
    println!("{:<14} {:>9.0} ns    plain C {:>9.0} ns", "one call", nanoseconds(ours), nanoseconds(plain));
    keep("call_ns", nanoseconds(ours));
    keep("plain_call_ns", nanoseconds(plain));

    if options.json {
        println!("{}", Value::Object(figures));
    }
    Ok(())
}

fn show(what: &str, ours: f64, plain: f64) {
    let rate = |seconds: f64| SIZE as f64 / 1e6 / seconds;
    println!("{what:<14} {:>9.0} MB/s  plain C {:>9.0} MB/s  {:>6.2}", rate(ours), rate(plain), plain / ours);
}

fn text(path: PathBuf) -> Result<String, Failure> {
    path.into_os_string().into_string().map_err(|_| "the temporary folder's name is not UTF-8".into())
}

/// A kit of the fake library, a disk of [`SIZE`] without holes, and the two programs that read it.
struct Stage {
    kit: String,
    disk: String,
    plain: PathBuf,
    ours: PathBuf,
}

impl Stage {
    fn new(folder: &Path) -> Result<Stage, Failure> {
        let (kit, disk) = (text(folder.join("kit"))?, text(folder.join("disk.vmdk"))?);
        fake_vddk::install(Path::new(&kit))?;
        let connection = connect(&kit, false)?;
        let spec = CreateSpec::new(DiskType::MonolithicFlat, Sectors(SIZE / SECTOR_BYTES));
        connection.create(&disk, &spec, |_| {})?;
        let opened = connection.open(&disk, OpenOptions::read_write())?;
        for number in 0..SIZE / PIECE as u64 {
            opened.write(Sectors(number * PIECE as u64 / SECTOR_BYTES), &vec![content(number); PIECE])?;
        }
        opened.close()?;
        Ok(Stage { kit, disk, plain: build(folder)?, ours: std::env::current_exe()? })
    }

    /// The fewest seconds of ours and of the plain program, in turns.
    fn compare(&self, how: &str, work: &[&str]) -> Result<(f64, f64), Failure> {
        let run = |program: &mut Command| -> Result<f64, Failure> {
            let ran = program.args([&self.kit, &self.disk]).args(work).output()?;
            if !ran.status.success() {
                return Err(format!("{work:?}: {}", String::from_utf8_lossy(&ran.stderr)).into());
            }
            Ok(String::from_utf8(ran.stdout)?.trim().parse()?)
        };
        let mut best = (f64::INFINITY, f64::INFINITY);
        for _ in 0..ROUNDS {
            best.0 = best.0.min(run(Command::new(&self.ours).arg(how))?);
            best.1 = best.1.min(run(&mut Command::new(&self.plain))?);
        }
        Ok(best)
    }
}

/// What a piece is full of: anything that is not zeros, and not the same twice.
fn content(piece: u64) -> u8 {
    (piece % 251) as u8 + 1
}

fn connect(kit: &str, isolated: bool) -> Result<Connection, Failure> {
    let options = LibraryOptions::new(kit).temp_directory(Path::new(kit).join("tmp"));
    let library = Library::open(if isolated { options } else { options.in_process() })?;
    Ok(library.connect(&ConnectParams::local(), ConnectOptions::new())?)
}

/// As `c/loop.c` does it, with the same requests: `KIT DISK read | copy FILE | calls COUNT`.
fn measure(arguments: &[String], isolated: bool) -> Result<(), Failure> {
    let [kit, disk, what, rest @ ..] = arguments else { return Err("KIT DISK WORK are wanted".into()) };
    let connection = connect(kit, isolated)?;
    let options = OpenOptions::read_only().max_request(PIECE).queue_depth(DEPTH);
    let disk = connection.open(disk, options)?;
    let whole = [SectorRange::between(Sectors::ZERO, disk.capacity()).ok_or("a disk without sectors")?];
    let began = Instant::now();
    match (what.as_str(), rest) {
        ("read", []) => pipeline::read(&disk, &whole, PIECE, DEPTH, |start, piece| {
            match piece[0] == content(start.0 * SECTOR_BYTES / PIECE as u64) {
                true => Ok::<_, Failure>(()),
                false => Err("what was read is not what was written".into()),
            }
        })?,
        ("copy", [to]) => {
            let file = File::create(to)?;
            pipeline::read(&disk, &whole, PIECE, DEPTH, |start, piece| {
                Ok::<_, Failure>(file.write_all_at(piece, start.0 * SECTOR_BYTES)?)
            })?;
        }
        ("calls", [count]) => {
            let mut sector = [0; SECTOR_BYTES as usize];
            for _ in 0..count.parse::<u32>()? {
                disk.read(Sectors::ZERO, &mut sector)?;
            }
        }
        _ => return Err(format!("{what} is not understood").into()),
    }
    println!("{:.9}", began.elapsed().as_secs_f64());
    disk.close()?;
    Ok(connection.close()?)
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
