//! Guarding a virtual machine while it is backed up, and cleaning up after jobs that died.

use std::ffi::CString;
use std::sync::Arc;

use crate::connection::c_string;
use crate::control;
use crate::error::{Error, ErrorKind, Result};
use crate::ffi::{CallError, ParamsBlock, bindings};
use crate::library::Library;
use crate::log;
use crate::params::ConnectParams;

const PREPARE: &str = "prepare the access to";
const END: &str = "end the access to";
const CLEAN: &str = "clean up after earlier jobs on";

/// Longest identity, in characters.
const IDENTITY_LENGTH: usize = 50;

/// Keeps vCenter from moving a virtual machine's disks for as long as it lives.
///
/// Prepare before the snapshot is taken, end after disks are closed and the snapshot is gone. When a program dies in
/// between, the next [`Library::prepare_for_access`] under the same identity repairs it. Dropping it ends the access, blocks
/// while it does, and logs a failure; [`AccessGuard::end`] reports it.
#[derive(Debug)]
pub struct AccessGuard {
    library: Arc<Library>,
    params: ConnectParams,
    identity: CString,
    held: bool,
}

/// What a clean-up did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CleanupReport {
    /// Virtual machines whose leftovers were removed.
    pub cleaned: u32,
    /// Virtual machines that still have some.
    pub remaining: u32,
}

impl Library {
    /// Disables what would disturb a backup of the machine that `params` names, such as moving its disks. On a vCenter only:
    /// ESXi hosts refuse it, and need it not.
    ///
    /// When the machine is still disabled from a job that died, its access is ended once and prepared anew.
    ///
    /// # Errors
    /// [`ErrorKind::AccessDisabled`] when another identity holds the machine; [`ErrorKind::InvalidArgument`] for parameters
    /// that name no machine and for an identity that is empty or longer than 50 characters; otherwise what the server reports.
    pub fn prepare_for_access(
        self: &Arc<Self>,
        params: &ConnectParams,
        identity: &str,
    ) -> Result<AccessGuard> {
        let length = identity.chars().count();
        if !params.names_machine() || length == 0 || length > IDENTITY_LENGTH {
            let text = format!(
                "it takes a machine on a server, and an identity of 1 to {IDENTITY_LENGTH} characters, not {length}"
            );
            return Err(Error::new(ErrorKind::InvalidArgument, PREPARE, text).with_subject(params.place()));
        }
        let identity = c_string(PREPARE, identity)?;
        match self.access(PREPARE, params, &identity) {
            Err(error) if error.code() == Some(bindings::VDDK_E_OPERATION_DISABLED as u16) => {
                tracing::warn!(machine = %params.place(), "an earlier job left the machine's access prepared; ending it");
                self.access(END, params, &identity)?;
                self.access(PREPARE, params, &identity)?;
            }
            other => other?,
        }
        Ok(AccessGuard { library: Arc::clone(self), params: params.clone(), identity, held: true })
    }

    /// Removes what jobs that died left on this machine for the server that `params` names: disks attached to this proxy,
    /// mostly. It finds them in the temporary folder, which must be the one of those jobs. Blocks. Nothing to do for local
    /// parameters.
    ///
    /// # Errors
    /// What the library reports; things may have been cleaned up all the same.
    pub fn cleanup(&self, params: &ConnectParams) -> Result<CleanupReport> {
        let api = self.api();
        let mark = log::mark();
        let fail = |error: CallError| api.error(CLEAN, error, mark).with_subject(params.place());
        let block = ParamsBlock::without_vm(api, params).map_err(fail)?;
        let (result, cleaned, remaining) = control::run(move || api.cleanup(&block))?;
        result.map_err(|error| {
            let error = fail(error);
            if remaining == 0 {
                return error;
            }
            error.with_advice(format!(
                "cleaned up {cleaned} machines; {remaining} still have something in use"
            ))
        })?;
        Ok(CleanupReport { cleaned, remaining })
    }

    fn access(&self, operation: &'static str, params: &ConnectParams, identity: &CString) -> Result<()> {
        let api = self.api();
        let mark = log::mark();
        let fail = |error: CallError| api.error(operation, error, mark).with_subject(params.place());
        let block = ParamsBlock::new(api, params).map_err(fail)?;
        let identity = identity.clone();
        let result = control::run(move || {
            if operation == PREPARE {
                api.prepare_for_access(&block, &identity)
            } else {
                api.end_access(&block, &identity)
            }
        })?;
        result.map_err(fail)
    }
}

impl AccessGuard {
    /// Allows again what was disabled, and says how that went.
    ///
    /// # Errors
    /// What the server reports. A later preparation under the same identity repairs it.
    pub fn end(mut self) -> Result<()> {
        self.held = false;
        self.library.access(END, &self.params, &self.identity)
    }
}

impl Drop for AccessGuard {
    fn drop(&mut self) {
        if !self.held {
            return;
        }
        if let Err(error) = self.library.access(END, &self.params, &self.identity) {
            tracing::warn!(%error, "a machine's access could not be ended");
        }
    }
}
