//! Objects by their inventory path, with wildcards.

mod pattern;

use std::collections::HashMap;

use crate::client::Client;
use crate::dynamic::Poly;
use crate::error::Error;
use crate::mo::{self, Managed, ManagedEntity};
use crate::moref::MoRef;
use crate::property::Properties;
use crate::traversal;
use crate::types::{ObjectSpec, PropertyFilterSpec, PropertySpec, SelectionSpec};

use pattern::{PathPattern, Step};

/// Most ambiguous paths that an error names.
const NAMED: usize = 5;

/// An object with the path at which it was found.
#[derive(Debug)]
pub struct Found<M> {
    /// The object.
    pub object: MoRef<M>,
    /// Its inventory path, such as `/DC0/vm/prod/web-01`.
    pub path: String,
}

impl<M> Clone for Found<M> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), path: self.path.clone() }
    }
}

impl Client {
    /// Finds the objects of type `M` whose inventory path fits `pattern`, sorted by path.
    ///
    /// The syntax is govc's. A path that begins with `/` goes from the root folder: `/DC0/vm/prod/web-01`; one that does
    /// not, from the folder for this type in every datacenter: `prod/web-*` among machines. In each part `*`, `?` and
    /// `[a-z]` are wildcards, and `[*]` is the star itself; `...` stands for any number of folders, so that
    /// `/.../web-01` finds it anywhere. Names are as the server has them: a slash in a name is `%2f`, `%` is `%25`.
    ///
    /// It takes one call for an exact path, and otherwise one for each part of it.
    ///
    /// # Errors
    /// Kind `InvalidInput` for something that is no pattern; that of a call that failed. Nothing found is no error here.
    pub async fn find_all<M: Managed>(&self, pattern: &str) -> Result<Vec<Found<M>>, Error> {
        let pattern = PathPattern::parse(pattern)?;
        if let Some(path) = pattern.exact().filter(|path| !path.is_empty())
            && let Some(object) = self.search_index()?.find_by_inventory_path(&path).await?
            && let Some(object) = object.downcast()
        {
            return Ok(vec![Found { object, path: format!("/{path}") }]);
        }
        let mut at = if pattern.absolute { vec![self.root()] } else { self.home_folders::<M>().await? };
        for (index, step) in pattern.steps.iter().enumerate() {
            let is_last = index + 1 == pattern.steps.len();
            at = self.below(&at, step, if is_last { M::INFO.name } else { "ManagedEntity" }).await?;
        }
        let mut found: Vec<Found<M>> = at
            .into_iter()
            .filter_map(|found| Some(Found { object: found.object.downcast()?, path: found.path }))
            .collect();
        found.sort_by(|one, two| one.path.cmp(&two.path));
        Ok(found)
    }

    /// Finds the one object of type `M` whose inventory path fits `pattern`: see [`find_all`](Self::find_all).
    ///
    /// # Errors
    /// As there; kind `NotFound` when there is none, and kind `Ambiguous`, which names some, when there are several.
    pub async fn find_one<M: Managed>(&self, pattern: &str) -> Result<Found<M>, Error> {
        let mut found = self.find_all::<M>(pattern).await?;
        let wanted = format!("a {} at \"{pattern}\" on {}", M::INFO.name, self.host());
        match (found.pop(), found.len()) {
            (Some(one), 0) => Ok(one),
            (None, _) => Err(Error::not_found(format!("there is no {}", &wanted[2..]))),
            (Some(last), more) => {
                let paths: Vec<&str> =
                    found.iter().chain([&last]).take(NAMED).map(|found| found.path.as_str()).collect();
                let and_more = if more + 1 > NAMED { " and more" } else { "" };
                Err(Error::ambiguous(format!(
                    "{wanted} was asked for, and there are {}: {}{and_more}",
                    more + 1,
                    paths.join(", ")
                )))
            }
        }
    }

    /// The inventory path of an object, such as `/DC0/vm/prod/web-01`; `/` for the root folder. It begins where the session
    /// may see no further up.
    ///
    /// # Errors
    /// When the call fails, such as with the fault `ManagedObjectNotFound` for an object that is gone.
    pub async fn path_of<M: Managed>(&self, object: &MoRef<M>) -> Result<String, Error> {
        let spec = entities(&[object.cast()], "ManagedEntity", traversal::ancestors(), false);
        let known = self.retrieve::<ManagedEntity>(spec).await?;
        let known: HashMap<&MoRef<ManagedEntity>, &Properties<ManagedEntity>> =
            known.iter().map(|entity| (entity.object(), entity)).collect();
        let root: MoRef<ManagedEntity> = self.content().root_folder.cast();
        let mut at: MoRef<ManagedEntity> = object.cast();
        let mut names = Vec::new();
        while at != root
            && names.len() < known.len()
            && let Some(entity) = known.get(&at)
        {
            names.push(entity.get::<String>("name")?.unwrap_or_default());
            let up = match entity.get("parent")? {
                Some(parent) => Some(parent),
                None => entity.get("parentVApp")?,
            };
            match up {
                Some(parent) => at = parent,
                None => break,
            }
        }
        names.reverse();
        Ok(format!("/{}", names.join("/")))
    }

    /// Finds objects by uuid, path, address or DNS name.
    ///
    /// # Errors
    /// Kind `Protocol` when the server has none.
    pub fn search_index(&self) -> Result<mo::SearchIndex, Error> {
        self.manager("SearchIndex", |content| content.search_index.as_ref())
    }

    fn root(&self) -> Found<ManagedEntity> {
        Found { object: self.content().root_folder.cast(), path: String::new() }
    }

    /// Where objects of type `M` lie in each datacenter.
    async fn home_folders<M: Managed>(&self) -> Result<Vec<Found<ManagedEntity>>, Error> {
        let property = home_folder(M::INFO.name);
        let Some(property) = property else { return Ok(vec![self.root()]) };
        let root = self.content().root_folder.cast();
        let mut homes = Vec::new();
        for datacenter in self.list::<mo::Datacenter>(&root, &[property]).await? {
            let Some(folder) = datacenter.get::<MoRef<ManagedEntity>>(property)? else { continue };
            homes.push(Found { path: self.path_of(&folder).await?, object: folder });
        }
        Ok(homes)
    }

    /// What lies in `parents` and fits `step`.
    async fn below(
        &self,
        parents: &[Found<ManagedEntity>],
        step: &Step,
        type_name: &str,
    ) -> Result<Vec<Found<ManagedEntity>>, Error> {
        if parents.is_empty() {
            return Ok(Vec::new());
        }
        let starts: Vec<MoRef> = parents.iter().map(|parent| parent.object.cast()).collect();
        let spec = if step.deep {
            // What lies in between tells the way, so the type is looked at last.
            entities(&starts, "ManagedEntity", traversal::whole_inventory(), true)
        } else {
            entities(&starts, type_name, traversal::children(), true)
        };
        let mut paths: HashMap<MoRef<ManagedEntity>, String> =
            parents.iter().map(|parent| (parent.object.clone(), parent.path.clone())).collect();
        let mut pending = self.retrieve::<ManagedEntity>(spec).await?;
        let mut found = Vec::new();
        // Containers come before what lies in them only by chance: each round places what the one before made possible.
        loop {
            let before = pending.len();
            let mut orphans = Vec::new();
            for entity in pending {
                let above = above(&entity)?;
                let Some(path) = above.iter().find_map(|parent| paths.get(parent)) else {
                    orphans.push(entity);
                    continue;
                };
                let name: String = entity.get("name")?.unwrap_or_default();
                let path = format!("{path}/{name}");
                let object = entity.object().clone();
                if step.deep {
                    paths.insert(object.clone(), path.clone());
                }
                if step.fits(&name) {
                    found.push(Found { object, path });
                }
            }
            if !step.deep || orphans.is_empty() || orphans.len() == before {
                return Ok(found);
            }
            pending = orphans;
        }
    }
}

/// What an object may lie in, the folder first.
fn above(entity: &Properties<ManagedEntity>) -> Result<Vec<MoRef<ManagedEntity>>, Error> {
    let mut above = Vec::new();
    for path in ["parent", "parentVApp", "resourcePool"] {
        above.extend(entity.get::<MoRef<ManagedEntity>>(path)?);
    }
    Ok(above)
}

/// Names and parents of what a way leads to.
fn entities(
    starts: &[MoRef],
    type_name: &str,
    way: Vec<Poly<SelectionSpec>>,
    skip_starts: bool,
) -> PropertyFilterSpec {
    let read = |type_name: &str, paths: &[&str]| PropertySpec {
        r#type: type_name.to_owned(),
        path_set: paths.iter().map(|path| (*path).to_owned()).collect(),
        ..PropertySpec::default()
    };
    let mut prop_set = vec![read(type_name, &["name", "parent"])];
    // A machine in a vApp or pool is found there, too.
    if matches!(type_name, "ManagedEntity" | "VirtualMachine") {
        let paths = ["name", "parent", "parentVApp", "resourcePool"];
        prop_set.retain(|spec| spec.r#type != "VirtualMachine");
        prop_set.push(read("VirtualMachine", &paths));
    }
    let start = |start: &MoRef| ObjectSpec {
        obj: start.clone(),
        skip: Some(skip_starts),
        select_set: way.clone(),
        ..ObjectSpec::default()
    };
    PropertyFilterSpec {
        prop_set,
        object_set: starts.iter().map(start).collect(),
        ..PropertyFilterSpec::default()
    }
}

/// The property of a datacenter that names the folder for objects of this type. `None` for those that lie above.
fn home_folder(type_name: &str) -> Option<&'static str> {
    match type_name {
        "VirtualMachine" => Some("vmFolder"),
        "HostSystem" | "ComputeResource" | "ClusterComputeResource" | "ResourcePool" | "VirtualApp" => {
            Some("hostFolder")
        }
        "Datastore" | "StoragePod" => Some("datastoreFolder"),
        "Network"
        | "OpaqueNetwork"
        | "DistributedVirtualPortgroup"
        | "DistributedVirtualSwitch"
        | "VmwareDistributedVirtualSwitch" => Some("networkFolder"),
        _ => None,
    }
}
