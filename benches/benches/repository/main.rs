//! The repository: ingest and restore beside the work that is in them, an index of ten million chunks, and restic on the same image.
//!
//! ```text
//! cargo bench --workspace --bench repository -- [--json] [--peers]
//! ```
//!
//! needs some six gigabytes in `/dev/shm`, else in the folder for temporary files. The image (`image.rs`) is made by a seed and has a
//! quarter of zeros. `stages.rs` does what an ingest and a restore consist of, each stage alone, on all processors and on the bytes that come
//! to it in an ingest or a restore; a ratio of 0.7 says that the whole took 1.43 times as long as its slowest part. restic and ours are
//! measured as whole processes, from start to end, with a password. restic, and nbdkit with nbdcopy, are left
//! out where they are not installed, unless `--peers` is given.
#![forbid(unsafe_code)]

mod image;
mod index;
mod nbd;
mod restic;
mod stages;
mod work;

use std::error::Error;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use serde_json::{Map, Value, json};
use vadp_benches::Options;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Turns of which the fastest counts.
const ROUNDS: u32 = 3;
/// Tells a process of this program what to measure.
const MEASURE: &str = "--measure";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().position(|argument| argument == MEASURE) {
        Some(at) => measure(&arguments[at + 1..]),
        None => run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("repository: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), Failure> {
    let options = Options::parse(arguments)?;
    let folder = tempfile::Builder::new().prefix("repository-bench").tempdir_in(place()?)?;
    let mut figures = Map::new();
    index::figures(&folder.path().join("index"), &mut figures)?;
    let image = image::Image::make(&folder.path().join("image"))?;
    println!("{image}");
    stages::figures(folder.path(), &image, &mut figures)?;
    nbd::figures(folder.path(), &image, options.peers, &mut figures)?;
    restic::figures(folder.path(), &image, options.peers, &mut figures)?;
    if options.json {
        println!("{}", Value::Object(figures));
    }
    Ok(())
}

/// What a process of its own does.
fn measure(arguments: &[String]) -> Result<(), Failure> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["backup", repository, image] => work::backup(repository, image),
        ["restore", repository, image] => work::restore(repository, image),
        ["serve", repository, socket] => nbd::serve(repository, socket),
        ["index", repository, cache] => index::measure(repository, Some(cache)),
        ["index", repository] => index::measure(repository, None),
        _ => Err(format!("{arguments:?} is not understood").into()),
    }
}

/// This program, to do one thing.
fn ourselves(what: &[&str]) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(MEASURE).args(what);
    Ok(command)
}

/// Runs a command to its end; gives its seconds and what it printed.
fn timed(command: &mut Command) -> Result<(f64, String), Failure> {
    let began = Instant::now();
    let ran = command.output().map_err(|error| format!("{command:?} cannot be run: {error}"))?;
    let seconds = began.elapsed().as_secs_f64();
    match ran.status.success() {
        true => Ok((seconds, String::from_utf8(ran.stdout)?)),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&ran.stderr)).into()),
    }
}

fn keep(figures: &mut Map<String, Value>, name: &str, value: f64) {
    figures.insert(name.to_owned(), json!(value));
}

/// Where the files are: in memory if there is room, so that no storage is waited for.
fn place() -> Result<PathBuf, Failure> {
    if let Some(place) = std::env::var_os("REPOSITORY_BENCH_FOLDER") {
        return Ok(place.into());
    }
    let shared = PathBuf::from("/dev/shm");
    let memory = std::fs::read_to_string("/proc/meminfo")?;
    let available =
        memory.lines().find_map(|line| line.strip_prefix("MemAvailable:")).ok_or("no MemAvailable")?;
    let kibibytes: u64 = available.trim().trim_end_matches("kB").trim().parse()?;
    let fits = shared.is_dir() && kibibytes << 10 >= 8 * image::BYTES;
    Ok(if fits { shared } else { std::env::temp_dir() })
}
