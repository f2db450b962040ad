//! Who may ask for files: by a session, by a ticket for this one request, or by user name and password.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::http::request::Parts;

use super::{Outcome, Refusal, Wanted, blocking};
use crate::server::http::{caller, cookie};
use crate::world::Shared;

/// The cookie of a ticket.
const TICKET: &str = "vmware_cgi_ticket";

/// Lets a request in. Answers the cookie of the session that a password has begun.
pub(super) async fn grant(
    shared: &Arc<Shared>,
    address: SocketAddr,
    head: &Parts,
    wanted: Option<&Wanted>,
) -> Outcome<Option<String>> {
    shared.update_if(|world| world.expire_idle());
    let caller = caller(&head.headers, address);
    let ticket = cookie(&head.headers, TICKET);
    let known = shared.read_mut(|world| {
        if let Some(session) = caller.cookie.as_deref()
            && world.sessions.get(session).is_some()
        {
            world.note_activity(session);
            return true;
        }
        let (Some(ticket), Some(wanted)) = (&ticket, wanted) else { return false };
        world.spend_ticket(ticket, &head.method, wanted)
    });
    if known {
        return Ok(None);
    }
    let denied = || Refusal::new(StatusCode::UNAUTHORIZED, "Files want a session, a ticket or a password.");
    let (user, password) = basic(&head.headers).ok_or_else(denied)?;
    let record = shared
        .read(|world| world.stored.users.iter().find(|record| record.name == user).cloned())
        .ok_or_else(denied)?;
    // Passwords are hashed slowly on purpose.
    blocking(move || if record.password.verify(&password) { Ok(()) } else { Err(denied()) }).await?;
    Ok(Some(shared.update(|world| world.open_session(user, &caller).set_cookie())))
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
