//! Which parts of a disk hold data, as a map.
//!
//! ```text
//! cargo run --example allocated
//! cargo run --example allocated -- --kit /opt/vmware-vix-disklib-distrib --disk /disks/web.vmdk
//! ```
//!
//! `#` is all data, `.` is none, a digit is the tenths that are. Without options, a disk of the fake library is shown. `--server` and
//! its companions are those of `read_disk`.

use anyhow::Context;
use clap::Parser;
use serde_json::json;
use vixdisklib::{OpenOptions, SECTOR_BYTES, SectorRange, Sectors};

#[path = "disks/source.rs"]
mod source;

/// Draws which parts of a disk hold data.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    disk: source::Where,
    /// Characters in the map.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    cells: u64,
    /// Only this link of the chain: what it does not hold is in its parent.
    #[arg(long)]
    single_link: bool,
    /// Print one JSON object with the runs.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    vixdisklib::worker::serve_if_asked();
    let options = Options::parse();
    let source = options.disk.connect(false)?;
    let disk = source.open(OpenOptions::read_only().single_link(options.single_link))?;
    let sectors = disk.capacity().0;
    let whole = SectorRange::between(Sectors::ZERO, disk.capacity()).context("the disk has no size")?;
    let answer = disk.allocated_blocks(whole)?;
    disk.close()?;
    let data: u64 = answer.ranges.iter().map(|range| range.length().0).sum();
    if options.json {
        let runs: Vec<_> = answer
            .ranges
            .iter()
            .map(|range| json!({ "offset": range.start().0 * SECTOR_BYTES, "length": range.length().0 * SECTOR_BYTES }))
            .collect();
        println!(
            "{}",
            json!({
                "disk": source.path, "bytes": sectors * SECTOR_BYTES, "allocated": data * SECTOR_BYTES, "known": answer.known,
                "runs": runs
            })
        );
        return Ok(());
    }
    let cell = sectors.div_ceil(options.cells).max(1);
    let map: Vec<char> = (0..sectors.div_ceil(cell))
        .map(|number| {
            let (start, end) = (number * cell, ((number + 1) * cell).min(sectors));
            symbol(held(&answer.ranges, start, end), end - start)
        })
        .collect();
    for (row, cells) in map.chunks(64).enumerate() {
        println!(
            "{:>9} MiB  {}",
            (row as u64 * 64 * cell * SECTOR_BYTES) >> 20,
            cells.iter().collect::<String>()
        );
    }
    println!(
        "{} of {} MiB in {} runs; one character is {} KiB",
        (data * SECTOR_BYTES) >> 20,
        (sectors * SECTOR_BYTES) >> 20,
        answer.ranges.len(),
        cell * SECTOR_BYTES / 1024
    );
    if !answer.known {
        println!("this library, host or datastore cannot tell, so everything counts as data");
    }
    Ok(())
}

/// Sectors of data between `start` and `end`.
fn held(runs: &[SectorRange], start: u64, end: u64) -> u64 {
    let first = runs.partition_point(|run| run.end().0 <= start);
    let within = runs[first..].iter().take_while(|run| run.start().0 < end);
    within.map(|run| run.end().0.min(end) - run.start().0.max(start)).sum()
}

fn symbol(data: u64, all: u64) -> char {
    match (data * 10).checked_div(all) {
        _ if data == 0 => '.',
        _ if data == all => '#',
        Some(tenths) => char::from_digit(tenths.clamp(1, 9) as u32, 10).unwrap_or('?'),
        None => '?',
    }
}
