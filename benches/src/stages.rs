//! The stages that a backup and a restore consist of, each alone: on all processors, and on the bytes that come to it.
//!
//! A ratio of 0.7 to the slowest of them says that the whole took 1.43 times as long as its slowest part. What all stages take one
//! after the other is the other measure: where each is processor work, no order of them is faster.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zstd::bulk::{Compressor, Decompressor};

use crate::Failure;
use crate::image::{CHUNK, Image, Kind};

/// Size of a pack.
const PACK: usize = 64 << 20;
/// What the format says of compression: level 3, and raw where it saves less than 3 %.
const LEVEL: i32 = 3;

/// The best time of each thing, in the order in which they came.
#[derive(Default)]
pub struct Table(Vec<(String, f64)>);

impl Table {
    /// Keeps it if it is the best of this name.
    pub fn note(&mut self, name: &str, seconds: f64) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, best)) => *best = best.min(seconds),
            None => self.0.push((name.to_owned(), seconds)),
        }
    }

    /// The best seconds of this name.
    pub fn of(&self, name: &str) -> f64 {
        self.0.iter().find(|(known, _)| known == name).map_or(f64::NAN, |(_, seconds)| *seconds)
    }

    /// The most seconds of those whose names begin so.
    pub fn slowest(&self, prefix: &str) -> f64 {
        self.all(prefix).fold(0.0, f64::max)
    }

    /// The seconds of those whose names begin so, together.
    pub fn sum(&self, prefix: &str) -> f64 {
        self.all(prefix).sum()
    }

    fn all(&self, prefix: &str) -> impl Iterator<Item = f64> {
        self.0.iter().filter(move |(name, _)| name.starts_with(prefix)).map(|(_, seconds)| *seconds)
    }

    /// Prints all of them, for an image of so many bytes.
    pub fn print(&self, bytes: u64) {
        for (name, seconds) in &self.0 {
            println!("{name:<24} {seconds:>8.3} s  {:>6.0} MB/s of the image", bytes as f64 / 1e6 / seconds);
        }
    }
}

/// The bytes that come to each stage. All of them are in memory.
pub struct Stages<'a> {
    image: &'a Image,
    folder: PathBuf,
    /// Chunks that are not zero.
    data: Vec<Vec<u8>>,
    /// Which of them are not copies.
    unique: Vec<usize>,
    /// For each chunk with data, which of the unique ones it is.
    sources: Vec<usize>,
    /// The unique ones, compressed, or as they are.
    packed: Vec<(bool, Vec<u8>)>,
}

impl<'a> Stages<'a> {
    /// Reads the image. Files are made in the folder, and removed.
    ///
    /// # Errors
    /// When the image cannot be read.
    pub fn new(image: &'a Image, folder: &Path) -> Result<Self, Failure> {
        let file = File::open(&image.path)?;
        let (mut data, mut unique, mut sources) = (Vec::new(), Vec::new(), Vec::new());
        let mut of_chunk = vec![0; image.kinds.len()];
        for (chunk, kind) in image.kinds.iter().enumerate() {
            if *kind == Kind::Zero {
                continue;
            }
            match kind {
                Kind::Copy(of) => of_chunk[chunk] = of_chunk[*of as usize],
                _ => {
                    of_chunk[chunk] = unique.len();
                    unique.push(data.len());
                }
            }
            sources.push(of_chunk[chunk]);
            let mut bytes = vec![0; CHUNK];
            file.read_exact_at(&mut bytes, (chunk * CHUNK) as u64)?;
            data.push(bytes);
        }
        let mut packed = Vec::new();
        let mut zstd = Compressor::new(LEVEL)?;
        for place in &unique {
            let compressed = zstd.compress(&data[*place])?;
            packed.push(match compressed.len() * 100 <= CHUNK * 97 {
                true => (true, compressed),
                false => (false, data[*place].clone()),
            });
        }
        Ok(Self { image, folder: folder.to_owned(), data, unique, sources, packed })
    }

    /// Reads the image, whole.
    ///
    /// # Errors
    /// When that fails.
    pub fn read(&self, best: &mut Table) -> Result<(), Failure> {
        let file = File::open(&self.image.path)?;
        best.note(
            "ingest: read",
            on_all(
                self.image.kinds.len(),
                || Ok(vec![0; CHUNK]),
                |buffer, chunk| Ok(file.read_exact_at(buffer, (chunk * CHUNK) as u64)?),
            )?,
        );
        Ok(())
    }

    /// What is done to the bytes that were read: hashing, compressing, encrypting, writing.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn store(&self, best: &mut Table) -> Result<(), Failure> {
        best.note("ingest: hash", self.hash()?);
        let compress = on_all(
            self.unique.len(),
            || Ok((Compressor::new(LEVEL)?, vec![0; 2 * CHUNK])),
            |(zstd, to), number| {
                zstd.compress_to_buffer(&self.data[self.unique[number]], to)?;
                Ok(())
            },
        );
        best.note("ingest: compress", compress?);
        best.note("ingest: encrypt", self.cipher()?);
        let packs = self.folder.join("packs");
        std::fs::create_dir(&packs)?;
        let pack = vec![1; PACK];
        let bytes: usize = self.packed.iter().map(|(_, packed)| packed.len()).sum();
        let write = on_all(
            bytes.div_ceil(PACK),
            || Ok(()),
            |(), number| {
                let mut file = File::create(packs.join(number.to_string()))?;
                file.write_all(&pack[..PACK.min(bytes - number * PACK)])?;
                Ok(file.sync_all()?)
            },
        );
        best.note("ingest: write", write?);
        std::fs::remove_dir_all(packs)?;
        Ok(())
    }

    /// What a restore consists of.
    ///
    /// # Errors
    /// When a stage fails.
    pub fn restore(&self, best: &mut Table) -> Result<(), Failure> {
        let path = self.folder.join("pack");
        let mut pack = File::create(&path)?;
        let mut places = Vec::new();
        let mut at = 0;
        for (_, packed) in &self.packed {
            pack.write_all(packed)?;
            places.push(at);
            at += packed.len() as u64;
        }
        let file = File::open(&path)?;
        let read = on_all(
            self.sources.len(),
            || Ok(vec![0; CHUNK]),
            |buffer, number| {
                let source = self.sources[number];
                Ok(file.read_exact_at(&mut buffer[..self.packed[source].1.len()], places[source])?)
            },
        );
        best.note("restore: read", read?);
        std::fs::remove_file(path)?;
        best.note("restore: decrypt", self.cipher_all()?);
        let decompress = on_all(
            self.sources.len(),
            || Ok((Decompressor::new()?, vec![0; CHUNK])),
            |(zstd, to), number| {
                if let (true, packed) = &self.packed[self.sources[number]] {
                    zstd.decompress_to_buffer(packed, to)?;
                }
                Ok(())
            },
        );
        best.note("restore: decompress", decompress?);
        best.note("restore: hash", self.hash()?);
        let path = self.folder.join("written");
        let file = File::create(&path)?;
        file.set_len(self.image.bytes())?;
        let write = on_all(
            self.data.len(),
            || Ok(()),
            |(), number| Ok(file.write_all_at(&self.data[number], (number * CHUNK) as u64)?),
        );
        best.note("restore: write", write?);
        std::fs::remove_file(path)?;
        Ok(())
    }

    fn hash(&self) -> Result<f64, Failure> {
        on_all(
            self.data.len(),
            || Ok(()),
            |(), number| {
                std::hint::black_box(blake3::keyed_hash(&[7; 32], &self.data[number]));
                Ok(())
            },
        )
    }

    fn cipher(&self) -> Result<f64, Failure> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32])?);
        on_all(
            self.packed.len(),
            || Ok(vec![0; CHUNK]),
            |buffer, number| seal(&key, buffer, &self.packed[number].1),
        )
    }

    /// What sealing and opening take is the same.
    fn cipher_all(&self) -> Result<f64, Failure> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32])?);
        on_all(
            self.sources.len(),
            || Ok(vec![0; CHUNK]),
            |buffer, number| seal(&key, buffer, &self.packed[self.sources[number]].1),
        )
    }
}

fn seal(key: &LessSafeKey, buffer: &mut [u8], bytes: &[u8]) -> Result<(), Failure> {
    let buffer = &mut buffer[..bytes.len()];
    buffer.copy_from_slice(bytes);
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let _ = std::hint::black_box(key.seal_in_place_separate_tag(nonce, Aad::empty(), buffer)?);
    Ok(())
}

/// Does `work` for the numbers below `count` on as many threads as there are processors, each with a state of its own; gives the
/// seconds that took.
fn on_all<S>(
    count: usize,
    state: impl Fn() -> Result<S, Failure> + Sync,
    work: impl Fn(&mut S, usize) -> Result<(), Failure> + Sync,
) -> Result<f64, Failure> {
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    let one = || -> Result<(), Failure> {
        let mut state = state()?;
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                return Ok(());
            }
            work(&mut state, number)?;
        }
    };
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        running.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a stage panicked")?)
    })?;
    Ok(began.elapsed().as_secs_f64())
}
