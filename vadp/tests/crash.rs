//! What a process leaves behind that is killed, and how much memory one takes: both are seen on a child process.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "workflow/harness.rs"]
mod harness;

#[path = "workflow/child.rs"]
mod child_process;

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::Mutex;

use vadp::{Backup, BackupOutcome, Event, Flow};
use vadp_repository::CheckDepth;
use vim_api::mo::{Managed, VirtualMachine};

use child_process::{ALONE, Holdings, holdings, name_of, setting, spawn};
use harness::{MIB, World};

/// Settings of the child: bytes after which it has a receipt, bytes that it reads in a second, and whether it converts a template.
const RECEIPTS: &str = "CHILD_RECEIPTS";
const RATE: &str = "CHILD_RATE";
const TEMPLATE: &str = "CHILD_TEMPLATE";
const PLAIN: [(&str, u64); 3] = [(RECEIPTS, 4 << 30), (RATE, u64::MAX), (TEMPLATE, 0)];

/// Not a test of its own: the part that runs in the child. It says each event on a line.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a child of the tests below"]
async fn child() {
    let Holdings { vm, repository, journal, vddk } = holdings().await;
    let said = Mutex::new(());
    // Slow enough to be killed where it is meant to be.
    let flow = Flow::new()
        .receipt_every(setting(RECEIPTS))
        .throttle(vadp::Throttle::bytes_per_second(setting(RATE)));
    let outcome = Backup::full(&vm, &repository, &vddk, &journal)
        .flow(flow)
        .convert_template(setting(TEMPLATE) == 1)
        .run(|event| {
            let _one_line_at_a_time = said.lock();
            match event {
                Event::DiskProgress { done, .. } => println!("DiskProgress {} MiB", done / MIB),
                event => println!("{}", name_of(&event)),
            }
        })
        .await
        .unwrap();
    println!("read {}", outcome.disks.iter().map(|d| d.read).sum::<u64>());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    println!("peak_kib {}", peak.trim().trim_end_matches(" kB"));
}

/// Reads the child's lines until one has `word`. The first event stands behind what the test runner writes.
fn read_until(child: &mut Child, word: &str) -> Option<String> {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    lines.map_while(Result::ok).find(|line| line.contains(word))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_leaves_nothing_that_the_next_run_does_not_mend() {
    let _alone = ALONE.lock().await;
    let world = World::new(&[128 * MIB]).await;
    world.write(0, 0, 96 * MIB, 1);
    let before = world.full().await.unwrap();
    for moment in ["SnapshotStarted", "SnapshotTaken", "DiskPlanned", "DiskProgress"] {
        let mut child = spawn(&world, &PLAIN);
        let reached = tokio::task::block_in_place(|| read_until(&mut child, moment));
        assert!(reached.is_some(), "the child never said {moment}");
        child.kill().unwrap();
        child.wait().unwrap();

        let (next, resumed) = next_run(&world).await;
        assert!(next.cleanup_error.is_none());
        world.assert_clean();
        let report = world.repository.check(CheckDepth::Deep).await.unwrap();
        assert!(report.is_ok(), "after {moment}: {report:?}");
        if moment != "SnapshotStarted" {
            let settled = next.swept.snapshots_removed.len() + usize::from(resumed);
            assert_eq!(settled, 1, "after {moment}: {:?}, resumed: {resumed}", next.swept);
        }
    }
    // What was there before is still there, and still right.
    let digests = world.digests();
    world.power_off().await;
    world.write(0, 0, 8 * MIB, 2);
    world.revert(&before.point).await.unwrap();
    assert_eq!(world.digests(), digests);
}

/// An incremental backup, and whether it went on where a dead one had stopped.
async fn next_run(world: &World) -> (BackupOutcome, bool) {
    run(Backup::incremental(&world.vm, &world.repository, &world.vddk, &world.journal)).await
}

async fn run(backup: Backup<'_>) -> (BackupOutcome, bool) {
    let resumed = std::sync::atomic::AtomicBool::new(false);
    let run = backup.run(|event| {
        if let Event::Resumed { .. } = event {
            resumed.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    (run.await.unwrap(), resumed.into_inner())
}

/// A run that is killed when two thirds are read, with a receipt for each four MiB.
async fn killed_in_the_middle(world: &World, template: bool) -> u64 {
    let settings = [(RECEIPTS, 4 * MIB), (RATE, 48 * MIB), (TEMPLATE, template.into())];
    let mut child = spawn(world, &settings);
    let reached = tokio::task::block_in_place(|| read_until(&mut child, "DiskProgress 32 MiB"));
    assert!(reached.is_some(), "the child was never there");
    child.kill().unwrap();
    child.wait().unwrap();
    32
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_is_gone_on_with_and_reads_only_the_rest() {
    let _alone = ALONE.lock().await;
    let world = World::new(&[64 * MIB]).await;
    world.write(0, 0, 48 * MIB, 1);
    let read = killed_in_the_middle(&world, false).await;
    // The guest goes on; the snapshot does not.
    let digests = world.digests();
    world.write(0, MIB, 8 * MIB, 2);
    // The library counts: one request for each chunk. What is read beyond the rest, and one receipt's worth, fails for good.
    let allowed = 48 - (read - 8);
    let one_more = sim_store::state::FaultRule {
        function: "Read".into(),
        nth: Some(allowed + 1),
        count: Some(1000),
        code: 16000,
        ..Default::default()
    };
    world.sim.add_vddk_fault(one_more).unwrap();
    let (next, resumed) = next_run(&world).await;
    world.sim.clear_faults().unwrap();
    assert!(resumed);
    assert!(next.swept.snapshots_removed.is_empty(), "{:?}", next.swept);
    let disk = &next.disks[0];
    assert_eq!(disk.read + disk.resumed * MIB, 48 * MIB);
    assert!(disk.resumed >= read - 8, "only {} chunks were resumed", disk.resumed);
    world.assert_clean();
    let left: Vec<_> = std::fs::read_dir(world.folder.path().join("journal")).unwrap().collect();
    assert!(
        left.iter().all(|file| !file.as_ref().unwrap().path().to_string_lossy().contains("resume")),
        "{left:?}"
    );
    assert!(world.repository.check(CheckDepth::Deep).await.unwrap().is_ok());
    // It is the disk of the moment of the snapshot, and the next backup goes on from there.
    let later = world.digests();
    let incremental = world.incremental().await.unwrap();
    assert!(matches!(incremental.disks[0].decision, vadp::cbt::Decision::Incremental(_)));
    world.power_off().await;
    world.revert(&next.point).await.unwrap();
    assert_eq!(world.digests(), digests);
    world.revert(&incremental.point).await.unwrap();
    assert_eq!(world.digests(), later);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_snapshot_is_gone_finds_its_chunks_stored() {
    let _alone = ALONE.lock().await;
    let world = World::new(&[64 * MIB]).await;
    world.write(0, 0, 48 * MIB, 1);
    let read = killed_in_the_middle(&world, false).await;
    world.vm.vm().remove_all_snapshots_task(Some(true), None).await.unwrap().wait().await.unwrap();
    let (next, resumed) = next_run(&world).await;
    assert!(!resumed);
    let disk = &next.disks[0];
    assert_eq!((disk.read, disk.resumed), (48 * MIB, 0));
    assert!(disk.summary.dedup_chunks >= read - 8, "{:?}", disk.summary);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_was_being_backed_up_is_gone_on_with_and_is_a_template_again() {
    let _alone = ALONE.lock().await;
    let world = World::new(&[64 * MIB]).await;
    world.write(0, 0, 48 * MIB, 1);
    world.power_off().await;
    world.vm.vm().mark_as_template().await.unwrap();
    let is_template = async || world.vm.vm().require(VirtualMachine::CONFIG).await.unwrap().template;
    let read = killed_in_the_middle(&world, true).await;
    assert!(!is_template().await);
    let backup = || Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal);
    let (next, resumed) = run(backup().convert_template(true)).await;
    assert!(resumed && next.swept.templates.is_empty(), "{:?}", next.swept);
    assert!(next.disks[0].resumed >= read - 8, "only {} chunks were resumed", next.disks[0].resumed);
    assert!(next.cleanup_error.is_none() && is_template().await);
    world.assert_clean();
    // One that died as a machine is a template again also when the next run would not have made a machine of it.
    killed_in_the_middle(&world, true).await;
    let (next, resumed) = run(backup()).await;
    assert!(resumed && next.cleanup_error.is_none() && is_template().await);
    world.assert_clean();
}

async fn peak_of(size: u64, pieces: u64, piece: u64) -> (u64, u64) {
    let world = World::new(&[size]).await;
    for n in 0..pieces {
        world.write(0, size / pieces * n, piece, 1);
    }
    let mut child = spawn(&world, &PLAIN);
    let (read, peak) = tokio::task::block_in_place(|| {
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut number = |word: &str| -> u64 {
            let line = lines.find(|line| line.starts_with(word)).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let found = (number("read "), number("peak_kib "));
        // The runner has more to say, and dies when nobody listens.
        lines.for_each(drop);
        found
    });
    assert!(child.wait().unwrap().success());
    assert_eq!(read, pieces * piece, "only what is allocated was read");
    (read, peak)
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_disk() {
    let _alone = ALONE.lock().await;
    let (_, peak) = peak_of(2 << 30, 64, 4 * MIB).await;
    assert!(peak < 256 * 1024, "2 GiB: {peak} KiB");
    let (_, peak) = peak_of(1 << 40, 64, 4 * MIB).await;
    assert!(peak < 256 * 1024, "1 TiB: {peak} KiB");
}
