//! Disks in and out, beside qemu-img and beside plain files.
//!
//! ```text
//! cargo bench -p vadp-benches --bench vmdk -- [--json]
//! ```
//!
//! needs qemu-img (Debian: qemu-utils) and 3 GB in the folder for temporary files. One image of 512 MiB is made, a third of it holes, a
//! third text, a third noise; each pair takes turns on it, and the fastest turn of each counts. Neither side waits for the storage:
//! what is compared is the work of the processors, of which `qemu-img convert` uses one for a stream.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use serde_json::json;
use vadp_benches::{Options, take_turns};
use vmdk::{
    Copy, Create, Disk, Folder, LocalFolder, ReadAt, Source, StreamOptions, StreamWriter, Variant, WriteAt,
};

type Failure = Box<dyn Error>;

const SIZE: u64 = 512 << 20;
const PIECE: usize = 1 << 20;
const GRAIN: usize = 64 << 10;
const ROUNDS: u32 = 3;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vmdk: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let options = Options::parse(std::env::args().skip(1))?;
    let folder = tempfile::tempdir()?;
    let path = folder.path();
    make_image(&path.join("raw"))?;
    qemu(path, &["-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "raw", "stream.vmdk"])?;

    let (ours, theirs) = take_turns(
        ROUNDS,
        || stream_to_raw(path),
        || {
            qemu(path, &["-f", "vmdk", "-O", "raw", "stream.vmdk", "theirs"])
                .map(|()| Removed(path.join("theirs")))
        },
    )?;
    let to_raw = theirs.seconds() / ours.seconds();
    show("stream to raw", ours.seconds(), "qemu-img", theirs.seconds());

    let (ours, theirs) = take_turns(
        ROUNDS,
        || raw_to_stream(path),
        || {
            qemu(path, &["-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "raw", "theirs"])
                .map(|()| Removed(path.join("theirs")))
        },
    )?;
    let to_stream = theirs.seconds() / ours.seconds();
    show("raw to stream", ours.seconds(), "qemu-img", theirs.seconds());

    let shared: Arc<dyn Folder> = Arc::new(LocalFolder::new(path)?);
    let sparse = make_sparse(&shared, &path.join("raw"))?;
    let flat = File::open(path.join("raw"))?;
    let (ours, plain) = take_turns(ROUNDS, || read_all(&sparse), || read_all(&flat))?;
    let sparse_read = plain.seconds() / ours.seconds();
    show("sparse read", ours.seconds(), "plain file", plain.seconds());

    let chain = make_chain(&shared)?;
    let (deep, single) = take_turns(ROUNDS, || read_randomly(&chain), || read_randomly(&sparse))?;
    let chain4 = single.seconds() / deep.seconds();
    show("chain of four", deep.seconds(), "one link", single.seconds());

    if options.json {
        println!(
            "{}",
            json!({
                "stream_to_raw_speedup_vs_qemu_img": to_raw,
                "raw_to_stream_speedup_vs_qemu_img": to_stream,
                "sparse_read_vs_file": sparse_read,
                "chain4_vs_single": chain4,
            })
        );
    }
    Ok(())
}

fn show(what: &str, ours: f64, other: &str, theirs: f64) {
    println!("{what:<14} {ours:>8.2} s   {other:<10} {theirs:>8.2} s   {:>6.2}", theirs / ours);
}

/// A file that is removed when the turn was measured.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // The whole folder is removed at the end.
        let _ = fs::remove_file(&self.0);
    }
}

fn qemu(folder: &Path, arguments: &[&str]) -> Result<(), Failure> {
    let ran = Command::new("qemu-img").arg("convert").args(arguments).current_dir(folder).output();
    let ran =
        ran.map_err(|error| format!("qemu-img (Debian: qemu-utils) is what this compares with: {error}"))?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ran.stderr).into()),
    }
}

fn stream_to_raw(folder: &Path) -> Result<Removed, Failure> {
    let output = folder.join("ours");
    let disk = Disk::open_path(folder.join("stream.vmdk"))?;
    let file = File::create(&output)?;
    file.set_size(disk.capacity())?;
    Copy::new().run(Source::Disk(&disk), &file)?;
    Ok(Removed(output))
}

fn raw_to_stream(folder: &Path) -> Result<Removed, Failure> {
    let output = folder.join("ours");
    let raw = File::open(folder.join("raw"))?;
    let file = BufWriter::with_capacity(PIECE, File::create(&output)?);
    let mut writer = StreamWriter::new(file, "ours", StreamOptions::new(SIZE))?;
    writer.write_from(&raw, |offset| Ok((offset < SIZE).then_some(offset..SIZE)))?;
    writer.finish()?.0.flush()?;
    Ok(Removed(output))
}

fn read_all(source: &dyn ReadAt) -> Result<(), Failure> {
    let mut buffer = vec![0; PIECE];
    for piece in 0..SIZE / PIECE as u64 {
        source.read_exact_at(&mut buffer, piece * PIECE as u64)?;
        std::hint::black_box(&buffer);
    }
    Ok(())
}

fn read_randomly(disk: &Disk) -> Result<(), Failure> {
    let mut buffer = [0; 4096];
    let mut noise = Noise(7);
    for _ in 0..400_000 {
        disk.read_exact_at(&mut buffer, noise.next() % (SIZE / 4096) * 4096)?;
        std::hint::black_box(&buffer);
    }
    Ok(())
}

/// A third holes, a third text, a third noise, in turns of a megabyte.
fn make_image(path: &Path) -> Result<(), Failure> {
    let file = File::create(path)?;
    file.set_size(SIZE)?;
    let mut noise = Noise(1);
    let words: Vec<[u8; 8]> = (0..2000)
        .map(|_| (0..8).map(|_| b"abcdefgh "[(noise.next() % 9) as usize]).collect::<Vec<_>>())
        .filter_map(|word| word.try_into().ok())
        .collect();
    let mut piece = Vec::with_capacity(PIECE);
    for number in 0..SIZE / PIECE as u64 {
        piece.clear();
        while piece.len() < PIECE {
            match number % 3 {
                0 => break,
                1 => piece.extend_from_slice(&words[(noise.next() % 2000) as usize]),
                _ => piece.extend_from_slice(&noise.next().to_le_bytes()),
            }
        }
        file.write_all_at(&piece, number * PIECE as u64)?;
    }
    Ok(())
}

/// The image as one sparse file, all of it allocated, so that as much is read as from the plain file.
fn make_sparse(folder: &Arc<dyn Folder>, raw: &Path) -> Result<Disk, Failure> {
    let disk = Create::new(Variant::MonolithicSparse, SIZE).create(folder, "sparse.vmdk")?;
    let raw = File::open(raw)?;
    let mut buffer = vec![0; PIECE];
    for piece in 0..SIZE / PIECE as u64 {
        raw.read_exact_at(&mut buffer, piece * PIECE as u64)?;
        // Zeros would take no room.
        buffer.chunks_mut(GRAIN).for_each(|grain| grain[0] |= 1);
        disk.write_all_at(&buffer, piece * PIECE as u64)?;
    }
    disk.close()?;
    Ok(Disk::open(folder, "sparse.vmdk")?)
}

/// Three children above that disk, each with a quarter of the grains.
fn make_chain(folder: &Arc<dyn Folder>) -> Result<Disk, Failure> {
    let mut parent = "sparse.vmdk".to_owned();
    let mut noise = Noise(3);
    for number in 1..4_u64 {
        let name = format!("sparse-{number:06}.vmdk");
        let child = vmdk::create_child(folder, &parent, &name)?;
        let content = vec![number as u8; GRAIN];
        for grain in 0..SIZE / GRAIN as u64 {
            if noise.next().is_multiple_of(4) {
                child.write_all_at(&content, grain * GRAIN as u64)?;
            }
        }
        child.close()?;
        parent = name;
    }
    Ok(Disk::open(folder, &parent)?)
}

struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
