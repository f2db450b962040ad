//! Backups through the whole workflow, on the simulator and the fake VDDK: a full one beside the stages that it consists of, incremental
//! ones beside it, and machines of which nothing has changed.
//!
//! ```text
//! cargo bench --workspace --bench backup -- [--json] [--whole]
//! ```
//!
//! needs four gigabytes in `/dev/shm`, else in the folder for temporary files. The disk (`src/image.rs`) has 1 GiB; with `--whole` it has the 4 GiB
//! for which the figures are asked for, which takes four times as much: what is compared grows alike, so the ratios are the
//! same but for what does not depend on the size. A stage is measured as in `src/stages.rs`; reading is reading the disk of a snapshot
//! through the fake library, in its worker, and with nothing done to what comes. `copies.rs` has the disk with data, `unchanged.rs` the ten
//! terabytes. The server's tasks take no time of their own, since the simulator's would be made up.
#![forbid(unsafe_code)]

mod copies;
mod stage;
mod unchanged;

use std::process::ExitCode;

use serde_json::{Map, Value};
use vadp_benches::{Failure, MEASURE, Options, roomy_folder};

fn main() -> ExitCode {
    vixdisklib::worker::serve_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().position(|argument| argument == MEASURE) {
        Some(at) => runtime().and_then(|runtime| runtime.block_on(unchanged::measure(&arguments[at + 1..]))),
        None => run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("backup: {error}");
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
    let folder = tempfile::Builder::new().prefix("backup-bench").tempdir_in(roomy_folder(chunks << 22)?)?;
    let mut figures = Map::new();
    let runtime = runtime()?;
    runtime.block_on(async {
        copies::figures(&folder.path().join("copies"), chunks, &mut figures).await?;
        unchanged::figures(&folder.path().join("unchanged"), &mut figures).await
    })?;
    if options.json {
        println!("{}", Value::Object(figures));
    }
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
