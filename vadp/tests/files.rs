//! Files in restore points.

#![cfg(feature = "files")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic, in its helpers too")]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use vadp_files::{Kind, ReadAt as _};
use vadp_repository::{
    ChunkStore, DiskSpec, InitOptions, MachineId, MemoryStore, PointDraft, Repository, Secret,
};

const CHUNK: usize = 256 << 10;
const CAPACITY: usize = 4 << 20;

/// A FAT volume, made by the crate that the simulator makes its disks with.
fn image() -> Vec<u8> {
    let mut disk = io::Cursor::new(vec![0; CAPACITY]);
    fatfs::format_volume(&mut disk, fatfs::FormatVolumeOptions::new()).unwrap();
    let volume = fatfs::FileSystem::new(&mut disk, fatfs::FsOptions::new()).unwrap();
    let mut file = volume.root_dir().create_file("a file of a name.bin").unwrap();
    io::Write::write_all(&mut file, &content()).unwrap();
    drop(file);
    drop(volume);
    disk.into_inner()
}

fn content() -> Vec<u8> {
    (0..400_000_u32).map(|at| (at % 251) as u8).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_a_restore_point() {
    let store = Arc::new(MemoryStore::new()) as Arc<dyn ChunkStore>;
    let options = InitOptions::with_chunk_size(CHUNK as u32);
    let repository = Repository::init(store, &Secret::raw_key([7; 32]), options).await.unwrap();
    let writer = repository.begin(PointDraft::new(MachineId::new("m").unwrap())).await.unwrap();
    let spec = DiskSpec { key: "2000".to_owned(), capacity_bytes: CAPACITY as u64 };
    let mut disk = writer.disk(spec, None).unwrap();
    let image = image();
    for (number, chunk) in image.chunks(CHUNK).enumerate() {
        disk.put(number as u64, Bytes::copy_from_slice(chunk)).await.unwrap();
    }
    disk.finish().await.unwrap();
    let point = writer.commit(Bytes::new(), BTreeMap::new()).await.unwrap();
    let disks = vadp::files::disks(&point).await.unwrap();
    let found = tokio::task::spawn_blocking(move || {
        let volumes = disks.volumes().unwrap();
        assert_eq!((volumes[0].name(), volumes[0].kind()), ("2000", Kind::Fat));
        let mut behind = [0; 2];
        let error = volumes[0].source().read_exact_at(&mut behind, CAPACITY as u64 - 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        volumes[0].open().unwrap().open("a file of a name.bin").unwrap().read_all(1 << 20).unwrap()
    });
    assert_eq!(found.await.unwrap(), content());
}
