//! The repository from outside: what is written is read back, what is damaged is found, what crashes leaves no trace.

// Helpers of tests may panic like the tests themselves; the lint's own exception covers only test functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod copy;
mod crash;
mod damage;
mod export;
mod growth;
mod guarded;
mod index_cache;
mod keys;
mod pages;
mod rebuild;
mod repair;
mod round_trip;
mod stream;
mod support;
mod threat;
