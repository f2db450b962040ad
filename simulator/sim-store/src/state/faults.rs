//! Failures that the fake VDDK plays on demand.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::{load_json, store_json};
use crate::{Error, Result};

/// One rule: which calls suffer, and how.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// The function's name without its prefix: `Read`, `Open`, `ConnectEx` ...
    pub function: String,
    /// Only calls on a path that contains this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Only transfers of more than so many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_bytes: Option<u64>,
    /// Only while more than so many disks are open, the one that is being opened among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above_open: Option<u64>,
    /// The first call to suffer, counted from 1 over the calls that match; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// How many calls suffer from then on. If absent: one where `nth` is given, otherwise all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Milliseconds to wait before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// A line to log as a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The code to answer; 0 lets the call succeed, unless `effect` says otherwise.
    #[serde(default)]
    pub code: u64,
    /// What the library says of this failure behind its usual text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whether a part of the work is done before the call fails.
    #[serde(default)]
    pub partial: bool,
    /// What happens other than an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<FaultEffect>,
    /// The transport modes that work here, with colons between: for `Open`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transports: Option<String>,
    /// The disk's sectors are of this size in bytes: for `Open`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sector_bytes: Option<u32>,
}

/// What happens to a call other than an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultEffect {
    /// It never returns.
    Hang,
    /// It reads where no memory is.
    Segfault,
    /// It ends the process.
    Abort,
    /// It calls the panic callback, which must not return.
    Panic,
    /// The session is lost: 14011 for this call and all later ones of the connection and its disks.
    LoseSession,
    /// The host's NFC service has no memory: 2, and the line that tells it.
    NfcMemory,
    /// An asynchronous request is not taken: its call fails, and calls nobody back.
    Refuse,
    /// An asynchronous request calls back before its call returns.
    Inline,
    /// An asynchronous request is done by another thread.
    Threaded,
    /// An asynchronous request calls back after the next one, or at the latest when its disk is waited for.
    HoldBack,
}

/// A call that rules are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultCall<'a> {
    /// The function's name without its prefix.
    pub function: &'a str,
    /// The path of the disk, or empty.
    pub object: &'a str,
    /// The length of a transfer, in bytes.
    pub bytes: u64,
    /// How many disks are open, the one that is being opened among them.
    pub open: u64,
}

impl FaultRule {
    fn matches(&self, call: &FaultCall<'_>) -> bool {
        self.function == call.function
            && self.object.as_deref().is_none_or(|part| call.object.contains(part))
            && self.above_bytes.is_none_or(|bytes| call.bytes > bytes)
            && self.above_open.is_none_or(|open| call.open > open)
    }
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

    /// Counts a call and gives the rule by which it suffers; the first one that strikes wins.
    ///
    /// # Errors
    /// `Corrupt` or `Io` if the rules cannot be read.
    pub fn check(&self, call: &FaultCall<'_>) -> Result<Option<FaultRule>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = self.stamp()?;
        if loaded.stamp != stamp {
            let rules = if stamp.is_some() { load_rules(&self.path)? } else { Vec::new() };
            *loaded = Loaded { stamp, rules: rules.into_iter().map(|rule| (rule, 0)).collect() };
        }
        let mut struck = None;
        for (rule, seen) in loaded.rules.iter_mut().filter(|(rule, _)| rule.matches(call)) {
            *seen += 1;
            let first = rule.nth.unwrap_or(1).max(1);
            let count = rule.count.unwrap_or(if rule.nth.is_some() { 1 } else { u64::MAX });
            if struck.is_none() && *seen >= first && *seen - first < count {
                struck = Some(rule.clone());
            }
        }
        Ok(struck)
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
