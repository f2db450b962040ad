//! Virtual disks that no machine uses: the `VirtualDiskManager`.

use super::disk_uuid::DiskUuid;
use super::manage::IfExists;
use super::path::DatastorePath;
use crate::client::Client;
use crate::dynamic::{EnumValue, Poly};
use crate::error::Error;
use crate::mo;
use crate::moref::MoRef;
use crate::types::{FileBackedVirtualDiskSpec, VirtualDiskAdapterType, VirtualDiskSpec, VirtualDiskType};

/// Virtual disks on the datastores of one datacenter, each named by its descriptor (`[datastore1] web/web.vmdk`), which
/// stands for all its files.
///
/// It has what it takes to bring disks back: the rest (inflating, shrinking, filling with zeros, geometry, storage
/// policies, encryption) is in [`mo::VirtualDiskManager`]. The server does the work, and the methods wait for its end; a
/// call that is given up goes on there. A disk that a machine has in use is locked: change that machine instead.
#[derive(Debug, Clone)]
pub struct DatastoreDisks {
    client: Client,
    datacenter: Option<String>,
}

impl Client {
    /// Virtual disks on the datastores of a datacenter, given by its inventory path such as `DC0` or `Europe/DC0`. A host
    /// alone has one datacenter only, and ignores the name.
    pub fn datastore_disks(&self, datacenter: &str) -> DatastoreDisks {
        DatastoreDisks { client: self.clone(), datacenter: self.datacenter_path(datacenter) }
    }
}

impl DatastoreDisks {
    /// Makes an empty disk of `capacity_bytes`, a multiple of 1024. The usual kinds are `Thin`, `EagerZeroedThick` and
    /// `Preallocated`, which fills with zeros when it is first written to. The adapter is noted in the disk; the controller
    /// of the machine that gets it decides. Its folder must exist.
    ///
    /// # Errors
    /// Kind `InvalidInput` for a capacity that can't be; fault `FileAlreadyExists` when there is a disk of that name. Those of
    /// all methods here: [`Error::is_not_found`] when there is no such datacenter, folder or disk; fault `InvalidDatastore`
    /// when the datacenter has no such datastore; `FileLocked` or another `FileFault` when it is in use; `NoPermission`
    /// without `Datastore.FileManagement`; or that of a call that failed. The text names the disk.
    pub async fn create(
        &self,
        disk: &DatastorePath,
        capacity_bytes: u64,
        kind: VirtualDiskType,
        adapter: VirtualDiskAdapterType,
    ) -> Result<(), Error> {
        let doing = format!("making the disk {disk}");
        let spec = FileBackedVirtualDiskSpec {
            base: VirtualDiskSpec {
                disk_type: kind.as_str().to_owned(),
                adapter_type: adapter.as_str().to_owned(),
                ..VirtualDiskSpec::default()
            },
            capacity_kb: kib(capacity_bytes).map_err(|error| error.about_file(&doing))?,
            ..FileBackedVirtualDiskSpec::default()
        };
        let (manager, datacenter) = self.at(&doing).await?;
        let spec = Poly::new(spec);
        let call = manager.create_virtual_disk_task(&disk.to_string(), datacenter.as_ref(), &spec);
        self.client.done(&doing, call).await
    }

    /// Copies a disk, with the kind and adapter that it has, to the path `to`, whose folder must exist.
    ///
    /// # Errors
    /// Fault `FileAlreadyExists` as `if_exists` says; those of [`create`](Self::create).
    pub async fn copy(
        &self,
        from: &DatastorePath,
        to: &DatastorePath,
        if_exists: IfExists,
    ) -> Result<(), Error> {
        let doing = format!("copying the disk {from} to {to}");
        let (manager, datacenter) = self.at(&doing).await?;
        let call = manager.copy_virtual_disk_task(
            &from.to_string(),
            datacenter.as_ref(),
            &to.to_string(),
            datacenter.as_ref(),
            None,
            if_exists.force(),
        );
        self.client.done(&doing, call).await
    }

    /// Moves or renames a disk: all its files, and what they say of each other.
    ///
    /// # Errors
    /// Fault `FileAlreadyExists` as `if_exists` says; those of [`create`](Self::create).
    pub async fn move_to(
        &self,
        from: &DatastorePath,
        to: &DatastorePath,
        if_exists: IfExists,
    ) -> Result<(), Error> {
        let doing = format!("moving the disk {from} to {to}");
        let (manager, datacenter) = self.at(&doing).await?;
        let call = manager.move_virtual_disk_task(
            &from.to_string(),
            datacenter.as_ref(),
            &to.to_string(),
            datacenter.as_ref(),
            if_exists.force(),
            &[],
        );
        self.client.done(&doing, call).await
    }

    /// Deletes all files of a disk.
    ///
    /// # Errors
    /// [`Error::is_not_found`] when there is none; those of [`create`](Self::create).
    pub async fn delete(&self, disk: &DatastorePath) -> Result<(), Error> {
        let doing = format!("deleting the disk {disk}");
        let (manager, datacenter) = self.at(&doing).await?;
        let call = manager.delete_virtual_disk_task(&disk.to_string(), datacenter.as_ref());
        self.client.done(&doing, call).await
    }

    /// Makes a disk larger, to `capacity_bytes`, a multiple of 1024. Partitions and file systems stay as they are. A disk
    /// with snapshots can't grow.
    ///
    /// # Errors
    /// Kind `InvalidInput` for a capacity that can't be; a fault, such as `InvalidArgument`, for one that is not larger; those
    /// of [`create`](Self::create).
    pub async fn extend(&self, disk: &DatastorePath, capacity_bytes: u64) -> Result<(), Error> {
        let doing = format!("extending the disk {disk}");
        let capacity = kib(capacity_bytes).map_err(|error| error.about_file(&doing))?;
        let (manager, datacenter) = self.at(&doing).await?;
        let call = manager.extend_virtual_disk_task(&disk.to_string(), datacenter.as_ref(), capacity, None);
        self.client.done(&doing, call).await
    }

    /// What names the disk, whatever its path: the machine that has it shows the same as its backing's `uuid`.
    ///
    /// # Errors
    /// Kind `Protocol` for an answer that is no uuid; those of [`create`](Self::create).
    pub async fn uuid(&self, disk: &DatastorePath) -> Result<DiskUuid, Error> {
        let doing = format!("asking for the uuid of the disk {disk}");
        let (manager, datacenter) = self.at(&doing).await?;
        let told = manager.query_virtual_disk_uuid(&disk.to_string(), datacenter.as_ref()).await;
        let told = told.map_err(|error| error.about_file(&doing))?;
        told.parse()
            .map_err(|_| Error::broken_protocol(format!("{doing}: the server says {told:?}, which is none")))
    }

    /// Gives a disk another uuid, such as the one that a lost disk had which this one stands for. Two disks that are used
    /// side by side must not have the same.
    ///
    /// # Errors
    /// Those of [`create`](Self::create).
    pub async fn set_uuid(&self, disk: &DatastorePath, uuid: DiskUuid) -> Result<(), Error> {
        let doing = format!("setting the uuid of the disk {disk}");
        let (manager, datacenter) = self.at(&doing).await?;
        let set = manager.set_virtual_disk_uuid(&disk.to_string(), datacenter.as_ref(), &uuid.spaced()).await;
        set.map_err(|error| error.about_file(&doing))
    }

    async fn at(
        &self,
        doing: &str,
    ) -> Result<(mo::VirtualDiskManager, Option<MoRef<mo::Datacenter>>), Error> {
        let find = async || {
            let manager =
                self.client.manager("VirtualDiskManager", |content| content.virtual_disk_manager.as_ref())?;
            Ok((manager, self.client.datacenter_at(self.datacenter.as_deref()).await?))
        };
        find().await.map_err(|error: Error| error.about_file(doing))
    }
}

/// The API counts in KiB.
fn kib(bytes: u64) -> Result<i64, Error> {
    match i64::try_from(bytes / 1024) {
        Ok(kib) if kib > 0 && bytes.is_multiple_of(1024) => Ok(kib),
        _ => Err(Error::invalid_input(format!(
            "{bytes} bytes is no capacity of a disk, which is a multiple of 1024 above 0"
        ))),
    }
}
