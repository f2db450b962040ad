use std::fmt;

use super::{Below, BelowMut, Object, Slot, TypeInfo, secrets};
use crate::xml::{Reader, Start, Writer, XmlError, is_same};

/// Fills `object`, which is new, from the current element.
pub(crate) fn decode_object(
    object: &mut dyn Object,
    reader: &mut Reader<'_>,
    start: &Start<'_>,
) -> Result<(), XmlError> {
    if let Some(sent) = start.xsi_type()
        && sent.local != object.type_info().name
    {
        object.extra_mut().set_type_name(&sent.local);
    }
    let mut child = reader.next_child()?;
    loop {
        decode_in_order(object, reader, &mut child)?;
        let Some(stray) = &child else { return Ok(()) };
        if !decode_anywhere(object, reader, stray)? {
            let xml = reader.capture(stray)?;
            object.extra_mut().push(stray.local(), xml);
        }
        child = reader.next_child()?;
    }
}

/// Takes children as long as they come in the order of the schema, which servers keep to: the fields of the base first,
/// then the type's own. Leaves the first child that does not.
fn decode_in_order<'a>(
    object: &mut dyn Object,
    reader: &mut Reader<'a>,
    child: &mut Option<Start<'a>>,
) -> Result<(), XmlError> {
    if let Some(base) = object.base_mut() {
        decode_in_order(base, reader, child)?;
    }
    let mut fields = object.type_info().fields.iter().enumerate().peekable();
    while let Some(start) = child {
        // A list has several children of one name, so the field that was found is looked at again.
        while fields.next_if(|(_, field)| !is_same(field.name, start.local())).is_some() {}
        let Some(slot) = fields.peek().and_then(|(index, _)| object.slot_mut(*index)) else { break };
        decode_slot(slot, reader, start)?;
        *child = reader.next_child()?;
    }
    Ok(())
}

/// Takes a child by its name alone. `false` when no level has such a field.
fn decode_anywhere(
    object: &mut dyn Object,
    reader: &mut Reader<'_>,
    start: &Start<'_>,
) -> Result<bool, XmlError> {
    let index = object.type_info().fields.iter().position(|field| is_same(field.name, start.local()));
    if let Some(slot) = index.and_then(|index| object.slot_mut(index)) {
        return decode_slot(slot, reader, start).map(|()| true);
    }
    match object.base_mut() {
        Some(base) => decode_anywhere(base, reader, start),
        None => Ok(false),
    }
}

#[inline]
fn decode_slot(slot: &mut dyn Slot, reader: &mut Reader<'_>, start: &Start<'_>) -> Result<(), XmlError> {
    if start.is_nil() {
        slot.set_nil();
        return reader.skip();
    }
    slot.decode(reader, start)
}

/// Makes `to`, which is new and of the same type, equal to `from`.
pub(crate) fn copy_object(from: &dyn Object, to: &mut dyn Object) {
    for index in 0..from.type_info().fields.len() {
        if let (Some(from), Some(to)) = (from.slot(index), to.slot_mut(index))
            && from.is_set()
        {
            to.copy_from(from);
        }
    }
    match (from.below(), to.below_mut()) {
        (Below::Base(from), BelowMut::Base(to)) => copy_object(from, to),
        (Below::Root(from), BelowMut::Root(to)) => to.clone_from(from),
        _ => {}
    }
}

/// Writes `object` as an element. `xsi:type` stands on it unless the type is just the declared one.
pub(crate) fn encode_object(
    object: &dyn Object,
    name: &str,
    declared: Option<&'static TypeInfo>,
    writer: &mut Writer,
) {
    let object = if writer.is_answer() { object.as_of(writer.version()) } else { object };
    let type_name = object.type_name();
    if declared.is_some_and(|d| d.name == type_name) {
        writer.open(name);
    } else {
        writer.open_object(name, object.type_info().service, type_name);
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
    let info = object.type_info();
    writer.within(info.service, |writer| {
        for (index, field) in info.fields.iter().enumerate() {
            if field.since() <= version
                && let Some(slot) = object.slot(index)
            {
                slot.encode(field.name, writer);
            }
        }
    });
}

/// `Debug` of every generated type. Secrets are named and not shown; what is not set is left out.
pub(crate) fn fmt_object(object: &dyn Object, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut out = f.debug_struct(object.type_name());
    fmt_fields(object, &mut out);
    for element in object.extra().elements() {
        out.field(element.name(), element);
    }
    out.finish()
}

fn fmt_fields(object: &dyn Object, out: &mut fmt::DebugStruct<'_, '_>) {
    if let Some(base) = object.base() {
        fmt_fields(base, out);
    }
    for (index, field) in object.type_info().fields.iter().enumerate() {
        let Some(slot) = object.slot(index).filter(|slot| slot.is_set()) else { continue };
        if field.secret || secrets::is_secret(object.type_info().name, field.name) {
            out.field(field.name, &format_args!("[secret]"));
        } else {
            out.field(field.name, &slot);
        }
    }
}
