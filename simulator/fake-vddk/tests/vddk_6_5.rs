//! The wrapper and the fake against each other, through the real `dlopen` path: one process, one library, many servers.
//! Here it is VDDK 6.5.4, which lacks most.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "vddk/suite.rs"]
mod suite;

const SETUP: suite::setup::Setup =
    suite::setup::Setup { release: fake_vddk::Release::V6_5, strict: false, upper_bits: 0 };
