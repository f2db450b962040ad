//! The life of a machine: made from another, changed, powered, snapshotted, unregistered.

use anyhow::{Context, ensure};
use vim_api::Client;
use vim_api::mo::{Folder, Managed, VirtualMachine, VirtualMachineSnapshot};
use vim_api::types::{
    InvalidPowerState, VirtualMachineCloneSpec, VirtualMachineConfigSpec, VirtualMachinePowerState,
};

pub(crate) async fn check(client: &Client) -> anyhow::Result<()> {
    let root = client.content().root_folder.cast();
    let vms = client.list::<VirtualMachine>(&root, &["name"]).await?;
    let source: VirtualMachine = client.bind(vms.first().context("no machine to clone")?.object());
    let folder: Folder = client.bind(&source.require(VirtualMachine::PARENT).await?.cast());

    let spec = VirtualMachineCloneSpec::default();
    let made = source.clone_vm_task(&folder.moref(), "peer-clone", &spec).await?.wait().await?;
    let vm: VirtualMachine = client.bind(&made);
    let state = async || vm.require(VirtualMachine::RUNTIME).await.map(|runtime| runtime.power_state);
    ensure!(state().await? == VirtualMachinePowerState::PoweredOff, "a clone runs unasked");

    let spec = VirtualMachineConfigSpec {
        num_cpus: Some(3),
        annotation: Some("a < b & c".into()),
        ..Default::default()
    };
    vm.reconfig_vm_task(&spec).await?.wait().await?;
    let config = vm.require(VirtualMachine::CONFIG).await?;
    ensure!(config.hardware.num_cpu == 3, "it has {} processors", config.hardware.num_cpu);
    ensure!(config.annotation.as_deref() == Some("a < b & c"), "its note is {:?}", config.annotation);

    vm.power_on_vm_task(None).await?.wait().await?;
    ensure!(state().await? == VirtualMachinePowerState::PoweredOn, "it does not run");
    let twice = vm.power_on_vm_task(None).await?.wait().await.err().context("it was powered on twice")?;
    ensure!(twice.fault::<InvalidPowerState>().is_some(), "{twice}");
    vm.reset_vm_task().await?.wait().await?;
    vm.suspend_vm_task().await?.wait().await?;
    ensure!(state().await? == VirtualMachinePowerState::Suspended, "it is not suspended");
    vm.power_on_vm_task(None).await?.wait().await?;
    vm.power_off_vm_task().await?.wait().await?;

    snapshots(client, &vm).await?;

    vm.mark_as_template().await?;
    let pool = source.require(VirtualMachine::RESOURCE_POOL).await?;
    vm.mark_as_virtual_machine(&pool, None).await?;
    vm.unregister_vm().await?;
    let gone = vm.get(VirtualMachine::NAME).await.err().context("an unregistered machine answers")?;
    ensure!(gone.is_not_found(), "{gone}");
    let left = client.list::<VirtualMachine>(&root, &["name"]).await?.len();
    ensure!(left == vms.len(), "{left} machines are left of {}", vms.len());
    println!("machines: clone, reconfigure, power, snapshots, template, unregister");
    Ok(())
}

async fn snapshots(client: &Client, vm: &VirtualMachine) -> anyhow::Result<()> {
    let mut states = Vec::new();
    let task = vm.create_snapshot_task("one", Some("first"), false, false).await?;
    let one = task.wait_with(|info| states.push(info.state.clone())).await?;
    ensure!(!states.is_empty(), "the task told nothing");
    let two = vm.create_snapshot_task("two", None, false, false).await?.wait().await?;
    let two: VirtualMachineSnapshot = client.bind(&two);
    let tree = vm.require(VirtualMachine::SNAPSHOT).await?;
    let [root] = tree.root_snapshot_list.as_slice() else { anyhow::bail!("there is not one root") };
    ensure!(root.name == "one" && root.child_snapshot_list.len() == 1, "the tree is not one over two");
    let one: VirtualMachineSnapshot = client.bind(&one);
    one.revert_to_snapshot_task(None, None).await?.wait().await?;
    let current = vm.require(VirtualMachine::SNAPSHOT).await?.current_snapshot;
    ensure!(current == Some(one.moref()), "after the revert {current:?} is current");
    // Not the current one above it: without a parent to go to, vcsim 0.24.2 closes the connection.
    two.remove_snapshot_task(false, Some(true)).await?.wait().await?;
    let tree = vm.require(VirtualMachine::SNAPSHOT).await?;
    ensure!(
        tree.root_snapshot_list.iter().all(|one| one.child_snapshot_list.is_empty()),
        "two is still there"
    );
    vm.remove_all_snapshots_task(Some(true), None).await?.wait().await?;
    let left = vm.get(VirtualMachine::SNAPSHOT).await?;
    ensure!(left.is_none_or(|tree| tree.root_snapshot_list.is_empty()), "snapshots are still there");
    Ok(())
}
