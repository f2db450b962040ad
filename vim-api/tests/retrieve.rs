//! What `#[derive(Retrieve)]` lets pass and what it refuses, asked of the compiler.
//!
//! Each file of `tests/retrieve` is compiled by itself against the vim-api that this test was built with. A line of it that
//! has to be refused ends in `//~ TEXT`, where TEXT is in the compiler's message about that line.
#![cfg(feature = "derive")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn the_compiler_finds_what_does_not_fit() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/retrieve");
    let library = library_that_takes(&cases.join("accepted.rs"));
    let mut refused = 0;
    for entry in fs::read_dir(&cases).unwrap() {
        let case = entry.unwrap().path();
        let source = fs::read_to_string(&case).unwrap();
        let expected: Vec<(usize, &str)> = (1..)
            .zip(source.lines())
            .filter_map(|(number, line)| Some((number, line.split_once("//~ ")?.1.trim())))
            .collect();
        if expected.is_empty() {
            continue;
        }
        let messages = compile(&case, &library).expect_err("the compiler takes what it has to refuse");
        let errors: Vec<&str> =
            messages.split("\n\n").filter(|message| message.starts_with("error")).collect();
        for (number, text) in &expected {
            let place = format!("{}:{number}:", case.display());
            let found = errors.iter().any(|error| error.contains(&place) && error.contains(text));
            assert!(found, "no error at line {number} says \"{text}\":\n{messages}");
            refused += 1;
        }
        // The last one says how many there were.
        let count = errors.iter().filter(|error| error.contains("-->")).count();
        assert_eq!(count, expected.len(), "other errors than expected:\n{messages}");
    }
    assert!(refused >= 10, "only {refused} lines were refused");
}

/// Of the builds of vim-api that lie beside this test, the newest one that compiles the case which has to pass.
fn library_that_takes(case: &Path) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let mut builds: Vec<PathBuf> = fs::read_dir(test.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("libvim_api-") && name.ends_with(".rlib")
        })
        .collect();
    builds.sort_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    let mut messages = String::from("there is no build of vim-api beside this test");
    while let Some(build) = builds.pop() {
        match compile(case, &build) {
            Ok(()) => return build,
            Err(error) => messages = error,
        }
    }
    panic!("{} is not accepted:\n{messages}", case.display());
}

fn compile(case: &Path, library: &Path) -> Result<(), String> {
    let out = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let output = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition=2024", "--crate-type=lib", "--emit=metadata", "--color=never"])
        .arg("--out-dir")
        .arg(out)
        .arg("--extern")
        .arg(format!("vim_api={}", library.display()))
        .arg(format!("-Ldependency={}", library.parent().unwrap().display()))
        .arg(case)
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(messages) }
}
