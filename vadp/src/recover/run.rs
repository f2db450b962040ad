//! The making of a machine.

use std::sync::Mutex;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use vim_api::Upload;
use vim_api::mo::{Folder, Managed};
use vim_api::types::VirtualMachineConfigInfo;

use super::after;
use super::disk::Filling;
use super::half_made::{self, mark_of};
use super::plan::RecoverPlan;
use super::spec::NewDisk;
use crate::capture::files::nvram_path;
use crate::capture::{Loss, Part};
use crate::error::{Error, ErrorKind};
use crate::held;
use crate::journal::Intent;
use crate::machine::{self, ProtectedVm, VmSelector};
use crate::progress::{Event, Report};

/// Disks that are filled at a time.
const PARALLEL_DISKS: usize = 2;

/// A machine that was recovered.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecoverOutcome {
    /// The new machine.
    pub vm: ProtectedVm,
    /// Its disks.
    pub disks: Vec<RecoveredDisk>,
    /// What it does not have as it was.
    pub losses: Vec<Loss>,
    /// What could not be done once the machine was whole, each with the reason: a tag that is not there, a permission that may not be
    /// given.
    pub warnings: Vec<String>,
    /// Whether it was switched on.
    pub powered_on: bool,
}

/// A disk of a [`RecoverOutcome`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecoveredDisk {
    /// The device key that it had.
    pub saved_key: i32,
    /// Its device key.
    pub key: i32,
    /// Datastore path of its file.
    pub file: String,
    /// Its size in bytes.
    pub capacity: u64,
    /// Bytes written. What the restore point has as zeros is not.
    pub written: u64,
    /// Bytes that were read back and found right, and bytes that the disk does not hold and that are zero in the restore point.
    pub verified: u64,
    /// Digest of its content, where all of it was read back, in the form of [`RestoredDisk::digest`](crate::RestoredDisk::digest).
    pub digest: Option<[u8; 32]>,
}

/// A disk that was added and is empty.
struct Added<'a> {
    disk: &'a NewDisk,
    key: i32,
    file: String,
}

impl RecoverPlan<'_> {
    /// Makes the machine. When it fails, what was made of it is removed again.
    ///
    /// Dropping the future leaves a half-made machine, which the next sweep of this journal removes.
    ///
    /// # Errors
    /// [`ErrorKind::Journal`] when the intent cannot be written: then nothing was made. [`ErrorKind::Api`] with the fault of the server, for
    /// a disk with its name; [`ErrorKind::Repository`] when the restore point is damaged; [`ErrorKind::Verification`] when something does not
    /// read back as it was written. [`ErrorKind::OutcomeUnknown`] when, on top of it, the half-made machine could not be removed: sweep.
    pub async fn run(self, on_event: impl Fn(Event<'_>) + Send + Sync) -> Result<RecoverOutcome, Error> {
        let report = Report(&on_event);
        let entry = self.recover.journal.record(Intent::Machine {
            vcenter: self.recover.client.content().about.instance_uuid.clone(),
            folder: self.site.folder.value().to_owned(),
            name: self.planned().name.clone(),
            mark: self.mark.clone(),
        })?;
        let (vm, disks, mut warnings) = match self.make(&report).await {
            Ok(made) => made,
            Err(error) => {
                let removed =
                    half_made::remove(self.recover.client, Some(&self.site.folder), &self.mark).await;
                return Err(match removed {
                    Ok(_) => {
                        entry.settle()?;
                        error
                    }
                    Err(left) => {
                        let text =
                            format!("{error}; and what was made of the machine is there yet ({left}): sweep");
                        Error::new(ErrorKind::OutcomeUnknown, text).because(error)
                    }
                });
            }
        };
        entry.settle()?;
        warnings.extend(after::attach(&vm, &self.capsule.machine.parts).await);
        if self.machine.is_template()
            && let Err(error) = held::mark(&vm).await
        {
            warnings.push(format!("it is no template: {error}"));
        }
        let mut powered_on = false;
        if self.planned().power_on {
            let on = async { vm.vm().power_on_vm_task(None).await?.wait().await }.await;
            match on {
                Ok(()) => powered_on = !vm.is_powered_off().await?,
                Err(error) => warnings.push(format!("it is not on: {error}")),
            }
        }
        Ok(RecoverOutcome { vm, disks, losses: self.planned().losses.clone(), warnings, powered_on })
    }

    async fn make(
        &self,
        report: &Report<'_>,
    ) -> Result<(ProtectedVm, Vec<RecoveredDisk>, Vec<String>), Error> {
        let vm = self.create().await?;
        report.tell(Event::MachineCreated { name: vm.name() });
        let mut added = Vec::new();
        for disk in self.machine.disks() {
            added.push(self.add(&vm, disk).await?);
        }
        let warnings = Mutex::new(Vec::new());
        let disks: Vec<RecoveredDisk> = futures::stream::iter(&added)
            .map(|added| self.fill(&vm, added, report, &warnings))
            .buffered(PARALLEL_DISKS)
            .try_collect()
            .await?;
        let mut warnings = warnings.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.put_nvram(&vm, &mut warnings).await?;
        self.finish(&vm).await?;
        report.tell(Event::MachineDone { name: vm.name() });
        Ok((vm, disks, warnings))
    }

    async fn create(&self) -> Result<ProtectedVm, Error> {
        let name = &self.planned().name;
        let context = || format!("making the machine {name} in {}", self.site.folder_path);
        let client = self.recover.client;
        let folder: Folder = client.bind(&self.site.folder);
        let host = self.site.host.as_ref().map(|(host, _)| host);
        let made = async {
            folder.create_vm_task(self.machine.create_spec(), &self.site.pool, host).await?.wait().await
        };
        let made = made.await.map_err(|e| Error::api(context(), e))?;
        let vm = ProtectedVm::resolve(client, &VmSelector::MoRef(made)).await?;
        // Nobody would find it without.
        if mark_of(&vm.config().await?.extra_config) != Some(self.mark.as_str()) {
            half_made::destroy(client, &vm.vm().moref(), name).await?;
            let text = format!("{}: the server does not keep its extra configuration", context());
            return Err(Error::new(ErrorKind::NotEligible, text));
        }
        Ok(vm)
    }

    /// Adds a disk, and reads what the server has made of it.
    async fn add<'d>(&self, vm: &ProtectedVm, disk: &'d NewDisk) -> Result<Added<'d>, Error> {
        let context = || format!("adding {} on the datastore {}", disk.label, disk.datastore);
        let spec = self.machine.disk_spec(disk, &vm.config().await?)?;
        let added = async { vm.vm().reconfig_vm_task(&spec).await?.wait().await }.await;
        added.map_err(|e| Error::api(context(), e))?;
        let live = vm.config().await?;
        let key = self.machine.keys(&live).get(&disk.key).copied();
        let found = machine::disks(&live).into_iter().find(|found| Some(found.key) == key);
        let Some(found) = found.filter(|found| found.capacity == disk.capacity) else {
            let text = format!("{}: the server has made no such disk", context());
            return Err(Error::new(ErrorKind::OutcomeUnknown, text));
        };
        Ok(Added { disk, key: found.key, file: found.file_name })
    }

    async fn fill(
        &self,
        vm: &ProtectedVm,
        added: &Added<'_>,
        report: &Report<'_>,
        warnings: &Mutex<Vec<String>>,
    ) -> Result<RecoveredDisk, Error> {
        let saved_key = added.disk.key;
        let Some(reader) = self.readers.get(&saved_key) else {
            let text = format!("the restore point has no disk {saved_key} any more");
            return Err(Error::new(ErrorKind::RestorePoint, text));
        };
        let filling = Filling {
            vm,
            transport: self.recover.transport,
            reader: &**reader,
            saved_key,
            key: added.key,
            file: &added.file,
            descriptor: self.capsule.disks.get(&saved_key).and_then(|disk| disk.descriptor.get()),
            identity: self.recover.identity,
            verify: self.recover.verify,
        };
        let (disk, warning) = filling.fill(report).await?;
        if let Some(warning) = warning {
            warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(warning);
        }
        Ok(disk)
    }

    /// Puts the firmware's settings back. A machine with EFI may not start without them.
    async fn put_nvram(&self, vm: &ProtectedVm, warnings: &mut Vec<String>) -> Result<(), Error> {
        let file = match &self.capsule.machine.parts.nvram {
            Part::Captured(Some(file)) => file,
            // It was never on.
            Part::Captured(None) => return Ok(()),
            Part::Missing(missing) => {
                warnings.push(format!("its firmware's settings are new ones: {missing}"));
                return Ok(());
            }
        };
        let live: VirtualMachineConfigInfo = vm.config().await?;
        let Some(path) = nvram_path(&live) else {
            let text = "the server does not say where the files of the new machine are";
            return Err(Error::new(ErrorKind::OutcomeUnknown, text));
        };
        let content = Bytes::copy_from_slice(&file.content.0);
        let upload = Upload::sized(content.len() as u64, futures::stream::once(async { Ok(content) }));
        let files = self.recover.client.datastore_files(&self.site.datacenter);
        files.upload(&path, upload).await.map_err(|e| Error::api(format!("putting back {path}"), e))
    }

    /// Sets what had to wait, and takes the mark away.
    async fn finish(&self, vm: &ProtectedVm) -> Result<(), Error> {
        let spec = self.machine.late_spec(&vm.config().await?);
        let finished = async { vm.vm().reconfig_vm_task(&spec).await?.wait().await }.await;
        let Err(error) = finished else { return Ok(()) };
        let error = Error::api(format!("setting what is set last on {}", vm.name()), error);
        // It is whole or it is not, and the mark says which when the answer was lost.
        let is_lost = error.kind() == ErrorKind::OutcomeUnknown;
        if is_lost && mark_of(&vm.config().await?.extra_config).is_none() {
            return Ok(());
        }
        Err(error)
    }
}
