//! How the examples reach a vSphere: the one of the command line, or the simulator when none is named.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, bail};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use vim_api::{Client, Thumbprint};
use vsphere_sim::{DiskSpec, Sim, VmSpec};

/// Where to log in, and as whom. The password comes from a file or from VSPHERE_PASSWORD, never from the command line,
/// which every user of a machine can see.
#[derive(Args)]
pub(crate) struct Server {
    /// The server, such as https://vcenter.example.org/sdk.
    #[arg(long, conflicts_with = "sim")]
    url: Option<String>,
    /// Who logs in, such as backup@vsphere.local.
    #[arg(long, requires = "url")]
    user: Option<String>,
    /// SHA-1 or SHA-256 of the server's certificate. Without it the certificate has to be trusted by the system.
    #[arg(long, requires = "url")]
    thumbprint: Option<Thumbprint>,
    /// A file whose first line is the password; instead of the variable VSPHERE_PASSWORD.
    #[arg(long, requires = "url", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Start a simulated vSphere and use that; so it is also when no server is named.
    #[arg(long)]
    sim: bool,
}

/// A client that is logged in, and the simulator that it speaks to, if it does.
pub(crate) struct Connection {
    pub(crate) client: Client,
    #[allow(dead_code, reason = "most examples only keep it alive")]
    pub(crate) sim: Option<Sim>,
}

impl Connection {
    /// The unpacked VDDK: the one that is named, or with the simulator a fake one, which is put into `scratch`.
    #[allow(dead_code, reason = "only some examples read disks")]
    pub(crate) fn kit(&self, named: Option<&Path>, scratch: &Path) -> anyhow::Result<PathBuf> {
        match (named, &self.sim) {
            (Some(kit), _) => Ok(kit.to_owned()),
            (None, Some(sim)) => {
                let kit = scratch.join("kit");
                fake_vddk::install(&kit)?;
                sim.install_vddk_entry(&kit)?;
                Ok(kit)
            }
            (None, None) => bail!("say with --kit where VDDK was unpacked"),
        }
    }
}

impl Server {
    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let Some(url) = self.url.as_ref().filter(|_| !self.sim) else { return simulated().await };
        let user = self.user.as_deref().context("say with --user who logs in")?;
        let mut connect = Client::connect(url);
        if let Some(pin) = &self.thumbprint {
            connect = connect.thumbprint(*pin);
        }
        let client = connect.await?;
        client.login(user, &self.password()?).await?;
        Ok(Connection { client, sim: None })
    }

    /// Who logs in, and with which password: what VDDK needs as well.
    #[allow(dead_code, reason = "only some examples read disks")]
    pub(crate) fn credentials(&self, connection: &Connection) -> anyhow::Result<(String, SecretString)> {
        match &connection.sim {
            Some(sim) => Ok((sim.user().to_owned(), sim.password().clone())),
            None => Ok((self.user.clone().context("say with --user who logs in")?, self.password()?)),
        }
    }

    fn password(&self) -> anyhow::Result<SecretString> {
        let Some(file) = &self.password_file else {
            let Ok(password) = env::var("VSPHERE_PASSWORD") else {
                bail!("set VSPHERE_PASSWORD, or name a file with --password-file");
            };
            return Ok(SecretString::from(password));
        };
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = SecretString::from(text);
        Ok(SecretString::from(text.expose_secret().lines().next().unwrap_or_default()))
    }
}

/// A vSphere with three machines, so that there is something to see.
async fn simulated() -> anyhow::Result<Connection> {
    let vm = |name: &str| VmSpec::new(name).disk(DiskSpec::empty(64 << 20));
    let sim = Sim::builder().vm(vm("web-01")).vm(vm("web-02").powered_off()).vm(vm("db-01")).start().await?;
    let client = Client::connect(&sim.url()).thumbprint(sim.thumbprint_sha256().parse()?).await?;
    client.login(sim.user(), sim.password()).await?;
    eprintln!("no server was named, so this is the simulator");
    Ok(Connection { client, sim: Some(sim) })
}
