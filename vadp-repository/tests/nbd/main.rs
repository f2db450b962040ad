//! The NBD server against a client that is written out here byte by byte.

// Helpers of tests may panic like the tests themselves; the lint's own exception covers only test functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod client;
mod hostile;
mod overlay;
mod protocol;
mod sockets;
mod support;
