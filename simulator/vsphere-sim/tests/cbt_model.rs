//! Changed block tracking over the wire, against an oracle that keeps whole contents by itself.
//!
//! A case is the life of a machine, by chance: its guest writes, snapshots come and go in any order, disks grow, tracking
//! goes off and on, the power fails, the simulator is restarted. After each step every change id that was ever handed out
//! is asked for at every snapshot: what is reported has to cover every byte that differs, or the id has to be refused.
//!
//! `CBT_MODEL_CASES=n` tries more cases, and `CBT_MODEL_SEED=n` repeats those that an earlier run printed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test may panic, in its helpers too"
)]

#[path = "cbt_model/life.rs"]
mod life;
#[path = "cbt_model/oracle.rs"]
mod oracle;

use std::time::{SystemTime, UNIX_EPOCH};

use life::Life;

/// Steps of a case.
const STEPS: u32 = 25;

#[tokio::test]
async fn what_is_reported_covers_what_differs() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into();
    let (cases, seed) =
        (number("CBT_MODEL_CASES").unwrap_or(4), number("CBT_MODEL_SEED").unwrap_or_else(clock));
    let mut told = oracle::Told::default();
    for case in 0..cases {
        println!("CBT_MODEL_SEED={} CBT_MODEL_CASES=1: case {case}", seed + case);
        let mut life = Life::begin(seed + case).await;
        for _ in 0..STEPS {
            life.step().await;
            life.check(&mut told).await;
        }
        life.end(&mut told).await;
        println!("after {} cases from seed {seed}: {told:?}", case + 1);
    }
    assert!(told.answered > 0 && told.all > 0, "nothing was asked: {told:?}");
}
