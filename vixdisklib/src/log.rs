//! VixDiskLib's log lines: to `tracing`, and into a short memory from which errors take the lines of their time.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use secrecy::{ExposeSecret, SecretString};

/// Lines that are kept for errors.
const KEPT: usize = 64;
/// Lines that one error carries at most.
const PER_ERROR: usize = 8;

/// How urgent VixDiskLib finds a line: which of its three callbacks it used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Log,
    Warn,
    Panic,
}

/// A moment in the stream of log lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark(u64);

/// A secret that must not appear in any line for as long as this lives.
#[derive(Debug)]
#[must_use]
pub(crate) struct Scrubbed(u64);

struct State {
    /// Number of the next kept line.
    next: u64,
    kept: VecDeque<(u64, String)>,
    secrets: Vec<(u64, SecretString)>,
    next_secret: u64,
    /// The first line that names the library's version.
    banner: Option<String>,
}

// The callbacks carry no user data, so what they write to has to be global. The lock is held for moments, and never
// while VixDiskLib is called, which may log from any of its threads.
static STATE: Mutex<State> =
    Mutex::new(State { next: 0, kept: VecDeque::new(), secrets: Vec::new(), next_secret: 0, banner: None });

/// Hears every line, in place of `tracing`.
type Forward = Box<dyn Fn(Level, &str) + Send + Sync>;

/// In a worker process: where its lines go.
static FORWARD: OnceLock<Forward> = OnceLock::new();

/// Sends all further lines to another process instead of `tracing`. Once in a process.
pub(crate) fn forward(to: Forward) {
    if FORWARD.set(to).is_err() {
        tracing::error!("log lines are forwarded already");
    }
}

/// Takes one formatted line from VixDiskLib.
pub(crate) fn receive(level: Level, line: &str) {
    let line = line.trim_end();
    if line.is_empty() {
        return;
    }
    let line = {
        let mut state = state();
        let line = scrub(line, &state.secrets);
        if state.banner.is_none() && line.contains("VMware VixDiskLib (") {
            state.banner = Some(line.clone());
        }
        if level != Level::Log || sounds_bad(&line) {
            let number = state.next;
            state.next += 1;
            if state.kept.len() == KEPT {
                state.kept.pop_front();
            }
            state.kept.push_back((number, line.clone()));
        }
        line
    };
    if let Some(forward) = FORWARD.get() {
        return forward(level, &line);
    }
    match level {
        Level::Log => tracing::debug!(target: "vixdisklib::vddk", "{line}"),
        Level::Warn => tracing::warn!(target: "vixdisklib::vddk", "{line}"),
        Level::Panic => tracing::error!(target: "vixdisklib::vddk", "{line}"),
    }
}

/// The present moment; what is logged later belongs to what starts now.
pub(crate) fn mark() -> Mark {
    Mark(state().next)
}

/// The last few kept lines since `mark`, oldest first.
pub(crate) fn since(mark: Mark) -> Vec<String> {
    let state = state();
    let lines: Vec<String> =
        state.kept.iter().filter(|(number, _)| *number >= mark.0).map(|(_, line)| line.clone()).collect();
    lines[lines.len().saturating_sub(PER_ERROR)..].to_vec()
}

/// The last kept line.
pub(crate) fn last() -> Option<String> {
    state().kept.back().map(|(_, line)| line.clone())
}

/// The line in which the library named its version, if it did.
pub(crate) fn banner() -> Option<String> {
    state().banner.clone()
}

/// Replaces `secret` by stars in every line until the returned value is dropped. An empty secret hides nothing.
pub(crate) fn hide(secret: &SecretString) -> Scrubbed {
    let mut state = state();
    let number = state.next_secret;
    state.next_secret += 1;
    if !secret.expose_secret().is_empty() {
        state.secrets.push((number, secret.clone()));
    }
    Scrubbed(number)
}

/// Stars out whatever is hidden at the moment; for texts that arrive by other ways than the log.
pub(crate) fn scrub_text(text: &str) -> String {
    scrub(text, &state().secrets)
}

impl Drop for Scrubbed {
    fn drop(&mut self) {
        state().secrets.retain(|(number, _)| *number != self.0);
    }
}

fn state() -> MutexGuard<'static, State> {
    // Nothing is left half-done by a panic in here: the state is worth keeping.
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn scrub(line: &str, secrets: &[(u64, SecretString)]) -> String {
    let mut line = line.to_owned();
    for (_, secret) in secrets {
        if line.contains(secret.expose_secret()) {
            line = line.replace(secret.expose_secret(), "***");
        }
    }
    line
}

/// Whether an informational line tells of a failure: NFC's reasons are logged like that.
fn sounds_bad(line: &str) -> bool {
    let line = line.to_ascii_lowercase();
    line.contains("error") || line.contains("fail")
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: the state is global and tests run in parallel.
    #[test]
    fn lines_are_kept_for_errors_without_secrets() {
        let start = mark();
        let hidden = hide(&SecretString::from("s3cr3t-of-log-test"));
        receive(Level::Warn, "login with s3cr3t-of-log-test refused\n");
        receive(Level::Log, "a quiet line");
        receive(Level::Log, "[NFC ERROR] out of buffers");
        let lines = since(start);
        assert!(lines.contains(&"login with *** refused".to_owned()), "{lines:?}");
        assert!(lines.contains(&"[NFC ERROR] out of buffers".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("quiet")), "{lines:?}");
        for number in 0..200 {
            receive(Level::Warn, &format!("flood {number}"));
        }
        assert_eq!(since(start).len(), PER_ERROR);
        drop(hidden);
        assert_eq!(scrub_text("s3cr3t-of-log-test"), "s3cr3t-of-log-test");
    }
}
