//! What a preflight sees before a backup meets it.

use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use vadp::privileges::{BACKUP, role};
use vadp::{Finding, Level, Preflight, PreflightReport, ProtectedVm, Quiesce, Topic, VmSelector};
use vsphere_sim::{DiskSpec, FaultRule, Mode, Sim, VmSpec};

use crate::harness::{MIB, VM, World, connect};

fn at(report: &PreflightReport, topic: Topic, level: Level) -> Vec<&Finding> {
    report.of_level(level).filter(|finding| finding.topic == topic).collect()
}

async fn look(world: &World) -> PreflightReport {
    Preflight::backup(&world.vm).repository(&world.repository).disk_port(None).run().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_can_be_backed_up() {
    let world = World::new(&[8 * MIB]).await;
    let report = look(&world).await;
    assert!(report.ok(), "{report}");
    assert_eq!(report.of_level(Level::Warning).count(), 0, "{report}");
    for topic in [
        Topic::Machine,
        Topic::Disks,
        Topic::Privileges,
        Topic::Tracking,
        Topic::Datastore,
        Topic::Repository,
    ] {
        assert_eq!(at(&report, topic, Level::Good).len(), 1, "{topic}: {report}");
    }
    world.full().await.unwrap();
    assert!(at(&look(&world).await, Topic::Repository, Level::Good)[0].text.contains("latest restore point"));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["findings"][0]["level"], "good");
    assert_eq!(json["machine"], VM);
}

/// What the report calls missing is what the backup fails without, and the role that the crate ships is enough.
#[tokio::test(flavor = "multi_thread")]
async fn each_missing_privilege_is_named() {
    let password = SecretString::from("a password");
    let full = role(&[BACKUP]);
    let mut builder = Sim::builder().vm(VmSpec::new(VM).disk(DiskSpec::empty(8 * MIB)));
    let less = |missing: &str| -> Vec<&str> { full.iter().filter(|id| **id != missing).copied().collect() };
    builder = builder.add_role("all", &full).add_user("all@vsphere.local", password.clone(), "all");
    for (n, missing) in full.iter().enumerate() {
        let name = format!("less{n}");
        builder = builder.add_role(&name, &less(missing));
        builder = builder.add_user(&format!("{name}@vsphere.local"), password.clone(), name.as_str());
    }
    let sim = builder.start().await.unwrap();
    let preflight = async |user: &str| {
        let client = connect(&sim.url(), sim.thumbprint_sha256(), user, &password).await;
        let vm = ProtectedVm::resolve(&client, &VmSelector::Name(VM.into())).await.unwrap();
        Preflight::backup(&vm).disk_port(None).run().await.unwrap()
    };
    let report = preflight("all@vsphere.local").await;
    assert_eq!(at(&report, Topic::Privileges, Level::Good).len(), 1, "{report}");
    for (n, missing) in full.iter().enumerate() {
        let report = preflight(&format!("less{n}@vsphere.local")).await;
        let level = if missing.ends_with("ChangeTracking") { Level::Warning } else { Level::Failure };
        let found = at(&report, Topic::Privileges, level);
        assert_eq!(found.len(), 1, "{missing}: {report}");
        assert!(
            found[0].text.contains(missing) && found[0].fix.as_ref().unwrap().contains(missing),
            "{report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_a_failure_with_a_fix() {
    let world = World::new(&[8 * MIB]).await;
    world.sim.set_datastore_capacity("datastore1", 1 << 20).unwrap();
    let report = look(&world).await;
    assert!(!report.ok());
    let found = at(&report, Topic::Datastore, Level::Failure);
    assert!(found[0].text.contains("too few") && found[0].fix.is_some(), "{report}");

    let report = Preflight::backup(&world.vm).disk_port(None).exclude([2999]).run().await.unwrap();
    assert!(at(&report, Topic::Disks, Level::Failure)[0].text.contains("2999"), "{report}");

    let report = Preflight::backup(&world.vm).disk_port(None).exclude(world.keys()).run().await.unwrap();
    assert!(at(&report, Topic::Disks, Level::Failure)[0].text.contains("all of its disks"), "{report}");

    world.power_off().await;
    world.vm.vm().mark_as_template().await.unwrap();
    let report = look(&world).await;
    assert!(at(&report, Topic::Machine, Level::Failure)[0].text.contains("template"), "{report}");
    assert!(report.to_string().contains("cannot be backed up like this"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_cannot_come_to_rest() {
    let world = World::new(&[8 * MIB]).await;
    world.vm.vm().suspend_vm_task().await.unwrap().wait().await.unwrap();
    for (wish, level) in [(Quiesce::Prefer, Level::Warning), (Quiesce::Require, Level::Failure)] {
        let report = Preflight::backup(&world.vm).quiesce(wish).disk_port(None).run().await.unwrap();
        assert!(at(&report, Topic::Quiescing, level)[0].text.contains("suspended"), "{report}");
    }
    assert!(at(&look(&world).await, Topic::Quiescing, Level::Good).is_empty(), "nobody asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_others_and_of_backups_are_told_apart() {
    let world = World::new(&[8 * MIB]).await;
    for name in ["before the update", "vadp-backup-dead-0"] {
        world.vm.vm().create_snapshot_task(name, None, false, false).await.unwrap().wait().await.unwrap();
    }
    let report = look(&world).await;
    let found = at(&report, Topic::Snapshots, Level::Warning);
    assert!(found.iter().any(|finding| finding.text.contains("vadp-backup-dead-0")), "{report}");
    assert!(found.iter().any(|finding| finding.text.contains("1 snapshots of others")), "{report}");
    assert!(report.ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_to_the_host_is_tried() {
    let sim = Sim::builder()
        .mode(Mode::HostAgent)
        .vm(VmSpec::new(VM).disk(DiskSpec::empty(8 * MIB)))
        .start()
        .await
        .unwrap();
    let client = connect(&sim.url(), sim.thumbprint_sha256(), sim.user(), sim.password()).await;
    let vm = ProtectedVm::resolve(&client, &VmSelector::Name(VM.into())).await.unwrap();
    let listener = TcpListener::bind((client.host(), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let look = async |port: u16| {
        Preflight::backup(&vm).disk_port(port).patience(Duration::from_secs(2)).run().await.unwrap()
    };
    let report = look(port).await;
    assert_eq!(at(&report, Topic::Host, Level::Good).len(), 1, "{report}");
    drop(listener);
    let report = look(port).await;
    let found = at(&report, Topic::Host, Level::Warning);
    assert!(found[0].text.contains(&format!("port {port}")) && found[0].text.contains("HotAdd"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_look_at_is_a_warning_and_not_nothing() {
    let world = World::new(&[8 * MIB]).await;
    world.fault(FaultRule::call("HasPrivilegeOnEntities", "RuntimeFault"));
    let report = look(&world).await;
    let found = at(&report, Topic::Privileges, Level::Warning);
    assert!(found[0].text.contains("could not be looked at"), "{report}");
    assert!(report.ok());
}
