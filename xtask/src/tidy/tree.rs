//! The tracked text files, in memory, with what each path says about a file.

use std::path::Path;

use anyhow::Context;

use super::rust_source::RustSource;
use crate::workspace;

/// All tracked text files of the workspace, sorted by path.
pub(super) struct Tree {
    files: Vec<File>,
    /// Paths of files that are no text, such as pictures. No rule speaks of them, but links may lead there.
    others: Vec<String>,
}

impl Tree {
    /// Reads every tracked file below `root`.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let (mut files, mut others) = (Vec::new(), Vec::new());
        for path in workspace::tracked_files(root)? {
            let bytes = std::fs::read(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
            match String::from_utf8(bytes) {
                Ok(text) if !text.contains('\0') => files.push(File::new(path, text)),
                _ => others.push(path),
            }
        }
        Ok(Self { files, others })
    }

    /// A tree made of (path, text) pairs, for tests.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let files = files.iter().map(|(path, text)| File::new((*path).into(), (*text).into())).collect();
        Self { files, others: Vec::new() }
    }

    pub(super) fn files(&self) -> &[File] {
        &self.files
    }

    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether `path` is a tracked file, or a folder that holds one.
    pub(super) fn has(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        let mut paths = self.files.iter().map(|file| &file.path).chain(&self.others);
        path.is_empty() || paths.any(|known| known == path || known.starts_with(&folder))
    }

    /// Rust files that people write: not generated, but tests included.
    pub(super) fn handwritten(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.rust.is_some() && !file.is_generated())
    }
}

/// One tracked text file.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
    /// Present for `.rs` files.
    pub(super) rust: Option<RustSource>,
}

impl File {
    fn new(path: String, text: String) -> Self {
        let rust = path.ends_with(".rs").then(|| RustSource::new(&text));
        Self { path, text, rust }
    }

    /// Written by a generator: the API types, and the bindings of a C library.
    pub(super) fn is_generated(&self) -> bool {
        self.path.starts_with("vim-api/src/generated/") || self.path.ends_with("/ffi/bindings.rs")
    }

    /// Holds tests only: it lies in a folder `tests`, or is a module `tests` in a file of its own.
    pub(super) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    pub(super) fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }

    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Number of lines, a last line without line end included.
    pub(super) fn line_count(&self) -> usize {
        self.text.lines().count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_a_file_is() {
        let tree = Tree::of(&[
            ("a/src/ffi/bindings.rs", ""),
            ("a/src/lib.rs", ""),
            ("a/src/lib/tests.rs", ""),
            ("a/tests/run.rs", ""),
            ("vim-api/src/generated/types.rs", ""),
        ]);
        let generated: Vec<bool> = tree.files().iter().map(File::is_generated).collect();
        assert_eq!(generated, [true, false, false, false, true]);
        let tests: Vec<bool> = tree.files().iter().map(File::is_test).collect();
        assert_eq!(tests, [false, false, true, true, false]);
        assert_eq!(tree.handwritten().count(), 3);
    }

    #[test]
    fn a_folder_exists_when_it_holds_a_file() {
        let tree = Tree::of(&[("docs/book/page.md", "")]);
        assert!(tree.has("docs/book") && tree.has("docs/") && tree.has("docs/book/page.md") && tree.has(""));
        assert!(!tree.has("doc") && !tree.has("docs/book/page"));
    }
}
