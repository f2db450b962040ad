//! `#[derive(Retrieve)]` for [vim-api](https://docs.rs/vim-api), which re-exports it and says how it is used.
//!
//! The macro knows nothing of the schema. It writes out the typed paths that the attributes name, with the spans of what
//! was written there, and leaves it to the compiler to find that a field does not exist or is of another type.
#![forbid(unsafe_code)]

mod attributes;
mod expand;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Reads a struct from properties of a managed object. See the trait of the same name in `vim-api`.
#[proc_macro_derive(Retrieve, attributes(retrieve))]
pub fn retrieve(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::retrieve(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
