//! What others do to the inventory while a client works: the actions of rules for the inventory.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vim_api::dynamic::{Element, Poly};
use vim_api::soap;
use vim_api::types as t;
use vim_api::xml::{Service, Writer};

use super::Asked;
use crate::chain;
use crate::fault::{Fault, Outcome, describe, fault, from_store, invalid_argument};
use crate::inventory::machine_ref;
use crate::inventory::tree::Kind;
use crate::recovery::{self, Intent};
use crate::sim::SimVm;
use crate::snapshots;
use crate::tasks::Progress;
use crate::wire::Call;
use crate::world::Shared;

/// How long an action waits for a task of its own, in real time. It gives up then, so that a clock that stands still does
/// not hold the call for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who does it, as the tasks say.
const SOMEBODY: &str = "somebody@vsphere.local";

/// What happens to the inventory. `vm` is a machine's id or name; if absent, the machine that is called, or whose snapshot
/// is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// The machine is taken out of the inventory. Its files stay.
    Vanish {
        /// Which machine.
        vm: Option<String>,
    },
    /// The machine gets another name. Its files keep theirs.
    Rename {
        /// Which machine.
        vm: Option<String>,
        /// The new name, which may be what it likes: long, empty, of any script.
        name: String,
    },
    /// The machine gets the uuids of another, as a careless copy has them.
    TakeUuids {
        /// Which machine.
        vm: Option<String>,
        /// Whose uuids, as id or name.
        of: String,
    },
    /// Somebody takes a snapshot, and does not remove it.
    UserSnapshot {
        /// Which machine.
        vm: Option<String>,
        /// The snapshot's name.
        name: String,
    },
    /// A disk becomes larger.
    GrowDisk {
        /// Which machine.
        vm: Option<String>,
        /// The disk's device key.
        disk: i32,
        /// The new capacity in bytes.
        capacity: u64,
    },
    /// The machine gets another disk, thin and empty, on a controller that it has.
    AddDisk {
        /// Which machine.
        vm: Option<String>,
        /// Bytes, a multiple of 1024.
        capacity: u64,
    },
    /// The machine moves to another host.
    MoveHost {
        /// Which machine.
        vm: Option<String>,
        /// The name or id of the host; without it, any other one of the cluster.
        host: Option<String>,
    },
    /// The snapshots that there are have no change ids any more.
    ForgetChangeIds {
        /// Which machine.
        vm: Option<String>,
    },
    /// The server's clock jumps ahead.
    AdvanceClock {
        /// How far.
        seconds: u64,
    },
}

/// Plays what rules say before a call is carried out.
///
/// # Errors
/// When a rule asks for what cannot be done, such as the renaming of a machine that is not there: the call is then answered
/// with it, so that nobody believes it was done.
pub(crate) async fn play(shared: &Arc<Shared>, call: &Call) -> Outcome<()> {
    for rule in shared.faults.strike_inventory(&Asked::of(call)) {
        let Some(action) = rule.action else { continue };
        action.happen(shared, call).await.map_err(|Fault { fault, message }| Fault {
            fault,
            message: format!("A fault rule for the inventory cannot be carried out: {message}"),
        })?;
    }
    Ok(())
}

impl Action {
    async fn happen(self, shared: &Arc<Shared>, call: &Call) -> Outcome<()> {
        let failed = |error: crate::Error| invalid_argument("action", describe(&error));
        let machine = |vm| find(shared, vm, call).map(|id| SimVm::new(Arc::clone(shared), id));
        match self {
            Self::Vanish { vm } => machine(vm)?.unregister().map(|_| ()).map_err(failed),
            Self::Rename { vm, name } => machine(vm)?.rename(&name).map_err(failed),
            Self::TakeUuids { vm, of } => {
                let other = named(shared, &of)?;
                let uuids = shared.read(|world| {
                    let machine = world.machine(&other)?;
                    Some((
                        machine.config.instance_uuid.clone().unwrap_or_default(),
                        machine.config.uuid.clone(),
                    ))
                });
                let (instance, bios) = uuids.ok_or_else(|| no_machine(&of))?;
                machine(vm)?.set_uuids(&instance, &bios).map_err(failed)
            }
            Self::UserSnapshot { vm, name } => take_snapshot(shared, &find(shared, vm, call)?, &name).await,
            Self::GrowDisk { vm, disk, capacity } => {
                let (vm, shared) = (find(shared, vm, call)?, Arc::clone(shared));
                // The guest may be writing, which is waited for.
                let job = tokio::task::spawn_blocking(move || grow(&shared, &vm, disk, capacity));
                job.await.unwrap_or_else(|error| {
                    Err(fault(vim_api::types::SystemError::default(), format!("It died: {error}")))
                })
            }
            Self::AddDisk { vm, capacity } => {
                let (vm, shared) = (find(shared, vm, call)?, Arc::clone(shared));
                let job = tokio::task::spawn_blocking(move || add_disk(&shared, &vm, capacity));
                job.await.unwrap_or_else(|error| {
                    Err(fault(vim_api::types::SystemError::default(), format!("It died: {error}")))
                })
            }
            Self::MoveHost { vm, host } => move_host(shared, &find(shared, vm, call)?, host.as_deref()),
            Self::ForgetChangeIds { vm } => {
                let id = find(shared, vm, call)?;
                shared.update(|world| {
                    let machine = world.machine_mut(&id).ok_or_else(|| no_machine(&id))?;
                    for snapshot in &mut machine.snapshots {
                        snapshots::forget_change_ids(Arc::make_mut(&mut snapshot.config), &|_| true);
                    }
                    Ok(())
                })
            }
            Self::AdvanceClock { seconds } => {
                shared.advance_clock(Duration::from_secs(seconds));
                Ok(())
            }
        }
    }
}

fn find(shared: &Shared, vm: Option<String>, call: &Call) -> Outcome<String> {
    let id = call.this.value();
    match (vm, call.this.type_name()) {
        (Some(vm), _) => named(shared, &vm),
        (None, "VirtualMachine") => Ok(id.to_owned()),
        (None, "VirtualMachineSnapshot") => shared
            .read(|world| world.snapshot(id).map(|(machine, _)| machine.id.clone()))
            .ok_or_else(|| no_machine(id)),
        (None, other) => {
            let message =
                format!("Name the machine in \"vm\": the call is on a {other}, which belongs to none.");
            Err(invalid_argument("action.vm", message))
        }
    }
}

/// The id of the machine with this id or name.
fn named(shared: &Shared, vm: &str) -> Outcome<String> {
    let found = shared.read(|world| {
        world.machine(vm).or_else(|| world.machine_named(vm)).map(|machine| machine.id.clone())
    });
    found.ok_or_else(|| no_machine(vm))
}

fn no_machine(vm: &str) -> Fault {
    invalid_argument("action.vm", format!("There is no machine {vm:?}."))
}

fn grow(shared: &Shared, vm: &str, key: i32, capacity: u64) -> Outcome<()> {
    crate::population::materialize(shared, vm)?;
    let stun = shared.read(|world| world.machine(vm).map(|machine| Arc::clone(&machine.stun)));
    let stun = stun.ok_or_else(|| no_machine(vm))?;
    let _writing = stun.lock().unwrap_or_else(PoisonError::into_inner);
    let no_disk = || invalid_argument("action.disk", format!("{vm} has no disk {key}."));
    let path = shared.read(|world| {
        let disks = world.machine(vm)?.disks();
        disks.into_iter().find(|disk| disk.key == key).map(|disk| disk.path)
    });
    let path = path.ok_or_else(no_disk)?;
    let failed = |error: sim_store::Error| from_store(&error, &path.to_string());
    let host = shared.read(|world| world.resolve(&path)).map_err(failed)?;
    recovery::carry_out(shared, Intent::of(vm).shows(&path), |_| {
        sim_store::grow(&host, capacity).map_err(failed)
    })
}

fn add_disk(shared: &Shared, vm: &str, capacity: u64) -> Outcome<()> {
    crate::population::materialize(shared, vm)?;
    let controller = shared.read(|world| {
        let devices = &world.machine(vm)?.config.hardware.device;
        let found = devices.iter().find(|device| device.is::<t::VirtualSCSIController>());
        found
            .or_else(|| devices.iter().find(|device| device.is::<t::VirtualController>()))
            .map(|found| found.key)
    });
    let no_place = || invalid_argument("action.vm", format!("{vm} has no controller for a disk."));
    let backing = chain::new_backing(true, false);
    let disk = t::VirtualDisk {
        base: t::VirtualDevice {
            key: -1,
            controller_key: Some(controller.ok_or_else(no_place)?),
            backing: Some(Poly::new(backing)),
            ..Default::default()
        },
        capacity_in_kb: i64::try_from(capacity / 1024).unwrap_or(i64::MAX),
        ..Default::default()
    };
    let change = t::VirtualDeviceConfigSpec {
        operation: Some(t::VirtualDeviceConfigSpecOperation::Add),
        file_operation: Some(t::VirtualDeviceConfigSpecFileOperation::Create),
        device: Poly::new(disk),
        ..Default::default()
    };
    let spec = t::VirtualMachineConfigSpec { device_change: vec![Poly::new(change)], ..Default::default() };
    crate::configure::reconfigure(shared, vm, &spec, &mut Progress::untold(shared))
}

fn move_host(shared: &Shared, vm: &str, wish: Option<&str>) -> Outcome<()> {
    let (host, pool) = shared.read(|world| {
        let tree = &world.stored.tree;
        let now = world.machine(vm).ok_or_else(|| no_machine(vm))?.host.as_str();
        let cluster = |host: &str| tree.owner_of(host).map(|owner| owner.id.as_str());
        let mut hosts = tree.iter().filter(|entity| matches!(entity.kind, Kind::Host { .. }));
        let found = match wish {
            Some(wish) => hosts.find(|host| host.id == wish || host.name == wish),
            None => hosts.find(|host| host.id != now && cluster(&host.id) == cluster(now)),
        };
        let host = found.ok_or_else(|| {
            let which = wish.map_or_else(
                || "There is no other host".to_owned(),
                |wish| format!("There is no host {wish:?}"),
            );
            invalid_argument("action.host", format!("{which} for {vm}."))
        })?;
        let moved = cluster(&host.id).filter(|there| Some(*there) != cluster(now));
        let pool = moved.and_then(|there| tree.root_pool(there)).map(|pool| pool.id.clone());
        Ok((host.id.clone(), pool))
    })?;
    shared.update(|world| {
        let machine = world.machine_mut(vm).ok_or_else(|| no_machine(vm))?;
        machine.host = host;
        if machine.pool.is_some() && pool.is_some() {
            machine.pool = pool;
        }
        Ok(())
    })
}

/// Takes a snapshot as the API's own method does, and waits for its end.
async fn take_snapshot(shared: &Arc<Shared>, vm: &str, name: &str) -> Outcome<()> {
    let this = shared.read(|world| world.machine(vm).map(machine_ref)).ok_or_else(|| no_machine(vm))?;
    let mut writer = Writer::new(shared.settings.version);
    this.encode("_this", &mut writer);
    name.to_owned().encode("name", &mut writer);
    false.encode("memory", &mut writer);
    false.encode("quiesce", &mut writer);
    let envelope = soap::envelope("CreateSnapshot_Task", &[&writer.finish()]);
    let call = Call::parse(envelope.into(), Service::Vim25, shared.settings.version)?;
    snapshots::create(shared, &call, SOMEBODY)?;
    let mut changes = shared.watch();
    let ended = async {
        loop {
            changes.borrow_and_update();
            let busy = shared.read(|world| world.machine(vm).is_some_and(|machine| machine.busy.is_some()));
            if !busy || changes.changed().await.is_err() {
                return;
            }
        }
    };
    let patience = tokio::time::timeout(PATIENCE, ended).await;
    patience.map_err(|_| invalid_argument("action", "The snapshot's task does not end."))
}
