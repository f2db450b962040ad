//! First-class disks that machines have.

use vim_api::mo::{self, Managed};
use vim_api::types as t;

use super::{assert_fault, clone_spec, path_of, texts, world};
use crate::machine;

#[tokio::test]
async fn a_machine_has_a_disk_as_a_device_of_its_own() {
    let world = world().await;
    let disk = world.make("disk", 16).await;
    world.write(&disk, 0, b"before");
    world.attach("vm-1", &disk).await.unwrap();
    let held = world.attached("vm-1").await;
    let (key, (held_id, file)) = held.first_key_value().unwrap();
    assert_eq!((held_id, file), (&disk.id, &path_of(&world.get(&disk).await)));
    let uuid = {
        let vm: mo::VirtualMachine = world.client.bind(&world.sim.vm("vm-1").unwrap().moref());
        vm.require(mo::VirtualMachine::CONFIG).await.unwrap().instance_uuid.unwrap()
    };
    let consumers = world.get(&disk).await.config.consumer_id;
    assert_eq!(texts(&consumers), [uuid.as_str()]);
    let asked =
        t::RetrieveVStorageObjSpec { id: disk.clone(), datastore: world.store.clone(), ..Default::default() };
    let told = world.manager.retrieve_v_storage_object_associations(&[asked]).await.unwrap();
    let association = &told[0].vm_disk_associations[0];
    assert_eq!(
        (association.vm_id.as_str(), association.disk_key),
        (world.sim.vm("vm-1").unwrap().moref().value(), *key)
    );
    // One machine at a time, and not deleted meanwhile, nor reverted.
    assert_fault::<t::InvalidState>(&world.attach("vm-2", &disk).await.unwrap_err());
    assert_fault::<t::InvalidState>(&world.attach("vm-1", &disk).await.unwrap_err());
    assert_fault::<t::InvalidState>(&world.delete(&disk).await.unwrap_err());
    assert_fault::<t::NotFound>(&world.detach("vm-2", &disk).await.unwrap_err());

    // The machine's snapshot freezes the disk, and keeps it from being taken away.
    let vm = machine(&world.client, &world.sim);
    let taken = vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let child = world.attached("vm-1").await[key].1.clone();
    assert_ne!(&child, file);
    assert_eq!(path_of(&world.get(&disk).await), child, "the disk goes on with the machine");
    world.write(&disk, 0, b"after!");
    assert_fault::<t::InvalidState>(&world.detach("vm-1", &disk).await.unwrap_err());
    // A snapshot of the disk over that of the machine, and either may go first.
    let own = world.snapshot(&disk).await;
    assert_ne!(world.attached("vm-1").await[key].1, child);
    world.write(&disk, 0, b"latest");
    world.client.bind(&taken).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    assert_eq!(&world.content(&disk, Some(&own))[..6], b"after!");
    assert_eq!(&world.content(&disk, None)[..6], b"latest");
    world.delete_snapshot(&disk, &own).await;
    assert_eq!(&world.attached("vm-1").await[key].1, file, "all is merged into the first link");
    assert_eq!(vm.require(mo::VirtualMachine::RUNTIME).await.unwrap().consolidation_needed, Some(false));
    world.detach("vm-1", &disk).await.unwrap();
    assert!(world.attached("vm-1").await.is_empty());
    assert_eq!(&world.content(&disk, None)[..6], b"latest");
    assert!(world.get(&disk).await.config.consumer_id.is_empty());
    assert_eq!(world.files("datastore1").len(), 2, "{:?}", world.files("datastore1"));
}

#[tokio::test]
async fn a_running_machine_locks_its_disks_files() {
    let world = world().await;
    let disk = world.make("disk", 16).await;
    let vm = machine(&world.client, &world.sim);
    vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
    world.attach("vm-1", &disk).await.unwrap();
    let file = path_of(&world.get(&disk).await);
    let files: mo::FileManager = world.client.bind(world.client.content().file_manager.as_ref().unwrap());
    let datacenter = world.client.find_one::<mo::Datacenter>("/DC0").await.unwrap().object;
    let task = files.delete_datastore_file_task(&file, Some(&datacenter)).await.unwrap();
    assert_fault::<t::FileLocked>(&task.wait().await.unwrap_err());
    let task = world.manager.clone_v_storage_object_task(&disk, &world.store, &clone_spec(&world.store, "c"));
    assert_fault::<t::InvalidState>(&task.await.unwrap().wait().await.unwrap_err());
    // It can be snapshotted, and taken away.
    let snapshot = world.snapshot(&disk).await;
    world.delete_snapshot(&disk, &snapshot).await;
    world.detach("vm-1", &disk).await.unwrap();
    world.delete(&disk).await.unwrap();
}

#[tokio::test]
async fn whether_a_disk_goes_with_its_machine_is_its_own_to_say() {
    let world = world().await;
    let (stays, goes) = (world.make("stays", 4).await, world.make("goes", 4).await);
    let flags = ["keepAfterDeleteVm".to_owned()];
    world.manager.set_v_storage_object_control_flags(&stays, &world.store, &flags).await.unwrap();
    for disk in [&stays, &goes] {
        world.attach("vm-1", disk).await.unwrap();
    }
    world.write(&stays, 0, b"here");
    // A copy of the machine has copies of the disks, which are plain ones.
    let vm = machine(&world.client, &world.sim);
    let folder = world.client.find_one::<mo::Folder>("/DC0/vm").await.unwrap().object;
    let spec = t::VirtualMachineCloneSpec::default();
    vm.clone_vm_task(&folder, "copy", &spec).await.unwrap().wait().await.unwrap();
    assert!(world.attached("copy").await.is_empty());
    assert_eq!(world.attached("vm-1").await.len(), 2);
    // Out of the inventory and back: the disks are known by their files.
    let vmx = vm.require(mo::VirtualMachine::CONFIG).await.unwrap().files.vm_path_name.unwrap();
    vm.unregister_vm().await.unwrap();
    assert!(world.get(&goes).await.config.consumer_id.is_empty());
    let pool = world.client.find_one::<mo::ResourcePool>("*/Resources").await.unwrap().object;
    let folder = world.client.bind(&folder);
    let register = folder.register_vm_task(&vmx, None, false, Some(&pool), None);
    let registered = register.await.unwrap().wait().await.unwrap();
    assert_eq!(world.attached("vm-1").await.len(), 2);
    let vm: mo::VirtualMachine = world.client.bind(&registered);
    vm.reload_virtual_machine_from_path_task(&vmx).await.unwrap().wait().await.unwrap();
    assert_eq!(world.attached("vm-1").await.len(), 2);
    vm.destroy_task().await.unwrap().wait().await.unwrap();
    assert_eq!(world.list().await, std::slice::from_ref(&stays.id));
    assert_eq!(&world.content(&stays, None)[..4], b"here");
    assert_eq!(world.files("datastore1").len(), 2, "{:?}", world.files("datastore1"));
    world.attach("vm-2", &stays).await.unwrap();
}
