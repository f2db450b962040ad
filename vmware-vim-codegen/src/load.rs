//! Puts the WSDL, the schema and the sidecar together.

mod data;
mod managed;
mod names;
mod versions;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::schema::{self, Source};
use crate::sidecar::{self, Sidecar};
use crate::wsdl;

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
    let wsdl_file = dir.join("vim.wsdl");
    let mut wsdl = wsdl::read(&read_file(&wsdl_file)?, &dir).map_err(|e| e.in_file(&wsdl_file))?;

    let schema_file = dir.join("vim-schema.xsd");
    let (source, schema_file) = match wsdl.schema.take() {
        _ if schema_file.exists() => (Source::File(schema_file.clone()), schema_file),
        Some(text) => (Source::Text(text), wsdl_file.clone()),
        None => {
            let message = "there is no embedded <schema>, and no vim-schema.xsd beside the file";
            return Err(Error::new(ErrorKind::Wsdl, message).in_file(wsdl_file));
        }
    };
    let schema = schema::read(source, &wsdl.service_ns).map_err(|e| e.in_file(schema_file))?;

    let sidecar = match sidecar {
        None => None,
        Some(file) => {
            let sidecar = sidecar::read(&read_file(file)?).map_err(|e| e.in_file(file))?;
            agree_on_service(&sidecar, &wsdl).map_err(|e| e.in_file(file))?;
            Some(sidecar)
        }
    };
    let sidecar = sidecar.as_ref();
    let versions = Versions::new(sidecar, &wsdl.version)?;
    let names = Names::new(&schema, &wsdl, sidecar)?;
    let types = data::types(&schema, &names, &versions, sidecar)?;
    let enums = data::enums(&schema, &versions, sidecar)?;
    let managed = managed::managed(&schema, &wsdl, &names, &versions, sidecar, &types)?;
    let version = sidecar.map_or(wsdl.version, |s| s.version.clone());
    Ok(Model { service_ns: wsdl.service_ns, version, versions: versions.into_list(), types, enums, managed })
}

fn agree_on_service(sidecar: &Sidecar, wsdl: &wsdl::Wsdl) -> Result<()> {
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
