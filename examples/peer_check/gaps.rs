//! What vcsim 0.24.2 is known to lack. Each gap is asserted: where one is filled, this says so, and the check of that
//! part can be written.

use anyhow::{bail, ensure};
use vim_api::mo::{Managed, Task, VirtualMachine};
use vim_api::types::{
    ManagedObjectNotFound, MethodNotFound, NotSupported, ObjectSpec, PropertyFilterSpec, PropertySpec,
    RetrieveOptions, VirtualDiskAdapterType, VirtualDiskType,
};
use vim_api::{Client, DatastorePath, DiskUuid, Error, MoRef};

/// Counts them.
pub(crate) async fn check(client: &Client) -> anyhow::Result<usize> {
    let root = client.content().root_folder.cast();
    let vms = client.list::<VirtualMachine>(&root, &["name"]).await?;
    let vm: VirtualMachine = client.bind(vms[0].object());
    let collector = client.property_collector();

    let mut gaps = 0;
    let mut absent = |what: &str, error: Option<Error>| {
        let Some(error) = error else {
            bail!("the server has {what} now: check it instead of expecting a gap")
        };
        let is_gap = error.fault::<MethodNotFound>().is_some()
            || error.fault::<ManagedObjectNotFound>().is_some()
            || error.fault::<NotSupported>().is_some();
        ensure!(is_gap, "{what} fails in a new way: {error}");
        gaps += 1;
        Ok(())
    };
    absent("ContinueRetrievePropertiesEx", collector.continue_retrieve_properties_ex("1").await.err())?;
    absent("CreateSnapshotEx_Task", vm.create_snapshot_ex_task("x", None, false, None).await.err())?;
    absent("QueryChangedDiskAreas", vm.query_changed_disk_areas(None, 2000, 0, "*").await.err())?;
    absent("ExportVm", vm.export_vm().await.err())?;
    if let Some(alarms) = &client.content().alarm_manager {
        absent("AlarmManager.GetAlarm", client.bind(alarms).get_alarm(None).await.err())?;
    }
    let policies = client.storage_policies().await?;
    absent("PbmQueryAssociatedProfiles", policies.of_machine(&vm.moref(), &[]).await.err())?;
    let disk = DatastorePath::new("LocalDS_0", "gap.vmdk")?;
    absent("ExtendVirtualDisk_Task", client.datastore_disks("DC0").extend(&disk, 1 << 20).await.err())?;
    let name = vm.require(VirtualMachine::NAME).await?;
    let task = vm.rename_task("peer-gaps").await?;
    let task_object: Task = client.bind(task.moref());
    absent("CancelTask", task_object.cancel_task().await.err())?;
    task.wait().await?;
    vm.rename_task(&name).await?.wait().await?;

    // All at once, whatever was asked for.
    let objects = vms.iter().map(|vm| object(vm.object().cast())).collect();
    let spec = PropertyFilterSpec {
        prop_set: vec![PropertySpec {
            r#type: "VirtualMachine".into(),
            path_set: vec!["name".into()],
            ..Default::default()
        }],
        object_set: objects,
        ..Default::default()
    };
    let one = RetrieveOptions { max_objects: Some(1), ..Default::default() };
    let result = collector.retrieve_properties_ex(&[spec], &one).await?.unwrap_or_default();
    ensure!(
        vms.len() > 1 && result.objects.len() == vms.len() && result.token.is_none(),
        "the server minds maxObjects now: check paging instead of expecting a gap"
    );

    let disks = client.datastore_disks("DC0");
    disks.create(&disk, 1 << 20, VirtualDiskType::Thin, VirtualDiskAdapterType::LsiLogic).await?;
    let uuid: DiskUuid = "6000c293-7ba0-3a03-9f22-56c52993b727".parse()?;
    disks.set_uuid(&disk, uuid).await?;
    ensure!(
        disks.uuid(&disk).await? != uuid,
        "the server sets the uuid of a disk now: check it instead of expecting a gap"
    );
    disks.delete(&disk).await?;
    Ok(gaps + 2)
}

fn object(obj: MoRef) -> ObjectSpec {
    ObjectSpec { obj, ..Default::default() }
}
