//! ContainerViews: what is below an object, by type.

use std::collections::HashSet;

use vim_api::dynamic::{Element, Value, managed_type};
use vim_api::{MoRef, mo};

use super::{Node, Wanted, escaped, refs};
use crate::fault::{Outcome, invalid_argument, not_found};
use crate::random;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// A view of one session.
pub(crate) struct View {
    container: MoRef,
    types: Vec<String>,
    recursive: bool,
}

/// `ViewManager.CreateContainerView`.
pub(crate) fn create(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let container: MoRef = call.required("container")?;
    let types: Vec<String> = call.list("type")?;
    let recursive: bool = call.required("recursive")?;
    if let Some(unknown) = types.iter().find(|name| managed_type(name).is_none()) {
        return Err(invalid_argument("type", format!("There is no managed object type \"{unknown}\".")));
    }
    shared.update(|world| {
        if world.node(&container, None).is_none() {
            return Err(not_found(&container));
        }
        if !matches!(
            container.type_name(),
            "Folder"
                | "Datacenter"
                | "ClusterComputeResource"
                | "ComputeResource"
                | "ResourcePool"
                | "HostSystem"
                | "StoragePod"
        ) {
            return Err(invalid_argument(
                "container",
                format!("A {} contains nothing.", container.type_name()),
            ));
        }
        let id = random::session_object();
        let session =
            world.sessions.get_mut(cookie).ok_or_else(|| crate::fault::not_authenticated(&call.this))?;
        session.views.insert(id.clone(), View { container, types, recursive });
        Ok(Answer::one(call, &MoRef::<mo::ContainerView>::new(id)))
    })
}

/// `View.DestroyView`.
pub(crate) fn destroy(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let gone = shared.update(|world| {
        world.sessions.get_mut(cookie).and_then(|session| session.views.remove(call.this.value()))
    });
    gone.map(|_| Answer::void()).ok_or_else(|| not_found(&call.this))
}

impl World {
    pub(super) fn view_property(&self, view: &View, name: &str) -> Option<Value> {
        Some(match name {
            "view" => refs(self.view_objects(view)),
            "container" => view.container.to_value(),
            "type" => super::strings(view.types.iter().cloned()),
            "recursive" => Value::Bool(view.recursive),
            _ => return None,
        })
    }

    fn view_objects(&self, view: &View) -> Vec<MoRef> {
        let mut found = Vec::new();
        let mut open = vec![view.container.clone()];
        let mut seen = HashSet::from([view.container.clone()]);
        while let Some(container) = open.pop() {
            for child in self.contents(&container) {
                if !seen.insert(child.clone()) {
                    continue;
                }
                if view.recursive {
                    open.push(child.clone());
                }
                let is_a =
                    |name: &String| managed_type(child.type_name()).is_some_and(|info| info.is_a(name));
                if view.types.is_empty() || view.types.iter().any(is_a) {
                    found.push(child);
                }
            }
        }
        found
    }

    /// What a container contains, the way views see it.
    fn contents(&self, container: &MoRef) -> Vec<MoRef> {
        match self.node(container, None) {
            Some(Node::Entity(entity)) => self.children_of(entity),
            _ => Vec::new(),
        }
    }

    /// The child of an inventory object that has this name.
    pub(super) fn child_named(&self, parent: &MoRef, name: &str) -> Option<MoRef> {
        let wanted = escaped(name);
        self.contents(parent).into_iter().find(|child| {
            let Some(node) = self.node(child, None) else { return false };
            match self.property(node, Wanted { name: "name", rest: None }, None) {
                Some(Value::String(found)) => found == wanted || found == name,
                _ => false,
            }
        })
    }
}
