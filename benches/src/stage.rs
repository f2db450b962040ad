//! A simulated vSphere with a kit of the fake VDDK, and what a program holds that backs one of its machines up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use vadp::cbt::Decision;
use vadp::{Backup, BackupOutcome, Journal, ProtectedVm, Vddk, VddkCredentials, VmSelector};
use vadp_repository::{InitOptions, Repository, Secret};
use vim_api::Client;
use vixdisklib::{Library, LibraryOptions};
use vsphere_sim::{Sim, VmSpec};

use crate::Failure;

/// The server.
pub struct Stage {
    /// The simulator.
    pub sim: Sim,
    /// Where its data are, the kit and the repositories.
    pub folder: PathBuf,
}

/// What is needed to reach a machine, and where its backups are.
pub struct Place {
    /// The server.
    pub url: String,
    /// Of its certificate.
    pub thumbprint: String,
    /// Who logs in.
    pub user: String,
    /// With what.
    pub password: SecretString,
    /// The machine's name.
    pub machine: String,
    /// Where the fake VDDK is.
    pub kit: PathBuf,
    /// Where the repository is, or will be.
    pub repository: PathBuf,
}

/// What a program holds that backs the machine up.
pub struct Program {
    /// Logged in.
    pub client: Client,
    /// The machine.
    pub vm: ProtectedVm,
    /// The way to its disks.
    pub vddk: Vddk,
    /// The library behind that.
    pub library: std::sync::Arc<Library>,
    /// The journal, beside the repository.
    pub journal: Journal,
}

impl Stage {
    /// Starts a server with these machines, whose tasks take no time of their own.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start(folder: &Path, machines: Vec<VmSpec>) -> Result<Self, Failure> {
        let builder = Sim::builder().data_dir(folder.join("vsphere")).task_duration(Duration::ZERO);
        let sim = machines.into_iter().fold(builder, |builder, machine| builder.vm(machine)).start().await?;
        let kit = folder.join("kit");
        fake_vddk::install(&kit)?;
        sim.install_vddk_entry(&kit)?;
        Ok(Self { sim, folder: folder.to_owned() })
    }

    /// How one of its machines is reached.
    pub fn place(&self, machine: &str) -> Place {
        Place {
            url: self.sim.url(),
            thumbprint: self.sim.thumbprint_sha256().to_owned(),
            user: self.sim.user().to_owned(),
            password: self.sim.password().clone(),
            machine: machine.to_owned(),
            kit: self.folder.join("kit"),
            repository: self.folder.join(machine),
        }
    }
}

impl Place {
    /// Logs in.
    ///
    /// # Errors
    /// When that, the kit or the journal fails.
    pub async fn connect(&self) -> Result<Program, Failure> {
        let client = Client::connect(&self.url).thumbprint(self.thumbprint.parse()?).await?;
        client.login(&self.user, &self.password).await?;
        let vm = ProtectedVm::resolve(&client, &VmSelector::Name(self.machine.clone())).await?;
        let options = LibraryOptions::new(&self.kit).temp_directory(self.repository.with_extension("tmp"));
        let library = Library::open(options)?;
        let credentials = VddkCredentials::password(&self.user, self.password.clone());
        let vddk = Vddk::new(std::sync::Arc::clone(&library), credentials);
        let journal = Journal::open(self.repository.with_extension("journal"))?;
        Ok(Program { client, vm, vddk, library, journal })
    }

    /// Makes the repository.
    ///
    /// # Errors
    /// When that fails.
    pub async fn init(&self) -> Result<Repository, Failure> {
        Ok(Repository::init_local(&self.repository, &secret(), InitOptions::default()).await?)
    }

    /// Opens the repository.
    ///
    /// # Errors
    /// When that fails.
    pub async fn open(&self) -> Result<Repository, Failure> {
        Ok(Repository::open_local(&self.repository, &secret()).await?)
    }
}

impl Program {
    /// A full backup.
    ///
    /// # Errors
    /// When it fails, or leaves something behind.
    pub async fn full(&self, repository: &Repository) -> Result<BackupOutcome, Failure> {
        whole(Backup::full(&self.vm, repository, &self.vddk, &self.journal).run(|_| ()).await?)
    }

    /// An incremental backup, of which nothing had to be read in full.
    ///
    /// # Errors
    /// When it fails, or leaves something behind, or was a full one.
    pub async fn incremental(&self, repository: &Repository) -> Result<BackupOutcome, Failure> {
        let done = Backup::incremental(&self.vm, repository, &self.vddk, &self.journal).run(|_| ()).await?;
        match done.disks.iter().find(|disk| matches!(disk.decision, Decision::Full(_))) {
            Some(disk) => Err(format!("disk {} was backed up in full: {}", disk.key, disk.decision).into()),
            None => whole(done),
        }
    }
}

fn whole(mut done: BackupOutcome) -> Result<BackupOutcome, Failure> {
    match done.cleanup_error.take() {
        Some(error) => Err(error.into()),
        None => Ok(done),
    }
}

/// A key and no password: to stretch one takes memory by design, and time, which have nothing to do with backups.
fn secret() -> Secret {
    Secret::raw_key([7; 32])
}
