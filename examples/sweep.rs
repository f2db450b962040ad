//! What have backups left on a server that died, and whose is it?
//!
//! ```text
//! cargo run --example sweep -- --journal /var/lib/my-backup/journal
//! VSPHERE_PASSWORD=... cargo run --example sweep -- --url ... --user ... --journal DIR --take-over 4f0c2a91b6de
//! ```

mod connect;

use std::path::PathBuf;

use clap::Parser;
use vadp::{Journal, Sweeper};

/// Settles what the journal knows of dead runs, and lists what belongs to other journals.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: connect::Server,
    /// The journal's folder.
    #[arg(long, value_name = "DIR")]
    journal: PathBuf,
    /// Remove all snapshots of this owner, whose journal is lost. One that lives loses its running backups.
    #[arg(long, value_name = "OWNER")]
    take_over: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let journal = Journal::open(&options.journal)?;
    let connection = options.server.connect().await?;
    let client = &connection.client;
    let sweeper = Sweeper::new(&journal);
    let swept = sweeper.sweep(client).await?;
    for name in &swept.templates {
        println!("{name} is a template again");
    }
    for name in &swept.need_consolidation {
        println!("{name}: its disks need consolidation even so");
    }
    for text in &swept.left {
        println!("left: {text}");
    }
    println!(
        "owner {}: {} snapshots removed, {} were gone",
        journal.owner(),
        swept.snapshots_removed.len(),
        swept.already_gone
    );
    if let Some(owner) = &options.take_over {
        for name in sweeper.take_over(client, owner).await?.snapshots_removed {
            println!("removed {name}");
        }
    }
    for snapshot in sweeper.foreign(client).await? {
        println!(
            "{} of owner {} on {}, since {}",
            snapshot.name, snapshot.owner, snapshot.machine, snapshot.created
        );
    }
    client.logout().await?;
    Ok(())
}
