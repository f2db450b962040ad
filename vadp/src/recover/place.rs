//! Where a machine goes: folder, pool, host, and what is there.

use std::collections::BTreeSet;

use vim_api::dynamic::Poly;
use vim_api::mo::{
    ComputeResource, Datastore, DistributedVirtualPortgroup, DistributedVirtualSwitch, Folder, HostSystem,
    Managed, Network, OpaqueNetwork, ResourcePool, VirtualMachine,
};
use vim_api::types::{OpaqueNetworkSummary, VirtualDevice, VirtualEthernetCard};
use vim_api::{Client, MoRef};

use super::choices::Recover;
use super::spec::NewNetwork;
use crate::capture::Place;
use crate::capture::around::datacenter_above;
use crate::error::{Error, ErrorKind};

/// The place of a new machine.
pub(super) struct Site {
    pub(super) datacenter: String,
    pub(super) folder: MoRef<Folder>,
    pub(super) folder_path: String,
    pub(super) pool: MoRef<ResourcePool>,
    pub(super) pool_path: String,
    pub(super) host: Option<(MoRef<HostSystem>, String)>,
    pub(super) datastores: Vec<Volume>,
    pub(super) networks: Vec<NewNetwork>,
}

/// A datastore of the place.
pub(super) struct Volume {
    pub(super) name: String,
    pub(super) url: String,
    pub(super) free: u64,
    is_accessible: bool,
}

/// What other machines of the server have.
#[derive(Default)]
pub(super) struct Others {
    pub(super) macs: BTreeSet<String>,
    pub(super) uuids: BTreeSet<String>,
    /// Names within the folder of the new machine.
    pub(super) names: BTreeSet<String>,
}

pub(super) async fn site(recover: &Recover<'_>, was: &Place) -> Result<Site, Error> {
    let client = recover.client;
    let folder_path = wanted(
        recover.folder.clone().or_else(|| was.folder.clone()).or_else(|| {
            // A machine of a vApp was in no folder.
            was.datacenter.as_ref().map(|datacenter| format!("{datacenter}/vm"))
        }),
        "folder",
    )?;
    let pool_path = wanted(
        recover.pool.clone().or_else(|| was.pool.clone()).or_else(|| {
            // A template was in no pool.
            was.compute.as_ref().map(|compute| format!("{compute}/Resources"))
        }),
        "pool",
    )?;
    let missing = |what: &str, path: &str, error: vim_api::Error| {
        let text = format!("the {what} {path} for the new machine: name one that is there with `{what}`");
        Error::new(if error.is_not_found() { ErrorKind::NotEligible } else { ErrorKind::Api }, text)
            .because(error)
    };
    let folder = client.find_one::<Folder>(&folder_path).await;
    let folder = folder.map_err(|e| missing("folder", &folder_path, e))?.object;
    let pool = client.find_one::<ResourcePool>(&pool_path).await;
    let pool = pool.map_err(|e| missing("pool", &pool_path, e))?.object;
    let context = || format!("looking at the place of the new machine, {pool_path}");
    let api = |error| Error::api(context(), error);
    let datacenter = match datacenter_above(client, folder.cast()).await.map_err(api)? {
        Some(datacenter) => client.path_of(&datacenter).await.map_err(api)?,
        None => String::new(),
    };
    let owner = client.bind::<ResourcePool>(&pool).require(ResourcePool::OWNER).await.map_err(api)?;
    let compute: ComputeResource = client.bind(&owner);
    let datastores = volumes(client, &compute).await.map_err(api)?;
    let networks = networks(client, &compute).await.map_err(api)?;
    let hosts = compute.get(ComputeResource::HOST).await.map_err(api)?.unwrap_or_default();
    let hosts = client.properties(&hosts, &["name"]).await.map_err(api)?;
    let mut host = None;
    for mut found in hosts {
        let name: String = found.take_required("name").map_err(api)?;
        if recover.host.as_ref().or(was.host.as_ref()) == Some(&name) {
            host = Some((found.object().clone(), name));
        }
    }
    if let (Some(wanted), None) = (&recover.host, &host) {
        let text = format!("{pool_path} has no host {wanted}: name one that it has, or none");
        return Err(Error::new(ErrorKind::NotEligible, text));
    }
    Ok(Site { datacenter, folder, folder_path, pool, pool_path, host, datastores, networks })
}

fn wanted(path: Option<String>, what: &str) -> Result<String, Error> {
    path.ok_or_else(|| {
        let text =
            format!("the restore point does not say in which {what} the machine was: name one with `{what}`");
        Error::new(ErrorKind::NotEligible, text)
    })
}

async fn volumes(client: &Client, compute: &ComputeResource) -> Result<Vec<Volume>, vim_api::Error> {
    let datastores: Vec<MoRef<Datastore>> =
        compute.get(ComputeResource::DATASTORE).await?.unwrap_or_default();
    let paths = ["summary.name", "summary.url", "summary.freeSpace", "summary.accessible"];
    let mut volumes = Vec::new();
    for mut found in client.properties(&datastores, &paths).await? {
        volumes.push(Volume {
            name: found.take_required("summary.name")?,
            url: found.take("summary.url")?.unwrap_or_default(),
            free: found.take::<i64>("summary.freeSpace")?.and_then(|free| free.try_into().ok()).unwrap_or(0),
            is_accessible: found.take("summary.accessible")?.unwrap_or(true),
        });
    }
    Ok(volumes)
}

async fn networks(client: &Client, compute: &ComputeResource) -> Result<Vec<NewNetwork>, vim_api::Error> {
    let mut networks = Vec::new();
    for network in compute.get(ComputeResource::NETWORK).await?.unwrap_or_default() {
        if let Some(group) = network.downcast::<DistributedVirtualPortgroup>() {
            let group: DistributedVirtualPortgroup = client.bind(&group);
            let config = group.require(DistributedVirtualPortgroup::CONFIG).await?;
            let Some(switch) = &config.distributed_virtual_switch else { continue };
            let switch: DistributedVirtualSwitch = client.bind(switch);
            networks.push(NewNetwork::Distributed {
                name: config.name,
                portgroup_key: config.key,
                switch_uuid: switch.require(DistributedVirtualSwitch::UUID).await?,
            });
            continue;
        }
        let bound: Network = client.bind(&network);
        let Some(name) = bound.get(Network::NAME).await? else { continue };
        let summary = bound.get(Network::SUMMARY).await?;
        let opaque = summary.as_ref().and_then(|summary| summary.downcast_ref::<OpaqueNetworkSummary>());
        networks.push(match (network.downcast::<OpaqueNetwork>(), opaque) {
            (Some(_), Some(summary)) => NewNetwork::Opaque {
                name,
                id: summary.opaque_network_id.clone(),
                of: summary.opaque_network_type.clone(),
            },
            _ => NewNetwork::Standard { name },
        });
    }
    Ok(networks)
}

impl Site {
    /// The datastore of this name.
    ///
    /// # Errors
    /// [`ErrorKind::NotEligible`] when the hosts of the place do not reach it.
    pub(super) fn volume(&self, name: &str) -> Result<&Volume, Error> {
        let found = self.datastores.iter().find(|volume| volume.name == name);
        match found {
            Some(volume) if volume.is_accessible => Ok(volume),
            Some(_) => {
                let text = format!("the datastore {name} is not accessible now");
                Err(Error::new(ErrorKind::NotEligible, text))
            }
            None => {
                let names: Vec<&str> = self.datastores.iter().map(|volume| volume.name.as_str()).collect();
                let text = format!(
                    "no datastore {name} at {}: name one of {} with `datastore` or `disk_datastore`",
                    self.pool_path,
                    names.join(", ")
                );
                Err(Error::new(ErrorKind::NotEligible, text))
            }
        }
    }

    /// The network of this name.
    pub(super) fn network(&self, name: &str) -> Option<&NewNetwork> {
        self.networks.iter().find(|network| network.name() == name)
    }
}

/// What the machines of the server have that must not be there twice. Machines whose configuration cannot be read have nothing.
pub(super) async fn others(client: &Client, folder: &MoRef<Folder>) -> Result<Others, vim_api::Error> {
    let paths = ["name", "parent", "config.uuid", "config.instanceUuid", "config.hardware.device"];
    let mut others = Others::default();
    let folder = folder.cast();
    for mut vm in client.list::<VirtualMachine>(&client.content().root_folder.cast(), &paths).await? {
        if vm.take::<MoRef<vim_api::mo::ManagedEntity>>("parent")?.as_ref() == Some(&folder) {
            others.names.extend(vm.take::<String>("name")?);
        }
        for path in ["config.uuid", "config.instanceUuid"] {
            others.uuids.extend(vm.take::<String>(path)?.map(|uuid| uuid.to_lowercase()));
        }
        let devices: Vec<Poly<VirtualDevice>> = vm.take("config.hardware.device")?.unwrap_or_default();
        let cards = devices.iter().filter_map(|device| device.downcast_ref::<VirtualEthernetCard>());
        others.macs.extend(cards.filter_map(|card| Some(card.mac_address.as_ref()?.to_lowercase())));
    }
    Ok(others)
}
