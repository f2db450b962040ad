//! Opening disks: which file is meant, and whether it may be opened.

use std::path::PathBuf;

use sim_store::state::rights::{DISK_LEASE, DISK_RANDOM_ACCESS, DISK_RANDOM_READ};
use sim_store::state::{Inventory, VmRecord};
use sim_store::{Access, DatastorePath, Disk, Scope};

use crate::code::{Answer, Code};
use crate::connection::{Connection, FirstClassDisk, Object, Remote, Target};
use crate::content::{Content, StoreDisk};
use crate::disk::{OpenDisk, Way};
use crate::ffi::log;
use crate::hotadd::Attached;
use crate::library::Library;
use crate::local::LocalDisk;
use crate::transport;

const UNBUFFERED: u32 = 0x001;
const SINGLE_LINK: u32 = 0x002;
const READ_ONLY: u32 = 0x004;
const COMPRESSION: u32 = 0x3f0;
/// Bytes of a sector, unless a rule makes the disk another.
const SECTOR_BYTES: u32 = 512;

/// Opens a disk over a connection, whose handle it remembers.
pub(crate) fn open(
    library: &Library,
    connection: &Connection,
    handle: usize,
    path: &str,
    flags: u32,
    change_id: Option<String>,
) -> Answer<OpenDisk> {
    let function = if change_id.is_some() { "OpenEx" } else { "Open" };
    let suffering = match connection.faults.strike("Open", path, 0)? {
        struck if struck.has_rule() || function == "Open" => struck.suffer(&connection.faults, "Open", 0)?,
        _ => connection.faults.suffer(function, path)?,
    };
    suffering.settle()?;
    if (flags & COMPRESSION).count_ones() > 1 {
        log::warn("more than one compression was asked for");
        return Err(Code::INVALID_ARG);
    }
    let read_only = connection.read_only || flags & READ_ONLY != 0;
    let (transport, origin) = match &connection.target {
        Target::Local => (transport::LOCAL, path.to_owned()),
        Target::Remote(remote) => (
            remote.transport(suffering.transports())?,
            format!("vpxa-nfcssl://{path}@{}:{}", remote.server.host, remote.nfc_port),
        ),
    };
    if transport::is_network(transport) {
        library.settings.check_aio()?;
    } else if flags & COMPRESSION != 0 {
        log::warn(&format!("disks opened through {transport} are not compressed on the way"));
        return Err(Code::INVALID_ARG);
    }
    let content = content(connection, path, read_only, flags & SINGLE_LINK != 0)?;
    let attached = match &connection.target {
        Target::Remote(remote) if transport == "hotadd" => {
            Some(Attached::new(&library.settings, &remote.server, path)?)
        }
        _ => None,
    };
    let tracked = match (&content, change_id) {
        (Content::Store(store), Some(id)) => Some((store.disk.path().to_owned(), id)),
        _ => None,
    };
    let sectors = content.capacity() / sim_store::SECTOR;
    // Other programs look for this line; its form is the real library's.
    log::line(&format!(
        "DISKLIB-LINK  : Opened '{origin}' (0x{:x}): custom, {sectors} sectors / {:.1} GB.",
        flags | 0x8,
        content.capacity() as f64 / (1u64 << 30) as f64
    ));
    let way = Way {
        transport,
        aligned: flags & UNBUFFERED != 0 || transport::is_direct(transport),
        sector_bytes: suffering.sector_bytes().unwrap_or(SECTOR_BYTES),
        attached,
    };
    Ok(OpenDisk::new(content, path.to_owned(), way, handle, tracked, connection.faults.clone()))
}

/// The bytes behind a path, on this machine or on the connection's server.
pub(crate) fn content(
    connection: &Connection,
    path: &str,
    read_only: bool,
    single_link: bool,
) -> Answer<Content> {
    let remote = match &connection.target {
        Target::Local => return Ok(Content::File(LocalDisk::open(path, !read_only, single_link)?)),
        Target::Remote(remote) => remote,
    };
    let access = if read_only { Access::ReadOnly } else { Access::ReadWrite };
    let scope = if single_link { Scope::TopLink } else { Scope::WholeChain };
    let file = remote_file(remote, path, access)?;
    let disk = Disk::open(&file, access, scope).map_err(|error| {
        log::warn(&format!("cannot open {path}: {error}"));
        Code::of(&error)
    })?;
    Ok(Content::Store(Box::new(StoreDisk { disk, scope })))
}

impl Remote {
    /// The mode by which a disk is reached: the first one asked for that works here. Where a rule says what works, and nothing
    /// of that was asked for, another one is taken, as the real library does at times.
    pub(crate) fn transport(&self, working: Option<&str>) -> Answer<&'static str> {
        let chosen = transport::choose(&self.asked, working.unwrap_or(transport::WORKING));
        chosen.or_else(|| working.and_then(transport::fall_back)).ok_or_else(|| {
            log::warn("none of the transport modes asked for can reach the disk");
            Code::FILE_ACCESS_ERROR
        })
    }
}

fn remote_file(remote: &Remote, path: &str, access: Access) -> Answer<PathBuf> {
    // A certificate is what 9.0 takes instead; the simulator keeps none to compare it with.
    let vouched = remote.certificate.is_some()
        || same_thumbprint(remote.thumbprint.as_deref(), &remote.server.thumbprint);
    if !vouched {
        log::warn("[NFC ERROR] the certificate's thumbprint is not the expected one");
        return Err(Code::FAIL);
    }
    let inventory = remote.server.inventory()?;
    let vm = match &remote.object {
        Object::Machine(vm) => {
            let vm = vm.find(&inventory)?;
            let to_transfer = match access {
                Access::ReadOnly => DISK_RANDOM_READ,
                Access::ReadWrite => DISK_RANDOM_ACCESS,
            };
            for privilege in [DISK_LEASE, to_transfer] {
                remote.server.require(&inventory, vm, privilege, Code::HOST_USER_PERMISSIONS)?;
            }
            Some(vm)
        }
        Object::DatastoreFolder(folder) => {
            if !path.contains(&format!("] {}/", folder.trim_matches('/'))) {
                log::warn(&format!("{path} is not in the folder {folder} of the connection"));
                return Err(Code::FILE_NOT_FOUND);
            }
            None
        }
        Object::FirstClassDisk(disk) => return first_class(&inventory, disk, path, access),
    };
    let path: DatastorePath = path.parse().map_err(|error| {
        log::warn(&format!("{error}"));
        Code::FILE_NAME_INVALID
    })?;
    if let Some(vm) = vm {
        check_ownership(vm, remote.snapshot.as_deref(), &path)?;
        if access == Access::ReadWrite {
            check_writable(vm, &path)?;
        }
    } else if access == Access::ReadWrite {
        // Without a machine there is none whose disk it may be.
        for vm in inventory.vms.iter().filter(|vm| check_ownership(vm, None, &path).is_ok()) {
            check_writable(vm, &path)?;
        }
    }
    resolve(&inventory, &path)
}

/// The link of a first-class disk, or of a snapshot of it. A client may leave the path out that it has of the server, since
/// there is only one. [K, uncertain]
fn first_class(
    inventory: &Inventory,
    wanted: &FirstClassDisk,
    path: &str,
    access: Access,
) -> Answer<PathBuf> {
    let unknown = |what: &dyn std::fmt::Display| {
        log::warn(&what.to_string());
        Code::OBJECT_NOT_FOUND
    };
    let disk = inventory.disk(&wanted.id).map_err(|error| unknown(&error))?;
    if disk.datastore != wanted.datastore {
        return Err(unknown(&format_args!("{} is not on {}", wanted.id, wanted.datastore)));
    }
    let link = match &wanted.snapshot {
        Some(snapshot) => &disk.snapshot(snapshot).map_err(|error| unknown(&error))?.path,
        None => &disk.path,
    };
    if !path.is_empty() && path != link.to_string() {
        log::warn(&format!("{path} is not the first-class disk {} or the snapshot asked for", wanted.id));
        return Err(Code::FILE_NOT_FOUND);
    }
    if access == Access::ReadWrite {
        let mut running = inventory.vms.iter().filter(|vm| vm.power_on);
        let in_use = running.any(|vm| vm.disks.iter().any(|disk| disk.path == *link));
        if in_use || wanted.snapshot.is_some() {
            log::warn(&format!(
                "{link} is locked by {}",
                if in_use { "a running machine" } else { "a snapshot" }
            ));
            return Err(Code::FILE_ALREADY_LOCKED);
        }
    }
    resolve(inventory, link)
}

/// The disk must be one of the snapshot, where one is named, or else one of the machine.
fn check_ownership(vm: &VmRecord, snapshot: Option<&str>, path: &DatastorePath) -> Answer<()> {
    let owned = match snapshot.filter(|snapshot| !snapshot.is_empty()) {
        Some(snapshot) => {
            let snapshot = vm.snapshot(snapshot).map_err(|error| {
                log::warn(&error.to_string());
                Code::OBJECT_NOT_FOUND
            })?;
            snapshot.disks.iter().any(|disk| disk.path == *path)
        }
        None => {
            let frozen = vm.snapshots.iter().flat_map(|snapshot| &snapshot.disks);
            vm.disks.iter().chain(frozen).any(|disk| disk.path == *path)
        }
    };
    if owned {
        return Ok(());
    }
    log::warn(&format!("{path} is not a disk of {} or of the snapshot asked for", vm.moref));
    Err(Code::FILE_NOT_FOUND)
}

/// Only the live disk of a machine that is off may be written: a running machine holds its own, and under a snapshot's lie
/// others.
fn check_writable(vm: &VmRecord, path: &DatastorePath) -> Answer<()> {
    let live = vm.disks.iter().any(|disk| disk.path == *path);
    if live && !vm.power_on {
        return Ok(());
    }
    log::warn(&format!("{path} is locked by {}", if live { "its running machine" } else { "a snapshot" }));
    Err(Code::FILE_ALREADY_LOCKED)
}

fn resolve(inventory: &Inventory, path: &DatastorePath) -> Answer<PathBuf> {
    inventory.resolve(path).map_err(|error| {
        log::warn(&error.to_string());
        Code::of(&error)
    })
}

/// Thumbprints are compared as digits: with colons or without, in either case. A missing one is wrong.
fn same_thumbprint(given: Option<&str>, wanted: &str) -> bool {
    let digits = |text: &str| -> String {
        text.chars().filter(|c| *c != ':').map(|c| c.to_ascii_uppercase()).collect()
    };
    given.is_some_and(|given| digits(given) == digits(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprints_are_compared_by_digits() {
        assert!(same_thumbprint(Some("ab:CD"), "AB:CD"));
        assert!(same_thumbprint(Some("abcd"), "AB:CD"));
        assert!(!same_thumbprint(Some("abce"), "AB:CD"));
        assert!(!same_thumbprint(None, "AB:CD"));
    }
}
