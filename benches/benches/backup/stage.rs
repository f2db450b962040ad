//! A simulated vSphere with a kit of the fake VDDK, and what a program holds that backs one of its machines up.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use vadp::cbt::Decision;
use vadp::{Backup, BackupOutcome, Journal, ProtectedVm, Vddk, VddkCredentials, VmSelector};
use vadp_benches::Failure;
use vadp_repository::{InitOptions, Repository, Secret};
use vim_api::Client;
use vixdisklib::{Library, LibraryOptions};
use vsphere_sim::{Sim, VmSpec};

pub(crate) struct Stage {
    pub(crate) sim: Sim,
    pub(crate) folder: PathBuf,
}

/// What is needed to reach a machine, and where its backups are.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) thumbprint: String,
    pub(crate) user: String,
    pub(crate) password: SecretString,
    pub(crate) machine: String,
    pub(crate) kit: PathBuf,
    pub(crate) repository: PathBuf,
}

pub(crate) struct Program {
    pub(crate) client: Client,
    pub(crate) vm: ProtectedVm,
    pub(crate) vddk: Vddk,
    pub(crate) library: std::sync::Arc<Library>,
    pub(crate) journal: Journal,
}

impl Stage {
    pub(crate) async fn start(folder: &Path, machines: Vec<VmSpec>) -> Result<Self, Failure> {
        let builder = Sim::builder().data_dir(folder.join("vsphere")).task_duration(Duration::ZERO);
        let sim = machines.into_iter().fold(builder, |builder, machine| builder.vm(machine)).start().await?;
        let kit = folder.join("kit");
        fake_vddk::install(&kit)?;
        sim.install_vddk_entry(&kit)?;
        Ok(Self { sim, folder: folder.to_owned() })
    }

    pub(crate) fn place(&self, machine: &str) -> Place {
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
    pub(crate) async fn connect(&self) -> Result<Program, Failure> {
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

    pub(crate) async fn init(&self) -> Result<Repository, Failure> {
        Ok(Repository::init_local(&self.repository, &secret(), InitOptions::default()).await?)
    }

    pub(crate) async fn open(&self) -> Result<Repository, Failure> {
        Ok(Repository::open_local(&self.repository, &secret()).await?)
    }
}

impl Program {
    pub(crate) async fn full(&self, repository: &Repository) -> Result<BackupOutcome, Failure> {
        whole(Backup::full(&self.vm, repository, &self.vddk, &self.journal).run(|_| ()).await?)
    }

    /// An incremental backup, of which nothing had to be read in full.
    pub(crate) async fn incremental(&self, repository: &Repository) -> Result<BackupOutcome, Failure> {
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
