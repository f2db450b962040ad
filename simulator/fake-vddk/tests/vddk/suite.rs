//! The contract suite: what the wrapper promises of any VixDiskLib, and a few things that only the fake one can provoke.

mod access;
mod asynchronous;
mod blocks;
mod c_program;
mod changed;
pub(crate) mod child;
mod cloning;
mod faults;
mod folder;
mod library;
mod login;
mod management;
mod metadata;
mod pitfalls;
mod pitfalls_connecting;
mod pitfalls_transfers;
mod pitfalls_transports;
pub(crate) mod setup;
mod transfer;
mod world;
