//! Names, sizes and contents of a plan's files.

use super::ImagePlan;
use crate::guest::random::Random;

const WORDS: &[&str] = &[
    "invoice",
    "report",
    "letter",
    "photo",
    "übersicht",
    "mail",
    "ledger",
    "draft",
    "notes",
    "plan",
    "скан",
    "log",
];
const KINDS: &[&str] = &["txt", "bin", "log", "dat", "jpg"];

/// Sizes that differ by three orders of magnitude and add up to the plan's total exactly.
pub(super) fn sizes(plan: &ImagePlan) -> Vec<u64> {
    let mut random = Random::keyed(plan.seed, &[1]);
    let weights: Vec<u64> =
        (0..plan.files).map(|_| (1 << random.below(9)) * (512 + random.below(512))).collect();
    let all: u128 = weights.iter().map(|&weight| u128::from(weight)).sum::<u128>().max(1);
    let mut sizes: Vec<u64> = weights
        .iter()
        .map(|&weight| (u128::from(plan.bytes_total) * u128::from(weight) / all) as u64)
        .collect();
    let rest = plan.bytes_total - sizes.iter().sum::<u64>();
    if let Some(last) = sizes.last_mut() {
        *last += rest;
    }
    sizes
}

/// A path in one of some twenty folders, two levels deep; short, long and non-ASCII names.
pub(super) fn path(seed: u64, index: u64) -> String {
    let mut random = Random::keyed(seed, &[2, index]);
    let mut pick = |from: &[&'static str]| from[random.below(from.len() as u64) as usize];
    let (word, other, kind) = (pick(WORDS), pick(WORDS), pick(KINDS));
    let (home, folder) = (index % 5, index / 5 % 4);
    format!(
        "home{home}/{}{folder}/{word} {other} {index:05}.{kind}",
        ["docs", "Fotos und Bilder", "a", "tmp"][folder as usize]
    )
}

/// Half of the files are text, which compresses; half are random, which does not.
pub(super) fn bytes(seed: u64, index: u64, size: u64) -> Vec<u8> {
    let mut random = Random::keyed(seed, &[3, index]);
    let mut bytes = vec![0; size as usize];
    if random.below(2) == 0 {
        random.fill(&mut bytes);
        return bytes;
    }
    let mut at = 0;
    while at < bytes.len() {
        let line =
            format!("{:08x} {}\n", random.next() as u32, WORDS[random.below(WORDS.len() as u64) as usize]);
        let count = line.len().min(bytes.len() - at);
        bytes[at..at + count].copy_from_slice(&line.as_bytes()[..count]);
        at += count;
    }
    bytes
}
