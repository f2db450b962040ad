//! Will a backup work, and if not, what must somebody do?

mod checks;
mod report;

use std::time::Duration;

use vadp_repository::BackupStore;

use crate::capture::PartName;
use crate::error::Error;
use crate::machine::ProtectedVm;
use crate::snapshot::Quiesce;

pub use report::{Finding, Level, PreflightReport, Topic};

/// The port of ESXi hosts through which VDDK's network transports read and write.
const DISK_PORT: u16 = 902;

/// Looks at everything that a backup will meet, and changes nothing.
///
/// ```no_run
/// # async fn example(vm: vadp::ProtectedVm, repository: vadp_repository::Repository) -> Result<(), vadp::Error> {
/// use vadp::{Preflight, Quiesce};
///
/// let report = Preflight::backup(&vm).repository(&repository).quiesce(Quiesce::Prefer).run().await?;
/// if !report.ok() {
///     eprintln!("{report}");
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is looked at until it is run"]
pub struct Preflight<'a> {
    vm: &'a ProtectedVm,
    repository: Option<&'a dyn BackupStore>,
    quiesce: Quiesce,
    excluded: Vec<i32>,
    required: Vec<PartName>,
    disk_port: Option<u16>,
    patience: Duration,
}

impl<'a> Preflight<'a> {
    /// For a backup of this machine.
    pub fn backup(vm: &'a ProtectedVm) -> Self {
        let patience = Duration::from_secs(5);
        let (quiesce, excluded, required) = (Quiesce::None, Vec::new(), Vec::new());
        Self { vm, repository: None, quiesce, excluded, required, disk_port: Some(DISK_PORT), patience }
    }

    /// Looks at the repository, or another store of backups, too.
    pub fn repository(mut self, repository: &'a dyn BackupStore) -> Self {
        self.repository = Some(repository);
        self
    }

    /// What the backup will ask of the guest.
    pub fn quiesce(mut self, quiesce: Quiesce) -> Self {
        self.quiesce = quiesce;
        self
    }

    /// The device keys of the disks that the backup will leave out.
    pub fn exclude(mut self, keys: impl IntoIterator<Item = i32>) -> Self {
        self.excluded.extend(keys);
        self
    }

    /// The parts of the configuration without which there will be no backup ([`Backup::require`](crate::Backup::require)).
    pub fn require(mut self, parts: impl IntoIterator<Item = PartName>) -> Self {
        self.required.extend(parts);
        self
    }

    /// The port of the host that is dialled, 902 unless told; `None` for transports that need no network.
    pub fn disk_port(mut self, port: impl Into<Option<u16>>) -> Self {
        self.disk_port = port.into();
        self
    }

    /// How long a host may take to answer, 5 seconds unless told.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Looks. What is wrong is in the report, not an error; what could not be looked at is there too, as a warning.
    ///
    /// # Errors
    /// When the machine itself cannot be read.
    pub async fn run(self) -> Result<PreflightReport, Error> {
        let config = self.vm.config().await?;
        let mut findings = Vec::new();
        let runtime = checks::state(&self, &config, &mut findings).await?;
        checks::disks(&self, &config, &mut findings);
        checks::privileges(&self, &config, &mut findings).await;
        checks::capture(&self, &config, &mut findings).await;
        checks::tracking(&self, &config, &mut findings).await;
        checks::guest(&self, &runtime, &mut findings).await;
        checks::datastores(&self, &config, &mut findings).await;
        checks::host(&self, &runtime, &mut findings).await;
        checks::repository(&self, &mut findings).await;
        Ok(PreflightReport::new(self.vm.name(), findings))
    }
}
