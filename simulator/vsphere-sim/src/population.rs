//! Machines by the thousand: each is made of its number alone, the same at every start, and has files only from the
//! moment on at which somebody uses it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Arc, PoisonError};

use serde::{Deserialize, Serialize};
use sim_store::{DatastorePath, Disk, DiskSpec, DiskUuid, Provisioning, tracking};
use vim_api::ApiVersion;
use vim_api::types as t;

use crate::chain;
use crate::clock::Moment;
use crate::fault::{Outcome, from_store};
use crate::hardware;
use crate::inventory::tree::{Entity, Holds, Kind, Tree};
use crate::machine::{self, Machine, Place, Power};
use crate::mode::Mode;
use crate::recovery::{self, Intent};
use crate::world::{Shared, World};

/// Machines that are alike but for their names, uuids and places.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Population {
    /// The number in the id of the first.
    pub(crate) first: u32,
    /// How many there are.
    pub(crate) count: u32,
    /// What the uuids are drawn from.
    pub(crate) seed: u64,
    /// When they were made.
    pub(crate) created: Moment,
    /// Capacities of the disks, in bytes.
    pub(crate) disks: Vec<u64>,
    /// Whether change tracking is on from the start.
    pub(crate) tracked: bool,
    /// Whether the machines are on.
    pub(crate) powered_on: bool,
}

/// Where machines can be, in turns.
struct Places<'t> {
    folders: Vec<&'t Entity>,
    hosts: Vec<&'t Entity>,
    datastore: &'t Entity,
    datastore_url: String,
    network: Option<&'t Entity>,
}

impl Population {
    /// Whether a machine of this id was made here.
    pub(crate) fn has_made(&self, id: &str) -> bool {
        let number = id.strip_prefix("vm-").unwrap_or(id).parse::<u32>();
        number.is_ok_and(|number| number >= self.first && number - self.first < self.count)
    }

    /// Makes all machines, but for those that are on record, with the ids of such a server and the hardware that its version gives.
    pub(crate) fn machines(
        &self,
        tree: &Tree,
        on_record: &BTreeMap<String, Option<Machine>>,
        mode: Mode,
        api: ApiVersion,
    ) -> Vec<Machine> {
        let places = places(tree, mode);
        let mut made = Vec::with_capacity(self.count as usize);
        if places.is_empty() {
            return made;
        }
        let model = self.model(api);
        for number in 0..self.count {
            let id = mode.machine_id(self.first + number);
            if on_record.contains_key(&id) {
                continue;
            }
            let place = &places[number as usize % places.len()];
            made.extend(self.machine(tree, &model, number, id, place, places.len()));
        }
        made
    }

    /// What all machines have in common.
    fn model(&self, api: ApiVersion) -> t::VirtualMachineConfigInfo {
        let mut config = t::VirtualMachineConfigInfo::default();
        if let Ok(vmx) = "[model] model/model.vmx".parse() {
            config = hardware::new_config("model", &vmx, "debian12_64Guest", api);
        }
        config.hardware.num_cpu = 2;
        config.hardware.memory_mb = 2048;
        config.change_tracking_enabled = Some(self.tracked);
        config.create_date = Some(self.created.date_time());
        config.modified = self.created.date_time();
        config.change_version = format!("{}.000001Z", self.created.date_time());
        config.hardware.device.push(hardware::pvscsi(0));
        for (at, capacity) in self.disks.iter().enumerate() {
            let at = i32::try_from(at).unwrap_or(i32::MAX);
            let unit = at + i32::from(at >= hardware::SCSI_OWN_UNIT);
            let key = hardware::FIRST_DISK + unit;
            let backing = chain::new_backing(true, false);
            let disk = hardware::disk(key, hardware::SCSI, unit, *capacity, backing);
            config.hardware.device.push(hardware::device(disk));
        }
        config
    }

    fn machine(
        &self,
        tree: &Tree,
        model: &t::VirtualMachineConfigInfo,
        number: u32,
        id: String,
        place: &Places<'_>,
        turns: usize,
    ) -> Option<Machine> {
        let files = place.datastore.files()?;
        let turn = number as usize / turns;
        let name = format!("vm-{}", number + 1);
        let mut config = model.clone();
        let folder = format!("[{}] {name}", files.name());
        let draw = |what: u64| draw(self.seed, u64::from(number) << 8 | what);
        config.uuid = uuid("4210", draw(1));
        config.location_id = Some(uuid("564d", draw(1)));
        config.instance_uuid = Some(uuid("5010", draw(2)));
        let vmx = DatastorePath::new(files.name(), &format!("{name}/{name}.vmx")).ok()?;
        hardware::set_home(&mut config, &vmx);
        let mut disks = 0;
        for device in &mut config.hardware.device {
            let Some(disk) = device.downcast_mut::<t::VirtualDisk>() else { continue };
            let suffix = if disks == 0 { String::new() } else { format!("_{disks}") };
            let mut backing = machine::flat(disk)?.clone();
            backing.base.file_name = format!("{folder}/{name}{suffix}.vmdk");
            backing.base.datastore = Some(place.datastore.typed());
            backing.uuid = Some(disk_uuid(draw(16 + disks)).dashed());
            disk.base.backing = Some(vim_api::dynamic::Poly::new(backing));
            disks += 1;
        }
        if let Some(network) = place.network {
            let [_, _, _, a, b, c, ..] = draw(3).to_be_bytes();
            let mac = format!("00:50:56:{:02x}:{b:02x}:{c:02x}", 0x80 | a & 0x3f);
            config.hardware.device.push(hardware::nic(network.typed(), &network.name, &mac));
        }
        config.name = name;
        config.datastore_url = vec![t::VirtualMachineConfigInfoDatastoreUrlPair {
            name: files.name().to_owned(),
            url: place.datastore_url.clone(),
            ..Default::default()
        }];
        chain::note_tracking(&mut config);
        hardware::arrange(&mut config, &id);
        hardware::connect(&mut config, self.powered_on);
        let host = place.hosts.get(turn % place.hosts.len().max(1))?;
        let place = Place {
            folder: place.folders.get(turn % place.folders.len().max(1))?.id.clone(),
            pool: tree.root_pool(&tree.owner_of(&host.id)?.id).map(|pool| pool.id.clone()),
            host: host.id.clone(),
        };
        let power = if self.powered_on { Power::On } else { Power::Off };
        let machine = Machine::new(&id, &place, self.created, power, Arc::new(config));
        Some(Machine { untouched: true, ..machine })
    }
}

/// The files of a machine that has none yet are made before it is used.
pub(crate) fn materialize(shared: &Shared, id: &str) -> Outcome<()> {
    let found = shared.read(|world| {
        let machine = world.machine(id).filter(|machine| machine.untouched)?;
        Some((machine.clone(), Arc::clone(&machine.stun)))
    });
    let Some((_, stun)) = found else { return Ok(()) };
    let _making = stun.lock().unwrap_or_else(PoisonError::into_inner);
    // Another may have made them while this one waited.
    let machine = shared.read(|world| world.machine(id).filter(|machine| machine.untouched).cloned());
    let Some(machine) = machine else { return Ok(()) };
    let mut intent = Intent::of(id);
    if let Some(vmx) = machine.vmx() {
        intent = intent.makes_home(shared, &vmx)?;
    }
    for disk in machine.disks() {
        intent = intent.makes_disk(shared, &disk.path)?;
    }
    recovery::carry_out(shared, intent, |_| {
        if let Some(vmx) = machine.vmx() {
            let home = shared.read(|world| world.resolve(&vmx.parent()));
            let home = home.map_err(|error| from_store(&error, &vmx.to_string()))?;
            fs::create_dir_all(home).map_err(|error| chain::unwritable(&machine, &error))?;
        }
        for link in chain::links(shared, &machine.disks())? {
            let failed = |error: &sim_store::Error| from_store(error, &link.path.to_string());
            let uuid = machine.disks().into_iter().find(|disk| disk.key == link.key);
            let uuid = uuid.and_then(|disk| parse_dashed(&disk.uuid));
            let spec = DiskSpec { provisioning: Provisioning::Thin, uuid, ..DiskSpec::thin(link.capacity) };
            Disk::create(&link.host, &spec).map_err(|error| failed(&error))?;
            if machine.is_tracked() {
                tracking::enable(&link.host, None).map_err(|error| failed(&error))?;
            }
        }
        shared.update(|world| {
            if let Some(machine) = world.machine_mut(id) {
                machine.untouched = false;
            }
        });
        chain::refresh(shared, id)
    })
}

/// The machine whose files would be in a folder of a datastore, if they are not made yet.
pub(crate) fn untouched_in(shared: &Shared, path: &DatastorePath) -> Option<String> {
    let folder = path.relative().split('/').next()?;
    shared.read(|world| {
        let is_it = |machine: &&Machine| {
            machine.untouched
                && machine.vmx().is_some_and(|vmx| {
                    vmx.datastore() == path.datastore() && vmx.parent().relative() == folder
                })
        };
        world.machines().find(is_it).map(|machine| machine.id.clone())
    })
}

/// Makes the files that would be at a place of a datastore. At its root there are only folders.
pub(crate) fn materialize_at(shared: &Shared, path: &DatastorePath) -> Outcome<()> {
    match path.relative() {
        "" => Ok(()),
        _ => untouched_in(shared, path).map_or(Ok(()), |id| materialize(shared, &id)),
    }
}

/// Makes the files that would be at a place of a datastore, or anywhere below.
pub(crate) fn materialize_below(shared: &Shared, path: &DatastorePath) -> Outcome<()> {
    if !path.relative().is_empty() {
        return materialize_at(shared, path);
    }
    let all: Vec<String> =
        shared.read(|world| unmade(world, path).map(|(machine, _)| machine.id.clone()).collect());
    all.iter().try_for_each(|id| materialize(shared, id))
}

/// The folders of machines that are not made yet, of those that would be in a folder of a datastore.
pub(crate) fn unmade_folders(shared: &Shared, folder: &DatastorePath) -> BTreeSet<String> {
    match folder.relative() {
        "" => shared.read(|world| {
            unmade(world, folder).map(|(_, vmx)| vmx.parent().file_name().to_owned()).collect()
        }),
        _ => BTreeSet::new(),
    }
}

/// The machines on the datastore of a path that have no files yet, each with its `.vmx`.
fn unmade<'w>(world: &'w World, at: &'w DatastorePath) -> impl Iterator<Item = (&'w Machine, DatastorePath)> {
    let machines = world.machines().filter(|machine| machine.untouched);
    let placed = machines.filter_map(|machine| Some((machine, machine.vmx()?)));
    placed.filter(|(_, vmx)| vmx.datastore() == at.datastore())
}

/// The uuid of a disk in the form of `backing.uuid`.
pub(crate) fn parse_dashed(text: &str) -> Option<DiskUuid> {
    let number = u128::from_str_radix(&text.replace('-', ""), 16).ok()?;
    Some(DiskUuid(number.to_be_bytes()))
}

fn places(tree: &Tree, mode: Mode) -> Vec<Places<'_>> {
    let datacenters = sorted(tree, tree.root()).into_iter();
    let datacenters = datacenters.filter(|entity| matches!(entity.kind, Kind::Datacenter));
    let place = |datacenter: &'_ Entity| {
        let below = sorted(tree, &datacenter.id);
        let mut folders: Vec<&Entity> =
            below.iter().copied().filter(|entity| matches!(entity.kind, Kind::Folder(Holds::Vms))).collect();
        if folders.len() > 1 {
            // Where there are folders, machines are in them.
            folders.retain(|folder| folder.parent.as_deref() != Some(&datacenter.id));
        }
        let is_store = |entity: &&Entity| matches!(entity.kind, Kind::Datastore { .. });
        // The ids of a host's datastores say nothing of their order.
        let datastore = tree.below(&datacenter.id).into_iter().find(is_store)?;
        let Kind::Datastore { uuid, .. } = &datastore.kind else { return None };
        Some(Places {
            folders,
            hosts: below.iter().copied().filter(|entity| matches!(entity.kind, Kind::Host { .. })).collect(),
            datastore,
            datastore_url: mode.datastore_url(uuid),
            network: below.iter().copied().find(|entity| matches!(entity.kind, Kind::Network)),
        })
    };
    datacenters.filter_map(place).collect()
}

/// What is below an entity, in an order that is the same at every start.
fn sorted<'t>(tree: &'t Tree, id: &str) -> Vec<&'t Entity> {
    let mut below = tree.below(id);
    below.sort_by(|a, b| a.id.len().cmp(&b.id.len()).then_with(|| a.id.cmp(&b.id)));
    below
}

/// 64 bits that look random, of a seed and a number: the mixing of SplitMix64.
fn draw(seed: u64, number: u64) -> u64 {
    let mut mixed = seed.wrapping_add(number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

fn uuid(prefix: &str, drawn: u64) -> String {
    let more = draw(drawn, 0);
    format!(
        "{prefix}{:04x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        drawn >> 48,
        drawn >> 32 & 0xffff,
        drawn >> 20 & 0xfff,
        0x8000 | drawn & 0x3fff,
        more >> 16
    )
}

fn disk_uuid(drawn: u64) -> DiskUuid {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&drawn.to_be_bytes());
    bytes[8..].copy_from_slice(&draw(drawn, 0).to_be_bytes());
    bytes[..3].copy_from_slice(&[0x60, 0x00, 0xc2]);
    bytes[3] = 0x90 | bytes[3] & 0x0f;
    DiskUuid(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_are_uuids_and_differ() {
        let made: std::collections::BTreeSet<String> =
            (0..1000).map(|number| uuid("4210", draw(7, number))).collect();
        assert_eq!(made.len(), 1000);
        for text in &made {
            let lengths: Vec<usize> = text.split('-').map(str::len).collect();
            assert_eq!(lengths, [8, 4, 4, 4, 12], "{text}");
        }
        assert!(
            disk_uuid(draw(1, 2)).dashed().starts_with("6000c29")
                || disk_uuid(draw(1, 2)).dashed().starts_with("6000C29")
        );
    }
}
