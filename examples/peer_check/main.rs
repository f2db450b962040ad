//! Tries our client on a vSphere that is not ours, theme by theme, and names what that server lacks.
//!
//! ```text
//! PEER_PASSWORD=... cargo run --example peer_check -- https://127.0.0.1:8989/sdk <thumbprint> <user>
//! ```
//!
//! It makes and removes things: it is meant for govmomi's vcsim (`peers/vcsim/run`), not for a vCenter that somebody
//! uses.

mod bookkeeping;
mod files;
mod find;
mod gaps;
mod inventory;
mod machines;
mod policies;
mod sessions;
mod storage;
mod tags;
mod updates;

use anyhow::{Context, bail};
use secrecy::SecretString;
use vim_api::{Client, Thumbprint};

/// The server and who logs in to it.
struct Peer {
    url: String,
    thumbprint: Thumbprint,
    user: String,
    password: SecretString,
}

impl Peer {
    async fn connect(&self) -> anyhow::Result<Client> {
        Ok(Client::connect(&self.url).thumbprint(self.thumbprint).await?)
    }

    async fn login(&self) -> anyhow::Result<Client> {
        let client = self.connect().await?;
        client.login(&self.user, &self.password).await?;
        Ok(client)
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, thumbprint, user] = arguments.as_slice() else {
        bail!("usage: peer_check URL THUMBPRINT USER, with the password in PEER_PASSWORD");
    };
    let password = SecretString::from(std::env::var("PEER_PASSWORD").context("PEER_PASSWORD is not set")?);
    let peer = Peer { url: url.clone(), thumbprint: thumbprint.parse()?, user: user.clone(), password };

    sessions::check(&peer).await.context("sessions")?;
    let client = peer.login().await?;
    println!("{} speaking {}", client.content().about.full_name, client.version());
    inventory::check(&client).await.context("inventory")?;
    find::check(&client).await.context("find")?;
    updates::check(&client).await.context("updates")?;
    machines::check(&client).await.context("machines")?;
    storage::check(&client).await.context("storage")?;
    files::check(&client).await.context("files")?;
    policies::check(&client).await.context("policies")?;
    tags::check(&peer, &client).await.context("tags")?;
    bookkeeping::check(&client).await.context("bookkeeping")?;
    let gaps = gaps::check(&client).await.context("gaps")?;
    client.logout().await?;
    println!("ok: 11 themes; {gaps} known gaps are still there");
    Ok(())
}
