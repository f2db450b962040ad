//! Reading once: `RetrievePropertiesEx` with its pages, the older `RetrieveProperties`, and `Fetch`.

use std::collections::HashMap;

use vim_api::types as t;
use vim_api::{ApiVersion, MoRef};

use super::{paths, select};
use crate::fault::{Fault, Outcome, fault, invalid_argument, localized, not_found};
use crate::random;
use crate::session::Session;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// `RetrievePropertiesEx`. Without a session only what anybody may see is read; the caller has checked that.
pub(crate) fn retrieve(shared: &Shared, cookie: Option<&str>, call: &Call) -> Outcome<Answer> {
    let specs: Vec<t::PropertyFilterSpec> = call.list("specSet")?;
    let options: t::RetrieveOptions = call.optional("options")?.unwrap_or_default();
    // Nothing can be kept for whoever has no session.
    let most = cookie.map_or(usize::MAX, |_| shared.settings.property_page);
    let page = page_size(&options, most)?;
    let mut objects = read_all(shared, cookie, &specs, call.version)?;
    if objects.is_empty() {
        return Ok(Answer::void());
    }
    let rest = objects.split_off(page.min(objects.len()));
    turn_page(shared, cookie, call, objects, rest)
}

/// `RetrieveProperties`: all in one answer.
pub(crate) fn retrieve_plain(shared: &Shared, cookie: Option<&str>, call: &Call) -> Outcome<Answer> {
    let specs: Vec<t::PropertyFilterSpec> = call.list("specSet")?;
    Ok(Answer::many(call, &read_all(shared, cookie, &specs, call.version)?))
}

/// `ContinueRetrievePropertiesEx`. A token is good for one page, which is as large as the first.
pub(crate) fn continue_page(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let token: String = call.required("token")?;
    let mut objects = take_page(shared, cookie, call, &token)?;
    // The size of a page is part of the token.
    let page =
        token.split('-').next().and_then(|size| size.parse().ok()).unwrap_or(shared.settings.property_page);
    let rest = objects.split_off(page.min(objects.len()));
    turn_page(shared, Some(cookie), call, objects, rest)
}

/// `CancelRetrievePropertiesEx`.
pub(crate) fn cancel_page(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let token: String = call.required("token")?;
    take_page(shared, cookie, call, &token).map(|_| Answer::void())
}

/// The undocumented `Fetch`, by which pyvmomi reads an attribute.
pub(crate) fn fetch(shared: &Shared, cookie: Option<&str>, call: &Call) -> Outcome<Answer> {
    let path: String = call.required("prop")?;
    let value = shared.read(|world| {
        let session = cookie.and_then(|cookie| world.sessions.get(cookie));
        if world.node(&call.this, session).is_none() {
            return Err(not_found(&call.this));
        }
        paths::read(world, session, &call.this, &path, call.version)
    })?;
    Ok(Answer::maybe(call, value.as_ref()))
}

fn read_all(
    shared: &Shared,
    cookie: Option<&str>,
    specs: &[t::PropertyFilterSpec],
    version: ApiVersion,
) -> Outcome<Vec<t::ObjectContent>> {
    shared.read(|world| {
        let session = cookie.and_then(|cookie| world.sessions.get(cookie));
        let mut found: Vec<t::ObjectContent> = Vec::new();
        let mut at = HashMap::new();
        for spec in specs {
            paths::check(spec, version)?;
            let selection = select::select(world, session, spec, version)?;
            for object in &selection.objects {
                let paths = paths::wanted(spec, object, version);
                let more = content(world, session, object, &paths, version)?;
                match at.get(object) {
                    Some(&at) => merge(&mut found[at], more),
                    None => {
                        at.insert(object.clone(), found.len());
                        found.push(more);
                    }
                }
            }
        }
        Ok(found)
    })
}

/// An object comes once, with what any of the filters wants of it.
fn merge(content: &mut t::ObjectContent, more: t::ObjectContent) {
    for property in more.prop_set {
        if !content.prop_set.iter().any(|known| known.name == property.name) {
            content.prop_set.push(property);
        }
    }
    for missing in more.missing_set {
        if !content.missing_set.iter().any(|known| known.path == missing.path) {
            content.missing_set.push(missing);
        }
    }
}

fn content(
    world: &World,
    session: Option<&Session>,
    object: &MoRef,
    paths: &[String],
    version: ApiVersion,
) -> Outcome<t::ObjectContent> {
    let mut content = t::ObjectContent { obj: object.clone(), ..Default::default() };
    for path in paths {
        match paths::permitted(paths::read(world, session, object, path, version))? {
            Ok(Some(val)) => {
                content.prop_set.push(t::DynamicProperty { name: path.clone(), val, ..Default::default() });
            }
            Ok(None) => {}
            Err(refused) => content.missing_set.push(missing_property(path, &refused)),
        }
    }
    Ok(content)
}

fn turn_page(
    shared: &Shared,
    cookie: Option<&str>,
    call: &Call,
    objects: Vec<t::ObjectContent>,
    rest: Vec<t::ObjectContent>,
) -> Outcome<Answer> {
    let mut token = None;
    if !rest.is_empty() {
        let name = format!("{}-{}", objects.len(), random::uuid());
        shared.read_mut(|world| {
            let session = cookie.and_then(|cookie| world.sessions.get_mut(cookie));
            if let Some(collector) = session.and_then(|session| session.collectors.get_mut(call.this.value()))
            {
                collector.pages.insert(name.clone(), rest);
                token = Some(name);
            }
        });
    }
    Ok(Answer::one(call, &t::RetrieveResult { token, objects, ..Default::default() }))
}

/// The rest behind a token, which is good for the collector that gave it out.
fn take_page(shared: &Shared, cookie: &str, call: &Call, token: &str) -> Outcome<Vec<t::ObjectContent>> {
    let page = shared.read_mut(|world| {
        let session = world.sessions.get_mut(cookie)?;
        session.collectors.get_mut(call.this.value())?.pages.remove(token)
    });
    page.ok_or_else(|| {
        let value = t::InvalidProperty { name: "token".to_owned(), ..Default::default() };
        fault(value, "The token is unknown, or was used before.")
    })
}

fn page_size(options: &t::RetrieveOptions, most: usize) -> Outcome<usize> {
    match options.max_objects {
        None => Ok(most),
        Some(wish) => match usize::try_from(wish) {
            Ok(wish) if wish > 0 => Ok(wish.min(most)),
            _ => Err(invalid_argument("options.maxObjects", "A page has at least one object.")),
        },
    }
}

/// A property that may not be read.
pub(super) fn missing_property(path: &str, refused: &Fault) -> t::MissingProperty {
    t::MissingProperty { path: path.to_owned(), fault: localized(refused), ..Default::default() }
}

/// A fault about one object among others.
pub(super) fn missing(object: &MoRef) -> t::MissingObject {
    t::MissingObject { obj: object.clone(), fault: localized(&not_found(object)), ..Default::default() }
}
