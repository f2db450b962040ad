//! An export that can be written, against a vector of bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use vadp_repository::nbd::{Export, NbdServer};

use crate::client::*;
use crate::support::*;

const NAME: &str = "web-01/2000";
const BLOCK: u64 = 64 * 1024;

/// One thing that a client does, over one of two connections.
#[derive(Debug, Clone)]
enum Step {
    Write { offset: usize, length: usize, byte: u8, flags: u16 },
    Zero { offset: usize, length: usize, flags: u16 },
    Trim { offset: usize, length: usize },
    Read { offset: usize, length: usize },
    Flush,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    // Near the borders of blocks and chunks, and anywhere.
    let offset = prop_oneof![
        (0..CAPACITY / BLOCK as usize, -3_isize..4)
            .prop_map(|(block, by)| { (block * BLOCK as usize).saturating_add_signed(by).min(CAPACITY - 1) }),
        0..CAPACITY,
        Just(CAPACITY - 1),
    ];
    let length = prop_oneof![1..20_usize, 60_000..70_000_usize, 100_000..600_000_usize];
    let place = (offset, length).prop_map(|(offset, length)| (offset, length.min(CAPACITY - offset)));
    let flags = prop_oneof![3 => Just(0), 1 => Just(FUA)];
    let step = prop_oneof![
        4 => (place.clone(), any::<u8>(), flags).prop_map(|((offset, length), byte, flags)| Step::Write { offset, length, byte, flags }),
        2 => (place.clone(), prop_oneof![Just(0), Just(NO_HOLE), Just(FUA)])
            .prop_map(|((offset, length), flags)| Step::Zero { offset, length, flags }),
        2 => place.clone().prop_map(|(offset, length)| Step::Trim { offset, length }),
        2 => place.prop_map(|(offset, length)| Step::Read { offset, length }),
        1 => Just(Step::Flush),
    ];
    proptest::collection::vec((0..2_usize, step), 1..25)
}

#[test]
fn the_overlay_is_a_disk() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (_, disk) = runtime.block_on(repository());
    let mut runner = TestRunner::new(Config { cases: 40, failure_persistence: None, ..Config::default() });
    let done = runner.run(&steps(), |steps| {
        runtime.block_on(live(with_overlay(disk.clone()), &steps));
        Ok(())
    });
    done.unwrap();
    let mut unchanged = vec![0; CAPACITY];
    runtime.block_on(disk.read_at(0, &mut unchanged)).unwrap();
    assert!(unchanged == image(), "the restore point is as it was");
}

/// What is acknowledged over one connection is read over the other.
async fn live(server: NbdServer, steps: &[(usize, Step)]) {
    let server = Arc::new(server);
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(Client::connect(connection(&server), NAME).await);
    }
    let mut oracle = image();
    for (client, step) in steps {
        let client = &mut clients[*client];
        match *step {
            Step::Write { offset, length, byte, flags } => {
                let data: Vec<u8> = (0..length).map(|at| byte.wrapping_add((at % 251) as u8)).collect();
                client.write(flags, offset as u64, &data).await.unwrap();
                oracle[offset..offset + length].copy_from_slice(&data);
            }
            Step::Zero { offset, length, flags } => {
                client.ask(WRITE_ZEROES, flags, offset as u64, length as u32).await.unwrap();
                oracle[offset..offset + length].fill(0);
            }
            Step::Trim { offset, length } => {
                client.ask(TRIM, 0, offset as u64, length as u32).await.unwrap();
                // Of each byte it may be forgotten or not: what is read from now on says which.
                let read = client.read(offset as u64, length as u32).await.unwrap();
                for (now, before) in read.iter().zip(&mut oracle[offset..offset + length]) {
                    assert!(*now == *before || *now == 0, "a trim makes zeros or nothing");
                    *before = *now;
                }
            }
            Step::Read { offset, length } => {
                let read = client.read(offset as u64, length as u32).await.unwrap();
                assert!(read == oracle[offset..offset + length], "{step:?}");
            }
            Step::Flush => _ = client.ask(FLUSH, 0, 0, 0).await.unwrap(),
        }
    }
    for client in &mut clients {
        assert!(client.read(0, CAPACITY as u32).await.unwrap() == oracle);
        // What is called zero has to be.
        client.ask(BLOCK_STATUS, 0, 0, CAPACITY as u32).await.unwrap();
        let mut at = 0;
        for (length, status) in &client.extents {
            let end = at + *length as usize;
            assert!(*status == 0 || oracle[at..end].iter().all(|byte| *byte == 0), "{at}..{end} is no hole");
            at = end;
        }
        assert_eq!(at, CAPACITY);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_one_block_may_be_written_at_once() {
    let (_, disk) = repository().await;
    let server = Arc::new(with_overlay(disk));
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::connect(connection(&server), NAME).await);
    }
    // Each connection writes every fourth kilobyte of a block that holds data, all at the same time.
    let start = CHUNK as u64;
    let mut waiting = Vec::new();
    for (number, client) in (0_u8..).zip(&mut clients) {
        let mut asked = BTreeMap::new();
        for kilobyte in (0..64_u64).filter(|kilobyte| kilobyte % 4 == u64::from(number)) {
            let cookie = client.send(WRITE, 0, start + kilobyte * 1024, 1000, &[number + 1; 1000]).await;
            asked.insert(cookie, (0, vec![]));
        }
        waiting.push(asked);
    }
    for (client, asked) in clients.iter_mut().zip(&mut waiting) {
        while !asked.is_empty() {
            client.reply(asked).await.1.unwrap();
        }
    }
    let mut expected = image()[CHUNK..CHUNK + BLOCK as usize].to_vec();
    for kilobyte in 0..64 {
        expected[kilobyte * 1024..kilobyte * 1024 + 1000].fill((kilobyte % 4) as u8 + 1);
    }
    assert!(clients[3].read(start, BLOCK as u32).await.unwrap() == expected);
}

#[tokio::test]
async fn an_overlay_says_what_it_can() {
    let (_, disk) = repository().await;
    let server = Arc::new(with_overlay(disk));
    let mut client = Client::greet(connection(&server), 3).await;
    let answers = client.option(6, &export("", &[])).await;
    assert_eq!(answers[0].1[6..10], (BLOCK as u32).to_be_bytes(), "the preferred size is that of a block");
    client.structure().await;
    // FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, DF, MULTI_CONN; not READ_ONLY.
    assert_eq!(client.go("").await, Ok((CAPACITY as u64, 0b1_1110_1101)));
    assert_eq!(client.write(0, CAPACITY as u64 - 1, b"ab").await.unwrap_err().0, ENOSPC);
    assert_eq!(client.ask(TRIM, 0, CAPACITY as u64, 1).await.unwrap_err().0, ENOSPC);
    assert_eq!(client.ask(WRITE_ZEROES, 16, 0, 1).await.unwrap_err().0, EINVAL, "no fast zeroes");
    assert_eq!(client.write(0, 7, b"").await, Ok(vec![]));
    // Another overlay on the same disk knows nothing of this one.
    client.write(FUA, 0, b"here").await.unwrap();
    assert_eq!(client.read(0, 4).await.unwrap(), b"here");
}

#[tokio::test]
async fn overlays_are_gone_with_their_exports_and_leave_no_name() {
    let (_, disk) = repository().await;
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let export = Export::with_overlay(disk.clone(), folder.path()).unwrap();
        let server = Arc::new(NbdServer::builder().export(NAME, export).build().unwrap());
        let mut client = Client::connect(connection(&server), NAME).await;
        assert_eq!(client.read(0, 4).await.unwrap(), [0; 4]);
        client.write(0, 0, b"here").await.unwrap();
        assert_eq!(client.read(0, 4).await.unwrap(), b"here");
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "the file has no name");
    }
    let refused = Export::with_overlay(disk, folder.path().join("nothing")).unwrap_err();
    assert_eq!(refused.kind(), vadp_repository::ErrorKind::NotFound);
}
