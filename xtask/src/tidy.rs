//! `cargo xtask tidy`: the house rules that neither rustc nor clippy knows.
//!
//! Every check is a function from a [`Tree`] to breaches, so that each is tested on a tree of a few lines. A check
//! never stops at the first breach: one run names them all.

mod dependencies;
mod fence;
mod figures;
mod generated;
mod leftovers;
mod links;
mod machine_paths;
mod members;
mod names;
mod rust_source;
mod seams;
mod sizes;
mod tree;
mod whitespace;

use std::fmt;

use anyhow::bail;

use crate::workspace;
use tree::Tree;

/// Checks the whole workspace, prints the figures, and fails if there was any breach.
pub(crate) fn run() -> anyhow::Result<()> {
    let tree = Tree::read(&workspace::root()?)?;
    println!("{}", figures::measure(&tree));
    let breaches = all_breaches(&tree);
    for breach in &breaches {
        println!("{breach}");
    }
    match breaches.len() {
        0 => {
            println!("tidy: {} files, no breach", tree.files().len());
            Ok(())
        }
        count => bail!("tidy: {count} breaches of the house rules, listed above"),
    }
}

fn all_breaches(tree: &Tree) -> Vec<Breach> {
    let checks: [fn(&Tree) -> Vec<Breach>; 11] = [
        sizes::check,
        names::check,
        fence::check,
        generated::check,
        leftovers::check,
        seams::check,
        whitespace::check,
        links::check,
        machine_paths::check,
        members::check,
        dependencies::check,
    ];
    let mut breaches: Vec<Breach> = checks.iter().flat_map(|check| check(tree)).collect();
    breaches.sort();
    breaches
}

/// One place where one rule does not hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Breach {
    path: String,
    /// Counted from 1; 0 means the whole file.
    line: usize,
    rule: &'static str,
    message: String,
}

impl Breach {
    fn at(path: &str, line: usize, rule: &'static str, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, message: message.into() }
    }

    fn of_file(path: &str, rule: &'static str, message: impl Into<String>) -> Self {
        Self::at(path, 0, rule, message)
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {} [{}]", self.path, self.message, self.rule),
            line => write!(f, "{}:{line}: {} [{}]", self.path, self.message, self.rule),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The real tree is checked by `cargo xtask tidy`; here it is enough that a breach of each kind comes through.
    #[test]
    fn every_check_is_called() {
        let long = "//! Doc.\n".repeat(801);
        let tree = Tree::of(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"odd\"]\n[workspace.dependencies]\nserde = \"1\"\n"),
            ("odd/src/lib.rs", "pub trait Seam {}\nfn f() { dbg!(1); }\n"),
            ("odd/src/long.rs", &long),
            ("odd/src/util.rs", "\n"),
            ("vim-api/src/generated/types.rs", "struct A;\n"),
            ("README.md", "trailing \n[gone](nowhere.md)\n"),
            ("notes.txt", concat!("see /ro", "ot/notes\n")),
        ]);
        let breaches = all_breaches(&tree);
        let rules: BTreeSet<&str> = breaches.iter().map(|breach| breach.rule).collect();
        let expected = [
            dependencies::REASON,
            dependencies::UNUSED,
            fence::FORBID,
            generated::BANNER,
            leftovers::MACRO,
            links::LINK,
            machine_paths::RULE,
            members::ARCHITECTURE,
            members::COMMENT,
            members::MANIFEST,
            names::RULE,
            seams::RULE,
            sizes::FILE,
            whitespace::RULE,
        ];
        assert_eq!(rules, BTreeSet::from(expected));
    }

    #[test]
    fn a_breach_prints_place_then_reason_then_rule() {
        assert_eq!(Breach::at("a.rs", 3, "rule", "is odd").to_string(), "a.rs:3: is odd [rule]");
        assert_eq!(Breach::of_file("a.rs", "rule", "is odd").to_string(), "a.rs: is odd [rule]");
    }
}
