use std::fmt;

use super::{Object, TypeInfo};
use crate::xml::{Reader, Start, Writer, XmlError};

/// Longest chain of types, each extending the next. The schema's longest has 7.
const MAX_LEVELS: usize = 16;

/// Fills `object` from the current element.
pub(crate) fn decode_object(
    object: &mut dyn Object,
    reader: &mut Reader<'_>,
    start: &Start<'_>,
) -> Result<(), XmlError> {
    let info = object.type_info();
    if let Some(sent) = start.xsi_type()
        && sent.local != info.name
    {
        object.extra_mut().set_type_name(&sent.local);
    }
    let fields = Fields::of(info);
    let mut cursor = Cursor { level: 0, index: 0 };
    while let Some(child) = reader.next_child()? {
        match fields.find(cursor, child.local()) {
            Some(found) => {
                cursor = found;
                let Some(slot) = slot_mut(object, fields.hops(found), found.index) else {
                    return Err(reader.unexpected(format!("no slot for <{}>", child.local())));
                };
                slot.decode(reader, &child)?;
            }
            None => {
                let xml = reader.capture(&child)?;
                object.extra_mut().push(child.local(), xml);
            }
        }
    }
    Ok(())
}

/// Writes `object` as an element. `xsi:type` stands on it unless the type is just the declared one.
pub(crate) fn encode_object(
    object: &dyn Object,
    name: &str,
    declared: Option<&'static TypeInfo>,
    writer: &mut Writer,
) {
    let type_name = object.type_name();
    if declared.is_some_and(|d| d.name == type_name) {
        writer.open(name);
    } else {
        writer.open_typed(name, false, type_name);
    }
    encode_fields(object, writer);
    for element in object.extra().elements() {
        writer.raw(element.xml());
    }
    writer.close(name);
}

fn encode_fields(object: &dyn Object, writer: &mut Writer) {
    if let Some(base) = object.base() {
        encode_fields(base, writer);
    }
    let version = writer.version();
    for (index, field) in object.type_info().fields.iter().enumerate() {
        if field.since() <= version
            && let Some(slot) = object.slot(index)
        {
            slot.encode(field.name, writer);
        }
    }
}

/// `Debug` of every generated type. Secrets are named and not shown; what is not set is left out.
pub(crate) fn fmt_object(object: &dyn Object, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut out = f.debug_struct(object.type_name());
    fmt_fields(object, &mut out);
    for element in object.extra().elements() {
        out.field(element.name(), &element.xml());
    }
    out.finish()
}

fn fmt_fields(object: &dyn Object, out: &mut fmt::DebugStruct<'_, '_>) {
    if let Some(base) = object.base() {
        fmt_fields(base, out);
    }
    for (index, field) in object.type_info().fields.iter().enumerate() {
        let Some(slot) = object.slot(index).filter(|slot| slot.is_set()) else { continue };
        if field.secret {
            out.field(field.name, &format_args!("[secret]"));
        } else {
            out.field(field.name, &slot);
        }
    }
}

fn slot_mut(object: &mut dyn Object, hops: usize, index: usize) -> Option<&mut dyn super::Slot> {
    let mut at = object;
    for _ in 0..hops {
        at = at.base_mut()?;
    }
    at.slot_mut(index)
}

/// The fields of a type and of all it extends, the root's first, as they come on the wire.
struct Fields {
    levels: [Option<&'static TypeInfo>; MAX_LEVELS],
    count: usize,
}

/// A field: which level counted from the root, and which field of that level.
#[derive(Clone, Copy)]
struct Cursor {
    level: usize,
    index: usize,
}

impl Fields {
    fn of(info: &'static TypeInfo) -> Self {
        let mut levels = [None; MAX_LEVELS];
        let mut count = 0;
        let mut at = Some(info);
        while let Some(level) = at {
            if count == MAX_LEVELS {
                break;
            }
            levels[count] = Some(level);
            count += 1;
            at = level.base;
        }
        levels[..count].reverse();
        Self { levels, count }
    }

    /// Elements come in schema order, so the search goes on from the last one found, and only then from the start:
    /// some servers send another order.
    fn find(&self, from: Cursor, name: &str) -> Option<Cursor> {
        self.scan(from, Cursor { level: self.count, index: 0 }, name)
            .or_else(|| self.scan(Cursor { level: 0, index: 0 }, from, name))
    }

    fn scan(&self, from: Cursor, to: Cursor, name: &str) -> Option<Cursor> {
        for level in from.level..=to.level.min(self.count.saturating_sub(1)) {
            let fields = self.levels[level]?.fields;
            let first = if level == from.level { from.index } else { 0 };
            let last = if level == to.level { to.index } else { fields.len() };
            for (offset, field) in fields.get(first..last)?.iter().enumerate() {
                if field.name == name {
                    return Some(Cursor { level, index: first + offset });
                }
            }
        }
        None
    }

    /// How many bases lie between the object itself and the field's owner.
    fn hops(&self, at: Cursor) -> usize {
        self.count - 1 - at.level
    }
}
