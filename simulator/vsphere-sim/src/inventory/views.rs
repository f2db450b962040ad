//! Views: what is below an object, by type, and lists that a client makes.

use std::collections::HashSet;

use vim_api::dynamic::{Element, Value, managed_type};
use vim_api::{MoRef, mo};

use super::{Node, Wanted, escaped, refs};
use crate::fault::{Outcome, invalid_argument, not_authenticated, not_found};
use crate::random;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// A view of one session.
pub(crate) enum View {
    Container(Container),
    List(Vec<MoRef>),
    /// The containers that are open. What is in one shows if the container does.
    Inventory(Vec<MoRef>),
}

/// What a ContainerView shows.
pub(crate) struct Container {
    root: MoRef,
    types: Vec<String>,
    recursive: bool,
}

impl View {
    /// Its managed object type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Container(_) => "ContainerView",
            Self::List(_) => "ListView",
            Self::Inventory(_) => "InventoryView",
        }
    }
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
        let view = View::Container(Container { root: container, types, recursive });
        Ok(Answer::one(call, &MoRef::<mo::ContainerView>::new(add(world, cookie, call, view)?)))
    })
}

/// `ViewManager.CreateListView`.
pub(crate) fn create_list(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let objects: Vec<MoRef> = call.list("obj")?;
    shared.update(|world| {
        let (known, unknown) = sorted_out(world, cookie, objects);
        if let Some(unknown) = unknown.first() {
            return Err(not_found(unknown));
        }
        Ok(Answer::one(call, &MoRef::<mo::ListView>::new(add(world, cookie, call, View::List(known))?)))
    })
}

/// `ViewManager.CreateListViewFromView`: a list of what another view shows now.
pub(crate) fn create_list_from(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let from: MoRef = call.required("view")?;
    shared.update(|world| {
        let objects = shown(world, cookie, &from)?;
        Ok(Answer::one(call, &MoRef::<mo::ListView>::new(add(world, cookie, call, View::List(objects))?)))
    })
}

/// `ListView.ModifyListView`. Answers what it was to add and is not there.
pub(crate) fn modify_list(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let (more, less): (Vec<MoRef>, Vec<MoRef>) = (call.list("add")?, call.list("remove")?);
    shared.update(|world| {
        let (known, unknown) = sorted_out(world, cookie, more);
        let list = list_of(world, cookie, call)?;
        list.retain(|object| !less.contains(object));
        for object in known {
            if !list.contains(&object) {
                list.push(object);
            }
        }
        Ok(Answer::many(call, &unknown))
    })
}

/// `ListView.ResetListView`. Answers what is not there.
pub(crate) fn reset_list(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let objects: Vec<MoRef> = call.list("obj")?;
    shared.update(|world| {
        let (known, unknown) = sorted_out(world, cookie, objects);
        *list_of(world, cookie, call)? = known;
        Ok(Answer::many(call, &unknown))
    })
}

/// `ListView.ResetListViewFromView`.
pub(crate) fn reset_list_from(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let from: MoRef = call.required("view")?;
    shared.update(|world| {
        let objects = shown(world, cookie, &from)?;
        *list_of(world, cookie, call)? = objects;
        Ok(Answer::void())
    })
}

/// `ViewManager.CreateInventoryView`: it shows the root folder, and what is opened below.
pub(crate) fn create_inventory(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    shared.update(|world| {
        let view = add(world, cookie, call, View::Inventory(Vec::new()))?;
        Ok(Answer::one(call, &MoRef::<mo::InventoryView>::new(view)))
    })
}

/// `OpenInventoryViewFolder` and `CloseInventoryViewFolder`. Both answer what is not there.
pub(crate) fn turn_folders(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let folders: Vec<MoRef> = call.list("entity")?;
    let opens = call.method == "OpenInventoryViewFolder";
    shared.update(|world| {
        let (known, unknown) = sorted_out(world, cookie, folders);
        let session = world.sessions.get_mut(cookie).ok_or_else(|| not_authenticated(&call.this))?;
        let Some(View::Inventory(open)) = session.views.get_mut(call.this.value()) else {
            return Err(not_found(&call.this));
        };
        open.retain(|folder| !known.contains(folder));
        if opens {
            open.extend(known);
        }
        Ok(Answer::many(call, &unknown))
    })
}

fn add(world: &mut World, cookie: &str, call: &Call, view: View) -> Outcome<String> {
    let id = random::session_object();
    let session = world.sessions.get_mut(cookie).ok_or_else(|| not_authenticated(&call.this))?;
    session.views.insert(id.clone(), view);
    Ok(id)
}

/// What is there, each once, and what is not.
fn sorted_out(world: &World, cookie: &str, objects: Vec<MoRef>) -> (Vec<MoRef>, Vec<MoRef>) {
    let session = world.sessions.get(cookie);
    let mut seen = HashSet::new();
    let once = objects.into_iter().filter(|object| seen.insert(object.clone()));
    once.partition(|object| world.node(object, session).is_some())
}

/// What another view of the session shows.
fn shown(world: &World, cookie: &str, view: &MoRef) -> Outcome<Vec<MoRef>> {
    match world.node(view, world.sessions.get(cookie)) {
        Some(Node::View(view)) => Ok(world.view_objects(view)),
        _ => Err(not_found(view)),
    }
}

fn list_of<'w>(world: &'w mut World, cookie: &str, call: &Call) -> Outcome<&'w mut Vec<MoRef>> {
    let session = world.sessions.get_mut(cookie).ok_or_else(|| not_authenticated(&call.this))?;
    match session.views.get_mut(call.this.value()) {
        Some(View::List(list)) => Ok(list),
        _ => Err(not_found(&call.this)),
    }
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
        Some(match (view, name) {
            (_, "view") => refs(self.view_objects(view)),
            (View::Container(container), "container") => container.root.to_value(),
            (View::Container(container), "type") => super::strings(container.types.iter().cloned()),
            (View::Container(container), "recursive") => Value::Bool(container.recursive),
            _ => return None,
        })
    }

    fn view_objects(&self, view: &View) -> Vec<MoRef> {
        match view {
            View::Container(container) => self.contained(container),
            View::Inventory(open) => {
                let mut shown = vec![self.root()];
                let mut at = 0;
                while let Some(object) = shown.get(at) {
                    if open.contains(object) {
                        shown.extend(self.contents(object));
                    }
                    at += 1;
                }
                // A machine is in a folder and on a host.
                let mut seen = HashSet::new();
                shown.retain(|object| seen.insert(object.clone()));
                shown
            }
            // What is gone leaves the list.
            View::List(list) => {
                list.iter().filter(|object| self.node(object, None).is_some()).cloned().collect()
            }
        }
    }

    fn contained(&self, view: &Container) -> Vec<MoRef> {
        let mut found = Vec::new();
        let mut open = vec![view.root.clone()];
        let mut seen = HashSet::from([view.root.clone()]);
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
