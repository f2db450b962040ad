//! The figures.

use std::time::Instant;

use serde::Serialize;
use vadp::cbt::Decision;
use vadp::{BackupOutcome, RestoreOutcome};
use vadp_repository::StoredPoint;

/// What happened, in numbers. Its JSON is the example's interface.
#[derive(Serialize, Default)]
pub(crate) struct Report {
    pub(crate) capacity_bytes: u64,
    pub(crate) allocated_bytes: u64,
    pub(crate) full: Copied,
    pub(crate) guest_changed_bytes: u64,
    pub(crate) incremental: Copied,
    pub(crate) restores: Vec<Restored>,
    pub(crate) snapshots_left: usize,
    pub(crate) sessions_left: usize,
    pub(crate) journal_entries_left: usize,
}

#[derive(Serialize, Default)]
pub(crate) struct Copied {
    pub(crate) read_bytes: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) seconds: f64,
    /// How the changes were found: `cbt`, or `full: <reason>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) change_source: Option<String>,
}

#[derive(Serialize)]
pub(crate) struct Restored {
    pub(crate) restore_point: String,
    pub(crate) written_bytes: u64,
    pub(crate) verified_bytes: u64,
    pub(crate) seconds: f64,
    pub(crate) identical: bool,
}

/// How long something took.
pub(crate) async fn timed<T>(work: impl Future<Output = T>) -> (T, f64) {
    let start = Instant::now();
    let value = work.await;
    (value, start.elapsed().as_secs_f64())
}

impl Report {
    pub(crate) fn new(capacity_bytes: u64, allocated_bytes: u64) -> Self {
        Self { capacity_bytes, allocated_bytes, ..Self::default() }
    }

    pub(crate) fn full(&mut self, outcome: &BackupOutcome, seconds: f64) -> anyhow::Result<()> {
        self.full = copied(outcome, seconds)?;
        Ok(())
    }

    pub(crate) fn incremental(&mut self, outcome: &BackupOutcome, seconds: f64) -> anyhow::Result<()> {
        let mut sources: Vec<String> = outcome
            .disks
            .iter()
            .map(|disk| match &disk.decision {
                Decision::Incremental(_) => "cbt".to_owned(),
                Decision::Full(reason) => format!("full: {reason}"),
            })
            .collect();
        sources.sort();
        sources.dedup();
        self.incremental = Copied { change_source: Some(sources.join(", ")), ..copied(outcome, seconds)? };
        Ok(())
    }

    pub(crate) fn restore(
        &mut self,
        point: &dyn StoredPoint,
        outcome: &RestoreOutcome,
        seconds: f64,
        identical: bool,
    ) {
        self.restores.push(Restored {
            restore_point: point.id().to_string(),
            written_bytes: outcome.disks.iter().map(|d| d.written).sum(),
            verified_bytes: outcome.disks.iter().map(|d| d.verified).sum(),
            seconds,
            identical,
        });
    }

    /// Whether everything is as it should be.
    pub(crate) fn is_good(&self) -> bool {
        self.restores.len() == 2
            && self.restores.iter().all(|r| r.identical && r.verified_bytes == self.capacity_bytes)
            && self.snapshots_left == 0
            && self.sessions_left == 0
            && self.journal_entries_left == 0
    }
}

fn copied(outcome: &BackupOutcome, seconds: f64) -> anyhow::Result<Copied> {
    if let Some(error) = &outcome.cleanup_error {
        anyhow::bail!("the backup is committed, and its snapshot could not be removed: {error}");
    }
    let read_bytes = outcome.disks.iter().map(|d| d.read).sum();
    let stored_bytes = outcome.disks.iter().map(|d| d.summary.stored_bytes).sum();
    Ok(Copied { read_bytes, stored_bytes, seconds, change_source: None })
}
