//! Backups that are stopped, dropped, and disturbed on their way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use vadp::{Backup, CancelToken, ErrorKind, Event, Flow};
use vadp_repository::CheckDepth;

use crate::harness::{MIB, World, story};

fn name(event: &Event<'_>) -> String {
    format!("{event:?}").split([' ', '(', '{']).next().unwrap().to_owned()
}

async fn world() -> World {
    let world = World::new(&[24 * MIB, 24 * MIB, 24 * MIB]).await;
    (0..3).for_each(|n| world.write(n, 0, 20 * MIB, 1));
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_any_moment_it_gives_everything_back() {
    let world = world().await;
    let moments = ["", "SnapshotStarted", "SnapshotTaken", "DiskPlanned", "DiskProgress", "DiskDone"];
    for moment in moments {
        let token = CancelToken::new();
        if moment.is_empty() {
            token.cancel();
        }
        let backup = Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal);
        let outcome = backup
            .cancel_by(&token)
            .run(|event| {
                if name(&event) == moment {
                    token.cancel();
                }
            })
            .await;
        let Err(error) = outcome else { panic!("stopped at {moment:?}, it went on") };
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{moment}: {}", story(&error));
        world.assert_clean();
        assert_eq!(world.points().await, 0, "{moment}");
    }
    // What was stopped is no harm to what comes.
    world.full().await.unwrap();
    assert!(world.repository.check(CheckDepth::Deep).await.unwrap().is_ok());
    let token = CancelToken::new();
    let backup = Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal).cancel_by(&token);
    let late = backup
        .run(|event| {
            if name(&event) == "Committed" {
                token.cancel()
            }
        })
        .await
        .unwrap();
    assert!(late.cleanup_error.is_none(), "what is committed stays");
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_at_any_moment_it_gives_everything_back() {
    let world = world().await;
    for moment in ["SnapshotStarted", "SnapshotTaken", "DiskPlanned", "DiskProgress"] {
        let reached = Notify::new();
        let backup = Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal);
        let run = backup.run(|event| {
            if name(&event) == moment {
                reached.notify_one();
            }
        });
        tokio::select! {
            biased;
            () = reached.notified() => {}
            done = run => panic!("it was done before {moment}: {:?}", done.map(|done| done.disks).map_err(|e| story(&e))),
        }
        // The removal goes on by itself.
        let is_clean = || {
            world.sim.vm(crate::harness::VM).unwrap().snapshot_count() == 0
                && world.journal.entries().unwrap().is_empty()
        };
        let mut patience = 1000;
        while !is_clean() && patience > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            patience -= 1;
        }
        world.assert_clean();
        assert_eq!(world.points().await, 0, "{moment}");
    }
    world.full().await.unwrap();
    world.assert_clean();
}

/// OBJECT_IS_BUSY, which passes, and HOST_CONNECTION_LOST, after which the disk has to be opened again.
const BUSY: u32 = 5;
const LOST: u32 = 36;

fn failing(code: u32, nth: u64, count: u64) -> sim_store::state::FaultRule {
    sim_store::state::FaultRule {
        function: "Read".into(),
        nth: Some(nth),
        count: Some(count),
        code: code.into(),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_fails_for_a_while_is_tried_again_and_a_lost_connection_made_anew() {
    let world = world().await;
    let digests = world.digests();
    let flow = || Flow::new().first_pause(Duration::from_millis(1));
    let full = |flow: Flow| {
        Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal).flow(flow).run(|_| ())
    };
    for code in [BUSY, LOST] {
        world.sim.add_vddk_fault(failing(code, 4, 3)).unwrap();
        let done = full(flow()).await;
        let done = done.unwrap_or_else(|error| panic!("{code}: {}", story(&error)));
        assert_eq!(done.disks.iter().map(|disk| disk.read).sum::<u64>(), 60 * MIB);
        world.sim.clear_faults().unwrap();

        // Patience has an end, and then nothing is left.
        world.sim.add_vddk_fault(failing(code, 4, 1000)).unwrap();
        let Err(error) = full(flow().read_retries(3)).await else { panic!("it went well") };
        assert_eq!(error.disk_error().and_then(|e| e.code()), u16::try_from(code).ok(), "{}", story(&error));
        world.assert_clean();
        world.sim.clear_faults().unwrap();
    }
    let done = full(flow()).await.unwrap();
    world.power_off().await;
    (0..3).for_each(|n| world.write(n, 0, 20 * MIB, 2));
    world.revert(&done.point).await.unwrap();
    assert_eq!(world.digests(), digests);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_has_a_rate_and_ends_at_the_total() {
    let world = World::new(&[64 * MIB]).await;
    world.write(0, 0, 48 * MIB, 1);
    let (last, timed) = (std::sync::Mutex::new((0, 0)), AtomicBool::new(false));
    // So slow that a rate can be told.
    let flow = Flow::new().throttle(vadp::Throttle::bytes_per_second(64 * MIB));
    let backup = Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal).flow(flow);
    backup
        .run(|event| {
            if let Event::DiskProgress { done, total, rate, remaining, .. } = event {
                *last.lock().unwrap() = (done, total);
                timed.fetch_or(rate > 0 && remaining.is_some(), Ordering::Relaxed);
            }
        })
        .await
        .unwrap();
    assert_eq!(*last.lock().unwrap(), (48 * MIB, 48 * MIB));
    assert!(timed.into_inner(), "no rate was told");
}
