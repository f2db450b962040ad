//! A module is named for what it is about; a name that fits everything says nothing.

use super::Breach;
use super::tree::Tree;

pub(super) const RULE: &str = "module-name";

const EMPTY_NAMES: [&str; 5] = ["util", "utils", "common", "helpers", "misc"];

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.handwritten() {
        for part in file.path.split('/') {
            let stem = part.strip_suffix(".rs").unwrap_or(part);
            if EMPTY_NAMES.contains(&stem) {
                breaches.push(Breach::of_file(
                    &file.path,
                    RULE,
                    format!("`{stem}` does not say what is in it"),
                ));
            }
        }
        if file.name() == "mod.rs" {
            let message =
                "write `foo.rs` beside the folder `foo/`; many tabs named mod.rs tell nobody anything";
            breaches.push(Breach::of_file(&file.path, RULE, message));
        }
        for (line, name) in file.rust.iter().flat_map(|rust| rust.names_after(&["mod"])) {
            if EMPTY_NAMES.contains(&name.as_str()) {
                breaches.push(Breach::at(
                    &file.path,
                    line,
                    RULE,
                    format!("`mod {name}` does not say what is in it"),
                ));
            }
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(path: &str, text: &str) -> Vec<usize> {
        check(&Tree::of(&[(path, text)])).iter().map(|breach| breach.line).collect()
    }

    #[test]
    fn file_and_folder_names_are_read() {
        assert_eq!(places("a/src/util.rs", ""), [0]);
        assert_eq!(places("a/tests/common/setup.rs", ""), [0]);
        assert_eq!(places("a/src/b/mod.rs", ""), [0]);
        assert_eq!(places("a/src/utility_meter.rs", ""), [0usize; 0]);
    }

    #[test]
    fn inline_modules_are_read_and_comments_are_not() {
        assert_eq!(places("a/src/b.rs", "// mod misc\npub(crate) mod helpers {\n}\nmod utils;\n"), [2, 4]);
    }
}
