//! What each release exports, seen from outside: by `nm` and `readelf` of the system.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::path::Path;
use std::process::Command;

use fake_vddk::Release;

fn run(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(file).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The exported functions, in order.
fn exported(file: &Path) -> Vec<String> {
    let table = run("nm", &["--dynamic", "--defined-only", "--format=posix"], file);
    let names = table.lines().filter_map(|line| line.split(' ').next());
    let mut names: Vec<String> =
        names.filter(|name| name.starts_with("VixDiskLib_")).map(str::to_owned).collect();
    names.sort();
    names
}

/// Section 1.1 of the fact sheet: what 6.5 has, and what came with the releases after it.
const SINCE_6_5: [&str; 40] = [
    "Attach",
    "CheckRepair",
    "Cleanup",
    "Clone",
    "Close",
    "Connect",
    "ConnectEx",
    "Create",
    "CreateChild",
    "Defragment",
    "Disconnect",
    "EndAccess",
    "Exit",
    "Flush",
    "FreeConnectParams",
    "FreeErrorText",
    "FreeInfo",
    "GetConnectParams",
    "GetErrorText",
    "GetInfo",
    "GetMetadataKeys",
    "GetTransportMode",
    "Grow",
    "Init",
    "InitEx",
    "IsAttachPossible",
    "ListTransportModes",
    "Open",
    "PrepareForAccess",
    "Read",
    "ReadAsync",
    "ReadMetadata",
    "Rename",
    "Shrink",
    "SpaceNeededForClone",
    "Unlink",
    "Wait",
    "Write",
    "WriteAsync",
    "WriteMetadata",
];
const SINCE_6_7: [&str; 3] = ["AllocateConnectParams", "FreeBlockList", "QueryAllocatedBlocks"];
const SINCE_9: [&str; 4] = ["FreeChangedAreas", "GetConnectionFromDisk", "OpenEx", "QueryChangedAreas"];

#[test]
fn each_release_exports_what_it_has_under_its_name() {
    for release in Release::ALL {
        let kit = tempfile::tempdir().unwrap();
        fake_vddk::install_version(kit.path(), release).unwrap();
        let folder = kit.path().join("lib64");
        let mut expected = SINCE_6_5.to_vec();
        if release > Release::V6_5 {
            expected.extend(SINCE_6_7);
        }
        if release == Release::V9_0 {
            expected.extend(SINCE_9);
        }
        let mut expected: Vec<String> = expected.iter().map(|name| format!("VixDiskLib_{name}")).collect();
        expected.sort();
        let file = folder.join(release.file_name());
        assert_eq!(exported(&file), expected, "{release:?}");
        // The linker's view of the same, and the name that other libraries ask for.
        let symbols = run("readelf", &["--dyn-syms", "--wide"], &file);
        for name in release.lacks() {
            assert!(!symbols.contains(name), "{release:?} {name}");
        }
        let major = release.version().split('.').next().unwrap();
        let soname = format!("libvixDiskLib.so.{major}");
        let dynamic = run("readelf", &["--dynamic", "--wide"], &file);
        assert!(dynamic.contains(&format!("soname: [{soname}]")), "{dynamic}");
        let target = |link: &str| std::fs::read_link(folder.join(link)).unwrap();
        assert_eq!(target(&soname), Path::new(&release.file_name()));
        assert_eq!(target("libvixDiskLib.so"), Path::new(&soname));
    }
}

#[test]
fn functions_can_be_taken_away_one_by_one() {
    let kit = tempfile::tempdir().unwrap();
    let file = kit.path().join("lib64").join(Release::V9_0.file_name());
    fake_vddk::install_lacking(kit.path(), Release::V9_0, &["VixDiskLib_FreeBlockList"]).unwrap();
    let names = exported(&file);
    assert!(!names.iter().any(|name| name == "VixDiskLib_FreeBlockList"));
    assert!(names.iter().any(|name| name == "VixDiskLib_QueryAllocatedBlocks"));
    let error = fake_vddk::install_lacking(kit.path(), Release::V6_5, &["VixDiskLib_OpenEx"]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert_eq!(exported(&file), names, "what was there stays");
}
