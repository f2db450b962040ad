//! The index beside a plain map, in memory and with files.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::codec::Encoding;
use crate::crypto::Keyring;
use crate::format::header::ObjectKind;
use crate::ids::RepositoryId;

const REPOSITORY: RepositoryId = RepositoryId::from_bytes([1; 16]);

fn id(number: u16) -> ChunkId {
    ChunkId(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn record(pack: u8, chunks: &[u16]) -> PackRecord {
    let entry = |(at, number): (u32, &u16)| {
        let encoding = if number.is_multiple_of(2) { Encoding::Raw } else { Encoding::Zstd };
        PackEntry { id: id(*number), offset: 64 + 100 * at, stored: 50, plain: 4 << 20, encoding }
    };
    // Packs of the same number are the same pack, whatever index object names it.
    let kind = if pack.is_multiple_of(5) { ObjectKind::PagePack } else { ObjectKind::DataPack };
    let header = ObjectHeader { kind, epoch: 1, repository: REPOSITORY, salt: [pack; 32] };
    PackRecord {
        pack: PackId::from_bytes([pack; 16]),
        header,
        size: 1 << 30,
        entries: (0..).zip(chunks).map(entry).collect(),
    }
}

fn cache(folder: &std::path::Path, small: usize) -> Arc<IndexCache> {
    Arc::new(IndexCache::new(folder, small, REPOSITORY, &Keyring::new([2; 32], [3; 32])))
}

/// Packs and their chunks, as an index object names them.
type Packs = Vec<(u8, Vec<u16>)>;

/// What an index says of everything it knows.
type Said = BTreeMap<ChunkId, BTreeSet<(PackId, u32, u32)>>;

fn expected(objects: &[Packs], content: Content) -> Said {
    let mut said = Said::new();
    for (pack, chunks) in objects.iter().flatten() {
        let record = record(*pack, chunks);
        for entry in record.entries.iter().filter(|_| record.content().unwrap() == content) {
            said.entry(entry.id).or_default().insert((record.pack, entry.offset, entry.plain));
        }
    }
    said
}

fn compare(index: &Index, objects: &[Packs]) {
    let mut walked = [Said::new(), Said::new()];
    let mut last = ChunkId::ZERO;
    for entry in index.entries().unwrap() {
        let (pack, entry) = entry.unwrap();
        assert!(entry.id >= last);
        last = entry.id;
        let said = &mut walked[usize::from(pack.content == Content::Page)];
        assert!(said.entry(entry.id).or_default().insert((pack.pack, entry.offset, entry.plain)), "twice");
    }
    for (content, walked) in [Content::Data, Content::Page].into_iter().zip(walked) {
        let expected = expected(objects, content);
        assert_eq!(walked, expected);
        for number in 0..300 {
            let places = index.places(content, &id(number)).unwrap();
            let found: BTreeSet<_> =
                places.iter().map(|place| (place.pack, place.entry.offset, place.entry.plain)).collect();
            assert_eq!(found.len(), places.len(), "a place comes twice");
            assert_eq!(found, expected.get(&id(number)).cloned().unwrap_or_default());
            assert!(
                places
                    .iter()
                    .all(|place| (place.entry.encoding == Encoding::Raw) == (number.is_multiple_of(2)))
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn says_what_a_plain_map_says(
        objects in prop::collection::vec(
            prop::collection::vec((0_u8..40, prop::collection::vec(0_u16..250, 0..60)), 0..4), 0..12),
        small in 1_usize..40,
        store_after in 0_usize..12,
    ) {
        let folder = tempfile::tempdir().unwrap();
        // The same pack is always named with the same chunks.
        let mut known: BTreeMap<u8, Vec<u16>> = BTreeMap::new();
        let objects: Vec<Packs> = objects
            .into_iter()
            .map(|packs| packs.into_iter().map(|(pack, chunks)| (pack, known.entry(pack).or_insert(chunks).clone())).collect())
            .collect();
        for cache in [None, Some(cache(folder.path(), small))] {
            let mut index = Index::new(cache.clone());
            for (number, packs) in objects.iter().enumerate() {
                let packs = packs.iter().map(|(pack, chunks)| record(*pack, chunks)).collect();
                let object = IndexObject { supersedes: Vec::new(), packs };
                let id = IndexId::from_bytes([number as u8; 16]);
                match number % 3 {
                    0 => index.push(id, Ok(&object)).unwrap(),
                    _ => index.add(id, &object).unwrap(),
                }
                if number == store_after {
                    index.settle().unwrap();
                    index.store().unwrap();
                }
            }
            index.settle().unwrap();
            compare(&index, &objects);
            index.store().unwrap();
            compare(&index, &objects);
            // What another process finds. It may lack the last objects, which were not worth a new file.
            let cached = Index::from_cache(cache);
            let seen: Vec<_> = (0..objects.len())
                .filter(|number| cached.has_object(&IndexId::from_bytes([*number as u8; 16])))
                .map(|number| objects[number].clone())
                .collect();
            compare(&cached, &seen);
            prop_assert!(!cached.is_spoilt());
        }
    }
}

fn filled(cache: &Arc<IndexCache>) -> (Index, Vec<Packs>) {
    let objects =
        vec![vec![(1, (0..150).collect::<Vec<u16>>()), (5, vec![7, 151])], vec![(2, (100..250).collect())]];
    let mut index = Index::new(Some(Arc::clone(cache)));
    for (number, packs) in objects.iter().enumerate() {
        let packs = packs.iter().map(|(pack, chunks)| record(*pack, chunks)).collect();
        let object = IndexObject { supersedes: Vec::new(), packs };
        index.push(IndexId::from_bytes([number as u8; 16]), Ok(&object)).unwrap();
    }
    index.settle().unwrap();
    index.store().unwrap();
    (index, objects)
}

fn file_in(folder: &std::path::Path) -> std::path::PathBuf {
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files.remove(0)
}

#[test]
fn whatever_is_flipped_or_cut_is_noticed_and_never_believed() {
    let folder = tempfile::tempdir().unwrap();
    let cache = cache(folder.path(), 10);
    let (index, objects) = filled(&cache);
    assert_eq!(index.rows_in_memory(), 0);
    let file = file_in(folder.path());
    let good = std::fs::read(&file).unwrap();
    let try_with = |bytes: &[u8], what: &str| {
        std::fs::write(&file, bytes).unwrap();
        let tried = Index::from_cache(Some(Arc::clone(&cache)));
        if tried.objects().is_empty() {
            assert!(tried.entries().unwrap().next().is_none());
            return;
        }
        // It lies in a block of rows, which are opened when they are wanted.
        let expected = expected(&objects, Content::Data);
        for (id, places) in &expected {
            match tried.places(Content::Data, id) {
                Ok(found) => assert_eq!(found.len(), places.len(), "{what}"),
                Err(error) => assert_eq!(error.kind(), crate::ErrorKind::Store),
            }
        }
        assert!(tried.is_spoilt(), "{what} was not noticed");
        assert!(tried.entries().is_err() || tried.entries().unwrap().any(|entry| entry.is_err()));
    };
    let is_edge = |at: usize| at < 80 || good.len() - at < 60;
    for at in (0..good.len()).filter(|at| is_edge(*at) || at % 23 == 0) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        try_with(&bytes, &format!("a flipped bit at {at}"));
    }
    for length in (0..good.len()).step_by(97) {
        try_with(&good[..length], &format!("a cut at {length}"));
    }
    // Blocks that have changed places are both good, but not there.
    let mut bytes = good.clone();
    bytes[64..864].rotate_left(400);
    try_with(&bytes, "an exchange of blocks");
    std::fs::write(&file, &good).unwrap();
    compare(&Index::from_cache(Some(cache)), &objects);
}

#[test]
fn the_file_is_of_one_repository_and_secret_and_says_nothing_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    filled(&cache(folder.path(), 10));
    let bytes = std::fs::read(file_in(folder.path())).unwrap();
    for number in 0..250 {
        // The first bytes of an id would tell as much as all of them.
        assert!(!bytes.windows(8).any(|window| window == &id(number).as_bytes()[..8]), "chunk {number}");
    }
    for (repository, identity) in [([1; 16], [9; 32]), ([8; 16], [2; 32])] {
        let other = RepositoryId::from_bytes(repository);
        let keyring = Keyring::new(identity, [3; 32]);
        let file = folder.path().join(format!("{other}.index"));
        std::fs::write(&file, &bytes).unwrap();
        let foreign = Arc::new(IndexCache::new(folder.path(), 10, other, &keyring));
        assert!(Index::from_cache(Some(foreign)).objects().is_empty());
    }
}

#[test]
fn a_folder_that_cannot_be_written_leaves_the_index_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    let (index, objects) = filled(&cache(&file, 1));
    compare(&index, &objects);
    assert!(index.rows_in_memory() > 0);
}
