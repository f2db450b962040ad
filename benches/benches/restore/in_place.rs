//! A machine back at a restore point: after a hundredth of its disk has changed, and after all of its data has.

use std::path::Path;
use std::time::Instant;

use serde_json::{Map, Value};
use vadp::cbt::Decision;
use vadp::{PowerPolicy, Restore, RestoredDisk, Verify};
use vadp_benches::guest::{runs, write};
use vadp_benches::image::{CHUNK, Chance, Image, Kind};
use vadp_benches::stage::{Program, Stage};
use vadp_benches::stages::Table;
use vadp_benches::{Failure, keep};
use vadp_repository::StoredPoint;
use vsphere_sim::{DiskSpec, SimVm, VmSpec};

const MACHINE: &str = "data";
/// Turns of which the fastest counts.
const ROUNDS: u64 = 3;

pub(crate) async fn figures(
    folder: &Path,
    chunks: u64,
    figures: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let image = Image::make(&folder.join("image"), chunks)?;
    println!("{image}");
    let machine = VmSpec::new(MACHINE).cbt().disk(DiskSpec::raw_file(&image.path));
    let stage = Stage::start(folder, vec![machine]).await?;
    let place = stage.place(MACHINE);
    let program = place.connect().await?;
    let guest = stage.sim.vm(MACHINE)?;
    let repository = place.init().await?;
    let moment = digest(&guest)?;
    let mut best = Table::default();
    for round in 0..ROUNDS {
        // A restore ends the epoch of tracking, so each one that goes by it needs a point of its own.
        let point = program.full(&repository).await?.point;
        runs(&guest, &image, &mut Chance(round))?;
        let (seconds, disk) = restore(&program, &*point, true, Verify::Written).await?;
        if !matches!(disk.decision, Decision::Incremental(_)) {
            return Err(format!("the restore was not by what had changed: {}", disk.decision).into());
        }
        best.note("restore: changes", seconds);
        same(&guest, &moment)?;
        destroy(&guest, &image)?;
        let (seconds, _) = restore(&program, &*point, false, Verify::Written).await?;
        best.note("restore: whole", seconds);
        same(&guest, &moment)?;
        runs(&guest, &image, &mut Chance(round + ROUNDS))?;
        // As is the default: everything is read back.
        let (seconds, disk) = restore(&program, &*point, true, Verify::Full).await?;
        best.note("restore: all compared", seconds);
        if disk.verified != disk.capacity {
            return Err("not everything was read back".into());
        }
    }
    best.print(image.bytes());
    let (changes, whole) = (best.of("restore: changes"), best.of("restore: whole"));
    keep(figures, "differential_vs_whole", changes / whole);
    keep(figures, "differential_beyond_3_percent_s", changes - whole * 0.03);
    keep(figures, "whole_mb_s", image.bytes() as f64 / 1e6 / whole);
    program.client.logout().await?;
    Ok(())
}

async fn restore(
    program: &Program,
    point: &dyn StoredPoint,
    differential: bool,
    verify: Verify,
) -> Result<(f64, RestoredDisk), Failure> {
    let began = Instant::now();
    let restore = Restore::revert(point, &program.vm, &program.vddk, &program.journal);
    let restore = restore.power(PowerPolicy::PowerOff).differential(differential).verify(verify);
    let mut done = restore.plan().await?.run(|_| ()).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok((seconds, done.disks.pop().ok_or("the machine has a disk")?))
}

/// All data become other data.
fn destroy(guest: &SimVm, image: &Image) -> Result<(), Failure> {
    let noise = image.fresh(Kind::Noise, 1);
    let data = image.kinds.iter().enumerate().filter(|(_, kind)| **kind != Kind::Zero);
    for (chunk, _) in data {
        write(guest, &[(chunk as u64 * CHUNK as u64, noise.clone())])?;
    }
    Ok(())
}

/// By the simulator's own reading of its disk.
fn digest(guest: &SimVm) -> Result<String, Failure> {
    let key = guest.disks()?.first().ok_or("the machine has a disk")?.key;
    Ok(guest.with_live_disk(key, |disk| disk.sha256())??.to_string())
}

fn same(guest: &SimVm, moment: &str) -> Result<(), Failure> {
    match digest(guest)? == moment {
        true => Ok(()),
        false => Err("the disk is not what it was at the restore point".into()),
    }
}
