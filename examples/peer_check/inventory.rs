//! Views, lists, paths and the search index, and folders that come and go.

use anyhow::{Context, ensure};
use vim_api::Client;
use vim_api::mo::{ContainerView, Datacenter, Folder, ListView, Managed, VirtualMachine};

pub(crate) async fn check(client: &Client) -> anyhow::Result<()> {
    let root = client.content().root_folder.cast();
    let mut vms =
        client.list::<VirtualMachine>(&root, &["name", "config.uuid", "summary.config.vmPathName"]).await?;
    ensure!(!vms.is_empty(), "the server shows no machines");
    let views = client.bind(client.content().view_manager.as_ref().context("no view manager")?);

    let container = views.create_container_view(&root.cast(), &["VirtualMachine".into()], true).await?;
    let container: ContainerView = client.bind(&container);
    ensure!(container.require(ContainerView::VIEW).await?.len() == vms.len(), "view and list differ");
    container.destroy_view().await?;

    let list: ListView = client.bind(&views.create_list_view(&[vms[0].object().cast()]).await?);
    list.modify_list_view(&[root.cast()], &[vms[0].object().cast()]).await?;
    ensure!(list.require(ListView::VIEW).await? == [root.clone()], "the list was not changed");
    list.destroy_view().await?;

    let vm = vms[0].object().clone();
    let (name, uuid): (String, String) =
        (vms[0].take_required("name")?, vms[0].take_required("config.uuid")?);
    let file: String = vms[0].take_required("summary.config.vmPathName")?;
    let path = client.path_of(&vm).await?;
    ensure!(path.ends_with(&name), "{path} is not the path of {name}");
    ensure!(client.find_one::<VirtualMachine>(&path).await?.object == vm, "{path} leads elsewhere");
    let stars = client.find_all::<VirtualMachine>("*").await?;
    ensure!(!stars.is_empty() && stars.len() <= vms.len(), "* finds {} of {}", stars.len(), vms.len());

    let index = client.search_index()?;
    ensure!(
        index.find_by_uuid(None, &uuid, true, Some(false)).await? == Some(vm.cast()),
        "not found by uuid"
    );
    let by_path = index.find_by_inventory_path(path.trim_start_matches('/')).await?;
    ensure!(by_path == Some(vm.cast()), "not found by path");
    let datacenter = client.list::<Datacenter>(&root, &["name"]).await?.remove(0).object().clone();
    ensure!(
        index.find_by_datastore_path(&datacenter, &file).await? == Some(vm.cast()),
        "not found by its file"
    );

    let folder: Folder = client.bind(&root.cast());
    let made = folder.create_folder("peer folder").await?;
    let inside: Folder = client.bind(&made);
    let new: Datacenter = client.bind(&inside.create_datacenter("peer dc").await?);
    ensure!(
        index.find_child(&made.cast(), "peer dc").await? == Some(new.moref().cast()),
        "the new one is not there"
    );
    new.rename_task("peer dc/2").await?.wait().await?;
    let renamed = new.require(Datacenter::NAME).await?;
    ensure!(renamed.starts_with("peer dc"), "it is called {renamed}");
    new.destroy_task().await?.wait().await?;
    inside.destroy_task().await?.wait().await?;
    ensure!(index.find_child(&root.cast(), "peer folder").await?.is_none(), "the folder is still there");
    println!(
        "inventory: {} machines by views, lists, paths and index; folder and datacenter made and removed",
        vms.len()
    );
    Ok(())
}
