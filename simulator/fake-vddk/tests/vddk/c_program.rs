//! A program in C, built with the system's compiler against our own header, that follows the order of the kit's guide (section
//! 7.1 of the fact sheet), in a process of its own. It shares nothing with the wrapper but the header.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::setup::kit;
use super::world::{FROZEN, HOST, PASSWORD, World, thumbprint};

/// Builds the program once for this process.
fn program() -> &'static Path {
    static BUILT: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = BUILT.get_or_init(|| {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("order");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let built = Command::new(compiler)
            .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-I"])
            .arg(here.join("../../vixdisklib/bindings"))
            .arg(here.join("tests/c/order.c"))
            .arg("-o")
            .arg(&path)
            .args(["-ldl", "-lpthread"])
            .output()
            .unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        (folder, path)
    });
    path
}

fn run(arguments: &[&str]) {
    let config = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(config.path(), format!("fakeVddk.strict = \"{}\"\n", u32::from(crate::SETUP.strict)))
        .unwrap();
    let mut command = Command::new(program());
    command.arg(kit()).args(arguments).env("VDDK_CONFIG", config.path());
    if crate::SETUP.strict {
        command.env("VDDK_STRICT", "1");
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && output.stdout == b"ok\n", "{errors} {output:?}");
}

#[test]
fn the_order_of_the_guide_with_disks_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    run(&["local", folder.path().to_str().unwrap()]);
    let disk = vmdk::Disk::open_path(folder.path().join("clone.vmdk")).unwrap();
    let mut sector = [0; 512];
    disk.read_exact_at(&mut sector, 2048 * 512).unwrap();
    assert_eq!(sector, [0x5a; 512]);
}

#[test]
fn the_order_of_the_guide_with_a_snapshot_on_a_server() {
    let world = World::new();
    let port = world.port.to_string();
    let thumbprint = thumbprint();
    run(&["remote", HOST, &port, "root", PASSWORD, thumbprint.as_str(), "vm-101", "snapshot-102", FROZEN]);
}
