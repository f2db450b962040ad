//! Being told of changes: `WaitForUpdatesEx` and its older sisters.
//!
//! Each filter remembers a fingerprint of what its client was told. An update is the difference between that and the
//! state now, so changes that follow each other closely become one, and whatever did not fit one answer is found
//! again for the next.

use std::time::Duration;

use tokio::time::Instant;
use vim_api::ApiVersion;
use vim_api::types as t;

use super::Collector;
use crate::fault::{Fault, Outcome, fault, invalid_argument, not_authenticated, not_found};
use crate::session::{End, Session};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// Objects in one answer when the client has no wish of its own.
const DEFAULT_OBJECTS: usize = 100;

/// How long, and how much.
struct Wish {
    version: Option<String>,
    longest: Option<Duration>,
    objects: usize,
}

/// `WaitForUpdatesEx`.
pub(crate) async fn wait_ex(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let options: t::WaitOptions = call.optional("options")?.unwrap_or_default();
    let longest = match options.max_wait_seconds {
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => return Err(invalid_argument("options.maxWaitSeconds", "A time cannot be negative.")),
        },
        None => None,
    };
    let objects = match options.max_object_updates {
        Some(objects) => match usize::try_from(objects) {
            Ok(objects) if objects > 0 => objects,
            _ => {
                return Err(invalid_argument(
                    "options.maxObjectUpdates",
                    "An answer has at least one object.",
                ));
            }
        },
        None => DEFAULT_OBJECTS,
    };
    let wish = Wish { version: call.optional("version")?, longest, objects };
    let found = updates(shared, cookie, call, &wish).await?;
    Ok(Answer::maybe(call, found.as_ref()))
}

/// `WaitForUpdates`: everything at once, as long as it takes.
pub(crate) async fn wait(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let wish = Wish { version: call.optional("version")?, longest: None, objects: usize::MAX };
    let found = updates(shared, cookie, call, &wish).await?;
    Ok(Answer::maybe(call, found.as_ref()))
}

/// `CheckForUpdates`: everything at once, now.
pub(crate) async fn check(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let wish =
        Wish { version: call.optional("version")?, longest: Some(Duration::ZERO), objects: usize::MAX };
    let found = updates(shared, cookie, call, &wish).await?;
    Ok(Answer::maybe(call, found.as_ref()))
}

/// `CancelWaitForUpdates`.
pub(crate) fn cancel_wait(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    shared.update(|world| {
        let session = world.sessions.get_mut(cookie).ok_or_else(|| not_authenticated(&call.this))?;
        let collector = session.collectors.get_mut(call.this.value()).ok_or_else(|| not_found(&call.this))?;
        collector.cancels += 1;
        Ok(Answer::void())
    })
}

async fn updates(shared: &Shared, cookie: &str, call: &Call, wish: &Wish) -> Outcome<Option<t::UpdateSet>> {
    let canceled = || fault(t::RequestCanceled::default(), "The request was canceled by a user.");
    let mut changes = shared.watch();
    let deadline = wish.longest.map(|longest| Instant::now() + longest);
    let (end, cancels) = shared.read(|world| {
        let session = world.sessions.get(cookie).ok_or_else(|| not_authenticated(&call.this))?;
        let collector = session.collectors.get(call.this.value()).ok_or_else(|| not_found(&call.this))?;
        Ok::<_, Fault>((session.end.clone(), collector.cancels))
    })?;
    let mut first = true;
    loop {
        changes.borrow_and_update();
        let found = shared.read_mut(|world| {
            match end.get() {
                Some(End::LoggedOut) => return Err(canceled()),
                Some(End::Expired) => return Err(not_authenticated(&call.this)),
                None => {}
            }
            attempt(world, cookie, call, wish, first, cancels)
        })?;
        if let Attempt::Found(set) = found {
            return Ok(Some(set));
        }
        if matches!(found, Attempt::Canceled) {
            return Err(canceled());
        }
        first = false;
        let wait = changes.changed();
        match deadline {
            None => {
                if wait.await.is_err() {
                    return Err(canceled());
                }
            }
            Some(deadline) => match tokio::time::timeout_at(deadline, wait).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(canceled()),
                Err(_) => return Ok(None),
            },
        }
    }
}

enum Attempt {
    Found(t::UpdateSet),
    Nothing,
    Canceled,
}

/// One look: is there anything to tell? `first` is whether the client's version is still to be judged.
fn attempt(
    world: &mut World,
    cookie: &str,
    call: &Call,
    wish: &Wish,
    first: bool,
    cancels: u64,
) -> Outcome<Attempt> {
    // The collector is taken out while the state is read, and put back whatever comes of it.
    let id = call.this.value();
    let taken = world.sessions.get_mut(cookie).and_then(|session| session.collectors.remove(id));
    let Some(mut collector) = taken else { return Err(not_found(&call.this)) };
    let outcome = if collector.cancels == cancels {
        let next = world.next_version();
        collector.look(world, world.sessions.get(cookie), wish, first, call.version, next)
    } else {
        Ok(Attempt::Canceled)
    };
    if let Some(session) = world.sessions.get_mut(cookie) {
        session.collectors.insert(id.to_owned(), collector);
    }
    outcome
}

impl Collector {
    fn look(
        &mut self,
        world: &World,
        session: Option<&Session>,
        wish: &Wish,
        first: bool,
        version: ApiVersion,
        next: u64,
    ) -> Outcome<Attempt> {
        if first && let Some(again) = self.judge(wish.version.as_deref())? {
            return Ok(Attempt::Found(again));
        }
        let mut room = wish.objects;
        let mut set = t::UpdateSet::default();
        let mut truncated = false;
        for filter in &mut self.filters {
            let (update, cut) = filter.difference(world, session, version, room)?;
            truncated |= cut;
            if let Some(update) = update {
                room -= update.object_set.len();
                set.filter_set.push(update);
            }
        }
        if set.filter_set.is_empty() {
            return Ok(Attempt::Nothing);
        }
        set.version = next.to_string();
        set.truncated = truncated.then_some(true);
        self.before = self.version;
        self.version = Some(next);
        self.last = Some(set.clone());
        Ok(Attempt::Found(set))
    }

    /// Compares the client's version with what was handed out. Answers the last set if it has to be given again.
    fn judge(&mut self, told: Option<&str>) -> Outcome<Option<t::UpdateSet>> {
        let told = told.filter(|version| !version.is_empty());
        let current = self.version.map(|version| version.to_string());
        if told.is_some() && told == current.as_deref() {
            self.last = None;
            return Ok(None);
        }
        match told {
            // Begins anew: the client knows nothing. The numbers go on, so that old versions stay refused.
            None => {
                self.last = None;
                for filter in &mut self.filters {
                    filter.reported.clear();
                    filter.missing.clear();
                    filter.looked_at = 0;
                }
                Ok(None)
            }
            Some(told) => {
                let before = self.before.map(|version| version.to_string());
                match (&self.last, before) {
                    (Some(last), Some(before)) if before == told => Ok(Some(last.clone())),
                    _ => Err(fault(
                        t::InvalidCollectorVersion::default(),
                        "The version is unknown, or too old; start again with an empty one.",
                    )),
                }
            }
        }
    }
}
