//! The whole vSphere SOAP API, typed, with a client.
//!
//! Every data object, enumeration, fault, event and managed object of API 9.1.1 is a Rust type, generated from the WSDL
//! (see [`types`] and [`mo`]); the client speaks to vCenter and ESXi from 6.7 on. It knows nothing of backups: it is for
//! any program that talks to vSphere.
//!
//! ```text
//!  Client::connect(url).thumbprint(pin).await     one TLS pool, one session, cheap clones
//!        │ login, login_by_clone_ticket, resume
//!        ▼
//!  client.find_one::<VirtualMachine>("/DC0/vm/web-01")        by path, with wildcards
//!        .list / .list_pages / .properties                    read once, in bounded memory
//!        .updates / .inventory                                follow, through lost sessions
//!        .bind(&moref) ─► mo::VirtualMachine ─► .get(VirtualMachine::CONFIG)
//!                                            └► .create_snapshot_ex_task(..)    Call<Task<..>>
//!                                                 └► .await?.wait().await?      result, or a fault
//! ```
//!
//! The whole way, from the connection to a fault that is understood:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use secrecy::SecretString;
//! use vim_api::mo::{Managed, VirtualMachine};
//! use vim_api::{Client, Thumbprint, types};
//!
//! # async fn example(pin: Thumbprint, password: SecretString) -> Result<(), vim_api::Error> {
//! // Nothing is trusted silently: pin the certificate, give a private CA, or use the system's roots.
//! let vc = Client::connect("https://vcenter.example.org/sdk").thumbprint(pin).await?;
//! vc.login("administrator@vsphere.local", &password).await?;
//!
//! // Find and read.
//! let found = vc.find_one::<VirtualMachine>("/DC0/vm/prod/web-01").await?;
//! let vm = vc.bind(&found.object);
//! let runtime = vm.require(VirtualMachine::RUNTIME).await?;
//! println!("{} is {:?}", found.path, runtime.power_state);
//!
//! // Change, and wait for it; a machine that another task has is waited for, too.
//! let snapshot = || async { vm.create_snapshot_task("before", None, false, true).await?.wait().await };
//! match vc.when_free(Duration::from_secs(300), snapshot).await {
//!     Ok(moref) => println!("taken: {moref}"),
//!     // Faults are types; causes are searched at any depth.
//!     Err(error) if error.find_fault::<types::ApplicationQuiesceFault>().is_some() => {
//!         println!("the guest could not be quiesced: {error}");
//!     }
//!     Err(error) => return Err(error),
//! }
//! vc.close().await
//! # }
//! ```
//!
//! **Sessions.** A client logs in again by itself when its session is lost, once for all its clones. Calls that read are
//! then repeated, changes only with [`Call::resend_after_login`]; what lives longer than a call ([`Updates`],
//! [`Inventory`], [`Retrieval`], [`Task`]) picks up where it was.
//! **Open for newer servers.** A type, an enum value or an element that this crate does not know never fails a parse: see
//! [`dynamic`]. **Bounded.** Replies are limited in size and depth, and are never trusted: see [`xml`].
//! **Beside the API.** [`Client::storage_policies`] and [`Client::first_class_disks`] use the client's session at two services
//! of a vCenter that are called like the API; with the feature `rest`, `Client::rest` reaches the REST services, tags among
//! them.
//! **Threads.** All types are `Send`; futures want a tokio runtime.
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `derive` | yes | `#[derive(Retrieve)]` for structs of properties |
//! | `rest` | no | `Client::rest`: JSON calls to the REST services, and tags; brings serde |
#![forbid(unsafe_code)]

// The derive macro writes paths that begin with the name of this crate; its tests are in here.
#[cfg(test)]
extern crate self as vim_api;

pub mod dynamic;
pub mod mo;
#[cfg(feature = "rest")]
pub mod rest;
pub mod soap;
pub mod traversal;
pub mod xml;

mod call;
mod client;
mod collector;
mod datastore;
mod error;
mod fcd;
mod finder;
mod generated;
mod identity;
mod inventory;
mod lease;
mod moref;
mod percent;
mod policy;
mod property;
mod sso;
mod task;
mod transport;
mod updates;
mod version;
mod view;

#[cfg(test)]
mod tests;

/// Data objects, faults, events and enumerations: generated from the WSDL.
pub mod types {
    pub use crate::generated::types::*;
}

pub use call::{Call, CallBuilder, Returned};
pub use client::{Client, Connect, DangerConnect, KeepAlive, Retry};
pub use datastore::{
    DatastoreDisks, DatastoreEntry, DatastoreFiles, DatastorePath, DiskUuid, Download, FileStatus, IfExists,
};
pub use error::{Error, ErrorKind, Fault};
pub use fcd::{DiskTask, FirstClassDisks};
pub use finder::Found;
pub use identity::{IdentityConflict, ResolvedBy, ResolvedVm, ServerIdentity, VmIdentity};
pub use inventory::{Inventory, InventoryNode};
pub use lease::{LeaseFile, NfcLease};
pub use moref::MoRef;
pub use policy::{MachinePolicies, StoragePolicies, StoragePolicy};
pub use property::{
    Holds, Optional, Properties, Property, PropertyPath, Required, Retrieval, RetrievalAs, Retrieve,
};
pub use sso::{Holder, SamlToken, SigningIdentity, StsEndpoint};
pub use task::{Task, TaskResult, TaskStep};
pub use transport::{PeerThumbprints, Thumbprint, TransportError, TransportErrorKind, Upload};
pub use updates::{Change, Changes, Updates};
pub use version::ApiVersion;
#[cfg(feature = "derive")]
pub use vim_api_derive::Retrieve;
