//! What a backup holds beside its snapshot: a machine barred from migration, a template that is a machine for a while. Each is in
//! the journal before it is so, and is settled by looking at the machine.

use vim_api::mo::{ComputeResource, HostSystem, Managed, VirtualMachine};
use vixdisklib::AccessGuard;

use crate::error::{Error, ErrorKind};
use crate::journal::{Entry, Intent, Journal};
use crate::machine::ProtectedVm;
use crate::transport::Vddk;

/// The method that is disabled while a machine is barred from migration.
const MIGRATION: &str = "RelocateVM_Task";

/// A machine whose disks its server does not move. It has to be [released](Self::release); what is dropped instead is ended by the
/// disk library, and its journal entry by the next sweep.
#[must_use = "a machine that is barred from migration has to be released"]
pub(crate) struct MigrationBar {
    vm: ProtectedVm,
    guard: AccessGuard,
    entry: Entry,
}

/// A template that is a machine. It has to be [released](Self::release); what is dropped instead stays in the journal, and the next
/// sweep makes a template of it.
#[must_use = "a template that was made a machine has to be released"]
pub(crate) struct ConvertedTemplate {
    vm: ProtectedVm,
    entry: Entry,
}

impl MigrationBar {
    /// Bars the machine. `None` on a host alone, which moves nothing.
    ///
    /// # Errors
    /// When the intent cannot be journalled, or the disk library refuses: then nothing is barred.
    pub(crate) async fn take(
        vm: &ProtectedVm,
        journal: &Journal,
        disks: &Vddk,
    ) -> Result<Option<Self>, Error> {
        if !vm.client().is_vcenter() {
            return Ok(None);
        }
        let identity = identity_of(journal.owner());
        let entry =
            journal.record(Intent::Access { vm: vm.identity().clone(), identity: identity.clone() })?;
        match disks.bar_migration(vm, &identity).await {
            Ok(guard) => Ok(Some(Self { vm: vm.clone(), guard, entry })),
            Err(error) => {
                if !is_barred(vm).await? {
                    entry.settle()?;
                }
                Err(error)
            }
        }
    }

    /// Lifts the bar, and settles the journal entry once it is seen to be lifted.
    ///
    /// # Errors
    /// When it is not; the entry then stays.
    pub(crate) async fn release(self) -> Result<(), Error> {
        let Self { vm, guard, entry } = self;
        let ended = Vddk::end_access(&vm, guard).await;
        // The state decides: an end whose answer was lost has ended all the same.
        if is_barred(&vm).await? {
            let text = format!("{} is still barred from migration", vm.name());
            let error = Error::new(ErrorKind::OutcomeUnknown, text);
            return Err(match ended {
                Err(cause) => error.because(cause),
                Ok(()) => error,
            });
        }
        entry.settle()
    }
}

impl ConvertedTemplate {
    /// Makes a machine of a template; `None` for what is none.
    ///
    /// # Errors
    /// When it cannot be made one: then it is what it was.
    pub(crate) async fn take(vm: &ProtectedVm, journal: &Journal) -> Result<Option<Self>, Error> {
        if !vm.config().await?.template {
            return Ok(None);
        }
        let entry = journal.record(Intent::Template { vm: vm.identity().clone() })?;
        if let Err(error) = make_machine(vm).await
            && vm.config().await?.template
        {
            entry.settle()?;
            return Err(error);
        }
        Ok(Some(Self { vm: vm.clone(), entry }))
    }

    /// One that a run has converted that died; `entry` is its intent, which is this run's now.
    pub(crate) fn adopted(vm: ProtectedVm, entry: Entry) -> Self {
        Self { vm, entry }
    }

    /// Makes a template of it again.
    ///
    /// # Errors
    /// When it is still none afterwards; the entry then stays.
    pub(crate) async fn release(self) -> Result<(), Error> {
        mark(&self.vm).await?;
        self.entry.settle()
    }
}

async fn make_machine(vm: &ProtectedVm) -> Result<(), Error> {
    let context = || format!("making a machine of the template {}", vm.name());
    let runtime = vm.vm().require(VirtualMachine::RUNTIME).await.map_err(|e| Error::api(context(), e))?;
    let Some(host) = runtime.host else {
        return Err(Error::new(ErrorKind::NotEligible, format!("{}: it is on no host", context())));
    };
    let made = async {
        let at: HostSystem = vm.client().bind(&host);
        let compute: ComputeResource = vm.client().bind(&at.require(HostSystem::PARENT).await?.cast());
        let pool = compute.require(ComputeResource::RESOURCE_POOL).await?;
        vm.vm().mark_as_virtual_machine(&pool, Some(&host)).await
    };
    made.await.map_err(|e| Error::api(context(), e))
}

/// Makes a template of a machine, and looks.
pub(crate) async fn mark(vm: &ProtectedVm) -> Result<(), Error> {
    let marked = vm.vm().mark_as_template().await;
    if vm.config().await?.template {
        return Ok(());
    }
    let context = format!("making a template of {} again", vm.name());
    Err(match marked {
        Err(error) => Error::api(context, error),
        Ok(()) => Error::new(ErrorKind::OutcomeUnknown, context),
    })
}

/// Whether the machine's server says that it is not moved.
pub(crate) async fn is_barred(vm: &ProtectedVm) -> Result<bool, Error> {
    let disabled = vm.vm().get(VirtualMachine::DISABLED_METHOD).await;
    let disabled =
        disabled.map_err(|e| Error::api(format!("reading what is disabled on {}", vm.name()), e))?;
    Ok(disabled.unwrap_or_default().iter().any(|method| method == MIGRATION))
}

/// As whom the backups of a journal bar machines: the same in every run and on every machine, so that any of them can lift what
/// another has left. At most 50 characters.
pub(crate) fn identity_of(owner: &str) -> String {
    format!("vadp-backup-{owner}")
}
