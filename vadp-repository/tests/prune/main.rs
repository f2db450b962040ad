//! Prunes: nothing that a point needs goes, and what nobody needs does, whoever works or dies meanwhile.

// Helpers of tests may panic like the tests themselves; the lint's own exception covers only test functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod care;
#[path = "../repository/guarded.rs"]
mod guarded;
mod model;
mod processes;
mod rules;
mod support;
