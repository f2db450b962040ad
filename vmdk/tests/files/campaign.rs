//! How much chance is tried: a slice with every run of the tests, and the whole by `cargo xtask campaign disks`.

use proptest::prelude::*;

/// As many cases as the campaign asks for, and else `usual`.
pub fn slice(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig::with_cases(asked.unwrap_or(usual))
}
