//! Which place a URL names.

use std::path::PathBuf;

use hyper::{StatusCode, Uri};
use sim_store::{Datastore, DatastorePath};
use vim_api::MoRef;

use super::{Outcome, Refusal, is_at};
use crate::inventory::places::{HOST_DATACENTER, percent_decoded};
use crate::inventory::tree::Entity;
use crate::population;
use crate::world::{Shared, World};

/// What a URL asks for, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Below `/folder`, without slashes around it.
    path: String,
    /// As given: with or without a leading slash, without quotes.
    datacenter: Option<String>,
    datastore: Option<String>,
}

/// What there is at a place.
pub(super) enum Place {
    /// The list of all datacenters, by their paths.
    Datacenters(Vec<(String, MoRef)>),
    /// The list of a datacenter's datastores, by their names.
    Datastores { datacenter: String, stores: Vec<(String, MoRef)> },
    /// A file or folder, or one that could be.
    Entry(Entry),
}

/// A place on a datastore.
pub(super) struct Entry {
    pub(super) datacenter: String,
    /// By the names that things really have: symbolic links are followed.
    pub(super) path: DatastorePath,
    pub(super) host: PathBuf,
}

impl Wanted {
    /// Takes a URL apart. Only its path and its query matter.
    pub(super) fn of(uri: &Uri) -> Outcome<Self> {
        if !is_at(uri.path()) {
            return Err(Refusal::new(StatusCode::NOT_FOUND, "That is no file of a datastore."));
        }
        let parameter = |name: &str| {
            let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
            let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next();
            let value = value.map(|value| text_of(&value.replace('+', " "))).transpose()?;
            // Some clients put their values in quotes.
            let plain = value.map(|value| {
                let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
                inner.map_or(value.clone(), str::to_owned)
            });
            Ok(plain.filter(|value| !value.is_empty()))
        };
        let path = uri.path().strip_prefix("/folder").unwrap_or_default();
        Ok(Self {
            path: text_of(path)?.trim_matches('/').to_owned(),
            datacenter: parameter("dcPath")?,
            datastore: parameter("dsName")?,
        })
    }

    /// The same from text, for what comes as an argument.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
        Self::of(&uri).map_err(|refusal| refusal.text)
    }

    /// The datastore path and the datacenter's name that the URL of a file stands for.
    pub(crate) fn into_file(self) -> Result<(Option<String>, DatastorePath), String> {
        let datastore = self.datastore.ok_or("The URL names no datastore.")?;
        let path = DatastorePath::new(&datastore, &self.path).map_err(|error| error.to_string())?;
        Ok((self.datacenter, path))
    }

    /// Makes the files of machines that nobody has used yet, so that they are found.
    pub(super) fn prepare(&self, shared: &Shared) -> Outcome<()> {
        let name = self.datastore.as_deref().unwrap_or_default();
        // What is no path is for the search to refuse.
        let Ok(path) = DatastorePath::new(name, &self.path) else { return Ok(()) };
        population::materialize_at(shared, &path)
            .map_err(|fault| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, fault.message))
    }

    /// The datastore that is meant, or the datacenter; `None` for the list of these.
    pub(super) fn object(&self, world: &World) -> Outcome<Option<MoRef>> {
        let Some((_, datacenter)) = self.find_datacenter(world)? else { return Ok(None) };
        let store = self.find_datastore(world, &datacenter)?;
        Ok(Some(store.map_or(datacenter, |(entity, _)| entity.reference())))
    }

    /// A vCenter has to be told the datacenter; a host has only one.
    fn find_datacenter(&self, world: &World) -> Outcome<Option<(String, MoRef)>> {
        if self.datacenter.is_none() && self.datastore.is_none() && self.path.is_empty() {
            return Ok(None);
        }
        let name = self.datacenter.as_deref().unwrap_or(HOST_DATACENTER);
        let found = world.datacenter_at(name);
        let found = found.ok_or_else(|| missing(format!("There is no datacenter {name:?}.")))?;
        Ok(Some((name.trim_matches('/').to_owned(), found)))
    }

    fn find_datastore<'w>(
        &self,
        world: &'w World,
        datacenter: &MoRef,
    ) -> Outcome<Option<(&'w Entity, &'w Datastore)>> {
        let Some(wanted) = &self.datastore else {
            return match self.path.is_empty() {
                true => Ok(None),
                false => Err(missing("The URL names no datastore.")),
            };
        };
        let same = |(_, files): &(&Entity, &Datastore)| {
            let own = files.name();
            own == wanted || own.as_bytes() == percent_decoded(wanted)
        };
        let found = world.datastores_in(datacenter).find(same);
        found.map(Some).ok_or_else(|| missing(format!("The datacenter has no datastore {wanted:?}.")))
    }

    /// Finds it.
    pub(super) fn find(&self, world: &World) -> Outcome<Place> {
        let Some((name, datacenter)) = self.find_datacenter(world)? else {
            return Ok(Place::Datacenters(world.datacenters()));
        };
        let Some((_, files)) = self.find_datastore(world, &datacenter)? else {
            let stores = world.datastores_in(&datacenter);
            let stores = stores.map(|(entity, files)| (files.name().to_owned(), entity.reference()));
            return Ok(Place::Datastores { datacenter: name, stores: stores.collect() });
        };
        let path = DatastorePath::new(files.name(), &self.path)
            .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))?;
        // What leads out of the datastore is not there, as far as anybody outside is concerned.
        let host = files.resolve(&path).map_err(|error| missing(error.to_string()))?;
        let (path, host) = match std::fs::canonicalize(&host) {
            Ok(real) => {
                let path = files.path_of(&real).map_err(|error| missing(error.to_string()))?;
                (path, real)
            }
            Err(_) => (path, host),
        };
        Ok(Place::Entry(Entry { datacenter: name, path, host }))
    }
}

fn missing(what: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, what)
}

fn text_of(encoded: &str) -> Outcome<String> {
    String::from_utf8(percent_decoded(encoded))
        .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, format!("{encoded:?} is not UTF-8.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (String, Option<String>, Option<String>) {
        let wanted = Wanted::parse(url).unwrap();
        (wanted.path, wanted.datacenter, wanted.datastore)
    }

    #[test]
    fn urls() {
        let some = |text: &str| Some(text.to_owned());
        for (url, path, datacenter, datastore) in [
            ("/folder", "", None, None),
            ("https://h:443/folder/?dcPath=DC0", "", some("DC0"), None),
            ("/folder/vm%201/vm.vmx?dcPath=%2FDC0&dsName=ds%201", "vm 1/vm.vmx", some("/DC0"), some("ds 1")),
            ("/folder/a/?dcPath=%22F0/DC0%22&dsName=%22d%22", "a", some("F0/DC0"), some("d")),
            ("/folder/%c3%bc?dsName=d+1&x", "ü", None, some("d 1")),
            ("/folder/a+b?dsName=a%2bb", "a+b", None, some("a+b")),
            ("/folder/a?dcPath=&dsName=%22", "a", None, some("\"")),
        ] {
            assert_eq!(parts(url), (path.to_owned(), datacenter, datastore), "{url}");
        }
        for bad in ["/folders/a", "/sdk", "/folder/%ff?dsName=d", "/folder/a?dsName=%c0%ae", "::"] {
            assert!(Wanted::parse(bad).is_err(), "{bad}");
        }
    }
}
