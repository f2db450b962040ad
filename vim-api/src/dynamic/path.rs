use std::fmt;

use super::{Object, Slot, Value};

/// Why a property path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathError {
    /// The part of the path that no field answers to.
    pub segment: String,
    /// The type that was asked for it.
    pub type_name: String,
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no field \"{}\"", self.type_name, self.segment)
    }
}

impl std::error::Error for PathError {}

/// The value at a property path below `object`, such as `hardware.device[2000].backing.fileName`. A key in brackets picks
/// the item whose field `key` has that value, with or without quotes. `None` when some field on the way is not set.
///
/// # Errors
/// When a segment is no field of the type that is met there.
pub fn get_path(object: &dyn Object, path: &str) -> Result<Option<Value>, PathError> {
    let (segment, rest) = split_segment(path);
    let (name, key) = match segment.split_once('[') {
        Some((name, key)) => (name, Some(key.trim_end_matches(']').trim_matches('"'))),
        None => (segment, None),
    };
    let slot = find_slot(object, name).ok_or_else(|| PathError {
        segment: name.to_owned(),
        type_name: object.type_name().to_owned(),
    })?;
    if let Some(key) = key {
        let Some(Value::Array(array)) = slot.value() else { return Ok(None) };
        let item = array.into_items().into_iter().find(|item| key_of(item).as_deref() == Some(key));
        return match (item, rest) {
            (Some(item), None) => Ok(Some(item)),
            (Some(item), Some(rest)) => item.as_object().map_or(Ok(None), |object| get_path(object, rest)),
            (None, _) => Ok(None),
        };
    }
    match rest {
        None => Ok(slot.value()),
        Some(rest) => slot.object().map_or(Ok(None), |object| get_path(object, rest)),
    }
}

/// The first segment, and what follows its dot. A dot inside of brackets belongs to the key.
fn split_segment(path: &str) -> (&str, Option<&str>) {
    let mut in_key = false;
    for (at, c) in path.char_indices() {
        match c {
            '[' => in_key = true,
            ']' => in_key = false,
            '.' if !in_key => return (&path[..at], Some(&path[at + 1..])),
            _ => {}
        }
    }
    (path, None)
}

fn find_slot<'a>(object: &'a dyn Object, name: &str) -> Option<&'a dyn Slot> {
    let mut at = object;
    loop {
        if let Some(index) = at.type_info().fields.iter().position(|field| field.name == name) {
            return at.slot(index);
        }
        at = at.base()?;
    }
}

fn key_of(item: &Value) -> Option<String> {
    match find_slot(item.as_object()?, "key")?.value()? {
        Value::Int(key) => Some(key.to_string()),
        Value::String(key) => Some(key),
        _ => None,
    }
}
