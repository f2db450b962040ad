//! Restores that are killed at every step and at random: after the next sweep the machine's disks are all as they were before, or
//! all restored, and nothing is left behind.
//!
//! A slice of it runs with the other tests, from a seed that is printed; `cargo xtask campaign restore` runs all of it.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "workflow/harness.rs"]
mod harness;
#[allow(dead_code)]
#[path = "workflow/oracle.rs"]
mod oracle;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use vadp::{Journal, PowerPolicy, ProtectedVm, Restore, Sweeper, Swept, VmSelector};
use vadp_repository::{BackupStore, Repository, Secret};

use harness::{KEY, MIB, VM, World, connect, kit, vddk};
use oracle::{Random, contents, difference, seed_from, setting, write_somewhere};

/// What a restore tells, in the order of its steps: the first snapshot is to ask what changed, the next are those of tracking that
/// begins anew, and the last is what it goes back to.
const STEPS: [(&str, usize); 11] = [
    ("begins", 0),
    ("SnapshotStarted", 0),
    ("SnapshotTaken", 0),
    ("SnapshotRemoved", 0),
    ("SnapshotStarted", 1),
    ("SnapshotTaken", 1),
    ("DiskOpened", 0),
    ("DiskProgress", 1),
    ("DiskDone", 0),
    ("DiskDone", 1),
    ("ends", 0),
];

/// Not a test of its own: the part that runs in the child. It says each event on a line.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a child of the test below"]
async fn child() {
    let get = |name: &str| std::env::var(name).unwrap();
    let password = SecretString::from(get("CHILD_PASSWORD"));
    let client = connect(&get("CHILD_URL"), &get("CHILD_PIN"), &get("CHILD_USER"), &password).await;
    let vm = ProtectedVm::resolve(&client, &VmSelector::Name(VM.into())).await.unwrap();
    let folder = std::path::PathBuf::from(get("CHILD_FOLDER"));
    let repository = Repository::open_local(folder.join("repository"), &Secret::raw_key(KEY)).await.unwrap();
    let journal = Journal::open(folder.join("journal")).unwrap();
    let vddk = vddk(&get("CHILD_USER"), &password);
    let points = BackupStore::points(&repository, None).await.unwrap();
    let point = BackupStore::point(&repository, points.last().unwrap().id).await.unwrap();
    let said = Mutex::new(());
    println!("event begins");
    let restore = Restore::revert(&*point, &vm, &vddk, &journal).power(PowerPolicy::PowerOff);
    let run = restore.plan().await.unwrap().run(|event| {
        let _one_line_at_a_time = said.lock();
        println!("event {}", format!("{event:?}").split([' ', '(', '{']).next().unwrap());
    });
    run.await.unwrap();
    println!("event ends");
}

/// Runs a child and kills it: `pause` after it has said an event for the `nth` time. Whether it had come to its end.
fn run_and_kill(world: &World, (event, nth): (&str, usize), pause: Duration) -> bool {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env("VADP_TEST_KIT", kit())
        .env("CHILD_URL", world.sim.url())
        .env("CHILD_PIN", world.sim.thumbprint_sha256())
        .env("CHILD_USER", world.sim.user())
        .env("CHILD_PASSWORD", world.sim.password().expose_secret())
        .env("CHILD_FOLDER", world.folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut seen, mut ended, mut line) = (0, false, String::new());
    while seen <= nth && out.read_line(&mut line).unwrap_or(0) > 0 {
        if let Some((_, said)) = line.trim_end().split_once("event ") {
            seen += usize::from(said == event);
            ended |= said == "ends";
        }
        line.clear();
    }
    std::thread::sleep(pause);
    child.kill().unwrap();
    let mut rest = String::new();
    let _ = out.read_to_string(&mut rest);
    child.wait().unwrap();
    ended || rest.contains("event ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_and_at_random_no_disk_is_in_part_restored() {
    let seed = seed_from("RESTORE_KILL_SEED");
    let rounds = setting("RESTORE_KILLS", 3);
    println!("seed {seed}: RESTORE_KILL_SEED={seed} RESTORE_KILLS={rounds} repeats it");
    let mut random = Random::new(seed);
    let world = World::new(&[6 * MIB, 2 * MIB + 512]).await;
    world.write(0, 0, 4 * MIB, 1);
    world.write(1, MIB, MIB, 1);
    let (mut old, mut restored) = (0, 0);
    let at_random = (0..rounds).map(|_| STEPS[random.below(STEPS.len() as u64) as usize]).collect::<Vec<_>>();
    let pauses = at_random.iter().map(|_| Duration::from_micros(random.below(60_000))).collect::<Vec<_>>();
    let steps = STEPS.into_iter().zip(std::iter::repeat(Duration::ZERO));
    for (step, pause) in steps.chain(at_random.into_iter().zip(pauses)) {
        // Of this very moment, so that its restore can go by what changed.
        world.incremental().await.unwrap();
        let wanted = contents(&world);
        write_somewhere(&world, &mut random);
        let before = contents(&world);
        let ended = run_and_kill(&world, step, pause);
        let label = format!("killed {pause:?} after {step:?}, seed {seed}");
        if world.sim.vm(VM).unwrap().is_powered_on() && !ended {
            // Before it was switched off, or when it was on again: nothing may be half done then.
            let now = contents(&world);
            let whole = difference(&now, &before).is_none() || difference(&now, &wanted).is_none();
            assert!(whole, "{label}: it runs, on disks that are in part restored");
        }
        let swept = sweep(&world).await;
        assert!(swept.left.is_empty(), "{label}: {swept:?}");
        world.assert_clean();
        let now = contents(&world);
        match (difference(&now, &before), difference(&now, &wanted)) {
            (_, None) => restored += 1,
            (None, _) => old += 1,
            (Some(unlike_before), Some(unlike_wanted)) => {
                panic!("{label}: neither old ({unlike_before}) nor restored ({unlike_wanted}): {swept:?}")
            }
        }
        assert!(!ended || difference(&now, &wanted).is_none(), "{label}: it ended, and is not restored");
        if !world.sim.vm(VM).unwrap().is_powered_on() {
            world.vm.vm().power_on_vm_task(None).await.unwrap().wait().await.unwrap();
        }
    }
    println!("{old} times as before, {restored} times restored");
    assert!(old > 0 && restored > 0, "{old} and {restored}");
}

async fn sweep(world: &World) -> Swept {
    Sweeper::new(&world.journal).through(&world.vddk).sweep(&world.client).await.unwrap()
}
