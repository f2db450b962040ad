//! `vsphere-sim`: a vSphere to try a backup program on.
#![forbid(unsafe_code)]

mod arguments;
mod logs;
mod principals;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sim_store::guest::writer::Workload;
use tokio::signal::unix::{SignalKind, signal};

use arguments::Arguments;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("vsphere-sim: {error}");
            let mut at = error.source();
            while let Some(cause) = at {
                eprint!(": {cause}");
                at = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    logs::start(arguments.log_format, arguments.log_level.clone())?;
    let guest_writers = arguments.guest_writers;
    let (builder, rules) = arguments.builder()?;
    // Listened for before anything is printed: who reads the lines may stop the program at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let sim = builder.start().await?;
    for rule in rules {
        sim.add_fault(rule)?;
    }
    if let Some(interval) = guest_writers.map(Duration::from_millis) {
        for vm in sim.vms().iter().filter(|vm| vm.is_powered_on()) {
            vm.guest_writer(Workload::default(), Some(interval))?;
        }
    }
    let control = sim.control_url().unwrap_or_default();
    tracing::info!(url = sim.url(), control, data = %sim.data_dir().display(), "listening");
    // In one piece: who has read the lines of interest may close the pipe.
    let said = format!(
        "url {}\ncontrol {control}\nsha1 {}\nsha256 {}\npage {control}/\n",
        sim.url(),
        sim.thumbprint_sha1(),
        sim.thumbprint_sha256()
    );
    let mut out = std::io::stdout().lock();
    out.write_all(said.as_bytes())?;
    out.flush()?;
    drop(out);
    tokio::select! {
        _ = terminate.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    tracing::info!("told to stop");
    Ok(())
}
