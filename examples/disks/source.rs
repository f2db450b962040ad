//! Which disk is meant, for the examples about one disk: any VMDK of this machine or of a server, through a kit or the fake library.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, ensure};
use secrecy::SecretString;
use tempfile::TempDir;
use vixdisklib::{
    ConnectOptions, ConnectParams, Connection, CreateSpec, Credentials, Disk, DiskType, Library,
    LibraryOptions, OpenOptions, Sectors, Thumbprint, VmSpec,
};

/// Which disk, and how to reach it.
#[derive(clap::Args)]
pub(crate) struct Where {
    /// The disk: a path on this machine, or one on a datastore with --server. Without it, one is made to be looked at.
    #[arg(long)]
    pub(crate) disk: Option<String>,
    /// The folder of a VDDK kit; without it, the fake library is used.
    #[arg(long, value_name = "DIR", requires = "disk")]
    kit: Option<PathBuf>,
    /// The vCenter or ESXi host; without it the disk is on this machine.
    #[arg(long, requires_all = ["kit", "user", "vm"])]
    server: Option<String>,
    /// The server's port.
    #[arg(long, default_value_t = 443, requires = "server")]
    port: u16,
    /// Who logs in; the password is in VSPHERE_PASSWORD, or asked for.
    #[arg(long, requires = "server")]
    user: Option<String>,
    /// SHA-1 of the server's certificate.
    #[arg(long, requires = "server")]
    thumbprint: Option<Thumbprint>,
    /// The machine's managed object id, such as vm-16.
    #[arg(long, requires = "server")]
    vm: Option<String>,
    /// The snapshot's managed object id, such as snapshot-20; a running machine needs one.
    #[arg(long, requires = "server")]
    snapshot: Option<String>,
}

/// A disk that can be opened, and what must live as long as it is.
pub(crate) struct Source {
    pub(crate) connection: Connection,
    pub(crate) path: String,
    _folder: TempDir,
}

impl Where {
    /// Connects, for reading unless `writing`.
    pub(crate) fn connect(&self, writing: bool) -> anyhow::Result<Source> {
        let folder = TempDir::new()?;
        let mut options = LibraryOptions::new(self.kit.clone().unwrap_or_else(|| folder.path().join("kit")));
        if self.kit.is_none() {
            eprintln!("no kit was named, so this is the fake library");
            fake_vddk::install(&folder.path().join("kit"))?;
            options = options.temp_directory(folder.path().join("state"));
        }
        let library = Library::open(options)?;
        let path = match &self.disk {
            Some(disk) => disk.clone(),
            None => make(&library.connect(&ConnectParams::local(), ConnectOptions::new())?, &folder)?,
        };
        let mut options = ConnectOptions::new().read_only(!writing);
        if let Some(snapshot) = &self.snapshot {
            options = options.snapshot(snapshot);
        }
        let connection = library.connect(&self.params()?, options)?;
        Ok(Source { connection, path, _folder: folder })
    }

    fn params(&self) -> anyhow::Result<ConnectParams> {
        let (Some(server), Some(user), Some(vm)) = (&self.server, &self.user, &self.vm) else {
            return Ok(ConnectParams::local());
        };
        let credentials = Credentials::Password { user: user.clone(), password: password(user)? };
        let mut params = ConnectParams::remote(server, VmSpec::moref(vm)?, credentials).port(self.port);
        if let Some(thumbprint) = &self.thumbprint {
            params = params.thumbprint(thumbprint.clone());
        }
        Ok(params.build()?)
    }
}

impl Source {
    pub(crate) fn open(&self, options: OpenOptions) -> anyhow::Result<Disk> {
        Ok(self.connection.open(&self.path, options)?)
    }
}

/// Never from the command line, which every user of the machine can read.
fn password(user: &str) -> anyhow::Result<SecretString> {
    if let Ok(password) = std::env::var("VSPHERE_PASSWORD") {
        return Ok(SecretString::from(password));
    }
    ensure!(std::io::stdin().is_terminal(), "set VSPHERE_PASSWORD: nobody is there to be asked");
    eprint!("Password of {user}: ");
    std::io::stderr().flush()?;
    echo(false)?;
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    echo(true)?;
    eprintln!();
    read.context("no password was entered")?;
    Ok(SecretString::from(line.trim_end_matches(['\r', '\n'])))
}

fn echo(on: bool) -> anyhow::Result<()> {
    let done = Command::new("stty").arg(if on { "echo" } else { "-echo" }).status();
    ensure!(
        done.context("stty is needed to ask for a password")?.success(),
        "the terminal does not hide what is typed"
    );
    Ok(())
}

/// 64 MiB, a third of it in use, and a child above it that has changed a little.
fn make(connection: &Connection, folder: &TempDir) -> anyhow::Result<String> {
    let path = |name: &str| {
        folder.path().join(name).to_str().map(str::to_owned).context("the temporary folder is not UTF-8")
    };
    let (base, child) = (path("web.vmdk")?, path("web-000001.vmdk")?);
    connection.create(&base, &CreateSpec::new(DiskType::MonolithicSparse, Sectors(64 << 11)), |_| {})?;
    let disk = connection.open(&base, OpenOptions::read_write())?;
    for mebibyte in (0..64).filter(|number| number % 8 < 2 || *number == 20) {
        disk.write(Sectors(mebibyte << 11), &vec![mebibyte as u8 + 1; 1 << 20])?;
    }
    disk.create_child(&child, DiskType::MonolithicSparse, |_| {})?;
    disk.close()?;
    let disk = connection.open(&child, OpenOptions::read_write())?;
    disk.write(Sectors(30 << 11), &vec![7; 3 << 20])?;
    disk.close()?;
    Ok(child)
}
