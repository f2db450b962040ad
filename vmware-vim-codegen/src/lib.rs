//! Turns the vSphere WSDL into the Rust of vim-api.
#![forbid(unsafe_code)]

pub mod model;
