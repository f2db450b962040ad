//! Asking for a password, and showing that something goes on.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use vadp_repository::Progress;

/// A password: the variable in which it may be, and the question for it.
pub struct Password {
    variable: &'static str,
    prompt: &'static str,
}

pub const REPOSITORY: Password =
    Password { variable: "VADP_REPOSITORY_PASSWORD", prompt: "Password of the repository: " };
pub const NEW: Password =
    Password { variable: "VADP_REPOSITORY_NEW_PASSWORD", prompt: "New password of the repository: " };
pub const TO: Password =
    Password { variable: "VADP_REPOSITORY_TO_PASSWORD", prompt: "Password of the other repository: " };
pub const FILE: Password =
    Password { variable: "VADP_REPOSITORY_FILE_PASSWORD", prompt: "Password of the file: " };

impl Password {
    pub fn in_environment(&self) -> anyhow::Result<Option<String>> {
        let password = std::env::var(self.variable).ok();
        ensure!(password.as_deref() != Some(""), "{} is empty", self.variable);
        Ok(password)
    }
}

/// From the environment, or asked for without showing what is typed; twice for a new one.
pub fn password(which: &Password, is_new: bool) -> anyhow::Result<String> {
    if let Some(password) = which.in_environment()? {
        return Ok(password);
    }
    if !std::io::stdin().is_terminal() {
        bail!("there is no terminal to ask for the password: set {}", which.variable);
    }
    let password = ask(which.prompt)?;
    ensure!(!password.is_empty(), "without a password it would be open to everybody");
    if is_new {
        ensure!(ask("Once more: ")? == password, "these were two passwords");
    }
    Ok(password)
}

fn ask(prompt: &str) -> anyhow::Result<String> {
    eprint!("{prompt}");
    std::io::stderr().flush()?;
    let mut line = String::new();
    {
        let _quiet = Quiet::begin()?;
        std::io::stdin().lock().read_line(&mut line).context("cannot read the password")?;
    }
    eprintln!();
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

/// While it lives, the terminal does not show what is typed.
#[cfg(unix)]
struct Quiet(rustix::termios::Termios);

#[cfg(unix)]
impl Quiet {
    fn begin() -> anyhow::Result<Self> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(std::io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

#[cfg(unix)]
impl Drop for Quiet {
    fn drop(&mut self) {
        use rustix::termios::{OptionalActions, tcsetattr};
        // Without it the user types blindly, and `reset` helps; there is nobody to tell.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

#[cfg(not(unix))]
struct Quiet;

#[cfg(not(unix))]
impl Quiet {
    fn begin() -> anyhow::Result<Self> {
        bail!("the password cannot be asked for here: set {VARIABLE}")
    }
}

/// Progress over so many bytes.
pub fn bar(is_json: bool, bytes: u64) -> ProgressBar {
    let bar = if is_json { ProgressBar::hidden() } else { ProgressBar::new(bytes) };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {binary_bytes} of {binary_total_bytes}, {eta}")
    {
        bar.set_style(style);
    }
    bar
}

/// Shows how far something has come.
pub fn progress(bar: &ProgressBar) -> impl Fn(Progress) + Send + Sync {
    let bar = bar.clone();
    move |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.done_bytes);
    }
}

/// The standard output, for bytes.
#[cfg(unix)]
pub fn output() -> anyhow::Result<tokio::fs::File> {
    use std::os::fd::AsFd;
    let file = std::fs::File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    Ok(tokio::fs::File::from_std(file))
}

/// The standard input, for bytes.
#[cfg(unix)]
pub fn input() -> anyhow::Result<tokio::fs::File> {
    use std::os::fd::AsFd;
    let file = std::fs::File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    Ok(tokio::fs::File::from_std(file))
}

#[cfg(not(unix))]
pub fn output() -> anyhow::Result<tokio::fs::File> {
    bail!("pipes are not supported here: name a file")
}

#[cfg(not(unix))]
pub fn input() -> anyhow::Result<tokio::fs::File> {
    bail!("pipes are not supported here: name a file")
}

/// Something that takes a while. Nothing is shown without a terminal.
pub struct Waiting(ProgressBar);

impl Waiting {
    pub fn begin(is_json: bool, what: &'static str) -> Self {
        let bar = if is_json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.set_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
