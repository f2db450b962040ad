//! What the emitter writes for the miniature sets, byte for byte. `UPDATE_GOLDEN=1 cargo test -p vmware-vim-codegen --test golden` writes the
//! files anew; look at the difference before you commit it. That they compile and work is shown by `golden_mini.rs` and `golden_bare.rs`.
#![allow(clippy::unwrap_used, reason = "clippy spares only the test functions, not what they call")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use vmware_vim_codegen::emit::emit;
use vmware_vim_codegen::load;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Every file below `folder`, by its path in it.
fn files_below(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = PathBuf::from(path.file_name().unwrap());
        if path.is_dir() {
            found.extend(files_below(&path).into_iter().map(|(below, text)| (name.join(below), text)));
        } else {
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    found
}

fn check(name: &str, sidecar: bool) {
    let input = golden().join(name);
    let sidecar = sidecar.then(|| input.join("sidecar.json"));
    let emitted = emit(&load(&input, sidecar.as_deref()).unwrap());
    let folder = golden().join(format!("{name}.expected"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        for (path, text) in &emitted {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }
    let expected = files_below(&folder);
    let names = |files: &BTreeMap<PathBuf, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&emitted), names(&expected), "other files than in {}", folder.display());
    for (path, text) in &emitted {
        let wanted = &expected[path];
        let line = text.lines().zip(wanted.lines()).take_while(|(a, b)| a == b).count() + 1;
        assert!(
            text == wanted,
            "{}/{} differs from line {line} on:\n{text}",
            folder.display(),
            path.display()
        );
    }
}

#[test]
fn mini() {
    check("mini", true);
}

#[test]
fn bare() {
    check("bare", false);
}
