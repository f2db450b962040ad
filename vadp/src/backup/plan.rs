//! What a backup would do, told before anything is touched.

use std::fmt;

use vadp_repository::PointId;

use super::Backup;
use crate::cbt::{self, Decision};
use crate::eligibility::{self, UnprotectedDisk};
use crate::error::Error;

/// What a backup would do. The snapshot has the last word: a server may refuse a change id, and a machine may change.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BackupPlan {
    /// The machine's name.
    pub machine: String,
    /// The restore point that incremental disks build on.
    pub parent: Option<PointId>,
    /// The disks that will be backed up.
    pub disks: Vec<PlannedDisk>,
    /// The disks that are left out, on request.
    pub excluded: Vec<UnprotectedDisk>,
    /// What runs that died have left and will be cleaned up first.
    pub to_sweep: usize,
}

/// A disk of a [`BackupPlan`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PlannedDisk {
    /// Device key.
    pub key: i32,
    /// The disk's label, such as "Hard disk 1".
    pub label: String,
    /// The disk's size in bytes.
    pub capacity: u64,
    /// How it would be backed up, if tracking that is on did not begin anew.
    pub decision: Decision,
}

impl Backup<'_> {
    /// What [`run`](Self::run) would do. Nothing is taken, written or changed.
    ///
    /// # Errors
    /// [`ErrorKind::NotEligible`](crate::ErrorKind::NotEligible), as of `run`; when the machine, the repository or the journal
    /// cannot be read.
    pub async fn plan(&self) -> Result<BackupPlan, Error> {
        let mut config = self.vm.config().await?;
        config.template &= !self.convert_template;
        eligibility::check(self.vm.name(), &config, &self.excluded)?;
        let parent = match self.full {
            true => None,
            false => self.latest().await?,
        };
        let (disks, excluded) = eligibility::split(&config, &self.excluded);
        let signs = cbt::signs_since(self.vm, parent.as_deref()).await?;
        let is_tracked = config.change_tracking_enabled.unwrap_or(false);
        let mut planned = Vec::new();
        for found in disks {
            let judged = cbt::judge(&found, parent.as_deref(), is_tracked, &signs, self.full).await?;
            planned.push(PlannedDisk {
                key: found.key,
                label: found.label,
                capacity: found.capacity,
                decision: judged.decision,
            });
        }
        let to_sweep = self.journal.orphans()?.len();
        Ok(BackupPlan {
            machine: self.vm.name().to_owned(),
            parent: parent.map(|point| point.id()),
            disks: planned,
            excluded,
            to_sweep,
        })
    }
}

impl fmt::Display for BackupPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.machine)?;
        match &self.parent {
            Some(parent) => write!(f, "onto restore point {parent}")?,
            None => f.write_str("no restore point to build on")?,
        }
        if self.to_sweep > 0 {
            write!(f, "\n  first, what {} runs that died have left is cleaned up", self.to_sweep)?;
        }
        for disk in &self.disks {
            write!(f, "\n  {} (key {}, {} bytes): {}", disk.label, disk.key, disk.capacity, disk.decision)?;
        }
        for disk in &self.excluded {
            write!(f, "\n  {} (key {}): left out", disk.label, disk.key)?;
            if let Some(obstacle) = &disk.obstacle {
                write!(f, "; it {obstacle}")?;
            }
        }
        Ok(())
    }
}
