//! Nothing unfinished is committed: no stub macro, no debug print, no note to self.

use super::Breach;
use super::tree::Tree;

pub(super) const MACRO: &str = "unfinished";
pub(super) const NOTE: &str = "note-to-self";

const MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Spelled in two halves, so that this file does not breach its own rule.
const NOTES: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.handwritten() {
        for name in MACROS {
            for line in file.rust.iter().flat_map(|rust| rust.lines_with_macro(name)) {
                breaches.push(Breach::at(&file.path, line, MACRO, format!("`{name}!` is left in the code")));
            }
        }
        for (index, line) in file.text.lines().enumerate() {
            if let Some(note) = NOTES.iter().find(|note| line.contains(*note)) {
                let message = format!("`{note}`: do it, or file an issue and leave the code whole");
                breaches.push(Breach::at(&file.path, index + 1, NOTE, message));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(&'static str, usize)> {
        check(&Tree::of(&[("a/src/b.rs", text)])).iter().map(|breach| (breach.rule, breach.line)).collect()
    }

    #[test]
    fn stub_macros_are_found_in_code_only() {
        assert_eq!(
            found("// todo!() is forbidden\nfn f() { todo!() }\nfn g() { unimplemented!(\"x\") }\n"),
            [(MACRO, 2), (MACRO, 3)]
        );
        assert_eq!(found("const A: &str = \"dbg!\";\n"), []);
    }

    #[test]
    fn notes_are_found_in_comments() {
        assert_eq!(found(concat!("fn f() {}\n// FIX", "ME later\n")), [(NOTE, 2)]);
    }
}
