//! The inventory as the control port shows it: what is below an object, a page at a time, and what has a certain name.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::query::Query;
use crate::inventory::tree::{Entity, Holds, Kind};
use crate::inventory::{network_of, plain, uses};
use crate::machine::{Machine, Power};
use crate::world::{Shared, World};
use crate::{Error, ErrorKind, Result};

/// Objects in one answer, where the caller does not say.
const PAGE: usize = 200;

/// Objects in one answer at most.
const MOST: usize = 5000;

/// An object of the inventory.
#[derive(Clone, Copy)]
enum Item<'w> {
    Entity(&'w Entity),
    Machine(&'w Machine),
}

/// How many machines there are at each place, by the place's id.
struct Homes<'w>(HashMap<&'w str, usize>);

/// `GET /v1/inventory?parent&filter&type&offset&limit`: what is directly below `parent`. With a filter and no parent, what
/// there is of that name or id in the whole inventory. Without either, what is below the root folder.
pub(super) fn list(shared: &Shared, query: Query<'_>) -> Result<Value> {
    let filter = query.text("filter").map(|filter| filter.to_lowercase());
    let kind = query.text("type");
    let offset = query.value("offset")?.unwrap_or(0);
    let limit = query.value("limit")?.unwrap_or(PAGE).min(MOST);
    shared.read(|world| {
        let tree = &world.stored.tree;
        let parent = query.text("parent");
        let everywhere = parent.is_none() && (filter.is_some() || kind.is_some());
        let parent = parent.unwrap_or_else(|| tree.root().to_owned());
        let found: Vec<Item<'_>> = if everywhere {
            let entities = tree.iter().filter(|entity| entity.parent.is_some()).map(Item::Entity);
            world.machines().map(Item::Machine).chain(entities).collect()
        } else {
            let missing = || Error::new(ErrorKind::NotFound, format!("there is no object {parent:?} with others below it"));
            below(world, tree.get(&parent).ok_or_else(missing)?)
        };
        let suits = |item: &Item<'_>| {
            kind.as_deref().is_none_or(|kind| item.type_name() == kind)
                && filter.as_deref().is_none_or(|text| item.id() == text || item.name().to_lowercase().contains(text))
        };
        let found: Vec<Item<'_>> = found.into_iter().filter(suits).collect();
        let page: Vec<Item<'_>> = found.iter().skip(offset).take(limit).copied().collect();
        let homes = Homes::of(world, &page);
        let items: Vec<Value> = page.into_iter().map(|item| show(world, &homes, item)).collect();
        Ok(json!({ "parent": (!everywhere).then_some(parent), "total": found.len(), "offset": offset, "items": items }))
    })
}

/// How many of what there are.
pub(super) fn counts(world: &World) -> Value {
    let mut counts = [0_usize; 7];
    for entity in world.stored.tree.iter() {
        let at = match entity.kind {
            Kind::Datacenter => 0,
            Kind::Cluster | Kind::Standalone => 1,
            Kind::Host { .. } => 2,
            Kind::Pool => 3,
            Kind::Datastore { .. } => 4,
            Kind::Network => 5,
            Kind::Folder(_) | Kind::Pod => 6,
        };
        counts[at] += 1;
    }
    let [datacenters, clusters, hosts, pools, datastores, networks, folders] = counts;
    json!({
        "datacenters": datacenters, "clusters": clusters, "hosts": hosts, "pools": pools, "datastores": datastores,
        "networks": networks, "folders": folders, "machines": world.machines().count(),
        "powered_on": world.machines().filter(|machine| machine.power == Power::On).count(),
        "snapshots": world.machines().map(|machine| machine.snapshots.len()).sum::<usize>(),
    })
}

/// The names above an object, the root folder's aside, as people write them.
pub(super) fn path_to(world: &World, id: &str) -> Vec<String> {
    let tree = &world.stored.tree;
    let mut names: Vec<String> =
        tree.upwards(id).filter(|entity| entity.parent.is_some()).map(|entity| plain(&entity.name)).collect();
    names.reverse();
    names
}

/// The word for a power state.
pub(super) fn power(power: Power) -> &'static str {
    match power {
        Power::On => "on",
        Power::Off => "off",
        Power::Suspended => "suspended",
    }
}

fn below<'w>(world: &'w World, parent: &'w Entity) -> Vec<Item<'w>> {
    let mut found: Vec<Item<'w>> = world.stored.tree.children(&parent.id).map(Item::Entity).collect();
    let id = parent.id.as_str();
    let is_here = |machine: &&Machine| match &parent.kind {
        Kind::Folder(Holds::Vms) => machine.folder == id,
        Kind::Pool => machine.pool.as_deref() == Some(id),
        Kind::Host { .. } => machine.host == id,
        Kind::Datastore { files, .. } => uses(machine, files.name()),
        Kind::Network => networks(machine).any(|network| network == id),
        _ => false,
    };
    found.extend(world.machines().filter(is_here).map(Item::Machine));
    found
}

fn networks(machine: &Machine) -> impl Iterator<Item = String> {
    machine.config.hardware.device.iter().filter_map(|device| Some(network_of(device)?.value().to_owned()))
}

fn show(world: &World, homes: &Homes<'_>, item: Item<'_>) -> Value {
    let (mut shown, parent) = match item {
        Item::Machine(machine) => {
            let shown = json!({
                "power": power(machine.power),
                "template": machine.config.template,
                "disks": machine.disks().len(),
                "snapshots": machine.snapshots.len(),
                "tracked": machine.is_tracked(),
                "task": machine.busy,
                "children": 0,
            });
            (shown, Some(machine.folder.as_str()))
        }
        Item::Entity(entity) => {
            let children = world.stored.tree.children(&entity.id).count() + homes.at(entity);
            let mut shown = json!({ "children": children });
            match &entity.kind {
                Kind::Datastore { capacity, .. } => shown["capacity"] = json!(capacity),
                Kind::Folder(holds) => shown["holds"] = json!(holds.child_types(world.mode()).last()),
                _ => {}
            }
            (shown, entity.parent.as_deref())
        }
    };
    shown["id"] = json!(item.id());
    shown["type"] = json!(item.type_name());
    shown["name"] = json!(item.name());
    shown["path"] = json!(parent.map(|parent| path_to(world, parent)).unwrap_or_default());
    shown
}

impl Item<'_> {
    fn id(&self) -> &str {
        match self {
            Self::Entity(entity) => &entity.id,
            Self::Machine(machine) => &machine.id,
        }
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Entity(entity) => entity.type_name(),
            Self::Machine(_) => "VirtualMachine",
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Entity(entity) => plain(&entity.name),
            Self::Machine(machine) => machine.plain_name(),
        }
    }
}

impl<'w> Homes<'w> {
    /// One look at all machines, and only if it is of use for one of these objects.
    fn of(world: &'w World, items: &[Item<'_>]) -> Self {
        let mut homes = HashMap::new();
        let holds = |item: &Item<'_>| {
            let Item::Entity(entity) = item else { return false };
            !matches!(entity.kind, Kind::Datacenter | Kind::Cluster | Kind::Standalone | Kind::Pod)
        };
        if !items.iter().any(holds) {
            return Self(homes);
        }
        let tree = &world.stored.tree;
        let datastores: HashMap<&str, &str> =
            tree.datastores().map(|(entity, files)| (files.name(), entity.id.as_str())).collect();
        for machine in world.machines() {
            let mut places = vec![machine.folder.as_str(), machine.host.as_str()];
            places.extend(machine.pool.as_deref());
            let networks = networks(machine).filter_map(|network| tree.get(&network));
            places.extend(networks.map(|network| network.id.as_str()));
            let files = machine.vmx().into_iter().chain(machine.disks().into_iter().map(|disk| disk.path));
            places.extend(files.filter_map(|file| datastores.get(file.datastore()).copied()));
            places.sort_unstable();
            places.dedup();
            places.into_iter().for_each(|place| *homes.entry(place).or_default() += 1);
        }
        Self(homes)
    }

    fn at(&self, entity: &Entity) -> usize {
        self.0.get(entity.id.as_str()).copied().unwrap_or(0)
    }
}
