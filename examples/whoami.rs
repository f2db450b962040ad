//! Which server is it, and who am I there?
//!
//! ```text
//! cargo run --example whoami
//! VSPHERE_PASSWORD=... cargo run --example whoami -- --url https://vcenter.example.org/sdk --user me@vsphere.local
//! ```

mod connect;

use clap::Parser;
use serde_json::json;

/// Logs in and tells what the server is and what it knows of this session.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: connect::Server,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let connection = options.server.connect().await?;
    let client = &connection.client;
    let about = &client.content().about;
    let session = client.current_session().await?;
    if options.json {
        let seen = json!({
            "server": about.full_name,
            "instance_uuid": about.instance_uuid,
            "api_version": client.version().to_string(),
            "is_vcenter": client.is_vcenter(),
            "user": session.user_name,
            "login_time": session.login_time.as_str(),
            "server_time": client.server_time().await?.as_str(),
        });
        println!("{seen}");
    } else {
        println!("{} at {}, API {}", about.full_name, client.host(), client.version());
        println!("{}, logged in since {}", session.user_name, session.login_time);
        println!("the server's clock says {}", client.server_time().await?);
    }
    client.logout().await?;
    Ok(())
}
