//! Failures that the fake VDDK plays on demand.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{load_json, store_json};
use crate::{Error, Result};

/// One rule: which calls fail, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// The function's name without its prefix: `Read`, `Open`, `ConnectEx` ...
    pub function: String,
    /// Only calls on a path that contains this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The first call to fail, counted from 1 over the calls that match; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// How many calls fail from then on. If absent: one where `nth` is given, otherwise all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The code to answer; 0 delays the call and lets it succeed.
    #[serde(default)]
    pub code: u64,
    /// Whether a part of the work is done before the call fails.
    #[serde(default)]
    pub partial: bool,
    /// Milliseconds to wait before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
}

/// What a call must do, because a rule struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultHit {
    /// The code to answer; 0 = only the delay.
    pub code: u64,
    /// Whether a part of the work is done first.
    pub partial: bool,
    /// How long to wait first.
    pub delay: Duration,
}

/// The rules of a data folder, with counters of this process.
///
/// The file is looked at before each check, so rules may come and go while a program runs; counters start at zero
/// when it changes. May be shared between threads.
#[derive(Debug)]
pub struct FaultSet {
    path: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug, Default)]
struct Loaded {
    stamp: Option<Stamp>,
    rules: Vec<(FaultRule, u64)>,
}

/// Each replacement of the file is a new file, so the inode tells versions apart even within one clock tick.
type Stamp = (u64, u64, i64, i64);

impl FaultSet {
    /// The faults of a server's data folder.
    pub fn new(data_dir: &Path) -> Self {
        Self { path: path_in(data_dir), loaded: Mutex::default() }
    }

    /// Counts a call and tells what it must suffer; the first rule that strikes wins. `object` is the path of the
    /// disk, or empty.
    ///
    /// # Errors
    /// `Corrupt` or `Io` if the rules cannot be read.
    pub fn check(&self, function: &str, object: &str) -> Result<Option<FaultHit>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.stamp()?;
        if loaded.stamp != stamp {
            let rules = if stamp.is_some() { load_rules(&self.path)? } else { Vec::new() };
            *loaded = Loaded { stamp, rules: rules.into_iter().map(|rule| (rule, 0)).collect() };
        }
        let mut hit = None;
        for (rule, seen) in &mut loaded.rules {
            let matches =
                rule.function == function && rule.object.as_deref().is_none_or(|part| object.contains(part));
            if !matches {
                continue;
            }
            *seen += 1;
            let first = rule.nth.unwrap_or(1).max(1);
            let count = rule.count.unwrap_or(if rule.nth.is_some() { 1 } else { u64::MAX });
            if hit.is_none() && *seen >= first && *seen - first < count {
                let delay = Duration::from_millis(rule.delay_ms.unwrap_or(0));
                hit = Some(FaultHit { code: rule.code, partial: rule.partial, delay });
            }
        }
        Ok(hit)
    }

    fn stamp(&self) -> Result<Option<Stamp>> {
        match fs::metadata(&self.path) {
            Ok(found) => Ok(Some((found.ino(), found.len(), found.mtime(), found.mtime_nsec()))),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::io("the fault rules cannot be examined", source).at(&self.path)),
        }
    }
}

/// Reads the rules of a data folder; no file means no rules.
///
/// # Errors
/// `Corrupt`, `Io`.
pub fn load_faults(data_dir: &Path) -> Result<Vec<FaultRule>> {
    load_rules(&path_in(data_dir))
}

/// Replaces the rules of a data folder in one step.
///
/// # Errors
/// `Io`, `NoSpace`.
pub fn store_faults(data_dir: &Path, rules: &[FaultRule]) -> Result<()> {
    store_json(&path_in(data_dir), &rules)
}

fn load_rules(path: &Path) -> Result<Vec<FaultRule>> {
    match load_json(path) {
        Err(error) if error.kind() == crate::ErrorKind::NotFound => Ok(Vec::new()),
        loaded => loaded,
    }
}

fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("faults.json")
}
