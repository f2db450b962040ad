//! What a rule says.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use vim_api::MoRef;

use super::action::Action;
use crate::fault::{Fault, by_name, with_fields};

/// One rule: what goes wrong, where, and how often. The book's page about fault rules has a table and examples.
///
/// As JSON: `{"method": "CreateSnapshot_Task", "where": "task", "progress": 40, "fault": "SnapshotFault"}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FaultRule {
    /// What is called: at `/sdk` the name of a method, such as `QueryChangedDiskAreas`; at the other endpoints that of the
    /// HTTP method, such as `GET`. `*` stands for any text, here and in the two that follow.
    pub method: String,
    /// Where it is called.
    pub endpoint: Endpoint,
    /// Only calls on this object: its managed object id, such as `vm-101`, and at the other endpoints the path of the URL.
    pub object: Option<String>,
    /// Only calls in sessions of this user.
    pub user: Option<String>,
    /// The first call to suffer, counted from 1 over the calls that match. Not together with `skip`.
    pub nth: Option<u64>,
    /// So many calls that match pass unharmed first. Not together with `nth`.
    pub skip: Option<u64>,
    /// How many calls suffer. If absent: one where `nth` is given, otherwise all.
    pub count: Option<u64>,
    /// Each call that would suffer does so with this probability, from 0 to 1.
    pub probability: Option<f64>,
    /// Which of them do: the same seed strikes at the same calls. 0 if absent.
    pub seed: Option<u64>,
    /// Where it strikes.
    #[serde(rename = "where")]
    pub at: FaultPlace,
    /// Milliseconds to wait before anything else; for a task by the server's clock, otherwise by the real one.
    pub delay_ms: Option<u64>,
    /// For a call: it is carried out, and suffers if it was not answered after so many milliseconds, as a long poll.
    pub after_ms: Option<u64>,
    /// For a call, a task or a lease: name of the fault's type, such as `NotAuthenticated`.
    pub fault: Option<String>,
    /// The words that go with the fault, or with the HTTP status.
    pub message: Option<String>,
    /// The fault's fields by their names: texts, numbers, truth values, `{"type": .., "value": ..}` for references, lists,
    /// and objects, whose `type` says which.
    pub fields: Option<Map<String, Value>>,
    /// For a task or a lease: when it has got this far, in percent; 0 if absent.
    pub progress: Option<i32>,
    /// For HTTP: the status to answer, such as 503. If neither it nor an effect is given, the connection is closed.
    pub status: Option<u16>,
    /// For HTTP with a status: seconds, as the header `Retry-After`.
    pub retry_after: Option<u64>,
    /// What happens to the session, the connection or the bytes.
    pub effect: Option<Effect>,
    /// For a body: the connection is closed after this many bytes of it.
    pub cut_after: Option<u64>,
    /// For a body: after this many bytes nothing comes any more, and the connection stays open.
    pub stall_after: Option<u64>,
    /// For a body: it comes no faster than this.
    pub bytes_per_second: Option<u64>,
    /// For the body of `QueryChangedDiskAreas`: what is wrong with it.
    pub mutate: Option<Mutation>,
    /// For a lease: how it ends.
    pub lease: Option<LeaseEnd>,
    /// For the inventory: what happens before the call is carried out.
    pub action: Option<Action>,
}

/// Where a rule looks for calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Endpoint {
    /// The API and the SOAP services beside it, at `/sdk`, `/pbm` and `/vslm`.
    #[default]
    #[serde(rename = "/sdk")]
    Sdk,
    /// Files of datastores.
    #[serde(rename = "/folder")]
    Folder,
    /// Disks of leases.
    #[serde(rename = "/nfc")]
    Nfc,
    /// REST services, whether at `/rest` or at `/api`.
    #[serde(rename = "/rest")]
    Rest,
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
    /// A lease ends before it was completed.
    Lease,
    /// Somebody else changes the inventory before the call is carried out.
    Inventory,
}

/// What happens beside a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The session of the call ends, for every other call too.
    ExpireSession,
    /// The connection is reset without an answer.
    Reset,
    /// The connection is reset once the answer's head was sent.
    ResetAfterHead,
    /// The answer is whole, but the connection ends without TLS's own end.
    NoCloseNotify,
    /// The answer says that it is compressed, and is not.
    GzipGarbage,
    /// A part that was asked for comes as half of it, and says so.
    ShortRange,
    /// A part that was asked for says that it is another.
    WrongContentRange,
    /// A part was asked for, and all comes, with the status 200.
    IgnoreRange,
    /// Each byte stands one place before its own.
    ShiftedBytes,
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
    /// Areas that did not change are there as well: harmless, if all of it is believed.
    ExtraExtents,
    /// Nothing changed, it says: tracking that lies.
    Omit,
    /// The change id `*` is answered with a `FileFault`; all others are answered well.
    RefuseAll,
}

/// How a lease ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseEnd {
    /// It goes into the state `error`, with the rule's fault.
    Error,
    /// As if nobody had told its progress for too long.
    Timeout,
    /// As if somebody else had aborted it.
    Abort,
}

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

    /// A rule for what goes over the wire at `endpoint`: at `at`, which is `Http` or `Body`.
    pub fn at(endpoint: Endpoint, method: &str, at: FaultPlace) -> Self {
        Self { endpoint, method: method.to_owned(), at, ..Self::default() }
    }

    /// A rule by which somebody does `action` before a call of `method` is carried out.
    pub fn inventory(method: &str, action: Action) -> Self {
        Self { method: method.to_owned(), at: FaultPlace::Inventory, action: Some(action), ..Self::default() }
    }

    /// The same rule, for `count` calls from the `nth` on.
    #[must_use]
    pub fn times(self, nth: u64, count: u64) -> Self {
        Self { nth: Some(nth), count: Some(count), ..self }
    }

    /// The fault that the rule names, about `object`. `None` for a rule without one.
    pub(crate) fn to_fault(&self, object: &MoRef) -> Option<Fault> {
        let mut fault =
            by_name(self.fault.as_deref()?, self.message.as_deref().unwrap_or("Injected fault."), object)?;
        if let Some(fields) = &self.fields {
            // Tried when the rule was added.
            fault = with_fields(&fault, fields).ok()?;
        }
        Some(fault)
    }

    /// How long to wait before anything else.
    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.unwrap_or(0))
    }
}
