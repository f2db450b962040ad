//! No file names a folder of the machine it was written on: it would be wrong on every other one.

use super::Breach;
use super::tree::Tree;

pub(super) const RULE: &str = "machine-path";

/// Spelled in two halves, so that this file does not breach its own rule.
const FOLDERS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.files() {
        for (index, line) in file.text.lines().enumerate() {
            if let Some(folder) = FOLDERS.iter().find(|folder| begins_a_path(line, folder)) {
                let message = format!("`{folder}` is a folder of one machine; use a relative path");
                breaches.push(Breach::at(&file.path, index + 1, RULE, message));
            }
        }
    }
    breaches
}

/// Whether `folder` stands in `line` as the start of an absolute path, not as the middle of a longer one.
fn begins_a_path(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        !line[..at].ends_with(|before: char| {
            before.is_alphanumeric() || matches!(before, '.' | '_' | '-' | '}' | ')')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> bool {
        !check(&Tree::of(&[("a.txt", text)])).is_empty()
    }

    #[test]
    fn absolute_paths_are_found() {
        assert!(found(concat!("cd /wo", "rk/main\n")));
        assert!(found(concat!("\"/ro", "ot/.cargo\"\n")));
        assert!(found(concat!("file:///ho", "me/me\n")));
    }

    #[test]
    fn the_middle_of_another_path_is_none() {
        assert!(!found(concat!("https://example.org/wo", "rk/\n")));
        assert!(!found(concat!("../wo", "rk/ and $DIR/x/ho", "me/\n")));
        assert!(!found(concat!("/wo", "rks\n")));
    }
}
