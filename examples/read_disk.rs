//! A disk into a raw file, or to standard output.
//!
//! ```text
//! cargo run --example read_disk
//! cargo run --example read_disk -- --disk /disks/web.vmdk --to web.raw
//! cargo run --example read_disk -- --kit /opt/vmware-vix-disklib-distrib --disk /disks/web.vmdk --to - | sha256sum
//! VSPHERE_PASSWORD=... cargo run --example read_disk -- --kit /opt/vmware-vix-disklib-distrib \
//!     --server vcenter.example.org --user me@vsphere.local --thumbprint AA:BB:... --vm vm-16 --snapshot snapshot-20 \
//!     --disk '[datastore1] web/web.vmdk' --to web.raw
//! ```
//!
//! What holds no data is not read, and is a hole in the file. Without options, a disk of the fake library is read.

use std::fs::{File, OpenOptions as FileOptions};
use std::io::{IsTerminal, Write, stdout};
use std::os::unix::fs::FileExt;

use anyhow::{Context, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use vixdisklib::{IoMode, OpenOptions, SectorRange, Sectors};

#[path = "disks/pipeline.rs"]
mod pipeline;
#[path = "disks/source.rs"]
mod source;

/// Reads a disk into a raw file.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    disk: source::Where,
    /// The file, which must not exist; - is standard output. Without it, the bytes are read and counted.
    #[arg(long, value_name = "FILE")]
    to: Option<String>,
}

enum Target {
    Nothing,
    File(File),
    Stream(Box<dyn Write>),
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let source = options.disk.connect(false)?;
    let disk = source.open(OpenOptions::read_only().io_mode(IoMode::Async))?;
    let bytes = disk.capacity().bytes().context("the disk's size is not to be had in bytes")?;
    let whole = SectorRange::between(Sectors::ZERO, disk.capacity()).context("the disk has no size")?;
    let data = disk.allocated_blocks(whole)?;
    let mut target = match options.to.as_deref() {
        None => Target::Nothing,
        Some("-") if stdout().is_terminal() => {
            bail!("a disk on a terminal helps nobody: use a pipe or a file")
        }
        Some("-") => Target::Stream(Box::new(stdout().lock())),
        Some(name) => {
            let file = FileOptions::new()
                .write(true)
                .create_new(true)
                .open(name)
                .with_context(|| format!("cannot make {name}"))?;
            file.set_len(bytes)?;
            Target::File(file)
        }
    };
    let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}")?;
    let bar = ProgressBar::new(bytes).with_style(style);
    let (mut read, mut written) = (0, 0_u64);
    pipeline::read(&disk, &data.ranges, 1 << 20, 8, |start, piece| {
        let offset = start.bytes().context("an offset that is too large")?;
        match &mut target {
            Target::Nothing => {}
            Target::File(file) => file.write_all_at(piece, offset)?,
            Target::Stream(stream) => {
                zeros(stream, offset - written)?;
                stream.write_all(piece)?;
            }
        }
        written = offset + piece.len() as u64;
        read += piece.len() as u64;
        bar.set_position(written);
        anyhow::Ok(())
    })?;
    match target {
        Target::Nothing => {}
        Target::File(file) => file.sync_all()?,
        Target::Stream(mut stream) => {
            zeros(&mut stream, bytes - written)?;
            stream.flush()?;
        }
    }
    bar.finish();
    disk.close()?;
    source.connection.close()?;
    let told =
        format!("{}: {bytes} bytes, of which {read} were read and {} are holes", source.path, bytes - read);
    if options.to.as_deref() == Some("-") {
        eprintln!("{told}")
    } else {
        println!("{told}")
    }
    Ok(())
}

fn zeros(stream: &mut dyn Write, mut count: u64) -> std::io::Result<()> {
    let block = [0; 64 << 10];
    while count > 0 {
        let part = count.min(block.len() as u64);
        stream.write_all(&block[..part as usize])?;
        count -= part;
    }
    Ok(())
}
