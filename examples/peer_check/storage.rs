//! Files and disks of a datastore, and a lease to bring a machine in.

use anyhow::{Context, ensure};
use vim_api::dynamic::Poly;
use vim_api::mo::{Datastore, HttpNfcLease, Managed, VirtualMachine};
use vim_api::types::{
    FileAlreadyExists, HostDatastoreBrowserSearchSpec, VirtualDiskAdapterType, VirtualDiskType,
    VirtualMachineConfigSpec, VirtualMachineFileInfo, VirtualMachineImportSpec,
};
use vim_api::{Client, DatastorePath, IfExists};

pub(crate) async fn check(client: &Client) -> anyhow::Result<()> {
    let root = client.content().root_folder.cast();
    let store: Datastore = client.bind(client.list::<Datastore>(&root, &["name"]).await?.remove(0).object());
    let name = store.require(Datastore::NAME).await?;
    let (files, disks) = (client.datastore_files("DC0"), client.datastore_disks("DC0"));
    let folder = DatastorePath::new(&name, "peer folder/below")?;
    files.make_directory(&folder).await?;

    let disk = folder.join("a disk.vmdk")?;
    disks.create(&disk, 1 << 20, VirtualDiskType::Thin, VirtualDiskAdapterType::LsiLogic).await?;
    let there = disks.create(&disk, 1 << 20, VirtualDiskType::Thin, VirtualDiskAdapterType::LsiLogic).await;
    let there = there.err().context("a disk was made twice")?;
    ensure!(there.fault::<FileAlreadyExists>().is_some(), "{there}");
    let uuid = disks.uuid(&disk).await?;
    disks.set_uuid(&disk, uuid).await?;
    let (copy, moved) = (folder.join("copy.vmdk")?, folder.join("moved.vmdk")?);
    disks.copy(&disk, &copy, IfExists::Fail).await?;
    disks.move_to(&copy, &moved, IfExists::Fail).await?;
    let gone = disks.uuid(&copy).await.err().context("a disk that was moved away has a uuid")?;
    ensure!(gone.is_not_found() && gone.to_string().contains(&copy.to_string()), "{gone}");

    let browser = client.bind(&store.require(Datastore::BROWSER).await?);
    // vcsim 0.24.2 closes the connection where there is no spec.
    let all = HostDatastoreBrowserSearchSpec { match_pattern: vec!["*".into()], ..Default::default() };
    let found = browser.search_datastore_task(&folder.to_string(), Some(&all)).await?.wait().await?;
    for name in ["a disk.vmdk", "moved.vmdk"] {
        ensure!(found.file.iter().any(|file| file.path == name), "{name} is not listed: {found:?}");
    }

    // To the server, the descriptor is a file like another.
    let (one, other) = (folder.join("one.txt")?, folder.join("other.txt")?);
    files.copy(&disk, &one, IfExists::Fail).await?;
    files.move_to(&one, &other, IfExists::Fail).await?;
    let kept = files.copy(&disk, &other, IfExists::Fail).await.err().context("a file was overwritten")?;
    ensure!(kept.fault::<FileAlreadyExists>().is_some(), "{kept}");
    files.copy(&disk, &other, IfExists::Replace).await?;
    disks.delete(&disk).await?;
    for absent in [files.delete(&one).await, disks.delete(&disk).await] {
        let absent = absent.err().context("what is not there was deleted")?;
        ensure!(absent.is_not_found(), "{absent}");
    }
    files.delete(&DatastorePath::new(&name, "peer folder")?).await?;

    lease(client, &name).await?;
    println!(
        "storage: folders, files and disks made, copied, moved, listed and removed; a machine brought in by a lease"
    );
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
