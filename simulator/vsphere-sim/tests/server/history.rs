//! Tasks of the past, and tasks of extensions.

use vim_api::dynamic::{Poly, Value};
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef, Task};

use crate::{log_in, machine, start};

fn manager(client: &Client) -> mo::TaskManager {
    client.bind(client.content().task_manager.as_ref().unwrap())
}

async fn collector(client: &Client, filter: &t::TaskFilterSpec) -> mo::TaskHistoryCollector {
    client.bind(&manager(client).create_collector_for_tasks(filter).await.unwrap())
}

async fn names(client: &Client, filter: &t::TaskFilterSpec) -> Vec<String> {
    let found = collector(client, filter).await.read_next_tasks(100).await.unwrap();
    found.into_iter().map(|info| info.description_id).collect()
}

#[tokio::test]
async fn tasks_are_found_again() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap_err();
    let other: mo::VirtualMachine = client.bind(&sim.vm("vm-2").unwrap().moref());
    other.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();

    let all = t::TaskFilterSpec::default();
    assert_eq!(
        names(&client, &all).await,
        ["VirtualMachine.powerOff", "VirtualMachine.powerOff", "VirtualMachine.createSnapshot"]
    );
    let failed = t::TaskFilterSpec { state: vec![t::TaskInfoState::Error], ..Default::default() };
    let found = collector(&client, &failed).await.read_next_tasks(9).await.unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].error.as_ref().unwrap().fault.is::<t::InvalidPowerState>());
    let of_entity = |entity: MoRef<mo::ManagedEntity>, recursion| t::TaskFilterSpec {
        entity: Some(Box::new(t::TaskFilterSpecByEntity { entity, recursion, ..Default::default() })),
        ..Default::default()
    };
    use t::TaskFilterSpecRecursionOption as Recursion;
    let own = of_entity(other.moref().cast(), Recursion::Self_);
    assert_eq!(names(&client, &own).await, ["VirtualMachine.createSnapshot"]);
    let below = of_entity(MoRef::<mo::Datacenter>::new("datacenter-2").cast(), Recursion::Children);
    assert_eq!(names(&client, &below).await.len(), 3);
    let chain = t::TaskFilterSpec { event_chain_id: vec![found[0].event_chain_id], ..Default::default() };
    assert_eq!(names(&client, &chain).await, ["VirtualMachine.powerOff"]);
    let by_time = |time_type, end| t::TaskFilterSpec {
        time: Some(Box::new(t::TaskFilterSpecByTime {
            time_type,
            end_time: Some(end),
            ..Default::default()
        })),
        ..Default::default()
    };
    let completed = found[0].complete_time.clone().unwrap();
    let before = by_time(t::TaskFilterSpecTimeOption::CompletedTime, completed);
    assert_eq!(names(&client, &before).await.len(), 2);

    let collector = collector(&client, &all).await;
    collector.set_collector_page_size(1).await.unwrap();
    let page = collector.require(mo::TaskHistoryCollector::LATEST_PAGE).await.unwrap();
    assert_eq!(page.len(), 1);
    assert_eq!(page[0].state, t::TaskInfoState::Success);
    collector.reset_collector().await.unwrap();
    assert_eq!(collector.read_previous_tasks(9).await.unwrap().len(), 2);
    let wrong: mo::EventHistoryCollector = client.bind(&MoRef::new(collector.moref().value()));
    assert!(wrong.read_next_events(1).await.unwrap_err().fault::<t::ManagedObjectNotFound>().is_some());

    let known = manager(&client).require(mo::TaskManager::DESCRIPTION).await.unwrap();
    for info in collector.read_next_tasks(100).await.unwrap() {
        assert!(known.method_info.iter().any(|method| method.key == info.description_id), "{info:?}");
    }
    assert_eq!((known.state.len(), known.reason.len()), (4, 4));
}

#[tokio::test]
async fn an_extension_has_tasks_of_its_own() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm: MoRef = machine(&client, &sim).moref().cast();
    let create = || manager(&client).create_task(&vm, "com.example.backup", Some("backup"), true, None, None);
    let unknown = create().await.unwrap_err();
    assert!(unknown.fault::<t::InvalidArgument>().is_some(), "{unknown}");
    let extensions: mo::ExtensionManager = client.bind(client.content().extension_manager.as_ref().unwrap());
    extensions.register_extension(&crate::managers::extension("com.example")).await.unwrap();

    let info = create().await.unwrap();
    assert_eq!(info.state, t::TaskInfoState::Queued);
    assert_eq!(info.entity_name.as_deref(), Some("vm-1"));
    let task: mo::Task = client.bind(&info.task);
    let early = task.update_progress(10).await.unwrap_err();
    assert!(early.fault::<t::InvalidState>().is_some(), "{early}");
    task.set_task_state(&t::TaskInfoState::Running, None, None).await.unwrap();
    task.update_progress(40).await.unwrap();
    let beyond = task.update_progress(101).await.unwrap_err();
    assert!(beyond.fault::<t::OutOfBounds>().is_some(), "{beyond}");
    let text = t::LocalizableMessage { key: "copying".to_owned(), ..Default::default() };
    task.set_task_description(&text).await.unwrap();
    task.cancel_task().await.unwrap();
    let now = task.require(mo::Task::INFO).await.unwrap();
    assert_eq!((now.progress, now.cancelled), (Some(40), true));
    assert_eq!(now.description.unwrap().key, "copying");
    let waited = Task::<Value>::new(client.clone(), info.task.clone());
    let result = Value::String("done".to_owned());
    task.set_task_state(&t::TaskInfoState::Success, Some(&result), None).await.unwrap();
    waited.wait().await.unwrap();
    let late = task.set_task_state(&t::TaskInfoState::Running, None, None).await.unwrap_err();
    assert!(late.fault::<t::InvalidState>().is_some(), "{late}");

    // One that fails, under the first.
    let second = manager(&client)
        .create_task(&vm, "com.example.backup", None, false, Some(&info.key), Some("a"))
        .await
        .unwrap();
    assert_eq!(second.root_task_key.as_ref(), Some(&info.key));
    let second: mo::Task = client.bind(&second.task);
    let silent = second.set_task_state(&t::TaskInfoState::Error, None, None).await.unwrap_err();
    assert!(silent.fault::<t::InvalidArgument>().is_some(), "{silent}");
    let fault = t::LocalizedMethodFault {
        fault: Poly::new(t::SystemError::default()),
        localized_message: Some("no space".to_owned()),
        ..Default::default()
    };
    second.set_task_state(&t::TaskInfoState::Error, None, Some(&fault)).await.unwrap();
    let of_activation = t::TaskFilterSpec { activation_id: vec!["a".to_owned()], ..Default::default() };
    let found = collector(&client, &of_activation).await.read_next_tasks(9).await.unwrap();
    assert_eq!(found[0].error.as_ref().unwrap().localized_message.as_deref(), Some("no space"));

    // The server's own tasks are not for others to move.
    let own = machine(&client, &sim).create_snapshot_task("s", None, false, false).await.unwrap();
    let own: mo::Task = client.bind(own.moref());
    let refused = own.set_task_state(&t::TaskInfoState::Success, None, None).await.unwrap_err();
    assert!(refused.fault::<t::NotSupported>().is_some(), "{refused}");
}
