//! Storage policies, which are a service of their own. Who has which cannot be asked here: see the gaps.

use anyhow::ensure;
use vim_api::mo::{Managed, VirtualMachine};
use vim_api::{Client, ErrorKind};

pub(crate) async fn check(client: &Client) -> anyhow::Result<()> {
    let policies = client.storage_policies().await?;
    let all = policies.list().await?;
    // vcsim comes with those of a new vCenter.
    let found = policies.find("VM Encryption Policy").await?;
    ensure!(all.contains(&found) && !found.id.is_empty(), "{found:?} is not among {all:?}");
    let missing = policies.find("no such policy").await;
    ensure!(missing.is_err_and(|error| error.is_not_found()), "a policy that is not there was found");

    // Its cookie must not have become ours.
    let root = client.content().root_folder.cast();
    let vm: VirtualMachine = client.bind(client.list::<VirtualMachine>(&root, &["name"]).await?[0].object());
    vm.require(VirtualMachine::NAME).await?;

    let disks = client.first_class_disks().await;
    ensure!(
        disks.is_err_and(|error| error.kind() == ErrorKind::NotFound),
        "the server has first-class disks now"
    );
    println!("policies: {} read, one found by its name", all.len());
    Ok(())
}
