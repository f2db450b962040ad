//! A small repository with one disk, and servers of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::DuplexStream;
use vadp_repository::nbd::{Export, NbdServer};
use vadp_repository::{
    ChunkStore, DiskReader, DiskSpec, InitOptions, MachineId, MemoryStore, PointDraft, Repository, Secret,
};

/// The smallest chunk that a repository may have.
pub const CHUNK: usize = 256 * 1024;
/// Eleven chunks and a bit: the last one is short, and its last block too.
pub const CAPACITY: usize = 11 * CHUNK + 70_000;
/// Chunks with data; the others are zero.
pub const ALLOCATED: [u64; 6] = [1, 2, 5, 8, 9, 11];

/// What is on the disk. Chunks 8 and 9 are alike.
pub fn image() -> Vec<u8> {
    let mut image = vec![0; CAPACITY];
    for chunk in ALLOCATED {
        let seed = if chunk == 9 { 8 } else { chunk };
        let start = usize::try_from(chunk).unwrap() * CHUNK;
        let end = CAPACITY.min(start + CHUNK);
        for (at, byte) in image[start..end].iter_mut().enumerate() {
            *byte = (((at as u64 * (seed + 3)) >> 5) as u8 ^ (at >> 11) as u8) | 1;
        }
    }
    image
}

pub async fn repository() -> (Arc<MemoryStore>, DiskReader) {
    let store = Arc::new(MemoryStore::new());
    let options = InitOptions::with_chunk_size(u32::try_from(CHUNK).unwrap());
    let secret = Secret::raw_key([7; 32]);
    let repo = Repository::init(Arc::clone(&store) as Arc<dyn ChunkStore>, &secret, options).await.unwrap();
    let writer = repo.begin(PointDraft::new(MachineId::new("web-01").unwrap())).await.unwrap();
    let spec = DiskSpec { key: "2000".to_owned(), capacity_bytes: CAPACITY as u64 };
    let mut disk = writer.disk(spec, None).unwrap();
    let image = image();
    for chunk in ALLOCATED {
        let start = usize::try_from(chunk).unwrap() * CHUNK;
        disk.put(chunk, Bytes::copy_from_slice(&image[start..CAPACITY.min(start + CHUNK)])).await.unwrap();
    }
    disk.finish().await.unwrap();
    let point = writer.commit(Bytes::new(), BTreeMap::new()).await.unwrap();
    (store, point.disk("2000").unwrap())
}

pub fn read_only(disk: DiskReader) -> NbdServer {
    NbdServer::builder().export("web-01/2000", Export::read_only(disk)).build().unwrap()
}

pub fn with_overlay(disk: DiskReader) -> NbdServer {
    let folder = std::env::temp_dir();
    NbdServer::builder().export("web-01/2000", Export::with_overlay(disk, folder).unwrap()).build().unwrap()
}

/// The client's end of a connection.
pub fn connection(server: &Arc<NbdServer>) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let server = Arc::clone(server);
    tokio::spawn(async move { server.serve_stream(theirs).await });
    ours
}

/// Errors that an export reported.
pub type Reported = Arc<Mutex<Vec<(String, String)>>>;
