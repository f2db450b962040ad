//! Puts the WSDL, the schema and the sidecar together.

mod data;
mod managed;
mod names;
mod versions;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Model, Service};
use crate::schema::{self, Schema, Source};
use crate::sidecar::{self, Sidecar};
use crate::wsdl::{self, Wsdl};

use names::Names;
use versions::Versions;

/// Reads the WSDL set in the folder `dir` and, if given, its sidecar.
///
/// The folder must hold `vim.wsdl`. The schema is `vim-schema.xsd` if that exists and otherwise the one embedded in the
/// WSDL; the files they include are looked for beside them. Without a sidecar every `since` is 0, references are
/// untyped and all operations belong to a managed type `ManagedObject`, as do those a sidecar does not name.
///
/// # Errors
///
/// Any [`ErrorKind`] except [`ErrorKind::Stale`]: an unreadable file, malformed XML or JSON, a name that is missing or
/// defined twice, an inheritance cycle, and everything a sidecar says that the WSDL contradicts.
pub fn load(dir: &Path, sidecar: Option<&Path>) -> Result<Model> {
    let dir = dir.canonicalize().map_err(|e| unreadable(dir, e))?;
    let (wsdl, schema) = read_set(&dir, "vim", None)?;
    let sidecar = sidecar.map(|file| read_sidecar(file, &wsdl)).transpose()?;
    let sidecar = sidecar.as_ref();
    let versions = Versions::new(sidecar, &wsdl.version)?;
    let mut model = Model {
        version: sidecar.map_or_else(|| wsdl.version.clone(), |s| s.version.clone()),
        ..Model::default()
    };
    add(&mut model, &wsdl, &schema, &versions, sidecar)?;
    model.versions = versions.into_list();
    Ok(model)
}

/// Adds a service that imports the types of the model: the WSDL file `wsdl`, such as `pbm.wsdl`, with `pbm-schema.xsd` (where the
/// schema is not embedded) and `pbm-sidecar.json` beside it. The model's first service is what it imports, and its versions
/// are told by the versions of that one.
///
/// # Errors
///
/// As [`load()`], and [`ErrorKind::Duplicate`] for a name that the model has already.
pub fn load_beside(model: &mut Model, wsdl: &Path) -> Result<()> {
    let wsdl = wsdl.canonicalize().map_err(|e| unreadable(wsdl, e))?;
    let (Some(dir), Some(stem)) = (wsdl.parent(), wsdl.file_stem().and_then(|stem| stem.to_str())) else {
        return Err(Error::new(ErrorKind::Io, "is no WSDL file").in_file(wsdl));
    };
    let (wsdl, schema) =
        read_set(dir, stem, model.services.first().map(|main| main.namespace.clone()).as_deref())?;
    let sidecar = read_sidecar(&dir.join(format!("{stem}-sidecar.json")), &wsdl)?;
    let versions = Versions::beside(&model.versions, &sidecar)?;
    add(model, &wsdl, &schema, &versions, Some(&sidecar))
}

/// Reads `STEM.wsdl` and its schema.
fn read_set(dir: &Path, stem: &str, imported: Option<&str>) -> Result<(Wsdl, Schema)> {
    let wsdl_file = dir.join(format!("{stem}.wsdl"));
    let mut wsdl = wsdl::read(&read_file(&wsdl_file)?, dir).map_err(|e| e.in_file(&wsdl_file))?;
    let schema_file = dir.join(format!("{stem}-schema.xsd"));
    let (source, schema_file) = match wsdl.schema.take() {
        _ if schema_file.exists() => (Source::File(schema_file.clone()), schema_file),
        Some(text) => (Source::Text(text), wsdl_file.clone()),
        None => {
            let message = format!("there is no embedded <schema>, and no {stem}-schema.xsd beside the file");
            return Err(Error::new(ErrorKind::Wsdl, message).in_file(wsdl_file));
        }
    };
    let schema = schema::read(source, &wsdl.service_ns, imported).map_err(|e| e.in_file(schema_file))?;
    Ok((wsdl, schema))
}

fn read_sidecar(file: &Path, wsdl: &Wsdl) -> Result<Sidecar> {
    let sidecar = sidecar::read(&read_file(file)?).map_err(|e| e.in_file(file))?;
    agree_on_service(&sidecar, wsdl).map_err(|e| e.in_file(file))?;
    Ok(sidecar)
}

/// Adds one service to what the model has.
fn add(
    model: &mut Model,
    wsdl: &Wsdl,
    schema: &Schema,
    versions: &Versions,
    sidecar: Option<&Sidecar>,
) -> Result<()> {
    let imported = model.clone();
    let names = Names::new(schema, wsdl, sidecar, &imported)?;
    model.services.push(Service { namespace: wsdl.service_ns.clone(), versions: versions.own() });
    data::add_types(model, schema, &names, versions, sidecar)?;
    data::add_enums(model, schema, versions, sidecar)?;
    managed::add(model, schema, wsdl, &names, versions, sidecar)
}

fn agree_on_service(sidecar: &Sidecar, wsdl: &Wsdl) -> Result<()> {
    let service_ns = format!("urn:{}", sidecar.service);
    if service_ns != wsdl.service_ns {
        let message = format!("describes {service_ns:?}, but the WSDL is {:?}", wsdl.service_ns);
        return Err(Error::new(ErrorKind::Contradiction, message));
    }
    if !wsdl.version.is_empty() && wsdl.version != sidecar.version {
        let message = format!("describes version {:?}, but the WSDL is {:?}", sidecar.version, wsdl.version);
        return Err(Error::new(ErrorKind::Contradiction, message));
    }
    Ok(())
}

/// Fails if following `base` from any name comes back to it, or leaves the map.
fn check_ancestry<T>(items: &BTreeMap<String, T>, base: impl Fn(&T) -> Option<&str>) -> Result<()> {
    for (name, item) in items {
        let mut next = base(item);
        let mut steps = 0_usize;
        while let Some(ancestor) = next {
            if ancestor == name || steps > items.len() {
                return Err(Error::new(ErrorKind::Cycle, format!("type {name:?} is its own ancestor")));
            }
            let item = items.get(ancestor).ok_or_else(|| {
                Error::new(
                    ErrorKind::Dangling,
                    format!("{name:?} extends {ancestor:?}, which is not defined"),
                )
            })?;
            next = base(item);
            steps += 1;
        }
    }
    Ok(())
}

fn read_file(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|e| unreadable(path, e))
}

fn unreadable(path: &Path, source: std::io::Error) -> Error {
    Error::new(ErrorKind::Io, "cannot be read").with_source(source).in_file(path)
}
