use std::fmt;

use super::{Element, Object, Slot, TypeInfo, Value};
use crate::version::ApiVersion;
use crate::xml::{Limits, Reader, Writer};

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
    get_path_in(ApiVersion::LATEST, object, path)
}

/// As [`get_path`], for who speaks `version` of the API: fields that are newer are not there.
///
/// # Errors
/// As [`get_path`].
pub fn get_path_in(version: ApiVersion, object: &dyn Object, path: &str) -> Result<Option<Value>, PathError> {
    let no_field =
        |name: &str| PathError { segment: name.to_owned(), type_name: object.type_name().to_owned() };
    let segment = Segment::first_of(path).ok_or_else(|| no_field(path))?;
    let slot = find_slot(version, object, segment.name).ok_or_else(|| no_field(segment.name))?;
    if let Some(key) = segment.key {
        let Some(Value::Array(array)) = slot.value() else { return Ok(None) };
        let item = array.into_items().into_iter().find(|item| key_of(item).as_deref() == Some(key));
        return match (item, segment.rest) {
            (Some(item), None) => Ok(Some(item)),
            (Some(item), Some(rest)) => {
                item.as_object().map_or(Ok(None), |object| get_path_in(version, object, rest))
            }
            (None, _) => Ok(None),
        };
    }
    match segment.rest {
        None => Ok(slot.value()),
        Some(rest) => slot.object().map_or(Ok(None), |object| get_path_in(version, object, rest)),
    }
}

/// Changes the value at a property path below `object`, as an update of the PropertyCollector says it: `None` unsets a
/// field, and removes the item that a key in brackets names; an item that is not there yet is added.
///
/// # Errors
/// As [`get_path`]; also when a field on the way is not set, or takes no value of that type. `object` is unchanged then.
pub fn set_path(object: &mut dyn Object, path: &str, value: Option<Value>) -> Result<(), PathError> {
    let type_name = object.type_name().to_owned();
    let refused = |name: &str| PathError { segment: name.to_owned(), type_name: type_name.clone() };
    let segment = Segment::first_of(path).ok_or_else(|| refused(path))?;
    let mut field = find_slot_mut(object, segment.name).ok_or_else(|| refused(segment.name))?;
    let changed = match (segment.key, segment.rest) {
        (None, None) => value,
        (None, Some(rest)) => {
            let mut whole = field.slot.value().ok_or_else(|| refused(segment.name))?;
            let Value::Object(inner) = &mut whole else { return Err(refused(segment.name)) };
            set_path(&mut **inner, rest, value)?;
            Some(whole)
        }
        (Some(key), rest) => {
            let (item_name, mut items) = match field.slot.value() {
                Some(Value::Array(array)) => (array.item_name().to_owned(), array.into_items()),
                Some(_) => return Err(refused(segment.name)),
                None => (String::new(), Vec::new()),
            };
            set_item(&mut items, key, rest, value)?;
            Some(Value::array(&item_name, items))
        }
    };
    if assign(&mut field, segment.name, changed) { Ok(()) } else { Err(refused(segment.name)) }
}

/// As [`set_path`], below a value: `path` begins with the dot or the bracket that follows the value's own path.
pub(crate) fn set_below(value: &mut Value, path: &str, new: Option<Value>) -> Result<(), PathError> {
    let refused = || PathError { segment: path.to_owned(), type_name: "a value".to_owned() };
    match (path.strip_prefix('.'), &mut *value) {
        (Some(path), Value::Object(object)) => set_path(&mut **object, path, new),
        (None, Value::Array(array)) => {
            let name = format!("items{path}");
            let segment = Segment::first_of(&name).ok_or_else(refused)?;
            let key = segment.key.ok_or_else(refused)?;
            let item_name = array.item_name().to_owned();
            let mut items = std::mem::take(array).into_items();
            let result = set_item(&mut items, key, segment.rest, new);
            *value = Value::array(&item_name, items);
            result
        }
        _ => Err(refused()),
    }
}

fn set_item(
    items: &mut Vec<Value>,
    key: &str,
    rest: Option<&str>,
    value: Option<Value>,
) -> Result<(), PathError> {
    let refused = || PathError { segment: format!("[{key}]"), type_name: "a list".to_owned() };
    let at = items.iter().position(|item| key_of(item).as_deref() == Some(key));
    match (at.and_then(|at| items.get_mut(at)), rest, value) {
        (Some(Value::Object(inner)), Some(rest), value) => return set_path(&mut **inner, rest, value),
        (_, Some(_), _) => return Err(refused()),
        (Some(item), None, Some(value)) => *item = value,
        (Some(_), None, None) => items.retain(|item| key_of(item).as_deref() != Some(key)),
        (None, None, Some(value)) => items.push(value),
        (None, None, None) => {}
    }
    Ok(())
}

/// Through the wire form, which every field can read: a second way into each of 20,000 fields would be compiled for all.
fn assign(field: &mut Found<'_>, name: &str, value: Option<Value>) -> bool {
    let before = written(name, field.slot.value());
    field.clear();
    if fill(field.slot, &written(name, value)) {
        return true;
    }
    field.clear();
    fill(field.slot, &before);
    false
}

fn written(name: &str, value: Option<Value>) -> String {
    let mut writer = Writer::new(ApiVersion::LATEST);
    writer.open("items");
    match value {
        None => {}
        Some(Value::Array(array)) => {
            for item in array.items() {
                Element::encode(item, name, &mut writer);
            }
        }
        Some(one) => Element::encode(&one, name, &mut writer),
    }
    writer.close("items");
    writer.finish()
}

fn fill(slot: &mut dyn Slot, xml: &str) -> bool {
    // What is written here was within the limits as a part of an answer.
    let limits = Limits { max_depth: usize::MAX, max_bytes: usize::MAX };
    let mut read = || -> Result<(), crate::xml::XmlError> {
        let mut reader = Reader::fragment(xml, limits)?;
        reader.expect_child("items")?;
        while let Some(start) = reader.next_child()? {
            slot.decode(&mut reader, &start)?;
        }
        Ok(())
    };
    read().is_ok()
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

fn find_slot<'a>(version: ApiVersion, object: &'a dyn Object, name: &str) -> Option<&'a dyn Slot> {
    let mut at = object;
    loop {
        let mut fields = at.type_info().fields.iter();
        if let Some(index) = fields.position(|field| field.name == name && field.since() <= version) {
            return at.slot(index);
        }
        at = at.base()?;
    }
}

/// A field, and the type and index by which a fresh one can be made.
struct Found<'a> {
    slot: &'a mut dyn Slot,
    level: &'static TypeInfo,
    index: usize,
}

impl Found<'_> {
    /// Makes the field as it is in a new value. `xsi:nil` would do another thing: in a list it is one more item.
    fn clear(&mut self) {
        let fresh = self.level.instantiate();
        if let Some(fresh) = fresh.slot(self.index) {
            self.slot.copy_from(fresh);
            // An object that is not set is copied as an empty one.
            if self.slot.is_set() && !fresh.is_set() {
                self.slot.set_nil();
            }
        }
    }
}

fn find_slot_mut<'a>(object: &'a mut dyn Object, name: &str) -> Option<Found<'a>> {
    let level = object.type_info();
    match level.fields.iter().position(|field| field.name == name) {
        Some(index) => object.slot_mut(index).map(|slot| Found { slot, level, index }),
        None => find_slot_mut(object.base_mut()?, name),
    }
}

fn key_of(item: &Value) -> Option<String> {
    match find_slot(ApiVersion::LATEST, item.as_object()?, "key")?.value()? {
        Value::Int(key) => Some(key.to_string()),
        Value::String(key) => Some(key),
        _ => None,
    }
}
