//! `HttpNfcLease`: the right to carry a machine's disks over HTTPS, out of the server or into it, for as long as the
//! client says that it is still there.
//!
//! A lease is `initializing`, then `ready`, then `done` or in `error`. Time is the server's clock: who tells no progress for
//! [`PATIENCE`] loses the lease. What it holds is let go of in [`World::end_lease`], whatever the end was; files that a
//! failed import leaves are removed by [`keep`], as that takes its time.

mod digest;
mod export;
mod files;
mod import;
mod methods;
mod target;
pub(crate) mod transfer;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use vim_api::dynamic::{Element, EnumValue, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::clock::Moment;
use crate::fault::{Fault, Outcome, fault, localized, not_found, task_in_progress};
use crate::faults::{Asked, FaultPlace, LeaseEnd, LeaseFault};
use crate::inventory::{machine_ref, moref};
use crate::random;
use crate::recovery::Begun;
use crate::session::Session;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

pub(crate) use export::export;
pub(crate) use files::{DiskDevice, LeaseFile, device_path, disks_of, text};
pub(crate) use import::import;
pub(crate) use methods::call;

/// How long a client may be silent: `leaseTimeout`, as on servers where nobody changed it.
const PATIENCE: Duration = Duration::from_secs(300);

/// How often the clock is looked at, where nothing else happens.
const TICK: Duration = Duration::from_secs(1);

/// Leases that have ended can be looked at as long as their session lasts, but no more than this many of them.
const MOST_ENDED: usize = 64;

/// The leases of all sessions, the oldest first.
#[derive(Default)]
pub(crate) struct Leases {
    list: Vec<Lease>,
    /// What their addresses say of the server.
    pub(crate) server: Endpoint,
}

/// The server as an address of a lease names it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Endpoint {
    /// TCP port.
    pub(crate) port: u16,
    /// SHA-1 thumbprint of the certificate.
    pub(crate) sha1: String,
}

/// One lease.
pub(crate) struct Lease {
    id: String,
    /// The key of its session.
    owner: String,
    /// The part of its addresses that nobody else knows.
    token: String,
    machine: String,
    /// What is exported, if it is not the machine itself.
    snapshot: Option<String>,
    way: Way,
    /// The task that people see, and that others are told of who would like to have the machine.
    task: String,
    stage: Stage,
    /// When the client was heard of last.
    heard: Moment,
    initialized: i32,
    transferred: i32,
    error: Option<Fault>,
    files: Vec<LeaseFile>,
    /// A fault that a rule wants, and the progress at which it strikes.
    planned: Option<(i32, Fault)>,
    /// Transfers stop when it is set.
    over: watch::Sender<bool>,
    /// The machine that is being imported, until it is complete.
    import: Option<Begun>,
    remains: Remains,
}

/// Where the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Out,
    In,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Initializing,
    Ready,
    Done,
    /// By itself: a transfer that could not be, or a machine that is gone.
    Failed,
    Aborted,
    TimedOut,
}

/// What a failed import left behind.
enum Remains {
    Nothing,
    Files(Begun),
    BeingRemoved,
}

impl Leases {
    /// A lease, for its own session.
    pub(crate) fn seen_by(&self, session: &Session, id: &str) -> Option<&Lease> {
        self.list.iter().find(|lease| lease.id == id && lease.owner == session.key)
    }

    fn get(&self, id: &str) -> Option<&Lease> {
        self.list.iter().find(|lease| lease.id == id)
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut Lease> {
        self.list.iter_mut().find(|lease| lease.id == id)
    }
}

impl Lease {
    fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Initializing | Stage::Ready)
    }

    /// A property of the managed object.
    pub(crate) fn property(&self, world: &World, name: &str) -> Option<Value> {
        Some(match name {
            "state" => match self.stage {
                Stage::Initializing => t::HttpNfcLeaseState::Initializing,
                Stage::Ready => t::HttpNfcLeaseState::Ready,
                Stage::Done => t::HttpNfcLeaseState::Done,
                Stage::Failed | Stage::Aborted | Stage::TimedOut => t::HttpNfcLeaseState::Error,
            }
            .to_value(),
            "info" if matches!(self.stage, Stage::Ready | Stage::Done) => self.info(world).to_value(),
            "error" => localized(self.error.as_ref()?).to_value(),
            "initializeProgress" => Value::Int(self.initialized),
            "transferProgress" => Value::Int(self.transferred),
            "mode" => Value::String(t::HttpNfcLeaseMode::PushOrGet.as_str().to_owned()),
            "capabilities" => t::HttpNfcLeaseCapabilities::default().to_value(),
            _ => return None,
        })
    }

    fn info(&self, world: &World) -> t::HttpNfcLeaseInfo {
        let server = &world.leases.server;
        let capacity: u64 = self.files.iter().map(|file| file.capacity.unwrap_or(0)).sum();
        let mut datastores: Vec<&str> = self.files.iter().map(|file| file.datastore.as_str()).collect();
        datastores.sort_unstable();
        datastores.dedup();
        let host = |datastore: &str| t::HttpNfcLeaseDatastoreLeaseInfo {
            datastore_key: datastore.to_owned(),
            hosts: vec![t::HttpNfcLeaseHostInfo {
                url: server.address(&self.token, ""),
                ssl_thumbprint: server.sha1.clone(),
                ..Default::default()
            }],
            ..Default::default()
        };
        t::HttpNfcLeaseInfo {
            lease: moref(&self.id),
            entity: moref::<mo::VirtualMachine>(&self.machine).cast(),
            device_url: self.files.iter().map(|file| file.device_url(server, &self.token)).collect(),
            total_disk_capacity_in_kb: i64::try_from(capacity / 1024).unwrap_or(i64::MAX),
            lease_timeout: i32::try_from(PATIENCE.as_secs()).unwrap_or(i32::MAX),
            host_map: datastores.into_iter().map(host).collect(),
            ..Default::default()
        }
    }
}

impl Endpoint {
    /// The address of a file. The star stands for whatever name the client knows the server by.
    fn address(&self, token: &str, name: &str) -> String {
        match self.port {
            443 => format!("https://*/nfc/{token}/{name}"),
            port => format!("https://*:{port}/nfc/{token}/{name}"),
        }
    }
}

/// What a new lease is about.
struct Wish {
    machine: String,
    snapshot: Option<String>,
    way: Way,
    files: Vec<LeaseFile>,
    import: Option<Begun>,
    description_id: &'static str,
}

impl World {
    /// Ends the leases whose time, session or machine is over. Answers whether there was one.
    pub(crate) fn settle_leases(&mut self) -> bool {
        let due: Vec<_> = self
            .leases
            .list
            .iter()
            .filter_map(|lease| Some((lease.id.clone(), self.verdict(lease)?)))
            .collect();
        let any = !due.is_empty();
        for (id, (stage, fault)) in due {
            self.end_lease(&id, stage, Some(fault));
        }
        let sessions = &self.sessions;
        let has_session = |lease: &Lease| sessions.iter().any(|(_, session)| session.key == lease.owner);
        let forgotten = |lease: &Lease| !lease.is_live() && matches!(lease.remains, Remains::Nothing);
        let mut room = MOST_ENDED;
        // The newest are kept, so it is gone through from behind.
        let mut kept: Vec<bool> = self
            .leases
            .list
            .iter()
            .rev()
            .map(|lease| {
                let keep = !forgotten(lease) || has_session(lease) && room > 0;
                if keep && forgotten(lease) {
                    room -= 1;
                }
                keep
            })
            .collect();
        self.leases.list.retain(|_| kept.pop().unwrap_or(true));
        any
    }

    /// How a lease has ended without anybody's doing, if it has.
    fn verdict(&self, lease: &Lease) -> Option<(Stage, Fault)> {
        if !lease.is_live() {
            return None;
        }
        if !self.sessions.iter().any(|(_, session)| session.key == lease.owner) {
            let message = "The session that the lease belongs to has ended.";
            return Some((Stage::Aborted, fault(t::RequestCanceled::default(), message)));
        }
        let Some(machine) = self.machine(&lease.machine) else {
            let gone: MoRef<mo::VirtualMachine> = moref(&lease.machine);
            return Some((Stage::Failed, not_found(&gone.cast())));
        };
        if let Some(snapshot) = lease.snapshot.as_deref().filter(|id| machine.snapshot(id).is_none()) {
            let gone: MoRef<mo::VirtualMachineSnapshot> = moref(snapshot);
            return Some((Stage::Failed, not_found(&gone.cast())));
        }
        let silent = lease.stage == Stage::Ready && self.clock.now().since(lease.heard) > PATIENCE;
        silent.then(|| (Stage::TimedOut, timed_out()))
    }

    fn begin_lease(
        &mut self,
        call: &Call,
        user: &str,
        owner: String,
        wish: Wish,
        planned: Option<(i32, Fault)>,
    ) -> Outcome<String> {
        let machine = self.machine(&wish.machine).ok_or_else(|| not_found(&call.this))?;
        let entity = (machine_ref(machine).cast(), machine.name().to_owned());
        let task = self.open_task(call, user, wish.description_id, Some(entity));
        // An export of a snapshot leaves the machine to others: what it reads does not change.
        if wish.snapshot.is_none() {
            self.set_busy(&wish.machine, Some(task.clone()));
        }
        let id = random::session_object();
        let lease = Lease {
            id: id.clone(),
            owner,
            token: random::uuid(),
            machine: wish.machine,
            snapshot: wish.snapshot,
            way: wish.way,
            task,
            stage: Stage::Initializing,
            heard: self.clock.now(),
            initialized: 0,
            transferred: 0,
            error: None,
            files: wish.files,
            planned,
            over: watch::Sender::new(false),
            import: wish.import,
            remains: Remains::Nothing,
        };
        self.leases.list.push(lease);
        Ok(id)
    }

    /// Ends a lease, well without a fault and badly with one, and lets go of what it holds. A machine whose import has failed
    /// leaves the inventory.
    fn end_lease(&mut self, id: &str, stage: Stage, fault: Option<Fault>) {
        let Some(lease) = self.leases.get_mut(id).filter(|lease| lease.is_live()) else { return };
        lease.stage = stage;
        lease.error.clone_from(&fault);
        lease.over.send_replace(true);
        let (machine, task, way) = (lease.machine.clone(), lease.task.clone(), lease.way);
        let held = lease.snapshot.is_none().then_some(machine.as_str());
        let outcome = match (fault, way) {
            (Some(fault), _) => Err(fault),
            (None, Way::In) => Ok(Some(moref::<mo::VirtualMachine>(&machine).to_value())),
            (None, Way::Out) => Ok(None),
        };
        let failed = outcome.is_err();
        self.finish(held, &task, outcome);
        if failed && way == Way::In {
            self.remove_machine(&machine);
            if let Some(lease) = self.leases.get_mut(id)
                && let Some(import) = lease.import.take()
            {
                lease.remains = Remains::Files(import);
            }
        }
    }

    /// Ends a lease before its time, as a rule says.
    fn end_lease_early(&mut self, id: &str, early: LeaseFault) {
        let (stage, fault) = match early.end {
            LeaseEnd::Error => {
                let plain = || fault(t::SystemError::default(), "The lease has failed.");
                (Stage::Failed, early.fault.unwrap_or_else(plain))
            }
            LeaseEnd::Timeout => (Stage::TimedOut, timed_out()),
            LeaseEnd::Abort => {
                let message = "The lease was aborted by another client.";
                (Stage::Aborted, fault(t::RequestCanceled::default(), message))
            }
        };
        self.end_lease(id, stage, Some(fault));
    }

    /// The task of a lease on one of the machine's snapshots. While there is one, nothing may change the chains below.
    pub(crate) fn leased_snapshot(&self, machine: &str) -> Option<&str> {
        let mut leases = self.leases.list.iter();
        let found =
            leases.find(|lease| lease.is_live() && lease.snapshot.is_some() && lease.machine == machine);
        found.map(|lease| lease.task.as_str())
    }
}

/// Refuses what would change the chains of a machine while one of its snapshots is exported.
pub(crate) fn check_chains(shared: &Shared, machine: &str) -> Outcome<()> {
    shared.update_if(|world| world.settle_leases());
    shared.read(|world| match world.leased_snapshot(machine) {
        Some(task) => Err(task_in_progress(task)),
        None => Ok(()),
    })
}

/// A path as others may see it: of an address of a lease, without the part that lets in who knows it.
pub(crate) fn without_token(path: &str) -> String {
    match path.strip_prefix("/nfc/").map(|rest| rest.split_once('/')) {
        Some(Some((_, name))) => format!("/nfc/*/{name}"),
        Some(None) => "/nfc/*".to_owned(),
        None => path.to_owned(),
    }
}

/// Ends leases as their time comes, and removes what failed imports left, until it is dropped.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let mut changes = shared.watch();
    loop {
        changes.borrow_and_update();
        shared.update_if(|world| world.settle_leases());
        while let Some((id, import)) = shared.read_mut(World::take_remains) {
            let worker = Arc::clone(&shared);
            let removed = tokio::task::spawn_blocking(move || import.give_up(&worker)).await;
            if let Err(error) = removed {
                tracing::error!(%error, "a failed import leaves files behind");
            }
            shared.update(|world| {
                if let Some(lease) = world.leases.get_mut(&id) {
                    lease.remains = Remains::Nothing;
                }
            });
        }
        // The clock moves by itself too. Nobody else can end the channel, as it is ours as well.
        let _ = tokio::time::timeout(TICK, changes.changed()).await;
    }
}

impl World {
    /// What is to be removed next: no transfer writes to it any more.
    fn take_remains(&mut self) -> Option<(String, Begun)> {
        let still = |lease: &Lease| lease.files.iter().any(|file| file.receiving);
        for lease in self.leases.list.iter_mut().filter(|lease| !still(lease)) {
            if matches!(lease.remains, Remains::Files(_))
                && let Remains::Files(import) = std::mem::replace(&mut lease.remains, Remains::BeingRemoved)
            {
                return Some((lease.id.clone(), import));
            }
        }
        None
    }
}

/// Begins a lease, and answers its reference at once: it gets ready by itself.
fn start(
    shared: &Arc<Shared>,
    cookie: &str,
    user: &str,
    call: &Call,
    wish: impl FnOnce(&mut World) -> Outcome<Wish>,
) -> Outcome<Answer> {
    let rule = shared.faults.strike(FaultPlace::Task, &Asked::of(call));
    let planned = rule.and_then(|rule| Some((rule.progress.unwrap_or(0), rule.to_fault(&call.this)?)));
    let id = shared.update(|world| {
        world.settle_leases();
        let session =
            world.sessions.get(cookie).ok_or_else(|| crate::fault::not_authenticated(&call.this))?;
        let owner = session.key.clone();
        let wish = wish(world)?;
        world.begin_lease(call, user, owner, wish, planned)
    })?;
    let answer = Answer::one(call, &moref::<mo::HttpNfcLease>(&id));
    tokio::spawn(initialize(Arc::clone(shared), id));
    Ok(answer)
}

async fn initialize(shared: Arc<Shared>, id: String) {
    let pause = shared.settings.task_duration / 2;
    for progress in [50, 100] {
        tokio::time::sleep(pause).await;
        shared.update(|world| {
            let now = world.clock.now();
            let Some(lease) = world.leases.get_mut(&id).filter(|lease| lease.stage == Stage::Initializing)
            else {
                return;
            };
            lease.initialized = progress;
            lease.heard = now;
            match lease.planned.take_if(|(at, _)| *at <= 0) {
                Some((_, fault)) => world.end_lease(&id, Stage::Failed, Some(fault)),
                None if progress == 100 => lease.stage = Stage::Ready,
                None => {}
            }
        });
    }
}

fn timed_out() -> Fault {
    fault(t::Timedout::default(), "The lease has timed out: no progress was told for too long.")
}
