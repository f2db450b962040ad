//! A disk with data: in full, beside the stages alone; then with changes, in runs and scattered.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value};
use vadp::{ByteRange, DiskOutcome};
use vadp_benches::image::{CHUNK, Chance, Image, Kind};
use vadp_benches::stages::{Stages, Table};
use vadp_benches::{Failure, keep};
use vsphere_sim::{DiskSpec, SimVm, VmSpec};

use crate::stage::{Program, Stage};

const MACHINE: &str = "data";
/// Turns of which the fastest counts.
const ROUNDS: u64 = 3;
/// Reads that are on their way, as many as a backup has of a disk.
const READ_AHEAD: usize = 8;
/// What a guest's file system writes at least.
const BLOCK: u64 = 4096;

pub(crate) async fn figures(
    folder: &Path,
    chunks: u64,
    figures: &mut Map<String, Value>,
) -> Result<(), Failure> {
    std::fs::create_dir(folder)?;
    let image = Image::make(&folder.join("image"), chunks)?;
    println!("{image}");
    let machine = VmSpec::new(MACHINE).cbt().disk(DiskSpec::raw_file(&image.path));
    let stage = Stage::start(folder, vec![machine]).await?;
    let stages = Stages::new(&image, folder)?;
    let place = stage.place(MACHINE);
    let program = place.connect().await?;
    let guest = stage.sim.vm(MACHINE)?;
    let mut best = Table::default();
    for _ in 0..ROUNDS {
        if place.repository.exists() {
            std::fs::remove_dir_all(&place.repository)?;
        }
        let repository = place.init().await?;
        let began = Instant::now();
        let done = program.full(&repository).await?;
        best.note("full", began.elapsed().as_secs_f64());
        check(&image, &done.disks)?;
        best.note("ingest: read", read(&program, &guest, &image).await?);
        stages.store(&mut best)?;
    }
    drop(stages);
    let repository = place.open().await?;
    for round in 0..ROUNDS {
        for (name, change) in [("incremental", runs as Change), ("scattered", scattered as Change)] {
            change(&guest, &image, &mut Chance(round))?;
            let began = Instant::now();
            let done = program.incremental(&repository).await?;
            best.note(name, began.elapsed().as_secs_f64());
            if round == 0 {
                let read: u64 = done.disks.iter().map(|disk| disk.read).sum();
                println!("{name:<24} {:>8.1} MB read for 1 % of the disk", read as f64 / 1e6);
            }
        }
    }
    best.print(image.bytes());
    let (full, incremental) = (best.of("full"), best.of("incremental"));
    keep(figures, "full_vs_slowest_stage", best.slowest("ingest: ") / full);
    // Where every stage is processor work, what all of them take is the limit.
    keep(figures, "full_vs_all_stages", best.sum("ingest: ") / full);
    keep(figures, "full_mb_s", image.bytes() as f64 / 1e6 / full);
    keep(figures, "full_s", full);
    keep(figures, "incremental_s", incremental);
    keep(figures, "incremental_vs_full", incremental / full);
    keep(figures, "incremental_beyond_3_percent_s", incremental - full * 0.03);
    keep(figures, "incremental_scattered_vs_full", best.of("scattered") / full);
    program.client.logout().await?;
    std::fs::remove_dir_all(&place.repository)?;
    Ok(())
}

/// That a full backup has done the work that is measured beside it.
fn check(image: &Image, disks: &[DiskOutcome]) -> Result<(), Failure> {
    let [DiskOutcome { summary, .. }] = disks else { return Err("the machine has one disk".into()) };
    let copies = image.count(|kind| matches!(kind, Kind::Copy(_)));
    let data = image.count(|kind| *kind != Kind::Zero);
    match (summary.read_chunks, summary.dedup_chunks) == (data, copies) {
        true => Ok(()),
        false => Err(format!("{summary:?} is not what is in the image: {data} with {copies} copies").into()),
    }
}

/// The seconds that reading takes, of a snapshot as in a backup.
async fn read(program: &Program, guest: &SimVm, image: &Image) -> Result<f64, Failure> {
    let disk = guest.disks()?.into_iter().next().ok_or("the machine has a disk")?;
    let snapshot = program.vm.vm().create_snapshot_task("read", None, false, false).await?.wait().await?;
    let source = program.vddk.open_source(&program.vm, snapshot.value(), &disk.path).await?;
    let chunks = image.kinds.iter().enumerate().filter(|(_, kind)| **kind != Kind::Zero);
    let chunks: Vec<u64> = chunks.map(|(chunk, _)| chunk as u64 * CHUNK as u64).collect();
    let began = Instant::now();
    let reads = chunks.iter().filter_map(|at| ByteRange::with_length(*at, CHUNK as u64));
    let reads = reads.map(|range| source.read(range));
    let mut reads = futures::stream::iter(reads).buffer_unordered(READ_AHEAD);
    while let Some(bytes) = reads.try_next().await? {
        std::hint::black_box(bytes);
    }
    let seconds = began.elapsed().as_secs_f64();
    drop(reads);
    source.close().await?;
    let snapshot: vim_api::mo::VirtualMachineSnapshot = program.client.bind(&snapshot);
    snapshot.remove_snapshot_task(false, Some(true)).await?.wait().await?;
    Ok(seconds)
}

/// Has the guest write.
type Change = fn(&SimVm, &Image, &mut Chance) -> Result<(), Failure>;

/// A hundredth of the disk, in runs of 64 KiB to 4 MiB: half text, half noise.
fn runs(guest: &SimVm, image: &Image, chance: &mut Chance) -> Result<(), Failure> {
    let mut left = image.bytes() / 100;
    let mut writes = Vec::new();
    while left >= 64 << 10 {
        let length = ((64 << 10) << chance.below(7)).min(left / BLOCK * BLOCK);
        let at = chance.below((image.bytes() - length) / BLOCK) * BLOCK;
        let kind = if writes.len() % 2 == 0 { Kind::Text } else { Kind::Noise };
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < length {
            bytes.extend_from_slice(&image.fresh(kind, chance.any()));
        }
        bytes.truncate(length as usize);
        writes.push((at, bytes));
        left -= length;
    }
    write(guest, &writes)
}

/// A hundredth of the disk, in blocks that are anywhere.
fn scattered(guest: &SimVm, image: &Image, chance: &mut Chance) -> Result<(), Failure> {
    let blocks = image.bytes() / BLOCK;
    let mut places = BTreeSet::new();
    while (places.len() as u64) < blocks / 100 {
        places.insert(chance.below(blocks));
    }
    let bytes = image.fresh(Kind::Noise, chance.any());
    let piece = |block: u64| {
        let from = (block % (CHUNK as u64 - BLOCK)) as usize;
        bytes[from..from + BLOCK as usize].to_vec()
    };
    write(guest, &places.into_iter().map(|block| (block * BLOCK, piece(block))).collect::<Vec<_>>())
}

fn write(guest: &SimVm, writes: &[(u64, Vec<u8>)]) -> Result<(), Failure> {
    let key = guest.disks()?.first().ok_or("the machine has a disk")?.key;
    let written = guest
        .with_live_disk(key, |disk| writes.iter().try_for_each(|(at, bytes)| disk.write_at(*at, bytes)))?;
    Ok(written?)
}
