//! Turns the vSphere WSDL into the Rust of vim-api.
