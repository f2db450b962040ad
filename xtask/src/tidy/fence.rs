//! Unsafe code stays in `src/ffi/`, where the readers of C contracts look for it.

use super::Breach;
use super::tree::Tree;

pub(super) const OUTSIDE: &str = "unsafe-fence";
pub(super) const FORBID: &str = "forbid-unsafe";

pub(super) fn check(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    for file in tree.files() {
        let Some(rust) = &file.rust else { continue };
        if !is_inside_fence(&file.path) {
            for line in rust.lines_with_word("unsafe") {
                let message = "unsafe code outside `src/ffi/`; move it behind a safe function there";
                breaches.push(Breach::at(&file.path, line, OUTSIDE, message));
            }
        }
        if let Some(krate) = crate_of_root(&file.path)
            && !tree.has(&format!("{krate}/src/ffi"))
            && !rust.code().contains("#![forbid(unsafe_code)]")
        {
            let message = "the crate has no `src/ffi/`, so this root must say `#![forbid(unsafe_code)]`";
            breaches.push(Breach::of_file(&file.path, FORBID, message));
        }
    }
    breaches
}

/// Whether the path lies in a fenced folder of a crate.
pub(super) fn is_inside_fence(path: &str) -> bool {
    path.contains("/src/ffi/")
}

/// The crate's folder, if the path is one of its library or binary roots.
fn crate_of_root(path: &str) -> Option<&str> {
    let (krate, inside) = path.split_once("/src/")?;
    let is_root = inside == "lib.rs"
        || inside == "main.rs"
        || (inside.starts_with("bin/") && inside.matches('/').count() == 1);
    (is_root && !krate.contains("/tests/")).then_some(krate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(&'static str, usize)> {
        check(&Tree::of(files)).iter().map(|breach| (breach.rule, breach.line)).collect()
    }

    const FORBIDS: &str = "#![forbid(unsafe_code)]\n";

    #[test]
    fn unsafe_is_allowed_in_the_fence_only() {
        assert_eq!(found(&[("a/src/ffi/b.rs", "unsafe fn f() {}\n")]), []);
        assert_eq!(found(&[("a/src/b.rs", "fn f() {\n    unsafe { g() }\n}\n")]), [(OUTSIDE, 2)]);
        assert_eq!(found(&[("a/src/ffi.rs", "unsafe extern \"C\" {}\n")]), [(OUTSIDE, 1)]);
        assert_eq!(found(&[("a/tests/b.rs", "#[unsafe(no_mangle)]\nfn f() {}\n")]), [(OUTSIDE, 1)]);
    }

    #[test]
    fn comments_strings_and_lint_names_are_not_code() {
        let text = "//! unsafe\n#![deny(unsafe_code, unsafe_op_in_unsafe_fn)]\nconst A: &str = \"unsafe\";\n";
        assert_eq!(found(&[("a/src/b.rs", text)]), []);
    }

    #[test]
    fn every_root_of_a_crate_without_a_fence_forbids_unsafe() {
        let files = [
            ("a/src/lib.rs", FORBIDS),
            ("a/src/main.rs", ""),
            ("a/src/bin/b.rs", ""),
            ("a/src/bin/b/c.rs", ""),
        ];
        assert_eq!(found(&files), [(FORBID, 0), (FORBID, 0)]);
        assert_eq!(found(&[("a/src/lib.rs", "// #![forbid(unsafe_code)]\n")]), [(FORBID, 0)]);
        assert_eq!(found(&[("a/src/ffi/b.rs", ""), ("a/src/lib.rs", "")]), []);
    }
}
