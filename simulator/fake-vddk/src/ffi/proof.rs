//! The exported functions must have exactly the types that the wrapper calls them by: this file compiles only then.

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
