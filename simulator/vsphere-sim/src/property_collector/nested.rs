//! What has changed inside of a value, for filters that want no more than that.

use vim_api::ApiVersion;
use vim_api::dynamic::{Object, Value, get_path};
use vim_api::types as t;

use crate::wire::fingerprint;

/// The changes that lead from one value of a property to another, each by the path of the innermost field or item that
/// differs. Lists of items with keys change item by item, as long as what stays keeps its order and what is new comes
/// last; everything else is told as a whole. What is newer than the client's version is passed over.
pub(super) fn changes(path: &str, told: &Value, now: &Value, version: ApiVersion) -> Vec<t::PropertyChange> {
    let mut found = Vec::new();
    compare(path, told, now, version, &mut found);
    found
}

fn compare(path: &str, told: &Value, now: &Value, version: ApiVersion, found: &mut Vec<t::PropertyChange>) {
    match (told, now) {
        (Value::Object(told), Value::Object(now)) if told.type_name() == now.type_name() => {
            fields(path, &**told, &**now, version, found);
        }
        (Value::Array(old), Value::Array(new)) if old.item_name() == new.item_name() => {
            match by_key(old.items(), new.items()) {
                Some(items) => items.into_iter().for_each(|(key, told, now)| {
                    pair(&format!("{path}[{key}]"), true, told, now, version, found);
                }),
                None => pair(path, false, None, Some(now), version, found),
            }
        }
        _ => pair(path, false, None, Some(now), version, found),
    }
}

fn fields(
    path: &str,
    told: &dyn Object,
    now: &dyn Object,
    version: ApiVersion,
    found: &mut Vec<t::PropertyChange>,
) {
    let mut level = Some(now.type_info());
    while let Some(info) = level {
        for field in info.fields.iter().filter(|field| field.since() <= version) {
            // Both are of the type that has the field.
            let (Ok(told), Ok(now)) = (get_path(told, field.name), get_path(now, field.name)) else {
                continue;
            };
            pair(&format!("{path}.{}", field.name), false, told.as_ref(), now.as_ref(), version, found);
        }
        level = info.base;
    }
}

/// One field or item, which may have come or gone.
fn pair(
    path: &str,
    is_item: bool,
    told: Option<&Value>,
    now: Option<&Value>,
    version: ApiVersion,
    found: &mut Vec<t::PropertyChange>,
) {
    use t::PropertyChangeOp as Op;
    let op = match (told, now) {
        (None, None) => return,
        (Some(told), Some(now)) => {
            if fingerprint(told) != fingerprint(now) {
                compare(path, told, now, version, found);
            }
            return;
        }
        (None, Some(_)) if is_item => Op::Add,
        (Some(_), None) if is_item => Op::Remove,
        _ => Op::Assign,
    };
    let name = path.to_owned();
    found.push(t::PropertyChange { name, op, val: now.cloned(), ..Default::default() });
}

/// An item by its key as a path writes it: as it was told, and as it is now.
type Item<'v> = (String, Option<&'v Value>, Option<&'v Value>);

/// The items that went, those that stayed and those that came. `None` where the items have no keys, or changed places.
fn by_key<'v>(told: &'v [Value], now: &'v [Value]) -> Option<Vec<Item<'v>>> {
    let keys = |items: &[Value]| -> Option<Vec<String>> {
        let keys: Vec<String> = items.iter().map(key_of).collect::<Option<_>>()?;
        let is_unique = keys.iter().enumerate().all(|(at, key)| !keys[..at].contains(key));
        is_unique.then_some(keys)
    };
    let (old, new) = (keys(told)?, keys(now)?);
    let stayed: Vec<&String> = old.iter().filter(|key| new.contains(key)).collect();
    if !new.iter().take(stayed.len()).eq(stayed.iter().copied()) {
        return None;
    }
    let gone = old.iter().zip(told).filter(|(key, _)| !new.contains(key));
    let gone = gone.map(|(key, item)| (key.clone(), Some(item), None));
    let here = new.iter().zip(now).map(|(key, item)| {
        let before = old.iter().zip(told).find(|(other, _)| *other == key).map(|(_, before)| before);
        (key.clone(), before, Some(item))
    });
    Some(gone.chain(here).collect())
}

fn key_of(item: &Value) -> Option<String> {
    match get_path(item.as_object()?, "key").ok()?? {
        Value::Int(key) => Some(key.to_string()),
        // A path can't hold these.
        Value::String(key) if !key.contains('"') => Some(format!("\"{key}\"")),
        _ => None,
    }
}
