//! A restore point as one file. See docs/repository-format.md, "Export".

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use vadp_repository::{
    CheckDepth, ChunkStore, Error, ErrorKind, InitOptions, Origin, Repository, RestorePoint, Secret,
};

use crate::copy::is_alike;
use crate::support::*;

const CAPACITY: u64 = 5 * CHUNK as u64 + 512;

fn image() -> Image {
    let mut image: Image = (0..3).map(|chunk| (chunk, noise(chunk, CHUNK))).collect();
    image.insert(4, prose(1, CHUNK));
    image.insert(5, noise(6, 512));
    image
}

fn sealed_for() -> Secret {
    Secret::raw_key([50; 32])
}

async fn source() -> (Repository, RestorePoint) {
    let repo = init(&MemoryStore::new()).await;
    let point = back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();
    (repo, point)
}

async fn export(repo: &Repository, point: &RestorePoint) -> Vec<u8> {
    let mut file = Vec::new();
    let exported = repo.export_point(point.id(), &sealed_for(), &mut file, |_| ()).await.unwrap();
    assert_eq!(exported.bytes, file.len() as u64);
    file
}

/// Imports into a new repository, of which nothing may be left when it fails.
async fn import(file: &[u8]) -> Result<RestorePoint, Error> {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let result = repo.import_point(file, &sealed_for(), |_| ()).await;
    match &result {
        Ok(copied) => {
            assert!(copied.is_new);
            assert!(repo.check(CheckDepth::Deep).await.unwrap().is_ok());
        }
        Err(_) => assert!(store.names("points").is_empty()),
    }
    result.map(|copied| copied.point)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_carries_all_of_a_point() {
    let (repo, point) = source().await;
    let file = export(&repo, &point).await;
    // Four chunks of noise, and one that is compressed.
    assert!((3 * CHUNK..3 * CHUNK + CHUNK / 3).contains(&file.len()), "{} bytes", file.len());
    let copy = import(&file).await.unwrap();
    is_alike(&copy, &point);
    assert_eq!(copy.origin(), Some(Origin { repository: repo.id(), point: point.id() }));
    compare(&copy.disk("disk").unwrap(), &image()).await.unwrap();
    // It is known at home, and a second time.
    assert!(!repo.import_point(&file[..], &sealed_for(), |_| ()).await.unwrap().is_new);
    assert!(!file.windows(9).any(|bytes| bytes == b"of text 1"));
    assert!(!file.windows(12).any(|bytes| bytes == b"metadata of "));
}

/// Gives and takes a few bytes at a time, as a pipe may.
struct Trickle<T>(T, usize);

impl<T: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Trickle<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        self.1 = self.1 * 5 % 10_007;
        let mut bytes = vec![0; (self.1 + 1).min(buf.remaining())];
        let mut part = tokio::io::ReadBuf::new(&mut bytes);
        let result = Pin::new(&mut self.0).poll_read(context, &mut part);
        buf.put_slice(part.filled());
        result
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_a_pipe_from_one_to_the_other() {
    let (repo, point) = source().await;
    let other = init(&MemoryStore::new()).await;
    let secret = Secret::password("of the file");
    let (writing, reading) = tokio::io::duplex(1000);
    let (exported, imported) = tokio::join!(
        async {
            let mut writing = writing;
            repo.export_point(point.id(), &secret, &mut writing, |_| ()).await
        },
        other.import_point(Trickle(reading, 1), &secret, |_| ()),
    );
    assert_eq!(exported.unwrap().chunks, 5);
    compare(&imported.unwrap().point.disk("disk").unwrap(), &image()).await.unwrap();
    // Nobody reads any more.
    let (mut writing, reading) = tokio::io::duplex(1000);
    drop(reading);
    let error = repo.export_point(point.id(), &secret, &mut writing, |_| ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_it_is_cut_or_altered_it_is_refused() {
    let (repo, point) = source().await;
    let file = export(&repo, &point).await;
    let positions = || (0..file.len()).filter(|at| *at < 460 || file.len() - at < 60 || at % 40_009 == 0);
    for at in positions() {
        let error = import(&file[..at]).await.unwrap_err();
        let expected = if at < 8 { ErrorKind::InvalidInput } else { ErrorKind::Damaged };
        assert_eq!(error.kind(), expected, "cut at {at}: {error}");
    }
    for at in positions() {
        let mut altered = file.clone();
        altered[at] ^= 1 << (at % 8);
        let error = import(&altered).await.unwrap_err();
        let kind = error.kind();
        let is_told = match at {
            0..8 => kind == ErrorKind::InvalidInput,
            8..10 => kind == ErrorKind::UnsupportedFormat,
            // The key slot: some of its fields cannot be told from another key.
            16..300 => {
                matches!(kind, ErrorKind::Damaged | ErrorKind::WrongKey | ErrorKind::UnsupportedFormat)
            }
            _ => kind == ErrorKind::Damaged,
        };
        assert!(is_told, "byte {at} altered: {kind:?} {error}");
    }
    let error = import(&[&file[..], &[0]].concat()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("after its end"), "{error}");
    assert!(import(&[&file[..], &file[..]].concat()).await.is_err());
}

/// Where the records are, by their lengths, which are no secret.
fn records(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let length = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 16 + length(12);
    let mut records = Vec::new();
    while at < file.len() {
        let end = at + 5 + length(at + 1);
        records.push(at..end);
        at = end;
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_taken_out_exchanged_or_repeated_are_noticed() {
    let (repo, point) = source().await;
    let (file, other) = (export(&repo, &point).await, export(&repo, &point).await);
    let places = records(&file);
    assert_eq!(places.len(), 7, "a head, five chunks and an end");
    let with = |order: &[usize]| {
        let mut built = file[..places[0].start].to_vec();
        order.iter().for_each(|record| built.extend_from_slice(&file[places[*record].clone()]));
        built
    };
    import(&with(&[0, 1, 2, 3, 4, 5, 6])).await.unwrap();
    for order in [
        &[0, 1, 2, 3, 4, 6][..],
        &[0, 6],
        &[0, 2, 1, 3, 4, 5, 6],
        &[0, 1, 1, 2, 3, 4, 5, 6],
        &[1, 2, 3, 4, 5, 6],
        &[0, 0, 1, 2, 3, 4, 5, 6],
        &[0, 1, 2, 3, 4, 5],
    ] {
        let error = import(&with(order)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{order:?}: {error}");
    }
    // A record of another file of the same point, for the same secret.
    let theirs = records(&other);
    let mut mixed = file.clone();
    mixed.splice(places[2].clone(), other[theirs[2].clone()].iter().copied());
    assert_eq!(import(&mixed).await.unwrap_err().kind(), ErrorKind::Damaged);
    // Nothing of two files is alike but what tells their sizes.
    assert_ne!(file[places[1].clone()][5..], other[theirs[1].clone()][5..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_secrets_formats_and_chunk_sizes_are_told_apart() {
    let (repo, point) = source().await;
    let file = export(&repo, &point).await;
    let other = init(&MemoryStore::new()).await;
    let kind = |result: Result<vadp_repository::Copied, Error>| result.unwrap_err().kind();
    for secret in [Secret::raw_key([51; 32]), secret(), Secret::password("a")] {
        assert_eq!(kind(other.import_point(&file[..], &secret, |_| ()).await), ErrorKind::WrongKey);
    }
    let mut future = file.clone();
    future[8] = 2;
    assert_eq!(
        kind(other.import_point(&future[..], &sealed_for(), |_| ()).await),
        ErrorKind::UnsupportedFormat
    );
    for foreign in [&b""[..], b"VADPREPO", &[0; 5000], b"PK\x03\x04 something else altogether"] {
        assert_eq!(kind(other.import_point(foreign, &sealed_for(), |_| ()).await), ErrorKind::InvalidInput);
    }
    let store = MemoryStore::new();
    let larger = InitOptions::with_chunk_size(2 * CHUNK as u32);
    let larger =
        Repository::init(Arc::clone(&store) as Arc<dyn ChunkStore>, &secret(), larger).await.unwrap();
    assert_eq!(kind(larger.import_point(&file[..], &sealed_for(), |_| ()).await), ErrorKind::InvalidInput);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_not_exported() {
    let store = MemoryStore::new();
    let repo = init(&store).await;
    let point = back_up(&repo, "web", CAPACITY, &image(), None).await.unwrap();
    let pack = store.names("packs").into_iter().max_by_key(|name| store.objects()[name].len()).unwrap();
    store.change(&pack, |bytes| bytes[64 + 10] ^= 1);
    let mut file = Vec::new();
    let error = repo.export_point(point.id(), &sealed_for(), &mut file, |_| ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(import(&file).await.is_err());
}
