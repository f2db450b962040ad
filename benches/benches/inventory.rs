//! What it takes to read what a backup product reads of 5,000 machines: 15 properties, `config.hardware.device` and `layoutEx`
//! among them, page by page from a server that is not ours.
//!
//! ```text
//! cargo bench -p vadp-benches --bench inventory -- [--json] [--peers]
//! ```
//!
//! starts vcsim by `peers/vcsim/run`, which needs Debian's `golang-go` and `golang-github-vmware-govmomi-dev`. The figures
//! are of this program's own process from its start to its end, and not of the server's. With `--peers`, govmomi's client
//! and pyvmomi (of the Python in `PEER_PYTHON`) do the same on the same server afterwards.
#![forbid(unsafe_code)]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use secrecy::SecretString;
use serde_json::{Map, Value, json};
use vadp_benches::{BACKUP_SET, Usage};
use vim_api::{Client, mo};

const MACHINES: usize = 5000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let done = match arguments.iter().position(|argument| argument == "--measure") {
        Some(at) => measure(&arguments[at + 1..]),
        None => run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("inventory: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Starts the server, which calls this program again to measure on it.
fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let (mut with_json, mut peers) = (false, false);
    for argument in arguments {
        match argument.as_str() {
            "--json" => with_json = true,
            "--peers" => peers = true,
            other => return Err(format!("{other} is not understood; there are --json and --peers").into()),
        }
    }
    let mut figures = Map::new();
    let measured = on_vcsim(&[std::env::current_exe()?.as_os_str(), "--measure".as_ref()])?;
    figures.extend(measured);
    if peers {
        for (name, figure) in on_vcsim(&[repository().join("peers/inventory/run").as_os_str()])? {
            figures.insert(name, figure);
        }
    }
    println!("{MACHINES} machines, {} properties of each", BACKUP_SET.len());
    println!("{:<12} {:>14} {:>10}", "", "processor s", "peak MB");
    for (name, prefix) in [("vim-api", ""), ("govmomi", "govmomi_"), ("pyvmomi", "pyvmomi_")] {
        let figure =
            |what: &str| figures.get(&format!("{prefix}retrieve_5000_{what}")).and_then(Value::as_f64);
        if let (Some(seconds), Some(megabytes)) = (figure("cpu_s"), figure("peak_mb")) {
            println!("{name:<12} {seconds:>14.2} {megabytes:>10.0}");
        }
    }
    if with_json {
        println!("{}", Value::Object(figures));
    }
    Ok(())
}

/// Runs `command` on a fresh vcsim, and gives the figures in the JSON object that it prints.
fn on_vcsim(command: &[&std::ffi::OsStr]) -> Result<Map<String, Value>, Box<dyn Error>> {
    let script = repository().join("peers/vcsim/run");
    let ran = Command::new(&script)
        .args(command)
        // Two pools.
        .env("VCSIM_OPTIONS", format!("-vms {}", MACHINES / 2))
        .env("INVENTORY_PATHS", BACKUP_SET.join(","))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", script.display()))?;
    let printed = String::from_utf8(ran.stdout)?;
    if !ran.status.success() {
        return Err(format!("{} ended with {}:\n{printed}", script.display(), ran.status).into());
    }
    let line = printed.lines().find(|line| line.starts_with('{')).ok_or("nothing was measured")?;
    match serde_json::from_str(line)? {
        Value::Object(figures) => Ok(figures),
        other => Err(format!("{other} are no figures").into()),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn measure(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [url, thumbprint, user] = arguments else { return Err("--measure URL THUMBPRINT USER".into()) };
    let password = SecretString::from(std::env::var("PEER_PASSWORD")?);
    let client = Client::connect(url).thumbprint(thumbprint.parse()?).await?;
    client.login(user, &password).await?;
    let mut machines =
        client.list_pages::<mo::VirtualMachine>(&client.content().root_folder.cast(), &BACKUP_SET);
    let (mut count, mut devices, mut files) = (0, 0, 0);
    while let Some(mut vm) = machines.next().await? {
        count += 1;
        let hardware: Vec<vim_api::dynamic::Poly<vim_api::types::VirtualDevice>> =
            vm.take_required("config.hardware.device")?;
        devices += hardware.len();
        let layout: vim_api::types::VirtualMachineFileLayoutEx = vm.take_required("layoutEx")?;
        files += layout.file.len();
    }
    client.close().await?;
    if (count, devices < count, files < count) != (MACHINES, false, false) {
        return Err(
            format!("{count} machines, {devices} devices and {files} files are not what was made").into()
        );
    }
    let usage = Usage::of("self")?;
    println!("{}", json!({ "retrieve_5000_cpu_s": usage.seconds, "retrieve_5000_peak_mb": usage.peak_mb }));
    Ok(())
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
