//! Handles of managed objects without a client behind them.

use crate::dynamic::ManagedInfo;
use crate::moref::MoRef;

pub use crate::generated::managed::*;

#[derive(Clone, Debug)]
pub struct Handle {
    pub moref: MoRef,
}

pub trait Managed: Clone + std::fmt::Debug + From<Handle> + Send + Sync + Sized + 'static {
    const INFO: &'static ManagedInfo;

    fn handle(&self) -> &Handle;
}
