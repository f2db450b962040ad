//! Small changes to the file of a shared library: symbols that are no longer exported, another name for itself.
//!
//! Whether a library exports a function is settled when it is linked, and one build has to stand for every release. So the
//! copy in a kit is changed: the rows of its dynamic symbol table that its release lacks become empty, which no lookup finds
//! (the hash table still leads there, and the linker compares names).

use std::io::{Error, ErrorKind, Result};
use std::ops::Range;

const STRINGS: u32 = 3;
const RELOCATIONS: u32 = 4;
const DYNAMIC: u32 = 6;
const DYNAMIC_SYMBOLS: u32 = 11;
/// Bytes of a row: of the section table, of symbols, of relocations, of the dynamic section.
const SECTION: usize = 64;
const SYMBOL: usize = 24;
const RELOCATION: usize = 24;
const ENTRY: usize = 16;
/// The dynamic section's row with the library's name for itself.
const SONAME: u64 = 14;

/// A shared library for x86-64 as the bytes of its file.
pub(crate) struct Elf {
    bytes: Vec<u8>,
    sections: Vec<Section>,
}

#[derive(Clone)]
struct Section {
    kind: u32,
    link: usize,
    range: Range<usize>,
}

impl Elf {
    pub(crate) fn parse(bytes: Vec<u8>) -> Result<Elf> {
        // 64 bits, little-endian.
        if !bytes.starts_with(&[0x7F, b'E', b'L', b'F', 2, 1]) {
            return Err(malformed("it is not a shared library of this kind of machine"));
        }
        let mut elf = Elf { bytes, sections: Vec::new() };
        let table = usize_of(elf.number::<8>(0x28)?)?;
        let count = usize_of(elf.number::<2>(0x3C)?)?;
        for index in 0..count {
            let row = table + index * SECTION;
            let start = usize_of(elf.number::<8>(row + 0x18)?)?;
            let length = usize_of(elf.number::<8>(row + 0x20)?)?;
            let end = start.checked_add(length).ok_or_else(|| malformed("a section has no end"))?;
            let kind = u32::try_from(elf.number::<4>(row + 4)?).unwrap_or_default();
            let link = usize_of(elf.number::<4>(row + 0x28)?)?;
            elf.sections.push(Section { kind, link, range: start..end });
        }
        Ok(elf)
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Takes functions off the list of what is exported.
    ///
    /// # Errors
    /// `InvalidData` when there is no such function, or the library calls it by its name itself.
    pub(crate) fn hide(&mut self, names: &[&str]) -> Result<()> {
        let symbols = self.section(DYNAMIC_SYMBOLS)?;
        let strings = self.linked(&symbols)?;
        for name in names {
            let index = (0..symbols.range.len() / SYMBOL)
                .find(|index| self.name_at(&symbols, &strings, *index) == Some(name.as_bytes()))
                .ok_or_else(|| malformed(&format!("it does not export {name}")))?;
            if self.is_referred_to(index)? {
                return Err(malformed(&format!("it needs {name} itself")));
            }
            let row = symbols.range.start + index * SYMBOL;
            let bytes =
                self.bytes.get_mut(row..row + SYMBOL).ok_or_else(|| malformed("its symbols are cut off"))?;
            // Its kind stays: local symbols would have to come first.
            bytes[..4].fill(0);
            bytes[5..].fill(0);
        }
        Ok(())
    }

    /// Gives the library another name of the same length for itself.
    pub(crate) fn set_soname(&mut self, name: &str) -> Result<()> {
        let dynamic = self.section(DYNAMIC)?;
        let strings = self.linked(&dynamic)?;
        for row in dynamic.range.clone().step_by(ENTRY) {
            if self.number::<8>(row)? != SONAME {
                continue;
            }
            let start = strings.range.start + usize_of(self.number::<8>(row + 8)?)?;
            let place = self.bytes.get_mut(start..=start + name.len());
            let place = place.filter(|place| place.iter().position(|byte| *byte == 0) == Some(name.len()));
            place.ok_or_else(|| malformed("its own name has another length"))?[..name.len()]
                .copy_from_slice(name.as_bytes());
            return Ok(());
        }
        Err(malformed("it has no name of its own"))
    }

    fn is_referred_to(&self, symbol: usize) -> Result<bool> {
        for section in self.sections.iter().filter(|section| section.kind == RELOCATIONS) {
            for row in section.range.clone().step_by(RELOCATION) {
                if usize_of(self.number::<8>(row + 8)? >> 32)? == symbol {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    fn name_at(&self, symbols: &Section, strings: &Section, index: usize) -> Option<&[u8]> {
        let offset = self.number::<4>(symbols.range.start + index * SYMBOL).ok()?;
        let start = strings.range.start.checked_add(usize_of(offset).ok()?)?;
        self.bytes.get(start..strings.range.end)?.split(|byte| *byte == 0).next()
    }

    fn section(&self, kind: u32) -> Result<Section> {
        let found = self.sections.iter().find(|section| section.kind == kind);
        found.cloned().ok_or_else(|| malformed("a section is missing"))
    }

    /// The strings that a section's rows point into.
    fn linked(&self, section: &Section) -> Result<Section> {
        let found = self.sections.get(section.link).filter(|section| section.kind == STRINGS);
        found.cloned().ok_or_else(|| malformed("its names are missing"))
    }

    fn number<const BYTES: usize>(&self, at: usize) -> Result<u64> {
        let bytes = at.checked_add(BYTES).and_then(|end| self.bytes.get(at..end));
        let bytes = bytes.ok_or_else(|| malformed("it is cut off"))?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

fn usize_of(number: u64) -> Result<usize> {
    usize::try_from(number).map_err(|_| malformed("a number is out of range"))
}

fn malformed(text: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the built library cannot be changed: {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_library_is_refused() {
        let program = std::fs::read("/proc/self/exe").unwrap();
        for length in [0, 5, 16, 64, 4096] {
            assert!(Elf::parse(program[..length].to_vec()).is_err(), "{length}");
        }
        let mut elf = Elf::parse(program).unwrap();
        assert_eq!(elf.hide(&["VixDiskLib_NoSuchFunction"]).unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(elf.set_soname("libvixDiskLib.so.9").is_err());
    }
}
