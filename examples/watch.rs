//! What happens to the machines, live, until Ctrl-C.
//!
//! ```text
//! cargo run --example watch
//! ```
//!
//! Against the simulator, the example itself powers a machine off and on again and again, so that there is something to see.

mod connect;

use std::time::Duration;

use clap::Parser;
use vim_api::mo::VirtualMachine;
use vim_api::types::VirtualMachinePowerState;
use vim_api::{Change, Client, MoRef};

const PAUSE: Duration = Duration::from_millis(300);

/// Prints machines that appear, change or go, as the server tells it.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: connect::Server,
    /// Stop after so many changes.
    #[arg(long)]
    count: Option<usize>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let connection = options.server.connect().await?;
    let client = &connection.client;
    let root = client.content().root_folder.cast();
    let mut updates = client.updates::<VirtualMachine>(&root, &["name", "runtime.powerState"]);
    let mut left = options.count.unwrap_or(usize::MAX);
    let mut is_stirred = connection.sim.is_none();
    while left > 0 {
        let told = tokio::select! {
            told = updates.next() => told?,
            _ = tokio::signal::ctrl_c() => break,
        };
        for change in told.changes.into_iter().take(left) {
            left -= 1;
            match change {
                Change::Enter(vm) => println!("+ {}", line(&updates, &vm)),
                Change::Modify { object, paths } => {
                    println!("~ {} ({})", line(&updates, &object), paths.join(", "))
                }
                Change::Leave(vm) => println!("- {vm}"),
            }
        }
        if updates.is_in_sync() && !is_stirred {
            is_stirred = true;
            let on =
                |vm: &MoRef<VirtualMachine>| state(&updates, vm) == Some(VirtualMachinePowerState::PoweredOn);
            let vm = updates.objects().map(|vm| vm.object().clone()).find(on);
            tokio::spawn(stir(client.clone(), vm));
        }
    }
    client.logout().await?;
    Ok(())
}

fn line(updates: &vim_api::Updates<VirtualMachine>, vm: &MoRef<VirtualMachine>) -> String {
    let seen = |path| updates.get(vm).and_then(|vm| vm.get::<String>(path).ok().flatten());
    let state = state(updates, vm).map_or_else(String::new, |state| state.to_string());
    format!("{} {} {state}", vm.value(), seen("name").unwrap_or_default())
}

fn state(
    updates: &vim_api::Updates<VirtualMachine>,
    vm: &MoRef<VirtualMachine>,
) -> Option<VirtualMachinePowerState> {
    updates.get(vm)?.get("runtime.powerState").ok().flatten()
}

/// Turns a machine that is on off and on. Goes on until the program ends: a server may tell two changes as one, and of an off and an on nothing is left then.
async fn stir(client: Client, vm: Option<MoRef<VirtualMachine>>) -> Result<(), vim_api::Error> {
    let Some(vm) = vm.map(|vm| client.bind(&vm)) else { return Ok(()) };
    loop {
        vm.power_off_vm_task().await?.wait().await?;
        tokio::time::sleep(PAUSE).await;
        vm.power_on_vm_task(None).await?.wait().await?;
        tokio::time::sleep(PAUSE).await;
    }
}
