//! Documents made by chance from a table, in the form in which they are written: what is read has to come back alike.

use super::table::{Field, Often, Table};

/// The built-in types that the schema uses.
pub const BUILTIN: [&str; 10] =
    ["boolean", "byte", "short", "int", "long", "float", "double", "string", "dateTime", "base64Binary"];

/// The content of an element, and how much of it nobody can know.
#[derive(Default)]
pub struct Document {
    pub content: String,
    pub extras: usize,
}

/// Makes them.
pub struct Documents<'a> {
    table: &'a Table,
    /// Says further which fields are required: what is required there is written even if it was absent.
    also: &'a Table,
    /// Whether things appear that only a newer server knows.
    is_of_tomorrow: bool,
    random: Random,
    extras: usize,
}

impl<'a> Documents<'a> {
    pub fn of_its_time(table: &'a Table, also: &'a Table, seed: u64) -> Self {
        Self { table, also, is_of_tomorrow: false, random: Random(seed), extras: 0 }
    }

    pub fn of_tomorrow(table: &'a Table, seed: u64) -> Self {
        Self { table, also: table, is_of_tomorrow: true, random: Random(seed), extras: 0 }
    }

    /// An object of the type, with every field set.
    pub fn object(&mut self, name: &str) -> Document {
        self.extras = 0;
        let content = self.fields(name, 0);
        Document { content, extras: self.extras }
    }

    /// An array of two items.
    pub fn array(&mut self, item: &str) -> Document {
        self.extras = 0;
        let content = self.element(item, item, 1) + &self.element(item, item, 1);
        Document { content, extras: self.extras }
    }

    /// All of them at the top, some below it, and further down only those that must be there.
    fn fields(&mut self, name: &str, depth: u32) -> String {
        assert!(depth < 60, "{name} requires itself");
        let mut out = String::new();
        for field in self.table.fields(name) {
            let is_there = match depth {
                0 => true,
                1 => self.is_required(name, &field) || self.random.one_in(4),
                _ => self.is_required(name, &field),
            };
            let count = match (is_there, field.often) {
                (false, _) => 0,
                (true, Often::Any) => 1 + self.random.below(3),
                (true, _) => 1,
            };
            for _ in 0..count {
                out.push_str(&self.element(field.name, field.ty, depth + 1));
            }
        }
        if self.is_of_tomorrow && self.random.one_in(4) {
            self.extras += 1;
            out.push_str("<fieldOfTomorrow xsi:type=\"NewThing\"><a b=\"1\">x &amp; y</a></fieldOfTomorrow>");
        }
        out
    }

    fn is_required(&self, type_name: &str, field: &Field) -> bool {
        let is_once = |table: &Table| {
            table.types.contains_key(type_name)
                && table.fields(type_name).iter().any(|f| f.name == field.name && f.often == Often::Once)
        };
        field.often == Often::Once || is_once(self.also)
    }

    /// One element in a place that is declared to be of the type.
    fn element(&mut self, name: &str, ty: &str, depth: u32) -> String {
        if ty == "anyType" {
            return self.any(name, depth);
        }
        if !self.table.types.contains_key(ty) {
            let reference = if ty == "ManagedObjectReference" { self.reference() } else { String::new() };
            return format!("<{name}{reference}>{}</{name}>", self.simple(ty));
        }
        if self.is_of_tomorrow && self.random.one_in(8) {
            self.extras += 1;
            return format!("<{name} xsi:type=\"TypeOfTomorrow\">{}</{name}>", self.fields(ty, depth));
        }
        let actual = self.subtype(ty);
        let stated = if actual == ty { String::new() } else { format!(" xsi:type=\"{actual}\"") };
        format!("<{name}{stated}>{}</{name}>", self.fields(&actual, depth))
    }

    /// An element that says itself of which type it is.
    fn any(&mut self, name: &str, depth: u32) -> String {
        // A required field may be one, so the depth is bounded here.
        let (ty, content) = match self.random.below(if depth < 4 { 7 } else { 4 }) {
            0 | 1 => {
                let ty = self.random.of(&BUILTIN);
                (format!("xsd:{ty}"), self.simple(ty))
            }
            2 => {
                let list = self.random.of_keys(&self.table.enums);
                (list.to_owned(), self.simple(list))
            }
            3 => {
                let reference = self.reference();
                let value = self.simple("ManagedObjectReference");
                return format!("<{name} xsi:type=\"ManagedObjectReference\"{reference}>{value}</{name}>");
            }
            4 if self.is_of_tomorrow => {
                self.extras += 1;
                ("TypeOfTomorrow".to_owned(), "<a xsi:type=\"xsd:int\">1</a>text<b></b>".to_owned())
            }
            5 => {
                let items: Vec<_> = self.table.item_types().collect();
                let item = self.random.of(&items);
                (array_name(item), self.element(item, item, depth + 1))
            }
            _ => {
                let ty = self.random.of_keys(&self.table.types);
                (ty.to_owned(), self.fields(ty, depth + 1))
            }
        };
        format!("<{name} xsi:type=\"{ty}\">{content}</{name}>")
    }

    fn reference(&mut self) -> String {
        let guid = if self.random.one_in(4) { " serverGuid=\"b6a1\"" } else { "" };
        format!(" type=\"{}\"{guid}", self.random.of(&["VirtualMachine", "Datastore", "ThingOfTomorrow"]))
    }

    fn subtype(&mut self, ty: &str) -> String {
        let below = self.table.subtypes(ty);
        if below.is_empty() || self.random.one_in(3) {
            return ty.to_owned();
        }
        let chosen = self.random.of(below);
        self.subtype(chosen)
    }

    /// The text of a value that is no object.
    fn simple(&mut self, ty: &str) -> String {
        let bits = self.random.next();
        let few = bits % 2_000_000;
        match ty {
            "boolean" => bits.is_multiple_of(2).to_string(),
            "byte" => (bits as i8).to_string(),
            "short" => (bits as i16).to_string(),
            "int" => (bits as i32).to_string(),
            "long" => (bits as i64).to_string(),
            "float" | "double" => {
                ["INF", "-INF", "NaN", "0.5", "-12.25", "3"][(bits % 6) as usize].to_owned()
            }
            "string" | "anyURI" => ["", "plain", " a\nb ", "&lt;x&gt; &amp; y", "äöü \u{1f600}", "a%2fb"]
                [(bits % 6) as usize]
                .to_owned(),
            "dateTime" => format!("2026-11-26T12:59:18.{few:07}Z"),
            "base64Binary" => ["", "AA==", "AAEC/w=="][(bits % 3) as usize].to_owned(),
            "ManagedObjectReference" => format!("thing-{few}"),
            list if self.is_of_tomorrow && few.is_multiple_of(5) => {
                assert!(self.table.enums.contains_key(list), "{list}");
                "valueOfTomorrow".to_owned()
            }
            list => {
                let values = self.table.enums.get(list).unwrap_or_else(|| panic!("no type is called {list}"));
                self.random.of(values).to_owned()
            }
        }
    }
}

/// Of an array of such items: the names of built-in types are capitalised in it.
pub fn array_name(item: &str) -> String {
    if BUILTIN.contains(&item) || item == "anyType" {
        return format!("ArrayOf{}{}", item[..1].to_uppercase(), &item[1..]);
    }
    format!("ArrayOf{item}")
}

/// SplitMix64: the same numbers for the same seed, on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<'v>(&mut self, values: &[&'v str]) -> &'v str {
        values[self.below(values.len())]
    }

    fn of_keys<V>(&mut self, map: &std::collections::BTreeMap<&'static str, V>) -> &'static str {
        let index = self.below(map.len());
        map.keys().nth(index).unwrap()
    }
}
