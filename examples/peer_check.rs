//! Asks a vSphere that is not ours: logs in, lists machines, takes a snapshot and removes it.
//!
//! ```text
//! PEER_PASSWORD=... cargo run --example peer_check -- https://127.0.0.1:8989/sdk <thumbprint> <user>
//! ```

use anyhow::{Context, bail, ensure};
use secrecy::SecretString;
use vim_api::Client;
use vim_api::mo::{Managed, VirtualMachine, VirtualMachineSnapshot};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, thumbprint, user] = arguments.as_slice() else {
        bail!("usage: peer_check URL THUMBPRINT USER, with the password in PEER_PASSWORD");
    };
    let password = SecretString::from(std::env::var("PEER_PASSWORD").context("PEER_PASSWORD is not set")?);
    let client = Client::connect(url).thumbprint(thumbprint.parse()?).await?;
    println!("{} speaking {}", client.content().about.full_name, client.version());
    client.login(user, &password).await?;

    let root = client.content().root_folder.cast();
    let mut vms = client.list::<VirtualMachine>(&root, &["name", "runtime.powerState"]).await?;
    ensure!(!vms.is_empty(), "the server shows no machines");
    for vm in &mut vms {
        let name: String = vm.take_required("name")?;
        println!("{} {name}", vm.object());
    }

    let vm: VirtualMachine = client.bind(vms[0].object());
    let task = vm.create_snapshot_task("peer-check", Some("taken by peer_check"), false, false).await?;
    let moref = task.wait_with(|info| println!("snapshot: {}", info.state)).await?;
    let tree = vm.require(VirtualMachine::SNAPSHOT).await?;
    ensure!(
        tree.root_snapshot_list.iter().any(|s| s.name == "peer-check"),
        "the snapshot is not in the tree"
    );
    let snapshot: VirtualMachineSnapshot = client.bind(&moref);
    snapshot.remove_snapshot_task(false, Some(true)).await?.wait().await?;
    let left = vm.get(VirtualMachine::SNAPSHOT).await?;
    ensure!(left.is_none_or(|tree| tree.root_snapshot_list.is_empty()), "the snapshot is still there");

    client.logout().await?;
    println!("ok: {} machines, a snapshot taken and removed", vms.len());
    Ok(())
}
