//! Which program becomes a worker.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use vixdisklib::{ErrorKind, Library, LibraryOptions};

use super::stage::Stage;

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/usr/bin/env bash\n{text}\n")).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn refused(stage: &Stage, program: &Path) -> vixdisklib::Error {
    let options = LibraryOptions::new(stage.kit()).temp_directory(stage.root.path().join("tmp"));
    Library::open(options.worker(program)).unwrap_err()
}

#[test]
fn what_is_no_worker_is_refused() {
    let stage = Stage::new();
    let program = stage.root.path().join("program");
    let error = refused(&stage, &program);
    assert_eq!(error.kind(), ErrorKind::Io);
    script(&program, "exit 3");
    let error = refused(&stage, &program);
    assert_eq!(error.kind(), ErrorKind::WorkerNotFound);
    assert!(error.to_string().contains("exit status: 3"), "{error}");
    // The hello of another build, on whatever descriptor it was left: 9 bytes, its number and the print of its messages.
    script(
        &program,
        r#"printf '\011\000\000\000\020ABCDEFGH' >&"${VIXDISKLIB_WORKER_DESCRIPTORS%,*}"; sleep 5"#,
    );
    let error = refused(&stage, &program);
    assert_eq!(error.kind(), ErrorKind::WorkerNotFound);
    assert!(error.to_string().contains("another build"), "{error}");
    script(&program, r#"printf 'hello world hello world' >&"${VIXDISKLIB_WORKER_DESCRIPTORS%,*}"; sleep 5"#);
    let error = refused(&stage, &program);
    assert_eq!(error.kind(), ErrorKind::WorkerNotFound);
    assert!(error.to_string().contains("no message"), "{error}");
}

#[test]
fn without_a_program_the_four_ways_are_named() {
    let stage = Stage::new();
    // In another process, where no variable names one, and whose program is not beside a worker.
    let program = stage.root.path().join("alone");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new(&program)
        .args(["program::a_program_without_a_worker", "--exact", "--nocapture"])
        .env_remove("VDDK_WORKER")
        .env("ISOLATION_TEST_KIT", stage.kit())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text} {}", String::from_utf8_lossy(&output.stderr));
    for way in ["serve_if_asked", "vddk-worker beside", "VDDK_WORKER", "LibraryOptions::worker"] {
        assert!(text.contains(way), "{way}: {text}");
    }
}

/// What the test above runs as another process.
#[test]
fn a_program_without_a_worker() {
    let Some(kit) = std::env::var_os("ISOLATION_TEST_KIT") else { return };
    let folder = tempfile::tempdir().unwrap();
    let error = Library::open(LibraryOptions::new(kit).temp_directory(folder.path())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WorkerNotFound);
    println!("{error}");
}

#[test]
fn a_program_by_itself_is_told_what_it_is_for() {
    let program = std::env::current_exe().unwrap();
    let run = |variable: &str| {
        Command::new(&program)
            .args([super::stage::ENTRY, "--exact", "--nocapture"])
            .env("VIXDISKLIB_WORKER_DESCRIPTORS", variable)
            .output()
            .unwrap()
    };
    for nonsense in ["", "x", "1,2", "98,99", "7"] {
        let output = run(nonsense);
        assert_eq!(output.status.code(), Some(2), "{nonsense}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("started by others"), "{nonsense}");
    }
}
