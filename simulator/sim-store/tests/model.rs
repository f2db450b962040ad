//! Random lives of a disk, compared with an oracle that remembers its content at every snapshot.
//!
//! `PROPTEST_CASES=2000 cargo test -p sim-store --test model` tries many.

#![allow(clippy::unwrap_used, reason = "a failed test may panic, in its helpers too")]

#[path = "files/life.rs"]
mod life;

use life::{FORMATS, Life, Step, chance, step};
use proptest::prelude::*;
use sim_store::DeltaFormat;

/// Not a multiple of any grain.
const SMALL: u64 = 50 * 4096 + 1536;
/// More than two tables of vmfsSparse.
const LARGE: u64 = (4 << 20) + (100 << 10) + 1536;

fn tracked_step(capacity: u64) -> impl Strategy<Value = Step> {
    let granularity = prop::sample::select(vec![512_u64, 4096, 16 << 10, 64 << 10]);
    prop_oneof![
        20 => step(capacity),
        1 => (1..40_u64).prop_map(|sectors| Step::Grow(sectors * 512)),
        2 => granularity.prop_map(Step::TrackOn),
        1 => Just(Step::TrackOff),
        1 => Just(Step::Renew),
    ]
}

fn live(folder: &std::path::Path, capacity: u64, format: DeltaFormat, steps: &[Step], limit: usize) {
    let mut life = Life::new(folder, capacity, format);
    life.apply(&Step::TrackOn(4096));
    for step in steps {
        life.apply(step);
        life.check(limit);
    }
    // With the last snapshot gone, no link but the base is left, and no litter.
    while !life.snapshots.is_empty() {
        life.apply(&Step::Remove(0));
    }
    life.apply(&Step::Consolidate);
    life.apply(&Step::TrackOff);
    life.check(limit);
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["vm-flat.vmdk", "vm.vmdk"]);
}

#[test]
fn disks_live_as_the_oracle_says() {
    let small = prop::collection::vec(tracked_step(SMALL), 1..40).prop_map(|steps| (SMALL, steps));
    let large = prop::collection::vec(tracked_step(LARGE), 1..16).prop_map(|steps| (LARGE, steps));
    let lives = (prop::sample::select(FORMATS.to_vec()), prop_oneof![9 => small, 1 => large], 1..5_usize);
    let mut runner = proptest::test_runner::TestRunner::new(chance(48));
    runner
        .run(&lives, |(format, (capacity, steps), limit)| {
            let folder = tempfile::tempdir().unwrap();
            live(folder.path(), capacity, format, &steps, limit);
            Ok(())
        })
        .unwrap();
}
