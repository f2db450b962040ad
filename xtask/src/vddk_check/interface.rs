//! Functions, structures and constants, read from the Rust that bindgen writes, or that was written in its manner.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use syn::{Expr, Fields, Item, Lit, ReturnType, Type, UnOp};

/// A C interface as Rust declares it.
#[derive(Default)]
pub(super) struct Interface {
    pub(super) functions: BTreeMap<String, Function>,
    pub(super) structures: BTreeMap<String, Structure>,
    pub(super) constants: BTreeMap<String, Constant>,
    aliases: BTreeMap<String, Type>,
}

/// A function, or what a pointer to one points to.
pub(super) struct Function {
    pub(super) parameters: Vec<Type>,
    /// Nothing for `void`.
    pub(super) result: Option<Type>,
}

/// A structure or union. Without fields, it is one that nobody may look into.
pub(super) struct Structure {
    pub(super) is_union: bool,
    pub(super) fields: Vec<Field>,
    pub(super) size: u64,
    align: u64,
}

pub(super) struct Field {
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) ty: Type,
}

pub(super) struct Constant {
    pub(super) value: i128,
    /// The name of its type: for a member of an enumeration, that one's.
    pub(super) ty: String,
}

/// What a type comes down to.
pub(super) enum Shape<'a> {
    Integer {
        bytes: u64,
        signed: bool,
        alias: Option<&'a str>,
    },
    Pointer(&'a Type),
    Callback(Box<Function>),
    Structure(&'a str),
    Array(&'a Type, u64),
    /// Something behind a pointer that is not typed.
    Void,
}

impl Interface {
    /// Reads declarations. What is neither function, structure, alias nor number is passed over.
    pub(super) fn parse(text: &str) -> anyhow::Result<Interface> {
        let mut interface = Interface::default();
        interface.add(text)?;
        Ok(interface)
    }

    /// Reads more declarations.
    pub(super) fn add(&mut self, text: &str) -> anyhow::Result<()> {
        let mut shells = Vec::new();
        for item in syn::parse_file(text).context("these are no Rust declarations")?.items {
            match item {
                Item::Type(alias) => drop(self.aliases.insert(alias.ident.to_string(), *alias.ty)),
                Item::Const(constant) => {
                    if let (Some(value), Type::Path(path)) = (integer(&constant.expr), &*constant.ty) {
                        let ty = last_name(path);
                        self.constants.insert(constant.ident.to_string(), Constant { value, ty });
                    }
                }
                Item::Struct(item) => shells.push((item.ident.to_string(), false, item.fields)),
                Item::Union(item) => shells.push((item.ident.to_string(), true, Fields::Named(item.fields))),
                Item::ForeignMod(block) => {
                    for item in block.items {
                        if let syn::ForeignItem::Fn(function) = item {
                            self.functions
                                .insert(function.sig.ident.to_string(), Function::of(function.sig)?);
                        }
                    }
                }
                _ => {}
            }
        }
        self.lay_out(shells, text)
    }

    /// Structures contain each other, so they are laid out as soon as all that they contain is.
    fn lay_out(&mut self, mut shells: Vec<(String, bool, Fields)>, text: &str) -> anyhow::Result<()> {
        while !shells.is_empty() {
            let before = shells.len();
            let mut left = Vec::new();
            for (name, is_union, fields) in shells {
                let types: Vec<(String, Type)> = fields
                    .iter()
                    .filter_map(|field| Some((field.ident.as_ref()?.to_string(), field.ty.clone())))
                    // bindgen's mark of what must not be looked into, and Rust's custom.
                    .filter(|(name, _)| !matches!(name.as_str(), "_unused" | "_private"))
                    .collect();
                let sizes: Option<Vec<_>> = types.iter().map(|(_, ty)| self.size_of(ty)).collect();
                match sizes {
                    Some(sizes) => {
                        let structure = Structure::new(&name, is_union, types, &sizes, text);
                        self.structures.insert(name, structure);
                    }
                    None => left.push((name, is_union, fields)),
                }
            }
            if left.len() == before {
                bail!(
                    "the size of {} is not known",
                    left.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>().join(", ")
                );
            }
            shells = left;
        }
        Ok(())
    }

    /// What `ty` comes down to; `None` for a name that is declared nowhere.
    pub(super) fn shape<'a>(&'a self, ty: &'a Type) -> Option<Shape<'a>> {
        self.shape_called(ty, None)
    }

    fn shape_called<'a>(&'a self, ty: &'a Type, alias: Option<&'a str>) -> Option<Shape<'a>> {
        Some(match ty {
            Type::Ptr(pointer) => Shape::Pointer(&pointer.elem),
            Type::FnPtr(function) => Shape::Callback(Box::new(Function::of_pointer(function))),
            Type::Array(array) => Shape::Array(&array.elem, u64::try_from(integer(&array.len)?).ok()?),
            Type::Path(path) => {
                let name = &path.path.segments.last()?.ident;
                let integer = |bytes, signed| Shape::Integer { bytes, signed, alias };
                match name.to_string().as_str() {
                    "u8" | "c_uchar" => integer(1, false),
                    "i8" | "c_char" | "c_schar" => integer(1, true),
                    "u16" | "c_ushort" => integer(2, false),
                    "i16" | "c_short" => integer(2, true),
                    "u32" | "c_uint" => integer(4, false),
                    "i32" | "c_int" => integer(4, true),
                    "u64" | "usize" | "c_ulong" | "c_ulonglong" => integer(8, false),
                    "i64" | "isize" | "c_long" | "c_longlong" => integer(8, true),
                    "c_void" => Shape::Void,
                    // A pointer to a function that may be null.
                    "Option" => return self.shape_called(argument(path)?, alias),
                    name => match (self.aliases.get_key_value(name), self.structures.get_key_value(name)) {
                        (Some((name, ty)), _) => return self.shape_called(ty, Some(name)),
                        (None, Some((name, _))) => Shape::Structure(name),
                        (None, None) => return None,
                    },
                }
            }
            _ => return None,
        })
    }

    /// Size and alignment in bytes, by the rules of C on x86-64.
    fn size_of(&self, ty: &Type) -> Option<(u64, u64)> {
        Some(match self.shape(ty)? {
            Shape::Integer { bytes, .. } => (bytes, bytes),
            Shape::Pointer(_) | Shape::Callback(_) => (8, 8),
            Shape::Structure(name) => self.structures.get(name).map(|found| (found.size, found.align))?,
            Shape::Array(element, count) => {
                let (size, align) = self.size_of(element)?;
                (size * count, align)
            }
            Shape::Void => return None,
        })
    }
}

impl Structure {
    /// Where bindgen has asserted sizes and offsets, as clang has them, those count.
    fn new(
        name: &str,
        is_union: bool,
        types: Vec<(String, Type)>,
        sizes: &[(u64, u64)],
        text: &str,
    ) -> Structure {
        let (mut end, mut align, mut fields) = (0_u64, 1, Vec::new());
        for ((field, ty), (size, field_align)) in types.into_iter().zip(sizes) {
            let natural = if is_union { 0 } else { end.next_multiple_of(*field_align) };
            end = end.max(natural + size);
            align = align.max(*field_align);
            let offset = asserted(text, &format!("Offset of field: {name}::{field}")).unwrap_or(natural);
            fields.push(Field { name: field, offset, ty });
        }
        let size = asserted(text, &format!("Size of {name}")).unwrap_or_else(|| end.next_multiple_of(align));
        Structure {
            is_union,
            fields,
            size,
            align: asserted(text, &format!("Alignment of {name}")).unwrap_or(align),
        }
    }

    pub(super) fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    pub(super) fn is_opaque(&self) -> bool {
        self.fields.is_empty()
    }
}

impl Function {
    pub(super) fn of(signature: syn::Signature) -> anyhow::Result<Function> {
        let mut parameters = Vec::new();
        for input in signature.inputs {
            match input {
                syn::FnArg::Typed(parameter) => parameters.push(*parameter.ty),
                syn::FnArg::Receiver(_) => bail!("{} is a method", signature.ident),
            }
        }
        Ok(Function { parameters, result: result(signature.output) })
    }

    fn of_pointer(function: &syn::TypeFnPtr) -> Function {
        let parameters = function.inputs.iter().map(|input| input.ty.clone()).collect();
        Function { parameters, result: result(function.output.clone()) }
    }
}

fn result(output: ReturnType) -> Option<Type> {
    match output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => {
            Some(*ty).filter(|ty| !matches!(ty, Type::Tuple(unit) if unit.elems.is_empty()))
        }
    }
}

fn last_name(path: &syn::TypePath) -> String {
    path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default()
}

/// The first type between the angle brackets.
fn argument(path: &syn::TypePath) -> Option<&Type> {
    let syn::PathArguments::AngleBracketed(arguments) = &path.path.segments.last()?.arguments else {
        return None;
    };
    arguments.args.iter().find_map(|argument| match argument {
        syn::GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn integer(expression: &Expr) -> Option<i128> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => number.base10_parse().ok(),
            _ => None,
        },
        Expr::Unary(negative) if matches!(negative.op, UnOp::Neg(_)) => {
            integer(&negative.expr).map(|value| -value)
        }
        _ => None,
    }
}

/// The number in bindgen's assertion of that title: `["TITLE"][... - NUMBERusize]`.
fn asserted(text: &str, title: &str) -> Option<u64> {
    let (_, behind) = text.split_once(&format!("\"{title}\""))?;
    let (expression, _) = behind.split_once("usize")?;
    expression.rsplit_once('-')?.1.trim().parse().ok()
}
