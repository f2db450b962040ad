//! The implementation of `Retrieve`.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Result};

use crate::attributes::{Source, object, source};

pub(crate) fn retrieve(input: &DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => &fields.named,
            _ => return Err(Error::new(name.span(), "Retrieve needs a struct whose fields have names")),
        },
        _ => return Err(Error::new(name.span(), "Retrieve can only be derived for a struct")),
    };
    let object = object(name, &input.attrs)?;

    let mut paths = Vec::new();
    let mut values = Vec::new();
    let mut seen = HashSet::new();
    for field in fields {
        let Some(member) = &field.ident else { continue };
        let ty = &field.ty;
        let value = match source(field, member)? {
            Source::Reference => quote_spanned!(ty.span()=> properties.object().clone()),
            Source::Property(steps) => {
                if !seen.insert(steps.to_string()) {
                    return Err(Error::new_spanned(field, "another field takes this property already"));
                }
                let path = quote!(<#object>::#steps);
                paths.push(quote!(#path.to_string()));
                // The span of the type: that is what does not fit, if something does not.
                let take = quote_spanned!(ty.span()=> .take_from::<#ty>(&mut properties)?);
                quote!(#path #take)
            }
        };
        values.push(quote!(#member: #value));
    }

    let (generics, arguments, bounds) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::vim_api::Retrieve for #name #arguments #bounds {
            type Object = #object;

            fn paths() -> ::std::vec::Vec<::std::string::String> {
                ::std::vec![#(#paths),*]
            }

            #[allow(unused_mut)]
            fn from_properties(
                mut properties: ::vim_api::Properties<Self::Object>,
            ) -> ::std::result::Result<Self, ::vim_api::Error> {
                ::std::result::Result::Ok(Self { #(#values),* })
            }
        }
    })
}
