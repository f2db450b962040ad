//! The one list of what VixDiskLib exports: name, signature, first version, required or not.
//!
//! From it come the raw function types, the loader's table, the capability report, the call counters, the counted
//! entry points that the rest of `ffi` calls, and (through [`for_each_vddk_symbol!`](crate::for_each_vddk_symbol)) the
//! proof that the fake library exports the same signatures. Source: table 1.1 of the project's VDDK fact sheet.

use std::ffi::{c_char, c_void};

use super::bindings::{
    VddkAccessFn, VddkAllocateConnectParamsFn, VddkBlockList, VddkBool, VddkChainFn, VddkChangeInfo,
    VddkChangedAreaParams, VddkCheckRepairFn, VddkCleanupFn, VddkCloneFn, VddkCompletionCallback,
    VddkConnectExFn, VddkConnectFn, VddkConnectParams, VddkConnection, VddkCreateChildFn, VddkCreateFn,
    VddkCreateParams, VddkDisconnectFn, VddkDisk, VddkDiskFn, VddkDiskType, VddkError, VddkExitFn,
    VddkFreeBlockListFn, VddkFreeChangedAreasFn, VddkFreeConnectParamsFn, VddkFreeErrorTextFn,
    VddkFreeInfoFn, VddkGetConnectParamsFn, VddkGetConnectionFromDiskFn, VddkGetErrorTextFn, VddkGetInfoFn,
    VddkGetMetadataKeysFn, VddkGetTransportModeFn, VddkGrowFn, VddkInfo, VddkInitExFn, VddkInitFn,
    VddkListTransportModesFn, VddkLogCallback, VddkOpenExFn, VddkOpenFn, VddkOpenParams,
    VddkProgressCallback, VddkQueryAllocatedBlocksFn, VddkQueryChangedAreasFn, VddkReadAsyncFn, VddkReadFn,
    VddkReadMetadataFn, VddkRenameFn, VddkRewriteFn, VddkSectors, VddkSpaceNeededForCloneFn, VddkUnlinkFn,
    VddkWriteAsyncFn, VddkWriteFn, VddkWriteMetadataFn,
};
use super::stats::{Missing, Outcome, Stats};

/// The release in which a symbol was first exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Since {
    /// 5.x or earlier, so every library this crate accepts has it.
    V5,
    /// 6.5.
    V6_5,
    /// 6.7.
    V6_7,
    /// Somewhere between 8.0 and 9.0; the exact release is not documented.
    V9,
}

/// One row of the symbol table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolInfo {
    /// The exported name.
    pub name: &'static str,
    /// The release that exports it first.
    pub since: Since,
    /// Whether the loader refuses a library without it.
    pub required: bool,
}

/// Hands the symbol table, row by row, to the macro named in the argument.
///
/// A row reads `field = ExportedName: HeaderType, Since, required|optional, (argument: Type, ...) -> Result;`. The types are
/// those of [`vixdisklib::ffi::bindings`](crate::ffi::bindings) and `std::ffi`, which the caller brings into scope.
#[macro_export]
macro_rules! for_each_vddk_symbol {
    ($receiver:ident) => {
        $receiver! {
            init_ex = VixDiskLib_InitEx: VddkInitExFn, V5, required, (major: u32, minor: u32, log: VddkLogCallback, warn: VddkLogCallback, panic: VddkLogCallback, directory: *const c_char, config: *const c_char) -> VddkError;
            init = VixDiskLib_Init: VddkInitFn, V5, optional, (major: u32, minor: u32, log: VddkLogCallback, warn: VddkLogCallback, panic: VddkLogCallback, directory: *const c_char) -> VddkError;
            exit = VixDiskLib_Exit: VddkExitFn, V5, optional, () -> ();
            list_transport_modes = VixDiskLib_ListTransportModes: VddkListTransportModesFn, V5, optional, () -> *const c_char;
            cleanup = VixDiskLib_Cleanup: VddkCleanupFn, V5, optional, (params: *const VddkConnectParams, cleaned: *mut u32, remaining: *mut u32) -> VddkError;
            connect = VixDiskLib_Connect: VddkConnectFn, V5, optional, (params: *const VddkConnectParams, connection: *mut VddkConnection) -> VddkError;
            connect_ex = VixDiskLib_ConnectEx: VddkConnectExFn, V5, required, (params: *const VddkConnectParams, read_only: VddkBool, snapshot: *const c_char, modes: *const c_char, connection: *mut VddkConnection) -> VddkError;
            disconnect = VixDiskLib_Disconnect: VddkDisconnectFn, V5, required, (connection: VddkConnection) -> VddkError;
            prepare_for_access = VixDiskLib_PrepareForAccess: VddkAccessFn, V5, optional, (params: *const VddkConnectParams, identity: *const c_char) -> VddkError;
            end_access = VixDiskLib_EndAccess: VddkAccessFn, V5, optional, (params: *const VddkConnectParams, identity: *const c_char) -> VddkError;
            get_connect_params = VixDiskLib_GetConnectParams: VddkGetConnectParamsFn, V5, optional, (connection: VddkConnection, params: *mut *mut VddkConnectParams) -> VddkError;
            allocate_connect_params = VixDiskLib_AllocateConnectParams: VddkAllocateConnectParamsFn, V6_7, optional, () -> *mut VddkConnectParams;
            free_connect_params = VixDiskLib_FreeConnectParams: VddkFreeConnectParamsFn, V5, required, (params: *mut VddkConnectParams) -> ();
            get_connection_from_disk = VixDiskLib_GetConnectionFromDisk: VddkGetConnectionFromDiskFn, V9, optional, (disk: VddkDisk, connection: *mut VddkConnection) -> VddkError;
            open = VixDiskLib_Open: VddkOpenFn, V5, required, (connection: VddkConnection, path: *const c_char, flags: u32, disk: *mut VddkDisk) -> VddkError;
            open_ex = VixDiskLib_OpenEx: VddkOpenExFn, V9, optional, (connection: VddkConnection, params: *const VddkOpenParams, disk: *mut VddkDisk) -> VddkError;
            close = VixDiskLib_Close: VddkDiskFn, V5, required, (disk: VddkDisk) -> VddkError;
            get_info = VixDiskLib_GetInfo: VddkGetInfoFn, V5, required, (disk: VddkDisk, info: *mut *mut VddkInfo) -> VddkError;
            free_info = VixDiskLib_FreeInfo: VddkFreeInfoFn, V5, required, (info: *mut VddkInfo) -> ();
            get_transport_mode = VixDiskLib_GetTransportMode: VddkGetTransportModeFn, V5, required, (disk: VddkDisk) -> *const c_char;
            read = VixDiskLib_Read: VddkReadFn, V5, required, (disk: VddkDisk, start: VddkSectors, count: VddkSectors, buffer: *mut u8) -> VddkError;
            write = VixDiskLib_Write: VddkWriteFn, V5, required, (disk: VddkDisk, start: VddkSectors, count: VddkSectors, buffer: *const u8) -> VddkError;
            read_async = VixDiskLib_ReadAsync: VddkReadAsyncFn, V6_5, required, (disk: VddkDisk, start: VddkSectors, count: VddkSectors, buffer: *mut u8, callback: VddkCompletionCallback, data: *mut c_void) -> VddkError;
            write_async = VixDiskLib_WriteAsync: VddkWriteAsyncFn, V6_5, required, (disk: VddkDisk, start: VddkSectors, count: VddkSectors, buffer: *const u8, callback: VddkCompletionCallback, data: *mut c_void) -> VddkError;
            flush = VixDiskLib_Flush: VddkDiskFn, V6_5, required, (disk: VddkDisk) -> VddkError;
            wait = VixDiskLib_Wait: VddkDiskFn, V6_5, required, (disk: VddkDisk) -> VddkError;
            query_allocated_blocks = VixDiskLib_QueryAllocatedBlocks: VddkQueryAllocatedBlocksFn, V6_7, optional, (disk: VddkDisk, start: VddkSectors, count: VddkSectors, chunk: VddkSectors, list: *mut *mut VddkBlockList) -> VddkError;
            free_block_list = VixDiskLib_FreeBlockList: VddkFreeBlockListFn, V6_7, optional, (list: *mut VddkBlockList) -> VddkError;
            query_changed_areas = VixDiskLib_QueryChangedAreas: VddkQueryChangedAreasFn, V9, optional, (disk: VddkDisk, params: *const VddkChangedAreaParams, changes: *mut *mut VddkChangeInfo) -> VddkError;
            free_changed_areas = VixDiskLib_FreeChangedAreas: VddkFreeChangedAreasFn, V9, optional, (changes: *mut VddkChangeInfo) -> ();
            read_metadata = VixDiskLib_ReadMetadata: VddkReadMetadataFn, V5, optional, (disk: VddkDisk, key: *const c_char, buffer: *mut c_char, size: usize, required: *mut usize) -> VddkError;
            write_metadata = VixDiskLib_WriteMetadata: VddkWriteMetadataFn, V5, optional, (disk: VddkDisk, key: *const c_char, value: *const c_char) -> VddkError;
            get_metadata_keys = VixDiskLib_GetMetadataKeys: VddkGetMetadataKeysFn, V5, optional, (disk: VddkDisk, keys: *mut c_char, size: usize, required: *mut usize) -> VddkError;
            create = VixDiskLib_Create: VddkCreateFn, V5, optional, (connection: VddkConnection, path: *const c_char, params: *const VddkCreateParams, progress: VddkProgressCallback, data: *mut c_void) -> VddkError;
            create_child = VixDiskLib_CreateChild: VddkCreateChildFn, V5, optional, (disk: VddkDisk, path: *const c_char, kind: VddkDiskType, progress: VddkProgressCallback, data: *mut c_void) -> VddkError;
            unlink = VixDiskLib_Unlink: VddkUnlinkFn, V5, optional, (connection: VddkConnection, path: *const c_char) -> VddkError;
            grow = VixDiskLib_Grow: VddkGrowFn, V5, optional, (connection: VddkConnection, path: *const c_char, capacity: VddkSectors, update_geometry: VddkBool, progress: VddkProgressCallback, data: *mut c_void) -> VddkError;
            shrink = VixDiskLib_Shrink: VddkRewriteFn, V5, optional, (disk: VddkDisk, progress: VddkProgressCallback, data: *mut c_void) -> VddkError;
            defragment = VixDiskLib_Defragment: VddkRewriteFn, V5, optional, (disk: VddkDisk, progress: VddkProgressCallback, data: *mut c_void) -> VddkError;
            rename = VixDiskLib_Rename: VddkRenameFn, V5, optional, (from: *const c_char, to: *const c_char) -> VddkError;
            clone = VixDiskLib_Clone: VddkCloneFn, V5, optional, (to: VddkConnection, to_path: *const c_char, from: VddkConnection, from_path: *const c_char, params: *const VddkCreateParams, progress: VddkProgressCallback, data: *mut c_void, overwrite: VddkBool) -> VddkError;
            is_attach_possible = VixDiskLib_IsAttachPossible: VddkChainFn, V5, optional, (parent: VddkDisk, child: VddkDisk) -> VddkError;
            attach = VixDiskLib_Attach: VddkChainFn, V5, optional, (parent: VddkDisk, child: VddkDisk) -> VddkError;
            space_needed_for_clone = VixDiskLib_SpaceNeededForClone: VddkSpaceNeededForCloneFn, V5, optional, (disk: VddkDisk, kind: VddkDiskType, bytes: *mut u64) -> VddkError;
            check_repair = VixDiskLib_CheckRepair: VddkCheckRepairFn, V5, optional, (connection: VddkConnection, path: *const c_char, repair: VddkBool) -> VddkError;
            get_error_text = VixDiskLib_GetErrorText: VddkGetErrorTextFn, V5, required, (error: VddkError, locale: *const c_char) -> *mut c_char;
            free_error_text = VixDiskLib_FreeErrorText: VddkFreeErrorTextFn, V5, required, (text: *mut c_char) -> ();
        }
    };
}

macro_rules! is_required {
    (required) => {
        true
    };
    (optional) => {
        false
    };
}

macro_rules! define_symbols {
    ($($field:ident = $name:ident: $header:ident, $since:ident, $class:ident, ($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        /// The function type behind each exported name.
        #[allow(non_camel_case_types, clippy::wildcard_imports)]
        pub mod raw {
            use super::*;
            $(
                #[doc = concat!("The type of `", stringify!($name), "`.")]
                pub type $name = unsafe extern "C" fn($($type),*) -> $result;
            )*
        }

        // The signature above and the one that bindgen read from the header must be the same type.
        $(const _: fn(raw::$name) -> $header = |function| Some(function);)*

        /// The exported names, in the order of the table.
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Symbol {
            $(
                #[doc = concat!("`", stringify!($name), "`.")]
                $name,
            )*
        }

        impl Symbol {
            /// Every symbol, in the order of the table.
            pub const ALL: &'static [Symbol] = &[$(Symbol::$name),*];

            /// Name, first version and class of this symbol.
            #[must_use]
            pub fn info(self) -> SymbolInfo {
                match self {
                    $(Symbol::$name => SymbolInfo {
                        name: stringify!($name),
                        since: Since::$since,
                        required: is_required!($class),
                    },)*
                }
            }
        }

        /// What a library was found to export.
        #[derive(Clone, Copy)]
        pub struct Table {
            $(
                #[doc = concat!("`", stringify!($name), "`, when the library has it.")]
                pub $field: Option<raw::$name>,
            )*
        }

        impl Table {
            /// Looks every name up in `library`.
            ///
            /// # Safety
            /// `library` must be a VixDiskLib, so that each name found has the signature of the table. The table must
            /// not be used after `library` is unloaded.
            pub(crate) unsafe fn resolve(library: &libloading::Library) -> Table {
                Table {
                    $(
                        // SAFETY: the caller vouches that a symbol of this name has this type.
                        $field: unsafe { library.get::<raw::$name>(stringify!($name).as_bytes()) }
                            .ok()
                            .map(|symbol| *symbol),
                    )*
                }
            }

            /// Whether the library exports `symbol`.
            #[must_use]
            pub fn has(&self, symbol: Symbol) -> bool {
                match symbol {
                    $(Symbol::$name => self.$field.is_some(),)*
                }
            }
        }

        /// Calls through the table; each is counted, and says so when the library lacks the function.
        pub(super) struct Calls {
            pub(super) table: Table,
            pub(super) stats: Stats,
        }

        #[allow(clippy::too_many_arguments, dead_code)]
        impl Calls {
            $(
                /// # Safety
                /// The arguments must be what the function of this name expects, and the thread rules be kept.
                pub(super) unsafe fn $field(&self, $($argument: $type),*) -> Result<$result, Missing> {
                    let function = self.table.$field.ok_or(Missing(Symbol::$name))?;
                    // SAFETY: the pointer came from the library under this name, which stays loaded for the life of
                    // the process; the caller vouches for the arguments.
                    Ok(self.stats.count(Symbol::$name, || unsafe { function($($argument),*) }))
                }
            )*
        }
    };
}

for_each_vddk_symbol!(define_symbols);

impl Table {
    /// The required symbols that the library lacks.
    #[must_use]
    pub fn missing_required(&self) -> Vec<Symbol> {
        Symbol::ALL.iter().copied().filter(|symbol| symbol.info().required && !self.has(*symbol)).collect()
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(Symbol::ALL.iter().filter(|symbol| self.has(**symbol))).finish()
    }
}

// `Outcome` is what `Stats::count` asks of every result type in the table.
const _: fn(&VddkError) -> bool = Outcome::failed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_name_once() {
        let mut names: Vec<&str> = Symbol::ALL.iter().map(|symbol| symbol.info().name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Symbol::ALL.len());
        assert!(names.iter().all(|name| name.starts_with("VixDiskLib_")));
    }

    #[test]
    fn nothing_newer_than_6_5_is_required() {
        for symbol in Symbol::ALL {
            let info = symbol.info();
            assert!(!info.required || info.since <= Since::V6_5, "{} is required", info.name);
        }
    }
}
