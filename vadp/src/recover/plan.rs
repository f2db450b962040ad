//! What a recovery would make, told before anything is touched.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use vadp_repository::StoredDisk;
use vim_api::DatastorePath;
use vim_api::dynamic::Element;
use vim_api::types::{VirtualDeviceFileBackingInfo, VirtualEthernetCard, VirtualMachineConfigInfo};
use vim_api::xml::{Limits, Reader};

use super::choices::Recover;
use super::half_made::MARK;
use super::place::{self, Others, Site};
use super::spec::{Design, DiskDesign, Identity, NewMachine, NewNetwork, Provisioning};
use crate::capture::{Capsule, Loss, Network, Place, Verdict};
use crate::error::{Error, ErrorKind};
use crate::stored;

/// What a recovery will make. Nothing was touched yet.
#[must_use = "nothing is recovered until it is run"]
pub struct RecoverPlan<'a> {
    pub(super) recover: Recover<'a>,
    pub(super) capsule: Capsule,
    pub(super) site: Site,
    pub(super) machine: NewMachine,
    pub(super) mark: String,
    pub(super) readers: BTreeMap<i32, Arc<dyn StoredDisk>>,
    planned: PlannedRecovery,
}

/// The same as data.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct PlannedRecovery {
    /// The restore point.
    pub point: String,
    /// Whether it is the old machine again.
    pub identity: Identity,
    /// Name of the new machine.
    pub name: String,
    /// Path of its folder.
    pub folder: String,
    /// Path of its resource pool.
    pub pool: String,
    /// Name of its host; `None`: one that the cluster chooses.
    pub host: Option<String>,
    /// Name of the datastore of its home.
    pub home: String,
    /// Its disks.
    pub disks: Vec<RecoveryDisk>,
    /// Its network adapters.
    pub adapters: Vec<PlannedAdapter>,
    /// Whether it becomes a template.
    pub template: bool,
    /// Whether its firmware's settings are put back.
    pub nvram: bool,
    /// Whether it is switched on.
    pub power_on: bool,
    /// What it will not have as it was.
    pub losses: Vec<Loss>,
    /// What is no loss, and worth a look.
    pub notes: Vec<String>,
}

/// A disk of a [`PlannedRecovery`].
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct RecoveryDisk {
    /// The device key that it had.
    pub key: i32,
    /// Its label then.
    pub label: String,
    /// Its size in bytes.
    pub capacity: u64,
    /// Name of its datastore.
    pub datastore: String,
    /// How its space is taken.
    pub provisioning: Provisioning,
}

/// A network adapter of a [`PlannedRecovery`].
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct PlannedAdapter {
    /// The device key that it had.
    pub key: i32,
    /// What it was connected to, if that has a name.
    pub was: Option<String>,
    /// What it will be connected to.
    pub network: NewNetwork,
}

impl<'a> Recover<'a> {
    /// Finds the place, and works out what would be made of it and what would be lost. Nothing is touched.
    ///
    /// # Errors
    /// [`ErrorKind::RestorePoint`] when the point has no configuration; [`ErrorKind::NotEligible`] when the folder, pool, a
    /// datastore or a network is not there, when the name is taken, when there is too little space, or when the machine is to be the old one
    /// again and that is there yet.
    pub async fn plan(self) -> Result<RecoverPlan<'a>, Error> {
        let capsule = Capsule::of(self.point).await?;
        let config = decode(&capsule.machine.config_xml)?;
        let was = capsule.machine.parts.place.get().cloned().unwrap_or_default();
        let site = place::site(&self, &was).await?;
        let others = place::others(self.client, &site.folder).await;
        let others = others.map_err(|e| Error::api("looking at the other machines of the server", e))?;
        let mut readers = BTreeMap::new();
        for key in capsule.disks.keys() {
            let reader = self.point.disk(&stored::disk_key(*key)).await;
            let reader = reader
                .map_err(|e| Error::repository(format!("opening disk {key} of the restore point"), e))?;
            readers.insert(*key, reader);
        }
        let mark = format!("{}-{}", self.journal.owner(), self.journal.unique_name());
        let mut lost = Vec::new();
        let mut design = self.design(&capsule, &config, &site, &others, &readers)?;
        design.mark = Some((MARK.to_owned(), mark.clone()));
        self.policies(&capsule, &mut design, &mut lost).await?;
        self.media(&config, &site, &mut design).await;
        let machine = NewMachine::of(&config, &design)?;
        lost.splice(0..0, machine.losses().iter().cloned());
        self.beside(&capsule, &mut lost);
        let mut notes = machine.notes().to_vec();
        room(&site, &machine, &mut notes)?;
        let planned = PlannedRecovery {
            point: self.point.id().to_string(),
            identity: self.identity,
            name: design.name.clone(),
            folder: site.folder_path.clone(),
            pool: site.pool_path.clone(),
            host: site.host.as_ref().map(|(_, name)| name.clone()),
            home: design.home.clone(),
            disks: machine
                .disks()
                .iter()
                .map(|disk| RecoveryDisk {
                    key: disk.key,
                    label: disk.label.clone(),
                    capacity: disk.capacity,
                    datastore: disk.datastore.clone(),
                    provisioning: disk.provisioning,
                })
                .collect(),
            adapters: design
                .networks
                .iter()
                .map(|(key, network)| PlannedAdapter {
                    key: *key,
                    was: old_network(&capsule, *key),
                    network: network.clone(),
                })
                .collect(),
            template: machine.is_template(),
            nvram: matches!(capsule.machine.parts.nvram.get(), Some(Some(_))),
            power_on: self.power_on && !machine.is_template(),
            losses: lost,
            notes,
        };
        Ok(RecoverPlan { recover: self, capsule, site, machine, mark, readers, planned })
    }

    fn design(
        &self,
        capsule: &Capsule,
        config: &VirtualMachineConfigInfo,
        site: &Site,
        others: &Others,
        readers: &BTreeMap<i32, Arc<dyn StoredDisk>>,
    ) -> Result<Design, Error> {
        let name = self.name.clone().unwrap_or_else(|| config.name.clone());
        if others.names.contains(&name) {
            let text = format!(
                "{} has a machine {name}: remove it, or give the new one another name",
                site.folder_path
            );
            return Err(Error::new(ErrorKind::NotEligible, text));
        }
        let home = match (&self.datastore, config.files.vm_path_name.as_deref()) {
            (Some(name), _) => site.volume(name)?.name.clone(),
            (None, Some(path)) => same_volume(site, config, path)?,
            (None, None) => {
                let text = "the restore point does not say where the machine's home was: name a `datastore`";
                return Err(Error::new(ErrorKind::NotEligible, text));
            }
        };
        let mut design = Design::new(name, home);
        design.identity = self.identity;
        design.version = self.client.version();
        design.is_vcenter = self.client.is_vcenter();
        design.is_same_server = self.client.content().about.instance_uuid == capsule.machine.vm.vcenter;
        design.macs_in_use.clone_from(&others.macs);
        design.uuids_in_use.clone_from(&others.uuids);
        design.keep_host_devices = self.keep_host_devices;
        design.keep_key = self.keep_key;
        design.disconnected = self.disconnected;
        for (key, reader) in readers {
            let metadata = capsule.disks.get(key);
            let datastore = match (self.disk_datastores.get(key).or(self.datastore.as_ref()), metadata) {
                (Some(name), _) => site.volume(name)?.name.clone(),
                (None, Some(disk)) => same_volume(site, config, &disk.file_name)?,
                (None, None) => design.home.clone(),
            };
            let provisioning = self.disk_provisioning.get(key).copied().or(self.provisioning);
            let capacity = reader.capacity();
            design.disks.insert(*key, DiskDesign { datastore, provisioning, capacity, policy: None });
        }
        for device in &config.hardware.device {
            if device.is::<VirtualEthernetCard>() {
                design.networks.insert(device.key, self.network_of(capsule, site, device.key)?);
            }
        }
        Ok(design)
    }

    /// The network that an adapter goes to.
    fn network_of(&self, capsule: &Capsule, site: &Site, key: i32) -> Result<NewNetwork, Error> {
        let was = old_network(capsule, key);
        let chosen = self.adapters.get(&key).or_else(|| self.networks.get(was.as_ref()?));
        let has = || site.networks.iter().map(NewNetwork::name).collect::<Vec<_>>().join(", ");
        if let Some(name) = chosen {
            return site.network(name).cloned().ok_or_else(|| {
                let text = format!("no network {name} at {}, which has {}", site.pool_path, has());
                Error::new(ErrorKind::NotEligible, text)
            });
        }
        let again = was.as_deref().and_then(|name| site.network(name)).or_else(|| {
            let nics = capsule.machine.parts.networks.get()?;
            let nic = nics.iter().find(|nic| nic.key == key)?;
            let Network::Opaque { id: wanted, .. } = &nic.network else { return None };
            site.networks.iter().find(|found| matches!(found, NewNetwork::Opaque { id, .. } if id == wanted))
        });
        let other = || self.other_networks.as_deref().and_then(|name| site.network(name));
        again.or_else(other).cloned().ok_or_else(|| {
            let text = format!(
                "the network {} of the adapter with the device key {key} is not at {}, which has {}: name one that takes its \
                 place with `network`, or one for all with `other_networks`",
                was.as_deref().unwrap_or("without a name"),
                site.pool_path,
                has()
            );
            Error::new(ErrorKind::NotEligible, text)
        })
    }

    /// Storage policies: the same one on the same server, else the one of the same name.
    async fn policies(
        &self,
        capsule: &Capsule,
        design: &mut Design,
        lost: &mut Vec<Loss>,
    ) -> Result<(), Error> {
        let Some(saved) = capsule.machine.parts.policies.get() else { return Ok(()) };
        if saved.home.is_none() && saved.disks.is_empty() {
            return Ok(());
        }
        let known = async { self.client.storage_policies().await?.list().await }.await;
        let (known, why) = match known {
            Ok(known) => (known, "the target has no policy of this name".to_owned()),
            Err(error) => (Vec::new(), format!("the target's policies cannot be read: {error}")),
        };
        let mut find = |policy: &crate::capture::Policy| {
            let same = known.iter().find(|found| design.is_same_server && found.id == policy.id);
            let found = same.or_else(|| known.iter().find(|found| found.name == policy.name));
            if found.is_none() {
                lost.push(Loss::new(format!("storage policy {}", policy.name), Verdict::Lost, why.as_str()));
            }
            found.map(|found| found.id.clone())
        };
        let home = saved.home.as_ref().and_then(&mut find);
        let disks: Vec<_> = saved.disks.iter().map(|(key, policy)| (*key, find(policy))).collect();
        design.home_policy = home;
        for (key, policy) in disks {
            if let Some(disk) = design.disks.get_mut(&key) {
                disk.policy = policy;
            }
        }
        Ok(())
    }

    /// Which media are there yet. One that cannot be looked at is not.
    async fn media(&self, config: &VirtualMachineConfigInfo, site: &Site, design: &mut Design) {
        let files = self.client.datastore_files(&site.datacenter);
        for device in &config.hardware.device {
            let is_drive =
                device.is::<vim_api::types::VirtualCdrom>() || device.is::<vim_api::types::VirtualFloppy>();
            let Some(backing) = device.backing.as_ref().filter(|_| is_drive) else { continue };
            let Some(file) = backing.downcast_ref::<VirtualDeviceFileBackingInfo>() else { continue };
            let Ok(path) = file.file_name.parse::<DatastorePath>() else { continue };
            if files.status(&path).await.is_ok() {
                design.files_there.insert(file.file_name.clone());
            }
        }
    }

    /// What the restore point has of what stands around a machine, and no recovery makes.
    fn beside(&self, capsule: &Capsule, lost: &mut Vec<Loss>) {
        let parts = &capsule.machine.parts;
        for (name, missing) in parts.missing() {
            lost.push(Loss::new(
                name.to_string(),
                Verdict::Lost,
                format!("not in the restore point: {missing}"),
            ));
        }
        if parts.snapshots.get().is_some_and(|snapshots| !snapshots.is_empty()) {
            let why = "they are not in the restore point: the new machine is as the last of them was left";
            lost.push(Loss::new("snapshots", Verdict::Lost, why));
        }
        if let Some(Some(drs)) = parts.drs.get() {
            for rule in &drs.rules {
                let why = "its cluster's rules name another machine: add the new one";
                lost.push(Loss::new(format!("rule {}", rule.name), Verdict::Lost, why));
            }
        }
        if let Some(Place { vapp: Some(vapp), .. }) = parts.place.get() {
            let why = "it is in no vApp: move it there";
            lost.push(Loss::new(format!("vApp {vapp}"), Verdict::Lost, why));
        }
        if !self.client.is_vcenter() {
            let why = "a host alone has none";
            if parts.tags.get().is_some_and(|tags| !tags.is_empty()) {
                lost.push(Loss::new("tags", Verdict::Lost, why));
            }
            if parts.attributes.get().is_some_and(|attributes| !attributes.is_empty()) {
                lost.push(Loss::new("custom attributes", Verdict::Lost, why));
            }
        }
    }
}

/// The name of what an adapter was connected to.
fn old_network(capsule: &Capsule, key: i32) -> Option<String> {
    let nic = capsule.machine.parts.networks.get()?.iter().find(|nic| nic.key == key)?;
    match &nic.network {
        Network::Standard { name } => Some(name.clone()),
        Network::Distributed { portgroup, .. } => portgroup.clone(),
        Network::Opaque { .. } | Network::Other { .. } => None,
    }
}

/// The datastore of a path, by its URL, which outlives a change of name, or by its name.
fn same_volume(site: &Site, config: &VirtualMachineConfigInfo, path: &str) -> Result<String, Error> {
    let name = path.parse::<DatastorePath>().map(|path| path.datastore().to_owned());
    let name = name.map_err(|e| {
        Error::new(ErrorKind::RestorePoint, format!("{path} is no path on a datastore")).because(e)
    })?;
    let url = config.datastore_url.iter().find(|pair| pair.name == name).map(|pair| pair.url.as_str());
    let same =
        site.datastores.iter().find(|volume| Some(volume.url.as_str()) == url && !volume.url.is_empty());
    match same {
        Some(volume) => Ok(site.volume(&volume.name)?.name.clone()),
        None => Ok(site.volume(&name)?.name.clone()),
    }
}

/// Whether it fits. What is thin need not take its whole size.
fn room(site: &Site, machine: &NewMachine, notes: &mut Vec<String>) -> Result<(), Error> {
    for volume in &site.datastores {
        let here = || machine.disks().iter().filter(|disk| disk.datastore == volume.name);
        let size = |disk: &super::NewDisk| disk.capacity;
        let thick: u64 = here().filter(|disk| disk.provisioning != Provisioning::Thin).map(size).sum();
        let all: u64 = here().map(size).sum();
        if thick > volume.free {
            let text = format!(
                "the datastore {} has {} bytes left, and the disks take {thick} at once: choose another, or make them thin",
                volume.name, volume.free
            );
            return Err(Error::new(ErrorKind::NotEligible, text));
        }
        if all > volume.free {
            notes.push(format!(
                "the datastore {} has {} bytes left, and its thin disks may grow to {all}",
                volume.name, volume.free
            ));
        }
    }
    Ok(())
}

/// The configuration as the backup has kept it.
fn decode(xml: &str) -> Result<VirtualMachineConfigInfo, Error> {
    let read = || {
        let mut reader = Reader::fragment(xml, Limits::default())?;
        let start = reader.expect_child("config")?;
        VirtualMachineConfigInfo::decode(&mut reader, &start)
    };
    read().map_err(|e| {
        Error::new(ErrorKind::RestorePoint, "reading the machine's configuration in the restore point")
            .because(e)
    })
}

impl RecoverPlan<'_> {
    /// What will be made, as data.
    pub fn planned(&self) -> &PlannedRecovery {
        &self.planned
    }

    /// The specifications that make it.
    pub fn machine(&self) -> &NewMachine {
        &self.machine
    }
}

impl fmt::Display for RecoverPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.planned.fmt(f)
    }
}

impl fmt::Display for PlannedRecovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.identity {
            Identity::Same => "the machine again",
            Identity::Copy => "a copy",
        };
        writeln!(f, "{}: {what}, from restore point {}", self.name, self.point)?;
        writeln!(f, "  in {}, pool {}, home on {}", self.folder, self.pool, self.home)?;
        writeln!(f, "  host: {}", self.host.as_deref().unwrap_or("the cluster's choice"))?;
        for disk in &self.disks {
            let how = match disk.provisioning {
                Provisioning::Thin => "thin",
                Provisioning::LazyThick => "thick, zeroed on use",
                Provisioning::EagerThick => "thick, zeroed at once",
            };
            writeln!(
                f,
                "  {} (key {}, {} bytes): on {}, {how}",
                disk.label, disk.key, disk.capacity, disk.datastore
            )?;
        }
        for adapter in &self.adapters {
            let was = adapter.was.as_deref().unwrap_or("something without a name");
            writeln!(f, "  network adapter (key {}): {was} -> {}", adapter.key, adapter.network.name())?;
        }
        let then = [
            (self.nvram, "NVRAM is put back"),
            (self.template, "it becomes a template"),
            (self.power_on, "it is switched on"),
        ];
        for (_, what) in then.iter().filter(|(is_so, _)| *is_so) {
            writeln!(f, "  {what}")?;
        }
        match self.losses.is_empty() {
            true => f.write_str("  nothing is lost")?,
            false => write!(f, "  not as it was:")?,
        }
        for loss in &self.losses {
            write!(f, "\n    {loss}")?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        Ok(())
    }
}
