//! The walk through both interfaces at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use syn::Type;

use super::interface::{Function, Interface, Shape, Structure};
use super::names;
use super::ours::Ours;

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// What one side contradicts the other in.
    pub(super) differs: Vec<String>,
    /// What an older kit does not have.
    pub(super) lacks: Vec<String>,
    /// What a newer kit has, and our side does not know.
    pub(super) more: Vec<String>,
    functions: usize,
    fields: usize,
    constants: usize,
}

/// Holds the kit against our side; its mount library only if it came with one.
pub(super) fn compare(ours: &Ours, kit: &Interface, has_mounts: bool) -> Report {
    let mut walk = Walk {
        ours: &ours.interface,
        kit,
        report: Report::default(),
        names: BTreeMap::new(),
        seen: BTreeSet::new(),
    };
    for symbol in &ours.symbols {
        if symbol.name.starts_with("VixMntapi_") && !has_mounts {
            continue;
        }
        match kit.functions.get(&symbol.name) {
            Some(function) => {
                walk.report.functions += 1;
                walk.functions(&symbol.name, &symbol.function, function);
            }
            None if symbol.may_lack => {
                walk.report.lacks.push(format!(
                    "{} (first seen: {})",
                    symbol.name,
                    symbol.since.trim_start_matches('V').replace('_', ".")
                ));
            }
            None => walk.differ(&symbol.name, "the kit does not declare it, and every kit should"),
        }
    }
    let known: BTreeSet<&str> = ours.symbols.iter().map(|symbol| symbol.name.as_str()).collect();
    let unknown = kit.functions.keys().filter(|name| !known.contains(name.as_str()));
    walk.report.more.extend(unknown.map(|name| format!("{name}: our table does not have it")));
    walk.constants();
    walk.codes(ours);
    walk.report
}

struct Walk<'a> {
    ours: &'a Interface,
    kit: &'a Interface,
    report: Report,
    /// What our names of types are called there, as far as was met.
    names: BTreeMap<String, String>,
    /// Enumerations that were compared.
    seen: BTreeSet<String>,
}

impl Walk<'_> {
    fn differ(&mut self, place: &str, what: impl fmt::Display) {
        self.report.differs.push(format!("{place}: {what}"));
    }

    fn functions(&mut self, place: &str, ours: &Function, kit: &Function) {
        if ours.parameters.len() != kit.parameters.len() {
            let what =
                format!("{} parameters here, {} in the kit", ours.parameters.len(), kit.parameters.len());
            return self.differ(place, what);
        }
        for (number, (here, there)) in ours.parameters.iter().zip(&kit.parameters).enumerate() {
            self.types(&format!("{place}, parameter {}", number + 1), here, there);
        }
        match (&ours.result, &kit.result) {
            (Some(here), Some(there)) => self.types(&format!("{place}, result"), here, there),
            (None, None) => {}
            (here, _) => self.differ(
                place,
                format!("a result {}", if here.is_some() { "here only" } else { "in the kit only" }),
            ),
        }
    }

    /// Constness is not compared: the calling convention knows nothing of it, and kits differ in how they spell it.
    fn types(&mut self, place: &str, ours: &Type, kit: &Type) {
        let (Some(here), Some(there)) = (self.ours.shape(ours), self.kit.shape(kit)) else {
            return self.differ(place, "a type that is declared nowhere");
        };
        match (here, there) {
            (
                Shape::Integer { bytes, signed, alias },
                Shape::Integer { bytes: other, signed: other_signed, alias: other_alias },
            ) => {
                let enumeration = other_alias.filter(|name| self.is_enumeration(name));
                // Compilers choose the sign of an enumeration, and whether plain characters have one.
                if bytes != other || (signed != other_signed && bytes > 1 && enumeration.is_none()) {
                    return self.differ(
                        place,
                        format!("{} here, {} in the kit", number(bytes, signed), number(other, other_signed)),
                    );
                }
                if let Some(enumeration) = enumeration {
                    let field = place.split(" (").next().unwrap_or(place);
                    self.members(alias.unwrap_or(field), enumeration);
                }
            }
            (Shape::Pointer(here), Shape::Pointer(there)) => {
                let untyped = |shape: Option<Shape<'_>>| matches!(shape, Some(Shape::Void));
                if !untyped(self.ours.shape(here)) && !untyped(self.kit.shape(there)) {
                    self.types(place, here, there);
                }
            }
            (Shape::Callback(here), Shape::Callback(there)) => {
                self.functions(&format!("{place}, callback"), &here, &there)
            }
            (Shape::Structure(here), Shape::Structure(there)) => self.structures(place, here, there),
            (Shape::Array(here, count), Shape::Array(there, other)) if count == other => {
                self.types(place, here, there)
            }
            (here, there) => self.differ(place, format!("{here} here, {there} in the kit")),
        }
    }

    fn is_enumeration(&self, alias: &str) -> bool {
        self.kit.constants.values().any(|constant| constant.ty == alias)
    }

    fn structures(&mut self, place: &str, ours: &str, kit: &str) {
        if let Some(known) = self.names.get(ours) {
            if known != kit {
                let what = format!("the kit has {kit} where it has {known} elsewhere");
                self.differ(place, what);
            }
            return;
        }
        if let Some((other, _)) = self.names.iter().find(|(_, there)| *there == kit) {
            let what = format!("{kit} of the kit is {ours} here and {other} elsewhere");
            return self.differ(place, what);
        }
        self.names.insert(ours.to_owned(), kit.to_owned());
        let (Some(here), Some(there)) = (self.ours.structures.get(ours), self.kit.structures.get(kit)) else {
            return self.differ(place, "a structure that is declared nowhere");
        };
        match (here.is_opaque(), there.is_opaque()) {
            (true, _) => {}
            (false, true) => self.differ(place, format!("the kit does not say what {kit} is")),
            (false, false) if here.is_union != there.is_union => {
                self.differ(place, format!("only one of {ours} and {kit} is a union"))
            }
            (false, false) if here.is_union => self.unions(ours, here, there),
            (false, false) => self.fields(ours, here, kit, there),
        }
    }

    fn fields(&mut self, ours: &str, here: &Structure, kit: &str, there: &Structure) {
        let older = names::GROWN.iter().any(|(name, sizes)| *name == ours && sizes.contains(&there.size));
        for field in &here.fields {
            let Some(name) = kits_name(ours, &field.name) else {
                self.differ(ours, format!("{} has no name in the list of the kit's names", field.name));
                continue;
            };
            let place = format!("{ours}.{} ({kit}.{name})", field.name);
            match there.field(name).or_else(|| there.field(&format!("{name}_"))) {
                Some(found) => {
                    self.report.fields += 1;
                    if found.offset != field.offset {
                        self.differ(
                            &place,
                            format!("at byte {} here, at {} in the kit", field.offset, found.offset),
                        );
                    }
                    self.types(&place, &field.ty, &found.ty);
                }
                None if older && field.offset >= there.size => self.report.lacks.push(place),
                None => {
                    let instead = there.fields.iter().find(|found| found.offset == field.offset);
                    let instead = instead.map_or("nothing".to_owned(), |found| found.name.clone());
                    self.differ(&place, format!("the kit has {instead} at byte {}", field.offset));
                }
            }
        }
        let mut unknown = Vec::new();
        for field in &there.fields {
            let name = field.name.strip_suffix('_').unwrap_or(&field.name);
            if !here.fields.iter().any(|known| kits_name(ours, &known.name) == Some(name)) {
                unknown.push(format!("{kit}.{} at byte {}", field.name, field.offset));
            }
        }
        let behind = there.fields.iter().all(|field| {
            field.offset >= here.size
                || !unknown.iter().any(|text| text.starts_with(&format!("{kit}.{} ", field.name)))
        });
        if !unknown.is_empty() && (!behind || names::ALLOCATED_HERE.contains(&ours)) {
            self.differ(ours, format!("the kit looks for more in it: {}", unknown.join(", ")));
        } else if unknown.is_empty() && here.size != there.size && !older {
            self.differ(ours, format!("{} bytes here, {} in the kit", here.size, there.size));
        }
        self.report.more.extend(unknown);
    }

    /// Arms have no names in our list: one of the kit's is the same if it has the same fields.
    fn unions(&mut self, ours: &str, here: &Structure, there: &Structure) {
        for arm in &here.fields {
            let place = format!("{ours}.{}", arm.name);
            let Some(Shape::Structure(name)) = self.ours.shape(&arm.ty) else {
                let pointer = |field: &&super::interface::Field| {
                    matches!(self.kit.shape(&field.ty), Some(Shape::Pointer(_)))
                };
                if there.fields.iter().find(pointer).is_none() {
                    self.differ(&place, "the kit has no such arm");
                }
                continue;
            };
            let wanted: Vec<_> = fields_of(name).iter().map(|(_, kit)| *kit).collect();
            let found = there.fields.iter().find(|field| match self.kit.shape(&field.ty) {
                Some(Shape::Structure(kit)) => self.kit.structures.get(kit).is_some_and(|structure| {
                    structure.fields.len() == wanted.len()
                        && wanted.iter().all(|name| structure.field(name).is_some())
                }),
                _ => false,
            });
            match found {
                Some(found) => self.types(&place, &arm.ty, &found.ty),
                None if names::LATER_ARMS.contains(&name) => self.report.lacks.push(place),
                None => self.differ(&place, format!("the kit has no arm with {}", wanted.join(", "))),
            }
        }
        if there.size > here.size {
            self.differ(ours, format!("{} bytes here, {} in the kit", here.size, there.size));
        }
    }

    /// The members of an enumeration of the kit, where our side has `group`.
    fn members(&mut self, group: &str, kit: &str) {
        let Some((_, members)) = names::ENUMERATIONS.iter().find(|(name, _)| *name == group) else { return };
        if !self.seen.insert(group.to_owned()) {
            return;
        }
        let there: Vec<(&String, i128)> = self
            .kit
            .constants
            .iter()
            .filter(|(_, constant)| constant.ty == kit)
            .map(|(name, constant)| (name, constant.value))
            .collect();
        let has = |name: &str, words: &str| format!("_{name}_").contains(&format!("_{words}_"));
        for (name, words) in *members {
            match there.iter().find(|(found, _)| has(found, words)) {
                Some((found, value)) => self.constant(name, found, *value),
                None if names::LATER_MEMBERS.contains(name) => {
                    self.report.lacks.push(format!("{name} in {kit}"))
                }
                None => self.differ(name, format!("{kit} has no {words}")),
            }
        }
        for (found, value) in there {
            if !members.iter().any(|(_, words)| has(found, words)) {
                self.report.more.push(format!("{found} = {value} in {kit}"));
            }
        }
    }

    fn constants(&mut self) {
        for (name, kit, everywhere) in names::CONSTANTS {
            let kit = format!("{}{kit}", names::PREFIX);
            match self.kit.constants.get(&kit) {
                Some(found) => self.constant(name, &kit, found.value),
                None if *everywhere => self.differ(name, format!("the kit has no {kit}")),
                None => self.report.lacks.push(format!("{kit} ({name})")),
            }
        }
    }

    fn constant(&mut self, name: &str, kit: &str, value: i128) {
        self.report.constants += 1;
        match self.ours.constants.get(name) {
            None => self.differ(name, "it is not in our bindings"),
            Some(here) if here.value == value => {}
            Some(_) if names::ONCE.contains(&(name, value)) => {
                self.report.lacks.push(format!("{name} is {value} in it, as it was once ({kit})"));
            }
            Some(here) => self.differ(name, format!("{} here, {kit} is {value}", here.value)),
        }
    }

    fn codes(&mut self, ours: &Ours) {
        let kits_name =
            |name: &str| if name.starts_with("VIX_") { name.to_owned() } else { format!("VIX_E_{name}") };
        let mut known = BTreeSet::new();
        for code in &ours.codes {
            let Some(name) = code.name.as_deref().map(kits_name) else { continue };
            match self.kit.constants.get(&name) {
                Some(found) => {
                    self.report.constants += 1;
                    if found.value != code.number {
                        self.differ("code", format!("{} here, {name} is {}", code.number, found.value));
                    }
                }
                None => self.report.lacks.push(format!("{name} = {}", code.number)),
            }
            known.insert(name);
        }
        for (name, found) in &self.kit.constants {
            let is_grouped =
                || ours.codes.iter().any(|code| code.name.is_none() && code.number == found.value);
            if name.starts_with("VIX_E_") && !known.contains(name) && !is_grouped() {
                self.report.more.push(format!("{name} = {}", found.value));
            }
        }
    }
}

fn fields_of(structure: &str) -> &'static [(&'static str, &'static str)] {
    names::FIELDS.iter().find(|(name, _)| *name == structure).map_or(&[], |(_, fields)| fields)
}

fn kits_name(structure: &str, field: &str) -> Option<&'static str> {
    fields_of(structure).iter().find(|(ours, _)| *ours == field).map(|(_, kit)| *kit)
}

fn number(bytes: u64, signed: bool) -> String {
    format!("{} integer of {bytes} bytes", if signed { "a signed" } else { "an unsigned" })
}

impl fmt::Display for Shape<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Integer { bytes, signed, .. } => f.write_str(&number(*bytes, *signed)),
            Shape::Pointer(_) => f.write_str("a pointer"),
            Shape::Callback(_) => f.write_str("a function"),
            Shape::Structure(name) => f.write_str(name),
            Shape::Array(_, count) => write!(f, "an array of {count}"),
            Shape::Void => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (title, lines) in [("differs", &self.differs), ("lacks", &self.lacks), ("has more", &self.more)] {
            for line in lines {
                writeln!(f, "{title:<9} {line}")?;
            }
        }
        writeln!(
            f,
            "{} functions, {} fields, {} constants compared: {} differ, {} lacking, {} more",
            self.functions,
            self.fields,
            self.constants,
            self.differs.len(),
            self.lacks.len(),
            self.more.len()
        )
    }
}
