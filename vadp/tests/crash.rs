//! What a process leaves behind that is killed, and how much memory one takes: both are seen on a child process.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "workflow/harness.rs"]
mod harness;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use secrecy::{ExposeSecret, SecretString};
use vadp::{Backup, Event, Journal, ProtectedVm, VmSelector};
use vadp_repository::{CheckDepth, Repository, Secret};

use harness::{KEY, MIB, VM, World, connect, kit, vddk};

/// One test at a time: between its fork and its exec, a child holds the file locks of whoever runs beside it.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Not a test of its own: the part that runs in the child. It says each event on a line.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a child of the tests below"]
async fn child() {
    let get = |name: &str| std::env::var(name).unwrap();
    let password = SecretString::from(get("CHILD_PASSWORD"));
    let client = connect(&get("CHILD_URL"), &get("CHILD_PIN"), &get("CHILD_USER"), &password).await;
    let vm = ProtectedVm::resolve(&client, &VmSelector::Name(VM.into())).await.unwrap();
    let folder = std::path::PathBuf::from(get("CHILD_FOLDER"));
    let repository = Repository::open_local(folder.join("repository"), &Secret::raw_key(KEY)).await.unwrap();
    let journal = Journal::open(folder.join("journal")).unwrap();
    let vddk = vddk(&get("CHILD_USER"), &password);
    let said = Mutex::new(());
    let outcome = Backup::full(&vm, &repository, &vddk, &journal)
        .run(|event| {
            let _one_line_at_a_time = said.lock();
            println!("{}", first_word(&event));
        })
        .await
        .unwrap();
    println!("read {}", outcome.disks.iter().map(|d| d.read).sum::<u64>());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    println!("peak_kib {}", peak.trim().trim_end_matches(" kB"));
}

fn first_word(event: &Event<'_>) -> String {
    format!("{event:?}").split([' ', '(', '{']).next().unwrap().to_owned()
}

fn spawn(world: &World) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env("VADP_TEST_KIT", kit())
        .env("CHILD_URL", world.sim.url())
        .env("CHILD_PIN", world.sim.thumbprint_sha256())
        .env("CHILD_USER", world.sim.user())
        .env("CHILD_PASSWORD", world.sim.password().expose_secret())
        .env("CHILD_FOLDER", world.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
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
        let mut child = spawn(&world);
        let reached = tokio::task::block_in_place(|| read_until(&mut child, moment));
        assert!(reached.is_some(), "the child never said {moment}");
        child.kill().unwrap();
        child.wait().unwrap();

        let next = world.incremental().await.unwrap();
        assert!(next.cleanup_error.is_none());
        world.assert_clean();
        let report = world.repository.check(CheckDepth::Deep).await.unwrap();
        assert!(report.is_ok(), "after {moment}: {report:?}");
        if moment != "SnapshotStarted" {
            assert_eq!(next.swept.snapshots_removed.len(), 1, "after {moment}: {:?}", next.swept);
        }
    }
    // What was there before is still there, and still right.
    let digests = world.digests();
    world.power_off().await;
    world.write(0, 0, 8 * MIB, 2);
    world.revert(&before.point).await.unwrap();
    assert_eq!(world.digests(), digests);
}

async fn peak_of(size: u64, pieces: u64, piece: u64) -> (u64, u64) {
    let world = World::new(&[size]).await;
    for n in 0..pieces {
        world.write(0, size / pieces * n, piece, 1);
    }
    let mut child = spawn(&world);
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
