//! The C side: exported functions, and the only unsafe code of this crate.

#![allow(unsafe_code)]

mod arguments;
mod connections;
mod disks;
mod lifetime;
pub(crate) mod log;
mod management;
mod memory;
#[cfg(test)]
mod tests;
mod transfers;

/// The exported functions must have exactly the types that the wrapper calls them by.
mod proof {
    use std::ffi::{c_char, c_void};

    use vixdisklib::ffi::bindings::{
        VddkBlockList, VddkBool, VddkChangeInfo, VddkChangedAreaParams, VddkCompletionCallback,
        VddkConnectParams, VddkConnection, VddkCreateParams, VddkDisk, VddkDiskType, VddkError, VddkInfo,
        VddkLogCallback, VddkOpenParams, VddkProgressCallback, VddkSectors,
    };

    use super::connections::*;
    use super::disks::*;
    use super::lifetime::*;
    use super::management::*;
    use super::transfers::*;

    macro_rules! prove {
        ($($field:ident = $name:ident: $header:ident, $since:ident, $class:ident, ($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
            $(const _: unsafe extern "C" fn($($type),*) -> $result = $name;)*
        };
    }

    vixdisklib::for_each_vddk_symbol!(prove);
}
