use std::time::{Duration, Instant};

use vim_api::MoRef;
use vim_api::mo;
use vim_api::types as t;

use crate::{log_in, machine, start};

fn names(paths: &[&str]) -> t::PropertyFilterSpec {
    let walk = t::TraversalSpec {
        r#type: "Folder".to_owned(),
        path: "childEntity".to_owned(),
        ..Default::default()
    };
    t::PropertyFilterSpec {
        prop_set: vec![t::PropertySpec {
            r#type: "VirtualMachine".to_owned(),
            path_set: paths.iter().map(|path| (*path).to_owned()).collect(),
            ..Default::default()
        }],
        object_set: vec![t::ObjectSpec {
            obj: MoRef::<mo::Folder>::new("group-v3").cast(),
            select_set: vec![vim_api::dynamic::Poly::new(walk)],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn wait(seconds: i32) -> t::WaitOptions {
    t::WaitOptions { max_wait_seconds: Some(seconds), ..Default::default() }
}

fn objects(set: &t::UpdateSet) -> Vec<(t::ObjectUpdateKind, String)> {
    let updates = set.filter_set.iter().flat_map(|filter| &filter.object_set);
    updates.map(|update| (update.kind.clone(), update.obj.value().to_owned())).collect()
}

async fn note(vm: &mo::VirtualMachine, text: &str) {
    let spec = t::VirtualMachineConfigSpec { annotation: Some(text.to_owned()), ..Default::default() };
    vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn unacknowledged_updates_come_again() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let collector = client.property_collector();
    collector.create_filter(&names(&["config.annotation"]), false).await.unwrap();
    let first = collector.wait_for_updates_ex(None, Some(&wait(5))).await.unwrap().unwrap();
    assert_eq!(objects(&first).len(), 2);
    assert!(objects(&first).iter().all(|(kind, _)| *kind == t::ObjectUpdateKind::Enter));
    assert!(collector.wait_for_updates_ex(Some(&first.version), Some(&wait(0))).await.unwrap().is_none());

    note(&vm, "one").await;
    let second = collector.wait_for_updates_ex(Some(&first.version), Some(&wait(5))).await.unwrap().unwrap();
    assert_eq!(objects(&second), [(t::ObjectUpdateKind::Modify, "vm-101".to_owned())]);
    note(&vm, "two").await;
    // The answer got lost, says the client by its old version.
    let again = collector.wait_for_updates_ex(Some(&first.version), Some(&wait(5))).await.unwrap().unwrap();
    assert_eq!(again.version, second.version);
    assert_eq!(format!("{:?}", again.filter_set), format!("{:?}", second.filter_set));
    let third = collector.wait_for_updates_ex(Some(&again.version), Some(&wait(5))).await.unwrap().unwrap();
    assert_ne!(third.version, second.version);
    assert!(format!("{third:?}").contains("two"));

    for invented in [first.version.as_str(), "7000", "nonsense"] {
        let refused = collector.wait_for_updates_ex(Some(invented), Some(&wait(0))).await.unwrap_err();
        assert!(refused.fault::<t::InvalidCollectorVersion>().is_some(), "{invented}: {refused}");
    }
    // An empty version begins anew.
    let anew = collector.wait_for_updates_ex(Some(""), Some(&wait(0))).await.unwrap().unwrap();
    assert_eq!(objects(&anew).len(), 2);
}

#[tokio::test]
async fn large_updates_come_in_parts() {
    let sim = start(5).await;
    let client = log_in(&sim).await;
    let collector = client.property_collector();
    let filter = collector.create_filter(&names(&["name"]), false).await.unwrap();
    let options =
        t::WaitOptions { max_wait_seconds: Some(0), max_object_updates: Some(2), ..Default::default() };
    let (mut version, mut seen, mut parts) = (None::<String>, Vec::new(), Vec::new());
    while let Some(set) = collector.wait_for_updates_ex(version.as_deref(), Some(&options)).await.unwrap() {
        seen.extend(objects(&set).into_iter().map(|(_, id)| id));
        parts.push(set.truncated.unwrap_or(false));
        version = Some(set.version);
    }
    seen.sort();
    assert_eq!(seen, ["vm-101", "vm-102", "vm-103", "vm-104", "vm-105"]);
    assert_eq!(parts, [true, true, false]);
    client.bind(&filter).destroy_property_filter().await.unwrap();
    assert!(client.bind(&filter).destroy_property_filter().await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn waiting_ends_at_once_when_something_happens() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let collector = client.property_collector();
    collector.create_filter(&names(&["runtime.powerState"]), false).await.unwrap();
    let first = collector.wait_for_updates_ex(None, Some(&wait(5))).await.unwrap().unwrap();
    let began = Instant::now();
    let (update, ()) = tokio::join!(
        async {
            collector.wait_for_updates_ex(Some(&first.version), Some(&wait(30))).await.unwrap().unwrap()
        },
        async { vm.power_off_vm_task().await.unwrap().wait().await.unwrap() },
    );
    assert_eq!(objects(&update).len(), 1);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let began = Instant::now();
    assert!(collector.wait_for_updates_ex(Some(&update.version), Some(&wait(1))).await.unwrap().is_none());
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn waiting_can_be_canceled() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let collector = client.property_collector();
    collector.create_filter(&names(&["name"]), false).await.unwrap();
    let first = collector.wait_for_updates_ex(None, Some(&wait(5))).await.unwrap().unwrap();
    let (waited, ()) = tokio::join!(
        async { collector.wait_for_updates_ex(Some(&first.version), None).await.unwrap_err() },
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            collector.cancel_wait_for_updates().await.unwrap();
        },
    );
    assert!(waited.fault::<t::RequestCanceled>().is_some(), "{waited}");
    let (waited, ()) = tokio::join!(
        async { collector.wait_for_updates_ex(Some(&first.version), None).await.unwrap_err() },
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            client.logout().await.unwrap();
        },
    );
    assert!(waited.fault::<t::RequestCanceled>().is_some(), "{waited}");
}

#[tokio::test]
async fn what_leaves_the_view_is_told() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    let snapshot = vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let collector = client.property_collector();
    let spec = t::PropertyFilterSpec {
        prop_set: vec![t::PropertySpec {
            r#type: "VirtualMachineSnapshot".to_owned(),
            path_set: vec!["vm".to_owned()],
            ..Default::default()
        }],
        object_set: vec![t::ObjectSpec { obj: snapshot.cast(), ..Default::default() }],
        ..Default::default()
    };
    collector.create_filter(&spec, false).await.unwrap();
    let first = collector.wait_for_updates_ex(None, Some(&wait(5))).await.unwrap().unwrap();
    client.bind(&snapshot).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    let left = collector.wait_for_updates_ex(Some(&first.version), Some(&wait(5))).await.unwrap().unwrap();
    assert_eq!(objects(&left), [(t::ObjectUpdateKind::Leave, snapshot.value().to_owned())]);
}
