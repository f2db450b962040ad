//! Tickets for one request to another service: `SessionManager.AcquireGenericServiceTicket`.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::Method;
use vim_api::dynamic::Poly;
use vim_api::types as t;

use crate::clock::Moment;
use crate::fault::{Outcome, fault, invalid_argument};
use crate::random;
use crate::server::folder::Wanted;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// How long a ticket can be used. Real ones live shortly; how shortly is not documented. [K, uncertain]
const LIFE: Duration = Duration::from_secs(2 * 60);

/// The tickets that were given out and not used.
#[derive(Default)]
pub(crate) struct ServiceTickets(BTreeMap<String, Ticket>);

struct Ticket {
    /// `httpGet` and the like; any method if absent.
    method: Option<String>,
    wanted: Wanted,
    given: Moment,
    /// Who asks by it.
    user: String,
}

/// `SessionManager.AcquireGenericServiceTicket`. Only the path and the query of the URL are bound, as documented: a proxy
/// may change the rest.
pub(crate) fn acquire(shared: &Shared, user: String, call: &Call) -> Outcome<Answer> {
    let spec: Poly<t::SessionManagerServiceRequestSpec> = call.required("spec")?;
    let Some(spec) = spec.downcast_ref::<t::SessionManagerHttpServiceRequestSpec>() else {
        return Err(fault(t::NotSupported::default(), "Tickets are given for HTTP requests only."));
    };
    let wanted = Wanted::parse(&spec.url).map_err(|why| invalid_argument("spec.url", why))?;
    let id = random::uuid();
    shared.read_mut(|world| {
        let given = world.clock.now();
        let tickets = &mut world.service_tickets.0;
        tickets.retain(|_, ticket| given.since(ticket.given) <= LIFE);
        tickets.insert(id.clone(), Ticket { method: spec.method.clone(), wanted, given, user });
    });
    let ticket = t::SessionManagerGenericServiceTicket { id, ..Default::default() };
    Ok(Answer::one(call, &ticket))
}

impl World {
    /// Uses a ticket up, if it is good for this request, and answers for whom it was given out. One that was shown for
    /// another request stays unused.
    pub(crate) fn spend_ticket(&mut self, id: &str, method: &Method, wanted: &Wanted) -> Option<String> {
        let now = self.clock.now();
        let named = format!("http{method}");
        let is_good = self.service_tickets.0.get(id).is_some_and(|ticket| {
            now.since(ticket.given) <= LIFE
                && ticket.wanted == *wanted
                && ticket.method.as_ref().is_none_or(|method| method.eq_ignore_ascii_case(&named))
        });
        let spent = is_good.then(|| self.service_tickets.0.remove(id))?;
        spent.map(|ticket| ticket.user)
    }
}
