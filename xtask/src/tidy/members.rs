//! The root manifest owns the workspace: every crate is explained in it and in `ARCHITECTURE.md`, and inherits from it.

use toml::Table;

use super::Breach;
use super::tree::Tree;

pub(super) const COMMENT: &str = "member-comment";
pub(super) const ARCHITECTURE: &str = "architecture";
pub(super) const MANIFEST: &str = "manifest";

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let (members, mut breaches) = members(tree);
    let root = tree.file("Cargo.toml").map_or("", |file| &file.text);
    let architecture = tree.file("ARCHITECTURE.md").map_or("", |file| &file.text);
    for member in members {
        let quoted = format!("\"{member}\"");
        if !root.lines().any(|line| line.contains(&quoted) && line.contains('#')) {
            breaches.push(Breach::of_file(
                "Cargo.toml",
                COMMENT,
                format!("member {member} has no comment on its line"),
            ));
        }
        let name = member.rsplit('/').next().unwrap_or(&member);
        if !names_crate(architecture, name) {
            breaches.push(Breach::of_file(
                "ARCHITECTURE.md",
                ARCHITECTURE,
                format!("crate {name} is not mentioned"),
            ));
        }
        breaches.extend(check_manifest(tree, &member));
    }
    breaches
}

/// The folders of all workspace members, and a breach if the root manifest cannot be read.
pub(super) fn members(tree: &Tree) -> (Vec<String>, Vec<Breach>) {
    let table = match manifest(tree, "Cargo.toml") {
        Ok(table) => table,
        Err(breach) => return (Vec::new(), vec![breach]),
    };
    let members = table
        .get("workspace")
        .and_then(|workspace| workspace.get("members"))
        .and_then(|list| list.as_array());
    let folders =
        members.into_iter().flatten().filter_map(|member| member.as_str()).map(str::to_owned).collect();
    (folders, Vec::new())
}

/// A manifest as a table.
pub(super) fn manifest(tree: &Tree, path: &str) -> Result<Table, Breach> {
    let file = tree.file(path).ok_or_else(|| Breach::of_file(path, MANIFEST, "is missing"))?;
    file.text.parse().map_err(|error| Breach::of_file(path, MANIFEST, format!("cannot be read: {error}")))
}

/// The dependency tables of a member's manifest, all targets included, as (crate, declaration).
pub(super) fn dependencies(manifest: &Table) -> Vec<(String, toml::Value)> {
    const TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(|targets| targets.as_table());
    let places = std::iter::once(manifest)
        .chain(targets.into_iter().flat_map(|t| t.values().filter_map(|v| v.as_table())));
    let mut found = Vec::new();
    for place in places {
        for table in TABLES.iter().filter_map(|name| place.get(*name)).filter_map(|table| table.as_table()) {
            found.extend(table.iter().map(|(name, declaration)| (name.clone(), declaration.clone())));
        }
    }
    found
}

fn check_manifest(tree: &Tree, member: &str) -> Vec<Breach> {
    let path = format!("{member}/Cargo.toml");
    let table = match manifest(tree, &path) {
        Ok(table) => table,
        Err(breach) => return vec![breach],
    };
    let mut breaches = Vec::new();
    let inherits = |value: Option<&toml::Value>| {
        value.and_then(|value| value.get("workspace")).and_then(|value| value.as_bool()) == Some(true)
    };
    if !inherits(table.get("lints")) {
        breaches.push(Breach::of_file(
            &path,
            MANIFEST,
            "does not inherit the lints: add `[lints] workspace = true`",
        ));
    }
    for key in ["version", "edition", "rust-version", "license"] {
        if !inherits(table.get("package").and_then(|package| package.get(key))) {
            breaches.push(Breach::of_file(
                &path,
                MANIFEST,
                format!("`{key}` is not inherited from the workspace"),
            ));
        }
    }
    for (name, declaration) in dependencies(&table) {
        if !inherits(Some(&declaration)) {
            breaches.push(Breach::of_file(
                &path,
                MANIFEST,
                format!("dependency {name} does not take its version from the workspace"),
            ));
        }
    }
    breaches
}

/// Whether `text` names the crate as a word of its own: `vadp` is not named by `vadp-repository`.
fn names_crate(text: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || c == '-' || c == '_';
    text.match_indices(name).any(|(at, _)| {
        !text[..at].ends_with(part_of_name) && !text[at + name.len()..].starts_with(part_of_name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "[workspace]\nmembers = [\n    \"a\", # does a\n]\n";
    const MEMBER: &str = "[package]\nname = \"a\"\nversion.workspace = true\nedition.workspace = true\nrust-version.workspace = true\nlicense.workspace = true\n[lints]\nworkspace = true\n[dependencies]\nserde.workspace = true\n";

    fn found(root: &str, architecture: &str, member: &str) -> Vec<&'static str> {
        let tree =
            Tree::of(&[("Cargo.toml", root), ("ARCHITECTURE.md", architecture), ("a/Cargo.toml", member)]);
        check(&tree).iter().map(|breach| breach.rule).collect()
    }

    #[test]
    fn a_whole_workspace_passes() {
        assert_eq!(found(ROOT, "`a` does a", MEMBER), [""; 0]);
    }

    #[test]
    fn a_member_needs_a_comment_and_a_mention() {
        assert_eq!(found("[workspace]\nmembers = [\"a\"]\n", "`a` does a", MEMBER), [COMMENT]);
        assert_eq!(found(ROOT, "only a-b and cab", MEMBER), [ARCHITECTURE]);
    }

    #[test]
    fn a_member_inherits() {
        assert_eq!(found(ROOT, "a", &MEMBER.replace("[lints]\nworkspace = true\n", "")), [MANIFEST]);
        assert_eq!(
            found(ROOT, "a", &MEMBER.replace("edition.workspace = true", "edition = \"2021\"")),
            [MANIFEST]
        );
        assert_eq!(found(ROOT, "a", &MEMBER.replace("serde.workspace = true", "serde = \"1\"")), [MANIFEST]);
        let target = format!("{MEMBER}[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n");
        assert_eq!(found(ROOT, "a", &target), [MANIFEST]);
        assert_eq!(found(ROOT, "a", "not toml"), [MANIFEST]);
    }
}
