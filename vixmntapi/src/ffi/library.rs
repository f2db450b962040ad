//! Calls that concern the library as a whole. All calls of this folder belong on the control thread.

use std::ffi::CStr;

use vixdisklib::sibling;

use super::symbols::{Calls, Missing, Symbol, Table};
use super::types::{LEVEL_BASIC, LEVEL_EXTENDED};

/// Why a call did not give a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallError {
    Missing(Missing),
    Code(u64),
    /// What the library handed out cannot be true.
    Nonsense(&'static str),
}

impl From<Missing> for CallError {
    fn from(missing: Missing) -> CallError {
        CallError::Missing(missing)
    }
}

/// A loaded library's functions.
pub(crate) struct Api {
    pub(super) calls: Calls,
}

impl Api {
    pub(super) fn new(table: Table) -> Api {
        Api { calls: Calls { table } }
    }

    /// Starts the library. Once per process, after VixDiskLib.
    pub(crate) fn init(&self, directory: &CStr, config: &CStr) -> Result<(), CallError> {
        // A library with the functions of 1.1 was built for it; every older one takes 1.0.
        let (major, minor) =
            if self.has(Symbol::VixMntapi_GetVolumeInfoEx) { LEVEL_EXTENDED } else { LEVEL_BASIC };
        let [log, warn, panic] = sibling::log_callbacks();
        // SAFETY: the strings live through the call, and the callbacks live as long as the program. The caller keeps
        // to one call per process.
        let raw =
            unsafe { self.calls.init(major, minor, log, warn, panic, directory.as_ptr(), config.as_ptr()) }?;
        check(raw)
    }

    /// Ends the library. Once per process, with no disk set open.
    pub(crate) fn exit(&self) -> Result<(), CallError> {
        // SAFETY: the caller keeps to one call per process, after `init`, with no disk set open.
        Ok(unsafe { self.calls.exit() }?)
    }

    pub(crate) fn has(&self, symbol: Symbol) -> bool {
        self.calls.table.has(symbol)
    }
}

/// The whole word is compared: success is nothing but zero.
pub(super) fn check(raw: u64) -> Result<(), CallError> {
    if raw == 0 { Ok(()) } else { Err(CallError::Code(raw)) }
}
