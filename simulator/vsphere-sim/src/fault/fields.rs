//! A fault's fields, given as JSON.

use serde_json::{Map, Value as Json};
use vim_api::ApiVersion;
use vim_api::dynamic::{Element, Poly, TypeInfo, Value, get_path, set_path};
use vim_api::types as t;
use vim_api::xml::{Limits, Reader, Writer};

use super::Fault;

/// The same fault with these fields filled in.
///
/// # Errors
/// In words, which field is wrong and what there would be.
pub(crate) fn with_fields(fault: &Fault, fields: &Map<String, Json>) -> Result<Fault, String> {
    let mut object = fault.fault.clone().into_object();
    for (name, json) in fields {
        let wrong = |why: &dyn std::fmt::Display| format!("the field {name:?} in \"fields\": {why}");
        if get_path(&*object, name).is_err() {
            let known = known_fields(object.type_info());
            return Err(wrong(&format!("{} has the fields {}", object.type_name(), known.join(", "))));
        }
        let value = read(object.type_info(), name, json).map_err(|why| wrong(&why))?;
        set_path(&mut *object, name, Some(value)).map_err(|error| wrong(&error))?;
    }
    let fault_of = |object| Poly::try_from_object(object).map_err(|_| "no fault any more".to_owned());
    Ok(Fault { fault: fault_of(object)?, message: fault.message.clone() })
}

/// The value of one field, read as a server's answer would be: through the table of the type.
fn read(info: &TypeInfo, name: &str, json: &Json) -> Result<Value, String> {
    let mut writer = Writer::new(ApiVersion::LATEST);
    writer.open_typed("fault", false, info.name);
    write(&mut writer, name, json)?;
    writer.close("fault");
    let xml = writer.finish();
    let decoded =
        Reader::fragment(&xml, Limits::default()).and_then(|mut reader| match reader.next_child()? {
            Some(start) => Poly::<t::MethodFault>::decode(&mut reader, &start),
            None => Err(reader.unexpected("nothing was written".to_owned())),
        });
    let decoded = decoded.map_err(|error| error.to_string())?;
    match get_path(decoded.as_object(), name) {
        Ok(Some(Value::MoRef(reference))) if reference.type_name().is_empty() => {
            Err("a reference is {\"type\": .., \"value\": ..}".to_owned())
        }
        Ok(Some(value)) => Ok(value),
        _ => Err(format!("{json} is no value for it")),
    }
}

fn write(writer: &mut Writer, name: &str, json: &Json) -> Result<(), String> {
    match json {
        Json::Null => return Err("null is no value; leave the field out".to_owned()),
        Json::Array(items) => return items.iter().try_for_each(|item| write(writer, name, item)),
        Json::Object(fields) => {
            let type_name = fields.get("type").and_then(Json::as_str);
            let value = fields.get("value").and_then(Json::as_str);
            match (type_name, value) {
                (Some(type_name), Some(value)) if fields.len() == 2 => {
                    writer.open_with(name, &[("type", type_name)]);
                    writer.text(value);
                }
                (type_name, _) => {
                    match type_name {
                        Some(type_name) => writer.open_typed(name, false, type_name),
                        None => writer.open(name),
                    }
                    for (inner, json) in fields.iter().filter(|(inner, _)| *inner != "type") {
                        write(writer, inner, json)?;
                    }
                }
            }
        }
        Json::String(text) => {
            writer.open(name);
            writer.text(text);
        }
        Json::Bool(_) | Json::Number(_) => {
            writer.open(name);
            writer.display(json);
        }
    }
    writer.close(name);
    Ok(())
}

fn known_fields(info: &TypeInfo) -> Vec<String> {
    let mut names: Vec<String> = info.fields.iter().map(|field| format!("\"{}\"", field.name)).collect();
    if let Some(base) = info.base {
        names.extend(known_fields(base));
    }
    names
}
