//! Faults on demand: rules that make calls, tasks, answers, leases and the inventory go wrong.
//!
//! Whoever serves something asks the book: [`FaultBook::strike`] with the place and what is [`Asked`]. It counts the call
//! and answers the rule that strikes, if one does.

mod action;
mod call;
mod check;
mod rule;

use std::sync::{Mutex, PoisonError};

use crate::fault::Fault;
use crate::wire::Call;
use crate::{Error, ErrorKind, Result};

pub use action::Action;
pub(crate) use action::play;
pub(crate) use call::{expire, suffer};
pub use rule::{Effect, Endpoint, FaultPlace, FaultRule, LeaseEnd, Mutation};

/// What is asked for, as rules select it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) endpoint: Endpoint,
    /// At `/sdk` the method, elsewhere the HTTP method.
    pub(crate) method: &'a str,
    /// At `/sdk` the managed object id, elsewhere the path of the URL.
    pub(crate) object: &'a str,
    /// Whose session it is, where there is one.
    pub(crate) user: Option<&'a str>,
}

/// A rule in force, and what has become of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultState {
    /// Its number, by which it can be taken back.
    pub id: u64,
    /// What it says.
    pub rule: FaultRule,
    /// Calls that matched so far.
    pub seen: u64,
    /// Calls that suffered so far.
    pub hits: u64,
}

/// How a lease is to end before its time.
#[derive(Debug, Clone)]
pub(crate) struct LeaseFault {
    pub(crate) end: LeaseEnd,
    /// For [`LeaseEnd::Error`]: what stands in the lease's `error`.
    pub(crate) fault: Option<Fault>,
}

/// The rules in force, with their counters.
#[derive(Debug, Default)]
pub(crate) struct FaultBook(Mutex<Book>);

#[derive(Debug, Default)]
struct Book {
    entries: Vec<Entry>,
    last: u64,
}

#[derive(Debug)]
struct Entry {
    state: FaultState,
    chance: Chance,
}

/// A small deterministic generator, SplitMix64: a rule with the same seed strikes at the same calls on every machine.
#[derive(Debug)]
struct Chance(u64);

impl<'a> Asked<'a> {
    /// A method call.
    pub(crate) fn of(call: &'a Call) -> Self {
        Self::on(call, call.this.value())
    }

    /// A method call that counts as one on `object`, such as the machine of the snapshot that is called.
    pub(crate) fn on(call: &'a Call, object: &'a str) -> Self {
        Self { endpoint: Endpoint::Sdk, method: &call.method, object, user: call.user.as_deref() }
    }
}

impl FaultBook {
    /// Adds a rule and answers its number.
    pub(crate) fn add(&self, rule: FaultRule) -> Result<u64> {
        rule.check()?;
        let mut book = self.lock();
        book.last += 1;
        let id = book.last;
        let chance = Chance(rule.seed.unwrap_or(0));
        tracing::info!(rule = id, place = ?rule.at, method = rule.method, "fault rule added");
        book.entries.push(Entry { state: FaultState { id, rule, seen: 0, hits: 0 }, chance });
        Ok(id)
    }

    /// Drops a rule.
    pub(crate) fn remove(&self, id: u64) -> Result<()> {
        let mut book = self.lock();
        let at = book.entries.iter().position(|entry| entry.state.id == id);
        let at = at.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no fault rule {id}")))?;
        book.entries.remove(at);
        tracing::info!(rule = id, "fault rule taken back");
        Ok(())
    }

    /// Drops all rules.
    pub(crate) fn clear(&self) {
        self.lock().entries.clear();
        tracing::info!("all fault rules taken back");
    }

    /// All rules, the oldest first.
    pub(crate) fn list(&self) -> Vec<FaultState> {
        self.lock().entries.iter().map(|entry| entry.state.clone()).collect()
    }

    /// Counts a call for the rules of that place, and answers the first rule that strikes. The others have counted it
    /// too, but are not used up by it.
    pub(crate) fn strike(&self, at: FaultPlace, asked: &Asked<'_>) -> Option<FaultRule> {
        self.strikes(asked, 1, |rule| rule.at == at && rule.mutate.is_none()).pop()
    }

    /// How to spoil an answer of `QueryChangedDiskAreas`, if a rule says so.
    pub(crate) fn strike_areas(&self, asked: &Asked<'_>) -> Option<Mutation> {
        // First-class disks have a method of their own for it.
        let asked = Asked { method: "QueryChangedDiskAreas", ..*asked };
        self.strikes(&asked, 1, |rule| rule.mutate.is_some()).pop()?.mutate
    }

    /// How a lease ends, if a rule says so. To be asked at each call on a lease: `percent` is how far it has got.
    pub(crate) fn strike_lease(&self, asked: &Asked<'_>, percent: i32) -> Option<LeaseFault> {
        let due = |rule: &FaultRule| rule.at == FaultPlace::Lease && rule.progress.unwrap_or(0) <= percent;
        LeaseFault::of(self.strikes(asked, 1, due).pop()?, asked)
    }

    /// How a lease will end during a transfer, if a rule says so, and how far the transfer gets, in percent.
    pub(crate) fn plan_lease(&self, asked: &Asked<'_>) -> Option<(i32, LeaseFault)> {
        let rule = self.strike(FaultPlace::Lease, asked)?;
        Some((rule.progress.unwrap_or(0), LeaseFault::of(rule, asked)?))
    }

    /// What happens to the inventory before a call is carried out: every rule that strikes, not only the first.
    fn strike_inventory(&self, asked: &Asked<'_>) -> Vec<FaultRule> {
        self.strikes(asked, usize::MAX, |rule| rule.at == FaultPlace::Inventory)
    }

    fn strikes(&self, asked: &Asked<'_>, most: usize, suits: impl Fn(&FaultRule) -> bool) -> Vec<FaultRule> {
        let mut hit = Vec::new();
        for entry in &mut self.lock().entries {
            let Entry { state, chance } = entry;
            if !suits(&state.rule) || !state.rule.selects(asked) {
                continue;
            }
            state.seen += 1;
            if hit.len() < most && state.is_due() && chance.is_for(state.rule.probability) {
                state.hits += 1;
                tracing::info!(
                    rule = state.id,
                    place = ?state.rule.at,
                    method = asked.method,
                    object = crate::lease::without_token(asked.object),
                    user = asked.user,
                    hits = state.hits,
                    "fault rule strikes"
                );
                hit.push(state.rule.clone());
            }
        }
        hit
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LeaseFault {
    fn of(rule: FaultRule, asked: &Asked<'_>) -> Option<Self> {
        let object = vim_api::MoRef::of_type("HttpNfcLease", asked.object);
        Some(Self { end: rule.lease?, fault: rule.to_fault(&object) })
    }
}

impl FaultState {
    /// As the control port shows it, without the fields that the rule leaves out.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let mut rule = serde_json::json!(self.rule);
        if let Some(fields) = rule.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        serde_json::json!({ "id": self.id, "seen": self.seen, "hits": self.hits, "rule": rule })
    }

    /// Whether the call that was counted last is one of those that suffer, unless chance has it otherwise.
    fn is_due(&self) -> bool {
        let skipped = self.rule.skip.unwrap_or_else(|| self.rule.nth.map_or(0, |nth| nth.saturating_sub(1)));
        let count = self.rule.count.unwrap_or(if self.rule.nth.is_some() { 1 } else { u64::MAX });
        self.seen > skipped && self.hits < count
    }
}

impl FaultRule {
    fn selects(&self, asked: &Asked<'_>) -> bool {
        let method = if self.method.is_empty() { "*" } else { &self.method };
        self.endpoint == asked.endpoint
            && fits(method, asked.method)
            && self.object.as_deref().is_none_or(|wanted| fits(wanted, asked.object))
            && self.user.as_deref().is_none_or(|wanted| asked.user.is_some_and(|user| fits(wanted, user)))
    }
}

impl Chance {
    fn is_for(&mut self, probability: Option<f64>) -> bool {
        let Some(probability) = probability else { return true };
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        // 53 bits fill a fraction exactly.
        probability > (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Whether `text` is what `pattern` says, in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(method: &'a str, object: &'a str) -> Asked<'a> {
        Asked { endpoint: Endpoint::Sdk, method, object, user: Some("me") }
    }

    #[test]
    fn rules_strike_as_often_as_asked() {
        let book = FaultBook::default();
        book.add(FaultRule::call("A", "NotAuthenticated").times(2, 2)).unwrap();
        book.add(FaultRule { object: Some("vm-1".to_owned()), ..FaultRule::call("*", "TaskInProgress") })
            .unwrap();
        let struck = |method, object| {
            book.strike(FaultPlace::Call, &asked(method, object)).and_then(|rule| rule.fault)
        };
        assert_eq!(struck("A", "x"), None);
        assert_eq!(struck("A", "x").as_deref(), Some("NotAuthenticated"));
        assert_eq!(struck("A", "x").as_deref(), Some("NotAuthenticated"));
        assert_eq!(struck("A", "x"), None);
        assert_eq!(struck("B", "vm-1").as_deref(), Some("TaskInProgress"));
        assert_eq!(book.strike(FaultPlace::Task, &asked("B", "vm-1")), None);
        let states: Vec<_> =
            book.list().into_iter().map(|state| (state.id, state.seen, state.hits)).collect();
        assert_eq!(states, [(1, 4, 2), (2, 1, 1)]);
        book.remove(2).unwrap();
        assert_eq!(struck("B", "vm-1"), None);
        assert_eq!(book.remove(2).unwrap_err().kind(), ErrorKind::NotFound);
        book.clear();
        assert!(book.list().is_empty());
    }

    #[test]
    fn selectors() {
        let book = FaultBook::default();
        let rule = |rule| book.add(rule).unwrap();
        rule(FaultRule { user: Some("someone*".to_owned()), ..FaultRule::call("A", "NoPermission") });
        assert_eq!(book.strike(FaultPlace::Call, &asked("A", "x")), None);
        let someone = Asked { user: Some("someone@else"), ..asked("A", "x") };
        assert!(book.strike(FaultPlace::Call, &someone).is_some());
        assert_eq!(book.strike(FaultPlace::Call, &Asked { user: None, ..someone }), None);
        let folder = Asked { endpoint: Endpoint::Folder, ..asked("GET", "/folder/a/b-flat.vmdk") };
        rule(FaultRule::at(Endpoint::Sdk, "*", FaultPlace::Http));
        assert_eq!(book.strike(FaultPlace::Http, &folder), None);
        rule(FaultRule {
            object: Some("*-flat.vmdk".to_owned()),
            ..FaultRule::at(Endpoint::Folder, "", FaultPlace::Http)
        });
        assert!(book.strike(FaultPlace::Http, &folder).is_some());
        for (pattern, text, is_fit) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*b*c", "a-b-c-c", true),
            ("a*b*c", "a-c-c", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(fits(pattern, text), is_fit, "{pattern} {text}");
        }
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed() {
        let strikes = |seed| {
            let book = FaultBook::default();
            let rule = FaultRule::call("A", "NotAuthenticated");
            book.add(FaultRule { probability: Some(0.3), seed: Some(seed), ..rule }).unwrap();
            (0..1000).map(|_| book.strike(FaultPlace::Call, &asked("A", "x")).is_some()).collect::<Vec<_>>()
        };
        assert_eq!(strikes(7), strikes(7));
        assert_ne!(strikes(7), strikes(8));
        let hits = strikes(7).iter().filter(|hit| **hit).count();
        assert!((230..370).contains(&hits), "{hits}");
    }

    #[test]
    fn skipping_counts_calls_and_counting_hits() {
        let book = FaultBook::default();
        let rule = FaultRule::call("A", "NotAuthenticated");
        book.add(FaultRule { skip: Some(2), count: Some(1), ..rule }).unwrap();
        let struck: Vec<bool> =
            (0..5).map(|_| book.strike(FaultPlace::Call, &asked("A", "x")).is_some()).collect();
        assert_eq!(struck, [false, false, true, false, false]);
    }

    #[test]
    fn a_lease_ends_when_it_has_got_far_enough() {
        let book = FaultBook::default();
        book.add(FaultRule {
            at: FaultPlace::Lease,
            lease: Some(LeaseEnd::Error),
            progress: Some(50),
            ..FaultRule::call("*", "FileFault")
        })
        .unwrap();
        assert!(book.strike_lease(&asked("HttpNfcLeaseProgress", "session[1]2"), 49).is_none());
        let struck = book.strike_lease(&asked("HttpNfcLeaseProgress", "session[1]2"), 50).unwrap();
        assert_eq!(struck.end, LeaseEnd::Error);
        assert_eq!(struck.fault.unwrap().fault.type_name(), "FileFault");
    }

    #[test]
    fn what_can_never_work_is_refused_by_the_name_of_its_field() {
        for (json, field, hint) in [
            (r#"{"method": "A", "wher": "task"}"#, "\"wher\"", "expected one of"),
            (r#"{"method": "A", "where": "tsak", "fault": "FileFault"}"#, "\"where\"", "`task`"),
            (r#"{"method": "A", "nth": "two", "fault": "FileFault"}"#, "\"nth\"", "u64"),
            (r#"{"method": "A", "nth": 0, "fault": "FileFault"}"#, "\"nth\"", "from 1"),
            (r#"{"method": "A", "nth": 1, "skip": 1, "fault": "FileFault"}"#, "\"skip\"", "exclude"),
            (r#"{"method": "A", "probability": 1.5, "fault": "FileFault"}"#, "\"probability\"", "0 and 1"),
            (r#"{"method": "A", "seed": 1, "fault": "FileFault"}"#, "\"seed\"", "\"probability\""),
            (r#"{"fault": "FileFault"}"#, "\"method\"", "\"*\""),
            (r#"{"endpoint": "/file", "where": "http"}"#, "\"endpoint\"", "`/folder`"),
            (r#"{"endpoint": "/folder", "fault": "FileFault"}"#, "\"endpoint\"", "\"http\""),
            (r#"{"method": "A"}"#, "\"fault\"", "\"expire_session\""),
            (r#"{"method": "A", "fault": "NoSuchFault"}"#, "\"fault\"", "FileFault"),
            (r#"{"method": "A", "fault": "VirtualMachineConfigInfo"}"#, "\"fault\"", "name of a fault"),
            (r#"{"method": "A", "fault": "FileFault", "fields": {"fil": "x"}}"#, "\"fil\"", "\"file\""),
            (r#"{"method": "A", "fault": "TaskInProgress", "fields": {"task": 1}}"#, "\"task\"", "type"),
            (r#"{"method": "A", "fault": "FileFault", "cut_after": 1}"#, "\"cut_after\"", "\"body\""),
            (r#"{"method": "A", "where": "task"}"#, "\"fault\"", "\"delay_ms\""),
            (
                r#"{"method": "A", "where": "task", "fault": "FileFault", "progress": 101}"#,
                "\"progress\"",
                "100",
            ),
            (r#"{"method": "A", "where": "http", "status": 99}"#, "\"status\"", "200 to 599"),
            (r#"{"method": "A", "where": "http", "retry_after": 9}"#, "\"retry_after\"", "\"status\""),
            (r#"{"method": "A", "where": "http", "effect": "gzip_garbage"}"#, "\"effect\"", "\"reset\""),
            (r#"{"method": "A", "where": "http", "effect": "explode"}"#, "\"effect\"", "`reset`"),
            (r#"{"method": "A", "where": "body"}"#, "body", "\"cut_after\""),
            (
                r#"{"method": "A", "where": "body", "bytes_per_second": 0}"#,
                "\"bytes_per_second\"",
                "at least 1",
            ),
            (
                r#"{"method": "A", "where": "body", "mutate": "gap"}"#,
                "\"mutate\"",
                "\"QueryChangedDiskAreas\"",
            ),
            (r#"{"method": "A", "where": "lease"}"#, "\"lease\"", "\"timeout\""),
            (r#"{"method": "A", "where": "lease", "lease": "error"}"#, "\"fault\"", "name of a fault"),
            (r#"{"method": "A", "where": "inventory"}"#, "\"action\"", "\"vanish\""),
            (
                r#"{"method": "A", "where": "inventory", "action": {"do": "explode"}}"#,
                "\"action\"",
                "`vanish`",
            ),
            (r#"{"method": "A", "where": "inventory", "action": {"do": "rename"}}"#, "\"action\"", "`name`"),
            (r#"{"method": "A", "after_ms": 5, "delay_ms": 1}"#, "\"after_ms\"", "\"fault\""),
            (r#"["method"]"#, "object", "fields"),
        ] {
            let refused = FaultRule::from_json(&serde_json::from_str(json).unwrap()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
            let text = refused.to_string();
            assert!(text.contains(field) && text.contains(hint), "{json}: {text}");
        }
    }

    #[test]
    fn json_form() {
        let rule = FaultRule::from_json(&serde_json::json!({
            "method": "CreateSnapshot_Task", "where": "task", "progress": 40, "fault": "SnapshotFault"
        }));
        assert_eq!(rule.unwrap(), FaultRule::task("CreateSnapshot_Task", "SnapshotFault", 40));
    }

    #[test]
    fn fields_fill_the_fault_in() {
        let rule = FaultRule::from_json(&serde_json::json!({
            "method": "A", "fault": "TaskInProgress", "message": "busy",
            "fields": { "task": { "type": "Task", "value": "task-77" } }
        }));
        let fault = rule.unwrap().to_fault(&vim_api::MoRef::default()).unwrap();
        let busy = fault.fault.downcast_ref::<vim_api::types::TaskInProgress>().unwrap();
        assert_eq!((busy.task.value(), fault.message.as_str()), ("task-77", "busy"));
    }
}
