//! Any bytes as an object of a repository, or as what is in its seals, by the first byte: read or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vadp_repository::seam::{Fixed, Parse};

const FIXED: Fixed =
    Fixed { repository: [1; 16], identity: [2; 32], epoch_key: [3; 32], salt: [4; 32], object: [5; 16] };

fuzz_target!(|bytes: &[u8]| {
    let Some((what, bytes)) = bytes.split_first() else { return };
    // Random bytes pass no seal, so what is behind one is given without.
    let what = Parse::ALL[usize::from(*what) % Parse::ALL.len()];
    let _ = FIXED.parse(what, bytes);
});
