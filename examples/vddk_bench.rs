//! How fast a disk is read or written through VDDK, by size and number of requests.
//!
//! ```text
//! cargo run --release --example vddk_bench
//! cargo run --release --example vddk_bench -- --block-size 256K --depth 16 --mode async --json
//! cargo run --release --example vddk_bench -- --kit /opt/vmware-vix-disklib-distrib --disk /disks/web.vmdk --write
//! ```
//!
//! Writing puts back what was read from the same place before, so it changes nothing: let nobody else write to the disk meanwhile.
//! Without options, a disk of the fake library is probed. `--server` and its companions are those of `read_disk`.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use serde_json::json;
use vixdisklib::{AlignedBuf, Disk, IoMode, OpenOptions, SECTOR_BYTES, SectorRange, Sectors};

#[path = "disks/pipeline.rs"]
mod pipeline;
#[path = "disks/source.rs"]
mod source;

/// What is written at once is kept in memory: so many bytes.
const WINDOW: u64 = 64 << 20;

/// Measures how fast a disk is read or written.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    disk: source::Where,
    /// Bytes of a request: a number, with K or M behind it for KiB or MiB.
    #[arg(long, default_value = "1M", value_parser = parse_bytes)]
    block_size: usize,
    /// Requests under way at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1024))]
    depth: u64,
    /// Which of the library's calls to use.
    #[arg(long, value_enum, default_value_t = Mode::Sync)]
    mode: Mode,
    /// Write instead of reading.
    #[arg(long)]
    write: bool,
    /// Stop after that many seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Sync,
    Async,
}

#[derive(Default)]
struct Measured {
    bytes: u64,
    calls: u64,
    time: Duration,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let source = options.disk.connect(options.write)?;
    let open = if options.write { OpenOptions::read_write() } else { OpenOptions::read_only() };
    let depth = usize::try_from(options.depth)?;
    let mode = if options.mode == Mode::Sync { IoMode::Sync } else { IoMode::Async };
    let disk = source.open(open.io_mode(mode).queue_depth(depth).max_request(options.block_size))?;
    ensure!(disk.capacity().0 > 0, "{} has no sectors", source.path);

    let mut measured = Measured::default();
    let (window, end) = (WINDOW / SECTOR_BYTES, disk.capacity().0);
    let mut start = 0;
    while start < end && measured.time < Duration::from_secs(options.seconds) {
        let stop = (start + window).min(end);
        let range = SectorRange::between(Sectors(start), Sectors(stop)).context("an empty window")?;
        pass(&disk, range, &options, depth, &mut measured)?;
        start = stop;
    }
    let transport = disk.transport_mode().to_string();
    disk.close()?;
    let seconds = measured.time.as_secs_f64();
    let (rate, each) = (measured.bytes as f64 / 1e6 / seconds, seconds * 1e9 / measured.calls.max(1) as f64);
    let what = if options.write { "write" } else { "read" };
    if options.json {
        println!(
            "{}",
            json!({
                "disk": source.path, "transport": transport, "what": what, "mode": format!("{:?}", options.mode).to_lowercase(),
                "block_size": options.block_size, "depth": options.depth, "bytes": measured.bytes, "calls": measured.calls,
                "seconds": seconds, "mb_per_second": rate, "ns_per_call": each
            })
        );
    } else {
        println!(
            "{what} {} of {} over {transport}: {rate:.0} MB/s, {each:.0} ns per call",
            measured.bytes, source.path
        );
    }
    Ok(())
}

/// Reads a window, and with `--write` keeps it, and writes it back; only what is asked for is measured.
fn pass(
    disk: &Disk,
    range: SectorRange,
    options: &Options,
    depth: usize,
    measured: &mut Measured,
) -> anyhow::Result<()> {
    let mut kept = Vec::new();
    let began = Instant::now();
    let (mut bytes, mut calls) = (0, 0);
    pipeline::read(disk, &[range], options.block_size, depth, |start, piece| {
        bytes += piece.len() as u64;
        calls += 1;
        if options.write {
            kept.push((start, piece.to_vec()));
        }
        anyhow::Ok(())
    })?;
    let mut time = began.elapsed();
    if options.write {
        let mut ready = Vec::new();
        for (start, bytes) in kept {
            let mut buffer = AlignedBuf::zeroed(bytes.len()).context("no memory for a buffer")?;
            buffer.copy_from_slice(&bytes);
            ready.push((start, buffer));
        }
        let began = Instant::now();
        let mut pipeline = pipeline::Pipeline::new(depth);
        for (start, buffer) in ready {
            pipeline.add(start, disk.write_async(start, buffer))?;
        }
        while pipeline.next()?.is_some() {}
        disk.flush()?;
        time = began.elapsed();
    }
    measured.bytes += bytes;
    measured.calls += calls;
    measured.time += time;
    Ok(())
}

fn parse_bytes(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes() {
        [.., b'K' | b'k'] => (&text[..text.len() - 1], 1 << 10),
        [.., b'M' | b'm'] => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let bytes = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        Some(bytes) if (512..=64 << 20).contains(&bytes) && bytes % 512 == 0 => Ok(bytes),
        _ => Err("a request is whole sectors of 512 bytes, at most 64M".to_owned()),
    }
}
