//! A machine that is not whole yet: how it is told, and how it is removed.
//!
//! It bears a mark from the moment it exists: a key in its extra configuration whose value begins with the owner of the journal. The
//! mark goes with the specification that makes it whole. So a journal that was lost, or one on another machine, is no hindrance to finding it.

use vim_api::dynamic::{Poly, Value};
use vim_api::mo::{Folder, Managed, VirtualMachine};
use vim_api::types::{OptionValue, VirtualMachinePowerState};
use vim_api::{Client, MoRef};

use crate::error::{Error, ErrorKind};
use crate::journal::is_owner;
use crate::snapshot::wait_for;

/// The key of the mark.
pub(super) const MARK: &str = "vadp.recovery";

/// A machine with a mark.
#[derive(Debug, Clone)]
pub(crate) struct Marked {
    pub(crate) vm: MoRef<VirtualMachine>,
    pub(crate) name: String,
    pub(crate) mark: String,
}

/// Whose a mark is.
pub(crate) fn owner_of(mark: &str) -> Option<&str> {
    mark.split('-').next().filter(|owner| is_owner(owner))
}

/// The machines of the server whose marks are as wanted.
pub(crate) async fn marked(client: &Client, wanted: impl Fn(&str) -> bool) -> Result<Vec<Marked>, Error> {
    let read = async {
        let mut found = Vec::new();
        let root = client.content().root_folder.cast();
        for mut vm in client.list::<VirtualMachine>(&root, &["name", "config.extraConfig"]).await? {
            let options: Vec<Poly<OptionValue>> = vm.take("config.extraConfig")?.unwrap_or_default();
            if let Some(mark) = mark_of(&options).filter(|mark| wanted(mark)) {
                let name = vm.take::<String>("name")?.unwrap_or_default();
                found.push(Marked { vm: vm.object().clone(), name, mark: mark.to_owned() });
            }
        }
        Ok(found)
    };
    read.await.map_err(|e| Error::api("looking for machines that are half made", e))
}

/// The mark in an extra configuration.
pub(super) fn mark_of(options: &[Poly<OptionValue>]) -> Option<&str> {
    options.iter().find(|option| option.key == MARK).and_then(|option| match &option.value {
        Some(Value::String(mark)) if !mark.is_empty() => Some(mark.as_str()),
        _ => None,
    })
}

/// Removes the machine with this mark, if there is one, with its disks. `folder`: where it is being made; a task there may be about to
/// bring it about yet, and is waited for. Returns the names of what was removed.
///
/// # Errors
/// [`ErrorKind::NotEligible`] when somebody has switched it on; when the server refuses.
pub(crate) async fn remove(
    client: &Client,
    folder: Option<&MoRef<Folder>>,
    mark: &str,
) -> Result<Vec<String>, Error> {
    if let Some(folder) = folder {
        let folder: Folder = client.bind(folder);
        match folder.get(Folder::RECENT_TASK).await {
            Ok(tasks) => wait_for(client, tasks.unwrap_or_default(), "the folder").await?,
            // A folder that is gone has no machine either.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(Error::api("reading the recent tasks of the folder", error)),
        }
    }
    let mut removed = Vec::new();
    for found in marked(client, |other| other == mark).await? {
        destroy(client, &found.vm, &found.name).await?;
        removed.push(found.name);
    }
    Ok(removed)
}

/// Removes a half-made machine with its disks, unless somebody has switched it on.
pub(super) async fn destroy(client: &Client, vm: &MoRef<VirtualMachine>, name: &str) -> Result<(), Error> {
    let context = || format!("removing the half-made machine {name}");
    let vm: VirtualMachine = client.bind(vm);
    let tasks = vm.get(VirtualMachine::RECENT_TASK).await.map_err(|e| Error::api(context(), e))?;
    wait_for(client, tasks.unwrap_or_default(), name).await?;
    let runtime = vm.require(VirtualMachine::RUNTIME).await.map_err(|e| Error::api(context(), e))?;
    if runtime.power_state != VirtualMachinePowerState::PoweredOff {
        let text = format!("{}: somebody has switched it on: switch it off, or clear {MARK}", context());
        return Err(Error::new(ErrorKind::NotEligible, text));
    }
    let destroyed = async { vm.destroy_task().resend_after_login().await?.wait().await }.await;
    match destroyed {
        Ok(()) => {}
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(Error::api(context(), error)),
    }
    tracing::warn!(machine = name, "removed a machine that was half made");
    Ok(())
}
