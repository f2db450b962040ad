//! First-class disks: virtual disks that belong to no machine, such as the volumes of Kubernetes. A vCenter keeps them
//! through a service of their own (VSLM), see `client/beside.rs`.

mod task;

use futures::{Stream, TryStreamExt, stream};

use crate::client::Client;
use crate::dynamic::EnumValue;
use crate::error::Error;
use crate::mo;
use crate::moref::MoRef;
use crate::types::{
    DiskChangeInfo, ID, VStorageObject, VStorageObjectSnapshotInfoVStorageObjectSnapshot as DiskSnapshot,
    VslmVStorageObjectControlFlag, VslmVsoVStorageObjectQuerySpec,
    VslmVsoVStorageObjectQuerySpecQueryFieldEnum as Field,
    VslmVsoVStorageObjectQuerySpecQueryOperatorEnum as Operator, VslmVsoVStorageObjectResult,
};

pub use task::DiskTask;

/// Disks asked for at a time.
const PAGE: i32 = 500;

/// The first-class disks of a vCenter.
///
/// Here is what a backup needs of them; creating, cloning, attaching and the rest is on the generated object,
/// [`manager`](Self::manager), whose tasks are [`DiskTask`]s.
#[derive(Debug, Clone)]
pub struct FirstClassDisks {
    manager: mo::VslmVStorageObjectManager,
}

impl Client {
    /// The first-class disks of the vCenter, from 6.7.2 on.
    ///
    /// # Errors
    /// Kind `NotFound` on a server without the service: a host alone has none. That of a call that failed.
    pub async fn first_class_disks(&self) -> Result<FirstClassDisks, Error> {
        let instance: mo::VslmServiceInstance = self.bind(&MoRef::new("ServiceInstance"));
        let content = instance.retrieve_content().await?;
        Ok(FirstClassDisks { manager: self.bind(&content.v_storage_object_manager) })
    }
}

/// The id of a first-class disk or of a snapshot of one, from its text.
fn id(text: &str) -> ID {
    ID { id: text.to_owned(), ..ID::default() }
}

impl FirstClassDisks {
    /// The object whose methods the service consists of.
    pub fn manager(&self) -> &mo::VslmVStorageObjectManager {
        &self.manager
    }

    /// All disks in the vCenter's catalogue, in the order of their ids, read page by page as they are wanted.
    ///
    /// An entry whose `error` is set is one that the vCenter knows of and cannot read at the moment.
    pub fn list(&self) -> impl Stream<Item = Result<VslmVsoVStorageObjectResult, Error>> + Send + use<> {
        let manager = self.manager.clone();
        let pages = stream::try_unfold(Some(None), move |after: Option<Option<String>>| {
            let manager = manager.clone();
            async move {
                let Some(after) = after else { return Ok(None) };
                let query = after.iter().map(|last| behind(last)).collect::<Vec<_>>();
                let page = manager.vslm_list_v_storage_object_for_spec(&query, PAGE).await?;
                let Some(page) = page else { return Ok(None) };
                let last = page.id.last().map(|last| last.id.clone());
                let next = match last {
                    _ if page.all_records_returned => None,
                    Some(last) if after.as_ref() != Some(&last) => Some(Some(last)),
                    _ => {
                        return Err(Error::broken_protocol(
                            "listing first-class disks: the server says that there are more, and sends none",
                        ));
                    }
                };
                Ok(Some((stream::iter(page.query_results.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten()
    }

    /// One disk.
    ///
    /// # Errors
    /// Fault `NotFound` when there is none of this id ([`Error::is_not_found`]); that of a call that failed.
    pub async fn get(&self, disk: &str) -> Result<VStorageObject, Error> {
        self.manager.vslm_retrieve_v_storage_object(&id(disk)).await
    }

    /// The snapshots of a disk.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn snapshots(&self, disk: &str) -> Result<Vec<DiskSnapshot>, Error> {
        Ok(self.manager.vslm_retrieve_snapshot_info(&id(disk)).await?.snapshots)
    }

    /// Begins to track changes. As with machines, only what is written after the next snapshot is told.
    ///
    /// # Errors
    /// As [`get`](Self::get); fault `InvalidState` while the disk is busy.
    pub async fn track_changes(&self, disk: &str) -> Result<(), Error> {
        let flag = VslmVStorageObjectControlFlag::EnableChangedBlockTracking.as_str().to_owned();
        self.manager.vslm_set_v_storage_object_control_flags(&id(disk), &[flag]).await
    }

    /// The change id of a snapshot: what a later [`changed_areas`](Self::changed_areas) counts from. `None` where changes
    /// were not tracked when the snapshot was taken.
    ///
    /// # Errors
    /// As [`get`](Self::get), of the disk or the snapshot.
    pub async fn change_id(&self, disk: &str, snapshot: &str) -> Result<Option<String>, Error> {
        let details = self.manager.vslm_retrieve_snapshot_details(&id(disk), &id(snapshot)).await?;
        Ok(details.changed_block_tracking_id.filter(|change_id| !change_id.is_empty()))
    }

    /// What changed between `change_id` and the snapshot, window by window from the disk's beginning to `capacity`, in bytes.
    /// `*` as the change id asks for what is allocated.
    ///
    /// Each window begins where the last one ended, or the stream ends with an error: a window that leads nowhere is not the
    /// end of the changes. All offsets and lengths are bytes. The capacity is the caller's, from the disk that it opened:
    /// the service tells it in mebibytes only.
    ///
    /// # Errors
    /// The stream ends with the first: fault `FileFault` or `InvalidArgument` when the change id is of another disk or too
    /// old, and then everything has to be read; kind `Protocol` for windows that do not follow each other.
    pub fn changed_areas(
        &self,
        disk: &str,
        snapshot: &str,
        change_id: &str,
        capacity: u64,
    ) -> impl Stream<Item = Result<DiskChangeInfo, Error>> + Send + use<> {
        let (manager, change_id) = (self.manager.clone(), change_id.to_owned());
        let (disk, snapshot) = (id(disk), id(snapshot));
        stream::try_unfold((manager, 0_u64), move |(manager, at)| {
            let (disk, snapshot, change_id) = (disk.clone(), snapshot.clone(), change_id.clone());
            async move {
                if at >= capacity {
                    return Ok(None);
                }
                let offset =
                    i64::try_from(at).map_err(|_| Error::invalid_input("the capacity is above 2^63"))?;
                let window =
                    manager.vslm_query_changed_disk_areas(&disk, &snapshot, offset, &change_id).await?;
                let end =
                    window.start_offset.checked_add(window.length).and_then(|end| u64::try_from(end).ok());
                match end {
                    Some(end) if window.start_offset == offset && end > at && end <= capacity => {
                        Ok(Some((window, (manager, end))))
                    }
                    _ => Err(Error::broken_protocol(format!(
                        "the changed areas of disk {}: asked from byte {at} of {capacity}, the server answered for {} bytes from {}",
                        disk.id, window.length, window.start_offset
                    ))),
                }
            }
        })
    }
}

/// The disks with a greater id.
fn behind(last: &str) -> VslmVsoVStorageObjectQuerySpec {
    VslmVsoVStorageObjectQuerySpec {
        query_field: Field::Id.as_str().to_owned(),
        query_operator: Operator::GreaterThan.as_str().to_owned(),
        query_value: vec![last.to_owned()],
        ..Default::default()
    }
}
