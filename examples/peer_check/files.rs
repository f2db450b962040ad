//! Files of a datastore over HTTPS: written, looked at, read in whole and in part.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use vim_api::mo::{Datastore, Managed};
use vim_api::{Client, DatastorePath, Upload};

pub(crate) async fn check(client: &Client) -> anyhow::Result<()> {
    let files = client.datastore_files("DC0");
    let path = DatastorePath::new("LocalDS_0", "peer check & co.bin")?;
    let content: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    let pieces: Vec<std::io::Result<Bytes>> =
        content.chunks(70_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let upload = Upload::sized(content.len() as u64, futures::stream::iter(pieces));
    files.upload(&path, upload).await?;

    let status = files.status(&path).await?;
    ensure!(status.size.is_none_or(|size| size == content.len() as u64), "{status:?}");
    let mut download = files.download(&path).await?;
    let mut read = Vec::new();
    while let Some(piece) = download.next().await? {
        read.extend_from_slice(&piece);
    }
    ensure!(read == content, "{} bytes came back, other than were written", read.len());
    let mut part = files.download_range(&path, 100_000..100_010).await?;
    let mut read = Vec::new();
    while let Some(piece) = part.next().await? {
        read.extend_from_slice(&piece);
    }
    ensure!(read == content[100_000..100_010], "another part of the file came back");

    let absent = files.status(&DatastorePath::new("LocalDS_0", "nothing")?).await;
    let absent = absent.err().context("a file that is not there")?;
    ensure!(absent.is_not_found(), "{absent}");
    let datastore = client.find_one::<Datastore>("/DC0/datastore/LocalDS_0").await?.object;
    let browser = client.bind(&datastore).require(Datastore::BROWSER).await?;
    let root = DatastorePath::new("LocalDS_0", "")?;
    let found = client.browse(&browser, &root, &["peer check*"]).await?;
    let [entry] = &found[..] else { bail!("one file was written, and the browser found {found:?}") };
    ensure!(entry.path == path && entry.size == Some(content.len() as u64), "{entry:?}");
    ensure!(entry.modified.is_some() && !entry.is_folder(), "{entry:?}");
    let machines = client.browse(&browser, &root, &["*.vmx"]).await?;
    ensure!(
        !machines.is_empty() && machines.iter().all(|vmx| vmx.path.parent() != Some(root.clone())),
        "{machines:?}"
    );

    let absent = client.browse(&browser, &root.join("nothing")?, &[]).await;
    let absent = absent.err().context("a folder that is not there was looked through")?;
    ensure!(absent.is_not_found() && absent.to_string().contains("[LocalDS_0] nothing"), "{absent}");

    println!(
        "files: {} bytes written, looked at, and read in whole and in part, found again by the browser with {} machines",
        content.len(),
        machines.len()
    );
    Ok(())
}
