//! The tracked text files, in memory, with what each path says about a file.

use std::path::Path;

use anyhow::Context;

use super::rust_source::RustSource;
use crate::workspace;

/// All tracked text files of the workspace, sorted by path.
pub(super) struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads every tracked file below `root`. Files that are not UTF-8 text are left out: no rule speaks of them.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in workspace::tracked_files(root)? {
            let bytes = std::fs::read(root.join(&path)).with_context(|| format!("cannot read {path}"))?;
            if let Ok(text) = String::from_utf8(bytes)
                && !text.contains('\0')
            {
                files.push(File::new(path, text));
            }
        }
        Ok(Self { files })
    }

    /// A tree made of (path, text) pairs, for tests.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|(path, text)| File::new((*path).into(), (*text).into())).collect() }
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
        path.is_empty() || self.files.iter().any(|file| file.path == path || file.path.starts_with(&folder))
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
