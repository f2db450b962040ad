//! Serving disks of restore points over NBD, so that a kernel, qemu or libguestfs mounts any backup within a second.
//!
//! It needs the feature `nbd`, which is on by default.
//!
//! ```no_run
//! # async fn run(repo: vadp_repository::Repository, point: vadp_repository::PointId) -> vadp_repository::Result<()> {
//! use vadp_repository::nbd::{Export, NbdServer};
//!
//! let disk = repo.point(point).await?.disk("2000")?;
//! let mut server = NbdServer::builder().export("web-01/2000", Export::read_only(disk)).build()?;
//! server.bind_unix("/run/backup.sock")?;
//! println!("{}", server.uris().join("\n")); // nbd+unix:///web-01/2000?socket=/run/backup.sock
//! server.serve(async { tokio::signal::ctrl_c().await.unwrap_or_default() }).await;
//! # Ok(())
//! # }
//! ```
//!
//! - It speaks the fixed newstyle with structured replies and `base:allocation`, for any number of requests and connections at a time. Holes
//!   are not sent. Extended headers are refused, and clients do without.
//! - A client gets verified bytes or an error, `EIO` for damage; never zeros in the place of what could not be read.
//! - With [`Export::with_overlay`] clients may write, for example boot a machine from the backup. The restore point never changes.
//! - With [`Tls`], nothing is said without it. Without, it listens on Unix sockets and for this machine only.
//! - What clients send is checked before it is believed: a hostile one gets its connection closed, and takes no more memory than an honest one.

mod blocks;
mod export;
mod negotiate;
mod overlay;
mod parts;
mod server;
mod session;
mod tls;
mod wire;

use std::sync::Arc;

use crate::error::Error;

pub use export::Export;
pub use server::{NbdServer, NbdServerBuilder};
pub use tls::Tls;

/// Most bytes of one request, as clients are told.
const MAX_REQUEST: u32 = 32 << 20;
/// Most bytes that requests of one connection move at a time.
const IN_FLIGHT: u32 = MAX_REQUEST;
/// The number of the context `base:allocation`.
const CONTEXT_ID: u32 = 1;

/// Whom failed requests are told, by the name of the export.
type Observer = Arc<dyn Fn(&str, &Error) + Send + Sync>;
