//! The wrapper and the fake against each other, through the real `dlopen` path: one process, one library, many servers.
//! Here it is VDDK 6.7.3, in strict mode.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "vddk/suite.rs"]
mod suite;

const SETUP: suite::setup::Setup =
    suite::setup::Setup { release: fake_vddk::Release::V6_7, strict: true, upper_bits: 0 };
