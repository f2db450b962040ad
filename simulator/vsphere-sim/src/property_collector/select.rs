//! Which objects a filter is about: its starting objects, and what is reached from them.

use std::collections::{HashMap, HashSet};

use vim_api::dynamic::{Poly, Value, managed_type};
use vim_api::types as t;
use vim_api::{ApiVersion, MoRef};

use super::paths;
use crate::authorization;
use crate::fault::{Outcome, invalid_argument, not_found};
use crate::session::Session;
use crate::world::World;

/// What a filter selects.
pub(super) struct Selection {
    /// Each object once, in the order in which it was reached.
    pub(super) objects: Vec<MoRef>,
    /// Starting objects that do not exist, where the filter wants to be told instead of refused.
    pub(super) missing: Vec<MoRef>,
}

/// Walks a filter's object specs. Only objects that some property spec is about are selected.
pub(super) fn select(
    world: &World,
    session: Option<&Session>,
    spec: &t::PropertyFilterSpec,
    version: ApiVersion,
) -> Outcome<Selection> {
    let mut selection = Selection { objects: Vec::new(), missing: Vec::new() };
    let mut chosen = HashSet::new();
    for start in &spec.object_set {
        if world.node(&start.obj, session).is_none() {
            if spec.report_missing_objects_in_results != Some(true) {
                return Err(not_found(&start.obj));
            }
            selection.missing.push(start.obj.clone());
            continue;
        }
        if !authorization::sees(world, session, &start.obj) {
            if spec.report_missing_objects_in_results != Some(true) {
                return Err(authorization::no_permission(&start.obj, authorization::VIEW));
            }
            continue;
        }
        let mut walk = Walk {
            world,
            session,
            version,
            named: HashMap::new(),
            entered: HashSet::new(),
            reached: Vec::new(),
        };
        walk.learn_names(&start.select_set);
        if start.skip != Some(true) {
            walk.reached.push(start.obj.clone());
        }
        walk.follow(&start.obj, &start.select_set)?;
        for object in walk.reached {
            let wanted = managed_type(object.type_name())
                .is_some_and(|info| spec.prop_set.iter().any(|set| info.is_a(&set.r#type)));
            if wanted && chosen.insert(object.clone()) {
                selection.objects.push(object);
            }
        }
    }
    Ok(selection)
}

struct Walk<'a> {
    world: &'a World,
    session: Option<&'a Session>,
    version: ApiVersion,
    named: HashMap<String, &'a t::TraversalSpec>,
    /// Objects by the traversal that was begun at them: a recursive traversal ends where it has been before.
    entered: HashSet<(MoRef, *const t::TraversalSpec)>,
    reached: Vec<MoRef>,
}

impl<'a> Walk<'a> {
    fn learn_names(&mut self, set: &'a [Poly<t::SelectionSpec>]) {
        for item in set {
            let Some(traversal) = item.downcast_ref::<t::TraversalSpec>() else { continue };
            if let Some(name) = &traversal.name {
                self.named.insert(name.clone(), traversal);
            }
            self.learn_names(&traversal.select_set);
        }
    }

    fn follow(&mut self, start: &MoRef, set: &'a [Poly<t::SelectionSpec>]) -> Outcome<()> {
        // An own stack: the depth of an inventory is the client's to choose.
        let mut open = vec![(start.clone(), set)];
        while let Some((object, set)) = open.pop() {
            for item in set {
                let Some(traversal) = self.resolve(item)? else { continue };
                let is_a = managed_type(object.type_name()).is_some_and(|info| info.is_a(&traversal.r#type));
                if !is_a || !self.entered.insert((object.clone(), std::ptr::from_ref(traversal))) {
                    continue;
                }
                for next in self.targets(&object, traversal)? {
                    if traversal.skip != Some(true) {
                        self.reached.push(next.clone());
                    }
                    open.push((next, &traversal.select_set));
                }
            }
        }
        Ok(())
    }

    /// A traversal, or the one that a mere selection names.
    fn resolve(&self, item: &'a Poly<t::SelectionSpec>) -> Outcome<Option<&'a t::TraversalSpec>> {
        if let Some(traversal) = item.downcast_ref::<t::TraversalSpec>() {
            return Ok(Some(traversal));
        }
        let Some(name) = &item.name else { return Ok(None) };
        match self.named.get(name) {
            Some(traversal) => Ok(Some(traversal)),
            None => Err(invalid_argument("selectSet", format!("No traversal is named \"{name}\"."))),
        }
    }

    fn targets(&self, object: &MoRef, traversal: &t::TraversalSpec) -> Outcome<Vec<MoRef>> {
        // What may not be read leads nowhere.
        Ok(
            match paths::permitted(paths::read(
                self.world,
                self.session,
                object,
                &traversal.path,
                self.version,
            ))?
            .unwrap_or_default()
            {
                Some(Value::MoRef(target)) => vec![target],
                Some(Value::Array(array)) => {
                    let reference = |item| match item {
                        Value::MoRef(target) => Some(target),
                        _ => None,
                    };
                    array.into_items().into_iter().filter_map(reference).collect()
                }
                _ => Vec::new(),
            },
        )
    }
}
