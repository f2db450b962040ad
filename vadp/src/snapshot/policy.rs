//! What is asked of a snapshot, and what was got.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vim_api::dynamic::Poly;
use vim_api::types::{
    ApplicationQuiesceFault, FilesystemQuiesceFault, ResourceInUse, TaskInProgress, ToolsUnavailable,
    VirtualMachineGuestQuiesceSpec, VirtualMachineWindowsQuiesceSpec,
};

/// The general fault. Those that extend it and say more are told apart.
const SNAPSHOT_FAULT: &str = "SnapshotFault";

/// Whether the guest is brought to rest for the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Quiesce {
    /// It is not: the disks are as after a power cut.
    #[default]
    None,
    /// It is, if it can be: otherwise the backup is as after a power cut, and says so.
    Prefer,
    /// It is, or there is no backup.
    Require,
}

/// How the guest is brought to rest, and how often that is tried.
///
/// ```
/// use std::time::Duration;
/// use vadp::{Quiesce, QuiescePolicy, VssContext, VssSpec};
///
/// let policy = QuiescePolicy::new(Quiesce::Require)
///     .attempts(2)
///     .pause(Duration::from_secs(60))
///     .timeout_minutes(15)
///     .vss(VssSpec { context: VssContext::Backup, ..VssSpec::default() });
/// # let _ = policy;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuiescePolicy {
    level: Quiesce,
    attempts: u32,
    pause: Duration,
    timeout_minutes: Option<u8>,
    vss: Option<VssSpec>,
}

/// What Windows' Volume Shadow Copy Service is asked for. Means nothing to other guests.
///
/// Source: the API's `VirtualMachineWindowsQuiesceSpec`, and the VDDK guide on application quiescing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VssSpec {
    /// What the writers are told of the backup: a copy leaves their logs alone, a full backup truncates them.
    pub backup: VssBackup,
    /// Whether the state that Windows boots from is included.
    pub bootable_system_state: bool,
    /// Whether writers may name parts of files.
    pub partial_files: bool,
    /// Which writers take part.
    pub context: VssContext,
}

/// VSS's type of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VssBackup {
    /// Logs are truncated by applications that do so after a full backup.
    Full,
    /// What changed since the last backup.
    Incremental,
    /// What changed since the last full backup.
    Differential,
    /// Only logs.
    Log,
    /// Everything, and no application takes notice.
    #[default]
    Copy,
}

/// VSS's context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VssContext {
    /// With writers where that works, without otherwise: VMware Tools decide.
    #[default]
    Auto,
    /// With writers.
    Backup,
    /// Without writers: file systems only.
    FileShareBackup,
}

/// In what state the disks of a snapshot are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Consistency {
    /// As after a power cut.
    #[default]
    Crash,
    /// The guest was off.
    PoweredOff,
    /// VMware Tools had brought the guest to rest: file systems, and by VSS or freeze scripts the applications that take part.
    Quiesced,
}

/// One attempt to take the snapshot that did not lead to it as it was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SnapshotAttempt {
    /// Whether the guest was to be brought to rest.
    pub quiesced: bool,
    /// Why it failed, in the server's words or in ours.
    pub fault: String,
}

/// What a failed attempt means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultClass {
    /// Another task has the machine, or something it needs: it will go.
    Busy,
    /// The guest did not come to rest.
    Quiescing,
    /// Nothing that another attempt would change.
    Final,
}

impl QuiescePolicy {
    /// Two attempts, 30 seconds apart, with the server's own time limit and whatever VMware Tools choose to do.
    #[must_use]
    pub fn new(level: Quiesce) -> Self {
        Self { level, attempts: 2, pause: Duration::from_secs(30), timeout_minutes: None, vss: None }
    }

    /// How often the guest is asked to come to rest, at least once.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// How long the guest is left alone after an attempt that failed.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// How many minutes the guest may take; less than 5 is 5, more than 240 is 240, which are the API's limits.
    #[must_use]
    pub fn timeout_minutes(mut self, minutes: u8) -> Self {
        self.timeout_minutes = Some(minutes.clamp(5, 240));
        self
    }

    /// What VSS is asked for in a Windows guest.
    #[must_use]
    pub fn vss(mut self, vss: VssSpec) -> Self {
        self.vss = Some(vss);
        self
    }

    pub(super) fn level(&self) -> Quiesce {
        self.level
    }

    pub(super) fn allowed_attempts(&self) -> u32 {
        self.attempts
    }

    pub(super) fn pause_between(&self) -> Duration {
        self.pause
    }

    pub(super) fn spec(&self) -> Poly<VirtualMachineGuestQuiesceSpec> {
        let base = VirtualMachineGuestQuiesceSpec {
            timeout: self.timeout_minutes.map(i32::from),
            ..Default::default()
        };
        match &self.vss {
            None => Poly::new(base),
            Some(vss) => Poly::new(VirtualMachineWindowsQuiesceSpec {
                base,
                vss_backup_type: Some(vss.backup.number()),
                vss_bootable_system_state: Some(vss.bootable_system_state),
                vss_partial_file_support: Some(vss.partial_files),
                vss_backup_context: Some(vss.context.as_str().to_owned()),
            }),
        }
    }
}

impl From<Quiesce> for QuiescePolicy {
    fn from(level: Quiesce) -> Self {
        Self::new(level)
    }
}

impl Default for QuiescePolicy {
    fn default() -> Self {
        Self::new(Quiesce::default())
    }
}

impl VssBackup {
    /// Windows' own numbers (`VSS_BACKUP_TYPE`).
    fn number(self) -> i32 {
        match self {
            Self::Full => 1,
            Self::Incremental => 2,
            Self::Differential => 3,
            Self::Log => 4,
            Self::Copy => 5,
        }
    }
}

impl VssContext {
    fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "ctx_auto",
            Self::Backup => "ctx_backup",
            Self::FileShareBackup => "ctx_file_share_backup",
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crash => "as after a power cut",
            Self::PoweredOff => "powered off",
            Self::Quiesced => "quiesced",
        })
    }
}

/// `quiesced`: whether the attempt that failed was to bring the guest to rest.
pub(super) fn classify(error: &vim_api::Error, quiesced: bool) -> FaultClass {
    if error.find_fault::<TaskInProgress>().is_some() || error.find_fault::<ResourceInUse>().is_some() {
        return FaultClass::Busy;
    }
    // The last word is the general fault: with the guest asked to rest, a snapshot that fails for no other reason is retried
    // and then done without, which loses nothing.
    let of_the_guest = error.find_fault::<ApplicationQuiesceFault>().is_some()
        || error.find_fault::<FilesystemQuiesceFault>().is_some()
        || error.find_fault::<ToolsUnavailable>().is_some()
        || error.any_fault().is_some_and(|fault| fault.fault.type_name() == SNAPSHOT_FAULT);
    if quiesced && of_the_guest { FaultClass::Quiescing } else { FaultClass::Final }
}
