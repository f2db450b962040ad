//! `vmdk diff`.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;
use serde_json::json;
use vmdk::{Disk, State};

use crate::OpenArguments;
use crate::progress::bar;

/// Bytes that are compared at once.
const PIECE: u64 = 1 << 20;
/// Differences are told in steps of this.
const STEP: usize = 4096;

#[derive(Args)]
pub(crate) struct Arguments {
    /// One disk.
    left: PathBuf,
    /// The other.
    right: PathBuf,
    #[command(flatten)]
    open: OpenArguments,
    /// Prints one JSON object instead of a text.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let left = arguments.open.options().open_path(&arguments.left)?;
    let right = arguments.open.options().open_path(&arguments.right)?;
    ensure!(
        left.capacity() == right.capacity(),
        "the disks are of two sizes: {} and {} bytes",
        left.capacity(),
        right.capacity()
    );
    let mut ranges: Vec<Range<u64>> = Vec::new();
    let mut note = |range: Range<u64>| match ranges.last_mut() {
        Some(last) if last.end == range.start => last.end = range.end,
        _ => ranges.push(range),
    };
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let stored = stored(&left, &right)?;
    let progress = bar(stored.iter().map(|range| range.end - range.start).sum(), arguments.json);
    for range in stored {
        let mut offset = range.start;
        while offset < range.end {
            let length = (range.end - offset).min(PIECE) as usize;
            a.resize(length, 0);
            b.resize(length, 0);
            left.read_exact_at(&mut a, offset)?;
            right.read_exact_at(&mut b, offset)?;
            for (at, (a, b)) in a.chunks(STEP).zip(b.chunks(STEP)).enumerate() {
                if a != b {
                    let start = offset + (at * STEP) as u64;
                    note(start..start + a.len() as u64);
                }
            }
            offset += length as u64;
            progress.inc(length as u64);
        }
    }
    progress.finish_and_clear();
    let bytes: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    if arguments.json {
        let listed: Vec<_> = ranges
            .iter()
            .map(|range| json!({ "offset": range.start, "length": range.end - range.start }))
            .collect();
        println!("{}", json!({ "equal": ranges.is_empty(), "differing": bytes, "ranges": listed }));
    } else {
        ranges.iter().for_each(|range| println!("{:>16} {:>16}", range.start, range.end - range.start));
        println!("{}", if ranges.is_empty() { "equal".to_owned() } else { format!("{bytes} bytes differ") });
    }
    Ok(if ranges.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What at least one of the disks has stored: elsewhere both are zero.
fn stored(left: &Disk, right: &Disk) -> anyhow::Result<Vec<Range<u64>>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for disk in [left, right] {
        for span in disk.map(0..disk.capacity()) {
            let span = span?;
            if span.state == State::Data {
                ranges.push(span.offset..span.offset + span.length);
            }
        }
    }
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    Ok(merged)
}
