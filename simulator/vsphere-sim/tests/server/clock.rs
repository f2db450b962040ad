//! A clock that stands until it is moved.

use std::time::{Duration, SystemTime};

use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vsphere_sim::{Clock, DiskSpec, FaultPlace, FaultRule, Sim, VmSpec};

use crate::{MIB, log_in, machine};

/// 2030-01-01.
const START: Duration = Duration::from_secs(1_893_456_000);

async fn start(task: Duration) -> Sim {
    Sim::builder()
        .clock(Clock::Virtual { start: SystemTime::UNIX_EPOCH + START })
        .task_duration(task)
        .vm(VmSpec::new("vm-1").disk(DiskSpec::empty(MIB)))
        .start()
        .await
        .unwrap()
}

async fn state(task: &vim_api::Task<impl vim_api::TaskResult>) -> t::TaskInfoState {
    task.info().await.unwrap().state
}

#[tokio::test]
async fn it_stands_until_it_is_moved() {
    let sim = start(Duration::from_secs(600)).await;
    let client = log_in(&sim).await;
    let now = async || {
        client
            .bind(&vim_api::MoRef::<mo::ServiceInstance>::new("ServiceInstance"))
            .current_time()
            .await
            .unwrap()
    };
    assert_eq!(now().await.as_str(), "2030-01-01T00:00:00.000000Z");
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(now().await.as_str(), "2030-01-01T00:00:00.000000Z");
    sim.advance_clock(Duration::from_millis(1_500));
    assert_eq!(now().await.as_str(), "2030-01-01T00:00:01.500000Z");
}

#[tokio::test]
async fn tasks_and_sessions_go_by_it() {
    let sim = start(Duration::from_secs(600)).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let task = vm.create_snapshot_task("s", None, false, false).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(state(&task).await, t::TaskInfoState::Queued);
    sim.advance_clock(Duration::from_secs(121));
    let running = async {
        while state(&task).await != t::TaskInfoState::Running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), running).await.unwrap();
    assert_eq!(sim.vm("vm-1").unwrap().snapshot_count(), 0);
    // One move takes it through all its steps.
    sim.advance_clock(Duration::from_secs(480));
    tokio::time::timeout(Duration::from_secs(10), task.wait()).await.unwrap().unwrap();
    assert_eq!(sim.vm("vm-1").unwrap().snapshot_count(), 1);
    let tree = vm.require(mo::VirtualMachine::SNAPSHOT).await.unwrap();
    assert!(tree.root_snapshot_list[0].create_time.as_str().starts_with("2030-01-01T00:10:01"));

    // What was waited with is given back by requests that nobody waits for: only a session without any is idle.
    client.logout().await.unwrap();
    let _idle = log_in(&sim).await;
    sim.advance_clock(Duration::from_secs(29 * 60));
    assert_eq!(sim.session_count(), 1);
    sim.advance_clock(Duration::from_secs(2 * 60));
    assert_eq!(sim.session_count(), 0);
}

/// A delay of a task's rule goes by the server's clock as the task itself does.
#[tokio::test]
async fn a_task_is_delayed_by_it() {
    let sim = start(Duration::ZERO).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let slow = FaultRule { at: FaultPlace::Task, delay_ms: Some(3_600_000), ..FaultRule::default() };
    sim.add_fault(FaultRule { method: "CreateSnapshot_Task".to_owned(), ..slow }).unwrap();
    let task = vm.create_snapshot_task("s", None, false, false).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(state(&task).await, t::TaskInfoState::Queued);
    // The session would be idle for too long if it were moved at once.
    sim.advance_clock(Duration::from_secs(1_790));
    assert_eq!(state(&task).await, t::TaskInfoState::Queued);
    sim.advance_clock(Duration::from_secs(1_790));
    assert_eq!(state(&task).await, t::TaskInfoState::Queued);
    sim.advance_clock(Duration::from_secs(30));
    tokio::time::timeout(Duration::from_secs(10), task.wait()).await.unwrap().unwrap();
}
