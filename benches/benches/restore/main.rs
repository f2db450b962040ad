//! Restores on the simulator and the fake VDDK: of what has changed, beside a whole one.
//!
//! ```text
//! cargo bench --workspace --bench restore -- [--json] [--whole]
//! ```
//!
//! needs four gigabytes in `/dev/shm`, else in the folder for temporary files. The disk (`src/image.rs`) has 1 GiB; with `--whole` it has 4.
#![forbid(unsafe_code)]

mod in_place;

use std::process::ExitCode;

use serde_json::{Map, Value};
use vadp_benches::{Failure, Options, roomy_folder};

fn main() -> ExitCode {
    vixdisklib::worker::serve_if_asked();
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("restore: {error}");
            let mut cause = error.source();
            while let Some(source) = cause {
                eprintln!("  {source}");
                cause = source.source();
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Vec<String>) -> Result<(), Failure> {
    let options = Options::parse(arguments)?;
    let chunks = if options.whole { 4096 } else { 1024 };
    let folder = tempfile::Builder::new().prefix("restore-bench").tempdir_in(roomy_folder(chunks << 22)?)?;
    let mut figures = Map::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(in_place::figures(folder.path(), chunks, &mut figures))?;
    if options.json {
        println!("{}", Value::Object(figures));
    }
    Ok(())
}
