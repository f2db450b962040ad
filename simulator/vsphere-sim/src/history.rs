//! What has happened: rings of events and of tasks, and the collectors by which a session pages through them.

pub(crate) mod collector;

use std::collections::VecDeque;

use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::authorization::{Rights, lineage};
use crate::inventory::moref;
use crate::world::World;

/// How much is remembered of each kind.
const MOST: usize = 10_000;

/// Items in the order in which they came, with keys that count up. The oldest are forgotten.
pub(crate) struct Ring<T> {
    items: VecDeque<Item<T>>,
    last: i32,
}

/// Something that happened to an object of the inventory.
pub(crate) struct Item<T> {
    pub(crate) key: i32,
    /// The object that it is about, then all that it was in at the time.
    pub(crate) lineage: Vec<MoRef>,
    pub(crate) value: T,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), last: 0 }
    }
}

impl<T> Ring<T> {
    /// The key of the next item.
    pub(crate) fn next_key(&self) -> i32 {
        self.last.saturating_add(1)
    }

    /// Adds an item.
    pub(crate) fn push(&mut self, lineage: Vec<MoRef>, value: T) {
        self.last = self.next_key();
        self.items.push_back(Item { key: self.last, lineage, value });
        if self.items.len() > MOST {
            self.items.pop_front();
        }
    }

    /// The items, the oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Item<T>> {
        self.items.iter()
    }
}

impl<T> Item<T> {
    /// Whether it is about `entity`, about what is in it, or either. `recursion` is the name of the API's option.
    pub(crate) fn is_within(&self, entity: &MoRef, recursion: &str) -> bool {
        let (itself, above) = match self.lineage.split_first() {
            Some((first, above)) => (first == entity, above.contains(entity)),
            None => (false, false),
        };
        match recursion {
            "self" => itself,
            "children" => above && !itself,
            _ => itself || above,
        }
    }

    /// Whether somebody may see it: what is left of its object decides.
    pub(crate) fn is_seen(&self, world: &World, rights: &Rights<'_>) -> bool {
        let left = self.lineage.iter().find(|object| world.node(object, None).is_some());
        left.is_none_or(|object| rights.sees(object))
    }
}

/// The tasks of the past, as they were last seen.
#[derive(Default)]
pub(crate) struct TaskHistory {
    pub(crate) ring: Ring<t::TaskInfo>,
}

impl World {
    /// Remembers a task, or what has become of it.
    pub(crate) fn note_task(&mut self, info: &t::TaskInfo) {
        let known = self.history.ring.items.iter_mut().rev().find(|item| item.value.key == info.key);
        if let Some(known) = known {
            known.value = info.clone();
            return;
        }
        let lineage = self.lineage_of(info.entity.as_ref().map(MoRef::cast).as_ref());
        self.history.ring.push(lineage, info.clone());
    }

    /// An object and all that it is in: the folders above it, and for a machine its host and cluster too. The root
    /// alone for what is about nothing.
    pub(crate) fn lineage_of(&self, entity: Option<&MoRef>) -> Vec<MoRef> {
        let Some(entity) = entity else { return vec![self.root()] };
        let mut lineage = lineage(self, entity);
        if let Some(host) = self.host_of(entity) {
            for object in crate::authorization::lineage(self, &host.cast()) {
                if !lineage.contains(&object) {
                    lineage.push(object);
                }
            }
        }
        lineage
    }

    /// The host that a machine runs on.
    pub(crate) fn host_of(&self, entity: &MoRef) -> Option<MoRef<mo::HostSystem>> {
        if entity.type_name() != "VirtualMachine" {
            return None;
        }
        self.machine(entity.value()).map(|machine| moref(&machine.host))
    }
}
