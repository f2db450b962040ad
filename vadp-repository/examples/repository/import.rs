//! An image of a disk becomes a restore point.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use indicatif::ProgressBar;
use tokio::io::AsyncReadExt;
use vadp_repository::{DiskSpec, MachineId, PointDraft, Repository, RestorePoint};

/// Reads all of the image. Chunks that the repository has, and chunks of zeros, are not stored again.
pub async fn run(
    repo: &Repository,
    machine: &str,
    image: &Path,
    tags: &[String],
    bar: &ProgressBar,
) -> anyhow::Result<RestorePoint> {
    let mut file =
        tokio::fs::File::open(image).await.with_context(|| format!("cannot read {}", image.display()))?;
    let capacity_bytes = file.metadata().await?.len();
    let mut draft = PointDraft::new(MachineId::new(machine)?);
    for tag in tags {
        let (key, value) = tag.split_once('=').with_context(|| format!("a tag is key=value, not {tag}"))?;
        draft = draft.tag(key, value);
    }
    let writer = repo.begin(draft).await?;
    let mut disk = writer.disk(DiskSpec { key: "disk".to_owned(), capacity_bytes }, None)?;
    let chunk_size = u64::from(disk.chunk_size());
    for chunk in 0..disk.chunk_count() {
        let length = chunk_size.min(capacity_bytes - chunk * chunk_size);
        let mut data = BytesMut::zeroed(usize::try_from(length)?);
        file.read_exact(&mut data).await.context("the image got shorter while it was read")?;
        disk.put(chunk, data.freeze()).await?;
        bar.inc(length);
    }
    disk.finish().await?;
    Ok(writer.commit(Bytes::new(), BTreeMap::new()).await?)
}
