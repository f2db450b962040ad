//! Whole recoveries.

use vadp::capture::Verdict;
use vadp::privileges::{REATTACH, RECOVER, role};
use vadp::recover::{Identity, Provisioning};
use vadp::{ErrorKind, Verify};
use vim_api::mo::{Managed, VirtualMachine};
use vim_api::types as t;

use crate::harness::{MIB, VM, story};
use crate::likeness::differences;
use crate::scene::{COPY, Scene, bytes_of, config};

async fn download(scene: &Scene, path: &str) -> Vec<u8> {
    let files = scene.world.client.datastore_files("DC0");
    let mut download = files.download(&path.parse().unwrap()).await.unwrap();
    let mut all = Vec::new();
    while let Some(piece) = download.next().await.unwrap() {
        all.extend_from_slice(&piece);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_is_gone_is_there_again_as_it_was() {
    let scene = Scene::new().await;
    let refused = scene.recover().name("elsewhere").plan().await.err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::NotEligible, "{}", story(&refused));
    assert!(refused.to_string().contains("uuid"), "its twin is there yet: {refused}");
    scene.destroy_original().await;
    let plan = scene.recover().power_on(true).plan().await.unwrap();
    let planned = plan.planned().clone();
    let lost: Vec<&str> = planned.losses.iter().map(|loss| loss.subject.as_str()).collect();
    assert_eq!(lost, ["snapshots"], "{plan}");
    assert_eq!(planned.disks.len(), 4);
    let done = plan.run(|_| ()).await.unwrap();
    assert_eq!(done.warnings, Vec::<String>::new());
    let is = config(&done.vm).await;
    assert_eq!(differences(&scene.was, &is, &planned.losses), Vec::<String>::new());
    assert!(bytes_of(&scene.world, VM, &is) == scene.bytes, "the disks hold other bytes");
    for disk in &done.disks {
        assert_eq!(disk.verified, disk.capacity);
        assert!(disk.written > 0, "{disk:?}");
    }
    let sum = |of: fn(&vadp::recover::RecoveredDisk) -> u64| done.disks.iter().map(of).sum::<u64>();
    assert!(sum(|disk| disk.written) < sum(|disk| disk.capacity), "zeros were written: {:?}", done.disks);
    // On two datastores, as it was.
    let on = |datastore: &str| done.disks.iter().filter(|disk| disk.file.starts_with(datastore)).count();
    assert_eq!((on("[datastore1]"), on("[datastore2]")), (2, 2), "{:?}", done.disks);
    let vmx = is.files.vm_path_name.unwrap();
    assert_eq!(download(&scene, &vmx.replace(".vmx", ".nvram")).await, scene.nvram);
    // What was attached to it.
    let vm = done.vm.vm();
    let tags = scene.world.client.rest().tags().attached(&[vm.moref()]).await.unwrap();
    assert_eq!(tags[0].1.len(), 1);
    let values = vm.get(VirtualMachine::CUSTOM_VALUE).await.unwrap().unwrap();
    let value = values[0].downcast_ref::<t::CustomFieldStringValue>().unwrap();
    assert_eq!(value.value, "team shop");
    assert!(done.powered_on && scene.world.sim.vm(VM).unwrap().is_powered_on());
    assert!(scene.world.journal.entries().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_has_what_it_was_made_of_and_nothing_that_must_be_unique() {
    let scene = Scene::new().await;
    let taken = scene.recover().identity(Identity::Copy).plan().await.err().unwrap();
    assert_eq!(taken.kind(), ErrorKind::NotEligible);
    let keys = scene.world.keys();
    let plan = scene
        .copy()
        .folder("/DC0/vm/Folder0")
        .datastore("datastore2")
        .disk_datastore(keys[1], "datastore1")
        .provisioning(Provisioning::Thin)
        .network("VM Network", "VM Network 1")
        .disconnected()
        .verify(Verify::Sample { percent: 50 })
        .plan()
        .await;
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => panic!("{}", story(&error)),
    };
    let losses = plan.planned().losses.clone();
    let done = plan.run(|_| ()).await.unwrap();
    let is = config(&done.vm).await;
    let mut expected = losses.clone();
    // A device that goes elsewhere is looked at here.
    expected.iter_mut().for_each(|loss| loss.subject = loss.subject.replace(", start", ""));
    assert_eq!(differences(&scene.was, &is, &expected), Vec::<String>::new());
    assert!(bytes_of(&scene.world, COPY, &is) == scene.bytes);
    assert_ne!(is.uuid, scene.was.uuid);
    assert_ne!(is.instance_uuid, scene.was.instance_uuid);
    assert!(is.managed_by.is_none());
    let uuids = |config: &t::VirtualMachineConfigInfo| -> Vec<String> {
        let flat = |device: &vim_api::dynamic::Poly<t::VirtualDevice>| {
            let flat = device.backing.as_ref()?.downcast_ref::<t::VirtualDiskFlatVer2BackingInfo>()?.clone();
            assert_eq!(
                flat.thin_provisioned,
                Some(true).filter(|_| config.name == COPY).or(flat.thin_provisioned)
            );
            flat.uuid
        };
        config.hardware.device.iter().filter_map(flat).collect()
    };
    assert!(uuids(&is).iter().all(|uuid| !uuids(&scene.was).contains(uuid)));
    let card = |config: &t::VirtualMachineConfigInfo| {
        let mut cards = config.hardware.device.iter();
        cards.find_map(|device| device.downcast_ref::<t::VirtualEthernetCard>().cloned()).unwrap()
    };
    assert_ne!(card(&is).mac_address, card(&scene.was).mac_address);
    assert!(!card(&is).base.connectable.as_ref().unwrap().start_connected);
    let network = card(&is).base.backing.unwrap();
    let network = network.downcast_ref::<t::VirtualEthernetCardNetworkBackingInfo>().unwrap();
    assert_eq!(network.base.device_name, "VM Network 1");
    for disk in &done.disks {
        let wanted = if disk.saved_key == keys[1] { "[datastore1]" } else { "[datastore2]" };
        assert!(disk.file.starts_with(wanted), "{disk:?}");
        assert!(
            disk.verified < disk.capacity || disk.capacity <= 4 * MIB,
            "a sample is not everything: {disk:?}"
        );
    }
    assert!(!done.powered_on);
    assert!(losses.iter().any(|loss| loss.subject == "managedBy" && loss.verdict == Verdict::Lost));
    // The original is as it was.
    assert_eq!(differences(&scene.was, &config(&scene.world.vm).await, &[]), Vec::<String>::new());
    assert!(bytes_of(&scene.world, VM, &scene.was) == scene.bytes);
    assert!(scene.world.journal.entries().unwrap().is_empty());
}

/// The simulator refuses each call for which the user has no privilege, and the disk library does the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_privileges_that_we_name_suffice() {
    let password = secrecy::SecretString::from("a password");
    let privileges = role(&[RECOVER, REATTACH]);
    let user = "recovery@vsphere.local";
    let mut scene = Scene::built(|builder| {
        builder.add_role("recovery", &privileges).add_user(user, password.clone(), "recovery")
    })
    .await;
    scene.world.log_in_as(user, &password).await;
    let done = match scene.run(scene.copy()).await {
        Ok(done) => done,
        Err(error) => panic!("{}", story(&error)),
    };
    assert_eq!(done.warnings, Vec::<String>::new());
    assert!(bytes_of(&scene.world, COPY, &config(&done.vm).await) == scene.bytes);
    // What fails is removed with them as well.
    scene.world.fault(vsphere_sim::FaultRule::call("ReconfigVM_Task", "InvalidVmConfig").times(2, 1));
    let error = scene.run(scene.copy().name("another (copy)")).await.err().unwrap();
    assert!(!story(&error).contains("sweep"), "{}", story(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_named_with_what_takes_its_place() {
    let scene = Scene::new().await;
    let refused = async |recover: vadp::Recover<'_>| {
        let error = recover.plan().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::NotEligible, "{}", story(&error));
        error.to_string()
    };
    assert!(refused(scene.copy().folder("/DC0/vm/nowhere")).await.contains("`folder`"));
    assert!(refused(scene.copy().pool("/DC0/host/nowhere")).await.contains("`pool`"));
    assert!(refused(scene.copy().host("nohost")).await.contains("nohost"));
    assert!(refused(scene.copy().datastore("nostore")).await.contains("datastore1, datastore2"));
    assert!(refused(scene.copy().network("VM Network", "nonet")).await.contains("VM Network 1"));
    scene.assert_nothing_of_a_copy("a plan touches nothing");
}
