//! Events as they are posted, queried and collected.

use std::time::Duration;

use secrecy::SecretString;
use vim_api::dynamic::Poly;
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};
use vsphere_sim::Sim;

use crate::{connect, log_in, machine, start};

fn manager(client: &Client) -> mo::EventManager {
    client.bind(client.content().event_manager.as_ref().unwrap())
}

fn of_types(ids: &[&str]) -> t::EventFilterSpec {
    t::EventFilterSpec {
        event_type_id: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    }
}

fn of_entity<T>(entity: &MoRef<T>, recursion: t::EventFilterSpecRecursionOption) -> t::EventFilterSpec {
    let by = t::EventFilterSpecByEntity { entity: entity.cast(), recursion, ..Default::default() };
    t::EventFilterSpec { entity: Some(Box::new(by)), ..Default::default() }
}

async fn query(client: &Client, filter: &t::EventFilterSpec) -> Vec<Poly<t::Event>> {
    manager(client).query_events(filter, None).await.unwrap()
}

async fn types(client: &Client, filter: &t::EventFilterSpec) -> Vec<String> {
    query(client, filter).await.iter().map(|event| event.type_name().to_owned()).collect()
}

async fn log(client: &Client, entity: &MoRef<mo::ManagedEntity>, count: usize) {
    for number in 1..=count {
        manager(client).log_user_event(entity, &format!("note {number}")).await.unwrap();
    }
}

fn notes(events: &[Poly<t::Event>]) -> Vec<usize> {
    let note = |event: &Poly<t::Event>| {
        let text = &event.downcast_ref::<t::GeneralUserEvent>()?.message;
        text.strip_prefix("note ")?.parse().ok()
    };
    events.iter().filter_map(note).collect()
}

#[tokio::test]
async fn what_happens_to_a_machine_is_an_event() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
    let spec = t::VirtualMachineConfigSpec { name: Some("new".to_owned()), ..Default::default() };
    vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();

    let own = of_entity(&vm.moref(), t::EventFilterSpecRecursionOption::Self_);
    let found = query(&client, &own).await;
    let names: Vec<&str> = found.iter().map(|event| event.type_name()).collect();
    let expected = [
        "TaskEvent",
        "TaskEvent",
        "VmPoweredOffEvent",
        "TaskEvent",
        "VmPoweredOnEvent",
        "TaskEvent",
        "VmRenamedEvent",
        "VmReconfiguredEvent",
    ];
    assert_eq!(names, expected);
    assert!(found.is_sorted_by(|a, b| a.key < b.key));
    let task = found[0].downcast_ref::<t::TaskEvent>().unwrap();
    assert_eq!(task.info.description_id, "VirtualMachine.createSnapshot");
    assert_eq!(task.info.event_chain_id, task.chain_id);
    assert_eq!(task.full_formatted_message.as_deref(), Some("Task: Create virtual machine snapshot"));
    let off = &found[2];
    assert_eq!(off.chain_id, found[1].chain_id, "it is a consequence of its task");
    assert_eq!(off.user_name, sim.user());
    assert_eq!(off.vm.as_ref().unwrap().vm, vm.moref());
    assert_eq!(off.host.as_ref().unwrap().host.value(), "host-21");
    assert_eq!(off.compute_resource.as_ref().unwrap().compute_resource.value(), "domain-c8");
    assert_eq!(off.datacenter.as_ref().unwrap().name, "DC0");
    let renamed = found[6].downcast_ref::<t::VmRenamedEvent>().unwrap();
    assert_eq!((renamed.old_name.as_str(), renamed.new_name.as_str()), ("vm-1", "new"));

    let chain = t::EventFilterSpec { event_chain_id: Some(off.chain_id), ..Default::default() };
    assert_eq!(types(&client, &chain).await, ["TaskEvent", "VmPoweredOffEvent"]);
    let latest = manager(&client).require(mo::EventManager::LATEST_EVENT).await.unwrap();
    assert_eq!(latest.key, found[7].key);
    let known = manager(&client).require(mo::EventManager::DESCRIPTION).await.unwrap();
    for event in &found {
        assert!(known.event_info.iter().any(|detail| detail.key == event.type_name()), "{event:?}");
    }
}

#[tokio::test]
async fn filters_choose() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let other: mo::VirtualMachine = client.bind(&sim.vm("vm-2").unwrap().moref());
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    other.power_off_vm_task().await.unwrap().wait().await.unwrap();
    log(&client, &vm.moref().cast(), 3).await;

    use t::EventFilterSpecRecursionOption as Recursion;
    assert_eq!(types(&client, &of_types(&["vim.event.VmPoweredOffEvent"])).await.len(), 2);
    // Types that others extend, by either way of naming them.
    assert_eq!(types(&client, &of_types(&["vim.event.VmEvent"])).await.len(), 2);
    let of_type = t::EventFilterSpec { r#type: vec!["GeneralEvent".to_owned()], ..Default::default() };
    assert_eq!(types(&client, &of_type).await, ["GeneralUserEvent"; 3]);
    assert!(types(&client, &of_types(&["no.such"])).await.is_empty());
    let category = t::EventFilterSpec { category: vec!["user".to_owned()], ..Default::default() };
    assert_eq!(types(&client, &category).await, ["GeneralUserEvent"; 3]);

    let folder = MoRef::<mo::Folder>::new("group-v3");
    let host = MoRef::<mo::HostSystem>::new("host-21");
    let root = &client.content().root_folder;
    assert_eq!(query(&client, &of_entity(&vm.moref(), Recursion::Self_)).await.len(), 5);
    assert!(query(&client, &of_entity(&vm.moref(), Recursion::Children)).await.is_empty());
    assert!(query(&client, &of_entity(&folder, Recursion::Self_)).await.is_empty());
    assert_eq!(query(&client, &of_entity(&folder, Recursion::Children)).await.len(), 7);
    assert_eq!(query(&client, &of_entity(&host, Recursion::All)).await.len(), 7);
    // The login is the root's.
    assert_eq!(types(&client, &of_entity(root, Recursion::Self_)).await, ["UserLoginSessionEvent"]);
    assert_eq!(query(&client, &of_entity(root, Recursion::All)).await.len(), 8);

    let most = t::EventFilterSpec { max_count: Some(2), ..category.clone() };
    assert_eq!(notes(&query(&client, &most).await), [2, 3]);
    let plain = t::EventFilterSpec { disable_full_message: Some(true), ..category.clone() };
    assert!(query(&client, &plain).await.iter().all(|event| event.full_formatted_message.is_none()));
    let by = |system_user, users: &[&str]| t::EventFilterSpec {
        user_name: Some(Box::new(t::EventFilterSpecByUsername {
            system_user,
            user_list: users.iter().map(|user| (*user).to_owned()).collect(),
            ..Default::default()
        })),
        ..Default::default()
    };
    assert_eq!(query(&client, &by(false, &[sim.user()])).await.len(), 8);
    assert!(query(&client, &by(false, &["another"])).await.is_empty());
    assert!(query(&client, &by(true, &[])).await.is_empty());

    let service: mo::ServiceInstance = client.bind(&MoRef::new("ServiceInstance"));
    sim.advance_clock(Duration::from_secs(60));
    let now = service.current_time().await.unwrap();
    log(&client, &vm.moref().cast(), 1).await;
    let time = |begin: bool| t::EventFilterSpecByTime {
        begin_time: begin.then(|| now.clone()),
        end_time: (!begin).then(|| now.clone()),
        ..Default::default()
    };
    let since = t::EventFilterSpec { time: Some(Box::new(time(true))), ..Default::default() };
    assert_eq!(query(&client, &since).await.len(), 1);
    let until = t::EventFilterSpec { time: Some(Box::new(time(false))), ..Default::default() };
    assert_eq!(query(&client, &until).await.len(), 8);

    let gone = of_entity(&MoRef::<mo::VirtualMachine>::new("vm-4711"), Recursion::All);
    let refused = manager(&client).query_events(&gone, None).await.unwrap_err();
    assert!(refused.fault::<t::ManagedObjectNotFound>().is_some(), "{refused}");
    let refused =
        manager(&client).query_events(&t::EventFilterSpec { max_count: Some(0), ..gone }, None).await;
    assert!(refused.unwrap_err().fault::<t::InvalidArgument>().is_some());
}

#[tokio::test]
async fn a_collector_is_read_both_ways() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm: MoRef<mo::ManagedEntity> = machine(&client, &sim).moref().cast();
    log(&client, &vm, 7).await;
    let filter = of_types(&["vim.event.GeneralUserEvent"]);
    let collector = manager(&client).create_collector_for_events(&filter).await.unwrap();
    let collector: mo::EventHistoryCollector = client.bind(&collector);
    collector.set_collector_page_size(3).await.unwrap();
    let page = collector.require(mo::EventHistoryCollector::LATEST_PAGE).await.unwrap();
    assert_eq!(notes(&page), [7, 6, 5]);
    // From the beginning to now, and what comes later.
    assert_eq!(notes(&collector.read_next_events(4).await.unwrap()), [1, 2, 3, 4]);
    assert_eq!(notes(&collector.read_next_events(4).await.unwrap()), [5, 6, 7]);
    assert!(collector.read_next_events(4).await.unwrap().is_empty());
    assert_eq!(notes(&collector.read_previous_events(2).await.unwrap()), [7, 6]);
    assert_eq!(notes(&collector.read_next_events(9).await.unwrap()), [6, 7]);
    log(&client, &vm, 1).await;
    assert_eq!(notes(&collector.read_next_events(9).await.unwrap()), [1]);
    collector.rewind_collector().await.unwrap();
    assert!(collector.read_previous_events(9).await.unwrap().is_empty());
    assert_eq!(notes(&collector.read_next_events(1).await.unwrap()), [1]);
    // To what comes before the latest page, which holds three.
    collector.reset_collector().await.unwrap();
    assert_eq!(notes(&collector.read_previous_events(9).await.unwrap()), [5, 4, 3, 2, 1]);
    for wrong in [0, -1, 1001] {
        let refused = collector.read_next_events(wrong).await.unwrap_err();
        assert!(refused.fault::<t::InvalidArgument>().is_some(), "{refused}");
    }
    let own = collector.require(mo::EventHistoryCollector::FILTER).await.unwrap();
    let own = own.as_object().unwrap().downcast_ref::<t::EventFilterSpec>().unwrap();
    assert_eq!(own.event_type_id, filter.event_type_id);

    // It is its session's, and goes with it or before.
    let stranger = log_in(&sim).await;
    let seen: mo::EventHistoryCollector = stranger.bind(&collector.moref());
    assert!(seen.read_next_events(1).await.unwrap_err().fault::<t::ManagedObjectNotFound>().is_some());
    collector.destroy_collector().await.unwrap();
    let gone = collector.read_next_events(1).await.unwrap_err();
    assert!(gone.fault::<t::ManagedObjectNotFound>().is_some(), "{gone}");
}

#[tokio::test]
async fn a_session_has_32_collectors_at_most() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let most = manager(&client).require(mo::EventManager::MAX_COLLECTOR).await.unwrap();
    let filter = t::EventFilterSpec::default();
    for _ in 0..most {
        manager(&client).create_collector_for_events(&filter).await.unwrap();
    }
    let refused = manager(&client).create_collector_for_events(&filter).await.unwrap_err();
    assert!(refused.fault::<t::InvalidState>().is_some(), "{refused}");
    // With the session they are gone.
    client.logout().await.unwrap();
    client.login(sim.user(), sim.password()).await.unwrap();
    manager(&client).create_collector_for_events(&filter).await.unwrap();
}

#[tokio::test]
async fn an_event_wakes_who_waits_for_the_page() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let collector = manager(&client)
        .create_collector_for_events(&of_types(&["vim.event.GeneralUserEvent"]))
        .await
        .unwrap();
    let properties: mo::PropertyCollector = client.bind(&client.content().property_collector);
    let set = t::PropertySpec {
        r#type: "EventHistoryCollector".to_owned(),
        path_set: vec!["latestPage".to_owned()],
        ..Default::default()
    };
    let start = t::ObjectSpec { obj: collector.cast(), ..Default::default() };
    let spec = t::PropertyFilterSpec { prop_set: vec![set], object_set: vec![start], ..Default::default() };
    properties.create_filter(&spec, false).await.unwrap();
    let first = properties.wait_for_updates_ex(None, None).await.unwrap().unwrap();
    let wait = properties.wait_for_updates_ex(Some(&first.version), None);
    let vm = machine(&client, &sim).moref().cast();
    let post = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        log(&client, &vm, 1).await;
    };
    let (update, ()) = tokio::join!(async { wait.await }, post);
    let update = update.unwrap().unwrap();
    assert_eq!(update.filter_set[0].object_set[0].change_set[0].name, "latestPage");
}

#[tokio::test]
async fn logins_logouts_and_their_failures_are_events() {
    let sim = start(1).await;
    let wrong = connect(&sim).await;
    wrong.login("somebody", &SecretString::from("wrong")).await.unwrap_err();
    let second = log_in(&sim).await;
    let key = second.current_session().await.unwrap().key;
    second.logout().await.unwrap();
    let client = log_in(&sim).await;
    let third = log_in(&sim).await;
    let sessions: mo::SessionManager = client.bind(client.content().session_manager.as_ref().unwrap());
    let doomed = third.current_session().await.unwrap().key;
    sessions.terminate_session(std::slice::from_ref(&doomed)).await.unwrap();
    let found = query(&client, &of_types(&["vim.event.SessionEvent"])).await;
    let names: Vec<&str> = found.iter().map(|event| event.type_name()).collect();
    let expected = [
        "BadUsernameSessionEvent",
        "UserLoginSessionEvent",
        "UserLogoutSessionEvent",
        "UserLoginSessionEvent",
        "UserLoginSessionEvent",
        "SessionTerminatedEvent",
        "UserLogoutSessionEvent",
    ];
    assert_eq!(names, expected);
    assert_eq!(found[0].full_formatted_message.as_deref(), Some("Cannot login somebody@127.0.0.1"));
    let logout = found[2].downcast_ref::<t::UserLogoutSessionEvent>().unwrap();
    assert_eq!(logout.session_id.as_ref(), Some(&key));
    assert!(logout.call_count.unwrap() >= 2 && logout.login_time.is_some(), "{logout:?}");
    assert_eq!(found[5].downcast_ref::<t::SessionTerminatedEvent>().unwrap().session_id, doomed);
    let errors = t::EventFilterSpec { category: vec!["error".to_owned()], ..Default::default() };
    assert_eq!(types(&client, &errors).await, ["BadUsernameSessionEvent"]);
}

#[tokio::test]
async fn a_clients_own_events_are_posted() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim).moref();
    let argument = t::VmEventArgument { vm: vm.clone(), ..Default::default() };
    let event = t::EventEx {
        base: t::Event { vm: Some(Box::new(argument)), ..Default::default() },
        event_type_id: "com.example.backup.done".to_owned(),
        severity: Some("warning".to_owned()),
        message: Some("with gaps".to_owned()),
        ..Default::default()
    };
    manager(&client).post_event(&Poly::new(event), None).await.unwrap();
    let found = query(&client, &of_types(&["com.example.backup.done"])).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].full_formatted_message.as_deref(), Some("with gaps"));
    assert_eq!(
        (found[0].user_name.as_str(), found[0].vm.as_ref().unwrap().name.as_str()),
        (sim.user(), "vm-1")
    );
    let warnings = t::EventFilterSpec { category: vec!["warning".to_owned()], ..Default::default() };
    assert_eq!(types(&client, &warnings).await, ["EventEx"]);
    let refused = manager(&client).post_event(&Poly::new(t::GeneralEvent::default()), None).await;
    refused.unwrap();
    let arguments =
        manager(&client).retrieve_argument_description("vim.event.VmPoweredOnEvent").await.unwrap();
    assert!(arguments.iter().any(|argument| argument.name == "vm" && argument.r#type == "VirtualMachine"));
    let unknown = manager(&client).retrieve_argument_description("no.such").await.unwrap_err();
    assert!(unknown.fault::<t::InvalidArgument>().is_some(), "{unknown}");
}

#[tokio::test]
async fn what_is_not_seen_is_not_told() {
    let password = SecretString::from("p");
    let sim = Sim::builder()
        .vm(vsphere_sim::VmSpec::new("vm-1"))
        .vm(vsphere_sim::VmSpec::new("vm-2"))
        .add_user("one@vsphere.local", password.clone(), "ReadOnly")
        .start()
        .await
        .unwrap();
    let admin = log_in(&sim).await;
    let two = sim.vm("vm-2").unwrap().moref();
    for vm in [sim.vm("vm-1").unwrap().moref(), two.clone()] {
        log(&admin, &vm.cast(), 1).await;
    }
    let authorization: mo::AuthorizationManager =
        admin.bind(admin.content().authorization_manager.as_ref().unwrap());
    let none = t::Permission { principal: "one@vsphere.local".to_owned(), role_id: -5, ..Default::default() };
    authorization.set_entity_permissions(&two.cast(), &[none]).await.unwrap();
    let client = connect(&sim).await;
    client.login("one@vsphere.local", &password).await.unwrap();
    let found = query(&client, &of_types(&["vim.event.GeneralUserEvent"])).await;
    assert_eq!(
        found.iter().map(|event| event.vm.as_ref().unwrap().name.as_str()).collect::<Vec<_>>(),
        ["vm-1"]
    );
}
