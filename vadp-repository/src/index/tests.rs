//! The index beside a plain map, in memory and with files.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::codec::Encoding;
use crate::crypto::Keyring;
use crate::format::header::ObjectKind;
use crate::ids::{ChunkId, RepositoryId};

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
    for listed in index.rows().unwrap() {
        let Listed { pack, entry, .. } = listed.unwrap();
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

/// Marks every third chunk, and asks of all.
fn mark_and_compare(index: &Index, objects: &[Packs]) {
    let mut marks = Marks::new(index.view());
    for content in [Content::Data, Content::Page] {
        let expected = expected(objects, content);
        for number in (0..300).filter(|number| number % 3 == 0) {
            assert_eq!(marks.mark(content, &id(number)).unwrap(), expected.contains_key(&id(number)));
        }
        for number in 0..300 {
            let is_marked = number % 3 == 0 && expected.contains_key(&id(number));
            assert_eq!(marks.has(content, &id(number)).unwrap(), is_marked, "chunk {number}");
        }
    }
    // Row by row, chunk by chunk, and pack by pack the same is marked.
    let thirds: BTreeSet<ChunkId> = (0..300).filter(|number| number % 3 == 0).map(id).collect();
    let (mut seen, mut copies_seen) = (BTreeSet::new(), 0);
    marks
        .view()
        .by_chunk(|copies| {
            let chunk = copies[0].entry.id;
            assert!(seen.insert(chunk), "a chunk comes twice");
            assert!(copies.iter().all(|copy| copy.entry.id == chunk && copy.row < marks.view().len()));
            assert!(copies.iter().all(|copy| marks.is_marked(copy.row) == thirds.contains(&chunk)));
            copies_seen += copies.len();
            Ok(())
        })
        .unwrap();
    assert_eq!(copies_seen, index.rows().unwrap().count());
    let packs: Vec<PackId> = index.packs().iter().map(|pack| pack.pack).collect();
    for most in [1, 40, 10_000] {
        let parts = marks.view().in_parts(packs.clone(), most).unwrap();
        assert_eq!(parts.concat(), packs);
        let mut listed = 0;
        for part in parts {
            let lists = marks.view().lists(&part, |row| marks.is_marked(row)).unwrap();
            assert_eq!(lists.len(), part.len());
            let rows: usize = lists.values().map(Vec::len).sum();
            let all: usize = marks.view().lists(&part, |_| true).unwrap().values().map(Vec::len).sum();
            assert!(part.len() == 1 || all <= most);
            assert!(lists.values().all(|list| list.is_sorted_by_key(|entry| entry.offset)));
            assert!(lists.values().flatten().all(|entry| thirds.contains(&entry.id)));
            listed += rows;
        }
        let marked = index.rows().unwrap().filter(|row| marks.is_marked(row.as_ref().unwrap().row)).count();
        assert_eq!(listed, marked);
    }
    // Without the last mark of a chunk nothing is left of it.
    for listed in marks.view().clone().rows().unwrap() {
        marks.clear(listed.unwrap().row);
    }
    assert!(index.rows().unwrap().all(|row| !marks.is_marked(row.unwrap().row)));
}

#[test]
fn marks_take_a_bit_for_each_row() {
    let chunks: Vec<u16> = (0..50_000).collect();
    let packs: Vec<PackRecord> =
        (1..=4).zip(chunks.chunks(12_500)).map(|(pack, chunks)| record(pack, chunks)).collect();
    let folder = tempfile::tempdir().unwrap();
    for cache in [None, Some(cache(folder.path(), 100))] {
        let is_cached = cache.is_some();
        let mut index = Index::new(cache);
        index
            .add(IndexId::from_bytes([1; 16]), &IndexObject { supersedes: Vec::new(), packs: packs.clone() })
            .unwrap();
        index.store().unwrap();
        assert_eq!(index.rows_in_memory() == 0, is_cached);
        let used = allocation_counter::measure(|| {
            let mut marks = Marks::new(index.view());
            chunks.iter().for_each(|number| assert!(marks.mark(Content::Data, &id(*number)).unwrap()));
            let mut marked = 0;
            marks
                .view()
                .by_chunk(|copies| {
                    marked += copies.iter().filter(|copy| marks.is_marked(copy.row)).count();
                    Ok(())
                })
                .unwrap();
            assert_eq!(marked, chunks.len());
        });
        // A walk through the file reads pieces of it, whatever its size.
        let pieces = if is_cached { 2 << 20 } else { 2 << 10 };
        assert!(used.bytes_max < 50_000 / 8 + pieces, "{used:?}");
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
            mark_and_compare(&index, &objects);
            let before = index.view();
            index.store().unwrap();
            compare(&index, &objects);
            mark_and_compare(&index, &objects);
            // A view is what it was, whatever becomes of the index.
            index.add(IndexId::from_bytes([255; 16]), &IndexObject { supersedes: Vec::new(), packs: vec![record(50, &[7, 1000])] }).unwrap();
            prop_assert!(before.places(Content::Page, &id(1000)).unwrap().is_empty());
            prop_assert_eq!(before.rows().unwrap().count() + 2, index.rows().unwrap().count());
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
            assert!(tried.rows().unwrap().next().is_none());
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
        assert!(tried.rows().map_or(true, |mut rows| rows.any(|row| row.is_err())));
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
