//! Data types and enumerations.

use std::collections::{BTreeMap, BTreeSet};

use super::check_ancestry;
use super::names::{Names, card};
use super::versions::Versions;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{DataType, EnumType, Field, Model};
use crate::schema::{Element, Schema};
use crate::sidecar::{Data, Flag, Sidecar};

/// Adds the data types of the model's last service.
pub(super) fn add_types(
    model: &mut Model,
    schema: &Schema,
    names: &Names<'_>,
    versions: &Versions,
    sidecar: Option<&Sidecar>,
) -> Result<()> {
    let service = model.services.len() - 1;
    let types = &mut model.types;
    if let Some(name) = sidecar.and_then(|s| s.data.keys().find(|name| !names.data.contains(name.as_str()))) {
        return Err(unknown("data type", name));
    }
    for (name, complex) in schema.complex.iter().filter(|(name, _)| names.data.contains(name.as_str())) {
        let stated = sidecar.and_then(|s| s.data.get(name));
        let since = stated.map_or(Ok(0), |s| versions.since(name, &s.since))?;
        if let Some(field) = stated.and_then(|s| {
            s.fields.keys().find(|field| !complex.own.iter().any(|element| element.name == **field))
        }) {
            return Err(unknown("field", &format!("{name}.{field}")));
        }
        let fields = complex
            .own
            .iter()
            .map(|element| field(name, element, since, stated, names, versions))
            .collect::<Result<Vec<_>>>()?;
        let data = DataType {
            name: name.clone(),
            service,
            base: complex.base.clone(),
            fields,
            since,
            subtypes: Vec::new(),
            vmodl: stated.map(|s| s.vmodl.clone()),
        };
        types.insert(name.clone(), data);
    }
    check_ancestry(types, |t| t.base.as_deref())?;
    check_fields(types)?;
    link_subtypes(types);
    Ok(())
}

/// Adds the enumerations of the model's last service.
pub(super) fn add_enums(
    model: &mut Model,
    schema: &Schema,
    versions: &Versions,
    sidecar: Option<&Sidecar>,
) -> Result<()> {
    let service = model.services.len() - 1;
    if let Some(name) = sidecar.and_then(|s| s.enums.keys().find(|name| !schema.enums.contains_key(*name))) {
        return Err(unknown("enumeration", name));
    }
    for (name, values) in &schema.enums {
        let stated = sidecar.and_then(|s| s.enums.get(name));
        let since = stated.map_or(Ok(0), |s| versions.since(name, &s.since))?;
        let vmodl = stated.map(|s| s.vmodl.clone());
        let new = EnumType { name: name.clone(), service, values: values.clone(), since, vmodl };
        if model.enums.insert(name.clone(), new).is_some() {
            let message = format!("{name:?} is an enumeration of two services");
            return Err(Error::new(ErrorKind::Duplicate, message));
        }
    }
    Ok(())
}

fn field(
    owner: &str,
    element: &Element,
    owner_since: u8,
    owner_stated: Option<&Data>,
    names: &Names<'_>,
    versions: &Versions,
) -> Result<Field> {
    let user = format!("{owner}.{}", element.name);
    let mut ty = names.in_schema(&user, &element.ty)?;
    let card = card(element.optional, element.many);
    let mut since = owner_since;
    let mut secret = false;
    if let Some(stated) = owner_stated.and_then(|s| s.fields.get(&element.name)) {
        if let Some(text) = &stated.ty {
            ty = names.refine(&user, (ty, card), text, &stated.flags)?;
        }
        if let Some(version) = &stated.since {
            since = versions.since_within(&user, version, owner_since)?;
        }
        secret = stated.flags.contains(&Flag::Secret);
    }
    Ok(Field { name: element.name.clone(), ty, card, since, secret, privilege: None })
}

/// No field may repeat another one of the same type or of an ancestor. The chain of ancestors is known to end.
fn check_fields(types: &BTreeMap<String, DataType>) -> Result<()> {
    for data in types.values() {
        let mut seen = BTreeSet::new();
        let chain = std::iter::successors(Some(data), |t| types.get(t.base.as_deref()?));
        if let Some(field) = chain.flat_map(|t| &t.fields).find(|field| !seen.insert(field.name.as_str())) {
            let message =
                format!("{:?} has the field {:?} twice, counting inherited ones", data.name, field.name);
            return Err(Error::new(ErrorKind::Duplicate, message));
        }
    }
    Ok(())
}

fn link_subtypes(types: &mut BTreeMap<String, DataType>) {
    types.values_mut().for_each(|t| t.subtypes.clear());
    let pairs: Vec<(String, String)> =
        types.values().filter_map(|t| Some((t.base.clone()?, t.name.clone()))).collect();
    // In the map's order, so that every list comes out sorted.
    for (base, name) in pairs {
        if let Some(base) = types.get_mut(&base) {
            base.subtypes.push(name);
        }
    }
}

fn unknown(kind: &str, name: &str) -> Error {
    Error::new(
        ErrorKind::Contradiction,
        format!("the sidecar describes the {kind} {name:?}, which the schema lacks"),
    )
}
