//! Who asks for files, by a session, by a ticket for this one request, or by user name and password; and who may.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderMap};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};

use super::{Outcome, Refusal, Wanted, blocking};
use crate::authorization::elsewhere;
use crate::server::http::{caller, cookie};
use crate::world::{Shared, World};

/// The cookie of a ticket.
const TICKET: &str = "vmware_cgi_ticket";

/// Who asks.
pub(super) struct Granted {
    pub(super) user: String,
    /// Of the session that a password has begun.
    pub(super) set_cookie: Option<String>,
}

/// Finds out who asks.
pub(super) async fn grant(
    shared: &Arc<Shared>,
    address: SocketAddr,
    head: &Parts,
    wanted: Option<&Wanted>,
) -> Outcome<Granted> {
    shared.update_if(|world| world.expire_idle());
    let caller = caller(&head.headers, address);
    let ticket = cookie(&head.headers, TICKET);
    let known = shared.read_mut(|world| {
        if let Some(session) = caller.cookie.as_deref()
            && let Some(user) = world.sessions.get(session).map(|session| session.user.clone())
        {
            world.note_activity(session);
            return Some(user);
        }
        world.spend_ticket(ticket.as_ref()?, &head.method, wanted?)
    });
    if let Some(user) = known {
        return Ok(Granted { user, set_cookie: None });
    }
    let denied = || Refusal::new(StatusCode::UNAUTHORIZED, "Files want a session, a ticket or a password.");
    let (user, password) = basic(&head.headers).ok_or_else(denied)?;
    let record = shared
        .read(|world| world.stored.users.iter().find(|record| record.name == user).cloned())
        .ok_or_else(denied)?;
    // Passwords are hashed slowly on purpose.
    blocking(move || if record.password.verify(&password) { Ok(()) } else { Err(denied()) }).await?;
    if !shared.read(|world| world.rights(&user).are_any()) {
        return Err(Refusal::new(StatusCode::FORBIDDEN, format!("{user} has no permission on anything.")));
    }
    let set_cookie = Some(shared.update(|world| world.open_session(user.clone(), &caller).set_cookie()));
    Ok(Granted { user, set_cookie })
}

/// Refuses what a user has no privilege for: on the datastore, or where none is named on the datacenter. Of the list of
/// datacenters everybody sees as much as the inventory shows.
pub(super) fn permit(world: &World, user: &str, method: &Method, wanted: &Wanted) -> Outcome<()> {
    let Some(object) = wanted.object(world)? else { return Ok(()) };
    let privilege = match *method {
        _ if object.type_name() == "Datacenter" => elsewhere::SEE,
        Method::GET | Method::HEAD => elsewhere::READ_FILES,
        _ => elsewhere::CHANGE_FILES,
    };
    match world.rights(user).has(&object, privilege) {
        true => Ok(()),
        false => {
            let text = format!("NoPermission: {user} lacks {privilege} on {}.", object.value());
            Err(Refusal::new(StatusCode::FORBIDDEN, text))
        }
    }
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
