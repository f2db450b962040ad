//! The whole tree of a vSphere, with a bar while it comes in.
//!
//! ```text
//! cargo run --example inventory
//! ```

mod connect;

use std::time::Duration;

use clap::Parser;
use indicatif::ProgressBar;
use serde_json::{Value, json};
use vim_api::mo::ManagedEntity;
use vim_api::{Inventory, MoRef};

/// Prints the tree of everything in the inventory.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: connect::Server,
    /// Print it as one JSON object.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let connection = options.server.connect().await?;
    let mut inventory = connection.client.inventory();
    // Nobody knows how many there will be, so the bar counts. It goes to standard error, and only to a terminal.
    let bar = ProgressBar::new_spinner();
    bar.enable_steady_tick(Duration::from_millis(100));
    while !inventory.is_in_sync() {
        inventory.next().await?;
        bar.set_message(format!("{} objects", inventory.len()));
    }
    bar.finish_and_clear();
    if options.json {
        println!("{}", as_json(&inventory, inventory.root()));
    } else {
        print(&inventory, inventory.root(), 0);
    }
    connection.client.logout().await?;
    Ok(())
}

/// The type is part of the reference: no call is needed for it.
fn print(inventory: &Inventory, object: &MoRef<ManagedEntity>, depth: usize) {
    let name = inventory.get(object).map_or("?", |node| &node.name);
    println!("{:indent$}{name}  ({})", "", object.type_name(), indent = 2 * depth);
    for child in inventory.children(object) {
        print(inventory, child, depth + 1);
    }
}

fn as_json(inventory: &Inventory, object: &MoRef<ManagedEntity>) -> Value {
    let children: Vec<_> = inventory.children(object).map(|child| as_json(inventory, child)).collect();
    let name = inventory.get(object).map(|node| &node.name);
    json!({ "name": name, "type": object.type_name(), "moref": object.value(), "children": children })
}
