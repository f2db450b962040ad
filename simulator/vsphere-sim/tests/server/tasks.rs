//! Tasks as they are waited for, and machines that are busy.

use std::time::{Duration, Instant};

use futures::StreamExt;
use vim_api::mo::Managed as _;
use vim_api::types as t;
use vim_api::{Client, ErrorKind, Task, TaskStep, mo};
use vsphere_sim::{DiskSpec, Endpoint, FaultPlace, FaultRule, Sim, VmSpec};

use crate::{MIB, log_in, machine};

async fn slow() -> (Sim, Client) {
    let vm = VmSpec::new("vm-1").disk(DiskSpec::empty(MIB));
    let sim = Sim::builder().vm(vm).task_duration(Duration::from_millis(600)).start().await.unwrap();
    let client = log_in(&sim).await;
    (sim, client)
}

#[tokio::test]
async fn progress_is_a_stream() {
    let (sim, client) = slow().await;
    let task = machine(&client, &sim).create_snapshot_task("s", None, false, false).await.unwrap();
    let moref = task.moref().clone();
    let steps: Vec<_> = task.into_stream().map(Result::unwrap).collect().await;
    let (last, going) = steps.split_last().unwrap();
    let percents: Vec<i32> = going
        .iter()
        .map(|step| match step {
            TaskStep::Going(info) => info.progress.unwrap_or(0),
            TaskStep::Done(_) => panic!("nothing follows the end"),
        })
        .collect();
    assert!(!percents.is_empty() && percents.is_sorted(), "{percents:?}");
    let TaskStep::Done(snapshot) = last else { panic!("{last:?}") };
    assert_eq!(snapshot.type_name(), "VirtualMachineSnapshot");
    // Taken up again by its reference, it tells the same.
    let again = Task::<vim_api::MoRef<mo::VirtualMachineSnapshot>>::new(client, moref);
    assert_eq!(again.wait().await.unwrap(), *snapshot);
}

#[tokio::test]
async fn a_wait_survives_its_session_and_its_collector() {
    let (sim, client) = slow().await;
    let vm = machine(&client, &sim);
    let task = vm.create_snapshot_task("s", None, false, false).await.unwrap();
    let lose = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_millis(150)).await;
            sim.expire_sessions();
        }
    };
    let (done, ()) = tokio::join!(task.wait(), lose);
    done.unwrap();
    assert!(client.session_generation() >= 3, "{}", client.session_generation());
    assert_eq!(sim.vm("vm-1").unwrap().snapshot_count(), 1);
}

#[tokio::test]
async fn a_task_that_nobody_knows_is_no_failure_and_no_success() {
    let (_sim, client) = slow().await;
    let unknown = Task::<()>::new(client, vim_api::MoRef::new("task-999"));
    let lost = unknown.wait().await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::OutcomeUnknown, "{lost}");
    assert!(lost.to_string().contains("look at the object's state"), "{lost}");
}

#[tokio::test]
async fn a_busy_machine_is_waited_for_within_a_budget() {
    let (sim, client) = slow().await;
    let vm = machine(&client, &sim);
    let first = vm.create_snapshot_task("first", None, false, false).await.unwrap();
    let busy = vm.create_snapshot_task("second", None, false, false);
    let refused = async { busy.await?.wait().await }.await.unwrap_err();
    let fault = refused.find_fault::<t::TaskInProgress>().unwrap_or_else(|| panic!("{refused:?}"));
    assert_eq!(fault.task, *first.moref());
    let again = || async { vm.create_snapshot_task("second", None, false, false).await?.wait().await };
    client.when_free(Duration::from_secs(20), again).await.unwrap();
    assert_eq!(sim.vm("vm-1").unwrap().snapshot_count(), 2);

    // One that never gets free.
    sim.add_fault(FaultRule::call("CreateSnapshot_Task", "TaskInProgress")).unwrap();
    let began = Instant::now();
    let refused = client.when_free(Duration::from_millis(700), again).await.unwrap_err();
    assert!(refused.fault::<t::TaskInProgress>().is_some(), "{refused}");
    assert!(refused.to_string().contains("still not free"), "{refused}");
    assert!(began.elapsed() >= Duration::from_millis(700) && began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn only_so_many_tasks_are_remembered_and_none_that_runs() {
    let vm = VmSpec::new("vm-1").disk(DiskSpec::empty(MIB));
    let sim = Sim::builder().vm(vm).task_duration(Duration::from_millis(1)).start().await.unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    // This one takes as long as the clock stands.
    let rule = FaultRule::at(Endpoint::Sdk, "CreateSnapshot_Task", FaultPlace::Task);
    sim.add_fault(FaultRule { delay_ms: Some(3_600_000), ..rule }).unwrap();
    let slow = vm.create_snapshot_task("slow", None, false, false).await.unwrap();
    let browser: mo::Datastore = client.bind(&vim_api::MoRef::new("datastore-11"));
    let browser = client.bind(&browser.require(mo::Datastore::BROWSER).await.unwrap());
    for _ in 0..205 {
        browser.search_datastore_task("[datastore1]", None).await.unwrap().wait().await.unwrap();
    }
    let manager: mo::TaskManager = client.bind(client.content().task_manager.as_ref().unwrap());
    let recent = manager.require(mo::TaskManager::RECENT_TASK).await.unwrap();
    assert_eq!(recent.len(), 200);
    assert!(recent.contains(slow.moref()), "a task that goes on is not forgotten");
    assert_eq!(vm.require(mo::VirtualMachine::RECENT_TASK).await.unwrap(), [slow.moref().clone()]);
}

#[tokio::test]
async fn a_copy_that_is_called_back_leaves_nothing() {
    const SIZE: u64 = 128 * MIB;
    let vm = VmSpec::new("vm-1").disk(DiskSpec::empty(SIZE)).powered_off();
    let sim = Sim::builder().vm(vm).task_duration(Duration::from_millis(1)).start().await.unwrap();
    let fill = |disk: &mut sim_store::Disk| {
        for at in 0..SIZE / MIB {
            disk.write_at(at * MIB, &vec![7; MIB as usize]).unwrap();
        }
    };
    sim.vm("vm-1").unwrap().with_live_disk(2000, fill).unwrap();
    let client = log_in(&sim).await;
    let disks: mo::VirtualDiskManager = client.bind(client.content().virtual_disk_manager.as_ref().unwrap());
    let datacenter = vim_api::MoRef::new("datacenter-2");
    // A copy may be done before anybody has seen it at work: then another is begun.
    for attempt in 0..20 {
        let copy = format!("[datastore1] vm-1/copy-{attempt}.vmdk");
        let source = "[datastore1] vm-1/vm-1.vmdk";
        let copied =
            disks.copy_virtual_disk_task(source, Some(&datacenter), &copy, Some(&datacenter), None, None);
        let task = copied.await.unwrap();
        let bound: mo::Task = client.bind(task.moref());
        let at_work = loop {
            let info = bound.require(mo::Task::INFO).await.unwrap();
            if info.complete_time.is_some() {
                break false;
            }
            if info.progress.is_some_and(|percent| percent > 40) && info.cancelable {
                break true;
            }
        };
        if !at_work || bound.cancel_task().await.is_err() {
            continue;
        }
        let Err(canceled) = task.wait().await else { continue };
        assert!(canceled.find_fault::<t::RequestCanceled>().is_some(), "{canceled}");
        assert!(bound.require(mo::Task::INFO).await.unwrap().cancelled);
        let folder = sim.data_dir().join("datastores/datastore1/vm-1");
        let names: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(&format!("copy-{attempt}")))
            .collect();
        assert!(names.is_empty(), "{names:?}");
        return;
    }
    panic!("no copy was ever seen at work");
}
