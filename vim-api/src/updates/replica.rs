//! The objects as the consumer knows them, and how updates change them.

use std::collections::HashMap;

use super::Change;
use crate::moref::MoRef;
use crate::property::Properties;
use crate::types::{ObjectUpdate, ObjectUpdateKind};

type Objects<M> = HashMap<MoRef<M>, Properties<M>>;

#[derive(Debug)]
pub(super) struct Replica<M> {
    paths: Vec<String>,
    /// What the consumer has been told.
    objects: Objects<M>,
    /// What has come in of a state that is being read anew. It is told when it is whole: half of it would look as if the
    /// other half had left.
    anew: Option<Objects<M>>,
    in_sync: bool,
}

impl<M: 'static> Replica<M> {
    pub(super) fn new(paths: &[&str]) -> Self {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        Self { paths, objects: HashMap::new(), anew: None, in_sync: false }
    }

    pub(super) fn get(&self, object: &MoRef<M>) -> Option<&Properties<M>> {
        self.objects.get(object)
    }

    pub(super) fn objects(&self) -> impl Iterator<Item = &Properties<M>> {
        self.objects.values()
    }

    /// Whether a whole state has been told.
    pub(super) fn is_in_sync(&self) -> bool {
        self.in_sync
    }

    /// Whether a whole state has come in, and only changes of it are to come.
    pub(super) fn is_settled(&self) -> bool {
        self.in_sync && self.anew.is_none()
    }

    /// What comes next is the whole state, not a change of it.
    pub(super) fn begin_again(&mut self) {
        self.anew = Some(HashMap::new());
    }

    /// Takes one update in, and notes what it says to the consumer. `false` when a change fits nothing that is known: the
    /// state has to be read anew.
    pub(super) fn apply(&mut self, update: ObjectUpdate, told: &mut Vec<Change<M>>) -> bool {
        let object: MoRef<M> = update.obj.cast();
        if update.kind == ObjectUpdateKind::Leave {
            self.leave(&object, told);
            return true;
        }
        let quiet = self.anew.is_some();
        let objects = self.anew.as_mut().unwrap_or(&mut self.objects);
        let is_new = !objects.contains_key(&object);
        let known = objects.entry(object.clone()).or_insert_with(|| Properties::empty(object.clone()));
        let mut changed = Vec::new();
        let mut fits = true;
        for change in update.change_set {
            match known.change(&self.paths, &change.name, change.val) {
                Some(paths) => changed.extend(paths),
                None => {
                    tracing::warn!(%object, path = change.name, "an update does not fit what is known; reading anew");
                    fits = false;
                }
            }
        }
        for missing in update.missing_set {
            changed.extend(known.refuse(&self.paths, missing));
        }
        changed.sort();
        changed.dedup();
        if quiet {
            return fits;
        }
        if is_new {
            told.push(Change::Enter(object));
        } else if !changed.is_empty() {
            told.push(Change::Modify { object, paths: changed });
        }
        fits
    }

    pub(super) fn leave(&mut self, object: &MoRef<M>, told: &mut Vec<Change<M>>) {
        match &mut self.anew {
            Some(anew) => drop(anew.remove(object)),
            None => {
                if self.objects.remove(object).is_some() {
                    told.push(Change::Leave(object.clone()));
                }
            }
        }
    }

    /// The whole state has come in. Tells the difference if it was read anew, and says whether it was.
    pub(super) fn settle(&mut self, told: &mut Vec<Change<M>>) -> bool {
        let anew = self.anew.take();
        let resynced = anew.is_some() && self.in_sync;
        self.in_sync = true;
        let Some(anew) = anew else { return false };
        for object in self.objects.keys().filter(|object| !anew.contains_key(object)) {
            told.push(Change::Leave(object.clone()));
        }
        for (object, now) in &anew {
            match self.objects.get(object) {
                None => told.push(Change::Enter(object.clone())),
                Some(before) => {
                    let paths = now.differences(before);
                    if !paths.is_empty() {
                        told.push(Change::Modify { object: object.clone(), paths });
                    }
                }
            }
        }
        self.objects = anew;
        resynced
    }
}
