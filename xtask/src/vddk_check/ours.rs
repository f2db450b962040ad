//! Our side: the bindings, the layouts of `vixmntapi`, both symbol tables and the table of codes, read as source. Reading them as
//! crates would mean that xtask can't be built while they are being changed, and it is what writes the bindings.

use std::fs;

use anyhow::{Context, ensure};

use super::interface::{Constant, Function, Interface};
use crate::workspace;

/// What we say of the interface.
pub(super) struct Ours {
    pub(super) interface: Interface,
    pub(super) symbols: Vec<Symbol>,
    pub(super) codes: Vec<Code>,
}

/// A row of a symbol table.
pub(super) struct Symbol {
    pub(super) name: String,
    pub(super) function: Function,
    /// As the table names the release.
    pub(super) since: String,
    /// Whether there are kits without it.
    pub(super) may_lack: bool,
}

/// A row of the table of codes; those of the groups that disk calls never return have no name.
pub(super) struct Code {
    pub(super) number: i128,
    pub(super) name: Option<String>,
}

pub(super) fn load() -> anyhow::Result<Ours> {
    let mut interface = Interface::default();
    for file in ["vixdisklib/src/ffi/bindings.rs", "vixmntapi/src/ffi/types.rs"] {
        interface.add(&read(file)?).with_context(|| format!("{file} cannot be understood"))?;
    }
    hardware_versions(&read("vixdisklib/src/create.rs")?, &mut interface)?;
    let mut symbols = symbols(&read("vixdisklib/src/ffi/symbols.rs")?, "VixDiskLib_")?;
    symbols.extend(self::symbols(&read("vixmntapi/src/ffi/symbols.rs")?, "VixMntapi_")?);
    Ok(Ours { interface, symbols, codes: codes(&read("vixdisklib/src/error/table.rs")?)? })
}

fn read(file: &str) -> anyhow::Result<String> {
    let path = workspace::root()?.join(file);
    fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))
}

/// The named versions of virtual hardware: `pub const NAME: HardwareVersion = HardwareVersion(NUMBER);`.
fn hardware_versions(text: &str, interface: &mut Interface) -> anyhow::Result<()> {
    for line in text.lines() {
        let Some((name, value)) =
            line.trim().strip_prefix("pub const ").and_then(|line| line.split_once(": HardwareVersion = "))
        else {
            continue;
        };
        let number = value.strip_prefix("HardwareVersion(").and_then(|value| value.strip_suffix(");"));
        let value =
            number.and_then(|number| number.parse().ok()).with_context(|| format!("{name} is no number"))?;
        interface
            .constants
            .insert(format!("HardwareVersion::{name}"), Constant { value, ty: "u16".to_owned() });
    }
    Ok(())
}

/// The rows of a symbol table: `field = NAME: [Type, ]Since, class, (argument: Type, ...) -> Result;`, each on a line.
fn symbols(text: &str, prefix: &str) -> anyhow::Result<Vec<Symbol>> {
    let mut symbols = Vec::new();
    for line in text.lines() {
        let Some((name, row)) = line.split_once(" = ").and_then(|(_, row)| row.split_once(": ")) else {
            continue;
        };
        let Some((words, signature)) = row.split_once('(') else { continue };
        if !name.starts_with(prefix) {
            continue;
        }
        let signature = format!("fn {name}({}", signature.trim_end().trim_end_matches(';'));
        let signature =
            syn::parse_str(&signature).with_context(|| format!("the row of {name} is no signature"))?;
        let words: Vec<&str> = words.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        let [.., since, class] = words[..] else { continue };
        // The first rows of the disk library are in every kit; of the other one, some functions are for Windows alone.
        let may_lack = class == "optional" && since != "V5";
        symbols.push(Symbol {
            name: name.to_owned(),
            function: Function::of(signature)?,
            since: since.to_owned(),
            may_lack,
        });
    }
    ensure!(!symbols.is_empty(), "the table of {prefix} has no rows that can be read");
    Ok(symbols)
}

/// The rows of the table of codes: calls of `row(NUMBER, "NAME", ...`, and of the groups with a number alone.
fn codes(text: &str) -> anyhow::Result<Vec<Code>> {
    let mut codes = Vec::new();
    let (_, table) =
        text.split_once("CODES: &[CodeInfo] = &[").context("the table of codes was not found")?;
    let (table, _) = table.split_once("];").context("the table of codes does not end")?;
    for row in table.split('(').skip(1) {
        let digits: String = row.trim_start().chars().take_while(char::is_ascii_digit).collect();
        let Ok(number) = digits.parse() else { continue };
        let behind = row.trim_start()[digits.len()..].trim_start_matches(',').trim_start();
        let name =
            behind.strip_prefix('"').and_then(|name| name.split_once('"')).map(|(name, _)| name.to_owned());
        codes.push(Code { number, name });
    }
    Ok(codes)
}
