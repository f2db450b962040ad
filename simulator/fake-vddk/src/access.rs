//! PrepareForAccess, EndAccess and Cleanup.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use sim_store::state::rights::{DISABLE_METHODS, ENABLE_METHODS};

use crate::code::{Answer, Code};
use crate::connection::{Params, Server, VmSpec, missing};
use crate::ffi::log;
use crate::hotadd::{self, Report};
use crate::library::Library;

/// Longest identity that the real library takes, in characters.
const IDENTITY: usize = 50;

/// Prepares a machine: it must not be prepared already.
pub(crate) fn prepare(library: &Library, params: &Params, identity: &str) -> Answer<()> {
    change(library, params, identity, "PrepareForAccess", DISABLE_METHODS, |prepared, machine| {
        if let Some(holder) = prepared.get(machine) {
            log::warn(&format!("{machine} was prepared by {holder:?} already"));
            return Err(Code::OPERATION_DISABLED);
        }
        prepared.insert(machine.to_owned(), identity.to_owned());
        Ok(())
    })
}

/// Ends the access of the same identity. That there is none is fine: crash clean-up calls this too.
pub(crate) fn end(library: &Library, params: &Params, identity: &str) -> Answer<()> {
    change(library, params, identity, "EndAccess", ENABLE_METHODS, |prepared, machine| {
        match prepared.get(machine) {
            Some(holder) if holder != identity => {
                log::warn(&format!("{machine} was prepared by {holder:?}, not by {identity:?}"));
                Err(Code::OPERATION_DISABLED)
            }
            _ => {
                prepared.remove(machine);
                Ok(())
            }
        }
    })
}

/// Detaches what processes that died left attached of a server's disks. There is a report beside a failure, too.
pub(crate) fn cleanup(library: &Library, params: &Params) -> Answer<(Report, Answer<()>)> {
    if params.is_local() {
        return Ok((Report::default(), Ok(())));
    }
    if params.vm.is_some() {
        log::warn("Cleanup wants no machine");
        return Err(Code::INVALID_ARG);
    }
    let (server, _) = Server::log_in(library, params)?;
    library.faults_of(&server.data_dir).suffer("Cleanup", "")?.settle()?;
    let report = hotadd::clean_up(&library.settings, &server)?;
    let answer = if report.remaining > 0 { Err(Code::OBJECT_IS_BUSY) } else { Ok(()) };
    Ok((report, answer))
}

fn change(
    library: &Library,
    params: &Params,
    identity: &str,
    function: &str,
    privilege: &str,
    edit: impl FnOnce(&mut BTreeMap<String, String>, &str) -> Answer<()>,
) -> Answer<()> {
    if identity.is_empty() || identity.chars().count() > IDENTITY {
        return Err(Code::INVALID_ARG);
    }
    let vm = params.vm.as_deref().ok_or_else(|| missing("vmxSpec"))?;
    let vm = VmSpec::parse(vm)?;
    let (server, inventory) = Server::log_in(library, params)?;
    let vm = vm.find(&inventory)?;
    // The lack of it reads as one of a licence, with the real library too.
    server.require(&inventory, vm, privilege, Code::NO_LICENCE)?;
    let machine = &vm.moref;
    library.faults_of(&server.data_dir).suffer(function, machine)?.settle()?;
    edit_file(&server.data_dir, |prepared| edit(prepared, machine))
}

/// Changes `access.json`, which other processes may want to change too.
fn edit_file(data_dir: &Path, edit: impl FnOnce(&mut BTreeMap<String, String>) -> Answer<()>) -> Answer<()> {
    let failed = |error: std::io::Error| {
        log::warn(&format!("the record of prepared machines cannot be changed: {error}"));
        Code::FILE_ERROR
    };
    let lock = File::create(data_dir.join("access.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let path = data_dir.join("access.json");
    let mut prepared = match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(failed(error)),
    };
    edit(&mut prepared)?;
    let bytes = serde_json::to_vec_pretty(&prepared).map_err(|error| failed(error.into()))?;
    // Readers take no lock: they must find the old file or the new one.
    let temporary = data_dir.join("access.json.tmp");
    fs::write(&temporary, bytes).map_err(failed)?;
    fs::rename(&temporary, &path).map_err(failed)
}
