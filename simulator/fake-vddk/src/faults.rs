//! Failures on demand: what the rules of a server's data folder, or of the kit for local disks, make of a call.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{process, thread};

use sim_store::state::{FaultCall, FaultEffect, FaultRule, FaultSet};

use crate::code::{Answer, Code};
use crate::ffi::{crash, log};
use crate::release;

/// What all connections to one server share, or all local ones.
pub(crate) struct Place {
    rules: FaultSet,
    /// Disks that are open there.
    open: AtomicU64,
}

/// The faults that apply to a connection and its disks.
#[derive(Clone)]
pub(crate) struct Faults {
    place: Option<Arc<Place>>,
    /// Whether the session is gone; a new connection has one of its own.
    lost: Arc<AtomicBool>,
}

/// A disk that counts as open for as long as this lives.
pub(crate) struct Counted(Option<Arc<Place>>);

/// What a call has to suffer: nothing, or what a rule says.
#[derive(Default)]
pub(crate) struct Suffering {
    rule: Option<FaultRule>,
    failure: Option<Code>,
}

/// A rule that struck a call, which has not suffered yet.
#[derive(Default)]
pub(crate) struct Struck {
    rule: Option<FaultRule>,
    lost: bool,
}

impl Place {
    pub(crate) fn new(folder: &Path) -> Place {
        Place { rules: FaultSet::new(folder), open: AtomicU64::new(0) }
    }
}

impl Faults {
    pub(crate) fn new(place: Option<Arc<Place>>) -> Faults {
        Faults { place, lost: Arc::default() }
    }

    /// Counts a call and lets it suffer.
    pub(crate) fn suffer(&self, function: &str, object: &str) -> Answer<Suffering> {
        self.strike(function, object, 0)?.suffer(self, function, 0)
    }

    /// Counts a call, of a transfer of so many bytes.
    pub(crate) fn strike(&self, function: &str, object: &str, bytes: u64) -> Answer<Struck> {
        // What is lost can still be given up.
        if self.lost.load(Ordering::Relaxed) && !matches!(function, "Close" | "Disconnect" | "Wait") {
            return Ok(Struck { rule: None, lost: true });
        }
        let Some(place) = &self.place else { return Ok(Struck::default()) };
        let opening = u64::from(matches!(function, "Open" | "OpenEx"));
        let open = place.open.load(Ordering::Relaxed) + opening;
        let rule = place.rules.check(&FaultCall { function, object, bytes, open }).map_err(|error| {
            log::warn(&format!("the fault rules cannot be read: {error}"));
            Code::of(&error)
        })?;
        Ok(Struck { rule, lost: false })
    }

    pub(crate) fn count(&self) -> Counted {
        if let Some(place) = &self.place {
            place.open.fetch_add(1, Ordering::Relaxed);
        }
        Counted(self.place.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(place) = &self.0 {
            place.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Struck {
    pub(crate) fn has_rule(&self) -> bool {
        self.rule.is_some() || self.lost
    }

    pub(crate) fn effect(&self) -> Option<FaultEffect> {
        self.rule.as_ref()?.effect
    }

    /// Waits as long as the rule wants, and does what it says, as far as that is the same for all functions. What never comes
    /// back from here is meant to.
    pub(crate) fn suffer(self, faults: &Faults, function: &str, bytes: u64) -> Answer<Suffering> {
        if self.lost {
            log::warn(&format!("[NFC ERROR] NFC_SESSION_ERROR: {function} over a session that was lost"));
            return Ok(Suffering { rule: None, failure: Some(Code::CONNECTION_LOST) });
        }
        let Some(rule) = self.rule else { return Ok(Suffering::default()) };
        if let Some(milliseconds) = rule.delay_ms {
            thread::sleep(std::time::Duration::from_millis(milliseconds));
        }
        if let Some(line) = &rule.log {
            log::warn(line);
        }
        let mut code = rule.code;
        let usual = |code: u64, usual: u64| if code == 0 { usual } else { code };
        match rule.effect {
            Some(FaultEffect::Hang) => {
                log::warn(&format!("{function} never returns, by a fault rule"));
                loop {
                    thread::park();
                }
            }
            Some(FaultEffect::Segfault) => crash::segfault(),
            Some(FaultEffect::Abort) => process::abort(),
            Some(FaultEffect::Panic) => {
                log::panic(&format!("{function} cannot go on, by a fault rule"));
                process::abort();
            }
            Some(FaultEffect::LoseSession) => {
                faults.lost.store(true, Ordering::Relaxed);
                log::warn(&format!("[NFC ERROR] NFC_NETWORK_ERROR: {function} lost the session"));
                code = usual(code, Code::CONNECTION_LOST.0);
            }
            Some(FaultEffect::NfcMemory) => {
                log::warn(&format!(
                    "[NFC ERROR] NfcFssrvrProcessErrorMsg: received NFC error 5 from server: Failed to allocate the requested {bytes} bytes"
                ));
                code = usual(code, Code::OUT_OF_MEMORY.0);
            }
            Some(FaultEffect::Refuse) => code = usual(code, Code::FAIL.0),
            _ => {}
        }
        let failure = (code != 0).then(|| {
            let code = release::current().code(function, Code(code));
            log::warn(&format!("{function} fails with {} by a fault rule", code.number()));
            match &rule.text {
                Some(text) if release::current().tells_details() => code.with_detail(text),
                _ => code,
            }
        });
        Ok(Suffering { rule: Some(rule), failure })
    }
}

impl Suffering {
    /// Whether half of the work shall be done before the failure.
    pub(crate) fn is_partial(&self) -> bool {
        self.failure.is_some() && self.rule.as_ref().is_some_and(|rule| rule.partial)
    }

    /// The failure, if there is to be one.
    pub(crate) fn settle(&self) -> Answer<()> {
        self.failure.map_or(Ok(()), Err)
    }

    /// The transport modes that work here, if a rule says which.
    pub(crate) fn transports(&self) -> Option<&str> {
        self.rule.as_ref()?.transports.as_deref()
    }

    /// The size of the disk's sectors in bytes, if a rule says so.
    pub(crate) fn sector_bytes(&self) -> Option<u32> {
        self.rule.as_ref()?.sector_bytes
    }
}
