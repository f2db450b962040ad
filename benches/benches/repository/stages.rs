//! Ingest and restore, and each stage of theirs alone.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde_json::{Map, Value};
use zstd::bulk::{Compressor, Decompressor};

use crate::image::{BYTES, CHUNK, Image, Kind};
use crate::{Failure, ROUNDS, keep, restic, work};

/// Size of a pack.
const PACK: usize = 64 << 20;
/// What the format says of compression: level 3, and raw where it saves less than 3 %.
const LEVEL: i32 = 3;

pub(crate) fn figures(folder: &Path, image: &Image, figures: &mut Map<String, Value>) -> Result<(), Failure> {
    let (repository, restored) = (folder.join("repository"), folder.join("restored"));
    let stages = Stages::new(image, folder)?;
    let mut best = Table::default();
    let runtime = work::runtime()?;
    for _ in 0..ROUNDS {
        let ours = work::init(&repository)?;
        let (took, summary) = runtime.block_on(work::ingest(&ours, &image.path))?;
        best.note("ingest", took.as_secs_f64());
        let expected =
            [image.count(|kind| *kind == Kind::Zero), image.count(|kind| matches!(kind, Kind::Copy(_)))];
        if [summary.zero_chunks, summary.dedup_chunks] != expected {
            return Err(format!("{summary:?} is not what is in the image: {expected:?}").into());
        }
        stages.ingest(&mut best)?;
        best.note("restore", runtime.block_on(work::restore_to(&ours, &restored))?.as_secs_f64());
        restic::is_same(&image.path, &restored)?;
        stages.restore(&mut best)?;
        std::fs::remove_dir_all(&repository)?;
        std::fs::remove_file(&restored)?;
    }
    best.print();
    keep(figures, "ingest_vs_slowest_stage", best.slowest("ingest: ") / best.of("ingest"));
    keep(figures, "restore_vs_slowest_stage", best.slowest("restore: ") / best.of("restore"));
    // What all stages take one after the other, each on all processors: no order of them is faster where none of them waits.
    keep(figures, "ingest_vs_all_stages", best.sum("ingest: ") / best.of("ingest"));
    keep(figures, "restore_vs_all_stages", best.sum("restore: ") / best.of("restore"));
    keep(figures, "ingest_mb_s", BYTES as f64 / 1e6 / best.of("ingest"));
    keep(figures, "restore_mb_s", BYTES as f64 / 1e6 / best.of("restore"));
    Ok(())
}

/// The best time of each thing, in the order in which they came.
#[derive(Default)]
struct Table(Vec<(String, f64)>);

impl Table {
    fn note(&mut self, name: &str, seconds: f64) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, best)) => *best = best.min(seconds),
            None => self.0.push((name.to_owned(), seconds)),
        }
    }

    fn of(&self, name: &str) -> f64 {
        self.0.iter().find(|(known, _)| known == name).map_or(f64::NAN, |(_, seconds)| *seconds)
    }

    fn slowest(&self, prefix: &str) -> f64 {
        self.all(prefix).fold(0.0, f64::max)
    }

    fn sum(&self, prefix: &str) -> f64 {
        self.all(prefix).sum()
    }

    fn all(&self, prefix: &str) -> impl Iterator<Item = f64> {
        self.0.iter().filter(move |(name, _)| name.starts_with(prefix)).map(|(_, seconds)| *seconds)
    }

    fn print(&self) {
        for (name, seconds) in &self.0 {
            println!("{name:<24} {seconds:>8.3} s  {:>6.0} MB/s of the image", BYTES as f64 / 1e6 / seconds);
        }
    }
}

/// The bytes that come to each stage.
struct Stages<'a> {
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
    fn new(image: &'a Image, folder: &Path) -> Result<Self, Failure> {
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

    fn ingest(&self, best: &mut Table) -> Result<(), Failure> {
        let file = File::open(&self.image.path)?;
        best.note(
            "ingest: read",
            on_all(
                self.image.kinds.len(),
                || Ok(vec![0; CHUNK]),
                |buffer, chunk| Ok(file.read_exact_at(buffer, (chunk * CHUNK) as u64)?),
            )?,
        );
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

    fn restore(&self, best: &mut Table) -> Result<(), Failure> {
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
        file.set_len(BYTES)?;
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
