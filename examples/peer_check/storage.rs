//! Files and disks of a datastore, and a lease to bring a machine in.

use anyhow::{Context, ensure};
use vim_api::Client;
use vim_api::dynamic::Poly;
use vim_api::mo::{Datacenter, Datastore, HttpNfcLease, Managed, VirtualMachine};
use vim_api::types::{
    FileBackedVirtualDiskSpec, HostDatastoreBrowserSearchSpec, VirtualDiskSpec, VirtualMachineConfigSpec,
    VirtualMachineFileInfo, VirtualMachineImportSpec,
};

pub(crate) async fn check(client: &Client) -> anyhow::Result<()> {
    let root = client.content().root_folder.cast();
    let datacenter = client.list::<Datacenter>(&root, &["name"]).await?.remove(0).object().clone();
    let store: Datastore = client.bind(client.list::<Datastore>(&root, &["name"]).await?.remove(0).object());
    let name = store.require(Datastore::NAME).await?;

    let files = client.bind(client.content().file_manager.as_ref().context("no file manager")?);
    let folder = format!("[{name}] peer folder");
    files.make_directory(&folder, Some(&datacenter), Some(true)).await?;

    let disks = client.bind(client.content().virtual_disk_manager.as_ref().context("no disk manager")?);
    let disk = format!("{folder}/a disk.vmdk");
    let spec = FileBackedVirtualDiskSpec {
        base: VirtualDiskSpec {
            disk_type: "thin".into(),
            adapter_type: "lsiLogic".into(),
            ..Default::default()
        },
        capacity_kb: 1024,
        ..Default::default()
    };
    disks.create_virtual_disk_task(&disk, Some(&datacenter), &Poly::new(spec)).await?.wait().await?;
    ensure!(
        !disks.query_virtual_disk_uuid(&disk, Some(&datacenter)).await?.is_empty(),
        "a disk without uuid"
    );
    let browser = client.bind(&store.require(Datastore::BROWSER).await?);
    // vcsim 0.24.2 closes the connection where there is no spec.
    let all = HostDatastoreBrowserSearchSpec { match_pattern: vec!["*".into()], ..Default::default() };
    let found = browser.search_datastore_task(&folder, Some(&all)).await?.wait().await?;
    ensure!(found.file.iter().any(|file| file.path == "a disk.vmdk"), "the disk is not listed: {found:?}");
    disks.delete_virtual_disk_task(&disk, Some(&datacenter)).await?.wait().await?;
    files.delete_datastore_file_task(&folder, Some(&datacenter)).await?.wait().await?;

    lease(client, &name).await?;
    println!("storage: folder and disk made, listed and removed; a machine brought in by a lease");
    Ok(())
}

async fn lease(client: &Client, store: &str) -> anyhow::Result<()> {
    let root = client.content().root_folder.cast();
    let vm: VirtualMachine = client.bind(client.list::<VirtualMachine>(&root, &["name"]).await?[0].object());
    let pool = client.bind(&vm.require(VirtualMachine::RESOURCE_POOL).await?);
    let spec = VirtualMachineImportSpec {
        config_spec: VirtualMachineConfigSpec {
            name: Some("peer-import".into()),
            guest_id: Some("otherGuest".into()),
            files: Some(Box::new(VirtualMachineFileInfo {
                vm_path_name: Some(format!("[{store}]")),
                ..Default::default()
            })),
            ..Default::default()
        },
        ..Default::default()
    };
    let spec = Poly::new(spec);
    let lease = pool.import_v_app(&spec, None, None).await?;
    let handle: HttpNfcLease = client.bind(&lease);
    let guard = client.nfc_lease(&lease).await?;
    ensure!(
        guard.files().iter().all(|file| !file.url.contains('*')),
        "a host is missing: {:?}",
        guard.files()
    );
    let made: VirtualMachine = client.bind(&guard.entity().cast());
    guard.set_progress(50);
    guard.check()?;
    guard.complete().await?;
    // This server forgets a lease with its end; others show it as done for a while.
    let ended = handle.get(HttpNfcLease::STATE).await.err().context("the lease lives on")?;
    ensure!(ended.is_not_found(), "{ended}");
    ensure!(
        made.require(VirtualMachine::NAME).await? == "peer-import",
        "the lease brought in something else"
    );
    made.destroy_task().await?.wait().await?;

    // One that is dropped is aborted, in the background.
    let lease = pool.import_v_app(&spec, None, None).await?;
    let guard = client.nfc_lease(&lease).await?;
    let half_made: VirtualMachine = client.bind(&guard.entity().cast());
    drop(guard);
    let handle: HttpNfcLease = client.bind(&lease);
    let aborted = async {
        while handle.get(HttpNfcLease::STATE).await.is_ok() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), aborted).await.context("nobody aborted it")?;
    half_made.destroy_task().await?.wait().await?;
    Ok(())
}
