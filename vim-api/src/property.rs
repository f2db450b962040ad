//! Properties of managed objects, read through the PropertyCollector.

mod path;
mod retrieval;
mod retrieve;

use std::collections::{BTreeMap, BTreeSet};

use crate::client::Client;
use crate::dynamic::{Element, FromValue, Value, set_below};
use crate::error::{Error, Fault};
use crate::mo::{self, Managed};
use crate::moref::MoRef;
use crate::types::{
    MissingProperty, ObjectContent, ObjectSpec, PropertyFilterSpec, PropertySpec, RetrieveOptions,
    RetrieveResult,
};
use crate::version::ApiVersion;
use crate::xml::Writer;

pub use path::{Optional, Property, PropertyPath, Required};
use retrieval::Rest;
pub use retrieval::Retrieval;
pub use retrieve::{Holds, RetrievalAs, Retrieve};

/// How often a retrieval begins anew after its session was lost.
const MAX_RESTARTS: u32 = 3;

/// What the PropertyCollector gave for one object.
#[derive(Debug, Clone)]
pub struct Properties<M = mo::ManagedObject> {
    object: MoRef<M>,
    values: BTreeMap<String, Value>,
    missing: BTreeMap<String, Fault>,
}

impl<M> Properties<M> {
    /// The object.
    pub fn object(&self) -> &MoRef<M> {
        &self.object
    }

    /// Takes the value at `path`. `None` when it is not set; a value can be taken once.
    ///
    /// # Errors
    /// When the server refused to show it ([`Error::fault`] gives `NoPermission`), or it is no `T`.
    pub fn take<T: FromValue>(&mut self, path: impl PropertyPath<M, T>) -> Result<Option<T>, Error> {
        let path = path.as_ref();
        self.refused(path)?;
        let Some(value) = self.values.remove(path) else { return Ok(None) };
        T::from_value(value)
            .map(Some)
            .map_err(|other| Error::wrong_type(&self.object.cast(), path, &describe(&other)))
    }

    /// Takes the value at `path`, which has to be there.
    ///
    /// # Errors
    /// As [`take`](Self::take), and when it is not set.
    pub fn take_required<T: FromValue>(&mut self, path: impl PropertyPath<M, T>) -> Result<T, Error> {
        let path = path.as_ref();
        self.take(path)?.ok_or_else(|| Error::unset(&self.object.cast(), path))
    }

    /// A copy of the value at `path`. `None` when it is not set.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn get<T: FromValue>(&self, path: impl PropertyPath<M, T>) -> Result<Option<T>, Error> {
        let path = path.as_ref();
        self.refused(path)?;
        let Some(value) = self.values.get(path) else { return Ok(None) };
        T::from_value(value.clone())
            .map(Some)
            .map_err(|other| Error::wrong_type(&self.object.cast(), path, &describe(&other)))
    }

    pub(crate) fn empty(object: MoRef<M>) -> Self {
        Self { object, values: BTreeMap::new(), missing: BTreeMap::new() }
    }

    /// Takes a change at `name` in, which is one of the watched `paths`, or lies below or above one. Gives the watched
    /// paths that it touches; with none watched in particular, any path is. `None`: it does not fit what is known, which has
    /// to be read anew.
    pub(crate) fn change(
        &mut self,
        paths: &[String],
        name: &str,
        value: Option<Value>,
    ) -> Option<Vec<String>> {
        if let Some((watched, rest)) = paths.iter().find_map(|path| Some((path, below(path, name)?))) {
            set_below(self.values.get_mut(watched)?, rest, value).ok()?;
            return Some(vec![watched.clone()]);
        }
        if paths.iter().any(|path| path == name) || paths.is_empty() {
            self.missing.remove(name);
            match value {
                Some(value) => drop(self.values.insert(name.to_owned(), value)),
                None => drop(self.values.remove(name)),
            }
            return Some(vec![name.to_owned()]);
        }
        // Something above is gone, and what is watched with it.
        let gone: Vec<String> = paths.iter().filter(|path| below(name, path).is_some()).cloned().collect();
        for path in &gone {
            self.values.remove(path);
        }
        Some(gone)
    }

    /// Takes in that a property may not be read.
    pub(crate) fn refuse(&mut self, paths: &[String], missing: MissingProperty) -> Option<String> {
        let touched = paths.contains(&missing.path).then(|| missing.path.clone());
        self.values.remove(&missing.path);
        let (path, fault) = refusal(missing);
        self.missing.insert(path, fault);
        touched
    }

    /// The paths whose values differ from those in `before`.
    pub(crate) fn differences(&self, before: &Self) -> Vec<String> {
        let paths: BTreeSet<&String> = [&self.values, &before.values]
            .into_iter()
            .flat_map(BTreeMap::keys)
            .chain([&self.missing, &before.missing].into_iter().flat_map(BTreeMap::keys))
            .collect();
        let differs = |path: &&String| {
            as_text(self.values.get(*path)) != as_text(before.values.get(*path))
                || self.missing.contains_key(*path) != before.missing.contains_key(*path)
        };
        paths.into_iter().filter(differs).cloned().collect()
    }

    fn refused(&self, path: &str) -> Result<(), Error> {
        let Some(fault) = self.missing.get(path) else { return Ok(()) };
        Err(Error::from_fault(format!("reading \"{path}\" of {}", self.object), fault.clone()))
    }

    fn from_content(content: ObjectContent) -> Self {
        let values = content.prop_set.into_iter().map(|p| (p.name, p.val)).collect();
        let missing = content.missing_set.into_iter().map(refusal).collect();
        Self { object: content.obj.cast(), values, missing }
    }
}

impl Client {
    /// Reads properties of the given objects, all of type `M`. An object that is gone is left out.
    ///
    /// # Errors
    /// When a call fails, or a path is no property of `M` (fault `InvalidProperty`).
    pub async fn properties<M: Managed>(
        &self,
        objects: &[MoRef<M>],
        paths: &[&str],
    ) -> Result<Vec<Properties<M>>, Error> {
        self.properties_of(objects, paths).collect().await
    }

    /// As [`properties`](Self::properties), page by page. Nothing is sent before the first [`Retrieval::next`].
    pub fn properties_of<M: Managed>(&self, objects: &[MoRef<M>], paths: &[&str]) -> Retrieval<M> {
        Retrieval::of(self, objects, paths)
    }

    /// Reads properties of every object of type `M` below `root`, which is a folder, a datacenter, a host or the like.
    ///
    /// # Errors
    /// When a call fails, or a path is no property of `M` (fault `InvalidProperty`).
    pub async fn list<M: Managed>(&self, root: &MoRef, paths: &[&str]) -> Result<Vec<Properties<M>>, Error> {
        self.list_pages(root, paths).collect().await
    }

    /// As [`list`](Self::list), page by page: for inventories that are not to be held in memory at once. Nothing is sent
    /// before the first [`Retrieval::next`].
    pub fn list_pages<M: Managed>(&self, root: &MoRef, paths: &[&str]) -> Retrieval<M> {
        Retrieval::below(self, root, paths)
    }

    /// Reads what a filter of one's own finds, however many answers it takes. Begins anew when the session is lost in the
    /// middle, so the filter must not name objects of the session, such as views.
    ///
    /// # Errors
    /// When a call fails or the filter is not accepted.
    pub async fn retrieve<M: Managed>(&self, spec: PropertyFilterSpec) -> Result<Vec<Properties<M>>, Error> {
        let mut restarts = 0;
        loop {
            match self.retrieve_once(std::slice::from_ref(&spec)).await {
                Err(error) if restarts < MAX_RESTARTS && error.is_session_lost() => restarts += 1,
                result => return result,
            }
        }
    }

    async fn retrieve_once<M: Managed>(
        &self,
        spec: &[PropertyFilterSpec],
    ) -> Result<Vec<Properties<M>>, Error> {
        let collector = self.property_collector();
        let mut answer: Option<RetrieveResult> =
            collector.retrieve_properties_ex(spec, &RetrieveOptions::default()).await?;
        let mut found = Vec::new();
        while let Some(page) = answer {
            found.extend(page.objects.into_iter().map(Properties::from_content));
            answer = match page.token {
                Some(token) => Some(Rest::new(self, token).read().await?),
                None => None,
            };
        }
        Ok(found)
    }

    pub(crate) async fn read_property<T: FromValue>(
        &self,
        object: &MoRef,
        path: &str,
    ) -> Result<Option<T>, Error> {
        let spec = PropertyFilterSpec {
            prop_set: vec![PropertySpec {
                r#type: object.type_name().to_owned(),
                path_set: vec![path.to_owned()],
                ..PropertySpec::default()
            }],
            object_set: vec![ObjectSpec { obj: object.clone(), ..ObjectSpec::default() }],
            ..PropertyFilterSpec::default()
        };
        let mut found = self.retrieve::<mo::ManagedObject>(spec).await?;
        match found.first_mut() {
            Some(properties) => properties.take(path),
            None => Ok(None),
        }
    }
}

fn property_spec<M: Managed>(paths: &[&str]) -> PropertySpec {
    PropertySpec {
        r#type: M::INFO.name.to_owned(),
        path_set: paths.iter().map(|p| (*p).to_owned()).collect(),
        ..PropertySpec::default()
    }
}

fn refusal(missing: MissingProperty) -> (String, Fault) {
    let message = missing.fault.localized_message.clone().unwrap_or_default();
    (missing.path, Fault { fault: missing.fault.fault, message })
}

/// What follows `path` in `name`, when `name` lies below it: it begins with a dot or a bracket.
fn below<'a>(path: &str, name: &'a str) -> Option<&'a str> {
    name.strip_prefix(path).filter(|rest| rest.starts_with(['.', '[']))
}

/// Values have no equality of their own; what they are on the wire has.
fn as_text(value: Option<&Value>) -> Option<String> {
    let mut writer = Writer::new(ApiVersion::LATEST);
    value?.encode("val", &mut writer);
    Some(writer.finish())
}

fn describe(value: &Value) -> String {
    match value {
        Value::Object(object) => format!("a {}", object.type_name()),
        Value::Array(array) => format!("an array of {}", array.item_name()),
        Value::Enum { type_name, .. } => format!("a {type_name}"),
        Value::Unknown { type_name, .. } => format!("an unknown type \"{type_name}\""),
        Value::MoRef(_) => "a reference".into(),
        _ => "a built-in type".into(),
    }
}
