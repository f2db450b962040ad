//! A file is one concept: no handwritten file above 800 lines, no `lib.rs` above 250, no generated one above 3,000.

use super::Breach;
use super::tree::Tree;

pub(super) const FILE: &str = "file-size";
pub(super) const ROOT: &str = "lib-size";
pub(super) const GENERATED: &str = "generated-size";

const FILE_LINES: usize = 800;
const ROOT_LINES: usize = 250;
const GENERATED_LINES: usize = 3_000;

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.files().iter().filter(|file| file.rust.is_some() && !file.is_test()) {
        let (limit, rule) = match (file.is_generated(), file.name()) {
            (true, _) => (GENERATED_LINES, GENERATED),
            (false, "lib.rs") => (ROOT_LINES, ROOT),
            (false, _) => (FILE_LINES, FILE),
        };
        let lines = file.line_count();
        if lines > limit {
            let message = format!("{lines} lines, {limit} allowed; split it by concept");
            breaches.push(Breach::of_file(&file.path, rule, message));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, lines: usize) -> Vec<&'static str> {
        let text = "x\n".repeat(lines);
        check(&Tree::of(&[(path, &text)])).iter().map(|breach| breach.rule).collect()
    }

    #[test]
    fn each_kind_of_file_has_its_own_limit() {
        assert_eq!(rules("a/src/b.rs", 800), [""; 0]);
        assert_eq!(rules("a/src/b.rs", 801), [FILE]);
        assert_eq!(rules("a/src/lib.rs", 250), [""; 0]);
        assert_eq!(rules("a/src/lib.rs", 251), [ROOT]);
        assert_eq!(rules("vim-api/src/generated/a.rs", 3_000), [""; 0]);
        assert_eq!(rules("vim-api/src/generated/a.rs", 3_001), [GENERATED]);
        assert_eq!(rules("vixdisklib/src/ffi/bindings.rs", 3_001), [GENERATED]);
    }

    #[test]
    fn tests_may_be_long() {
        assert_eq!(rules("a/tests/b.rs", 900), [""; 0]);
        assert_eq!(rules("a/src/b/tests.rs", 900), [""; 0]);
    }
}
