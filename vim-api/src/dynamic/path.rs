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
/// the item whose field `key` has that value; in quotes it may hold any character but `"`. `None` when some field on the
/// way is not set, or no item has that key.
///
/// # Errors
/// When a segment is no field of the type that is met there, or the brackets are not closed.
pub fn get_path(object: &dyn Object, path: &str) -> Result<Option<Value>, PathError> {
    let no_field =
        |name: &str| PathError { segment: name.to_owned(), type_name: object.type_name().to_owned() };
    let segment = Segment::first_of(path).ok_or_else(|| no_field(path))?;
    let slot = find_slot(object, segment.name).ok_or_else(|| no_field(segment.name))?;
    if let Some(key) = segment.key {
        let Some(Value::Array(array)) = slot.value() else { return Ok(None) };
        let item = array.into_items().into_iter().find(|item| key_of(item).as_deref() == Some(key));
        return match (item, segment.rest) {
            (Some(item), None) => Ok(Some(item)),
            (Some(item), Some(rest)) => item.as_object().map_or(Ok(None), |object| get_path(object, rest)),
            (None, _) => Ok(None),
        };
    }
    match segment.rest {
        None => Ok(slot.value()),
        Some(rest) => slot.object().map_or(Ok(None), |object| get_path(object, rest)),
    }
}

/// `name`, `name[key]` or `name["key"]`, and what follows behind a dot.
struct Segment<'a> {
    name: &'a str,
    key: Option<&'a str>,
    rest: Option<&'a str>,
}

impl<'a> Segment<'a> {
    fn first_of(path: &'a str) -> Option<Self> {
        let (name, tail) = path.split_at(path.find(['.', '[']).unwrap_or(path.len()));
        let (key, tail) = match (tail.strip_prefix("[\""), tail.strip_prefix('[')) {
            (Some(quoted), _) => quoted.split_once("\"]").map(|(key, tail)| (Some(key), tail))?,
            (None, Some(plain)) => plain.split_once(']').map(|(key, tail)| (Some(key), tail))?,
            (None, None) => (None, tail),
        };
        let rest = match tail {
            "" => None,
            _ => Some(tail.strip_prefix('.')?),
        };
        Some(Self { name, key, rest })
    }
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
