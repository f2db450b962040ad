//! A part of a test in a process of its own: what ends the process, or leaves it without an end.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

const NAME: &str = "FAKE_VDDK_CHILD";
const KIT: &str = "FAKE_VDDK_CHILD_KIT";
const ARGUMENT: &str = "FAKE_VDDK_CHILD_ARGUMENT";

/// The kit of the parent, in a child.
pub(crate) fn kit() -> Option<PathBuf> {
    std::env::var_os(KIT).map(PathBuf::from)
}

/// In the process that `start` made for this test: does its part with the parent's argument, and ends. Call it first.
pub(crate) fn part(test: &str, body: impl FnOnce(&str)) {
    if std::env::var(NAME).is_ok_and(|name| name == test) {
        body(&std::env::var(ARGUMENT).unwrap());
        std::process::exit(0);
    }
}

/// Starts the same test in a process of its own.
pub(crate) fn start(test: &str, argument: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(NAME, test)
        .env(KIT, super::setup::kit())
        .env(ARGUMENT, argument)
        // A sanitizer shall leave the end to the process, and what it leaves behind to the system.
        .env("ASAN_OPTIONS", "handle_segv=0:detect_leaks=0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The same, and waits for its end.
pub(crate) fn run(test: &str, argument: &str) -> Output {
    start(test, argument).wait_with_output().unwrap()
}
