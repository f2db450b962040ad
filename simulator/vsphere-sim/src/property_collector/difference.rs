//! What a filter's client does not know yet.

use std::collections::{HashMap, HashSet};

use vim_api::dynamic::Value;
use vim_api::types as t;
use vim_api::{ApiVersion, MoRef};

use super::{Filter, Reported, Told, nested, paths, retrieve, select};
use crate::fault::Outcome;
use crate::inventory::moref;
use crate::session::Session;
use crate::wire::fingerprint;
use crate::world::World;

/// What the properties are now, each with its fingerprint.
type State = HashMap<String, (String, Value)>;

impl Filter {
    /// What the client does not know yet, at most `room` objects of it, and whether something was left over.
    pub(super) fn difference(
        &mut self,
        world: &World,
        session: Option<&Session>,
        version: ApiVersion,
        room: usize,
    ) -> Outcome<(Option<t::PropertyFilterUpdate>, bool)> {
        // An object that was there when the filter was made, and is gone now, is reported and not refused.
        let lenient =
            t::PropertyFilterSpec { report_missing_objects_in_results: Some(true), ..self.spec.clone() };
        let selection = select::select(world, session, &lenient, version)?;
        let looked_at = std::mem::replace(&mut self.looked_at, world.revision());
        let mut updates = Vec::new();
        let mut cut = false;
        let present: HashSet<&MoRef> = selection.objects.iter().collect();
        for object in &selection.objects {
            let unchanged = world.changed_at(object).is_some_and(|changed| changed <= looked_at);
            if unchanged && self.reported.contains_key(object) {
                continue;
            }
            let (now, refused) = self.state(world, session, object, version)?;
            let Some(mut update) = compare(object, self.reported.get(object), &now, version) else {
                continue;
            };
            update.missing_set = refused;
            if updates.len() == room {
                cut = true;
                break;
            }
            updates.push(update);
            let keep = self.partial_updates;
            let told =
                |(path, (fingerprint, value))| (path, Told { fingerprint, value: keep.then_some(value) });
            let reported = now.into_iter().map(told).collect();
            self.reported.insert(object.clone(), reported);
        }
        let gone: Vec<MoRef> =
            self.reported.keys().filter(|object| !present.contains(object)).cloned().collect();
        for object in gone {
            if updates.len() == room {
                cut = true;
                break;
            }
            self.reported.remove(&object);
            updates.push(t::ObjectUpdate {
                kind: t::ObjectUpdateKind::Leave,
                obj: object,
                ..Default::default()
            });
        }
        if cut {
            // What was left over may have changed before this look.
            self.looked_at = looked_at;
        }
        let mut missing = Vec::new();
        if self.spec.report_missing_objects_in_results == Some(true) {
            let newly = selection.missing.iter().filter(|object| !self.missing.contains(object));
            missing = newly.map(retrieve::missing).collect();
            self.missing = selection.missing.clone();
        }
        if updates.is_empty() && missing.is_empty() {
            return Ok((None, cut));
        }
        let update = t::PropertyFilterUpdate {
            filter: moref(&self.id),
            object_set: updates,
            missing_set: missing,
            ..Default::default()
        };
        Ok((Some(update), cut))
    }

    fn state(
        &self,
        world: &World,
        session: Option<&Session>,
        object: &MoRef,
        version: ApiVersion,
    ) -> Outcome<(State, Vec<t::MissingProperty>)> {
        let mut state = HashMap::new();
        let mut refused = Vec::new();
        for path in paths::wanted(&self.spec, object, version) {
            match paths::permitted(paths::read(world, session, object, &path, version))? {
                Ok(Some(value)) => drop(state.insert(path, (fingerprint(&value), value))),
                Ok(None) => {}
                Err(fault) => refused.push(retrieve::missing_property(&path, &fault)),
            }
        }
        Ok((state, refused))
    }
}

/// The update that leads from what was told to what is; `None` if that is the same.
fn compare(
    object: &MoRef,
    told: Option<&Reported>,
    now: &State,
    version: ApiVersion,
) -> Option<t::ObjectUpdate> {
    let mut changes = Vec::new();
    for (path, (print, value)) in now {
        let before = told.and_then(|told| told.get(path));
        match before {
            Some(before) if before.fingerprint == *print => {}
            Some(Told { value: Some(before), .. }) => {
                changes.extend(nested::changes(path, before, value, version));
            }
            _ => changes.push(t::PropertyChange {
                name: path.clone(),
                op: t::PropertyChangeOp::Assign,
                val: Some(value.clone()),
                ..Default::default()
            }),
        }
    }
    for path in told.into_iter().flat_map(HashMap::keys).filter(|path| !now.contains_key(*path)) {
        let op = if path.contains('.') {
            t::PropertyChangeOp::IndirectRemove
        } else {
            t::PropertyChangeOp::Assign
        };
        changes.push(t::PropertyChange { name: path.clone(), op, val: None, ..Default::default() });
    }
    if told.is_some() && changes.is_empty() {
        return None;
    }
    changes.sort_by(|a, b| a.name.cmp(&b.name));
    let kind = if told.is_some() { t::ObjectUpdateKind::Modify } else { t::ObjectUpdateKind::Enter };
    Some(t::ObjectUpdate { kind, obj: object.clone(), change_set: changes, ..Default::default() })
}
