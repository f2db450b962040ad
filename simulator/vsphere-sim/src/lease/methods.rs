//! What a client can say to a lease.

use std::sync::Arc;

use vim_api::types as t;

use super::{Lease, Remains, Stage, timed_out};
use crate::dispatch::method_not_found;
use crate::fault::{Fault, Outcome, fault, invalid_argument, not_found};
use crate::faults::Asked;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// Carries out a method of `HttpNfcLease`.
pub(crate) async fn call(shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
    shared.update_if(|world| world.settle_leases());
    suffer(shared, call)?;
    match call.method.as_str() {
        "HttpNfcLeaseProgress" => progress(shared, call),
        "HttpNfcLeaseComplete" => complete(shared, call),
        "HttpNfcLeaseAbort" => abort(shared, call).await,
        "HttpNfcLeaseGetManifest" => manifest(shared, call),
        "HttpNfcLeaseSetManifestChecksumType" => set_checksum_type(shared, call),
        "HttpNfcLeasePullFromUrls_Task" | "HttpNfcLeaseProbeUrls" => {
            let message = "This server does not fetch files by itself: its leases are of mode pushOrGet.";
            Err(fault(t::NotSupported::default(), message))
        }
        _ => Err(method_not_found(call)),
    }
}

/// Ends the lease before the call is carried out, if a rule says so.
fn suffer(shared: &Shared, call: &Call) -> Outcome<()> {
    let id = call.this.value();
    let told: Option<i32> = match call.method.as_str() {
        "HttpNfcLeaseProgress" => call.optional("percent")?,
        _ => None,
    };
    let got = shared.read(|world| world.leases.get(id).map(|lease| lease.transferred)).unwrap_or(0);
    if let Some(early) = shared.faults.strike_lease(&Asked::of(call), told.unwrap_or(0).max(got)) {
        shared.update(|world| world.end_lease_early(id, early));
    }
    Ok(())
}

impl Lease {
    /// Refuses what needs a lease that can be used.
    fn check_ready(&self) -> Outcome<()> {
        let state = match self.stage {
            Stage::Ready => return Ok(()),
            Stage::TimedOut => return Err(timed_out()),
            Stage::Initializing => "is not ready yet",
            Stage::Done => "has ended already",
            Stage::Failed => "has failed",
            Stage::Aborted => "was aborted",
        };
        Err(invalid_state(format!("The lease {state}.")))
    }
}

fn progress(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let percent: i32 = call.required("percent")?;
    if !(0..=100).contains(&percent) {
        return Err(invalid_argument("percent", "Progress is told from 0 to 100 percent."));
    }
    shared.update(|world| {
        let now = world.clock.now();
        let lease = named(world, call)?;
        if lease.stage != Stage::Initializing {
            lease.check_ready()?;
        }
        lease.heard = now;
        lease.transferred = percent;
        let (id, task) = (lease.id.clone(), lease.task.clone());
        if let Some((_, fault)) = lease.planned.take_if(|(at, _)| *at <= percent) {
            world.end_lease(&id, Stage::Failed, Some(fault.clone()));
            return Err(fault);
        }
        world.set_progress(&task, percent);
        Ok(Answer::void())
    })
}

/// A disk of an import that was never sent stays empty.
fn complete(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let imported = shared.update(|world| {
        let lease = named(world, call)?;
        lease.check_ready()?;
        if lease.files.iter().any(|file| file.receiving) {
            return Err(invalid_state("A file is still being sent."));
        }
        if let Some(import) = &mut lease.import {
            import.confirm(shared)?;
        }
        lease.transferred = 100;
        let (id, import) = (lease.id.clone(), lease.import.take());
        world.end_lease(&id, Stage::Done, None);
        Ok(import)
    })?;
    if let Some(import) = imported {
        import.finish(shared)?;
    }
    Ok(Answer::void())
}

/// Answers when nothing of an import is left.
async fn abort(shared: &Arc<Shared>, call: &Call) -> Outcome<Answer> {
    let reason: Option<t::LocalizedMethodFault> = call.optional("fault")?;
    let mut changes = shared.watch();
    let id = shared.update(|world| {
        let lease = named(world, call)?;
        match lease.stage {
            Stage::Initializing | Stage::Ready | Stage::Failed => {}
            _ => lease.check_ready()?,
        }
        let id = lease.id.clone();
        if lease.stage == Stage::Failed {
            // It is over, and that was all there was to do: its first fault stays.
            lease.stage = Stage::Aborted;
        }
        let fault = match reason {
            Some(reason) => {
                Fault { fault: reason.fault, message: reason.localized_message.unwrap_or_default() }
            }
            None => fault(t::RequestCanceled::default(), "The lease was aborted."),
        };
        world.end_lease(&id, Stage::Aborted, Some(fault));
        Ok(id)
    })?;
    loop {
        changes.borrow_and_update();
        let clean = shared.read(|world| {
            world.leases.get(&id).is_none_or(|lease| matches!(lease.remains, Remains::Nothing))
        });
        if clean || changes.changed().await.is_err() {
            return Ok(Answer::void());
        }
    }
}

fn manifest(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let entries: Vec<_> = shared.read_mut(|world| {
        let lease = named(world, call)?;
        lease.check_ready()?;
        Ok(lease.files.iter().filter_map(|file| file.manifest()).collect())
    })?;
    Ok(Answer::many(call, &entries))
}

/// The pairs name a file by its key or by its address.
fn set_checksum_type(shared: &Shared, call: &Call) -> Outcome<Answer> {
    const ARGUMENT: &str = "deviceUrlsToChecksumTypes";
    let pairs: Vec<t::KeyValue> = call.list(ARGUMENT)?;
    shared.read_mut(|world| {
        let server = world.leases.server.clone();
        let lease = named(world, call)?;
        lease.check_ready()?;
        let mut wishes = Vec::new();
        for pair in &pairs {
            let named = lease.files.iter().position(|file| {
                file.key == pair.key || server.address(&lease.token, &file.name) == pair.key
            });
            let at = named.ok_or_else(|| {
                invalid_argument(ARGUMENT, format!("The lease has no file \"{}\".", pair.key))
            })?;
            let sha256 = match pair.value.as_str() {
                "sha1" => false,
                "sha256" => true,
                _ => {
                    let message = format!("There is no checksum of type \"{}\".", pair.value);
                    return Err(invalid_argument(ARGUMENT, message));
                }
            };
            wishes.push((at, sha256));
        }
        for (at, sha256) in wishes {
            if let Some(file) = lease.files.get_mut(at) {
                file.sha256 = sha256;
            }
        }
        Ok(Answer::void())
    })
}

fn named<'w>(world: &'w mut World, call: &Call) -> Outcome<&'w mut Lease> {
    world.leases.get_mut(call.this.value()).ok_or_else(|| not_found(&call.this))
}

fn invalid_state(message: impl Into<String>) -> Fault {
    fault(t::InvalidState::default(), message)
}
