use std::error::Error;
use std::process::Command;
use std::time::Instant;

use crate::Failure;

/// Tells a process of a bench what to measure: the argument before those that say it.
pub const MEASURE: &str = "--measure";

/// What a process has taken so far.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Processor time in seconds.
    pub seconds: f64,
    /// The most memory that it had, in megabytes (10^6 bytes).
    pub peak_mb: f64,
}

impl Usage {
    /// Reads it from `/proc`; `process` is a number, or `self`.
    ///
    /// # Errors
    /// What cannot be read, such as a process that is gone.
    pub fn of(process: &str) -> Result<Self, Box<dyn Error>> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name in parentheses may hold blanks; the 14th and 15th field are ticks of a hundredth of a second.
        let fields: Vec<&str> =
            stat.rsplit_once(')').ok_or("an odd /proc/PID/stat")?.1.split_whitespace().collect();
        let ticks = |index: usize| -> Result<f64, Box<dyn Error>> {
            Ok(fields.get(index).ok_or("a short /proc/PID/stat")?.parse()?)
        };
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
        let kibibytes: f64 = peak.trim().trim_end_matches("kB").trim().parse()?;
        Ok(Self { seconds: (ticks(11)? + ticks(12)?) / 100.0, peak_mb: kibibytes * 1024.0 / 1e6 })
    }
}

/// This program as another process, to do one thing.
///
/// # Errors
/// When the program's own file is not known.
pub fn ourselves(what: &[&str]) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(MEASURE).args(what);
    Ok(command)
}

/// Runs a command to its end; gives its seconds and what it printed.
///
/// # Errors
/// When it cannot be run, or fails: with what it said.
pub fn timed(command: &mut Command) -> Result<(f64, String), Failure> {
    let began = Instant::now();
    let ran = command.output();
    let ran = ran.map_err(|error| format!("{:?} cannot be run: {error}", command.get_program()))?;
    let seconds = began.elapsed().as_secs_f64();
    match ran.status.success() {
        true => Ok((seconds, String::from_utf8(ran.stdout)?)),
        false => Err(format!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&ran.stderr)).into()),
    }
}
