//! VixDiskLib in a process of its own: the program's side.
//!
//! The worker carries out the same requests as [`Executor`](crate::engine::Executor) does here, and serves them over a pair
//! of sockets. One thread of this process reads what it says; another watches the time. What it says is checked, not
//! believed: a broken worker costs its own calls and nothing else.

mod entry;
mod limits;
mod memory;
mod process;
mod program;
mod transfer;

pub(crate) use memory::Region;
pub(crate) use process::Process;
pub(crate) use program::{Choice, launch};
pub(crate) use transfer::{Plain, Remote, Trouble};

pub use limits::TimeLimits;
