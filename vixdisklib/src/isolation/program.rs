//! Which program becomes a worker process.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::limits::TimeLimits;
use super::process::Process;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::Started;
use crate::worker;

const OPERATION: &str = "find a program for a worker process of";
const NAME: &str = "vddk-worker";
const OVERRIDE: &str = "VDDK_WORKER";
const SELF: &str = "/proc/self/exe";
const SEARCH_PATH: &str = "LD_LIBRARY_PATH";

/// What the caller chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// To be looked for.
    Any,
    /// This program.
    Program(PathBuf),
    /// This very program, which runs one of its tests.
    Test(String),
}

struct Candidate {
    program: PathBuf,
    arguments: Vec<OsString>,
}

/// Starts the first worker that fits, and the library of `directory` in it.
pub(crate) fn launch(
    choice: &Choice,
    directory: &Path,
    config: &Path,
    limits: TimeLimits,
) -> Result<(Process, Started)> {
    let candidates = candidates(choice);
    let mut misfits = Vec::new();
    for candidate in &candidates {
        match Process::launch(command(candidate, directory), limits) {
            Ok(process) => {
                let started = process.start(directory, config)?;
                tracing::debug!(program = %candidate.program.display(), worker = process.id(), "a worker process runs");
                return Ok((process, started));
            }
            // A named one is meant; one that was found may be a stranger.
            Err(error) if candidates.len() == 1 => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "a program that was found is no worker for this one");
                misfits.push(error.to_string());
            }
        }
    }
    let mut text = "there is none".to_owned();
    if !misfits.is_empty() {
        text = format!("none of those found fits: {}", misfits.join("; "));
    }
    Err(Error::new(ErrorKind::WorkerNotFound, OPERATION, text)
        .with_subject(directory.display().to_string())
        .with_advice(
            "begin main with vixdisklib::worker::serve_if_asked(), or install vddk-worker beside the program, or name it in the \
             environment variable VDDK_WORKER or with LibraryOptions::worker; LibraryOptions::in_process does without",
        ))
}

/// In the order in which they are tried.
fn candidates(choice: &Choice) -> Vec<Candidate> {
    let program = |program: PathBuf| Candidate { program, arguments: Vec::new() };
    match choice {
        Choice::Program(path) => return vec![program(path.clone())],
        Choice::Test(name) => {
            let arguments = [name, "--exact", "--nocapture", "--test-threads=1"];
            return vec![Candidate {
                program: PathBuf::from(SELF),
                arguments: arguments.iter().map(|argument: &&str| OsString::from(argument)).collect(),
            }];
        }
        Choice::Any => {}
    }
    if let Some(named) = std::env::var_os(OVERRIDE).filter(|named| !named.is_empty()) {
        return vec![program(named.into())];
    }
    let mut found: Vec<Candidate> = beside().into_iter().map(program).collect();
    if worker::is_hooked() {
        found.push(program(PathBuf::from(SELF)));
    }
    found
}

/// `vddk-worker` beside this program, or one folder up: cargo puts examples and tests below the folder of programs.
fn beside() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    let places = [Some(folder), folder.parent()];
    places.into_iter().flatten().map(|place| place.join(NAME)).find(|place| place.is_file())
}

fn command(candidate: &Candidate, directory: &Path) -> Command {
    let mut command = Command::new(&candidate.program);
    command.args(&candidate.arguments);
    if candidate.program == Path::new(SELF)
        && let Some(name) = std::env::args_os().next()
    {
        command.arg0(name);
    }
    // What the kit's libraries look for is found in the kit, and what this program uses is not.
    let lib64 = directory.join("lib64");
    let libraries = if lib64.is_dir() { lib64 } else { directory.to_owned() };
    command.env(SEARCH_PATH, search_path(&libraries, std::env::var_os(SEARCH_PATH).as_deref()));
    // Standard error is where dying C libraries leave their last words; standard output is the program's.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    // What a terminal sends to the program (an interrupt) is for the program to act on, with the library at hand.
    command.process_group(0);
    command
}

fn search_path(libraries: &Path, present: Option<&OsStr>) -> OsString {
    let mut path = libraries.as_os_str().to_owned();
    if let Some(present) = present.filter(|present| !present.is_empty()) {
        path.push(":");
        path.push(present);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kit_comes_first_in_the_search_path() {
        let path = |present| search_path(Path::new("/kit/lib64"), present);
        assert_eq!(path(None), "/kit/lib64");
        assert_eq!(path(Some(OsStr::new(""))), "/kit/lib64");
        assert_eq!(path(Some(OsStr::new("/opt/x"))), "/kit/lib64:/opt/x");
    }

    #[test]
    fn what_is_named_is_the_only_candidate() {
        assert_eq!(candidates(&Choice::Program("/x".into())).len(), 1);
        let test = candidates(&Choice::Test("entry".into()));
        assert_eq!(test[0].program, Path::new(SELF));
        assert_eq!(test[0].arguments[..2], ["entry", "--exact"]);
    }
}
