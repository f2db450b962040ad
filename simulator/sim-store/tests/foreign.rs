//! What is written here is read by others: `vadp-vmdk` with every run, qemu-img when asked.
//!
//! `cargo test -p sim-store --test foreign -- --ignored`; needs qemu-img (Debian: qemu-utils).

#![allow(clippy::unwrap_used, reason = "a failed test may panic, in its helpers too")]

#[path = "files/life.rs"]
mod life;

use std::fs;
use std::path::Path;
use std::process::Command;

use life::{FORMATS, Life, State, Step, chance, step};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sim_store::{Access, DeltaFormat, Disk, DiskSpec, Provisioning, Scope, snapshot, tracking};

/// Three tables of vmfsSparse, and no multiple of any grain.
const CAPACITY: u64 = (5 << 20) + 1536;

/// Chains of up to four children with data in each, then whatever happens.
fn lives() -> impl Strategy<Value = (DeltaFormat, Vec<Step>)> {
    let steps = |count| prop::collection::vec(step(CAPACITY), count);
    let layers = prop::collection::vec(steps(1..6), 1..5).prop_map(|layers| {
        layers.into_iter().flat_map(|layer| layer.into_iter().chain([Step::Snapshot])).collect::<Vec<_>>()
    });
    (prop::sample::select(FORMATS.to_vec()), layers, steps(0..12)).prop_map(|(format, mut layers, rest)| {
        layers.extend(rest);
        (format, layers)
    })
}

/// Lives such a life, and has each disk checked after each change of the chain and at the end.
fn for_each_life(cases: u32, check: impl Fn(&Path, &State)) {
    let mut runner = TestRunner::new(chance(cases));
    runner
        .run(&lives(), |(format, steps)| {
            let folder = tempfile::tempdir().unwrap();
            let mut life = Life::new(folder.path(), CAPACITY, format);
            life.apply(&Step::TrackOn(4096));
            for step in steps {
                life.apply(&step);
                if !matches!(step, Step::Write { .. } | Step::Zero { .. } | Step::Reopen) {
                    life.states().for_each(|state| check(folder.path(), state));
                }
            }
            life.apply(&Step::Reopen);
            life.states().for_each(|state| check(folder.path(), state));
            Ok(())
        })
        .unwrap();
}

fn assert_read_by_vmdk(path: &Path, content: &[u8]) {
    let disk = vmdk::Disk::open_path(path).unwrap();
    assert_eq!(disk.capacity(), content.len() as u64);
    let mut found = vec![0xee; content.len()];
    disk.read_exact_at(&mut found, 0).unwrap();
    assert!(found == *content, "{}", path.display());
    let data: u64 = disk.map(0..disk.capacity()).map(|span| span.unwrap().length).sum();
    assert_eq!(data, disk.capacity());
}

#[test]
fn vadp_vmdk_reads_every_chain() {
    for_each_life(24, |_, state| assert_read_by_vmdk(&state.path, &state.content));
}

/// More than one table of each format; SESparse hands them out in another order than that of the disk.
#[test]
fn tables_are_found_wherever_they_are() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let capacity = (50 << 20) + 512;
        let base = folder.path().join("vm.vmdk");
        drop(Disk::create(&base, &DiskSpec::thin(capacity)).unwrap());
        let child = snapshot::create_as(&base, format).unwrap().child;
        let mut content = vec![0; capacity as usize];
        for (number, at) in (1..).zip([48_u64 << 20, 32 << 20, 16 << 20, 4 << 20, 2 << 20, 0]) {
            // Opened anew each time, so that the next free table has to be found.
            let disk = Disk::open(&child, Access::ReadWrite, Scope::WholeChain).unwrap();
            let start = at.saturating_sub(5000);
            let bytes = vec![number; (at + 5000 - start) as usize];
            disk.write_at(start, &bytes).unwrap();
            content[start as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        let disk = Disk::open(&child, Access::ReadWrite, Scope::WholeChain).unwrap();
        disk.write_at(capacity - 1, &[9]).unwrap();
        content[capacity as usize - 1] = 9;
        drop(disk);
        assert_read_by_vmdk(&child, &content);
    }
}

#[test]
fn vadp_vmdk_reads_three_tebibytes() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("vm.vmdk");
    let capacity = 3 << 40;
    drop(Disk::create(&base, &DiskSpec::thin(capacity)).unwrap());
    let child = snapshot::create(&base).unwrap().child;
    let disk = Disk::open(&child, Access::ReadWrite, Scope::WholeChain).unwrap();
    let marks = [0, (2 << 40) - 512, 2 << 40, capacity - 512];
    for (number, mark) in (1..).zip(marks) {
        disk.write_at(mark, &[number; 512]).unwrap();
    }
    drop(disk);
    let disk = vmdk::Disk::open_path(&child).unwrap();
    for (number, mark) in (1..).zip(marks) {
        let mut sector = [0; 512];
        disk.read_exact_at(&mut sector, mark).unwrap();
        assert_eq!(sector, [number; 512]);
    }
}

/// While the server writes, a client that reads the files finds every byte as it was before or after the write.
#[test]
fn a_chain_that_grows_is_read_meanwhile() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("vm.vmdk");
        let capacity = 40 << 20;
        let old = vec![1; capacity];
        Disk::create(&base, &DiskSpec::thin(capacity as u64)).unwrap().write_at(0, &old).unwrap();
        let child = snapshot::create_as(&base, format).unwrap().child;
        let writer = Disk::open(&child, Access::ReadWrite, Scope::WholeChain).unwrap();
        // The first write renews the content id; a client that opens meanwhile may see either.
        writer.write_at(0, &[2; 512]).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let readers: Vec<_> = [true, false]
                .map(|ours| {
                    let (child, done) = (&child, &done);
                    scope.spawn(move || {
                        let mut rounds = 0;
                        let mut buffer = vec![0; 300_000];
                        while rounds == 0 || !done.load(std::sync::atomic::Ordering::Relaxed) {
                            let at = (rounds * 7_919_000) % (capacity as u64 - 300_000);
                            if ours {
                                let disk = Disk::open(child, Access::ReadOnly, Scope::WholeChain).unwrap();
                                disk.read_at(at, &mut buffer).unwrap();
                            } else {
                                let disk = vmdk::Disk::open_path(child).unwrap();
                                disk.read_exact_at(&mut buffer, at).unwrap();
                            }
                            assert!(buffer.iter().all(|byte| [0, 1, 2].contains(byte)));
                            rounds += 1;
                        }
                    })
                })
                .into();
            let bytes = vec![2; 70_000];
            for number in 0..400_u64 {
                let at = (number * 3_331_777) % (capacity as u64 - 70_000);
                if number % 5 == 4 {
                    writer.zero_at(at, 50_000).unwrap();
                } else {
                    writer.write_at(at, &bytes).unwrap();
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            readers.into_iter().for_each(|reader| reader.join().unwrap());
        });
    }
}

fn qemu_img(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("qemu-img").args(arguments).current_dir(folder).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {said}");
    said
}

#[test]
#[ignore = "needs qemu-img"]
fn qemu_reads_every_chain() {
    for_each_life(4, |folder, state| {
        let name = state.path.to_str().unwrap();
        let said = qemu_img(folder, &["info", name]);
        assert!(
            said.contains("file format: vmdk") && said.contains(&format!("({CAPACITY} bytes)")),
            "{said}"
        );
        fs::write(folder.join("expected.raw"), &*state.content).unwrap();
        let compared = ["compare", "-f", "vmdk", "-F", "raw", name, "expected.raw"];
        assert!(qemu_img(folder, &compared).contains("Images are identical"));
        qemu_img(folder, &["convert", "-f", "vmdk", "-O", "raw", name, "found.raw"]);
        assert!(fs::read(folder.join("found.raw")).unwrap() == *state.content);
        fs::remove_file(folder.join("expected.raw")).unwrap();
        fs::remove_file(folder.join("found.raw")).unwrap();
    });
}

/// Each kind of base disk, with its descriptor as the tracked and the untracked have it.
#[test]
#[ignore = "needs qemu-img"]
fn qemu_reads_base_disks() {
    for provisioning in [Provisioning::Thin, Provisioning::LazyThick, Provisioning::EagerThick] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vm.vmdk");
        let spec = DiskSpec { provisioning, ..DiskSpec::thin(CAPACITY) };
        let bytes: Vec<u8> = (0..CAPACITY).map(|at| (at / 4099) as u8).collect();
        Disk::create(&path, &spec).unwrap().write_at(0, &bytes).unwrap();
        fs::write(folder.path().join("expected.raw"), &bytes).unwrap();
        let compare = || qemu_img(folder.path(), &["compare", "vm.vmdk", "expected.raw"]);
        compare();
        tracking::enable(&path, None).unwrap();
        compare();
        let said = qemu_img(folder.path(), &["info", "vm.vmdk"]);
        assert!(said.contains("create type: vmfs"), "{said}");
    }
}

#[test]
#[ignore = "needs qemu-img"]
fn qemu_reads_three_tebibytes() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("vm.vmdk");
    drop(Disk::create(&base, &DiskSpec::thin(3 << 40)).unwrap());
    let child = snapshot::create(&base).unwrap().child;
    Disk::open(&child, Access::ReadWrite, Scope::WholeChain).unwrap().write_at(2 << 40, &[7; 4096]).unwrap();
    let said = qemu_img(folder.path(), &["info", "--backing-chain", "vm-000001.vmdk"]);
    assert!(said.contains("create type: seSparse") && said.contains("create type: vmfs"), "{said}");
    // Not the whole disk, which takes qemu minutes.
    let here = ["map", "--output=json", "--start-offset", "2T", "--max-length", "1M", "vm-000001.vmdk"];
    let map = qemu_img(folder.path(), &here);
    assert!(map.contains("\"start\": 2199023255552, \"length\": 4096, \"depth\": 0"), "{map}");
}
