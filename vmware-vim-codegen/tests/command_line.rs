//! The program itself: it writes, checks, and says with its exit code what it found.
#![allow(clippy::unwrap_used, reason = "clippy spares only the test functions, not what they call")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str], out: &Path) -> Output {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/mini");
    let mut command = Command::new(env!("CARGO_BIN_EXE_vmware-vim-codegen"));
    command.arg("--wsdl").arg(&golden).arg("--sidecar").arg(golden.join("sidecar.json"));
    command.arg("--out").arg(out).args(arguments).output().unwrap()
}

#[test]
fn writes_then_checks() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("generated");
    let missing = run(&["--check"], &out);
    assert_eq!(missing.status.code(), Some(1));
    assert!(!out.exists(), "--check must not write");

    assert!(run(&[], &out).status.success());
    assert!(run(&["--check"], &out).status.success());
    let file = fs::read_dir(&out).unwrap().map(|e| e.unwrap().path()).find(|p| p.is_file()).unwrap();
    let good = fs::read(&file).unwrap();
    fs::write(&file, [good.as_slice(), b"// by hand\n"].concat()).unwrap();

    let changed = run(&["--check"], &out);
    assert_eq!(changed.status.code(), Some(1));
    let message = String::from_utf8(changed.stderr).unwrap();
    assert!(message.contains(file.file_name().unwrap().to_str().unwrap()), "{message}");

    assert!(run(&[], &out).status.success());
    assert_eq!(fs::read(&file).unwrap(), good);
}

#[test]
fn wrong_arguments_show_the_usage() {
    let dir = tempfile::tempdir().unwrap();
    for arguments in [&["--surprise"][..], &["--out"], &["--out", "twice"]] {
        let output = run(arguments, dir.path());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains("usage:"));
    }
    let help = Command::new(env!("CARGO_BIN_EXE_vmware-vim-codegen")).arg("--help").output().unwrap();
    assert!(help.status.success() && String::from_utf8(help.stdout).unwrap().contains("--check"));
}

#[test]
fn an_error_names_the_file_and_the_cause() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_vmware-vim-codegen"))
        .args(["--wsdl", "no-such-folder", "--out"])
        .arg(dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("no-such-folder") && message.contains("because:"), "{message}");
}
