//! Backups that are killed at every step and at random, and that meet every fault that the simulator knows: afterwards no restore
//! point is wrong, none lacks a chunk, and the next sweep leaves nothing behind.
//!
//! A slice of it runs with the other tests, from a seed that is printed; `cargo xtask campaign backup` runs all of it.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "workflow/child.rs"]
mod child_process;
#[allow(dead_code)]
#[path = "workflow/harness.rs"]
mod harness;
#[allow(dead_code)]
#[path = "workflow/oracle.rs"]
mod oracle;

use std::io::{BufRead, BufReader, Read};
use std::sync::Mutex;
use std::time::Duration;

use vadp::{Backup, Sweeper};
use vadp_repository::CheckDepth;
use vim_api::mo::{Managed, VirtualMachine};
use vsphere_sim::{Effect, Endpoint, FaultPlace, FaultRule, Mutation};

use child_process::{ALONE, Holdings, holdings, name_of, spawn};
use harness::{MIB, World};
use oracle::{Expected, Random, backup_of_a_busy_guest, contents, seed_from, setting, write_somewhere};

/// What a backup tells, in the order of the state machine.
const STEPS: [&str; 9] = [
    "begins",
    "SnapshotStarted",
    "SnapshotTaken",
    "DiskPlanned",
    "DiskProgress",
    "DiskDone",
    "Committed",
    "SnapshotRemoved",
    "ends",
];

const SIZES: [u64; 2] = [6 * MIB, 2 * MIB + 512];

/// Not a test of its own: the part that runs in the child. It says each event on a line.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a child of the tests below"]
async fn child() {
    let Holdings { vm, repository, journal, vddk } = holdings().await;
    let said = Mutex::new(());
    println!("event begins");
    Backup::incremental(&vm, &repository, &vddk, &journal)
        .bar_migration(true)
        .run(|event| {
            let _one_line_at_a_time = said.lock();
            println!("event {}", name_of(&event));
        })
        .await
        .unwrap();
    println!("event ends");
}

/// Runs a child and kills it: `pause` after it has said an event for the `nth` time. Gives what it had said.
fn run_and_kill(world: &World, at: Option<(&str, usize)>, pause: Duration) -> Vec<String> {
    let mut child = spawn(world, &[]);
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut said: Vec<String> = Vec::new();
    let mut line = String::new();
    let is_due = |said: &[String]| {
        at.is_some_and(|(event, nth)| said.iter().filter(|said| *said == event).count() == nth + 1)
    };
    // Whether it ends by itself or not: what it says ends with it.
    while !is_due(&said) && out.read_line(&mut line).unwrap_or(0) > 0 {
        if let Some((_, event)) = line.trim_end().split_once("event ") {
            said.push(event.to_owned());
        }
        line.clear();
    }
    if is_due(&said) {
        std::thread::sleep(pause);
        child.kill().unwrap();
    } else {
        let _ = out.read_to_string(&mut line);
    }
    child.wait().unwrap();
    said
}

/// After whatever it was: one sweep, and nothing of ours is on the server or in the journal; the points are right.
async fn assert_mended(world: &World, expected: &mut Expected, now: &oracle::Contents, after: &str) {
    if let Err(error) = Sweeper::new(&world.journal).through(&world.vddk).sweep(&world.client).await {
        panic!("{after}: the sweep failed: {}", harness::story(&error));
    }
    world.assert_clean();
    let disabled = world.vm.vm().get(VirtualMachine::DISABLED_METHOD).await.unwrap().unwrap_or_default();
    assert!(
        !disabled.iter().any(|method| method == "RelocateVM_Task"),
        "{after}: it is barred from migration"
    );
    expected.note_new(world, now).await.unwrap_or_else(|what| panic!("{after}: {what}"));
    let report = world.repository.check(CheckDepth::Deep).await.unwrap();
    assert!(report.is_ok(), "{after}: {report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step_and_at_random_no_point_is_wrong_and_nothing_is_left() {
    let _alone = ALONE.lock().await;
    let seed = seed_from("SABOTAGE_SEED");
    let kills = setting("SABOTAGE_KILLS", 2);
    println!("SABOTAGE_SEED={seed} SABOTAGE_KILLS={kills}");
    let mut random = Random::new(seed);
    let world = World::new(&SIZES).await;
    let mut expected = Expected::default();
    write_somewhere(&world, &mut random);
    let steps = tokio::task::block_in_place(|| run_and_kill(&world, None, Duration::ZERO));
    assert_eq!(steps.last().map(String::as_str), Some("ends"), "{steps:?}");
    assert_mended(&world, &mut expected, &contents(&world), "a backup").await;
    assert_eq!(expected.0.len(), 1);
    // With the other tests not every step, and in a campaign each of them.
    let all = std::env::var_os("SABOTAGE_ALL").is_some();
    let chosen = STEPS.iter().filter(|_| all || random.below(STEPS.len() as u64) < 3).map(Some);
    let chosen: Vec<Option<&&str>> = chosen.chain((0..kills).map(|_| None)).collect();
    let (mut committed, tried) = (0, chosen.len());
    for at in chosen {
        write_somewhere(&world, &mut random);
        let now = contents(&world);
        let step = at.copied().unwrap_or_else(|| STEPS[random.below(STEPS.len() as u64) as usize]);
        let nth = if step.starts_with("Disk") { random.below(2) as usize } else { 0 };
        let pause = Duration::from_micros(if at.is_some() { 0 } else { random.below(30_000) });
        let said = tokio::task::block_in_place(|| run_and_kill(&world, Some((step, nth)), pause));
        let after = format!("seed {seed}, killed {pause:?} after {step} ({nth}), it had said {said:?}");
        let has = |event: &str| said.iter().any(|said| said == event);
        assert!(has(step) || has("ends"), "{after}: it failed by itself");
        committed += usize::from(has("Committed"));
        assert_mended(&world, &mut expected, &now, &after).await;
    }
    // What it has come to can be built upon.
    write_somewhere(&world, &mut random);
    let now = contents(&world);
    world.incremental().await.unwrap();
    assert_mended(&world, &mut expected, &now, "the last backup").await;
    expected.check_all(&world).await.unwrap();
    // A commit that was told of is one; those that were killed just behind it may have one as well.
    assert!(expected.0.len() >= 2 + committed, "{} points, and {committed} were told of", expected.0.len());
    println!(
        "sabotage: {} points from {tried} kills, {committed} of which had told of one",
        expected.0.len()
    );
}

/// A fault of the server, or of the disk library.
#[derive(Debug, Clone)]
enum Sabotage {
    Server(FaultRule),
    Library(sim_store::state::FaultRule),
}

/// The calls that a backup makes.
const CALLS: &[&str] = &[
    "RetrievePropertiesEx",
    "CreateSnapshot_Task",
    "RemoveSnapshot_Task",
    "QueryChangedDiskAreas",
    "CreateFilter",
    "WaitForUpdatesEx",
    "RetrieveEntityPermissions",
    "QueryEvents",
];

/// Each kind of fault that the simulator has, at each place of a backup where it can strike.
fn table() -> Vec<Sabotage> {
    let mut all = Vec::new();
    let http = |effect| FaultRule { at: FaultPlace::Http, effect, ..FaultRule::default() };
    let body = FaultRule { at: FaultPlace::Body, ..FaultRule::default() };
    let kinds = [
        FaultRule { fault: Some("RuntimeFault".into()), ..FaultRule::default() },
        FaultRule { fault: Some("NotAuthenticated".into()), ..FaultRule::default() },
        FaultRule { delay_ms: Some(30), ..http(None) },
        FaultRule { status: Some(503), ..http(None) },
        http(None),
        http(Some(Effect::Reset)),
        FaultRule { effect: Some(Effect::ExpireSession), ..FaultRule::default() },
        FaultRule { effect: Some(Effect::ResetAfterHead), ..body.clone() },
        FaultRule { effect: Some(Effect::NoCloseNotify), ..body.clone() },
        FaultRule { effect: Some(Effect::GzipGarbage), ..body.clone() },
        FaultRule { cut_after: Some(100), ..body },
    ];
    for method in CALLS {
        for kind in &kinds {
            all.push(Sabotage::Server(FaultRule { method: (*method).into(), ..kind.clone() }.times(1, 1)));
        }
    }
    for method in ["CreateSnapshot_Task", "RemoveSnapshot_Task"] {
        for fault in ["GenericVmConfigFault", "TaskInProgress", "FileFault", "NoDiskSpace", "InvalidState"] {
            for progress in [0, 50, 100] {
                all.push(Sabotage::Server(FaultRule::task(method, fault, progress).times(1, 1)));
            }
        }
    }
    for mutation in [
        Mutation::Stall,
        Mutation::Gap,
        Mutation::ShortSum,
        Mutation::Overlap,
        Mutation::BeyondCapacity,
        Mutation::ExtraExtents,
        Mutation::RefuseAll,
    ] {
        all.push(Sabotage::Server(FaultRule::changed_areas(mutation).times(1, 1)));
    }
    for (endpoint, method) in [(Endpoint::Folder, "GET"), (Endpoint::Rest, "*")] {
        for rule in [FaultRule { status: Some(503), ..http(None) }, http(None)] {
            all.push(Sabotage::Server(FaultRule { endpoint, method: method.into(), ..rule }.times(1, 1)));
        }
    }
    for function in [
        "ConnectEx",
        "Open",
        "ReadAsync",
        "Read",
        "QueryAllocatedBlocks",
        "GetMetadataKeys",
        "Close",
        "PrepareForAccess",
        "EndAccess",
    ] {
        for code in [1, 2, 13, 14009, 14011, 20] {
            let rule = sim_store::state::FaultRule {
                function: function.into(),
                nth: Some(1),
                code,
                ..Default::default()
            };
            all.push(Sabotage::Library(rule));
        }
        let abort = sim_store::state::FaultEffect::Abort;
        let rule = sim_store::state::FaultRule {
            function: function.into(),
            nth: Some(1),
            effect: Some(abort),
            ..Default::default()
        };
        all.push(Sabotage::Library(rule));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_no_point_is_wrong_and_nothing_is_left() {
    let _alone = ALONE.lock().await;
    let seed = seed_from("SABOTAGE_SEED");
    println!("SABOTAGE_SEED={seed}");
    let mut random = Random::new(seed);
    let mut sabotages = table();
    let all = sabotages.len();
    if std::env::var_os("SABOTAGE_ALL").is_none() {
        sabotages.retain(|_| random.below(all as u64) < 8);
    }
    let world = World::new(&SIZES).await;
    let mut expected = Expected::default();
    let now = contents(&world);
    world.full().await.unwrap();
    assert_mended(&world, &mut expected, &now, "the first backup").await;
    let (mut failed, tried) = (0, sabotages.len());
    for sabotage in sabotages {
        let after = format!("seed {seed}, {sabotage:?}");
        match sabotage {
            Sabotage::Server(rule) => world.fault(rule),
            Sabotage::Library(rule) => world.sim.add_vddk_fault(rule).unwrap(),
        }
        write_somewhere(&world, &mut random);
        let backup = Backup::incremental(&world.vm, &world.repository, &world.vddk, &world.journal);
        let backup = backup.bar_migration(random.below(2) == 0);
        let (copied, outcome) = backup_of_a_busy_guest(&world, backup, &mut random, None).await;
        failed += usize::from(!matches!(outcome, Some(Ok(_))));
        world.sim.clear_faults().unwrap();
        let now = copied.unwrap_or_else(|| contents(&world));
        assert_mended(&world, &mut expected, &now, &after).await;
    }
    expected.check_all(&world).await.unwrap();
    println!("sabotage: {tried} of {all} faults, {failed} backups failed, {} points", expected.0.len());
}
