//! An image like that of a machine's disk, the same at every run.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::Failure;

/// Bytes of a chunk.
pub const CHUNK: usize = 1 << 20;
/// Kinds change after so many chunks, as files do on a disk.
const RUN: u64 = 4;

/// What is in a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Zero,
    /// Words, which zstd makes three times as small.
    Text,
    /// What media and archives look like.
    Noise,
    /// What the chunk with this number is, which comes before: what is on several disks made from one template, at the same place.
    /// restic would find it at any place, the fixed grid of our chunks would not.
    Copy(u64),
}

/// A file like a disk.
pub struct Image {
    /// The file.
    pub path: PathBuf,
    /// What is in each of its chunks.
    pub kinds: Vec<Kind>,
    words: Vec<Vec<u8>>,
}

impl Image {
    /// Makes the file, of so many chunks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn make(path: &Path, chunks: u64) -> Result<Self, Failure> {
        let mut chance = Chance(7);
        let words: Vec<Vec<u8>> = (0..8192).map(|_| chance.word()).collect();
        let mut kinds: Vec<Kind> = Vec::new();
        for number in 0..chunks {
            let kind = match (number % RUN, kinds.last()) {
                (1.., Some(Kind::Copy(of))) => Kind::Copy(of + 1),
                (1.., Some(kind)) => *kind,
                _ => match chance.below(20) {
                    0..5 => Kind::Zero,
                    5..13 => Kind::Text,
                    13..17 => Kind::Noise,
                    _ => Kind::Copy(chance.below(number / RUN + 1) * RUN),
                },
            };
            // A copy of a copy, of zeros, or of itself is nothing else.
            let kind = match kind {
                Kind::Copy(of) if of < number => match kinds[of as usize] {
                    Kind::Text | Kind::Noise => kind,
                    other => other,
                },
                Kind::Copy(_) => Kind::Text,
                other => other,
            };
            kinds.push(kind);
        }
        let mut file = BufWriter::with_capacity(CHUNK, File::create(path)?);
        for number in 0..chunks {
            file.write_all(&content(&words, &kinds, number))?;
        }
        file.flush()?;
        Ok(Self { path: path.to_owned(), kinds, words })
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        (self.kinds.len() * CHUNK) as u64
    }

    /// A chunk of text or noise that is not in the image; another one for each number.
    pub fn fresh(&self, kind: Kind, number: u64) -> Vec<u8> {
        made(&self.words, kind, Chance(!number))
    }

    /// How many chunks are like that.
    pub fn count(&self, is_of: impl Fn(&Kind) -> bool) -> u64 {
        self.kinds.iter().filter(|kind| is_of(kind)).count() as u64
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |is_of: fn(&Kind) -> bool| 100 * self.count(is_of) / self.kinds.len() as u64;
        write!(
            f,
            "{} MiB: {} % zeros, {} % text, {} % noise, {} % copies",
            self.bytes() >> 20,
            share(|kind| *kind == Kind::Zero),
            share(|kind| *kind == Kind::Text),
            share(|kind| *kind == Kind::Noise),
            share(|kind| matches!(kind, Kind::Copy(_))),
        )
    }
}

fn content(words: &[Vec<u8>], kinds: &[Kind], number: u64) -> Vec<u8> {
    match kinds[number as usize] {
        Kind::Copy(of) => content(words, kinds, of),
        kind => made(words, kind, Chance(number << 32)),
    }
}

fn made(words: &[Vec<u8>], kind: Kind, mut chance: Chance) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(CHUNK + 64);
    match kind {
        Kind::Zero | Kind::Copy(_) => bytes.resize(CHUNK, 0),
        Kind::Noise => {
            while bytes.len() < CHUNK {
                bytes.extend_from_slice(&chance.any().to_le_bytes());
            }
        }
        Kind::Text => {
            while bytes.len() < CHUNK {
                // Few words are frequent, as in languages and logs.
                let rank = chance.below(8192) * chance.below(8192) / 8192;
                bytes.extend_from_slice(&words[rank as usize]);
            }
        }
    }
    bytes.truncate(CHUNK);
    bytes
}

/// Numbers by chance, the same ones for the same seed.
pub struct Chance(pub u64);

impl Chance {
    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.any() % bound
    }

    fn word(&mut self) -> Vec<u8> {
        let letters = 2 + self.below(9);
        let mut word: Vec<u8> =
            (0..letters).map(|_| b'a' + (self.below(26) * self.below(26) / 26) as u8).collect();
        word.push(if self.below(12) == 0 { b'\n' } else { b' ' });
        word
    }
}
