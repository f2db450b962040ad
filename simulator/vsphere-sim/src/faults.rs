//! Faults on demand: rules that make calls, tasks and answers go wrong.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use vim_api::MoRef;

use crate::fault::{Fault, by_name};
use crate::{Error, ErrorKind, Result};

/// One rule: what goes wrong, where, and how often.
///
/// As JSON: `{"method": "CreateSnapshot_Task", "where": "task", "progress": 40, "fault": "SnapshotFault"}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultRule {
    /// Method name, such as `QueryChangedDiskAreas`; `*` for every method. `REST`, with the path as the object, for requests
    /// to REST services, which have only the place `Http`.
    pub method: String,
    /// Only calls on this object (its managed object id, such as `vm-101`).
    pub object: Option<String>,
    /// The first call to suffer, counted from 1 over the calls that match; 1 if absent.
    pub nth: Option<u64>,
    /// How many calls suffer from then on. If absent: one where `nth` is given, otherwise all.
    pub count: Option<u64>,
    /// Where it strikes.
    #[serde(rename = "where")]
    pub at: FaultPlace,
    /// For a call or a task: name of the fault's type, such as `NotAuthenticated`.
    pub fault: Option<String>,
    /// The words that go with the fault.
    pub message: Option<String>,
    /// For a task: it fails when it has got this far, in percent; 0 if absent.
    pub progress: Option<i32>,
    /// For HTTP: the status to answer, such as 503. If absent, the connection is closed without an answer.
    pub status: Option<u16>,
    /// For a body: the connection is closed after this many bytes of it.
    pub cut_after: Option<usize>,
    /// For the body of `QueryChangedDiskAreas`: what is wrong with it.
    pub mutate: Option<Mutation>,
}

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultPlace {
    /// The call itself is answered with a fault.
    #[default]
    Call,
    /// The call succeeds, its task fails.
    Task,
    /// The HTTP exchange fails; the call is not carried out.
    Http,
    /// The call is carried out, its answer is spoilt.
    Body,
}

/// A wrong answer of `QueryChangedDiskAreas`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mutation {
    /// The window is empty: whoever goes on from its end never gets anywhere.
    Stall,
    /// The window begins beyond what was asked for.
    Gap,
    /// The windows do not add up to the capacity: the first ends too early, the others past the end of the disk.
    ShortSum,
    /// Two areas overlap.
    Overlap,
    /// An area reaches past the end of the disk.
    BeyondCapacity,
}

/// The rules in force, with their counters.
#[derive(Debug, Default)]
pub(crate) struct FaultBook(Mutex<Vec<(FaultRule, u64)>>);

impl FaultRule {
    /// A rule that answers every call of `method` with the fault called `fault`.
    pub fn call(method: &str, fault: &str) -> Self {
        Self { method: method.to_owned(), fault: Some(fault.to_owned()), ..Self::default() }
    }

    /// A rule that lets the task of every call of `method` fail when it is `progress` percent done.
    pub fn task(method: &str, fault: &str, progress: i32) -> Self {
        Self { at: FaultPlace::Task, progress: Some(progress), ..Self::call(method, fault) }
    }

    /// A rule that spoils the answers of `QueryChangedDiskAreas`.
    pub fn changed_areas(mutation: Mutation) -> Self {
        Self {
            method: "QueryChangedDiskAreas".to_owned(),
            at: FaultPlace::Body,
            mutate: Some(mutation),
            ..Self::default()
        }
    }

    /// The same rule, for `count` calls from the `nth` on.
    #[must_use]
    pub fn times(self, nth: u64, count: u64) -> Self {
        Self { nth: Some(nth), count: Some(count), ..self }
    }

    /// The fault that the rule names, about `object`.
    pub(crate) fn to_fault(&self, object: &MoRef) -> Option<Fault> {
        by_name(self.fault.as_deref()?, self.message.as_deref().unwrap_or("Injected fault."), object)
    }

    fn check(&self) -> Result<()> {
        let refuse = |why: String| Err(Error::new(ErrorKind::InvalidArgument, why));
        if self.method.is_empty() {
            return refuse("a fault rule must name a method, or \"*\"".to_owned());
        }
        match self.at {
            FaultPlace::Call | FaultPlace::Task if self.to_fault(&MoRef::default()).is_none() => {
                refuse(format!("{:?} is not the name of a fault's type", self.fault.as_deref().unwrap_or("")))
            }
            FaultPlace::Body if self.cut_after.is_none() && self.mutate.is_none() => {
                refuse("a rule for a body must say where to cut it or how to spoil it".to_owned())
            }
            FaultPlace::Http if self.status.is_some_and(|status| !(100..=599).contains(&status)) => {
                refuse("an HTTP status lies between 100 and 599".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl FaultBook {
    /// Adds a rule.
    pub(crate) fn add(&self, rule: FaultRule) -> Result<()> {
        rule.check()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((rule, 0));
        Ok(())
    }

    /// Drops all rules.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Counts a call for the rules of that place, and answers the first rule that strikes.
    pub(crate) fn strike(&self, at: FaultPlace, method: &str, object: &str) -> Option<FaultRule> {
        self.strike_where(method, object, |rule| rule.at == at)
    }

    /// Where to cut an answer's bytes, if a rule says so.
    pub(crate) fn strike_cut(&self, method: &str, object: &str) -> Option<usize> {
        let cuts = |rule: &FaultRule| rule.at == FaultPlace::Body && rule.cut_after.is_some();
        self.strike_where(method, object, cuts)?.cut_after
    }

    /// How to spoil an answer of `QueryChangedDiskAreas`, if a rule says so.
    pub(crate) fn strike_areas(&self, object: &str) -> Option<Mutation> {
        let spoils = |rule: &FaultRule| rule.at == FaultPlace::Body && rule.mutate.is_some();
        self.strike_where("QueryChangedDiskAreas", object, spoils)?.mutate
    }

    fn strike_where(
        &self,
        method: &str,
        object: &str,
        suits: impl Fn(&FaultRule) -> bool,
    ) -> Option<FaultRule> {
        let mut rules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hit = None;
        for (rule, seen) in rules.iter_mut() {
            let matches = suits(rule)
                && (rule.method == method || rule.method == "*")
                && rule.object.as_deref().is_none_or(|wanted| wanted == object);
            if !matches {
                continue;
            }
            *seen += 1;
            let first = rule.nth.unwrap_or(1).max(1);
            let count = rule.count.unwrap_or(if rule.nth.is_some() { 1 } else { u64::MAX });
            if hit.is_none() && *seen >= first && *seen - first < count {
                hit = Some(rule.clone());
            }
        }
        hit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_strike_as_often_as_asked() {
        let book = FaultBook::default();
        book.add(FaultRule::call("A", "NotAuthenticated").times(2, 2)).unwrap();
        book.add(FaultRule { object: Some("vm-1".to_owned()), ..FaultRule::call("*", "TaskInProgress") })
            .unwrap();
        let struck =
            |method, object| book.strike(FaultPlace::Call, method, object).and_then(|rule| rule.fault);
        assert_eq!(struck("A", "x"), None);
        assert_eq!(struck("A", "x").as_deref(), Some("NotAuthenticated"));
        assert_eq!(struck("A", "x").as_deref(), Some("NotAuthenticated"));
        assert_eq!(struck("A", "x"), None);
        assert_eq!(struck("B", "vm-1").as_deref(), Some("TaskInProgress"));
        assert_eq!(book.strike(FaultPlace::Task, "B", "vm-1"), None);
        book.clear();
        assert_eq!(struck("B", "vm-1"), None);
    }

    #[test]
    fn rules_that_cannot_work_are_refused() {
        let book = FaultBook::default();
        for rule in [
            FaultRule::call("A", "NoSuchFault"),
            FaultRule::call("A", "VirtualMachineConfigInfo"),
            FaultRule::call("", "NotAuthenticated"),
            FaultRule { method: "A".to_owned(), at: FaultPlace::Body, ..FaultRule::default() },
        ] {
            assert_eq!(book.add(rule).unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn json_form() {
        let rule: FaultRule = serde_json::from_str(
            r#"{"method": "CreateSnapshot_Task", "where": "task", "progress": 40, "fault": "SnapshotFault"}"#,
        )
        .unwrap();
        assert_eq!(rule, FaultRule::task("CreateSnapshot_Task", "SnapshotFault", 40));
        assert!(serde_json::from_str::<FaultRule>(r#"{"method": "X", "wher": "task"}"#).is_err());
    }
}
