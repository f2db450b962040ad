//! Reads a repository by the tables of docs/repository-format.md alone: nothing of this crate is used but to write it. If the document
//! and the code part ways, this fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::Bytes;
use vadp_repository::{DiskSpec, InitOptions, MachineId, PointDraft, Repository, Secret};

const CHUNK: usize = 256 * 1024;

/// Takes fields off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn u32(&mut self) -> usize {
        u32::from_le_bytes(self.take(4).try_into().unwrap()) as usize
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().unwrap())
    }

    fn blob(&mut self) -> &'a [u8] {
        let length = self.u32();
        self.take(length)
    }
}

fn open(
    context: &str,
    material: &[&[u8]],
    domain: u32,
    counter: u64,
    aad: &[&[u8]],
    sealed: &[u8],
) -> Vec<u8> {
    let key = blake3::derive_key(context, &material.concat());
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let nonce = [&domain.to_be_bytes()[..], &counter.to_be_bytes()].concat();
    let nonce = Nonce::try_assume_unique_for_key(&nonce).unwrap();
    let mut bytes = sealed.to_vec();
    key.open_in_place(nonce, Aad::from(aad.concat()), &mut bytes).unwrap().to_vec()
}

struct ByHand<'a> {
    path: &'a Path,
    repository: Vec<u8>,
    identity: Vec<u8>,
    epoch_key: Vec<u8>,
    /// By chunk id.
    index: HashMap<Vec<u8>, Place>,
}

/// Pack id, pack header, offset, stored length, plain length and encoding.
type Place = (Vec<u8>, Vec<u8>, u64, usize, usize, u8);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

fn objects(path: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let entries = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (from_hex(e.file_name().to_str().unwrap()), std::fs::read(e.path()).unwrap())).collect()
}

impl ByHand<'_> {
    fn object_context(
        &self,
        header: &[u8],
        id: &[u8],
        counter: u64,
        aad: &[&[u8]],
        sealed: &[u8],
    ) -> Vec<u8> {
        let context = "vadp-repository v1 object";
        open(context, &[&self.epoch_key, header, id], 1, counter, aad, sealed)
    }

    fn load_index(&mut self) {
        for (id, object) in objects(&self.path.join("index")) {
            let (header, sealed) = object.split_at(64);
            assert_eq!(&header[..11], b"VADPINDX\x01\x00\x00");
            let body = self.object_context(header, &id, 0, &[&self.repository, &id], sealed);
            let mut body = Fields(&body);
            assert_eq!(body.u32(), 0);
            for _ in 0..body.u32() {
                let (pack, header, size) = (body.take(16).to_vec(), body.take(64).to_vec(), body.u64());
                assert_eq!(std::fs::metadata(self.pack_path(&pack)).unwrap().len(), size);
                for _ in 0..body.u32() {
                    let id = body.take(32).to_vec();
                    let (offset, stored, plain) = (body.u32() as u64, body.u32(), body.u32());
                    let place = (pack.clone(), header.clone(), offset, stored, plain, body.take(1)[0]);
                    self.index.insert(id, place);
                }
            }
            assert!(body.0.is_empty());
        }
    }

    fn pack_path(&self, pack: &[u8]) -> std::path::PathBuf {
        self.path.join("packs").join(hex(&pack[..1])).join(hex(pack))
    }

    fn chunk(&self, id: &[u8], key_context: &str) -> Vec<u8> {
        let (pack, header, offset, stored, plain, encoding) = &self.index[id];
        let object = std::fs::read(self.pack_path(pack)).unwrap();
        assert_eq!(&object[..64], header);
        let lengths = [(*stored as u32).to_le_bytes(), (*plain as u32).to_le_bytes()].concat();
        let aad: [&[u8]; 6] = [&self.repository, pack, id, &offset.to_le_bytes(), &lengths, &[*encoding]];
        let sealed = &object[*offset as usize..*offset as usize + stored];
        let material: [&[u8]; 3] = [&self.epoch_key, header, pack];
        let encoded = open("vadp-repository v1 object", &material, 0, *offset, &aad, sealed);
        let bytes = match encoding {
            0 => encoded,
            1 => zstd::bulk::decompress(&encoded, *plain).unwrap(),
            other => panic!("encoding {other}"),
        };
        let key = blake3::derive_key(key_context, &self.identity);
        assert_eq!(blake3::keyed_hash(&key, &bytes).as_bytes(), id);
        bytes
    }

    /// The trailer of every pack lists what the index lists.
    fn check_trailers(&self) {
        let mut listed = 0;
        for folder in std::fs::read_dir(self.path.join("packs")).unwrap() {
            for (pack, object) in objects(&folder.unwrap().path()) {
                let (front, footer) = object.split_at(object.len() - 12);
                let mut footer = Fields(footer);
                let from = front.len() - footer.u32();
                assert_eq!(footer.0, b"VADPPEND");
                let aad: [&[u8]; 3] = [&self.repository, &pack, &(from as u64).to_le_bytes()];
                let trailer = self.object_context(&object[..64], &pack, 0, &aad, &front[from..]);
                let mut trailer = Fields(&trailer);
                for _ in 0..trailer.u32() {
                    let (id, offset) = (trailer.take(32), trailer.u32() as u64);
                    let (in_pack, _, at, stored, plain, encoding) = &self.index[id];
                    assert_eq!((in_pack, *at), (&pack, offset));
                    assert_eq!(
                        (*stored, *plain, *encoding),
                        (trailer.u32(), trailer.u32(), trailer.take(1)[0])
                    );
                    listed += 1;
                }
                assert!(trailer.0.is_empty());
            }
        }
        assert_eq!(listed, self.index.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_enough_to_restore_a_disk() {
    let folder = tempfile::tempdir().unwrap();
    let options = InitOptions::with_chunk_size(CHUNK as u32);
    let repo = Repository::init_local(folder.path(), &Secret::raw_key([3; 32]), options).await.unwrap();
    let capacity = 1030 * CHUNK as u64 + 777;
    let text: Bytes = "all work and no play ".bytes().cycle().take(CHUNK).collect();
    let noise: Bytes = blake3_stream(CHUNK);
    let tail: Bytes = blake3_stream(777);
    let chunks = BTreeMap::from([(0, text), (1025, noise), (1030, tail)]);
    let writer = repo.begin(PointDraft::new(MachineId::new("vm").unwrap()).tag("a", "b")).await.unwrap();
    let spec = DiskSpec { key: "d".to_owned(), capacity_bytes: capacity };
    let mut disk = writer.disk(spec, None).unwrap();
    for (chunk, data) in &chunks {
        disk.put(*chunk, data.clone()).await.unwrap();
    }
    disk.finish().await.unwrap();
    let of_disk = BTreeMap::from([("d".to_owned(), Bytes::from("of disk"))]);
    let point = writer.commit(Bytes::from("of point"), of_disk).await.unwrap();

    let config = std::fs::read(folder.path().join("config")).unwrap();
    assert_eq!((config.len(), &config[..8]), (125, &b"VADPREPO"[..]));
    let repository = config[20..36].to_vec();
    let (_, slot) = objects(&folder.path().join("keys")).remove(0);
    assert_eq!((slot[10], &slot[12..28]), (2, &repository[..]));
    let (header, sealed) = slot.split_at(100);
    let sealed = Fields(sealed).blob();
    let keyring = open("vadp-repository v1 key slot", &[&[3; 32], header], 1, 0, &[header], sealed);
    let mut keyring = Fields(&keyring);
    let identity = keyring.take(32).to_vec();
    assert_eq!((keyring.u32(), keyring.u32()), (1, 1));
    let epoch_key = keyring.take(32).to_vec();
    let key = blake3::derive_key("vadp-repository v1 config", &identity);
    assert_eq!(blake3::keyed_hash(&key, &config[..93]).as_bytes(), &config[93..]);

    let mut by_hand = ByHand { path: folder.path(), repository, identity, epoch_key, index: HashMap::new() };
    by_hand.load_index();
    by_hand.check_trailers();
    let object = std::fs::read(folder.path().join("points").join(point.id().to_string())).unwrap();
    let (header, rest) = object.split_at(64);
    assert_eq!(&header[..12], b"VADPPOIN\x01\x00\x00\x00");
    let (lengths, rest) = rest.split_at(8);
    let (head_length, body_length) = (Fields(lengths).u32(), Fields(&lengths[4..]).u32());
    assert_eq!(rest.len(), head_length + body_length);
    let id = point.id();
    let aad: [&[u8]; 3] = [&by_hand.repository, id.as_bytes(), lengths];
    let head = by_hand.object_context(header, id.as_bytes(), 0, &aad, &rest[..head_length]);
    let body = by_hand.object_context(header, id.as_bytes(), 1, &aad, &rest[head_length..]);

    let mut head = Fields(&head);
    assert_eq!(head.blob(), b"vm");
    head.take(8);
    assert_eq!((head.u32(), head.blob(), head.blob()), (1, &b"a"[..], &b"b"[..]));
    assert_eq!((head.u32(), head.blob(), head.u64()), (1, &b"d"[..], capacity));
    assert_eq!(head.take(16), [0; 16]);
    assert_eq!((head.u64(), head.u64()), (3, 2 * CHUNK as u64 + 777));
    head.take(8 * 8);
    assert_eq!((head.u32(), head.0.len()), (0, 0));

    let mut body = Fields(&body);
    assert_eq!((body.blob(), body.blob(), body.u32()), (&b"of point"[..], &b"of disk"[..], 2));
    let mut found = BTreeMap::new();
    for page in 0..2_u64 {
        let ids = by_hand.chunk(body.take(32), "vadp-repository v1 page id");
        for (slot, id) in ids.chunks(32).enumerate().filter(|(_, id)| *id != [0; 32]) {
            let bytes = by_hand.chunk(id, "vadp-repository v1 chunk id");
            found.insert(1024 * page + slot as u64, Bytes::from(bytes));
        }
    }
    assert!(body.0.is_empty());
    assert!(found == chunks, "the disk read by hand differs");
}

fn blake3_stream(length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&length.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into()
}
