//! Bodies that are sent and read piece by piece.

use bytes::Bytes;
use client::transport::Answer;
use futures::stream;

use super::*;

async fn open_on(bytes: &'static [u8], limits: Limits) -> (Server, HttpTransport, Answer) {
    let server = Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| async move {
        while peer.request().await.is_some() {
            peer.write(bytes).await;
        }
    })
    .await;
    let transport = accepting(&server, limits);
    let answer = transport.open(get("/")).await.unwrap();
    (server, transport, answer)
}

async fn rest(answer: &mut Answer) -> Result<Vec<u8>, TransportError> {
    let mut all = Vec::new();
    while let Some(piece) = answer.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

#[tokio::test]
async fn an_answer_that_was_read_gives_its_connection_back_and_another_closes_it() {
    let (server, transport, mut answer) =
        open_on(b"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\n\r\nhello", Limits::default()).await;
    assert_eq!(answer.status, 206);
    assert_eq!(rest(&mut answer).await.unwrap(), b"hello");
    assert!(answer.next().await.unwrap().is_none());
    drop(answer);
    let unread = transport.open(get("/")).await.unwrap();
    assert_eq!(server.connections(), 1);
    drop(unread);
    let mut again = transport.open(get("/")).await.unwrap();
    assert_eq!(rest(&mut again).await.unwrap(), b"hello");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_open_answer_holds_a_place_until_it_is_dropped() {
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let (_server, transport, answer) =
        open_on(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", limits).await;
    let second = transport.send(get("/"));
    tokio::pin!(second);
    assert!(timeout(Duration::from_millis(100), &mut second).await.is_err());
    drop(answer);
    assert_eq!(&timeout(Duration::from_secs(10), second).await.unwrap().unwrap().body[..], b"hello");
}

#[tokio::test]
async fn streamed_bodies_have_no_limit_in_size_and_whole_ones_do() {
    let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        loop {
            peer.write([&b"1000\r\n"[..], &[7; 0x1000], b"\r\n"].concat()).await;
        }
    })
    .await;
    let transport = accepting(&server, Limits { max_response_bytes: 1 << 20, ..Limits::default() });
    let error = transport.send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    let mut answer = transport.open(get("/")).await.unwrap();
    let mut read = 0;
    while read < 4 << 20 {
        read += answer.next().await.unwrap().unwrap().len();
    }
}

#[tokio::test]
async fn a_cut_or_silent_body_is_an_error_once_and_then_the_end() {
    let limits = Limits { read_timeout: Duration::from_millis(150), ..Limits::default() };
    let (_server, _, mut answer) = open_on(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", limits).await;
    let error = rest(&mut answer).await.unwrap_err();
    assert!(error.is_timeout());
    assert_says(&error, &["3 of 9 bytes", "150ms"]);
    assert!(answer.next().await.unwrap().is_none());

    let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").await;
        peer.close().await;
    })
    .await;
    let mut answer = accepting(&server, Limits::default()).open(get("/")).await.unwrap();
    assert_eq!(rest(&mut answer).await.unwrap_err().kind(), Kind::Truncated);
}

fn pieces(count: u8) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    stream::iter((0..count).map(|n| Ok(Bytes::from(vec![b'a' + n; 3]))))
}

/// A server that reads what a Content-Length announces, or chunks up to their end, and answers with all it read.
async fn echo() -> Server {
    Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
        let mut seen = Vec::new();
        while !(seen.ends_with(b"\r\n0\r\n\r\n") || seen.ends_with(b"aaabbbccc")) {
            let mut buffer = [0; 512];
            match peer.stream.read(&mut buffer).await {
                Ok(count) if count > 0 => seen.extend_from_slice(&buffer[..count]),
                _ => return,
            }
        }
        peer.ok(&String::from_utf8(seen).unwrap()).await;
    })
    .await
}

#[tokio::test]
async fn uploads_go_out_sized_or_chunked() {
    let server = echo().await;
    let transport = accepting(&server, Limits::default());
    let put = || Request::new(Method::PUT, "/folder/a");
    let response = transport.upload(put(), Upload::sized(9, pieces(3))).await.unwrap();
    let seen = String::from_utf8(response.body.to_vec()).unwrap().to_lowercase();
    assert!(seen.contains("\r\ncontent-length: 9\r\n") && seen.ends_with("\r\n\r\naaabbbccc"), "{seen}");

    let response = transport.upload(put(), Upload::chunked(pieces(2))).await.unwrap();
    let seen = String::from_utf8(response.body.to_vec()).unwrap().to_lowercase();
    assert!(seen.contains("\r\ntransfer-encoding: chunked\r\n"), "{seen}");
    assert!(seen.ends_with("3\r\naaa\r\n3\r\nbbb\r\n0\r\n\r\n"), "{seen}");
}

#[tokio::test]
async fn an_upload_that_is_not_what_it_says_fails() {
    let server = echo().await;
    let transport = accepting(&server, Limits::default());
    let broken = stream::iter([Ok(Bytes::from_static(b"aaa")), Err(std::io::Error::other("the disk broke"))]);
    for (upload, word) in [
        (Upload::sized(10, pieces(3)), "ended after 9"),
        (Upload::sized(8, pieces(3)), "gave more: 9"),
        (Upload::chunked(broken), "the disk broke"),
    ] {
        let error = transport.upload(Request::new(Method::PUT, "/a"), upload).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Upload, "{error:?}");
        assert!(format!("{error:?}").contains(word), "{error:?}");
    }
}

#[tokio::test]
async fn an_upload_that_nobody_reads_ends_in_time() {
    let server = Server::start(&Identity::self_signed("a.example"), |_, peer: Peer| async move {
        let _open = peer;
        sleep(Duration::from_secs(60)).await;
    })
    .await;
    let limits = Limits { head_timeout: Duration::from_millis(300), ..Limits::default() };
    let endless = stream::repeat_with(|| Ok(Bytes::from(vec![1; 65536])));
    let started = Instant::now();
    let error = accepting(&server, limits)
        .upload(Request::new(Method::PUT, "/a"), Upload::chunked(endless))
        .await
        .unwrap_err();
    assert!(error.is_timeout());
    assert_says(&error, &["neither took more than", "300ms"]);
    assert!(started.elapsed() < Duration::from_secs(20));
}
