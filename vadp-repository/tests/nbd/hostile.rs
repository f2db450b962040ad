//! Clients that mean harm, or are broken. Each gets an error or a closed connection, and the server goes on.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::AsyncWriteExt;
use vadp_repository::nbd::{Export, NbdServer};

use crate::client::*;
use crate::support::*;

const NAME: &str = "web-01/2000";

#[tokio::test]
async fn a_broken_negotiation_ends_the_connection() {
    let (_, disk) = repository().await;
    let server = Arc::new(read_only(disk));
    for flags in [0, 2, 7, u32::MAX] {
        assert!(Client::greet(connection(&server), flags).await.is_closed().await, "flags {flags:#x}");
    }
    let long = [b"IHAVEOPT", &7_u32.to_be_bytes()[..], &u32::MAX.to_be_bytes()].concat();
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &long] {
        let mut client = Client::greet(connection(&server), 3).await;
        client.stream.write_all(bytes).await.unwrap();
        assert!(client.is_closed().await);
    }
    // Lengths within an option that do not fit.
    let mut client = Client::greet(connection(&server), 3).await;
    client.structure().await;
    for option in [6, 7, 9, 10] {
        for data in [&b""[..], b"\0", b"\xff\xff\xff\xff", b"\0\0\0\x02a\0\0", b"\0\0\0\x00\xff\xff\xff\xff"]
        {
            assert_eq!(client.option(option, data).await[0].0, 0x8000_0003, "option {option}, {data:?}");
        }
    }
    assert_eq!(client.option(3, b"data").await[0].0, 0x8000_0003);
    assert_eq!(client.option(8, b"data").await[0].0, 0x8000_0003);
    assert!(client.go(NAME).await.is_ok(), "all that was no reason to hang up");
}

#[tokio::test]
async fn a_broken_request_ends_the_connection() {
    let (_, disk) = repository().await;
    let server = Arc::new(with_overlay(disk));
    let mut client = Client::connect(connection(&server), NAME).await;
    client.stream.write_all(&[0x5a; 28]).await.unwrap();
    assert!(client.is_closed().await);
    // A write that is longer than it may be is not waited for.
    let mut client = Client::connect(connection(&server), NAME).await;
    client.send(WRITE, 0, 0, u32::MAX, b"").await;
    assert!(client.is_closed().await);
    // A write that is cut off changes nothing.
    let mut client = Client::connect(connection(&server), NAME).await;
    client.send(WRITE, 0, 0, 1 << 20, &[1; 70_000]).await;
    drop(client);
    let mut client = Client::connect(connection(&server), NAME).await;
    assert_eq!(client.read(0, 8).await.unwrap(), [0; 8]);
}

#[tokio::test]
async fn a_client_has_to_choose_in_time() {
    let (_, disk) = repository().await;
    let server = NbdServer::builder().export(NAME, Export::read_only(disk));
    let server = Arc::new(server.handshake_timeout(Duration::from_millis(50)).build().unwrap());
    let mut client = Client::greet(connection(&server), 3).await;
    client.structure().await;
    assert!(client.is_closed().await);
    // Who has chosen may be silent.
    let mut client = Client::connect(connection(&server), NAME).await;
    tokio::time::sleep(Duration::from_millis(120)).await;
    assert!(client.read(0, 8).await.is_ok());
}

#[tokio::test]
async fn who_takes_no_answers_holds_up_nobody_else() {
    let (_, disk) = repository().await;
    let server = Arc::new(read_only(disk));
    let mut deaf = Client::connect(connection(&server), NAME).await;
    // Far more than may be in flight; in the end the server reads no more, and the line is full.
    let flood = async {
        for _ in 0..100_000 {
            deaf.send(READ, 0, CHUNK as u64, 2 * CHUNK as u32, b"").await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_millis(300), flood).await.is_err(), "there is a bound");
    let mut client = Client::connect(connection(&server), NAME).await;
    assert!(client.read(0, CAPACITY as u32).await.unwrap() == image());
}

/// Pieces of a conversation, in an order that makes little sense.
#[test]
fn any_bytes_are_survived() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (_, disk) = runtime.block_on(repository());
    let options = (0..12_u32, proptest::collection::vec(any::<u8>(), 0..40)).prop_map(|(option, data)| {
        [b"IHAVEOPT", &option.to_be_bytes()[..], &(data.len() as u32).to_be_bytes(), &data].concat()
    });
    let go = Just([b"IHAVEOPT", &7_u32.to_be_bytes()[..], &6_u32.to_be_bytes(), &[0; 6]].concat());
    let request =
        (0..9_u16, 0..20_u16, any::<u64>(), any::<u32>()).prop_map(|(command, flags, offset, length)| {
            [
                &0x2560_9513_u32.to_be_bytes()[..],
                &flags.to_be_bytes(),
                &command.to_be_bytes(),
                &[7; 8],
                &(offset % (2 * CAPACITY as u64)).to_be_bytes(),
                &(length % 70_000).to_be_bytes(),
            ]
            .concat()
        });
    let garbage = proptest::collection::vec(any::<u8>(), 0..100);
    let piece = prop_oneof![4 => options, 2 => go, 6 => request, 1 => garbage];
    let conversation = proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat());
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let done = runner.run(&(any::<bool>(), conversation), |(writable, bytes)| {
        runtime.block_on(async {
            let server = if writable { with_overlay(disk.clone()) } else { read_only(disk.clone()) };
            let server = Arc::new(server);
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let talk = tokio::spawn(async move { server.serve_stream(theirs).await });
            let (mut reader, mut writer) = tokio::io::split(ours);
            let listen =
                tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
            let _ = writer.write_all(&[&3_u32.to_be_bytes()[..], &bytes].concat()).await;
            let _ = writer.shutdown().await;
            talk.await.unwrap();
            listen.await.unwrap().unwrap();
        });
        Ok(())
    });
    done.unwrap();
}
