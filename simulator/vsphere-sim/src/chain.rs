//! A machine's disks as files: host paths, pending change tracking, and the text files beside them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sim_store::{DatastorePath, tracking};
use vim_api::types as t;

use crate::fault::{Fault, Outcome, fault, from_store, not_found};
use crate::inventory::machine_ref;
use crate::machine::{DiskState, Machine, Settings};
use crate::world::{Shared, World};

/// A copy of what work on a machine's disks needs, taken before the work begins.
pub(crate) struct Held {
    pub(crate) machine: Machine,
    /// To be locked while chains change.
    pub(crate) stun: Arc<Mutex<()>>,
}

/// A link with its host path.
pub(crate) struct HostLink {
    pub(crate) key: i32,
    pub(crate) path: DatastorePath,
    pub(crate) host: PathBuf,
}

impl Held {
    /// Copies a machine.
    pub(crate) fn take(shared: &Shared, id: &str) -> Outcome<Self> {
        shared.read(|world| {
            let machine = world
                .machine(id)
                .ok_or_else(|| not_found(&vim_api::MoRef::<vim_api::mo::VirtualMachine>::new(id).cast()))?;
            Ok(Self { machine: machine.clone(), stun: Arc::clone(&machine.stun) })
        })
    }

    /// The links of some disks with their host paths.
    pub(crate) fn links(shared: &Shared, disks: &[DiskState]) -> Outcome<Vec<HostLink>> {
        shared.read(|world| disks.iter().map(|disk| host_link(world, disk)).collect())
    }

    /// The host paths of all links that snapshots own.
    pub(crate) fn owned(shared: &Shared, machine: &Machine) -> Outcome<Vec<PathBuf>> {
        shared.read(|world| {
            let disks = machine.snapshots.iter().flat_map(|snapshot| &snapshot.settings.disks);
            disks.map(|disk| host_link(world, disk).map(|link| link.host)).collect()
        })
    }
}

/// Brings the tracking of the live links in line with what is configured. It happens whenever the machine is
/// stunned; the disks must not be open for writing.
pub(crate) fn apply_tracking(shared: &Shared, settings: &Settings) -> Outcome<()> {
    for link in Held::links(shared, &settings.disks)? {
        let done = if settings.change_tracking {
            tracking::enable(&link.host, None)
        } else {
            tracking::disable(&link.host)
        };
        done.map_err(|error| from_store(&error, &link.path.to_string()))?;
    }
    Ok(())
}

/// The datastore path of a file beside another.
pub(crate) fn beside(path: &DatastorePath, host: &Path) -> Outcome<DatastorePath> {
    let name = host.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.sibling(name).map_err(|error| from_store(&error, &path.to_string()))
}

/// Writes the `.vmx` and the snapshot list of a machine anew.
pub(crate) fn write_text_files(shared: &Shared, id: &str) -> Outcome<()> {
    let (machine, vmx) = shared.read(|world| {
        let machine = world.machine(id).cloned();
        let path = machine.as_ref().map(|machine| world.resolve(&machine.vmx));
        (machine, path)
    });
    let (Some(machine), Some(vmx)) = (machine, vmx) else { return Ok(()) };
    let vmx = vmx.map_err(|error| from_store(&error, &machine.vmx.to_string()))?;
    write(&vmx, &crate::vmx::render(&machine), &machine)?;
    write(&vmx.with_extension("vmsd"), &crate::vmx::snapshot_list(&machine), &machine)
}

fn write(path: &Path, text: &str, machine: &Machine) -> Outcome<()> {
    fs::write(path, text).map_err(|error| {
        let value = t::FileFault { file: machine.vmx.to_string(), ..Default::default() };
        fault(value, format!("The files of {} cannot be written: {error}", machine_ref(machine)))
    })
}

fn host_link(world: &World, disk: &DiskState) -> Result<HostLink, Fault> {
    let host = world.resolve(&disk.path).map_err(|error| from_store(&error, &disk.path.to_string()))?;
    Ok(HostLink { key: disk.key, path: disk.path.clone(), host })
}
