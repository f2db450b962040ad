//! Storage policies and first-class disks, through services of their own.

use futures::TryStreamExt;
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, Error, ErrorKind, FirstClassDisks};
use vsphere_sim::{FaultRule, Mutation, Sim};

use crate::{MIB, connect, log_in, machine, start};

#[tokio::test]
async fn policies_are_read_and_found_by_name() {
    let sim = start(1).await;
    let gold = sim.add_storage_policy("Gold & <fast>", "for databases");
    let plain = sim.add_storage_policy("Plain", "");
    sim.give_storage_policy("vm-1", None, &plain).unwrap();
    sim.give_storage_policy("vm-1", Some(2000), &gold).unwrap();
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim).moref();
    let policies = client.storage_policies().await.unwrap();

    let mut names: Vec<_> = policies.list().await.unwrap().into_iter().map(|policy| policy.name).collect();
    names.sort();
    assert_eq!(names, ["Gold & <fast>", "Plain"]);
    let found = policies.find("Gold & <fast>").await.unwrap();
    assert_eq!((found.id.as_str(), found.description.as_str()), (gold.as_str(), "for databases"));
    assert_eq!(found.to_spec().profile_id, gold);
    let missing = policies.find("Silver").await.unwrap_err();
    assert!(missing.is_not_found() && missing.to_string().contains("\"Silver\""), "{missing}");

    let of_vm = policies.of_machine(&vm, &[2000, 2001]).await.unwrap();
    assert_eq!(of_vm.home.unwrap().id, plain);
    assert_eq!(of_vm.disks.keys().collect::<Vec<_>>(), [&2000], "2001 has none");
    assert_eq!(of_vm.disks[&2000].name, "Gold & <fast>");
    let gone = policies.of_machine(&vim_api::MoRef::new("vm-999"), &[]).await.unwrap_err();
    assert!(
        gone.find_fault::<t::PbmFaultNotFound>().is_some(),
        "a fault for one entity is no absence: {gone}"
    );
}

#[tokio::test]
async fn the_session_of_a_service_is_kept_apart() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let cookie = session_id(&client);
    let policies = client.storage_policies().await.unwrap();
    for _ in 0..3 {
        policies.list().await.unwrap();
    }
    client.first_class_disks().await.unwrap().list().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(session_id(&client), cookie, "its cookie has the name of ours, and is none");
    assert_eq!(sim.sessions_beside(), 2, "one at each service, not one for each call");
    assert_eq!(machine(&client, &sim).require(mo::VirtualMachine::NAME).await.unwrap(), "vm-1");
}

fn session_id(client: &Client) -> String {
    secrecy::ExposeSecret::expose_secret(&client.session_cookie().unwrap()).to_owned()
}

#[tokio::test]
async fn a_lost_session_is_renewed_for_the_services_too() {
    let sim = start(1).await;
    sim.add_storage_policy("Gold", "");
    let client = log_in(&sim).await;
    let policies = client.storage_policies().await.unwrap();
    policies.list().await.unwrap();
    assert_eq!(sim.expire_sessions(), 1);
    assert_eq!(policies.list().await.unwrap().len(), 1);
    assert_eq!(client.session_generation(), 2);
    assert_eq!(sim.sessions_beside(), 2, "the new session has one of its own there");
    // One that is not logged in is told so, and nothing else.
    let stranger = connect(&sim).await.storage_policies().await.unwrap();
    let refused = stranger.list().await.unwrap_err();
    assert!(refused.fault::<t::NotAuthenticated>().is_some() && refused.is_session_lost(), "{refused}");
}

#[tokio::test]
async fn a_session_that_only_the_service_lost_costs_none_of_ours() {
    let sim = start(1).await;
    sim.add_storage_policy("Gold", "");
    let client = log_in(&sim).await;
    let policies = client.storage_policies().await.unwrap();
    sim.end_sessions_beside();
    assert_eq!(policies.list().await.unwrap().len(), 1);
    assert_eq!((client.session_generation(), sim.session_count(), sim.sessions_beside()), (1, 1, 2));
}

async fn disks(sim: &Sim) -> (Client, FirstClassDisks) {
    let client = log_in(sim).await;
    let disks = client.first_class_disks().await.unwrap();
    (client, disks)
}

#[tokio::test]
async fn all_disks_are_listed_page_by_page() {
    let sim = Sim::builder().property_page(3).start().await.unwrap();
    let mut ids: Vec<_> =
        (0..8).map(|at| sim.add_first_class_disk(&format!("pvc-{at}"), 4 * MIB).unwrap()).collect();
    ids.sort();
    let (_client, disks) = disks(&sim).await;
    let found: Vec<_> = disks.list().try_collect().await.unwrap();
    assert_eq!(found.iter().map(|disk| disk.id.id.clone()).collect::<Vec<_>>(), ids);
    let one = disks.get(&ids[5]).await.unwrap();
    assert_eq!((one.config.capacity_in_mb, one.config.changed_block_tracking_enabled), (4, Some(false)));
    let backing = one.config.backing.downcast_ref::<t::BaseConfigInfoDiskFileBackingInfo>();
    assert!(
        backing.unwrap().file_path.ends_with(&format!("{}.vmdk", ids[5])),
        "a subtype of the API's own namespace"
    );
    let missing = disks.get("nothing").await.unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
}

async fn snapshot(disks: &FirstClassDisks, id: &str) -> String {
    let id = t::ID { id: id.to_owned(), ..t::ID::default() };
    let task = disks.manager().vslm_create_snapshot_task(&id, "for the backup").await.unwrap();
    task.wait().await.unwrap().id
}

#[tokio::test]
async fn what_changed_on_a_disk_between_snapshots_is_told_completely() {
    let sim = start(0).await;
    let id = sim.add_first_class_disk("pvc", 512 * MIB).unwrap();
    let (_client, disks) = disks(&sim).await;
    let untracked = snapshot(&disks, &id).await;
    assert_eq!(disks.change_id(&id, &untracked).await.unwrap(), None);
    disks.track_changes(&id).await.unwrap();
    let first = snapshot(&disks, &id).await;
    let since = disks.change_id(&id, &first).await.unwrap().unwrap();
    let written: Vec<u64> = (0..2500).map(|number| number * 131_072).collect();
    sim.with_first_class_disk(&id, |disk| written.iter().for_each(|at| disk.write_at(*at, b"x").unwrap()))
        .unwrap();
    let second = snapshot(&disks, &id).await;
    let snapshots = disks.snapshots(&id).await.unwrap();
    assert_eq!(snapshots.len(), 3);
    assert!(snapshots.iter().all(|snapshot| snapshot.description == "for the backup"));

    let windows: Vec<_> = disks.changed_areas(&id, &second, &since, 512 * MIB).try_collect().await.unwrap();
    assert_eq!(windows.len(), 2, "more areas than one answer holds");
    let starts: Vec<u64> = windows
        .iter()
        .flat_map(|window| &window.changed_area)
        .map(|area| u64::try_from(area.start).unwrap())
        .collect();
    assert_eq!(starts, written);
    assert_eq!(windows.iter().map(|window| window.length).sum::<i64>(), 512 << 20);
}

#[tokio::test]
async fn windows_that_do_not_lead_on_are_no_end() {
    let sim = start(0).await;
    let id = sim.add_first_class_disk("pvc", 64 * MIB).unwrap();
    let (_client, disks) = disks(&sim).await;
    disks.track_changes(&id).await.unwrap();
    let first = snapshot(&disks, &id).await;
    let since = disks.change_id(&id, &first).await.unwrap().unwrap();
    let second = snapshot(&disks, &id).await;
    let ask = async || -> Result<Vec<_>, Error> {
        disks.changed_areas(&id, &second, &since, 64 * MIB).try_collect().await
    };
    assert_eq!(ask().await.unwrap().len(), 1);
    for mutation in [Mutation::Stall, Mutation::Gap] {
        sim.add_fault(FaultRule::changed_areas(mutation)).unwrap();
        let error = ask().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{mutation:?}: {error}");
        assert!(error.to_string().contains(&id), "{error}");
        sim.clear_faults().unwrap();
    }
    // Of another disk: a fault, after which all has to be read.
    let other = sim.add_first_class_disk("other", 64 * MIB).unwrap();
    disks.track_changes(&other).await.unwrap();
    let theirs = snapshot(&disks, &other).await;
    let foreign = disks.change_id(&other, &theirs).await.unwrap().unwrap();
    let error =
        disks.changed_areas(&id, &second, &foreign, 64 * MIB).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fault, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_fails_says_why_and_one_that_is_gone_is_no_success() {
    let sim = start(0).await;
    let id = sim.add_first_class_disk("pvc", 4 * MIB).unwrap();
    let (client, disks) = disks(&sim).await;
    let wanted = t::ID { id: id.clone(), ..t::ID::default() };
    // Held open for writing, it cannot be frozen.
    let task = sim.with_first_class_disk(&id, |_| {
        tokio::task::block_in_place(|| {
            let call = disks.manager().vslm_create_snapshot_task(&wanted, "");
            tokio::runtime::Handle::current().block_on(call.into_future())
        })
    });
    let failed = task.unwrap().unwrap().wait().await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Fault, "{failed}");
    let unknown = vim_api::DiskTask::<()>::new(&client, &vim_api::MoRef::new("vslmtask-gone"));
    let lost = unknown.wait().await.unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::OutcomeUnknown, "{lost}");
}
