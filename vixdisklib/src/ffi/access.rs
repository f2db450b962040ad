//! Calls that concern a virtual machine or a host rather than a connection. All block; all belong on the control thread.

use std::ffi::CStr;

use super::connection::ParamsBlock;
use super::library::{Api, CallError, check};

impl Api {
    /// Disables what would disturb a backup of the machine.
    pub(crate) fn prepare_for_access(&self, params: &ParamsBlock, identity: &CStr) -> Result<(), CallError> {
        // SAFETY: block and string live through the call.
        check(unsafe { self.calls.prepare_for_access(params.as_ptr(), identity.as_ptr()) }?)
    }

    /// Undoes what was prepared under the same identity.
    pub(crate) fn end_access(&self, params: &ParamsBlock, identity: &CStr) -> Result<(), CallError> {
        // SAFETY: block and string live through the call.
        check(unsafe { self.calls.end_access(params.as_ptr(), identity.as_ptr()) }?)
    }

    /// Removes what crashed jobs left; gives the numbers of machines cleaned and remaining, which are also valid when the
    /// result is an error.
    pub(crate) fn cleanup(&self, params: &ParamsBlock) -> (Result<(), CallError>, u32, u32) {
        let (mut cleaned, mut remaining) = (0, 0);
        // SAFETY: the block lives through the call, and the results have places to go.
        let raw = unsafe { self.calls.cleanup(params.as_ptr(), &raw mut cleaned, &raw mut remaining) };
        (raw.map_err(CallError::from).and_then(check), cleaned, remaining)
    }
}
