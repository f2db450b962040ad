//! A simulated vSphere with one machine, and all that a backup program holds.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use secrecy::SecretString;
use sim_store::Disk;
use sim_store::guest::write_pattern;
use tempfile::TempDir;
use vadp::{
    Backup, BackupOutcome, Error, Journal, ProtectedVm, Restore, RestoreOutcome, Vddk, VddkCredentials,
    VmSelector,
};
use vadp_repository::{InitOptions, Repository, Secret, StoredPoint};
use vim_api::Client;
use vixdisklib::{Library, LibraryOptions};
use vsphere_sim::{Builder, DiskSpec, FaultRule, Sim, VmSpec};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const KEY: [u8; 32] = [7; 32];
pub(crate) const VM: &str = "web-01";

pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) client: Client,
    pub(crate) vm: ProtectedVm,
    pub(crate) vddk: Vddk,
    pub(crate) repository: Repository,
    pub(crate) journal: Journal,
    pub(crate) folder: TempDir,
}

/// The library can be started once in a process, so all tests share one kit; each simulator has its entry in it.
pub(crate) fn kit() -> &'static Path {
    static KIT: OnceLock<PathBuf> = OnceLock::new();
    KIT.get_or_init(|| {
        let folder = std::env::var_os("VADP_TEST_KIT").map(PathBuf::from).unwrap_or_else(|| {
            // It stays until the process ends, and there is nobody to remove it then.
            let folder = TempDir::new().unwrap().keep();
            fake_vddk::install(&folder).unwrap();
            folder
        });
        assert!(folder.join("lib64").is_dir());
        folder
    })
}

/// In the worker process of VixDiskLib this is what runs; here it does nothing.
#[test]
fn worker_entry() {
    vixdisklib::worker::serve_if_asked();
}

pub(crate) fn library() -> Arc<Library> {
    Library::open(LibraryOptions::new(kit()).worker_test("harness::worker_entry")).unwrap()
}

impl World {
    /// A machine with disks of these sizes, powered on, tracked.
    pub(crate) async fn new(sizes: &[u64]) -> Self {
        Self::built(sizes, |builder| builder).await
    }

    /// The same with more about the server.
    pub(crate) async fn built(sizes: &[u64], more: impl FnOnce(Builder) -> Builder) -> Self {
        let folder = TempDir::new().unwrap();
        let vm = sizes.iter().fold(VmSpec::new(VM).cbt(), |vm, size| vm.disk(DiskSpec::empty(*size)));
        let builder = Sim::builder().vm(vm).data_dir(folder.path().join("vsphere"));
        let sim = more(builder).start().await.unwrap();
        sim.install_vddk_entry(kit()).unwrap();
        let secret = Secret::raw_key(KEY);
        let repository =
            Repository::init_local(folder.path().join("repository"), &secret, InitOptions::default())
                .await
                .unwrap();
        let journal = Journal::open(folder.path().join("journal")).unwrap();
        let client = connect(&sim.url(), sim.thumbprint_sha256(), sim.user(), sim.password()).await;
        let vm = ProtectedVm::resolve(&client, &VmSelector::Name(VM.into())).await.unwrap();
        let vddk = vddk(sim.user(), sim.password());
        Self { sim, client, vm, vddk, repository, journal, folder }
    }

    /// From now on everything is asked for by this user.
    pub(crate) async fn log_in_as(&mut self, user: &str, password: &SecretString) {
        self.client = connect(&self.sim.url(), self.sim.thumbprint_sha256(), user, password).await;
        self.vm = ProtectedVm::resolve(&self.client, &VmSelector::Name(VM.into())).await.unwrap();
        self.vddk = vddk(user, password);
    }

    pub(crate) fn keys(&self) -> Vec<i32> {
        self.sim.vm(VM).unwrap().disks().unwrap().iter().map(|disk| disk.key).collect()
    }

    pub(crate) fn disk<T>(&self, n: usize, look: impl FnOnce(&Disk) -> T) -> T {
        self.sim.vm(VM).unwrap().with_live_disk(self.keys()[n], |disk| look(disk)).unwrap()
    }

    pub(crate) fn write(&self, n: usize, offset: u64, length: u64, generation: u64) {
        self.disk(n, |disk| write_pattern(disk, offset, length, 42, generation)).unwrap();
    }

    /// Digest of every byte of each disk.
    pub(crate) fn digests(&self) -> Vec<String> {
        (0..self.keys().len()).map(|n| self.disk(n, |disk| disk.sha256().unwrap().to_string())).collect()
    }

    pub(crate) fn allocated(&self, n: usize) -> u64 {
        self.disk(n, |disk| disk.allocated(0, disk.capacity()).unwrap().iter().map(|e| e.length).sum())
    }

    pub(crate) async fn full(&self) -> Result<BackupOutcome, Error> {
        Backup::full(&self.vm, &self.repository, &self.vddk, &self.journal).run(|_| ()).await
    }

    pub(crate) async fn incremental(&self) -> Result<BackupOutcome, Error> {
        Backup::incremental(&self.vm, &self.repository, &self.vddk, &self.journal).run(|_| ()).await
    }

    pub(crate) async fn power_off(&self) {
        self.vm.vm().power_off_vm_task().await.unwrap().wait().await.unwrap();
    }

    pub(crate) async fn revert(&self, point: &dyn StoredPoint) -> Result<RestoreOutcome, Error> {
        Restore::revert(point, &self.vm, &self.vddk, &self.journal).plan().await?.run(|_| ()).await
    }

    pub(crate) fn fault(&self, rule: FaultRule) {
        self.sim.add_fault(rule).unwrap();
    }

    pub(crate) async fn points(&self) -> usize {
        self.repository.points(None).await.unwrap().len()
    }

    /// Nothing of ours is left on the server or in the journal.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.sim.vm(VM).unwrap().snapshot_count(), 0, "snapshots are left");
        assert!(self.journal.entries().unwrap().is_empty(), "journal entries are left");
    }
}

pub(crate) async fn connect(url: &str, thumbprint: &str, user: &str, password: &SecretString) -> Client {
    // A fault may be that no answer comes, and a test should not wait for it as long as a program would.
    let client = Client::connect(url).answer_timeout(Duration::from_secs(25));
    let client = client.thumbprint(thumbprint.parse().unwrap()).await.unwrap();
    client.login(user, password).await.unwrap();
    client
}

pub(crate) fn vddk(user: &str, password: &SecretString) -> Vddk {
    Vddk::new(library(), VddkCredentials::password(user, password.clone()))
}

/// The whole chain of causes, as a person would see it.
pub(crate) fn story(error: &dyn std::error::Error) -> String {
    let mut out = error.to_string();
    let mut at = error.source();
    while let Some(source) = at {
        out.push_str(": ");
        out.push_str(&source.to_string());
        at = source.source();
    }
    out
}
