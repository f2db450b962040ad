//! Which machine is which, over time and from one server to another.
//!
//! A moRef names a machine on one server and as long as it stays registered there; a host and the vCenter that manages it
//! have different ones for the same machine. What stays is the machine's instanceUuid, which vCenter keeps unique, and,
//! less surely, its BIOS uuid, which copies share with their original. A [`VmIdentity`] holds them all, and
//! [`Client::resolve`] takes them in the order in which VMware's guide for backup programs trusts them.

use std::fmt;

use crate::client::Client;
use crate::error::Error;
use crate::mo::{self, VirtualMachine};
use crate::moref::MoRef;
use crate::property::Properties;

const UUIDS: [&str; 2] = ["config.instanceUuid", "config.uuid"];

/// A vCenter, or a host that is spoken to directly, for good.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerIdentity {
    /// The `about.instanceUuid` of a vCenter.
    VCenter(String),
    /// The hardware uuid of a host: a host has no uuid of its own as a server.
    Host(String),
}

impl fmt::Display for ServerIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VCenter(uuid) => write!(f, "the vCenter {uuid}"),
            Self::Host(uuid) => write!(f, "the host {uuid}"),
        }
    }
}

/// All that names a machine, to find it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmIdentity {
    /// The server that knew the machine by `moref`.
    pub server: ServerIdentity,
    /// The machine's `config.instanceUuid`: unique in a vCenter, kept when the machine is moved or registered anew. `None`
    /// only where its configuration could not be read.
    pub instance_uuid: Option<String>,
    /// The machine's `config.uuid`, the one that its guest sees. Copies may share it.
    pub bios_uuid: Option<String>,
    /// The machine's moRef on `server`: a hint that saves a search, believed only when the uuids agree.
    pub moref: MoRef<VirtualMachine>,
    /// Where it lay in the inventory when it was last seen, such as `/DC0/vm/web-01`.
    pub path: Option<String>,
}

/// What a machine was recognised by, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResolvedBy {
    /// The moRef, on the same server, with the same uuid behind it.
    MoRef,
    /// The instanceUuid.
    InstanceUuid,
    /// The BIOS uuid.
    BiosUuid,
    /// The inventory path.
    Path,
}

/// A machine that was found by its identity.
#[derive(Debug, Clone)]
pub struct ResolvedVm {
    /// The machine's present moRef on this server.
    pub moref: MoRef<VirtualMachine>,
    /// What it was recognised by.
    pub by: ResolvedBy,
    /// What speaks against its being the same machine. Empty for one that is the same for sure.
    pub conflicts: Vec<IdentityConflict>,
}

/// A part of an identity that the machine which was found does not share.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityConflict {
    /// Its instanceUuid is another one: it may be a copy, or have been registered anew in a way that gave it a new one.
    InstanceUuid {
        /// The one looked for.
        expected: String,
        /// The one that it has.
        found: Option<String>,
    },
    /// Its BIOS uuid is another one: somebody changed it, or the server made a new one after a move.
    BiosUuid {
        /// The one looked for.
        expected: String,
        /// The one that it has.
        found: Option<String>,
    },
}

impl fmt::Display for IdentityConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, expected, found) = match self {
            Self::InstanceUuid { expected, found } => ("instanceUuid", expected, found),
            Self::BiosUuid { expected, found } => ("BIOS uuid", expected, found),
        };
        let found = found.as_deref().unwrap_or("unknown");
        write!(f, "its {what} is {found}, and {expected} was looked for")
    }
}

impl ResolvedVm {
    /// The machine, if nothing speaks against it.
    ///
    /// # Errors
    /// Kind `Ambiguous`, with all that does: somebody has to look whether this is the machine or a copy of it.
    pub fn certain(self) -> Result<MoRef<VirtualMachine>, Error> {
        if self.conflicts.is_empty() {
            return Ok(self.moref);
        }
        let conflicts: Vec<String> = self.conflicts.iter().map(IdentityConflict::to_string).collect();
        let text = format!("{} may be another machine: {}", self.moref, conflicts.join("; "));
        Err(Error::ambiguous(text))
    }
}

impl Client {
    /// Who the server is.
    ///
    /// # Errors
    /// When a host's hardware can't be read, or a vCenter has no uuid.
    pub async fn server_identity(&self) -> Result<ServerIdentity, Error> {
        if self.is_vcenter() {
            let uuid = self.content().about.instance_uuid.clone().filter(|uuid| !uuid.is_empty());
            return uuid
                .map(ServerIdentity::VCenter)
                .ok_or_else(|| Error::broken_protocol(format!("the vCenter {} has no uuid", self.host())));
        }
        let path = "summary.hardware.uuid";
        let hosts = self.list::<mo::HostSystem>(&self.content().root_folder.cast(), &[path]).await?;
        for mut host in hosts {
            if let Some(uuid) = host.take(path)? {
                return Ok(ServerIdentity::Host(uuid));
            }
        }
        Err(Error::broken_protocol(format!("the host {} does not tell its hardware uuid", self.host())))
    }

    /// All that names a machine, to be kept for [`resolve`](Self::resolve).
    ///
    /// # Errors
    /// When a call fails, such as with the fault `ManagedObjectNotFound` for a machine that is gone.
    pub async fn identify(&self, vm: &MoRef<VirtualMachine>) -> Result<VmIdentity, Error> {
        let Some(mut known) = self.properties(std::slice::from_ref(vm), &UUIDS).await?.pop() else {
            return Err(Error::not_found(format!("there is no {vm} on {}", self.host())));
        };
        Ok(VmIdentity {
            server: self.server_identity().await?,
            instance_uuid: uuid(&mut known, UUIDS[0])?,
            bios_uuid: uuid(&mut known, UUIDS[1])?,
            moref: vm.clone(),
            path: Some(self.path_of(vm).await?),
        })
    }

    /// Finds a machine by what is known of it, on the same server or on another one.
    ///
    /// In this order: the moRef, if this is the server that gave it and the uuid behind it is the same; the instanceUuid; the
    /// BIOS uuid; the inventory path. The first that leads to a machine decides. What then speaks against it is in
    /// [`ResolvedVm::conflicts`]: with a vCenter and one of its hosts, or after a machine was copied, a machine may look
    /// like the one that was meant and be another.
    ///
    /// # Errors
    /// Kind `NotFound` when nothing leads to a machine; kind `Ambiguous` when a uuid leads to several; that of a call that
    /// failed.
    pub async fn resolve(&self, identity: &VmIdentity) -> Result<ResolvedVm, Error> {
        if identity.server == self.server_identity().await? {
            let known = self.properties(std::slice::from_ref(&identity.moref), &UUIDS).await?;
            if let Some(found) = known.into_iter().next().map(|vm| resolved(vm, ResolvedBy::MoRef, identity))
            {
                let found = found?;
                let is_named = identity.instance_uuid.is_some() || identity.bios_uuid.is_some();
                if is_named && found.conflicts.is_empty() {
                    return Ok(found);
                }
            }
        }
        let by_uuid = [
            (ResolvedBy::InstanceUuid, identity.instance_uuid.as_ref()),
            (ResolvedBy::BiosUuid, identity.bios_uuid.as_ref()),
        ];
        for (by, uuid) in by_uuid {
            let Some(uuid) = uuid else { continue };
            let is_instance = by == ResolvedBy::InstanceUuid;
            let found = self.search_index()?.find_all_by_uuid(None, uuid, true, Some(is_instance)).await?;
            let found: Vec<MoRef<VirtualMachine>> = found.iter().filter_map(MoRef::downcast).collect();
            match found.as_slice() {
                [] => {}
                [one] => {
                    if let Some(known) = self.properties(std::slice::from_ref(one), &UUIDS).await?.pop() {
                        return resolved(known, by, identity);
                    }
                }
                several => {
                    let what = if is_instance { "instanceUuid" } else { "BIOS uuid" };
                    let names: Vec<String> = several.iter().map(MoRef::to_string).collect();
                    return Err(Error::ambiguous(format!(
                        "{} machines on {} have the {what} {uuid}: {}",
                        several.len(),
                        self.host(),
                        names.join(", ")
                    )));
                }
            }
        }
        if let Some(path) = &identity.path
            && let Some(object) =
                self.search_index()?.find_by_inventory_path(path.trim_start_matches('/')).await?
            && let Some(vm) = object.downcast::<VirtualMachine>()
            && let Some(known) = self.properties(&[vm], &UUIDS).await?.pop()
        {
            return resolved(known, ResolvedBy::Path, identity);
        }
        Err(Error::not_found(format!(
            "no machine on {} has the instanceUuid {} or the BIOS uuid {}, or lies at {}",
            self.host(),
            identity.instance_uuid.as_deref().unwrap_or("(unknown)"),
            identity.bios_uuid.as_deref().unwrap_or("(unknown)"),
            identity.path.as_deref().unwrap_or("(unknown)"),
        )))
    }
}

fn resolved(
    mut vm: Properties<VirtualMachine>,
    by: ResolvedBy,
    identity: &VmIdentity,
) -> Result<ResolvedVm, Error> {
    let mut conflicts = Vec::new();
    let found = uuid(&mut vm, UUIDS[0])?;
    if let Some(expected) = differs(identity.instance_uuid.as_ref(), found.as_ref()) {
        conflicts.push(IdentityConflict::InstanceUuid { expected, found });
    }
    let found = uuid(&mut vm, UUIDS[1])?;
    if let Some(expected) = differs(identity.bios_uuid.as_ref(), found.as_ref()) {
        conflicts.push(IdentityConflict::BiosUuid { expected, found });
    }
    Ok(ResolvedVm { moref: vm.object().clone(), by, conflicts })
}

fn uuid(vm: &mut Properties<VirtualMachine>, path: &str) -> Result<Option<String>, Error> {
    Ok(vm.take::<String>(path)?.filter(|uuid| !uuid.is_empty()))
}

/// What was expected, if it is not what was found. vSphere writes uuids in either case.
fn differs(expected: Option<&String>, found: Option<&String>) -> Option<String> {
    let expected = expected?;
    let same = found.is_some_and(|found| found.eq_ignore_ascii_case(expected));
    (!same).then(|| expected.clone())
}
