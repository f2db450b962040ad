//! Images with some bytes changed: an error or an answer, never a panic, never without an end. Where metadata has checksums, and all of it is read
//! by them, no wrong answer either.
//!
//! `FILES_VARIANTS` says how many of each image are tried, `FILES_SEED` from which seed; it is printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test may panic, in its helpers too"
)]

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use flate2::read::GzDecoder;
use vadp_files::{Disks, NodeKind};

/// Each image, and whether all that `summary` tells is under checksums there.
const IMAGES: &[(&str, bool)] = &[
    ("ext4", true),
    ("xfs", true),
    ("btrfs", true),
    ("xfs-in-use", false),
    ("ext2", false),
    ("ntfs", false),
    ("fat12", false),
    ("exfat", false),
];

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// xorshift64*: enough for choosing bytes, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

/// All names, what is known of them, and the beginnings of all contents; `None` when anything was an error.
fn summary(image: Vec<u8>) -> Option<Vec<String>> {
    let mut disks = Disks::new();
    disks.add("disk", Arc::new(image));
    let volumes = disks.volumes().ok()?;
    let mut found = Vec::new();
    let mut is_whole = volumes.len() == 1;
    for volume in volumes {
        let Ok(tree) = volume.open() else { return None };
        let walked = tree.walk("", |step| {
            let Ok(step) = step else {
                is_whole = false;
                return Ok(true);
            };
            let mut text = format!("{:?} {:?}", String::from_utf8_lossy(&step.path), step.stat);
            match step.stat.kind {
                NodeKind::File => match tree.system().open(step.node) {
                    Ok(file) => {
                        let mut beginning = vec![0; file.size().min(8192) as usize];
                        is_whole &= file.read_exact_at(&mut beginning, 0).is_ok();
                        is_whole &= file.size() == step.stat.size;
                    }
                    Err(_) => is_whole = false,
                },
                NodeKind::Link => match tree.system().read_link(step.node) {
                    Ok(target) => text += &String::from_utf8_lossy(&target),
                    Err(_) => is_whole = false,
                },
                _ => {}
            }
            match tree.system().xattrs(step.node) {
                Ok(xattrs) => text += &format!("{xattrs:?}"),
                Err(_) => is_whole = false,
            }
            found.push(text);
            Ok(found.len() < 10_000)
        });
        is_whole &= walked.is_ok();
    }
    is_whole.then_some(found)
}

#[test]
fn changed_images() {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = number("FILES_SEED").unwrap_or(clock) | 1;
    let variants = number("FILES_VARIANTS").unwrap_or(25);
    println!("seed {seed}, {variants} variants of each image");
    let mut random = Random(seed);
    for &(name, has_checksums) in IMAGES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name).with_extension("gz");
        let mut whole = Vec::new();
        GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut whole).unwrap();
        let wanted = summary(whole.clone()).expect("the image is whole");
        // Most of an image is empty: bytes of blocks that are not are of interest.
        let used: Vec<usize> = (0..whole.len() / 512)
            .filter(|sector| whole[sector * 512..][..512].iter().any(|&byte| byte != 0))
            .collect();
        let mut errors = 0;
        for variant in 0..variants {
            let mut image = whole.clone();
            let changes = 1 + random.below(4);
            for _ in 0..changes {
                let at = used[random.below(used.len())] * 512 + random.below(512);
                image[at] = match random.below(3) {
                    0 => image[at] ^ 1 << random.below(8),
                    1 => 0xFF,
                    _ => random.below(256) as u8,
                };
            }
            let began = Instant::now();
            let got = summary(image);
            assert!(began.elapsed().as_secs() < 60, "{name}, variant {variant} of seed {seed} took too long");
            match got {
                None => errors += 1,
                Some(got) if has_checksums => {
                    assert_eq!(got, wanted, "{name}, variant {variant} of seed {seed}: a wrong answer");
                }
                Some(_) => {}
            }
        }
        println!("{name}: {errors} of {variants} were refused, in part or as a whole");
    }
}
