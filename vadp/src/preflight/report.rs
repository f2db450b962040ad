use std::fmt;

use serde::Serialize;

/// What a preflight found, the gravest first.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct PreflightReport {
    /// The machine's name.
    pub machine: String,
    /// What was looked at, and what was seen.
    pub findings: Vec<Finding>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// How grave it is.
    pub level: Level,
    /// What it is about.
    pub topic: Topic,
    /// What was seen.
    pub text: String,
    /// What somebody may do about it.
    pub fix: Option<String>,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It is as it should be.
    Good,
    /// The backup works, but not as well as it could; or nobody could look.
    Warning,
    /// The backup will fail.
    Failure,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Topic {
    /// The machine's state.
    Machine,
    /// Its disks, and whether a snapshot protects them.
    Disks,
    /// Snapshots that are there already.
    Snapshots,
    /// What the user may do.
    Privileges,
    /// What of its configuration can be captured, and what could be made of it elsewhere.
    Capture,
    /// Changed block tracking.
    Tracking,
    /// Whether the guest can be brought to rest.
    Quiescing,
    /// Space for the snapshot.
    Datastore,
    /// The way to the host.
    Host,
    /// Where the backup will go.
    Repository,
}

impl PreflightReport {
    pub(super) fn new(machine: &str, mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
        Self { machine: machine.to_owned(), findings }
    }

    /// Whether nothing was found that makes the backup fail. Warnings may be there.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.findings.iter().all(|finding| finding.level < Level::Failure)
    }

    /// What was found of this level.
    pub fn of_level(&self, level: Level) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.level == level)
    }
}

impl Finding {
    pub(super) fn good(topic: Topic, text: impl Into<String>) -> Self {
        Self { level: Level::Good, topic, text: text.into(), fix: None }
    }

    pub(super) fn warning(topic: Topic, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warning, topic, text: text.into(), fix: Some(fix.into()) }
    }

    pub(super) fn failure(topic: Topic, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Failure, topic, text: text.into(), fix: Some(fix.into()) }
    }

    /// Nobody could look: which is no reason to fail, and not nothing.
    pub(super) fn unseen(topic: Topic, what: &str, error: &dyn fmt::Display) -> Self {
        let text = format!("{what} could not be looked at: {error}");
        Self { level: Level::Warning, topic, text, fix: None }
    }
}

impl fmt::Display for PreflightReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.ok() { "can be backed up" } else { "cannot be backed up like this" };
        write!(f, "{} {verdict}", self.machine)?;
        for finding in &self.findings {
            write!(f, "\n{finding}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {:<8} {}: {}", self.level.to_string(), self.topic, self.text)?;
        match &self.fix {
            Some(fix) => write!(f, "\n           -> {fix}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Failure => "FAILURE",
        })
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Machine => "machine",
            Self::Disks => "disks",
            Self::Snapshots => "snapshots",
            Self::Privileges => "privileges",
            Self::Capture => "configuration",
            Self::Tracking => "changed block tracking",
            Self::Quiescing => "quiescing",
            Self::Datastore => "datastore",
            Self::Host => "host",
            Self::Repository => "repository",
        })
    }
}
