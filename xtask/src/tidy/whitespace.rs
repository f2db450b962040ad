//! Markdown has neither tabs nor trailing blanks: both change what is shown, and neither can be seen.

use super::Breach;
use super::tree::Tree;

pub(super) const RULE: &str = "whitespace";

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.files().iter().filter(|file| file.is_markdown()) {
        for (index, line) in file.text.split('\n').enumerate() {
            if line.contains('\t') {
                breaches.push(Breach::at(&file.path, index + 1, RULE, "a tab"));
            }
            if line.ends_with([' ', '\t', '\r']) {
                breaches.push(Breach::at(&file.path, index + 1, RULE, "white space at the end of the line"));
            }
        }
        if !file.text.ends_with('\n') {
            breaches.push(Breach::of_file(&file.path, RULE, "no line end at the end of the file"));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        check(&Tree::of(&[("a.md", text)])).iter().map(|breach| breach.line).collect()
    }

    #[test]
    fn tabs_and_trailing_blanks_are_found() {
        assert_eq!(lines("fine\n"), [0usize; 0]);
        assert_eq!(lines("a\tb\nc \nd\r\n"), [1, 2, 3]);
        assert_eq!(lines("no end"), [0]);
    }
}
