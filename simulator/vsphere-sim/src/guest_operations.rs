//! What would run inside of guests. There is no system in the machines here, so that every such call is refused, as a
//! server refuses it whose guest runs no tools that could do it.

use vim_api::dynamic::{Element, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::dispatch::method_not_found;
use crate::fault::{Outcome, fault, not_found};
use crate::inventory::service::Singleton;
use crate::machine::Power;
use crate::mode::Mode;
use crate::power;
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// A property of `GuestOperationsManager`.
pub(crate) fn property(mode: Mode, name: &str) -> Option<Value> {
    Some(match name {
        "authManager" => Singleton::GuestAuth.reference::<mo::GuestAuthManager>(mode)?.to_value(),
        "fileManager" => Singleton::GuestFiles.reference::<mo::GuestFileManager>(mode)?.to_value(),
        "processManager" => Singleton::GuestProcesses.reference::<mo::GuestProcessManager>(mode)?.to_value(),
        _ => return None,
    })
}

/// Carries out a call to one of the three managers.
pub(crate) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let is_here = match call.this.type_name() {
        "GuestAuthManager" => matches!(
            call.method.as_str(),
            "ValidateCredentialsInGuest" | "AcquireCredentialsInGuest" | "ReleaseCredentialsInGuest"
        ),
        "GuestFileManager" => matches!(
            call.method.as_str(),
            "MakeDirectoryInGuest"
                | "DeleteFileInGuest"
                | "DeleteDirectoryInGuest"
                | "MoveDirectoryInGuest"
                | "MoveFileInGuest"
                | "CreateTemporaryFileInGuest"
                | "CreateTemporaryDirectoryInGuest"
                | "ListFilesInGuest"
                | "ChangeFileAttributesInGuest"
                | "InitiateFileTransferFromGuest"
                | "InitiateFileTransferToGuest"
        ),
        _ => matches!(
            call.method.as_str(),
            "StartProgramInGuest"
                | "ListProcessesInGuest"
                | "TerminateProcessInGuest"
                | "ReadEnvironmentVariableInGuest"
        ),
    };
    if !is_here {
        return Err(method_not_found(call));
    }
    let vm: MoRef<mo::VirtualMachine> = call.required("vm")?;
    let state = shared.read(|world| world.machine(vm.value()).map(|machine| machine.power));
    match state.ok_or_else(|| not_found(&vm.cast()))? {
        Power::On => Err(fault(
            t::GuestOperationsUnavailable::default(),
            "The guest operations agent could not be contacted.",
        )),
        other => Err(power::wrong_state(Power::On, other)),
    }
}
