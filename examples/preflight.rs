//! Would a backup of this machine work, and if not, what has somebody to do?
//!
//! ```text
//! cargo run --example preflight
//! VSPHERE_PASSWORD=... cargo run --example preflight -- --url https://vcenter.example.org/sdk --user me@vsphere.local web-01
//! cargo run --example preflight -- --role          # what a role for backups needs
//! ```

mod connect;

use clap::{Parser, ValueEnum};
use vadp::privileges::{BACKUP, RESTORE, role};
use vadp::{Preflight, ProtectedVm, Quiesce, VmSelector};
use vim_api::mo::VirtualMachine;

/// Looks at everything that a backup will meet, and changes nothing.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: connect::Server,
    /// The machine's name; all machines when none is named.
    machine: Option<String>,
    /// What the backup will ask of the guest.
    #[arg(long, value_enum, default_value = "none")]
    quiesce: Wish,
    /// Leave out the disk with this device key; may be given several times.
    #[arg(long, value_name = "KEY")]
    exclude: Vec<i32>,
    /// The port of the hosts that is dialled; 0 dials none.
    #[arg(long, default_value_t = 902)]
    disk_port: u16,
    /// Print a JSON object for each machine, on a line of its own.
    #[arg(long)]
    json: bool,
    /// Print the command that makes a role for backups and restores, and stop.
    #[arg(long)]
    role: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Wish {
    None,
    Prefer,
    Require,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if options.role {
        println!("govc role.create vadp-backup {}", role(&[BACKUP, RESTORE]).join(" "));
        return Ok(());
    }
    let connection = options.server.connect().await?;
    let client = &connection.client;
    let names = match &options.machine {
        Some(name) => vec![name.clone()],
        None => {
            let root = client.content().root_folder.cast();
            let mut names = Vec::new();
            for mut vm in client.list::<VirtualMachine>(&root, &["name"]).await? {
                names.push(vm.take_required::<String>("name")?);
            }
            names
        }
    };
    let mut all_well = true;
    for name in names {
        let vm = ProtectedVm::resolve(client, &VmSelector::Name(name)).await?;
        let quiesce = match options.quiesce {
            Wish::None => Quiesce::None,
            Wish::Prefer => Quiesce::Prefer,
            Wish::Require => Quiesce::Require,
        };
        let port = (options.disk_port != 0).then_some(options.disk_port);
        let preflight = Preflight::backup(&vm).quiesce(quiesce).exclude(options.exclude.clone());
        let report = preflight.disk_port(port).run().await?;
        all_well &= report.ok();
        match options.json {
            true => println!("{}", serde_json::to_string(&report)?),
            false => println!("{report}"),
        }
    }
    client.logout().await?;
    // For scripts: 0 when every machine can be backed up.
    std::process::exit(i32::from(!all_well));
}
