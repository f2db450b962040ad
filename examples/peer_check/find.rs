//! Objects by path and identity, the whole inventory by traversals, and structs read from properties.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use vim_api::dynamic::Poly;
use vim_api::mo::{Datastore, HostSystem, ManagedEntity, Network, ResourcePool, VirtualMachine};
use vim_api::types::{
    ObjectSpec, PropertyFilterSpec, PropertySpec, VirtualDevice, VirtualDisk, VirtualMachinePowerState,
};
use vim_api::{Client, ErrorKind, MoRef, ResolvedBy, Retrieve, traversal};

#[derive(Retrieve)]
#[retrieve(VirtualMachine)]
struct Listed {
    #[retrieve(self)]
    moref: MoRef<VirtualMachine>,
    name: String,
    #[retrieve(runtime.power_state)]
    power: VirtualMachinePowerState,
    #[retrieve(config.hardware.device)]
    devices: Option<Vec<Poly<VirtualDevice>>>,
}

pub(crate) async fn check(client: &Client) -> anyhow::Result<()> {
    let root: MoRef = client.content().root_folder.cast();
    let vms = client.list_as::<Listed>(&root).await?;
    for vm in &vms {
        let disks = vm.devices.iter().flatten().filter(|device| device.is::<VirtualDisk>()).count();
        ensure!(disks > 0, "{} ({}) shows no disk", vm.name, vm.power);
    }
    let listed: BTreeSet<String> = vms.iter().map(|vm| vm.moref.to_string()).collect();
    ensure!(!listed.is_empty() && listed.len() == vms.len(), "{listed:?}");

    paths(client, vms.len()).await?;
    let through = machines_by_traversal(client, &root).await?;
    ensure!(through == listed, "{through:?} by traversal, {listed:?} by view");

    let mut pages = client.list_pages::<VirtualMachine>(&root, &["name"]).page(1);
    let mut count = 0;
    while pages.next().await?.is_some() {
        count += 1;
    }
    ensure!(count == vms.len(), "{count} machines, one at a time");

    let identity = client.identify(&vms[0].moref).await?;
    let found = client.resolve(&identity).await?;
    ensure!(found.by == ResolvedBy::MoRef && found.certain()? == vms[0].moref, "not found by its reference");
    println!("find: {} machines by path, traversal, page and identity", vms.len());
    Ok(())
}

async fn paths(client: &Client, machines: usize) -> anyhow::Result<()> {
    let all = client.find_all::<VirtualMachine>("/.../*").await?;
    ensure!(all.len() == machines, "{} machines anywhere", all.len());
    for found in &all {
        ensure!(client.path_of(&found.object).await? == found.path, "{}", found.path);
        let exact = client.find_one::<VirtualMachine>(&found.path).await?;
        ensure!(exact.object == found.object, "{}", found.path);
    }
    let some = client.find_all::<VirtualMachine>("DC0_H0_VM*").await?;
    ensure!(some.len() == 2 && some[0].path == "/DC0/vm/DC0_H0_VM0", "{some:?}");
    ensure!(client.find_all::<HostSystem>("*/*").await?.len() > 1, "no hosts below the host folder");
    client.find_one::<ResourcePool>("DC0_C0/Resources").await?;
    client.find_one::<Datastore>("/DC0/datastore/LocalDS_0").await?;
    client.find_one::<Network>("VM Network").await?;
    let several = client.find_one::<VirtualMachine>("*").await.err().context("one of several")?;
    ensure!(several.kind() == ErrorKind::Ambiguous, "{several}");
    Ok(())
}

async fn machines_by_traversal(client: &Client, root: &MoRef) -> anyhow::Result<BTreeSet<String>> {
    let spec = PropertyFilterSpec {
        prop_set: vec![PropertySpec {
            r#type: "ManagedEntity".into(),
            path_set: vec!["name".into()],
            ..Default::default()
        }],
        object_set: vec![ObjectSpec {
            obj: root.clone(),
            select_set: traversal::whole_inventory(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let all = client.retrieve::<ManagedEntity>(spec).await?;
    let machines = all.iter().filter_map(|entity| entity.object().downcast::<VirtualMachine>());
    Ok(machines.map(|vm| vm.to_string()).collect())
}
