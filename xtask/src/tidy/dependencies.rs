//! Every foreign crate has its reason written down, and none is declared that nobody uses.

use std::collections::BTreeSet;

use super::Breach;
use super::members::{dependencies, manifest, members};
use super::tree::Tree;

pub(super) const REASON: &str = "dependency-reason";
pub(super) const UNUSED: &str = "dependency-unused";

const REASONS: &str = "docs/decisions/dependencies.md";

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    // A root manifest that cannot be read is reported by the check of the members.
    let Ok(root) = manifest(tree, "Cargo.toml") else { return Vec::new() };
    let reasons = tree.file(REASONS).map_or("", |file| &file.text);
    let used: BTreeSet<String> = members(tree)
        .0
        .iter()
        .filter_map(|member| manifest(tree, &format!("{member}/Cargo.toml")).ok())
        .flat_map(|table| dependencies(&table))
        .map(|(name, _)| name)
        .collect();
    let declared = root
        .get("workspace")
        .and_then(|workspace| workspace.get("dependencies"))
        .and_then(|table| table.as_table());
    let mut breaches = Vec::new();
    for (name, declaration) in declared.into_iter().flatten() {
        let ours = declaration.get("path").is_some();
        if !ours && !has_reason(reasons, name) {
            let message = format!("{name} has no line; say what it is for and why this one");
            breaches.push(Breach::of_file(REASONS, REASON, message));
        }
        if !ours && !used.contains(name) {
            let message = format!("{name} is declared for the workspace and no member uses it");
            breaches.push(Breach::of_file("Cargo.toml", UNUSED, message));
        }
    }
    breaches
}

/// A reason is a table row whose first cell names the crate.
fn has_reason(reasons: &str, name: &str) -> bool {
    let quoted = format!("`{name}`");
    reasons.lines().any(|line| {
        let mut cells = line.trim().trim_start_matches('|').split('|').map(str::trim);
        let named = cells.next().is_some_and(|first| first.contains(&quoted));
        named && cells.next().is_some_and(|second| !second.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(reasons: &str, member: &str) -> Vec<&'static str> {
        let root =
            "[workspace]\nmembers = [\"a\"]\n[workspace.dependencies]\na = { path = \"a\" }\nserde = \"1\"\n";
        let tree = Tree::of(&[("Cargo.toml", root), ("a/Cargo.toml", member), (REASONS, reasons)]);
        check(&tree).iter().map(|breach| breach.rule).collect()
    }

    #[test]
    fn a_dependency_needs_a_reason() {
        let uses = "[dependencies]\nserde.workspace = true\n";
        assert_eq!(found("| `serde` | stored formats |\n", uses), [""; 0]);
        assert_eq!(found("| `serde_json` | reports |\n", uses), [REASON]);
        assert_eq!(found("| `serde` | |\n", uses), [REASON]);
        assert_eq!(found("We like `serde`.\n", uses), [REASON]);
    }

    #[test]
    fn a_dependency_needs_a_user() {
        let reasons = "| `serde` | stored formats |\n";
        assert_eq!(found(reasons, "[dependencies]\n"), [UNUSED]);
        assert_eq!(found(reasons, "[dev-dependencies]\nserde = { workspace = true }\n"), [""; 0]);
    }
}
