//! What the specification says, from the client's side.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use vadp_repository::nbd::{Export, NbdServer};

use crate::client::*;
use crate::support::*;

const NAME: &str = "web-01/2000";
/// Chunks of the image, and what block status says of them.
const MAP: [(usize, u32); 8] = [(1, 3), (2, 0), (2, 3), (1, 0), (2, 3), (2, 0), (1, 3), (1, 0)];

#[tokio::test]
async fn options_are_answered() {
    let (_, disk) = repository().await;
    let other = Export::read_only(disk.clone());
    let server = NbdServer::builder().export(NAME, Export::read_only(disk)).export("other", other);
    let server = Arc::new(server.build().unwrap());
    let mut client = Client::greet(connection(&server), 3).await;

    let listed = [(2, b"\0\0\0\x0bweb-01/2000".to_vec()), (2, b"\0\0\0\x05other".to_vec()), (1, vec![])];
    assert_eq!(client.option(3, b"").await, listed);
    // INFO with the name and a kind of information that is not known.
    let answers = client.option(6, &export(NAME, &[1, 77])).await;
    let block_sizes =
        [&[0, 3][..], &1_u32.to_be_bytes(), &(1_u32 << 18).to_be_bytes(), &(32_u32 << 20).to_be_bytes()];
    assert_eq!(answers[0], (3, block_sizes.concat()));
    assert_eq!(answers[1], (3, b"\0\x01web-01/2000".to_vec()));
    // HAS_FLAGS, READ_ONLY, FLUSH, FUA, MULTI_CONN.
    let size = (CAPACITY as u64).to_be_bytes();
    assert_eq!(answers[2], (3, [&[0, 0][..], &size, &0b1_0000_1111_u16.to_be_bytes()].concat()));
    assert_eq!(answers[3], (1, vec![]));

    // Structured replies come before contexts.
    assert_eq!(client.option(10, &contexts(NAME, &["base:allocation"])).await[0].0, 0x8000_0003);
    client.structure().await;
    for (queries, found) in [
        (&[][..], true),
        (&["base:"][..], true),
        (&["qemu:dirty", "base:allocation"][..], true),
        (&["x:"][..], false),
    ] {
        let answers = client.option(9, &contexts(NAME, queries)).await;
        assert_eq!(answers.len(), if found { 2 } else { 1 }, "{queries:?}");
        assert!(!found || answers[0] == (4, b"\0\0\0\0base:allocation".to_vec()), "{answers:?}");
    }
    // To choose, the name has to be exact.
    assert_eq!(client.option(10, &contexts(NAME, &["base:", "x:y"])).await, [(1, vec![])]);
    // With two exports, no name means none.
    let refused = |kind: u32| 0x8000_0000 + kind;
    assert_eq!(client.go("").await, Err(refused(6)));
    assert_eq!(client.go("nothing").await, Err(refused(6)));
    assert_eq!(client.option(10, &contexts("nothing", &["base:allocation"])).await[0].0, refused(6));
    // TLS, which is off; extended headers and what nobody knows.
    assert_eq!(client.option(5, b"").await[0].0, refused(2));
    assert_eq!(client.option(11, b"").await[0].0, refused(1));
    assert_eq!(client.option(4711, b"data of it").await[0].0, refused(1));
    // Contexts are those of the export that they were chosen for.
    assert_eq!(client.option(10, &contexts(NAME, &["base:allocation"])).await.len(), 2);
    // As before, with DF.
    assert_eq!(client.go("other").await, Ok((CAPACITY as u64, 0b1_1000_1111)));
    assert_eq!(client.ask(BLOCK_STATUS, 0, 0, 512).await.unwrap_err().0, EINVAL);
    assert_eq!(client.read(0, 512).await, Ok(vec![0; 512]));
}

#[tokio::test]
async fn an_old_client_names_its_export() {
    let (_, disk) = repository().await;
    let server = Arc::new(read_only(disk));
    for (flags, zeroes) in [(1, 124), (3, 0)] {
        let mut client = Client::greet(connection(&server), flags).await;
        client.send_option(1, b"").await;
        let mut answer = vec![0; 10 + zeroes];
        tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut answer).await.unwrap();
        assert_eq!(answer[..8], (CAPACITY as u64).to_be_bytes());
        assert!(answer[10..].iter().all(|byte| *byte == 0));
        // Simple replies, also for holes; DF was not agreed on.
        let at = CHUNK - 10;
        assert_eq!(client.read(at as u64, 20).await.unwrap(), image()[at..at + 20]);
        assert_eq!(client.ask(READ, DF, 0, 20).await, Err((EINVAL, String::new())));
        assert_eq!(client.read(CAPACITY as u64 - 5, 6).await, Err((EINVAL, String::new())));
    }
    let mut client = Client::greet(connection(&server), 3).await;
    client.send_option(1, b"nothing").await;
    assert!(client.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_is_that_of_the_image() {
    let (_, disk) = repository().await;
    let (server, image) = (Arc::new(read_only(disk)), image());
    let mut client = Client::connect(connection(&server), NAME).await;
    assert!(client.read(0, CAPACITY as u32).await.unwrap() == image);
    assert_eq!(client.kinds, [2, 1, 1, 2, 1, 2, 1, 1, 2, 1], "holes are told, not sent");
    assert!(client.ask(READ, DF, 0, CAPACITY as u32).await.unwrap() == image);
    assert_eq!(client.kinds, [1], "in one piece");
    assert_eq!(client.ask(READ, DF, 10, 1000).await.unwrap(), [0; 1000]);
    assert_eq!(client.kinds, [2]);
    assert_eq!(client.read(CAPACITY as u64, 0).await, Ok(vec![]));

    // Odd places and lengths, many at a time; replies come in any order.
    let mut asked = BTreeMap::new();
    for number in 0..60_u64 {
        let offset = number * 7_919 * 6 % (CAPACITY as u64 - 90_000);
        let length = (number * 1_511 % 90_000) as u32;
        let cookie = client.send(READ, 0, offset, length, b"").await;
        asked.insert(cookie, (offset, vec![0; length as usize]));
    }
    let places = asked.clone();
    while !asked.is_empty() {
        let (cookie, answer) = client.reply(&mut asked).await;
        let (offset, buffer) = &places[&cookie];
        let offset = usize::try_from(*offset).unwrap();
        assert!(answer.unwrap() == image[offset..offset + buffer.len()], "the bytes at {offset}");
    }
}

#[tokio::test]
async fn block_status_is_the_map_of_the_disk() {
    let (_, disk) = repository().await;
    let server = Arc::new(read_only(disk));
    let mut client = Client::connect(connection(&server), NAME).await;
    client.ask(BLOCK_STATUS, 0, 0, CAPACITY as u32).await.unwrap();
    let mut expected: Vec<_> =
        MAP.iter().map(|(chunks, status)| ((chunks * CHUNK) as u32, *status)).collect();
    expected.last_mut().unwrap().0 = 70_000;
    assert_eq!(client.extents, expected);

    client.ask(BLOCK_STATUS, REQ_ONE, CHUNK as u64 + 5, 3 * CHUNK as u32).await.unwrap();
    assert_eq!(client.extents, [(2 * CHUNK as u32 - 5, 0)]);
    client.ask(BLOCK_STATUS, 0, 3 * CHUNK as u64 - 1, 2).await.unwrap();
    assert_eq!(client.extents, [(1, 0), (1, 3)]);
    assert_eq!(client.ask(BLOCK_STATUS, 0, 0, 0).await.unwrap_err().0, EINVAL);
    assert_eq!(client.ask(BLOCK_STATUS, 0, 0, CAPACITY as u32 + 1).await.unwrap_err().0, EINVAL);
}

#[tokio::test]
async fn what_may_not_be_asked_is_refused_and_the_next_is_answered() {
    let (_, disk) = repository().await;
    let server = Arc::new(read_only(disk));
    let mut client = Client::connect(connection(&server), NAME).await;
    assert_eq!(client.write(0, 0, b"not to be").await.unwrap_err().0, EPERM);
    assert_eq!(client.ask(TRIM, 0, 0, 4096).await.unwrap_err().0, EPERM);
    assert_eq!(client.ask(WRITE_ZEROES, 0, 0, 4096).await.unwrap_err().0, EPERM);
    assert_eq!(client.ask(CACHE, 0, 0, 4096).await.unwrap_err().0, EINVAL);
    assert_eq!(client.ask(99, 0, 0, 4096).await.unwrap_err().0, EINVAL);
    assert_eq!(client.ask(READ, 0x8000, 0, 4096).await.unwrap_err().0, EINVAL);
    assert_eq!(client.ask(READ, NO_HOLE, 0, 4096).await.unwrap_err().0, EINVAL);
    assert_eq!(client.read(u64::MAX - 3, 4096).await.unwrap_err().0, EINVAL);
    assert_eq!(client.read(0, (32 << 20) + 1).await.unwrap_err().0, EOVERFLOW);
    assert_eq!(client.read(0, u32::MAX).await.unwrap_err().0, EOVERFLOW);
    assert_eq!(client.ask(FLUSH, 0, 0, 0).await, Ok(vec![]));
    assert_eq!(client.ask(FLUSH, FUA, 0, 0).await, Ok(vec![]));
    assert_eq!(client.read(0, 3).await, Ok(vec![0; 3]));
    // What was asked before the goodbye is answered.
    let cookie = client.send(READ, 0, 0, 10, b"").await;
    client.send(DISCONNECT, 0, 0, 0, b"").await;
    assert!(client.reply(&mut BTreeMap::from([(cookie, (0, vec![1; 10]))])).await.1.is_ok());
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn damage_is_an_error_for_its_bytes_and_for_no_others() {
    let (store, disk) = repository().await;
    // One sealed chunk is hit, in the middle of the pack.
    let pack = store.names().into_iter().find(|name| name.starts_with("packs/")).unwrap();
    let mut places: Vec<_> = Vec::new();
    for chunk in ALLOCATED {
        places.push((chunk, disk.read_chunk(chunk).await.unwrap()));
    }
    let mut hit = None;
    for pack in store.names().into_iter().filter(|name| name.starts_with("packs/")) {
        store.tamper(&pack, |bytes| bytes.map(|bytes| flip(&bytes, 200)));
        let mut lost = Vec::new();
        for (chunk, _) in &places {
            if disk.read_chunk(*chunk).await.is_err() {
                lost.push(*chunk);
            }
        }
        if !lost.is_empty() {
            hit = Some(lost);
            break;
        }
    }
    let lost = hit.unwrap_or_else(|| panic!("nothing of {pack} is read"));
    assert!(lost.len() < ALLOCATED.len());

    let reported = Reported::default();
    let seen = Arc::clone(&reported);
    let server = NbdServer::builder()
        .export(NAME, Export::read_only(disk))
        .on_error(move |export, error| seen.lock().unwrap().push((export.to_owned(), error.to_string())));
    let server = Arc::new(server.build().unwrap());
    let mut client = Client::connect(connection(&server), NAME).await;
    let image = image();
    for chunk in 0..12_u64 {
        let start = usize::try_from(chunk).unwrap() * CHUNK;
        let answer = client.read(start as u64 + 5, 1000).await;
        match lost.contains(&chunk) {
            true => {
                let (errno, message) = answer.unwrap_err();
                assert_eq!(errno, EIO);
                assert!(message.contains(&format!("bytes {start}..")), "{message}");
            }
            false => assert!(answer.unwrap() == image[start + 5..start + 1005], "chunk {chunk}"),
        }
    }
    assert_eq!(client.read(0, CAPACITY as u32).await.unwrap_err().0, EIO, "all of it holds the lost bytes");
    let reported = reported.lock().unwrap();
    assert_eq!(reported.len(), lost.len() + 1);
    assert!(reported.iter().all(|(export, error)| export == NAME && error.contains("2000")));
}

fn flip(bytes: &Bytes, at: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes.into()
}
