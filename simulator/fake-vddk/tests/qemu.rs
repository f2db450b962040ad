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
fn qemu_accepts_every_disk_that_is_created_and_cloned() {
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
    let raw = path("raw");
    std::fs::write(&raw, &content).unwrap();

    let types = [
        DiskType::MonolithicSparse,
        DiskType::MonolithicFlat,
        DiskType::SplitSparse,
        DiskType::SplitFlat,
        DiskType::VmfsFlat,
        DiskType::VmfsThin,
        DiskType::StreamOptimized,
    ];
    let judge = |disk: &str, disk_type: DiskType| {
        // qemu has no check for formats without tables.
        if matches!(disk_type, DiskType::MonolithicSparse | DiskType::SplitSparse) {
            qemu_img(&["check", "-q", "-f", "vmdk", disk]);
        }
        qemu_img(&["compare", "-q", "-f", "vmdk", "-F", "raw", disk, &raw]);
    };
    let mut source = None;
    for disk_type in types {
        let spec = CreateSpec::new(disk_type, Sectors(SECTORS));
        if disk_type != DiskType::StreamOptimized {
            let created = path(&format!("created-{disk_type:?}.vmdk"));
            connection.create(&created, &spec, |_| {}).unwrap();
            let disk = connection.open(&created, OpenOptions::read_write()).unwrap();
            disk.write(Sectors(0), &content).unwrap();
            disk.close().unwrap();
            judge(&created, disk_type);
            source = Some(created);
        }
        let cloned = path(&format!("cloned-{disk_type:?}.vmdk"));
        let from = source.as_deref().unwrap();
        connection.clone_disk(&cloned, &connection, from, &spec, false, |_| {}).unwrap();
        judge(&cloned, disk_type);
    }

    // A child, with the last sector changed back and forth, and what is left of it after growing, shrinking and renaming.
    let base = path("created-MonolithicSparse.vmdk");
    let child = path("child.vmdk");
    let disk = connection.open(&base, OpenOptions::read_only()).unwrap();
    disk.create_child(&child, DiskType::MonolithicSparse, |_| {}).unwrap();
    disk.close().unwrap();
    let disk = connection.open(&child, OpenOptions::read_write()).unwrap();
    disk.write(Sectors(SECTORS - 1), &[1; 512]).unwrap();
    disk.write(Sectors(SECTORS - 1), &[7; 512]).unwrap();
    disk.close().unwrap();
    judge(&child, DiskType::MonolithicSparse);

    for name in ["created-SplitSparse.vmdk", "cloned-MonolithicSparse.vmdk"] {
        let (from, to) = (path(name), path(&format!("renamed-{name}")));
        library.rename(&from, &to).unwrap();
        let disk = connection.open(&to, OpenOptions::read_write()).unwrap();
        disk.shrink(|_| {}).unwrap();
        disk.defragment(|_| {}).unwrap();
        disk.close().unwrap();
        judge(&to, DiskType::SplitSparse);
        connection.grow(&to, Sectors(2 * SECTORS), true, |_| {}).unwrap();
        qemu_img(&["check", "-q", "-f", "vmdk", &to]);
        qemu_img(&["compare", "-q", "-f", "vmdk", "-F", "raw", &to, &raw]);
    }
}
