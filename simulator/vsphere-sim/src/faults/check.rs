//! Rules that can never work are refused when they are given, with the name of the field that is wrong.

use serde::Deserialize;
use serde_json::{Map, Value};
use vim_api::MoRef;

use super::rule::{Effect, Endpoint, FaultPlace, FaultRule, LeaseEnd};
use crate::fault::with_fields;
use crate::{Error, ErrorKind, Result};

/// The fields that only some places have, and those places. All others are for every rule.
const ONLY_AT: [(&str, &[FaultPlace]); 14] = {
    use FaultPlace::{Body, Call, Http, Inventory, Lease, Task};
    [
        ("delay_ms", &[Call, Task, Http, Body]),
        ("after_ms", &[Call]),
        ("fault", &[Call, Task, Lease]),
        ("message", &[Call, Task, Http, Lease]),
        ("fields", &[Call, Task, Lease]),
        ("progress", &[Task, Lease]),
        ("status", &[Http]),
        ("retry_after", &[Http]),
        ("effect", &[Call, Http, Body]),
        ("cut_after", &[Body]),
        ("stall_after", &[Body]),
        ("bytes_per_second", &[Body]),
        ("lease", &[Lease]),
        ("action", &[Inventory]),
    ]
};

impl FaultRule {
    /// Reads a rule. The error names the field that is wrong, and what would be right.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no JSON object, or has a field that rules do not have, or a value that this field
    /// cannot have, or says what can never work.
    pub fn from_json(json: &Value) -> Result<Self> {
        let Value::Object(fields) = json else {
            return refuse(format!("a fault rule is an object with fields, not {json}"));
        };
        let rule = match Self::deserialize(json) {
            Ok(rule) => rule,
            // Every field may be left out, so the one that is wrong is also wrong alone.
            Err(error) => {
                let is_wrong = |(name, value): &(&String, &Value)| {
                    let alone = Map::from_iter([((*name).clone(), (*value).clone())]);
                    Self::deserialize(Value::Object(alone)).is_err()
                };
                let culprit = fields.iter().find(is_wrong).map_or("?", |(name, _)| name.as_str());
                return refuse(format!("the field \"{culprit}\" of a fault rule: {error}"));
            }
        };
        rule.check()?;
        Ok(rule)
    }

    /// Whether the rule can work at all.
    ///
    /// # Errors
    /// `InvalidArgument`, with the name of the field.
    pub(super) fn check(&self) -> Result<()> {
        if self.method.is_empty() && self.endpoint == Endpoint::Sdk {
            return refuse("the field \"method\" must name a method, or be \"*\" for all of them");
        }
        let soap_only = matches!(self.at, FaultPlace::Call | FaultPlace::Task | FaultPlace::Inventory);
        if self.endpoint != Endpoint::Sdk && soap_only {
            return refuse(format!(
                "the field \"endpoint\" may be other than \"/sdk\" only with \"where\" as \"http\", \"body\" or \
                 \"lease\", not {}",
                text(&self.at)
            ));
        }
        self.check_counters()?;
        self.check_places()?;
        match self.at {
            FaultPlace::Call => self.check_call(),
            FaultPlace::Task if self.fault.is_none() && self.delay_ms.is_none() => refuse(
                "a rule for a task needs the field \"fault\", the name of a fault's type, or \"delay_ms\"",
            ),
            FaultPlace::Task => self.check_fault(),
            FaultPlace::Http => self.check_http(),
            FaultPlace::Body => self.check_body(),
            FaultPlace::Lease => self.check_lease(),
            FaultPlace::Inventory if self.action.is_none() => {
                refuse("a rule for the inventory needs the field \"action\", such as {\"do\": \"vanish\"}")
            }
            FaultPlace::Inventory => Ok(()),
        }
    }

    fn check_counters(&self) -> Result<()> {
        if self.nth.is_some() && self.skip.is_some() {
            return refuse(
                "the fields \"nth\" and \"skip\" exclude each other: the nth is the first after nth - 1",
            );
        }
        if self.nth == Some(0) {
            return refuse("the field \"nth\" counts from 1");
        }
        if self.probability.is_some_and(|probability| !(0.0..=1.0).contains(&probability)) {
            return refuse("the field \"probability\" lies between 0 and 1");
        }
        if self.seed.is_some() && self.probability.is_none() {
            return refuse("the field \"seed\" belongs to \"probability\"");
        }
        if self.progress.is_some_and(|progress| !(0..=100).contains(&progress)) {
            return refuse("the field \"progress\" is in percent, from 0 to 100");
        }
        Ok(())
    }

    fn check_places(&self) -> Result<()> {
        let json = serde_json::to_value(self)
            .map_err(|error| Error::caused(ErrorKind::InvalidArgument, "writing a fault rule", error))?;
        for (name, places) in ONLY_AT {
            if !json[name].is_null() && !places.contains(&self.at) {
                let places: Vec<String> = places.iter().map(text).collect();
                return refuse(format!(
                    "the field \"{name}\" belongs to rules with \"where\" as {}, not {}",
                    places.join(" or "),
                    text(&self.at)
                ));
            }
        }
        Ok(())
    }

    fn check_call(&self) -> Result<()> {
        self.check_effect(&[Effect::ExpireSession])?;
        if self.after_ms.is_some() && self.fault.is_none() && self.effect.is_none() {
            return refuse(
                "the field \"after_ms\" belongs to \"fault\" or \"effect\": what comes after that time",
            );
        }
        if self.fault.is_none() && self.effect.is_none() && self.delay_ms.is_none() {
            return refuse(
                "a rule for a call needs the field \"fault\", the name of a fault's type, or \"effect\" as \
                 \"expire_session\", or \"delay_ms\"",
            );
        }
        self.check_fault()
    }

    fn check_fault(&self) -> Result<()> {
        let Some(name) = self.fault.as_deref() else {
            return match self.fields {
                Some(_) => refuse("the field \"fields\" belongs to \"fault\""),
                None => Ok(()),
            };
        };
        let bare = Self { fields: None, ..self.clone() };
        let Some(fault) = bare.to_fault(&MoRef::default()) else {
            return refuse(format!(
                "the field \"fault\": {name:?} is not the name of a fault's type, such as \"FileFault\""
            ));
        };
        match &self.fields {
            Some(fields) => with_fields(&fault, fields).map(|_| ()).or_else(refuse),
            None => Ok(()),
        }
    }

    fn check_http(&self) -> Result<()> {
        self.check_effect(&[Effect::ExpireSession, Effect::Reset])?;
        if self.status.is_some_and(|status| !(200..=599).contains(&status)) {
            return refuse("the field \"status\" is an HTTP status, from 200 to 599");
        }
        if self.status.is_none() && (self.retry_after.is_some() || self.message.is_some()) {
            return refuse("the fields \"retry_after\" and \"message\" belong to \"status\"");
        }
        if self.status.is_some() && self.effect == Some(Effect::Reset) {
            return refuse(
                "the fields \"status\" and \"effect\" exclude each other where the effect is \"reset\"",
            );
        }
        Ok(())
    }

    fn check_body(&self) -> Result<()> {
        let bytes = self.cut_after.or(self.stall_after).or(self.bytes_per_second);
        if let Some(mutation) = &self.mutate {
            let other = bytes.is_some() || self.effect.is_some() || self.delay_ms.is_some();
            if other || self.method != "QueryChangedDiskAreas" {
                return refuse(format!(
                    "the field \"mutate\" ({}) stands alone, in a rule with \"method\" as \"QueryChangedDiskAreas\"",
                    text(mutation)
                ));
            }
            return Ok(());
        }
        if bytes.is_none() && self.effect.is_none() && self.delay_ms.is_none() {
            return refuse(
                "a rule for a body must say how to spoil it: \"cut_after\", \"stall_after\", \"bytes_per_second\", \
                 \"effect\", \"mutate\" or \"delay_ms\"",
            );
        }
        if self.bytes_per_second == Some(0) {
            return refuse("the field \"bytes_per_second\" is at least 1; \"stall_after\" stops a body");
        }
        if self.cut_after.is_some() && self.stall_after.is_some() {
            return refuse("the fields \"cut_after\" and \"stall_after\" exclude each other");
        }
        use Effect::{
            ExpireSession, GzipGarbage, IgnoreRange, NoCloseNotify, ResetAfterHead, ShiftedBytes, ShortRange,
            WrongContentRange,
        };
        self.check_effect(&[
            ExpireSession,
            ResetAfterHead,
            NoCloseNotify,
            GzipGarbage,
            ShortRange,
            WrongContentRange,
            IgnoreRange,
            ShiftedBytes,
        ])
    }

    fn check_lease(&self) -> Result<()> {
        match self.lease {
            None => {
                refuse("a rule for a lease needs the field \"lease\": \"error\", \"timeout\" or \"abort\"")
            }
            Some(LeaseEnd::Error) if self.fault.is_none() => refuse(
                "a rule with \"lease\" as \"error\" needs the field \"fault\", the name of a fault's type",
            ),
            Some(LeaseEnd::Timeout | LeaseEnd::Abort) if self.fault.is_some() => {
                refuse("the field \"fault\" belongs to a rule with \"lease\" as \"error\"")
            }
            Some(_) => self.check_fault(),
        }
    }

    fn check_effect(&self, allowed: &[Effect]) -> Result<()> {
        let Some(effect) = self.effect.filter(|effect| !allowed.contains(effect)) else { return Ok(()) };
        let allowed: Vec<String> = allowed.iter().map(text).collect();
        refuse(format!(
            "the field \"effect\" is {} in rules with \"where\" as {}, not {}",
            allowed.join(" or "),
            text(&self.at),
            text(&effect)
        ))
    }
}

/// A word of the rule language, in quotes.
fn text(word: &impl serde::Serialize) -> String {
    serde_json::to_string(word).unwrap_or_default()
}

fn refuse<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::new(ErrorKind::InvalidArgument, why))
}
