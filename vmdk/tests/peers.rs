//! Against qemu: each form that it writes is read here, and each that is written here is read there, byte for byte.
//!
//! `cargo test -p vadp-vmdk --test peers -- --ignored`; needs qemu-img and qemu-io (Debian: qemu-utils).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

#[path = "files/contents.rs"]
mod contents;
#[path = "files/disks.rs"]
mod disks;
#[path = "files/esxi.rs"]
mod esxi_files;

use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use contents::contents;
use disks::{content, local};
use esxi_files::{Grain, cowd, descriptor, sesparse};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use vmdk::{
    AdapterType, Copy, Create, Disk, Memory, OpenOptions, Policy, ReadAt, Source, State, StreamOptions,
    StreamReader, StreamWriter, Unmapped, Variant,
};

/// Runs a command in the folder, with room for thousands of open files, and returns what it says.
fn run(folder: &Path, command: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", &format!("ulimit -n 8192; exec {command}")])
        .current_dir(folder)
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command}: {said}");
    said
}

fn for_each_content(cases: u32, test: impl Fn(&Path, Vec<u8>)) {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(cases));
    runner
        .run(&contents(8), |bytes| {
            let folder = tempfile::tempdir().unwrap();
            // qemu can't open a disk of no size.
            if !bytes.0.is_empty() {
                test(folder.path(), bytes.0);
            }
            Ok(())
        })
        .unwrap();
}

const QEMU_FORMS: [&str; 7] = [
    "subformat=monolithicSparse",
    "subformat=monolithicSparse,zeroed_grain=on",
    "subformat=monolithicSparse,compat6=on,adapter_type=buslogic",
    "subformat=monolithicFlat,adapter_type=lsilogic",
    "subformat=twoGbMaxExtentSparse",
    "subformat=twoGbMaxExtentFlat,adapter_type=legacyESX",
    "subformat=streamOptimized",
];

#[test]
#[ignore = "needs qemu-img"]
fn what_qemu_writes_is_read() {
    for_each_content(6, |folder, bytes| {
        fs::write(folder.join("raw"), &bytes).unwrap();
        for form in QEMU_FORMS {
            run(folder, &format!("qemu-img convert -f raw -O vmdk -o {form} raw x.vmdk"));
            let disk = Disk::open_path(folder.join("x.vmdk")).unwrap();
            assert!(content(&disk) == bytes, "{form}");
            let report = vmdk::check(&local(folder), "x.vmdk", &OpenOptions::new(), true).unwrap();
            assert!(report.is_clean(), "{form}: {report:?}");
        }
    });
}

#[test]
#[ignore = "needs qemu-img"]
fn what_is_written_is_read_by_qemu() {
    let variants = [
        (Variant::MonolithicSparse, 128, false),
        (Variant::MonolithicSparse, 16, true),
        (Variant::MonolithicFlat, 128, false),
        (Variant::SplitSparse, 128, false),
        (Variant::SplitSparse, 8, true),
        (Variant::SplitFlat, 128, false),
        (Variant::Vmfs, 128, false),
        (Variant::VmfsThin, 128, false),
    ];
    for_each_content(4, |folder, bytes| {
        for (variant, grain, zeroed) in variants {
            let inner = tempfile::tempdir_in(folder).unwrap();
            let create =
                Create::new(variant, bytes.len() as u64).grain(grain).zeroed_grains(zeroed).split(256);
            let disk = create.adapter(AdapterType::Ide).create(&local(inner.path()), "x.vmdk").unwrap();
            Copy::new().run(Source::Raw(&bytes), &disk).unwrap();
            disk.close().unwrap();
            run(inner.path(), "qemu-img convert -f vmdk -O raw x.vmdk raw");
            assert!(fs::read(inner.path().join("raw")).unwrap() == bytes, "{variant:?}, grains of {grain}");
            // qemu checks sparse extents alone.
            if matches!(variant, Variant::MonolithicSparse | Variant::SplitSparse) {
                run(inner.path(), "qemu-img check -f vmdk x.vmdk");
            }
        }
    });
}

/// Chains that qemu made are read here, and the other way round, also after the other one has written to the top.
#[test]
#[ignore = "needs qemu-img"]
fn chains_are_exchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    run(path, "qemu-img create -f vmdk -o subformat=twoGbMaxExtentSparse base.vmdk 10M");
    run(path, "qemu-io -f vmdk -c 'write -P 1 0 1M' -c 'write -P 2 5000k 100k' base.vmdk");
    run(path, "qemu-img create -f vmdk -F vmdk -b base.vmdk -o zeroed_grain=on middle.vmdk");
    run(path, "qemu-io -f vmdk -c 'write -P 3 512k 64k' -c 'write -z 64k 128k' middle.vmdk");
    let top = vmdk::create_child(&local(path), "middle.vmdk", "top.vmdk").unwrap();
    top.write_all_at(&[4; 5000], 700_001).unwrap();
    top.write_zeroes(5_120_000, 70_000).unwrap();
    top.close().unwrap();

    let mut expected = vec![0; 10 << 20];
    expected[..1 << 20].fill(1);
    expected[5000 << 10..5100 << 10].fill(2);
    expected[512 << 10..576 << 10].fill(3);
    expected[64 << 10..192 << 10].fill(0);
    expected[700_001..705_001].fill(4);
    expected[5_120_000..5_190_000].fill(0);
    let read = || {
        let disk = Disk::open_path(path.join("top.vmdk")).unwrap();
        assert_eq!(disk.links().len(), 3);
        content(&disk)
    };
    assert!(read() == expected);
    run(path, "qemu-img convert -f vmdk -O raw top.vmdk raw");
    assert!(fs::read(path.join("raw")).unwrap() == expected);
    run(path, "qemu-img check -f vmdk top.vmdk");

    // qemu writes to the disk that was made here.
    run(path, "qemu-io -f vmdk -c 'write -P 5 3M 100k' top.vmdk");
    expected[3 << 20..(3 << 20) + (100 << 10)].fill(5);
    assert!(read() == expected);
    assert!(vmdk::check(&local(path), "top.vmdk", &OpenOptions::new(), true).unwrap().is_clean());

    vmdk::commit(&local(path), "top.vmdk").unwrap();
    run(path, "qemu-img convert -f vmdk -O raw middle.vmdk raw2");
    assert!(fs::read(path.join("raw2")).unwrap() == expected);

    // A parent that qemu wrote to afterwards is refused, as qemu refuses it.
    run(path, "qemu-io -f vmdk -c 'write -P 9 0 4k' base.vmdk");
    let error = Disk::open_path(path.join("middle.vmdk")).err().unwrap();
    assert_eq!(error.kind(), vmdk::ErrorKind::ParentModified, "{error}");
}

/// qemu reads both kinds of ESXi's snapshots. For unmapped grains it has one of the two opinions.
#[test]
#[ignore = "needs qemu-img"]
fn snapshots_of_esxi_are_read_as_qemu_reads_them() {
    let mut runner = TestRunner::new(ProptestConfig::with_cases(12));
    let grains = prop::collection::btree_map(0_u64..3000, (0_u8..3, any::<u8>()), 0..80);
    runner
        .run(&(1_u64..24_000, grains), |(sectors, grains)| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path();
            let base = Create::new(Variant::Vmfs, sectors * 512).create(&local(path), "vm.vmdk").unwrap();
            base.write_all_at(&vec![0x77; sectors as usize * 512], 0).unwrap();
            base.close().unwrap();
            let cid =
                Disk::open_path(path.join("vm.vmdk")).unwrap().links()[0].descriptor().cid().to_string();

            let small: Vec<(u64, Vec<u8>)> = grains
                .iter()
                .filter(|(grain, _)| **grain < sectors)
                .map(|(grain, (_, byte))| (*grain, vec![*byte; 512]))
                .collect();
            fs::write(path.join("c-delta.vmdk"), cowd(sectors as u32, &small)).unwrap();
            let text = descriptor("vmfsSparse", "VMFSSPARSE", sectors, "c-delta.vmdk", ("vm.vmdk", &cid));
            fs::write(path.join("c.vmdk"), text).unwrap();

            let large: Vec<(u64, Grain)> = grains
                .iter()
                .filter(|(grain, _)| **grain * 8 < sectors)
                .map(|(grain, (state, byte))| {
                    let content = match state {
                        0 => Grain::Data(vec![*byte; 4096]),
                        1 => Grain::Zero,
                        _ => Grain::Unmapped,
                    };
                    (*grain, content)
                })
                .collect();
            fs::write(path.join("s-sesparse.vmdk"), sesparse(sectors, &large)).unwrap();
            let text = descriptor("seSparse", "SESPARSE", sectors, "s-sesparse.vmdk", ("vm.vmdk", &cid));
            fs::write(path.join("s.vmdk"), text).unwrap();

            let mut policy = Policy::default();
            policy.unmapped = Unmapped::Zero;
            for name in ["c.vmdk", "s.vmdk"] {
                run(path, &format!("qemu-img convert -f vmdk -O raw {name} raw"));
                let disk = OpenOptions::new().policy(policy).open_path(path.join(name)).unwrap();
                prop_assert!(fs::read(path.join("raw")).unwrap() == content(&disk), "{}", name);
            }
            Ok(())
        })
        .unwrap();
}

/// Sizes at the edges: none, one sector, a tail, more than two terabytes, thousands of files.
#[test]
#[ignore = "needs qemu-img"]
fn sizes_at_the_edges_are_exchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for sectors in [0_u64, 1, 127, 128, 129, 65_535, 65_537] {
        for form in QEMU_FORMS {
            run(path, &format!("qemu-img create -f vmdk -o {form} q.vmdk {}", sectors * 512));
            let disk = Disk::open_path(path.join("q.vmdk")).unwrap_or_else(|error| panic!("{form}: {error}"));
            assert_eq!(disk.capacity(), sectors * 512, "{form}");
            assert!(content(&disk).iter().all(|byte| *byte == 0));
            fs::remove_file(path.join("q.vmdk")).unwrap();
        }
        for variant in
            [Variant::MonolithicSparse, Variant::MonolithicFlat, Variant::SplitSparse, Variant::SplitFlat]
        {
            let name = format!("{variant:?}-{sectors}.vmdk");
            let disk = Create::new(variant, sectors * 512).create(&local(path), &name).unwrap();
            if sectors > 0 {
                disk.write_all_at(&[7], sectors * 512 - 1).unwrap();
            }
            disk.close().unwrap();
            // qemu can't open a disk of no size, not even one of its own.
            if sectors == 0 {
                continue;
            }
            let said = run(path, &format!("qemu-img info -f vmdk {name}"));
            assert!(said.contains(&format!("({} bytes)", sectors * 512)), "{said}");
            run(path, &format!("qemu-img convert -f vmdk -O raw {name} raw"));
            let raw = fs::read(path.join("raw")).unwrap();
            assert_eq!(raw.len() as u64, sectors * 512, "{name}");
            assert_eq!(raw.last(), Some(&7), "{name}");
        }
    }
}

#[test]
#[ignore = "needs qemu-img"]
fn three_terabytes_are_exchanged() {
    const SIZE: u64 = 3 << 40;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let marks = [0, (2 << 40) - 4096, 2 << 40, SIZE - 512];
    for (variant, name) in [(Variant::SplitSparse, "split.vmdk"), (Variant::MonolithicFlat, "flat.vmdk")] {
        let disk = Create::new(variant, SIZE).create(&local(path), name).unwrap();
        for (number, at) in marks.iter().enumerate() {
            disk.write_all_at(&[number as u8 + 1; 512], *at).unwrap();
        }
        disk.close().unwrap();
        let reads: String =
            (1..).zip(marks).map(|(number, at)| format!(" -c 'read -P {number} {at} 512'")).collect();
        let said = run(path, &format!("qemu-io -r -f vmdk{reads} {name}"));
        assert!(!said.contains("Pattern verification failed"), "{name}: {said}");
        let data: Vec<Range<u64>> = Disk::open_path(path.join(name))
            .unwrap()
            .map(0..SIZE)
            .map(Result::unwrap)
            .filter(|span| span.state == State::Data)
            .map(|span| span.offset..span.offset + span.length)
            .collect();
        assert!(marks.iter().all(|mark| data.iter().any(|range| range.contains(mark))), "{data:?}");
        let stored: u64 = data.iter().map(|range| range.end - range.start).sum();
        assert_eq!(stored, if variant == Variant::SplitSparse { 4 * 65_536 } else { SIZE });
    }
    run(path, &format!("qemu-img create -f vmdk -o subformat=twoGbMaxExtentSparse q.vmdk {SIZE}"));
    run(path, &format!("qemu-io -f vmdk -c 'write -P 6 {} 64k' q.vmdk", (2_u64 << 40) + 4096));
    let disk = Disk::open_path(path.join("q.vmdk")).unwrap();
    let mut bytes = [0; 512];
    ReadAt::read_exact_at(&disk, &mut bytes, (2 << 40) + 4096).unwrap();
    assert_eq!(bytes, [6; 512]);
}

#[test]
#[ignore = "needs qemu-img"]
fn thousands_of_extents_are_exchanged() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let size = 3000 * 128 * 512;
    let disk = Create::new(Variant::SplitSparse, size).split(128).create(&local(path), "x.vmdk").unwrap();
    let bytes: Vec<u8> = (0..size).map(|at| (at / 4099) as u8).collect();
    Copy::new().run(Source::Raw(&bytes), &disk).unwrap();
    disk.close().unwrap();
    assert!(content(&Disk::open_path(path.join("x.vmdk")).unwrap()) == bytes);
    run(path, "qemu-img convert -f vmdk -O raw x.vmdk raw");
    assert!(fs::read(path.join("raw")).unwrap() == bytes);
}

/// Both ways through a pipe, at more than one level and with more than one thread.
#[test]
#[ignore = "needs qemu-img"]
fn streams_are_exchanged() {
    for_each_content(8, |folder, bytes| {
        fs::write(folder.join("raw"), &bytes).unwrap();
        run(folder, "qemu-img convert -f raw -O vmdk -o subformat=streamOptimized raw theirs.vmdk");
        let mut reader = StreamReader::new(File::open(folder.join("theirs.vmdk")).unwrap()).unwrap();
        let target = Memory::new(vec![0; bytes.len()]);
        reader.copy_to(&target, 2).unwrap();
        assert!(target.to_vec() == bytes);
        for (level, threads) in [(0, 1), (1, 2), (6, 3), (9, 2)] {
            let options = StreamOptions::new(bytes.len() as u64).level(level).threads(threads);
            let output = File::create(folder.join("ours.vmdk")).unwrap();
            let mut writer = StreamWriter::new(output, "ours.vmdk", options).unwrap();
            writer
                .write_from(&bytes, |offset| Ok((offset < bytes.len() as u64).then_some(offset..u64::MAX)))
                .unwrap();
            writer.finish().unwrap();
            run(folder, "qemu-img check -f vmdk ours.vmdk");
            run(folder, "qemu-img convert -f vmdk -O raw ours.vmdk back");
            assert!(fs::read(folder.join("back")).unwrap() == bytes, "level {level}");
        }
    });
}

/// libvmdk has parsers of its own, and is stricter about texts.
#[test]
#[ignore = "needs vmdkinfo"]
fn libvmdk_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let size = 20 << 20;
    for variant in [
        Variant::MonolithicSparse,
        Variant::MonolithicFlat,
        Variant::SplitSparse,
        Variant::SplitFlat,
        Variant::Vmfs,
    ] {
        let name = format!("{variant:?}.vmdk");
        let disk = Create::new(variant, size).split(8192).create(&local(path), &name).unwrap();
        disk.write_all_at(&[1; 5000], 10_000_000).unwrap();
        disk.close().unwrap();
        let said = run(path, &format!("vmdkinfo {name}"));
        assert!(said.contains("20971520 bytes") || said.contains("(20971520"), "{name}: {said}");
    }
    let output = File::create(path.join("stream.vmdk")).unwrap();
    let mut writer = StreamWriter::new(output, "stream.vmdk", StreamOptions::new(size)).unwrap();
    writer.write_grain(65_536, &[9; 65_536]).unwrap();
    writer.finish().unwrap();
    let said = run(path, "vmdkinfo stream.vmdk");
    assert!(said.contains("20971520"), "{said}");
}

/// The form that is written here, tables behind the grains, by another hand. Its extent says that it can only be read.
#[test]
#[ignore = "needs vmdkstream"]
fn streams_of_vmdkstream_are_read() {
    for_each_content(4, |folder, bytes| {
        fs::write(folder.join("raw"), &bytes).unwrap();
        run(folder, "/usr/bin/python3 /usr/lib/python3/dist-packages/VMDKstream.py raw theirs.vmdk");
        assert!(content(&Disk::open_path(folder.join("theirs.vmdk")).unwrap()) == bytes);
        let mut reader = StreamReader::new(File::open(folder.join("theirs.vmdk")).unwrap()).unwrap();
        let target = Memory::new(vec![0; bytes.len()]);
        reader.copy_to(&target, 2).unwrap();
        assert!(target.to_vec() == bytes);
    });
}
