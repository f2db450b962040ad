//! The whole vSphere SOAP API, typed, with a client.
//!
//! Every data object, enumeration, fault, event and managed object of API 9.1.1 is a Rust type, generated from the WSDL
//! (see [`types`] and [`mo`]); the client speaks to vCenter and ESXi from 6.7 on. It knows nothing of backups: it is for
//! any program that talks to vSphere.
//!
//! ```text
//!  Client::connect(url).thumbprint(pin).await     one TLS pool, one session, cheap clones
//!        │ login
//!        ▼
//!  client.bind(&moref) ─► mo::VirtualMachine ─► vm.get(VirtualMachine::CONFIG)      properties
//!                                            └► vm.create_snapshot_ex_task(..)      Call<Task<..>>
//!                                                    └► .await?.wait().await?       result, or Error::fault::<F>()
//! ```
//!
//! ```no_run
//! use secrecy::SecretString;
//! use vim_api::{Client, mo, types};
//! use vim_api::mo::Managed;
//!
//! # async fn example() -> Result<(), vim_api::Error> {
//! # let pin: vim_api::Thumbprint = todo!();
//! let vc = Client::connect("https://vcenter.example.org/sdk").thumbprint(pin).await?;
//! vc.login("administrator@vsphere.local", &SecretString::from("secret")).await?;
//! for mut vm in vc.list::<mo::VirtualMachine>(&vc.content().root_folder.cast(), &["name"]).await? {
//!     let name: String = vm.take_required("name")?;
//!     println!("{} {name}", vm.object());
//! }
//! vc.logout().await
//! # }
//! ```
//!
//! **Open for newer servers.** A type, an enum value or an element that this crate does not know never fails a parse: see
//! [`dynamic`]. **Bounded.** Replies are limited in size and depth, and are never trusted: see [`xml`].
//! **Threads.** All types are `Send`; futures want a tokio runtime.
#![forbid(unsafe_code)]

pub mod dynamic;
pub mod mo;
pub mod soap;
pub mod xml;

mod call;
mod client;
mod error;
mod generated;
mod moref;
mod property;
mod task;
mod transport;
mod version;

#[cfg(test)]
mod tests;

/// Data objects, faults, events and enumerations: generated from the WSDL.
pub mod types {
    pub use crate::generated::types::*;
}

pub use call::{Call, CallBuilder, Returned};
pub use client::{Client, Connect, DangerConnect};
pub use error::{Error, ErrorKind, Fault};
pub use moref::MoRef;
pub use property::{Properties, Property};
pub use task::{Task, TaskResult};
pub use transport::{PeerThumbprints, Thumbprint, TransportError, TransportErrorKind};
pub use version::ApiVersion;
