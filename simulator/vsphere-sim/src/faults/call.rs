//! What becomes of a call that a rule strikes.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use super::rule::{Effect, FaultRule};
use crate::fault::{Outcome, not_authenticated};
use crate::session::Caller;
use crate::wire::{Answer, Call};
use crate::world::Shared;

/// Lets a call suffer. `carried_out` is what would come of it otherwise; it is begun only if the rule leaves it room.
pub(crate) async fn suffer(
    rule: &FaultRule,
    shared: &Shared,
    caller: &Caller,
    call: &Call,
    carried_out: impl Future<Output = Outcome<Answer>>,
) -> Outcome<Answer> {
    tokio::time::sleep(rule.delay()).await;
    let mut carried_out = pin!(carried_out);
    if let Some(after) = rule.after_ms {
        tokio::select! {
            answer = &mut carried_out => return answer,
            () = tokio::time::sleep(Duration::from_millis(after)) => {}
        }
    }
    if rule.effect == Some(Effect::ExpireSession) {
        expire(shared, caller.cookie.as_deref());
    }
    match rule.to_fault(&call.this) {
        Some(fault) => Err(fault),
        None if rule.effect == Some(Effect::ExpireSession) => Err(not_authenticated(&call.this)),
        None => carried_out.await,
    }
}

/// Ends the session of a cookie as if it had been idle for too long.
pub(crate) fn expire(shared: &Shared, cookie: Option<&str>) {
    if let Some(cookie) = cookie {
        shared.update(|world| world.expire_session(cookie));
    }
}
