//! A public trait is a promise to implementors: adding one is a decision that `ARCHITECTURE.md` records.

use super::Breach;
use super::tree::{File, Tree};

pub(super) const RULE: &str = "public-trait";

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let architecture = tree.file("ARCHITECTURE.md").map_or("", |file| &file.text);
    public_traits(tree)
        .into_iter()
        .filter(|(_, _, name)| !architecture.contains(&format!("`{name}`")))
        .map(|(file, line, name)| {
            let message = format!("public trait `{name}` is not named in ARCHITECTURE.md; make it private or say there why it is a seam");
            Breach::at(&file.path, line, RULE, message)
        })
        .collect()
}

/// File, line and name of each public trait outside tests and generated code.
pub(super) fn public_traits(tree: &Tree) -> Vec<(&File, usize, String)> {
    let mut traits = Vec::new();
    for file in tree.handwritten().filter(|file| !file.is_test()) {
        let Some(rust) = &file.rust else { continue };
        for (line, name) in rust.names_after(&["pub", "trait"]) {
            if !rust.is_test_line(line) {
                traits.push((file, line, name));
            }
        }
    }
    traits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_trait_must_be_recorded() {
        let source = (
            "a/src/b.rs",
            "pub trait Seam {}\npub(crate) trait Inner {}\n#[cfg(test)]\nmod t {\n    pub trait T {}\n}\n",
        );
        let lines = |architecture: &str| -> Vec<usize> {
            check(&Tree::of(&[("ARCHITECTURE.md", architecture), source]))
                .iter()
                .map(|breach| breach.line)
                .collect()
        };
        assert_eq!(lines("The seams are few."), [1]);
        assert_eq!(lines("Seam without backticks"), [1]);
        assert_eq!(lines("`Seam` is where media plug in."), [0usize; 0]);
    }
}
