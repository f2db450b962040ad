//! The workflows through every real seam: SOAP over TLS on a socket, the disk library through `dlopen`, a repository in
//! files. The simulator's own reading of its disks is the judge.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "workflow/harness.rs"]
mod harness;

#[path = "workflow/audit.rs"]
mod audit;
#[path = "workflow/bad_input.rs"]
mod bad_input;
#[path = "workflow/capture.rs"]
mod capture;
#[path = "workflow/eligibility.rs"]
mod eligibility;
#[path = "workflow/flow.rs"]
mod flow;
#[path = "workflow/held.rs"]
mod held;
#[path = "workflow/journey.rs"]
mod journey;
#[allow(dead_code)]
#[path = "workflow/oracle.rs"]
mod oracle;
#[path = "workflow/preflight.rs"]
mod preflight;
#[path = "workflow/privileges.rs"]
mod privileges;
#[path = "workflow/quiescing.rs"]
mod quiescing;
#[path = "workflow/restoring.rs"]
mod restoring;
#[path = "workflow/sweeping.rs"]
mod sweeping;
#[path = "workflow/tracking.rs"]
mod tracking;
