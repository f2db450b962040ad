//! The services beside the API: storage policies (PBM) and first-class disks (VSLM). They share the API's sessions, which a
//! caller names in the SOAP header, and hand out cookies of their own, as a vCenter's do.

pub(crate) mod disks;
pub(crate) mod policies;

use std::collections::BTreeSet;
use std::sync::Arc;

use vim_api::xml::Service;

use crate::authorization::elsewhere;
use crate::dispatch::method_not_found;
use crate::fault::{Outcome, not_authenticated};
use crate::random;
use crate::session::{COOKIE, Caller};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// Carries out a call to one of the services. `session` is the API's, where there is a live one.
pub(crate) async fn dispatch(
    shared: &Arc<Shared>,
    caller: &Caller,
    session: Option<&str>,
    call: &Call,
) -> Outcome<Answer> {
    let own = |cookies: fn(&World) -> &BTreeSet<String>| {
        caller.beside.as_ref().is_some_and(|cookie| shared.read(|world| cookies(world).contains(cookie)))
    };
    if own(|world| &world.ended_beside) {
        return Err(not_authenticated(&call.this));
    }
    let mut answer = match (call.this.type_name(), call.method.as_str()) {
        ("PbmServiceInstance", "PbmRetrieveServiceContent") => policies::content(shared, call),
        ("VslmServiceInstance", "RetrieveContent") => disks::content(shared, call),
        (kind, _) => {
            let Some(cookie) = session else { return Err(not_authenticated(&call.this)) };
            match kind {
                "PbmProfileProfileManager" => {
                    shared.read(|world| elsewhere::admit_to_policies(world, cookie, call))?;
                    policies::call(shared, call)?
                }
                "VslmVStorageObjectManager" | "VslmTask" => {
                    shared.read(|world| elsewhere::admit_to_disks(world, cookie, call))?;
                    disks::call(shared, call).await?
                }
                _ => return Err(method_not_found(call)),
            }
        }
    };
    if !own(|world| &world.beside) {
        let cookie = random::uuid();
        // The name of the API's cookie and no path, as seen of PBM.
        answer.set_cookie = Some(format!("{COOKIE}={cookie}; HttpOnly"));
        shared.read_mut(|world| world.beside.insert(cookie));
    }
    Ok(answer)
}

/// Which service a path leads to.
pub(crate) fn at(path: &str) -> Option<Service> {
    match path {
        "/pbm/sdk" | "/pbm" => Some(Service::Pbm),
        "/vslm/sdk" => Some(Service::Vslm),
        _ => None,
    }
}
