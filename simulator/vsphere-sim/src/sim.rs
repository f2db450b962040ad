//! The simulator as a Rust object: what tests and examples hold.

pub(crate) mod beside;
mod builder;
mod setup;
mod vm;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use sim_store::state::{self, ServerRecord};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::faults::{FaultRule, FaultState};
use crate::recovery;
use crate::style::WireStyle;
use crate::world::Shared;
use crate::{Error, ErrorKind, Result};

pub use builder::{Builder, Content, DiskSpec, Generated, TrackingRules, VmSpec};
pub use vm::{SimDisk, SimVm, Unregistered};

/// A running simulator. It stops when this is dropped, and removes its data folder if it made it.
///
/// It runs on threads of its own, so callers may block theirs. All methods may be called from any thread.
pub struct Sim {
    pub(crate) shared: Arc<Shared>,
    address: SocketAddr,
    control: Option<SocketAddr>,
    identity: Thumbprints,
    user: String,
    password: SecretString,
    kits: Mutex<Vec<PathBuf>>,
    runtime: Option<Runtime>,
    /// Keeps other simulators off the data folder.
    _lock: std::fs::File,
    _folder: Option<TempDir>,
}

/// What a client may trust the server by.
struct Thumbprints {
    sha1: String,
    sha256: String,
    ca_pem: String,
}

impl Sim {
    /// Starts with one machine, `vm-1`, with one empty thin disk of 1 GiB.
    ///
    /// # Errors
    /// When no socket can be bound, or no file written.
    pub async fn start() -> Result<Self> {
        Self::builder().vm(VmSpec::new("vm-1").disk(DiskSpec::empty(1 << 30))).start().await
    }

    /// Describes a simulator that is to be started.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The URL of the SOAP endpoint, `https://127.0.0.1:PORT/sdk`.
    pub fn url(&self) -> String {
        format!("https://{}/sdk", self.address)
    }

    /// The address that is listened on.
    pub fn host(&self) -> String {
        self.address.ip().to_string()
    }

    /// The TCP port that is listened on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of the control port, if there is one.
    pub fn control_url(&self) -> Option<String> {
        self.control.map(|address| format!("http://{address}"))
    }

    /// SHA-1 thumbprint of the certificate, `AA:BB:..`.
    pub fn thumbprint_sha1(&self) -> &str {
        &self.identity.sha1
    }

    /// SHA-256 thumbprint of the certificate, `AA:BB:..`.
    pub fn thumbprint_sha256(&self) -> &str {
        &self.identity.sha256
    }

    /// The private CA that signed the certificate, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.identity.ca_pem
    }

    /// The user who may log in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The user's password.
    pub fn password(&self) -> &SecretString {
        &self.password
    }

    /// The folder with the state and the datastores.
    pub fn data_dir(&self) -> &Path {
        &self.shared.settings.data_dir
    }

    /// A machine by its name.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn vm(&self, name: &str) -> Result<SimVm> {
        let id = self.shared.read(|world| world.machine_named(name).map(|machine| machine.id.clone()));
        let id =
            id.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no machine {name:?}")))?;
        Ok(SimVm::new(Arc::clone(&self.shared), id))
    }

    /// All machines, by their managed object ids.
    pub fn vms(&self) -> Vec<SimVm> {
        let ids: Vec<String> =
            self.shared.read(|world| world.machines().map(|machine| machine.id.clone()).collect());
        ids.into_iter().map(|id| SimVm::new(Arc::clone(&self.shared), id)).collect()
    }

    /// How many sessions are live.
    pub fn session_count(&self) -> usize {
        self.shared.update_if(|world| world.expire_idle());
        self.shared.read(|world| world.sessions.len())
    }

    /// Ends all sessions as if they had been idle for too long. Answers how many.
    pub fn expire_sessions(&self) -> usize {
        self.shared.update(|world| world.expire_sessions(None))
    }

    /// How many sessions are live that the REST services have to themselves.
    pub fn rest_session_count(&self) -> usize {
        self.shared.read(|world| world.rest.live.len())
    }

    /// Ends all sessions that the REST services have to themselves. Answers how many.
    pub fn expire_rest_sessions(&self) -> usize {
        self.shared.update(|world| world.rest.expire(None))
    }

    /// Ends all sessions of a user. Answers how many.
    pub fn expire_sessions_of(&self, user: &str) -> usize {
        self.shared.update(|world| world.expire_sessions(Some(user)))
    }

    /// Lets the STS give tokens for the solution user `name` to who signs with the key of this certificate, which is DER.
    pub fn register_solution_user(&self, name: &str, certificate: &[u8]) {
        self.shared.update(|world| {
            world.sessions.solution_users.insert(certificate.to_vec(), name.to_owned());
            world.admit_solution_user(name);
        });
    }

    /// Moves the server's clock ahead: sessions that are idle for more than 30 minutes by it end.
    pub fn advance_clock(&self, by: Duration) {
        self.shared.advance_clock(by);
    }

    /// How answers are written now.
    pub fn wire(&self) -> WireStyle {
        self.shared.style()
    }

    /// Has answers written otherwise from now on.
    pub fn set_wire(&self, style: WireStyle) {
        self.shared.set_style(style);
    }

    /// Adds a rule by which something goes wrong, and answers its number.
    ///
    /// # Errors
    /// `InvalidArgument` for a rule that can never work, such as one with an unknown fault.
    pub fn add_fault(&self, rule: FaultRule) -> Result<u64> {
        self.shared.faults.add(rule)
    }

    /// The rules by which something goes wrong, with what has become of them.
    pub fn faults(&self) -> Vec<FaultState> {
        self.shared.faults.list()
    }

    /// Takes a rule back.
    ///
    /// # Errors
    /// `NotFound` if there is no rule of this number.
    pub fn remove_fault(&self, id: u64) -> Result<()> {
        self.shared.faults.remove(id)
    }

    /// Adds a rule for the fake VDDK.
    ///
    /// # Errors
    /// `Store` if the rules cannot be written.
    pub fn add_vddk_fault(&self, rule: state::FaultRule) -> Result<()> {
        crate::control::add_vddk_fault(&self.shared, rule)
    }

    /// Drops all fault rules, those of the fake VDDK too.
    ///
    /// # Errors
    /// `Store` if the rules of the fake VDDK cannot be written.
    pub fn clear_faults(&self) -> Result<()> {
        crate::control::clear_faults(&self.shared)
    }

    /// Tells the fake VDDK in `kit` where this server's disks are. The entry goes when the simulator stops.
    ///
    /// # Errors
    /// `Store` if the entry cannot be written.
    pub fn install_vddk_entry(&self, kit: &Path) -> Result<()> {
        let data_dir = std::path::absolute(self.data_dir())
            .map_err(|error| Error::caused(ErrorKind::Store, "finding the data folder", error))?;
        let record = ServerRecord {
            data_dir,
            thumbprint_sha1: self.identity.sha1.clone(),
            thumbprint_sha256: self.identity.sha256.clone(),
        };
        record
            .store(kit, &self.host(), self.port())
            .map_err(|error| Error::store("writing the server's entry for the fake VDDK", error))?;
        self.kits.lock().unwrap_or_else(PoisonError::into_inner).push(kit.to_owned());
        Ok(())
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        for kit in self.kits.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Err(error) = ServerRecord::remove(kit, &self.host(), self.port()) {
                tracing::warn!(%error, "the server's entry for the fake VDDK is left behind");
            }
        }
        if let Some(runtime) = self.runtime.take() {
            // Does not wait: the caller may be inside of a runtime, where waiting is not allowed.
            runtime.shutdown_background();
        }
        recovery::end(&self.shared);
    }
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim")
            .field("url", &self.url())
            .field("data_dir", &self.data_dir())
            .finish_non_exhaustive()
    }
}
