//! The repository: ingest and restore beside the work that is in them, an index of ten million chunks, and restic on the same image.
//!
//! ```text
//! cargo bench --workspace --bench repository -- [--json] [--peers]
//! ```
//!
//! needs some six gigabytes in `/dev/shm`, else in the folder for temporary files. The image (`src/image.rs`) is made by a seed and has a
//! quarter of zeros; what is measured beside ingest and restore is in `src/stages.rs`. restic and ours are
//! measured as whole processes, from start to end, with a password. restic, and nbdkit with nbdcopy, are left
//! out where they are not installed, unless `--peers` is given.
#![forbid(unsafe_code)]

mod index;
mod nbd;
mod restic;
mod stages;
mod work;

use std::process::ExitCode;

use serde_json::{Map, Value};
use vadp_benches::image::Image;
use vadp_benches::{Failure, MEASURE, Options, roomy_folder};

/// Turns of which the fastest counts.
const ROUNDS: u32 = 3;
/// Chunks of the image: 1 GiB.
const CHUNKS: u64 = 1024;

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
    let folder = tempfile::Builder::new().prefix("repository-bench").tempdir_in(roomy_folder(8 << 30)?)?;
    let mut figures = Map::new();
    index::figures(&folder.path().join("index"), &mut figures)?;
    let image = Image::make(&folder.path().join("image"), CHUNKS)?;
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
