//! A machine's disks as files: host paths, backings, pending change tracking, and the text files beside them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use sim_store::{Access, DatastorePath, DeltaFormat, Descriptor, Disk, ErrorKind, LinkKind, Scope, tracking};
use vim_api::dynamic::{Poly, Value};
use vim_api::types as t;

use crate::fault::{Fault, Outcome, fault, from_store, no_disk_space, not_found};
use crate::fcd;
use crate::host_file;
use crate::inventory::machine_ref;
use crate::machine::{self, DiskState, Machine, Snapshot};
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
    /// In bytes.
    pub(crate) capacity: u64,
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
}

/// The links of some disks with their host paths.
pub(crate) fn links(shared: &Shared, disks: &[DiskState]) -> Outcome<Vec<HostLink>> {
    shared.read(|world| disks.iter().map(|disk| host_link(world, disk)).collect())
}

/// The host paths of all links that snapshots own, be they the machine's or those of first-class disks that it has.
/// Independent disks are nobody's.
pub(crate) fn owned(shared: &Shared, machine: &Machine) -> Outcome<Vec<PathBuf>> {
    let disks = machine.snapshots.iter().flat_map(Snapshot::disks);
    let disks: Vec<DiskState> = disks.filter(|disk| !disk.independent).collect();
    let mut owned: Vec<PathBuf> = links(shared, &disks)?.into_iter().map(|link| link.host).collect();
    let first_class = fcd::of_machine(machine);
    owned.extend(shared.read(|world| fcd::owned(world, first_class.iter().map(String::as_str))));
    Ok(owned)
}

/// Where a file of a datastore is on this machine.
pub(crate) fn host_of(shared: &Shared, path: &DatastorePath) -> Outcome<PathBuf> {
    shared.read(|world| world.resolve(path)).map_err(|error| from_store(&error, &path.to_string()))
}

/// Refuses to take away what another process has open for writing. A disk that is not there is free.
pub(crate) fn check_free(host: &Path, path: &DatastorePath) -> Outcome<()> {
    match Disk::open(host, Access::ReadWrite, Scope::TopLink) {
        Err(error) if error.kind() == ErrorKind::Locked => Err(from_store(&error, &path.to_string())),
        _ => Ok(()),
    }
}

/// The backing of a new disk, without its file.
pub(crate) fn new_backing(thin: bool, eager: bool) -> t::VirtualDiskFlatVer2BackingInfo {
    t::VirtualDiskFlatVer2BackingInfo {
        base: t::VirtualDeviceFileBackingInfo {
            backing_object_id: Some(String::new()),
            ..Default::default()
        },
        disk_mode: "persistent".to_owned(),
        split: Some(false),
        write_through: Some(false),
        thin_provisioned: Some(thin),
        eagerly_scrub: Some(eager),
        digest_enabled: Some(false),
        sharing: Some("sharingNone".to_owned()),
        ..Default::default()
    }
}

/// The links of a disk as far as they can be read, the top one first, each with what its descriptor says.
pub(crate) fn descriptors(world: &World, top: &DatastorePath) -> Vec<(DatastorePath, Descriptor)> {
    let mut chain: Vec<(DatastorePath, Descriptor)> = Vec::new();
    let mut next = Some(top.clone());
    while let Some(path) = next.take().filter(|_| chain.len() < sim_store::MAX_LINKS) {
        let Ok(host) = world.resolve(&path) else { break };
        let Ok(descriptor) = Descriptor::load(&host) else { break };
        next = parent(world, &path, &host, &descriptor);
        chain.push((path, descriptor));
    }
    chain
}

/// The parent of a link, wherever it is. A disk need not be on one datastore.
pub(crate) fn parent(
    world: &World,
    path: &DatastorePath,
    host: &Path,
    descriptor: &Descriptor,
) -> Option<DatastorePath> {
    match (&descriptor.parent_hint, descriptor.parent_in_folder(host)) {
        (Some(name), Some(_)) => path.sibling(name).ok(),
        (Some(_), None) => world.path_of(&descriptor.parent(host).ok()??),
        (None, _) => None,
    }
}

/// A backing as it is after its file became `path`: with the content id of that link, and with all links below.
pub(crate) fn backing_at(
    world: &World,
    before: &t::VirtualDiskFlatVer2BackingInfo,
    path: &DatastorePath,
) -> t::VirtualDiskFlatVer2BackingInfo {
    let datastore_of = |path: &DatastorePath| {
        world.stored.tree.datastore(path.datastore()).map(|(entity, _)| entity.typed())
    };
    let mut below = None;
    for (path, descriptor) in descriptors(world, path).into_iter().rev() {
        let mut link = t::VirtualDiskFlatVer2BackingInfo {
            content_id: descriptor.ddb.get("longContentID").cloned(),
            delta_disk_format: match descriptor.kind {
                LinkKind::Flat => None,
                LinkKind::Delta(DeltaFormat::VmfsSparse) => Some("redoLogFormat".to_owned()),
                LinkKind::Delta(DeltaFormat::SeSparse) => Some("seSparseFormat".to_owned()),
            },
            parent: below.map(Box::new),
            change_id: None,
            ..before.clone()
        };
        link.base.file_name = path.to_string();
        link.base.datastore = datastore_of(&path);
        below = Some(link);
    }
    below.unwrap_or_else(|| {
        let mut alone = t::VirtualDiskFlatVer2BackingInfo { parent: None, change_id: None, ..before.clone() };
        alone.base.file_name = path.to_string();
        alone.base.datastore = datastore_of(path);
        alone
    })
}

/// Gives the disks of a configuration other files: `path_of` says of each key which, where it has changed.
pub(crate) fn follow(
    world: &World,
    config: &mut t::VirtualMachineConfigInfo,
    path_of: &dyn Fn(i32) -> Option<DatastorePath>,
) {
    let disks = config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    let changed: Vec<_> = disks
        .filter_map(|disk| {
            let before = machine::flat(disk)?;
            let path = path_of(disk.base.key)?;
            let mut backing = backing_at(world, before, &path);
            backing.change_id.clone_from(&before.change_id);
            Some((disk.base.key, backing))
        })
        .collect();
    for (key, backing) in changed {
        machine::set_backing(config, key, backing);
    }
}

/// Reads what the descriptors say of all disks of a machine and its snapshots.
pub(crate) fn refresh(shared: &Shared, id: &str) -> Outcome<()> {
    let mut machine = Held::take(shared, id)?.machine;
    shared.read(|world| {
        let renew = |config: &mut machine::Config| {
            let paths: Vec<_> =
                machine::disks(config).into_iter().map(|disk| (disk.key, disk.path)).collect();
            let path_of = |key| paths.iter().find(|(found, _)| *found == key).map(|(_, path)| path.clone());
            follow(world, Arc::make_mut(config), &path_of);
        };
        renew(&mut machine.config);
        machine.snapshots.iter_mut().for_each(|snapshot| renew(&mut snapshot.config));
    });
    shared.update(|world| {
        if let Some(found) = world.machine_mut(id) {
            found.config = machine.config;
            found.snapshots = machine.snapshots;
        }
    });
    Ok(())
}

/// Brings the tracking of the live links in line with what is configured, for the machine or for a first-class disk. It happens whenever the machine is
/// stunned; the disks must not be open for writing.
pub(crate) fn apply_tracking(shared: &Shared, machine: &Machine) -> Outcome<()> {
    let first_class = shared.read(|world| {
        let held = fcd::held_disks(&machine.config).into_iter();
        let tracked = held.filter(|(id, _)| world.first_class.get(id).is_some_and(|disk| disk.tracked));
        tracked.map(|(_, disk)| disk.key).collect::<Vec<_>>()
    });
    for link in links(shared, &machine.disks())? {
        let done = match machine.is_tracked() || first_class.contains(&link.key) {
            true => tracking::enable(&link.host, None),
            false => tracking::disable(&link.host),
        };
        done.map_err(|error| from_store(&error, &link.path.to_string()))?;
    }
    Ok(())
}

/// Has the tracking of the live links begin anew, where it is on.
pub(crate) fn renew_tracking(shared: &Shared, machine: &Machine) -> Outcome<()> {
    for link in links(shared, &machine.disks())? {
        match tracking::renew(&link.host) {
            Err(error) if error.kind() == sim_store::ErrorKind::TrackingOff => {}
            done => done.map_err(|error| from_store(&error, &link.path.to_string()))?,
        }
    }
    Ok(())
}

/// Keeps the entries of `extraConfig` that say what is tracked in line with the setting, as a host does.
pub(crate) fn note_tracking(config: &mut t::VirtualMachineConfigInfo) {
    config.extra_config.retain(|option| option.key != "ctkEnabled" && !option.key.ends_with(".ctkEnabled"));
    if config.change_tracking_enabled != Some(true) {
        return;
    }
    let mut keys = vec!["ctkEnabled".to_owned()];
    keys.extend(crate::vmx::disk_nodes(config).into_iter().map(|(node, _)| format!("{node}.ctkEnabled")));
    let option = |key| {
        Poly::new(t::OptionValue { key, value: Some(Value::String("TRUE".to_owned())), ..Default::default() })
    };
    config.extra_config.extend(keys.into_iter().map(option));
}

/// The datastore path of a file beside another.
pub(crate) fn beside(path: &DatastorePath, host: &Path) -> Outcome<DatastorePath> {
    let name = host.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.sibling(name).map_err(|error| from_store(&error, &path.to_string()))
}

/// Writes the `.vmx` and the snapshot list of a machine anew.
pub(crate) fn write_text_files(shared: &Shared, id: &str) -> Outcome<()> {
    let found = shared.read(|world| {
        let machine = world.machine(id).filter(|machine| !machine.untouched)?.clone();
        let vmx = machine.vmx()?;
        Some((machine, world.resolve(&vmx)))
    });
    let Some((machine, vmx)) = found else { return Ok(()) };
    let vmx = vmx.map_err(|error| from_store(&error, &file_of(&machine)))?;
    let list = vmx.with_extension("vmsd");
    host_file::replace(&vmx, crate::vmx::render(&machine).as_bytes())
        .and_then(|()| host_file::replace(&list, crate::vmx::snapshot_list(&machine).as_bytes()))
        .map_err(|error| unwritable(&machine, &error))
}

/// The fault where a file of a machine cannot be written.
pub(crate) fn unwritable(machine: &Machine, error: &io::Error) -> Fault {
    let file = file_of(machine);
    let message = format!("The files of {} cannot be written: {file}: {error}", machine_ref(machine));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            no_disk_space(&file, message)
        }
        _ => fault(t::FileFault { file, ..Default::default() }, message),
    }
}

fn file_of(machine: &Machine) -> String {
    machine.config.files.vm_path_name.clone().unwrap_or_default()
}

fn host_link(world: &World, disk: &DiskState) -> Result<HostLink, Fault> {
    let host = world.resolve(&disk.path).map_err(|error| from_store(&error, &disk.path.to_string()))?;
    Ok(HostLink { key: disk.key, path: disk.path.clone(), host, capacity: disk.capacity })
}
