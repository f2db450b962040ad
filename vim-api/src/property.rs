//! Properties of managed objects, read through the PropertyCollector.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use crate::client::Client;
use crate::dynamic::Poly;
use crate::dynamic::{FromValue, Value};
use crate::error::{Error, Fault};
use crate::mo::{self, Managed};
use crate::moref::MoRef;
use crate::types::{
    ObjectContent, ObjectSpec, PropertyFilterSpec, PropertySpec, RetrieveOptions, RetrieveResult,
    SelectionSpec, TraversalSpec,
};

/// The path of a property of `M` whose value is a `T`: `VirtualMachine::CONFIG`.
pub struct Property<M, T> {
    path: &'static str,
    types: PhantomData<fn() -> (M, T)>,
}

impl<M, T> Property<M, T> {
    pub(crate) const fn new(path: &'static str) -> Self {
        Self { path, types: PhantomData }
    }

    /// The path as the PropertyCollector takes it.
    pub const fn path(&self) -> &'static str {
        self.path
    }
}

impl<M, T> Clone for Property<M, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M, T> Copy for Property<M, T> {}

impl<M, T> fmt::Debug for Property<M, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path)
    }
}

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
    pub fn take<T: FromValue>(&mut self, path: &str) -> Result<Option<T>, Error> {
        if let Some(fault) = self.missing.get(path) {
            let context = format!("reading \"{path}\" of {}", self.object);
            return Err(Error::from_fault(context, fault.clone()));
        }
        let Some(value) = self.values.remove(path) else { return Ok(None) };
        T::from_value(value)
            .map(Some)
            .map_err(|other| Error::wrong_type(&self.object.cast(), path, &describe(&other)))
    }

    /// Takes the value at `path`, which has to be there.
    ///
    /// # Errors
    /// As [`take`](Self::take), and when it is not set.
    pub fn take_required<T: FromValue>(&mut self, path: &str) -> Result<T, Error> {
        self.take(path)?.ok_or_else(|| Error::unset(&self.object.cast(), path))
    }

    fn from_content(content: ObjectContent) -> Self {
        let values = content.prop_set.into_iter().map(|p| (p.name, p.val)).collect();
        let missing = content
            .missing_set
            .into_iter()
            .map(|m| {
                let message = m.fault.localized_message.clone().unwrap_or_default();
                (m.path, Fault { fault: m.fault.fault, message })
            })
            .collect();
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
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        let object_set =
            objects.iter().map(|o| ObjectSpec { obj: o.cast(), ..ObjectSpec::default() }).collect();
        let spec = PropertyFilterSpec {
            prop_set: vec![property_spec::<M>(paths)],
            object_set,
            report_missing_objects_in_results: Some(true),
            ..PropertyFilterSpec::default()
        };
        self.retrieve(spec).await
    }

    /// Reads properties of every object of type `M` below `root`, which is a folder, a datacenter, a host or the like.
    ///
    /// # Errors
    /// When a call fails, or a path is no property of `M` (fault `InvalidProperty`).
    pub async fn list<M: Managed>(&self, root: &MoRef, paths: &[&str]) -> Result<Vec<Properties<M>>, Error> {
        let manager: mo::ViewManager = self.bind(
            self.content()
                .view_manager
                .as_ref()
                .ok_or_else(|| Error::broken_protocol("the server names no ViewManager"))?,
        );
        let types = [M::INFO.name.to_owned()];
        let view: mo::ContainerView =
            self.bind(&manager.create_container_view(&root.cast(), &types, true).await?.cast());
        let traversal = TraversalSpec {
            base: SelectionSpec { name: Some("view".into()), ..SelectionSpec::default() },
            r#type: "ContainerView".into(),
            path: "view".into(),
            skip: Some(false),
            select_set: Vec::new(),
        };
        let spec = PropertyFilterSpec {
            prop_set: vec![property_spec::<M>(paths)],
            object_set: vec![ObjectSpec {
                obj: view.moref().cast(),
                skip: Some(true),
                select_set: vec![Poly::new(traversal)],
                ..ObjectSpec::default()
            }],
            ..PropertyFilterSpec::default()
        };
        let found = self.retrieve(spec).await;
        let destroyed = view.destroy_view().await;
        let found = found?;
        destroyed?;
        Ok(found)
    }

    /// One `RetrievePropertiesEx`, with as many continuations as the server asks for.
    ///
    /// # Errors
    /// When a call fails or the filter is not accepted.
    pub async fn retrieve<M: Managed>(&self, spec: PropertyFilterSpec) -> Result<Vec<Properties<M>>, Error> {
        let collector = self.property_collector();
        let mut page: Option<RetrieveResult> =
            collector.retrieve_properties_ex(&[spec], &RetrieveOptions::default()).await?;
        let mut found = Vec::new();
        while let Some(result) = page {
            found.extend(result.objects.into_iter().map(Properties::from_content));
            page = match result.token {
                Some(token) => Some(collector.continue_retrieve_properties_ex(&token).await?),
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
