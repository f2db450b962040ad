//! Powers machines on or off, all that fit a pattern at once.
//!
//! ```text
//! cargo run --example power -- off 'web-*'
//! ```

mod connect;

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use futures::future::join_all;
use vim_api::mo::VirtualMachine;
use vim_api::types::InvalidPowerState;
use vim_api::{Client, Found};

/// Powers machines on or off.
#[derive(Parser)]
struct Options {
    /// What to do.
    switch: Switch,
    /// Which machines: a name or an inventory path, with `*` and `?` (govc's syntax).
    pattern: String,
    #[command(flatten)]
    server: connect::Server,
}

#[derive(Clone, Copy, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let connection = options.server.connect().await?;
    let client = &connection.client;
    let found = client.find_all::<VirtualMachine>(&options.pattern).await?;
    ensure!(!found.is_empty(), "no machine fits {}; the example inventory shows them all", options.pattern);
    // One session serves them all at once.
    let outcomes = join_all(found.iter().map(|vm| switch(client, vm, options.switch))).await;
    let mut failed = 0;
    for (vm, outcome) in found.iter().zip(outcomes) {
        match outcome {
            Ok(said) => println!("{}: {said}", vm.path),
            Err(error) => {
                failed += 1;
                eprintln!("{}: {error}", vm.path);
            }
        }
    }
    client.logout().await?;
    ensure!(failed == 0, "{failed} of {} machines are not as asked", found.len());
    Ok(())
}

async fn switch(
    client: &Client,
    found: &Found<VirtualMachine>,
    to: Switch,
) -> Result<&'static str, vim_api::Error> {
    let vm = client.bind(&found.object);
    let task = match to {
        Switch::On => vm.power_on_vm_task(None).await?,
        Switch::Off => vm.power_off_vm_task().await?,
    };
    match task.wait().await {
        Ok(()) => Ok("done"),
        // The server says that it is so already.
        Err(error) if error.fault::<InvalidPowerState>().is_some() => Ok("was so already"),
        Err(error) => Err(error),
    }
}
