//! What `#[retrieve(…)]` says, on the struct and on its fields.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, Field, Member, Result, Type};

/// Where the value of a field comes from.
pub(crate) enum Source {
    /// The reference of the object itself.
    Reference,
    /// A property: the calls behind the managed object type that make its typed path.
    Property(TokenStream),
}

/// The managed object type, from `#[retrieve(VirtualMachine)]` on the struct.
pub(crate) fn object(name: &Ident, attributes: &[Attribute]) -> Result<Type> {
    match the_one(attributes)? {
        Some(attribute) => attribute.parse_args(),
        None => {
            let message = "say which managed objects it is read from: #[retrieve(VirtualMachine)]";
            Err(Error::new(name.span(), message))
        }
    }
}

/// From `#[retrieve(config.hardware.device)]` on a field; without it, the property has the name of the field.
pub(crate) fn source(field: &Field, name: &Ident) -> Result<Source> {
    let Some(attribute) = the_one(&field.attrs)? else { return Ok(Source::Property(constant(name))) };
    let path: Expr = attribute.parse_args()?;
    if matches!(&path, Expr::Path(path) if path.path.is_ident("self")) {
        return Ok(Source::Reference);
    }
    steps(&path).map(Source::Property)
}

fn the_one(attributes: &[Attribute]) -> Result<Option<&Attribute>> {
    let mut found = attributes.iter().filter(|attribute| attribute.path().is_ident("retrieve"));
    let first = found.next();
    match found.next() {
        Some(second) => Err(Error::new_spanned(second, "one #[retrieve(…)] is enough")),
        None => Ok(first),
    }
}

/// `config.hardware.device[2000]` -> `CONFIG.hardware().device().at(2000)`.
fn steps(path: &Expr) -> Result<TokenStream> {
    match path {
        Expr::Path(first) if first.attrs.is_empty() && first.qself.is_none() => {
            first.path.get_ident().map(constant).ok_or_else(|| refused(path))
        }
        Expr::Field(step) => {
            let Member::Named(field) = &step.member else { return Err(refused(path)) };
            let before = steps(&step.base)?;
            Ok(quote!(#before.#field()))
        }
        Expr::Index(step) => {
            let before = steps(&step.expr)?;
            let key = &step.index;
            let at = Ident::new("at", key.span());
            Ok(quote!(#before.#at(#key)))
        }
        _ => Err(refused(path)),
    }
}

fn refused(path: &Expr) -> Error {
    let message = "not a property path: write the fields as Rust names them, such as config.hardware.device, or \
                   config.extra_config[\"key\"].value, or self for the reference of the object";
    Error::new_spanned(path, message)
}

/// The constant of a property: `guest_heartbeat_status` -> `GUEST_HEARTBEAT_STATUS`.
fn constant(name: &Ident) -> TokenStream {
    let name = Ident::new(&syn::ext::IdentExt::unraw(name).to_string().to_uppercase(), name.span());
    quote!(#name)
}
