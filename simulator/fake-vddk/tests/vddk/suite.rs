//! The contract suite: what the wrapper promises of any VixDiskLib, and a few things that only the fake one can provoke.

mod access;
mod asynchronous;
mod blocks;
mod c_program;
mod changed;
pub(crate) mod child;
mod cloning;
mod faults;
mod first_class;
mod folder;
mod library;
/// What any library has to do with disks of this machine; also run against a real kit, by `vixdisklib`.
#[path = "../../../../vixdisklib/tests/local/cases.rs"]
mod local;
mod login;
mod management;
mod metadata;
mod pitfalls;
mod pitfalls_connecting;
mod pitfalls_transfers;
mod pitfalls_transports;
mod privileges;
pub(crate) mod setup;
mod transfer;
mod world;

macro_rules! tests {
    ($($module:ident: $($case:ident),*;)*) => {
        mod any_library {
            $(mod $module {
                $(
                    #[test]
                    fn $case() {
                        super::super::local::$module::$case();
                    }
                )*
            })*
        }
    };
}
local::for_each_local_case!(tests);
