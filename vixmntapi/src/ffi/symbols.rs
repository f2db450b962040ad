//! The one list of what VixMntapi exports: name, signature, first interface, required or not.
//!
//! From it come the raw function types, the loader's table, and (through
//! [`for_each_mntapi_symbol!`](crate::for_each_mntapi_symbol)) the proof that the fake library exports the same
//! signatures. Source: table 6.1 of the project's VDDK fact sheet.

use std::ffi::c_char;

use vixdisklib::ffi::bindings::{VddkBool, VddkConnection, VddkDisk, VddkError, VddkLogCallback};

use super::types::{MntDiskSet, MntDiskSetInfo, MntOsInfo, MntVolume, MntVolumeInfo, MntVolumeInfoEx};

/// The interface in which a symbol was first exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Since {
    /// 1.0: every kit from 6.5 on has it.
    V1_0,
    /// 1.1: kits from somewhere between 7.0 and 8.0 on.
    V1_1,
}

/// One row of the symbol table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SymbolInfo {
    /// The exported name.
    pub name: &'static str,
    /// The interface that has it first.
    pub since: Since,
    /// Whether the loader refuses a library without it.
    pub required: bool,
}

/// Hands the symbol table, row by row, to the macro named in the argument.
///
/// A row reads `field = ExportedName: Since, required|optional, (argument: Type, ...) -> Result;`. The types are those of
/// [`vixmntapi::ffi`](crate::ffi), of `vixdisklib::ffi::bindings` and of `std::ffi`, which the caller brings into scope.
#[macro_export]
macro_rules! for_each_mntapi_symbol {
    ($receiver:ident) => {
        $receiver! {
            init = VixMntapi_Init: V1_0, required, (major: u32, minor: u32, log: VddkLogCallback, warn: VddkLogCallback, panic: VddkLogCallback, directory: *const c_char, config: *const c_char) -> VddkError;
            exit = VixMntapi_Exit: V1_0, required, () -> ();
            open_disk_set = VixMntapi_OpenDiskSet: V1_0, optional, (disks: *const VddkDisk, count: usize, mode: u32, set: *mut MntDiskSet) -> VddkError;
            open_disks = VixMntapi_OpenDisks: V1_0, required, (connection: VddkConnection, names: *const *const c_char, count: usize, flags: u32, set: *mut MntDiskSet) -> VddkError;
            get_disk_set_info = VixMntapi_GetDiskSetInfo: V1_0, required, (set: MntDiskSet, info: *mut *mut MntDiskSetInfo) -> VddkError;
            free_disk_set_info = VixMntapi_FreeDiskSetInfo: V1_0, required, (info: *mut MntDiskSetInfo) -> ();
            close_disk_set = VixMntapi_CloseDiskSet: V1_0, required, (set: MntDiskSet) -> VddkError;
            get_volume_handles = VixMntapi_GetVolumeHandles: V1_0, required, (set: MntDiskSet, count: *mut usize, volumes: *mut *mut MntVolume) -> VddkError;
            free_volume_handles = VixMntapi_FreeVolumeHandles: V1_0, required, (volumes: *mut MntVolume) -> ();
            get_os_info = VixMntapi_GetOsInfo: V1_0, required, (set: MntDiskSet, info: *mut *mut MntOsInfo) -> VddkError;
            free_os_info = VixMntapi_FreeOsInfo: V1_0, required, (info: *mut MntOsInfo) -> ();
            mount_volume = VixMntapi_MountVolume: V1_0, required, (volume: MntVolume, read_only: VddkBool) -> VddkError;
            dismount_volume = VixMntapi_DismountVolume: V1_0, required, (volume: MntVolume, force: VddkBool) -> VddkError;
            get_volume_info = VixMntapi_GetVolumeInfo: V1_0, required, (volume: MntVolume, info: *mut *mut MntVolumeInfo) -> VddkError;
            free_volume_info = VixMntapi_FreeVolumeInfo: V1_0, required, (info: *mut MntVolumeInfo) -> ();
            get_volume_info_ex = VixMntapi_GetVolumeInfoEx: V1_1, optional, (volume: MntVolume, info: *mut *mut MntVolumeInfoEx) -> VddkError;
            free_volume_info_ex = VixMntapi_FreeVolumeInfoEx: V1_1, optional, (info: *mut MntVolumeInfoEx) -> ();
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
    ($($field:ident = $name:ident: $since:ident, $class:ident, ($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        /// The function type behind each exported name.
        #[allow(non_camel_case_types, clippy::wildcard_imports)]
        pub mod raw {
            use super::*;
            $(
                #[doc = concat!("The type of `", stringify!($name), "`.")]
                pub type $name = unsafe extern "C" fn($($type),*) -> $result;
            )*
        }

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

            /// Name, first interface and class of this symbol.
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
            /// `library` must be a VixMntapi, so that each name found has the signature of the table. The table must
            /// not be used after `library` is unloaded.
            pub(super) unsafe fn resolve(library: &libloading::Library) -> Table {
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

        /// A loaded library's functions. Each says so when the library lacks it.
        pub(super) struct Calls {
            pub(super) table: Table,
        }

        #[allow(clippy::too_many_arguments, dead_code)]
        impl Calls {
            $(
                /// # Safety
                /// The arguments must be what the function of this name expects, on the control thread.
                pub(super) unsafe fn $field(&self, $($argument: $type),*) -> Result<$result, Missing> {
                    let function = self.table.$field.ok_or(Missing(Symbol::$name))?;
                    // SAFETY: the pointer came from the library under this name, which stays loaded for the life of
                    // the process; the caller vouches for the arguments.
                    Ok(unsafe { function($($argument),*) })
                }
            )*
        }
    };
}

for_each_mntapi_symbol!(define_symbols);

/// A function that the loaded library does not export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missing(pub(crate) Symbol);

impl Table {
    /// The required symbols that the library lacks.
    #[must_use]
    pub fn missing_required(&self) -> Vec<Symbol> {
        Symbol::ALL.iter().copied().filter(|symbol| symbol.info().required && !self.has(*symbol)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_name_once_and_requires_nothing_new() {
        let mut names: Vec<&str> = Symbol::ALL.iter().map(|symbol| symbol.info().name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Symbol::ALL.len());
        assert!(names.iter().all(|name| name.starts_with("VixMntapi_")));
        for symbol in Symbol::ALL {
            let info = symbol.info();
            assert!(!info.required || info.since == Since::V1_0, "{} is required", info.name);
        }
    }
}
