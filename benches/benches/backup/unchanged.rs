//! Machines of ten disks of which nothing has changed, backed up by a process that does nothing else. The simulator is in another.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use vadp_benches::image::Chance;
use vadp_benches::{Failure, Usage, keep, ourselves, timed};
use vsphere_sim::{DiskSpec, SimVm, VmSpec};

use crate::stage::{Place, Stage};

const DISKS: usize = 10;
/// The machines, alike but for the size of their disks: 10 GiB and 10 TiB together.
const MACHINES: [(&str, u64); 2] = [("small", 1 << 30), ("large", 1 << 40)];
/// Blocks of 4 KiB on each disk, far from each other: one in every chunk of a small disk, and on a large one in every page of the map.
const BLOCKS: u64 = 1024;
const ROUNDS: u32 = 3;
/// Where a process finds the password, which the command line would show to everybody.
const PASSWORD: &str = "BACKUP_BENCH_PASSWORD";

/// What a process of its own has measured.
struct Measured {
    seconds: f64,
    /// The most memory of the program, in megabytes.
    peak_mb: f64,
    /// The same of its worker, in which the disk library is.
    worker_peak_mb: f64,
}

pub(crate) async fn figures(folder: &Path, figures: &mut Map<String, Value>) -> Result<(), Failure> {
    std::fs::create_dir(folder)?;
    let machines = MACHINES
        .map(|(name, size)| (0..DISKS).fold(VmSpec::new(name).cbt(), |vm, _| vm.disk(DiskSpec::empty(size))));
    let stage = Stage::start(folder, machines.into()).await?;
    println!("{:<24} {:>8} {:>10} {:>12}", "machines of ten disks", "s", "peak MB", "worker's MB");
    let mut peaks = Vec::new();
    for (name, _) in MACHINES {
        fill(&stage.sim.vm(name)?)?;
        let place = stage.place(name);
        drop(place.init().await?);
        let full = process("full", &place).await?;
        let mut unchanged = process("incremental", &place).await?;
        for _ in 1..ROUNDS {
            let another = process("incremental", &place).await?;
            unchanged.seconds = unchanged.seconds.min(another.seconds);
            unchanged.peak_mb = unchanged.peak_mb.max(another.peak_mb);
        }
        for (what, of) in [("full", &full), ("unchanged", &unchanged)] {
            let text = format!("{name}, {what}");
            println!("{text:<24} {:>8.2} {:>10.1} {:>12.1}", of.seconds, of.peak_mb, of.worker_peak_mb);
        }
        if name == "large" {
            keep(figures, "unchanged_10tib_s", unchanged.seconds);
            keep(figures, "peak_rss_mb", unchanged.peak_mb);
            keep(figures, "worker_peak_rss_mb", unchanged.worker_peak_mb);
        }
        peaks.push((full.peak_mb, unchanged.peak_mb));
    }
    if let [(full_small, small), (full_large, large)] = peaks[..] {
        keep(figures, "peak_large_vs_small", large / small);
        keep(figures, "full_peak_rss_mb", full_large);
        keep(figures, "full_peak_large_vs_small", full_large / full_small);
    }
    Ok(())
}

/// Writes the same number of blocks to every disk, whatever its size.
fn fill(machine: &SimVm) -> Result<(), Failure> {
    for (number, disk) in machine.disks()?.into_iter().enumerate() {
        let mut chance = Chance((number as u64) << 32);
        let step = disk.capacity_bytes / BLOCKS;
        let written = machine.with_live_disk(disk.key, |live| {
            (0..BLOCKS).try_for_each(|block| {
                let bytes: Vec<u8> = (0..512).flat_map(|_| chance.any().to_le_bytes()).collect();
                live.write_at(block * step, &bytes)
            })
        })?;
        written?;
    }
    Ok(())
}

/// Has another process of this program make a backup, from its start to its end.
async fn process(what: &str, place: &Place) -> Result<Measured, Failure> {
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or("a folder whose name is no text");
    let (kit, repository) = (text(&place.kit)?, text(&place.repository)?);
    let arguments = [what, &place.url, &place.thumbprint, &place.user, &place.machine, &kit, &repository];
    let mut command = ourselves(&arguments)?;
    command.env(PASSWORD, place.password.expose_secret());
    let ran = tokio::task::spawn_blocking(move || timed(&mut command)).await?;
    let (seconds, said) = ran?;
    let figures: Vec<f64> = said.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [peak_mb, worker_peak_mb] = figures[..] else { return Err(format!("{said:?} is no answer").into()) };
    Ok(Measured { seconds, peak_mb, worker_peak_mb })
}

/// Such a process: prints the most memory that it had, and its worker.
pub(crate) async fn measure(arguments: &[String]) -> Result<(), Failure> {
    let [what, url, thumbprint, user, machine, kit, repository] = arguments else {
        return Err(format!("{arguments:?} is not understood").into());
    };
    let place = Place {
        url: url.clone(),
        thumbprint: thumbprint.clone(),
        user: user.clone(),
        password: SecretString::from(std::env::var(PASSWORD)?),
        machine: machine.clone(),
        kit: kit.into(),
        repository: repository.into(),
    };
    let program = place.connect().await?;
    let repository = place.open().await?;
    let done = match what.as_str() {
        "full" => program.full(&repository).await?,
        _ => program.incremental(&repository).await?,
    };
    let read: u64 = done.disks.iter().map(|disk| disk.read).sum();
    if (read == 0) != (what == "incremental") {
        return Err(format!("{read} bytes were read for {what}").into());
    }
    let worker = program.library.worker_id().ok_or("the disk library is not in a worker")?;
    let peaks = [Usage::of("self"), Usage::of(&worker.to_string())];
    for usage in peaks {
        println!("{}", usage.map_err(|error| error.to_string())?.peak_mb);
    }
    program.client.logout().await?;
    Ok(())
}
