//! The files that a lease carries, found in a machine's hardware as the API shows it.

use std::path::PathBuf;

use sim_store::DatastorePath;
use vim_api::dynamic::{EnumValue, Object, Poly, Value, get_path};
use vim_api::types as t;

use super::Endpoint;
use super::digest::Carried;
use crate::fault::{Fault, Outcome, fault, from_store};
use crate::inventory::tree::Kind;
use crate::inventory::{Node, Wanted};
use crate::world::World;

/// A file of a lease.
#[derive(Debug, Clone)]
pub(crate) struct LeaseFile {
    /// The server's key of the device, such as `/vm-101/VirtualLsiLogicController0:0`.
    pub(super) key: String,
    /// The key that an import's specification gave it; empty for an export.
    pub(super) import_key: String,
    /// The last part of its address, and its name in a package.
    pub(super) name: String,
    /// In words of the API, for faults.
    pub(super) path: String,
    pub(super) host: PathBuf,
    /// The URL of its datastore, by which `hostMap` knows it.
    pub(super) datastore: String,
    /// Bytes of a disk; `None` for what is none.
    pub(super) capacity: Option<u64>,
    /// Bytes of a file that is no disk, where they are known.
    pub(super) size: Option<u64>,
    /// The manifest is to show SHA-256.
    pub(super) sha256: bool,
    /// An upload is going on.
    pub(super) receiving: bool,
    /// An upload has begun before, so there may be something in it.
    pub(super) touched: bool,
    pub(super) carried: Option<Carried>,
}

/// A disk of a machine, as far as leases and OVF are concerned.
pub(crate) struct DiskDevice<'a> {
    /// Without the entity, such as `VirtualLsiLogicController0:0`.
    pub(crate) path: String,
    pub(crate) disk: &'a t::VirtualDisk,
    /// Bytes.
    pub(crate) capacity: u64,
}

impl LeaseFile {
    /// As the API shows it.
    pub(super) fn device_url(&self, server: &Endpoint, token: &str) -> t::HttpNfcLeaseDeviceUrl {
        t::HttpNfcLeaseDeviceUrl {
            key: self.key.clone(),
            import_key: self.import_key.clone(),
            url: server.address(token, &self.name),
            ssl_thumbprint: server.sha1.clone(),
            disk: Some(self.capacity.is_some()),
            target_id: Some(self.name.clone()),
            datastore_key: Some(self.datastore.clone()),
            file_size: self.size.and_then(|size| i64::try_from(size).ok()),
            ..Default::default()
        }
    }

    /// What the manifest says of it, once it was carried.
    pub(super) fn manifest(&self) -> Option<t::HttpNfcLeaseManifestEntry> {
        let carried = self.carried.as_ref()?;
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        let (checksum, kind) = match self.sha256 {
            true => (&carried.sha256, t::HttpNfcLeaseManifestEntryChecksumType::Sha256),
            false => (&carried.sha1, t::HttpNfcLeaseManifestEntryChecksumType::Sha1),
        };
        Some(t::HttpNfcLeaseManifestEntry {
            key: self.key.clone(),
            sha1: carried.sha1.clone(),
            checksum: Some(checksum.clone()),
            checksum_type: Some(kind.as_str().to_owned()),
            size: signed(carried.size),
            disk: self.capacity.is_some(),
            capacity: self.capacity.map(signed),
            populated_size: carried.populated.map(signed),
            ..Default::default()
        })
    }
}

impl World {
    /// The configuration of a machine or a snapshot.
    pub(crate) fn config_of(&self, node: Node<'_>) -> Outcome<t::VirtualMachineConfigInfo> {
        let found = self.property(node, Wanted::whole("config"), None);
        let config =
            found.as_ref().and_then(Value::as_object).and_then(|object| object.downcast_ref().cloned());
        config.ok_or_else(|| fault(t::InvalidState::default(), "The machine has no configuration now."))
    }

    /// The disks of a configuration in the order of its devices, and behind them the NVRAM if there is a file of it.
    pub(super) fn lease_files(
        &self,
        entity: &str,
        config: &t::VirtualMachineConfigInfo,
    ) -> Outcome<Vec<LeaseFile>> {
        let mut files = Vec::new();
        for device in disks_of(&config.hardware.device) {
            let file_name = text(device.disk, "backing.fileName").unwrap_or_default();
            let name = format!("disk-{}.vmdk", files.len());
            let key = format!("/{entity}/{}", device.path);
            files.push(self.lease_file(key, name, &file_name, Some(device.capacity))?);
        }
        if let Some(path) = nvram(config) {
            let name = format!("disk-{}.nvram", files.len());
            let mut file = self.lease_file(format!("/{entity}/nvram"), name, &path, None)?;
            file.size =
                std::fs::metadata(&file.host).ok().filter(|file| file.is_file()).map(|file| file.len());
            if file.size.is_some() {
                files.push(file);
            }
        }
        Ok(files)
    }

    /// A file of a lease on a datastore.
    pub(super) fn lease_file(
        &self,
        key: String,
        name: String,
        path: &str,
        capacity: Option<u64>,
    ) -> Outcome<LeaseFile> {
        let failed = |error: sim_store::Error| -> Fault { from_store(&error, path) };
        let parsed: DatastorePath = path.parse().map_err(failed)?;
        let host = self.resolve(&parsed).map_err(failed)?;
        let datastore = match self.stored.tree.datastore(parsed.datastore()).map(|(entity, _)| &entity.kind) {
            Some(Kind::Datastore { uuid, .. }) => self.mode().datastore_url(uuid),
            _ => String::new(),
        };
        Ok(LeaseFile {
            key,
            import_key: String::new(),
            name,
            path: path.to_owned(),
            host,
            datastore,
            capacity,
            size: None,
            sha256: false,
            receiving: false,
            touched: false,
            carried: None,
        })
    }
}

/// The disks among some devices.
pub(crate) fn disks_of(devices: &[Poly<t::VirtualDevice>]) -> Vec<DiskDevice<'_>> {
    let disk = |device: &'_ Poly<t::VirtualDevice>| device.is::<t::VirtualDisk>();
    let found = devices.iter().filter(|device| disk(device));
    found
        .filter_map(|device| {
            let disk = device.downcast_ref::<t::VirtualDisk>()?;
            let bytes = disk.capacity_in_bytes.unwrap_or_else(|| disk.capacity_in_kb.saturating_mul(1024));
            let path = device_path(devices.iter(), &disk.base);
            Some(DiskDevice { path, disk, capacity: u64::try_from(bytes).unwrap_or(0) })
        })
        .collect()
}

/// What a lease calls a device: the type and number of its controller, and its place there.
pub(crate) fn device_path<'a>(
    devices: impl IntoIterator<Item = &'a Poly<t::VirtualDevice>>,
    device: &t::VirtualDevice,
) -> String {
    let unit = device.unit_number.unwrap_or(0);
    let key = device.controller_key.unwrap_or(0);
    let mut devices = devices.into_iter();
    match devices.find(|other| {
        number(other.as_object(), "key") == Some(key) && number(other.as_object(), "busNumber").is_some()
    }) {
        Some(controller) => {
            let bus = number(controller.as_object(), "busNumber").unwrap_or(0);
            format!("{}{bus}:{unit}", controller.type_name())
        }
        // Every machine has two of these without being asked.
        None if matches!(key, 200 | 201) => format!("VirtualIDEController{}:{unit}", key - 200),
        None => format!("VirtualController{key}:{unit}"),
    }
}

/// A text at a path of an object, if it is set.
pub(crate) fn text(object: &dyn Object, path: &str) -> Option<String> {
    match get_path(object, path) {
        Ok(Some(Value::String(text))) => Some(text),
        _ => None,
    }
}

fn number(object: &dyn Object, path: &str) -> Option<i32> {
    match get_path(object, path) {
        Ok(Some(Value::Int(number))) => Some(number),
        _ => None,
    }
}

/// The datastore path of the file that the configuration calls its NVRAM.
fn nvram(config: &t::VirtualMachineConfigInfo) -> Option<String> {
    let option = config.extra_config.iter().find(|option| option.key == "nvram")?;
    let Some(Value::String(name)) = &option.value else { return None };
    let vmx: DatastorePath = config.files.vm_path_name.as_ref()?.parse().ok()?;
    vmx.sibling(name).ok().map(|path| path.to_string())
}
