//! The stage: a simulated vSphere with one machine, a fake VDDK, and the folders for repository and journal.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use secrecy::SecretString;
use sim_store::Disk;
use sim_store::guest::image::Manifest;
use tempfile::TempDir;
use vadp::ProtectedVm;
use vadp_repository::{InitOptions, Repository, Secret};
use vim_api::Client;
use vixdisklib::{Library, LibraryOptions};
use vsphere_sim::{DiskSpec, Sim, VmSpec};

use crate::guest::{self, Content};
use crate::show::Show;

/// Name of the machine.
pub(crate) const VM: &str = "demo";

/// The built-in disks: size, number of files, bytes in them.
const DISKS: [(u64, u32, u64); 2] = [(2 << 30, 400, 192 << 20), (512 << 20, 150, 48 << 20)];

pub(crate) struct Stage {
    sim: Sim,
    folder: PathBuf,
    temporary: Option<TempDir>,
    disks: Vec<GuestDisk>,
}

struct GuestDisk {
    key: i32,
    capacity: u64,
    files: Option<Manifest>,
}

impl Stage {
    /// Starts everything and fills the disks.
    pub(crate) async fn set_up(images: &[PathBuf], keep: Option<&Path>, show: &Show) -> anyhow::Result<Self> {
        let (folder, temporary) = match keep {
            Some(folder) => (empty_folder(folder)?, None),
            None => {
                let temporary = TempDir::new()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        show.headline("a vSphere with one machine");
        let disks = match images {
            [] => DISKS.iter().map(|(capacity, ..)| DiskSpec::empty(*capacity)).collect(),
            images => images.iter().map(|path| raw_disk(path)).collect::<anyhow::Result<Vec<_>>>()?,
        };
        let vm = disks.into_iter().fold(VmSpec::new(VM), VmSpec::disk);
        let sim = Sim::builder().vm(vm).data_dir(folder.join("vsphere")).start().await?;
        show.line(&format!("   {} (SHA-256 {})", sim.url(), sim.thumbprint_sha256()));
        let kit = folder.join("vddk");
        fake_vddk::install(&kit).context("the fake VDDK could not be installed")?;
        sim.install_vddk_entry(&kit)?;
        let mut stage = Self { sim, folder, temporary, disks: Vec::new() };
        stage.fill(images.is_empty())?;
        Ok(stage)
    }

    fn fill(&mut self, built_in: bool) -> anyhow::Result<()> {
        let vm = self.sim.vm(VM)?;
        for (n, disk) in vm.disks()?.into_iter().enumerate() {
            let files = match DISKS.get(n) {
                Some((_, files, bytes)) if built_in => {
                    Some(vm.with_live_disk(disk.key, |d| guest::install(d, n as u64 + 1, *files, *bytes))??)
                }
                _ => None,
            };
            self.disks.push(GuestDisk { key: disk.key, capacity: disk.capacity_bytes, files });
        }
        Ok(())
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn user(&self) -> String {
        self.sim.user().to_owned()
    }

    pub(crate) fn password(&self) -> SecretString {
        self.sim.password().clone()
    }

    /// Connects with the pinned thumbprint, and logs in.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let pin = self.sim.thumbprint_sha256().parse()?;
        let client = Client::connect(&self.sim.url()).thumbprint(pin).await?;
        client.login(&self.user(), &self.password()).await?;
        Ok(client)
    }

    /// Loads the disk library as it would be loaded from a real kit.
    pub(crate) fn library(&self) -> anyhow::Result<Arc<Library>> {
        let options =
            LibraryOptions::new(self.folder.join("vddk")).temp_directory(self.folder.join("vddk-state"));
        Ok(Library::open(options)?)
    }

    /// A new repository under a random key. With `--keep` the key is left beside it, readable by its owner alone:
    /// without it nobody could open the repository again.
    pub(crate) async fn repository(&self) -> anyhow::Result<Repository> {
        let secret = Secret::random()?;
        if self.temporary.is_none()
            && let Some(key) = secret.expose_raw_key()
        {
            let path = self.folder.join("repository.key");
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
            file.write_all(key)?;
        }
        Ok(Repository::init_local(self.folder.join("repository"), &secret, InitOptions::default()).await?)
    }

    pub(crate) fn capacity(&self) -> anyhow::Result<u64> {
        Ok(self.disks.iter().map(|d| d.capacity).sum())
    }

    pub(crate) fn allocated(&self) -> anyhow::Result<u64> {
        Ok(self.each(|_, disk| guest::allocated(disk))?.iter().sum())
    }

    /// What all disks hold now.
    pub(crate) fn moment(&self) -> anyhow::Result<Vec<Content>> {
        self.each(|guest, disk| guest::look(disk, guest.files.as_ref()))
    }

    /// Lets the guest change about one per cent of its disks. Returns the bytes in blocks that differ afterwards.
    pub(crate) fn change(&mut self) -> anyhow::Result<u64> {
        let changed = self.each(|guest, disk| {
            let before = guest::blocks(disk)?;
            let files = guest::work(disk, guest.files.as_ref(), 7, guest.capacity / 100)?;
            Ok((files, guest::changed_bytes(&before, &guest::blocks(disk)?)))
        })?;
        let mut total = 0;
        for (guest, (files, bytes)) in self.disks.iter_mut().zip(changed) {
            guest.files = files;
            total += bytes;
        }
        Ok(total)
    }

    pub(crate) fn destroy(&self) -> anyhow::Result<()> {
        self.each(|guest, disk| guest::destroy(disk, guest.key.unsigned_abs().into())).map(drop)
    }

    pub(crate) async fn power_off(&self, vm: &ProtectedVm) -> anyhow::Result<()> {
        Ok(vm.vm().power_off_vm_task().await?.wait().await?)
    }

    /// How the disks differ from what they held at a moment.
    pub(crate) fn compare(&self, moment: &[Content]) -> anyhow::Result<Vec<String>> {
        let mut moment = moment.iter();
        let found = self.each(|guest, disk| {
            let then = moment.next().context("a disk was added")?;
            let found = guest::differences(disk, then)?;
            Ok(found.into_iter().map(|text| format!("   disk {}: {text}", guest.key)).collect::<Vec<_>>())
        })?;
        Ok(found.concat())
    }

    pub(crate) fn snapshots_left(&self) -> anyhow::Result<usize> {
        Ok(self.sim.vm(VM)?.snapshot_count())
    }

    pub(crate) fn sessions_left(&self) -> usize {
        self.sim.session_count()
    }

    /// Stops the vSphere. Says where things are, if they are to be kept.
    pub(crate) fn tear_down(self, show: &Show) -> anyhow::Result<()> {
        let Self { sim, folder, temporary, .. } = self;
        drop(sim);
        match temporary {
            Some(temporary) => temporary.close()?,
            None => show.line(&format!("   kept in {}", folder.display())),
        }
        Ok(())
    }

    /// Opens each live disk as the guest does.
    fn each<T>(
        &self,
        mut look: impl FnMut(&GuestDisk, &Disk) -> anyhow::Result<T>,
    ) -> anyhow::Result<Vec<T>> {
        let vm = self.sim.vm(VM)?;
        self.disks.iter().map(|guest| vm.with_live_disk(guest.key, |disk| look(guest, disk))?).collect()
    }
}

fn raw_disk(path: &Path) -> anyhow::Result<DiskSpec> {
    let size = std::fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?.len();
    if size == 0 || size % 512 != 0 {
        bail!("{} has {size} bytes: a raw disk image has whole sectors of 512 bytes", path.display());
    }
    Ok(DiskSpec::raw_file(path))
}

fn empty_folder(folder: &Path) -> anyhow::Result<PathBuf> {
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    if std::fs::read_dir(folder)?.next().is_some() {
        bail!("{} is not empty: choose a new folder", folder.display());
    }
    Ok(folder.canonicalize()?)
}
