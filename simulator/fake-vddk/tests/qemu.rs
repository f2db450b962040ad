//! What the fake makes, judged by qemu-img; run by `.ci/vmdk`, since it needs that program.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

use std::process::Command;

use vixdisklib::{
    ConnectOptions, ConnectParams, CreateSpec, DiskType, Library, LibraryOptions, OpenOptions, Sectors,
};

const SECTORS: u64 = (24 << 11) + 5;

fn qemu_img(arguments: &[&str]) {
    let output = Command::new("qemu-img").args(arguments).output().unwrap();
    assert!(output.status.success(), "qemu-img {arguments:?}: {output:?}");
}

#[test]
#[ignore = "needs qemu-img"]
fn qemu_accepts_every_disk_that_is_created_cloned_and_changed() {
    let root = tempfile::tempdir().unwrap();
    let kit = root.path().join("kit");
    fake_vddk::install(&kit).unwrap();
    let library =
        Library::open(LibraryOptions::new(&kit).in_process().temp_directory(root.path().join("tmp")))
            .unwrap();
    let connection = library.connect(&ConnectParams::local(), ConnectOptions::new()).unwrap();
    let path = |name: &str| root.path().join(name).to_str().unwrap().to_owned();

    // The content, in a plain file as well. The tail fits no grain.
    let mut content = vec![0u8; (SECTORS * 512) as usize];
    for (at, byte) in content.iter_mut().enumerate().filter(|(at, _)| at / (1 << 20) % 3 == 1) {
        *byte = (at % 251) as u8;
    }
    content[(SECTORS as usize - 1) * 512..].fill(7);
    let (raw, zeros) = (path("raw"), path("zeros"));
    std::fs::write(&raw, &content).unwrap();
    std::fs::write(&zeros, vec![0; content.len()]).unwrap();

    let types = [
        DiskType::MonolithicSparse,
        DiskType::MonolithicFlat,
        DiskType::SplitSparse,
        DiskType::SplitFlat,
        DiskType::VmfsFlat,
        DiskType::VmfsThin,
        DiskType::StreamOptimized,
    ];
    let is_sparse = |disk_type| matches!(disk_type, DiskType::MonolithicSparse | DiskType::SplitSparse);
    let judge = |disk: &str, disk_type: DiskType| {
        // qemu has no check for formats without tables.
        if is_sparse(disk_type) {
            qemu_img(&["check", "-q", "-f", "vmdk", disk]);
        }
        qemu_img(&["compare", "-q", "-f", "vmdk", "-F", "raw", disk, &raw]);
    };
    let clone = |from: &str, to: &str, disk_type, overwrite| {
        let spec = CreateSpec::new(disk_type, Sectors(SECTORS));
        connection.clone_disk(to, &connection, from, &spec, overwrite, |_| {}).unwrap();
        judge(to, disk_type);
    };
    for disk_type in types {
        let cloned = path(&format!("cloned-{disk_type:?}.vmdk"));
        if disk_type == DiskType::StreamOptimized {
            clone(&path("created-SplitSparse.vmdk"), &cloned, disk_type, false);
            // And back, and over what is there.
            clone(&cloned, &path("from-stream.vmdk"), DiskType::MonolithicSparse, false);
            clone(&cloned, &path("from-stream.vmdk"), DiskType::MonolithicFlat, true);
            continue;
        }
        let created = path(&format!("created-{disk_type:?}.vmdk"));
        connection.create(&created, &CreateSpec::new(disk_type, Sectors(SECTORS)), |_| {}).unwrap();
        // As it was made, it is all zeros.
        if is_sparse(disk_type) {
            qemu_img(&["check", "-q", "-f", "vmdk", &created]);
        }
        qemu_img(&["compare", "-q", "-f", "vmdk", "-F", "raw", &created, &zeros]);
        let disk = connection.open(&created, OpenOptions::read_write()).unwrap();
        disk.write(Sectors(0), &content).unwrap();
        disk.close().unwrap();
        judge(&created, disk_type);
        clone(&created, &cloned, disk_type, false);

        // A child of either form, with the last sector changed back and forth, a child of that, and a clone of all three.
        for child_type in [DiskType::MonolithicSparse, DiskType::SplitSparse] {
            let child = path(&format!("child-{child_type:?}-of-{disk_type:?}.vmdk"));
            let grandchild = path(&format!("grand{child_type:?}-of-{disk_type:?}.vmdk"));
            for (parent, child) in [(&created, &child), (&child, &grandchild)] {
                let disk = connection.open(parent, OpenOptions::read_only()).unwrap();
                disk.create_child(child, child_type, |_| {}).unwrap();
                disk.close().unwrap();
                judge(child, child_type);
                let disk = connection.open(child, OpenOptions::read_write()).unwrap();
                disk.write(Sectors(SECTORS - 1), &[1; 512]).unwrap();
                disk.write(Sectors(SECTORS - 1), &[7; 512]).unwrap();
                disk.close().unwrap();
                judge(child, child_type);
            }
            clone(
                &grandchild,
                &path(&format!("flattened-{child_type:?}-{disk_type:?}.vmdk")),
                disk_type,
                false,
            );
        }

        // What is left after renaming, shrinking and defragmenting, and growing.
        let renamed = path(&format!("renamed-{disk_type:?}.vmdk"));
        library.rename(&cloned, &renamed).unwrap();
        let disk = connection.open(&renamed, OpenOptions::read_write()).unwrap();
        if is_sparse(disk_type) {
            disk.shrink(|_| {}).unwrap();
        }
        disk.defragment(|_| {}).unwrap();
        disk.close().unwrap();
        judge(&renamed, disk_type);
        connection.grow(&renamed, Sectors(2 * SECTORS), true, |_| {}).unwrap();
        judge(&renamed, disk_type);
        connection.check_repair(&renamed, true).unwrap();
        judge(&renamed, disk_type);
    }
}
