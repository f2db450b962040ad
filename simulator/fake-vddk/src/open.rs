//! Opening disks: which file is meant, and whether it may be opened.

use std::path::{Path, PathBuf};

use sim_store::state::{Inventory, VmRecord};
use sim_store::{Access, DatastorePath, Disk, Scope};

use crate::code::{Answer, Code};
use crate::connection::{Connection, Remote, Target};
use crate::disk::OpenDisk;
use crate::ffi::log;
use crate::transport;

const SINGLE_LINK: u32 = 0x002;
const READ_ONLY: u32 = 0x004;
const COMPRESSION: u32 = 0x3f0;

/// Opens a disk over a connection.
pub(crate) fn open(connection: &Connection, path: &str, flags: u32) -> Answer<OpenDisk> {
    connection.faults.suffer("Open", path)?.settle()?;
    if (flags & COMPRESSION).count_ones() > 1 {
        log::warn("more than one compression was asked for");
        return Err(Code::INVALID_ARG);
    }
    let read_only = connection.read_only || flags & READ_ONLY != 0;
    let access = if read_only { Access::ReadOnly } else { Access::ReadWrite };
    let scope = if flags & SINGLE_LINK != 0 { Scope::TopLink } else { Scope::WholeChain };
    let (file, transport, origin) = match &connection.target {
        Target::Local => (local_file(path)?, transport::LOCAL, path.to_owned()),
        Target::Remote(remote) => {
            let transport = remote.transport.ok_or_else(|| {
                log::warn("none of the transport modes asked for can reach the disk");
                Code::FILE_ACCESS_ERROR
            })?;
            let origin = format!("vpxa-nfcssl://{path}@{}:{}", remote.server.host, remote.nfc_port);
            (remote_file(remote, path, access)?, transport, origin)
        }
    };
    let disk = Disk::open(&file, access, scope).map_err(|error| {
        log::warn(&format!("cannot open {path}: {error}"));
        Code::of(&error)
    })?;
    let sectors = disk.capacity() / sim_store::SECTOR;
    // Other programs look for this line; its form is the real library's.
    log::line(&format!(
        "DISKLIB-LINK  : Opened '{origin}' (0x{:x}): custom, {sectors} sectors / {:.1} GB.",
        flags | 0x8,
        disk.capacity() as f64 / (1u64 << 30) as f64
    ));
    Ok(OpenDisk::new(disk, path.to_owned(), transport, scope, connection.faults.clone()))
}

fn local_file(path: &str) -> Answer<PathBuf> {
    let file = Path::new(path);
    if file.is_absolute() {
        return Ok(file.to_owned());
    }
    log::warn("the path of a local disk must be absolute");
    Err(Code::FILE_NAME_INVALID)
}

fn remote_file(remote: &Remote, path: &str, access: Access) -> Answer<PathBuf> {
    if !same_thumbprint(remote.thumbprint.as_deref(), &remote.server.thumbprint) {
        log::warn("[NFC ERROR] the certificate's thumbprint is not the expected one");
        return Err(Code::FAIL);
    }
    let inventory = remote.server.inventory()?;
    let vm = remote.vm.find(&inventory)?;
    let path: DatastorePath = path.parse().map_err(|error| {
        log::warn(&format!("{error}"));
        Code::FILE_NAME_INVALID
    })?;
    check_ownership(vm, remote.snapshot.as_deref(), &path)?;
    if access == Access::ReadWrite {
        check_writable(vm, &path)?;
    }
    resolve(&inventory, &path)
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
