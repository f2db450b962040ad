//! The contract suite: what the wrapper promises of any VixDiskLib, and a few things that only the fake one can provoke.

mod access;
mod asynchronous;
mod blocks;
mod c_program;
mod changed;
mod cloning;
mod folder;
mod library;
mod login;
mod management;
mod metadata;
mod pitfalls;
mod privileges;
pub(crate) mod setup;
mod transfer;
mod world;
