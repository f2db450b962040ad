//! Machines and disks that a snapshot does not protect: refused with the reason and the way out, or left out on request.

use vadp::{Backup, ErrorKind, MachineMetadata, Obstacle};
use vim_api::dynamic::Poly;
use vim_api::mo::{Managed, VirtualMachine};
use vim_api::types::{
    VirtualDeviceConfigSpec, VirtualDeviceConfigSpecOperation, VirtualDisk, VirtualDiskFlatVer2BackingInfo,
    VirtualMachineConfigSpec, VirtualSCSIController, VirtualSCSISharing,
};

use crate::harness::{MIB, World, story};

/// Edits the machine's device of this type and key, which has to be off.
async fn edit<D: vim_api::dynamic::DataObject>(world: &World, key: i32, change: impl FnOnce(&mut D)) {
    let vm = world.vm.vm();
    let devices = vm.require(VirtualMachine::CONFIG).await.unwrap().hardware.device;
    let mut device = devices.into_iter().find(|device| device.key == key).unwrap();
    change(device.downcast_mut::<D>().unwrap());
    let edit = VirtualDeviceConfigSpec {
        operation: Some(VirtualDeviceConfigSpecOperation::Edit),
        device,
        ..Default::default()
    };
    let spec = VirtualMachineConfigSpec { device_change: vec![Poly::new(edit)], ..Default::default() };
    vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_disk_is_left_out_only_on_request() {
    let world = World::new(&[8 * MIB, 8 * MIB]).await;
    world.write(0, 0, MIB, 1);
    let independent = world.keys()[1];
    world.power_off().await;
    edit::<VirtualDisk>(&world, independent, |disk| {
        let backing = disk.base.backing.as_mut().unwrap();
        let flat = backing.downcast_mut::<VirtualDiskFlatVer2BackingInfo>().unwrap();
        flat.disk_mode = "independent_persistent".to_owned();
    })
    .await;

    let Err(error) = world.full().await else { panic!("a disk was left out in silence") };
    assert_eq!(error.kind(), ErrorKind::NotEligible, "{}", story(&error));
    let text = error.to_string();
    assert!(
        text.contains("Hard disk 2") && text.contains("independent") && text.contains("exclude"),
        "{text}"
    );
    world.assert_clean();

    let backup = Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal);
    let done = backup.exclude([independent]).run(|_| ()).await.unwrap();
    assert_eq!(done.disks.iter().map(|disk| disk.key).collect::<Vec<_>>(), [world.keys()[0]]);
    let stored = MachineMetadata::of(&done.point).unwrap();
    let left_out: Vec<_> = stored.excluded.iter().map(|disk| (disk.key, disk.obstacle.clone())).collect();
    assert_eq!(left_out, [(independent, Some(Obstacle::Independent))]);
    world.assert_clean();

    // And it is left alone by a restore.
    let before = world.digests();
    world.write(0, 0, 2 * MIB, 2);
    world.write(1, 0, MIB, 7);
    let other = world.digests()[1].clone();
    world.revert(&done.point).await.unwrap();
    assert_eq!(world.digests(), [before[0].clone(), other]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_bus_is_named() {
    let world = World::new(&[8 * MIB]).await;
    world.power_off().await;
    let config = world.vm.vm().require(VirtualMachine::CONFIG).await.unwrap();
    let controller = config.hardware.device.iter().find_map(|d| d.downcast_ref::<VirtualSCSIController>());
    edit::<VirtualSCSIController>(&world, controller.unwrap().key, |controller| {
        controller.shared_bus = VirtualSCSISharing::PhysicalSharing;
    })
    .await;
    let Err(error) = world.full().await else { panic!("a disk on a shared bus was backed up") };
    assert_eq!(error.kind(), ErrorKind::NotEligible);
    assert!(error.to_string().contains("share"), "{error}");
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_says_how_it_can_be_backed_up() {
    let world = World::new(&[8 * MIB]).await;
    world.power_off().await;
    world.vm.vm().mark_as_template().await.unwrap();
    let Err(error) = world.full().await else { panic!("a template was backed up") };
    assert_eq!(error.kind(), ErrorKind::NotEligible, "{}", story(&error));
    assert!(error.to_string().contains("template") && error.to_string().contains("convert"), "{error}");
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_no_disk_has_cannot_be_excluded() {
    let world = World::new(&[8 * MIB]).await;
    for keys in [vec![2999], world.keys()] {
        let backup = Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal);
        let Err(error) = backup.exclude(keys.clone()).run(|_| ()).await else { panic!("{keys:?} excluded") };
        assert_eq!(error.kind(), ErrorKind::NotEligible, "{error}");
    }
    assert_eq!(world.points().await, 0);
    world.assert_clean();
}
