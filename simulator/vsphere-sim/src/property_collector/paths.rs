//! Property paths: which are valid, and what they lead to.

use std::collections::HashSet;

use vim_api::dynamic::{
    ManagedInfo, TypeInfo, Value, get_path, get_path_in, managed_type, type_info, type_infos,
};
use vim_api::types as t;
use vim_api::{ApiVersion, MoRef};

use crate::authorization;
use crate::fault::{Fault, Outcome, invalid_argument, invalid_property};
use crate::inventory::Wanted;
use crate::session::Session;
use crate::world::World;

/// Checks the types and the paths of a filter as far as the schema tells.
pub(super) fn check(spec: &t::PropertyFilterSpec, version: ApiVersion) -> Outcome<()> {
    for set in &spec.prop_set {
        let Some(info) = managed_type(&set.r#type) else {
            let message = format!("There is no managed object type \"{}\".", set.r#type);
            return Err(invalid_argument("specSet.propSet.type", message));
        };
        for path in &set.path_set {
            let (name, key, rest) = first_name(info, path, version)?;
            let property = info.property(name).ok_or_else(|| invalid_property(path))?;
            if !may_lead_on(property.type_name, key, rest) {
                return Err(invalid_property(path));
            }
        }
    }
    Ok(())
}

/// Whether a property of some type can have a key in brackets, and the name that follows. What is declared may be a base of
/// what is there, so that a field of any of its extensions will do.
fn may_lead_on(type_name: &str, key: Option<&str>, rest: Option<&str>) -> bool {
    let item = type_name.strip_suffix("[]");
    if item.is_none() && key.is_some() {
        return false;
    }
    let Some(rest) = rest else { return true };
    if item.is_some() && key.is_none() {
        return false;
    }
    let Some(declared) = type_info(item.unwrap_or(type_name)) else { return false };
    let name = rest.split(['.', '[']).next().unwrap_or(rest);
    let has = |info: &TypeInfo| info.fields.iter().any(|field| field.name == name);
    std::iter::successors(Some(declared), |info| info.base).any(has)
        || type_infos().any(|info| has(info) && info.is_a(declared))
}

/// The paths that a filter asks of an object, each once. Specs of several types may be about the same object.
pub(super) fn wanted(spec: &t::PropertyFilterSpec, object: &MoRef, version: ApiVersion) -> Vec<String> {
    let Some(info) = managed_type(object.type_name()) else { return Vec::new() };
    let mut paths = Vec::new();
    let mut seen = HashSet::new();
    let mut add = |path: &str| {
        if seen.insert(path.to_owned()) {
            paths.push(path.to_owned());
        }
    };
    for set in spec.prop_set.iter().filter(|set| info.is_a(&set.r#type)) {
        if set.all == Some(true) {
            let mut at = Some(info);
            while let Some(level) = at {
                let known = level.properties.iter().filter(|property| property.since() <= version);
                known.for_each(|property| add(property.name));
                at = level.base;
            }
        }
        set.path_set.iter().for_each(|path| add(path));
    }
    paths
}

/// The value at a path; `None` if it is not set.
pub(super) fn read(
    world: &World,
    session: Option<&Session>,
    object: &MoRef,
    path: &str,
    version: ApiVersion,
) -> Outcome<Option<Value>> {
    let Some(info) = managed_type(object.type_name()) else { return Err(invalid_property(path)) };
    let (name, key, rest) = first_name(info, path, version)?;
    let Some(property) = info.property(name) else { return Err(invalid_property(path)) };
    let Some(node) = world.node(object, session) else { return Ok(None) };
    if let (Some(kept), Some(rest), None) = (world.kept(node, name), rest, key) {
        authorization::may_read(world, session, object, property)?;
        return get_path_in(version, kept, rest).map_err(|_| invalid_property(path));
    }
    // What stands behind a key is looked for in all of them.
    let wanted = Wanted { name, rest: rest.filter(|_| key.is_none()) };
    let read = || world.property(node, wanted, session);
    let Some(value) = authorization::property(world, session, object, property, read)? else {
        return Ok(None);
    };
    let value = match key {
        None => value,
        Some(key) => match keyed(value, key) {
            Some(item) => item,
            None => return Ok(None),
        },
    };
    match (rest, value.as_object()) {
        (None, _) => Ok(Some(value)),
        (Some(rest), Some(found)) => get_path_in(version, found, rest).map_err(|_| invalid_property(path)),
        (Some(_), None) => Err(invalid_property(path)),
    }
}

/// What was read, or the refusal where the privilege for it is missing; anything else that is wrong ends the call.
pub(super) fn permitted<T>(read: Outcome<T>) -> Outcome<Result<T, Fault>> {
    match read {
        Ok(value) => Ok(Ok(value)),
        // A lost session is a refusal of that type too, and not one to be passed over.
        Err(refused)
            if refused.fault.is::<t::NoPermission>() && !refused.fault.is::<t::NotAuthenticated>() =>
        {
            Ok(Err(refused))
        }
        Err(fault) => Err(fault),
    }
}

/// The first name of a path, the key in brackets behind it, and what follows the dot.
fn first_name<'p>(
    info: &ManagedInfo,
    path: &'p str,
    version: ApiVersion,
) -> Outcome<(&'p str, Option<&'p str>, Option<&'p str>)> {
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, tail) = path.split_at(end);
    let known = info.property(name).is_some_and(|property| property.since() <= version);
    // Deeper brackets are checked here too, as a walk may end before it reaches them.
    let balanced = path.split('[').skip(1).all(|part| part.contains(']'));
    if !known || !balanced {
        return Err(invalid_property(path));
    }
    let (key, tail) = match tail.strip_prefix('[') {
        Some(rest) => {
            let (key, tail) = rest.split_once(']').ok_or_else(|| invalid_property(path))?;
            (Some(key.trim_matches('"')), tail)
        }
        None => (None, tail),
    };
    match tail.strip_prefix('.') {
        Some("") => Err(invalid_property(path)),
        Some(rest) => Ok((name, key, Some(rest))),
        None if tail.is_empty() => Ok((name, key, None)),
        None => Err(invalid_property(path)),
    }
}

fn keyed(value: Value, key: &str) -> Option<Value> {
    let Value::Array(array) = value else { return None };
    array.into_items().into_iter().find(|item| match item.as_object().map(|object| get_path(object, "key")) {
        Some(Ok(Some(Value::Int(found)))) => found.to_string() == key,
        Some(Ok(Some(Value::String(found)))) => found == key,
        _ => false,
    })
}
