//! What changes, as the server tells it: one kind of object, and the whole tree.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::timeout;
use vim_api::mo::{Folder, Managed, VirtualMachine};
use vim_api::{Change, Client};

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn check(client: &Client) -> anyhow::Result<()> {
    let root = client.content().root_folder.cast();
    let mut updates = client.updates::<VirtualMachine>(&root, &["name", "runtime.powerState"]);
    while !updates.is_in_sync() {
        timeout(PATIENCE, updates.next()).await.context("the first state does not come")??;
    }
    let vm = updates.objects().next().context("no machine is followed")?.object().clone();
    let machine: VirtualMachine = client.bind(&vm);
    let name = machine.require(VirtualMachine::NAME).await?;
    machine.rename_task("renamed by a peer").await?.wait().await?;
    let is_told = |change: &Change<VirtualMachine>| match change {
        Change::Modify { object, paths } => *object == vm && paths.iter().any(|path| path == "name"),
        _ => false,
    };
    while !timeout(PATIENCE, updates.next()).await.context("no update comes")??.changes.iter().any(is_told) {}
    let known: Option<String> = updates.get(&vm).context("the machine is gone")?.get("name")?;
    ensure!(known.as_deref() == Some("renamed by a peer"), "the replica says {known:?}");
    machine.rename_task(&name).await?.wait().await?;

    let mut inventory = client.inventory();
    while !inventory.is_in_sync() {
        timeout(PATIENCE, inventory.next()).await.context("the tree does not come")??;
    }
    let before = inventory.len();
    ensure!(
        inventory.path(&vm.cast()) == Some(client.path_of(&vm).await?),
        "replica and server differ on a path"
    );
    let top: Folder = client.bind(&root.cast());
    let made: Folder = client.bind(&top.create_folder("peer tree").await?);
    while inventory.get(&made.moref().cast()).is_none() {
        timeout(PATIENCE, inventory.next()).await.context("the new folder is not told")??;
    }
    made.destroy_task().await?.wait().await?;
    while inventory.get(&made.moref().cast()).is_some() {
        timeout(PATIENCE, inventory.next()).await.context("the removal is not told")??;
    }
    ensure!(inventory.len() == before, "{} objects are left of {before}", inventory.len());
    println!("updates: a machine renamed, a folder in and out of a tree of {before}");
    Ok(())
}
