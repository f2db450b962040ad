//! Disks of a restore point for NBD clients.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use vadp_repository::nbd::{Export, NbdServer, Tls};
use vadp_repository::{PointId, Repository};

use crate::show;

#[derive(Args)]
pub struct ServeNbd {
    /// The restore point.
    point: String,
    /// Only this disk; by default all disks, each as an export called machine/disk.
    #[arg(long)]
    disk: Option<String>,
    /// Listen on this socket, for programs of the same user.
    #[arg(long, required_unless_present = "tcp")]
    unix: Option<PathBuf>,
    /// Listen on this address, such as 127.0.0.1:10809. One that other machines reach needs TLS.
    #[arg(long)]
    tcp: Option<SocketAddr>,
    /// Talk over TLS only, with this chain of certificates (PEM).
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key (PEM).
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Take only clients with a certificate of one of these authorities (PEM).
    #[arg(long, requires = "tls_cert")]
    tls_clients: Option<PathBuf>,
    /// Let clients write. What they write is in this folder, without a name, and is gone when the server ends.
    #[arg(long)]
    overlay: Option<PathBuf>,
}

impl ServeNbd {
    /// Until it is interrupted.
    pub async fn run(&self, repo: &Repository, is_json: bool) -> anyhow::Result<()> {
        let point = repo.point(PointId::parse(&self.point)?).await?;
        let mut server = NbdServer::builder();
        let is_wanted = |key: &str| self.disk.as_ref().is_none_or(|wanted| wanted == key);
        let keys: Vec<_> =
            point.disks().iter().map(|disk| disk.key.as_str()).filter(|key| is_wanted(key)).collect();
        ensure!(!keys.is_empty(), "the restore point has no such disk; `show` lists them");
        for key in keys {
            let disk = point.disk(key)?;
            let export = match &self.overlay {
                Some(folder) => Export::with_overlay(disk, folder)?,
                None => Export::read_only(disk),
            };
            server = server.export(format!("{}/{key}", point.machine().as_str()), export);
        }
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            server = server.tls(Tls::from_files(cert, key, self.tls_clients.as_deref())?);
        }
        let mut server = server.on_error(|export, error| eprintln!("{export}: {error}")).build()?;
        if let Some(path) = &self.unix {
            server.bind_unix(path)?;
        }
        if let Some(address) = self.tcp {
            server.bind_tcp(address)?;
        }
        let uris = server.uris();
        let writable = self.overlay.is_some();
        show::line(is_json, &json!({"uris": uris, "writable": writable}), || uris.join("\n"));
        let mut ended = signal(SignalKind::terminate()).context("cannot wait for signals")?;
        let interrupted = async {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = ended.recv() => {}
            }
        };
        server.serve(interrupted).await;
        Ok(())
    }
}
