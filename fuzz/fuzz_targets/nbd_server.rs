//! Any bytes as a client of the NBD server, which has an overlay when the first byte is odd. It may hang up, but has to come to an end, and
//! what it answers before has to begin as it should.
#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};
use vadp_repository::nbd::{Export, NbdServer};
use vadp_repository::{
    DiskReader, DiskSpec, InitOptions, MachineId, MemoryStore, PointDraft, Repository, Secret,
};

const CHUNK: u32 = 1 << 18;

/// A disk of five chunks, two of them with data.
async fn disk() -> DiskReader {
    let (store, secret) = (Arc::new(MemoryStore::new()), Secret::raw_key([7; 32]));
    let repo = Repository::init(store, &secret, InitOptions::with_chunk_size(CHUNK)).await.unwrap();
    let writer = repo.begin(PointDraft::new(MachineId::new("m").unwrap())).await.unwrap();
    let spec = DiskSpec { key: "d".to_owned(), capacity_bytes: u64::from(CHUNK) * 4 + 1000 };
    let mut disk = writer.disk(spec, None).unwrap();
    for chunk in [1, 3] {
        disk.put(chunk, Bytes::from(vec![chunk as u8; CHUNK as usize])).await.unwrap();
    }
    disk.finish().await.unwrap();
    writer.commit(Bytes::new(), BTreeMap::new()).await.unwrap().disk("d").unwrap()
}

static WORLD: LazyLock<(Runtime, DiskReader)> = LazyLock::new(|| {
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(2).build().unwrap();
    let disk = runtime.block_on(disk());
    (runtime, disk)
});

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let (runtime, disk) = &*WORLD;
    runtime.block_on(async {
        let export = match kind & 1 {
            0 => Export::read_only(disk.clone()),
            _ => Export::with_overlay(disk.clone(), std::env::temp_dir()).unwrap(),
        };
        let server = NbdServer::builder().export("d", export).on_error(|_, _| {}).build().unwrap();
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (mut answers, mut line) = tokio::io::split(ours);
        let listen = async {
            let mut greeting = [0; 18];
            answers.read_exact(&mut greeting).await.unwrap();
            assert_eq!(&greeting, b"NBDMAGICIHAVEOPT\0\x03");
            tokio::io::copy(&mut answers, &mut tokio::io::sink()).await
        };
        let talk = async {
            // The server may hang up at any byte.
            let _ = line.write_all(bytes).await;
            let _ = line.shutdown().await;
        };
        let (listened, (), ()) = tokio::join!(listen, talk, server.serve_stream(theirs));
        listened.unwrap();
    });
});
