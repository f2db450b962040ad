//! The order of the API versions, and what a `since` in the sidecar means in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, ErrorKind, Result};
use crate::model::ApiVersion;
use crate::sidecar::Sidecar;

pub(super) struct Versions {
    list: Vec<ApiVersion>,
    index: BTreeMap<String, u8>,
    is_beside: bool,
}

impl Versions {
    /// With a sidecar: its versions, oldest first. Without: only `fallback`, the version of the WSDL.
    pub(super) fn new(sidecar: Option<&Sidecar>, fallback: &str) -> Result<Self> {
        let Some(sidecar) = sidecar else {
            let only = ApiVersion { id: fallback.to_owned(), internal: String::new() };
            return Ok(Self { list: vec![only], index: BTreeMap::new(), is_beside: false });
        };
        let order = total_order(&sidecar.versions)?;
        let mut index = BTreeMap::new();
        for (position, id) in order.iter().enumerate() {
            let position = u8::try_from(position)
                .map_err(|_| Error::new(ErrorKind::Versions, "there are more than 256 API versions"))?;
            index.insert((*id).clone(), position);
        }
        if !index.contains_key(&sidecar.version) {
            let message =
                format!("the sidecar's own version {:?} is not among its versions", sidecar.version);
            return Err(Error::new(ErrorKind::Versions, message));
        }
        for (alias, id) in &sidecar.aliases {
            let target = *index.get(id).ok_or_else(|| {
                Error::new(
                    ErrorKind::Versions,
                    format!("the alias {alias:?} stands for the unknown version {id:?}"),
                )
            })?;
            if index.insert(alias.clone(), target).is_some() {
                return Err(Error::new(ErrorKind::Duplicate, format!("version {alias:?} has two meanings")));
            }
        }
        if let Some(id) = sidecar.internal.keys().find(|id| !sidecar.versions.contains_key(*id)) {
            return Err(Error::new(
                ErrorKind::Versions,
                format!("an inner name is given to the unknown version {id:?}"),
            ));
        }
        let list = order
            .into_iter()
            .map(|id| ApiVersion {
                id: id.clone(),
                internal: sidecar.internal.get(id).cloned().unwrap_or_default(),
            })
            .collect();
        Ok(Self { list, index, is_beside: false })
    }

    /// For a service beside: the versions of the model, called by the names that the sidecar has for them.
    pub(super) fn beside(list: &[ApiVersion], sidecar: &Sidecar) -> Result<Self> {
        let mut index = BTreeMap::new();
        for (alias, id) in &sidecar.aliases {
            let position = list.iter().position(|version| version.id == *id);
            let position = position.and_then(|position| u8::try_from(position).ok()).ok_or_else(|| {
                let message = format!("the alias {alias:?} stands for the unknown version {id:?}");
                Error::new(ErrorKind::Versions, message)
            })?;
            index.insert(alias.clone(), position);
        }
        Ok(Self { list: list.to_vec(), index, is_beside: true })
    }

    /// The version ids of a service beside, oldest first, each behind the version that it builds on. Of several that build on
    /// one, the oldest: it is the one that is there for certain.
    pub(super) fn own(&self) -> Vec<(u8, String)> {
        let mut own: Vec<(u8, String)> = self
            .index
            .iter()
            .filter(|_| self.is_beside)
            .map(|(id, position)| (*position, id.clone()))
            .collect();
        own.sort_by_cached_key(|(position, id)| {
            (*position, id.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u32>>())
        });
        own.dedup_by_key(|(position, _)| *position);
        own
    }

    /// Index of the version a sidecar names.
    pub(super) fn since(&self, user: &str, version: &str) -> Result<u8> {
        self.index.get(version).copied().ok_or_else(|| {
            Error::new(
                ErrorKind::Versions,
                format!("{user:?} is said to be there since the unknown version {version:?}"),
            )
        })
    }

    /// Like [`Self::since`], for something that cannot be older than what contains it.
    pub(super) fn since_within(&self, user: &str, version: &str, container: u8) -> Result<u8> {
        let since = self.since(user, version)?;
        if since < container {
            return Err(Error::new(ErrorKind::Versions, format!("{user:?} is older than what contains it")));
        }
        Ok(since)
    }

    pub(super) fn into_list(self) -> Vec<ApiVersion> {
        self.list
    }
}

/// Sorts by the number of ancestors and then demands that everyone's ancestors are exactly those before it: this is what
/// makes "newer than" a comparison of two numbers.
fn total_order(ancestors: &BTreeMap<String, Vec<String>>) -> Result<Vec<&String>> {
    let mut order: Vec<&String> = ancestors.keys().collect();
    order.sort_by_key(|id| ancestors[*id].len());
    let mut before = BTreeSet::new();
    for id in &order {
        if ancestors[*id].iter().collect::<BTreeSet<_>>() != before {
            let message = format!("version {id:?} does not build on exactly the versions older than it");
            return Err(Error::new(ErrorKind::Versions, message));
        }
        before.insert(*id);
    }
    if order.is_empty() {
        return Err(Error::new(ErrorKind::Versions, "the sidecar lists no versions"));
    }
    Ok(order)
}
