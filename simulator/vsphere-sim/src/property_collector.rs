//! The PropertyCollector: reading properties of many objects, and being told of their changes.

mod difference;
mod nested;
mod paths;
mod retrieve;
mod select;
mod update;

use std::collections::HashMap;

use vim_api::dynamic::{Element, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::fault::{Outcome, not_authenticated, not_found};
use crate::inventory::moref;
use crate::random;
use crate::wire::{Answer, Call};
use crate::world::Shared;

pub(crate) use retrieve::{cancel_page, continue_page, fetch, retrieve, retrieve_plain};
pub(crate) use update::{cancel_wait, check, wait, wait_ex};

/// A PropertyCollector of a session: its filters, and how far its client has been told.
#[derive(Default)]
pub(crate) struct Collector {
    filters: Vec<Filter>,
    /// The version that the client has when it knows all that was handed out.
    version: Option<u64>,
    /// The version that the client had before.
    before: Option<u64>,
    /// What led from `before` to `version`, in case the client asks for it again.
    last: Option<t::UpdateSet>,
    /// Counts `CancelWaitForUpdates`.
    cancels: u64,
    /// What `ContinueRetrievePropertiesEx` has yet to give out, by token.
    pages: HashMap<String, Vec<t::ObjectContent>>,
}

/// A filter, with what its client has been told.
pub(crate) struct Filter {
    id: String,
    spec: t::PropertyFilterSpec,
    partial_updates: bool,
    reported: HashMap<MoRef, Reported>,
    missing: Vec<MoRef>,
    /// What has not changed since this revision of the world need not be compared.
    looked_at: u64,
}

/// Each property that was told.
type Reported = HashMap<String, Told>;

/// What was told of a property.
struct Told {
    fingerprint: String,
    /// Kept only where changes inside of it are told by themselves.
    value: Option<Value>,
}

impl Collector {
    /// The filters' references.
    pub(crate) fn filters(&self) -> impl Iterator<Item = MoRef<mo::PropertyFilter>> {
        self.filters.iter().map(|filter| moref(&filter.id))
    }

    /// A filter by its id.
    pub(crate) fn filter(&self, id: &str) -> Option<&Filter> {
        self.filters.iter().find(|filter| filter.id == id)
    }
}

impl Filter {
    /// A property of the managed object.
    pub(crate) fn property(&self, name: &str) -> Option<Value> {
        Some(match name {
            "spec" => self.spec.to_value(),
            "partialUpdates" => Value::Bool(self.partial_updates),
            _ => return None,
        })
    }
}

/// `CreatePropertyCollector`.
pub(crate) fn create(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    shared.update(|world| {
        let session = world.sessions.get_mut(cookie).ok_or_else(|| not_authenticated(&call.this))?;
        let id = random::session_object();
        session.collectors.insert(id.clone(), Collector::default());
        Ok(Answer::one(call, &MoRef::<mo::PropertyCollector>::new(id)))
    })
}

/// `DestroyPropertyCollector`. The one that every session has stays.
pub(crate) fn destroy(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let id = call.this.value();
    if shared.read(|world| world.mode().collector_id() == id) {
        return Err(crate::fault::fault(t::NotSupported::default(), "This collector cannot be destroyed."));
    }
    let gone = shared
        .update(|world| world.sessions.get_mut(cookie).and_then(|session| session.collectors.remove(id)));
    gone.map(|_| Answer::void()).ok_or_else(|| not_found(&call.this))
}

/// `CreateFilter`. The specification is checked at once.
pub(crate) fn create_filter(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let spec: t::PropertyFilterSpec = call.required("spec")?;
    let partial_updates: bool = call.required("partialUpdates")?;
    shared.update(|world| {
        let session = world.sessions.get(cookie).ok_or_else(|| not_authenticated(&call.this))?;
        paths::check(&spec, call.version)?;
        select::select(world, Some(session), &spec, call.version)?;
        let id = random::session_object();
        let filter = Filter {
            id: id.clone(),
            spec,
            partial_updates,
            reported: HashMap::new(),
            missing: Vec::new(),
            looked_at: 0,
        };
        let session = world.sessions.get_mut(cookie).ok_or_else(|| not_authenticated(&call.this))?;
        let collector = session.collectors.get_mut(call.this.value()).ok_or_else(|| not_found(&call.this))?;
        collector.filters.push(filter);
        Ok(Answer::one(call, &MoRef::<mo::PropertyFilter>::new(id)))
    })
}

/// `DestroyPropertyFilter`.
pub(crate) fn destroy_filter(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let found = shared.update(|world| {
        let Some(session) = world.sessions.get_mut(cookie) else { return false };
        session.collectors.values_mut().any(|collector| {
            let before = collector.filters.len();
            collector.filters.retain(|filter| filter.id != call.this.value());
            collector.filters.len() < before
        })
    });
    if found { Ok(Answer::void()) } else { Err(not_found(&call.this)) }
}
