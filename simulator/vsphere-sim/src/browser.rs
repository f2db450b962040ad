//! `HostDatastoreBrowser`: looking for files on a datastore by name, type and content. Every datastore has its own, and
//! every host
//! and cluster one for all that they mount.

mod info;
mod kind;
mod pattern;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sim_store::{Datastore, DatastorePath};
use vim_api::dynamic::{Element, Poly, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::dispatch::method_not_found;
use crate::fault::{Fault, Outcome, fault, from_store, not_found};
use crate::files::{from_io, no_datastore};
use crate::host_file::is_temporary;
use crate::in_use;
use crate::inventory::tree::{Entity, Kind};
use crate::population;
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

use pattern::Patterns;

pub(crate) use kind::supported;

/// What stands before the id of a datastore or host in the id of its browser.
const PREFIX: &str = "datastoreBrowser-";

/// The browser of a host by itself.
const OF_HOST: &str = "ha-host-datastorebrowser";

/// The id of the browser of a datastore or host.
pub(crate) fn id_of(owner: &Entity) -> String {
    match owner.id.as_str() {
        "ha-host" => OF_HOST.to_owned(),
        id => format!("{PREFIX}{id}"),
    }
}

impl World {
    /// The datastore, host or cluster whose browser this is.
    pub(crate) fn browsing(&self, browser: &str) -> Option<&Entity> {
        let owner = if browser == OF_HOST { "ha-host" } else { browser.strip_prefix(PREFIX)? };
        let owner = self.stored.tree.get(owner)?;
        let has_one = matches!(
            owner.kind,
            Kind::Datastore { .. } | Kind::Host { .. } | Kind::Cluster | Kind::Standalone
        );
        has_one.then_some(owner)
    }

    /// The datastores that a browser browses.
    pub(crate) fn browsed(&self, owner: &Entity) -> Vec<MoRef<mo::Datastore>> {
        match owner.kind {
            Kind::Datastore { .. } => vec![owner.typed()],
            _ => self.datastores_of(&owner.id),
        }
    }

    /// The datastore of a path, as far as a browser browses it.
    fn browsed_at(&self, browser: &str, path: &DatastorePath) -> Option<(&Entity, &Datastore)> {
        let among = self.browsed(self.browsing(browser)?);
        let found = self.stored.tree.datastore(path.datastore())?;
        among.iter().any(|datastore| datastore.value() == found.0.id).then_some(found)
    }
}

/// A place that is looked at.
struct Folder {
    path: DatastorePath,
    host: PathBuf,
}

/// What is looked for, and what is wanted of it.
struct Search {
    datastore: MoRef<mo::Datastore>,
    query: Vec<Poly<t::FileQuery>>,
    details: t::FileQueryFlags,
    patterns: Patterns,
    folders_first: bool,
}

/// Carries out a call to a browser.
pub(crate) fn call(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    match call.method.as_str() {
        "SearchDatastore_Task" => {
            let (folder, search) = asked(shared, call)?;
            let work = move |shared: &Shared, progress: &mut Progress<'_>| {
                progress.fail_early()?;
                population::materialize_at(shared, &folder.path)?;
                Ok(Some(search.look_into(shared, &folder)?.0.to_value()))
            };
            Ok(tasks::start_apart(shared, call, user, "HostDatastoreBrowser.search", Box::new(work)))
        }
        "SearchDatastoreSubFolders_Task" => {
            let (folder, search) = asked(shared, call)?;
            let work = move |shared: &Shared, progress: &mut Progress<'_>| {
                progress.fail_early()?;
                population::materialize_below(shared, &folder.path)?;
                let found = search.look_below(shared, folder)?;
                let found = found.into_iter().map(|results| results.to_value()).collect();
                Ok(Some(Value::array("HostDatastoreBrowserSearchResults", found)))
            };
            Ok(tasks::start_apart(
                shared,
                call,
                user,
                "HostDatastoreBrowser.searchSubFolders",
                Box::new(work),
            ))
        }
        "DeleteFile" => delete(shared, call),
        _ => Err(method_not_found(call)),
    }
}

/// `DeleteFile`: a file, a folder with nothing in it, or a disk with all its parts.
fn delete(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let place = place(shared, call)?;
    population::materialize_at(shared, &place.path)?;
    let text = place.path.to_string();
    let failed = |error: std::io::Error| from_io(&error, &text);
    let metadata = fs::symlink_metadata(&place.host).map_err(failed)?;
    let base = || t::FileFault { file: text.clone(), ..Default::default() };
    if place.path.relative().is_empty() {
        return Err(fault(t::CannotDeleteFile { base: base() }, "A whole datastore cannot be deleted."));
    }
    if in_use::is_unwritable(shared, &place.path) {
        return Err(fault(t::FileLocked { base: base() }, format!("A machine that is on uses {text}.")));
    }
    if metadata.is_dir() {
        fs::remove_dir(&place.host).map_err(failed)?;
    } else if kind::Kind::of(place.path.file_name(), false) == kind::Kind::Disk {
        sim_store::delete(&place.host).map_err(|error| from_store(&error, &text))?;
    } else {
        fs::remove_file(&place.host).map_err(failed)?;
    }
    Ok(Answer::void())
}

fn asked(shared: &Shared, call: &Call) -> Outcome<(Folder, Search)> {
    let spec: t::HostDatastoreBrowserSearchSpec = call.optional("searchSpec")?.unwrap_or_default();
    let folder = place(shared, call)?;
    let browsed = shared
        .read(|world| world.browsed_at(call.this.value(), &folder.path).map(|(found, _)| found.typed()));
    let search = Search {
        datastore: browsed.ok_or_else(|| not_found(&call.this))?,
        query: spec.query,
        details: spec.details.map(|details| *details).unwrap_or_default(),
        patterns: Patterns::new(spec.match_pattern, spec.search_case_insensitive == Some(true)),
        folders_first: spec.sort_folders_first == Some(true),
    };
    Ok((folder, search))
}

/// What the call names: on a datastore that the browser browses, or nothing it knows.
fn place(shared: &Shared, call: &Call) -> Outcome<Folder> {
    let text: String = call.required("datastorePath")?;
    let path: DatastorePath = text.parse().map_err(|_| {
        let value = t::InvalidDatastorePath { datastore_path: text.clone(), ..Default::default() };
        fault(value, format!("Invalid datastore path '{text}'."))
    })?;
    shared.read(|world| {
        let browsed = world.browsed_at(call.this.value(), &path);
        let (_, files) = browsed.ok_or_else(|| no_datastore(path.datastore()))?;
        let host = files.resolve(&path).map_err(|error| from_store(&error, &text))?;
        Ok(Folder { path, host })
    })
}

impl Search {
    /// Looks into a folder and all folders below it, each a result of its own.
    fn look_below(
        &self,
        shared: &Shared,
        folder: Folder,
    ) -> Outcome<Vec<t::HostDatastoreBrowserSearchResults>> {
        let mut results = Vec::new();
        let mut open = vec![folder];
        while let Some(folder) = open.pop() {
            match self.look_into(shared, &folder) {
                Ok((found, mut inside)) => {
                    results.push(found);
                    // So that they come out in the order of their names.
                    inside.reverse();
                    open.append(&mut inside);
                }
                // One below the first was removed meanwhile.
                Err(fault)
                    if !results.is_empty() && fault.fault.downcast_ref::<t::FileNotFound>().is_some() => {}
                Err(fault) => return Err(fault),
            }
        }
        Ok(results)
    }

    /// What fits in a folder, and the folders that are in it.
    fn look_into(
        &self,
        shared: &Shared,
        folder: &Folder,
    ) -> Outcome<(t::HostDatastoreBrowserSearchResults, Vec<Folder>)> {
        let failed = |error: std::io::Error| -> Fault { from_io(&error, &folder.path.to_string()) };
        let mut entries: Vec<(bool, String)> = Vec::new();
        for entry in fs::read_dir(&folder.host).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
            // A symbolic link may lead anywhere.
            if !is_temporary(&name) && !kind.is_symlink() {
                entries.push((kind.is_dir(), name));
            }
        }
        let mut unmade = population::unmade_folders(shared, &folder.path);
        unmade.retain(|name| !entries.iter().any(|(_, made)| made == name));
        entries.extend(unmade.into_iter().map(|name| (true, name)));
        entries.sort_by(|one, other| {
            let folders = other.0.cmp(&one.0);
            if self.folders_first { folders.then_with(|| one.1.cmp(&other.1)) } else { one.1.cmp(&other.1) }
        });
        let below = |name: &str| -> Option<Folder> {
            let path = format!("{}/{name}", folder.path.relative());
            let path = DatastorePath::new(folder.path.datastore(), path.trim_start_matches('/')).ok()?;
            Some(Folder { path, host: folder.host.join(name) })
        };
        let mut found = t::HostDatastoreBrowserSearchResults {
            datastore: Some(self.datastore.clone()),
            folder_path: Some(shown(&folder.path)),
            ..Default::default()
        };
        let mut inside = Vec::new();
        for (is_folder, name) in entries {
            let Some(entry) = below(&name) else { continue };
            if self.patterns.fit(&name)
                && let Some(info) = self.info(&entry.path, &entry.host, is_folder)
            {
                found.file.push(info);
            }
            if is_folder {
                inside.push(entry);
            }
        }
        Ok((found, inside))
    }

    fn info(&self, path: &DatastorePath, host: &Path, is_folder: bool) -> Option<Poly<t::FileInfo>> {
        info::info(&self.query, &self.details, path, host, is_folder)
    }
}

/// As servers write it: with a slash at its end, but for the root. [K, uncertain]
fn shown(path: &DatastorePath) -> String {
    match path.relative() {
        "" => format!("[{}]", path.datastore()),
        _ => format!("{path}/"),
    }
}
