//! `EventHistoryCollector` and `TaskHistoryCollector`: a filter, a page of the latest, and a position.

use vim_api::dynamic::{DateTime, Element, Poly, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::dispatch::method_not_found;
use crate::events::filter::matches;
use crate::fault::{Outcome, fault, invalid_argument, not_authenticated, not_found};
use crate::random;
use crate::session::Session;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// Most collectors of a session, of either kind: `maxCollector`.
pub(crate) const MOST: usize = 32;

/// Items of the latest page unless the client says otherwise, and at most.
const PAGE: usize = 10;
const MOST_ITEMS: i32 = 1000;

/// A collector of one session.
pub(crate) struct Collector {
    filter: Filter,
    page: usize,
    /// Key of the first item that reading on towards now gives. What is older lies the other way.
    position: i32,
}

enum Filter {
    Events(Box<t::EventFilterSpec>),
    Tasks(Box<t::TaskFilterSpec>),
}

/// An item as it goes over the wire, behind its key.
type Found = (i32, Value);

/// `EventManager.CreateCollectorForEvents`.
pub(crate) fn create_for_events(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let filter: t::EventFilterSpec = call.required("filter")?;
    let id = create(shared, cookie, call, Filter::Events(Box::new(filter)))?;
    Ok(Answer::one(call, &MoRef::<mo::EventHistoryCollector>::new(id)))
}

/// `TaskManager.CreateCollectorForTasks`.
pub(crate) fn create_for_tasks(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let filter: t::TaskFilterSpec = call.required("filter")?;
    let id = create(shared, cookie, call, Filter::Tasks(Box::new(filter)))?;
    Ok(Answer::one(call, &MoRef::<mo::TaskHistoryCollector>::new(id)))
}

/// `EventManager.QueryEvents`.
pub(crate) fn query_events(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let filter: t::EventFilterSpec = call.required("filter")?;
    if call.optional::<Poly<t::EventManagerEventViewSpec>>("eventViewSpec")?.is_some() {
        return Err(fault(t::NotSupported::default(), "Views of events are not supported."));
    }
    let most = count(filter.max_count.unwrap_or(MOST_ITEMS), "filter.maxCount")?;
    let filter = Filter::Events(Box::new(filter));
    let mut found: Vec<Value> = shared.read(|world| {
        let session = world.sessions.get(cookie).ok_or_else(|| not_authenticated(&call.this))?;
        filter.check(world)?;
        Ok::<_, crate::fault::Fault>(
            filter.newest_first(world, session).take(most).map(|(_, item)| item).collect(),
        )
    })?;
    // The latest are chosen, and told in the order in which they came.
    found.reverse();
    Ok(Answer::many(call, &found))
}

/// Carries out a call to a collector.
pub(crate) fn call(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let events = call.this.type_name() == "EventHistoryCollector";
    match call.method.as_str() {
        "ReadNextEvents" if events => read(shared, cookie, call, true),
        "ReadPreviousEvents" if events => read(shared, cookie, call, false),
        "ReadNextTasks" if !events => read(shared, cookie, call, true),
        "ReadPreviousTasks" if !events => read(shared, cookie, call, false),
        "RewindCollector" => with(shared, cookie, call, |collector, _| {
            collector.position = 0;
            Ok(Answer::void())
        }),
        "ResetCollector" => with(shared, cookie, call, |collector, items| {
            let page: Vec<Found> = items.take(collector.page).collect();
            collector.position = page.last().map_or(i32::MAX, |(key, _)| *key);
            Ok(Answer::void())
        }),
        "SetCollectorPageSize" => {
            let page = count(call.required("maxCount")?, "maxCount")?;
            with(shared, cookie, call, |collector, _| {
                collector.page = page;
                Ok(Answer::void())
            })
        }
        "DestroyCollector" => shared.update(|world| {
            let session = world.sessions.get_mut(cookie).ok_or_else(|| not_authenticated(&call.this))?;
            let gone = session.histories.remove(call.this.value());
            gone.map(|_| Answer::void()).ok_or_else(|| not_found(&call.this))
        }),
        _ => Err(method_not_found(call)),
    }
}

fn create(shared: &Shared, cookie: &str, call: &Call, filter: Filter) -> Outcome<String> {
    shared.update(|world| {
        filter.check(world)?;
        let session = world.sessions.get_mut(cookie).ok_or_else(|| not_authenticated(&call.this))?;
        if session.histories.len() >= MOST {
            return Err(fault(
                t::InvalidState::default(),
                "The session has as many collectors as it may have.",
            ));
        }
        let id = random::session_object();
        session.histories.insert(id.clone(), Collector { filter, page: PAGE, position: 0 });
        Ok(id)
    })
}

/// The next ones towards now, the oldest first; or the next ones towards the past, the newest first.
fn read(shared: &Shared, cookie: &str, call: &Call, forwards: bool) -> Outcome<Answer> {
    let most = count(call.required("maxCount")?, "maxCount")?;
    with(shared, cookie, call, |collector, items| {
        let from = collector.position;
        let page: Vec<Found> = if forwards {
            items.rev().skip_while(|(key, _)| *key < from).take(most).collect()
        } else {
            items.skip_while(|(key, _)| *key >= from).take(most).collect()
        };
        if let Some((last, _)) = page.last() {
            collector.position = if forwards { last.saturating_add(1) } else { *last };
        }
        Ok(Answer::many(call, &page.into_iter().map(|(_, item)| item).collect::<Vec<_>>()))
    })
}

/// Works on a collector with its items, the newest first.
fn with(
    shared: &Shared,
    cookie: &str,
    call: &Call,
    work: impl FnOnce(&mut Collector, &mut dyn DoubleEndedIterator<Item = Found>) -> Outcome<Answer>,
) -> Outcome<Answer> {
    let id = call.this.value();
    // Taken out while the state is read, and put back whatever comes of it. The position is the client's affair: no one
    // waits for it.
    shared.read_mut(|world| {
        let session = world.sessions.get_mut(cookie).ok_or_else(|| not_authenticated(&call.this))?;
        let mut collector = session.histories.remove(id).ok_or_else(|| not_found(&call.this))?;
        let outcome = match world.sessions.get(cookie) {
            Some(session) => {
                let filter = collector.filter.clone();
                let mut items = filter.newest_first(world, session);
                work(&mut collector, &mut items)
            }
            None => Err(not_authenticated(&call.this)),
        };
        if let Some(session) = world.sessions.get_mut(cookie) {
            session.histories.insert(id.to_owned(), collector);
        }
        outcome
    })
}

fn count(wish: i32, argument: &str) -> Outcome<usize> {
    match usize::try_from(wish) {
        Ok(count) if (1..=MOST_ITEMS).contains(&wish) => Ok(count),
        _ => Err(invalid_argument(argument, format!("One asks for 1 to {MOST_ITEMS} items."))),
    }
}

impl Collector {
    /// Whether it is one of the managed object type.
    pub(crate) fn is_a(&self, type_name: &str) -> bool {
        matches!(
            (&self.filter, type_name),
            (Filter::Events(_), "EventHistoryCollector") | (Filter::Tasks(_), "TaskHistoryCollector")
        )
    }

    /// A property of the managed object.
    pub(crate) fn property(&self, world: &World, name: &str, session: Option<&Session>) -> Option<Value> {
        match name {
            "filter" => Some(match &self.filter {
                Filter::Events(spec) => spec.to_value(),
                Filter::Tasks(spec) => spec.to_value(),
            }),
            "latestPage" => {
                let items = self.filter.newest_first(world, session?).take(self.page);
                let item_name = match self.filter {
                    Filter::Events(_) => "Event",
                    Filter::Tasks(_) => "TaskInfo",
                };
                Some(Value::array(item_name, items.map(|(_, item)| item).collect()))
            }
            _ => None,
        }
    }
}

impl Clone for Filter {
    fn clone(&self) -> Self {
        match self {
            Self::Events(spec) => Self::Events(spec.clone()),
            Self::Tasks(spec) => Self::Tasks(spec.clone()),
        }
    }
}

impl Filter {
    fn check(&self, world: &World) -> Outcome<()> {
        let entity = match self {
            Self::Events(spec) => spec.entity.as_ref().map(|by| &by.entity),
            Self::Tasks(spec) => spec.entity.as_ref().map(|by| &by.entity),
        };
        match entity {
            Some(entity) if world.node(&entity.cast(), None).is_none() => Err(not_found(&entity.cast())),
            _ => Ok(()),
        }
    }

    /// What passes the filter and may be seen, the newest first.
    fn newest_first<'a>(
        &'a self,
        world: &'a World,
        session: &'a Session,
    ) -> Box<dyn DoubleEndedIterator<Item = Found> + 'a> {
        let rights = world.rights(&session.user);
        match self {
            Self::Events(spec) => {
                let without_text = spec.disable_full_message == Some(true);
                let found = world
                    .events
                    .ring
                    .iter()
                    .rev()
                    .filter(move |item| matches(item, spec) && item.is_seen(world, &rights));
                Box::new(found.map(move |item| {
                    let mut event = item.value.clone();
                    if without_text {
                        event.full_formatted_message = None;
                    }
                    (item.key, event.to_value())
                }))
            }
            Self::Tasks(spec) => {
                let found = world.history.ring.iter().rev().filter_map(move |item| {
                    // A task that is still known is shown as it is now.
                    let live = world.tasks.get(&item.value.key).map(crate::tasks::TaskState::info);
                    let info = live.unwrap_or(&item.value);
                    let entity = spec.entity.as_ref();
                    let fits = entity
                        .is_none_or(|by| item.is_within(&by.entity.cast(), &by.recursion.to_string()))
                        && task_matches(info, spec)
                        && item.is_seen(world, &rights);
                    fits.then(|| (item.key, info.to_value()))
                });
                Box::new(found)
            }
        }
    }
}

fn task_matches(info: &t::TaskInfo, spec: &t::TaskFilterSpec) -> bool {
    let user = info.reason.downcast_ref::<t::TaskReasonUser>().map_or("", |reason| reason.user_name.as_str());
    let by_user = spec.user_name.as_ref().is_none_or(|by| is_by(user, by.system_user, &by.user_list));
    let by_time = spec.time.as_ref().is_none_or(|by| {
        let at = match by.time_type {
            t::TaskFilterSpecTimeOption::StartedTime => info.start_time.as_ref(),
            t::TaskFilterSpecTimeOption::CompletedTime => info.complete_time.as_ref(),
            _ => Some(&info.queue_time),
        };
        at.is_some_and(|at| is_between(at, by.begin_time.as_ref(), by.end_time.as_ref()))
    });
    let among = |own: &Option<String>, wanted: &[String]| {
        wanted.is_empty() || own.as_ref().is_some_and(|own| wanted.contains(own))
    };
    by_user
        && by_time
        && (spec.state.is_empty() || spec.state.contains(&info.state))
        && (spec.event_chain_id.is_empty() || spec.event_chain_id.contains(&info.event_chain_id))
        && among(&info.activation_id, &spec.activation_id)
        && among(&info.parent_task_key, &spec.parent_task_key)
        && among(&info.root_task_key, &spec.root_task_key)
        && among(&info.change_tag, &spec.tag)
        // There are no alarms and no schedules here, so nothing was begun by one.
        && spec.alarm.is_none()
        && spec.scheduled_task.is_none()
}

/// Whether it was done by one of the users. `system` stands for the server itself, which has no name.
pub(crate) fn is_by(user: &str, system: bool, users: &[String]) -> bool {
    if user.is_empty() {
        return system;
    }
    users.is_empty() && !system
        || users.iter().any(|wanted| crate::authorization::same_principal(wanted, user))
}

/// Whether a moment is within limits, which both belong to the time.
pub(crate) fn is_between(at: &DateTime, begin: Option<&DateTime>, end: Option<&DateTime>) -> bool {
    let Some(at) = at.to_system_time() else { return false };
    let limit = |limit: Option<&DateTime>| limit.and_then(DateTime::to_system_time);
    limit(begin).is_none_or(|begin| at >= begin) && limit(end).is_none_or(|end| at <= end)
}
