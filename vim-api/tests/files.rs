//! Reading and writing files of datastores, against a server that cuts, lies and refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "the transport's tests use the rest")]
#[path = "transport/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::stream;
use server::{Identity, Peer, Server};
use vim_api::{Client, DatastorePath, Download, Error, ErrorKind, Upload};

const CONTENT: &str = "<?xml version=\"1.0\"?><soapenv:Envelope \
    xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body>\
    <RetrieveServiceContentResponse xmlns=\"urn:vim25\"><returnval>\
    <rootFolder type=\"Folder\">group-d1</rootFolder>\
    <propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>\
    <about><name>n</name><fullName>n</fullName><vendor>v</vendor><version>8.0.3</version><build>1</build>\
    <osType>linux</osType><productLineId>vpx</productLineId><apiType>VirtualCenter</apiType>\
    <apiVersion>8.0.3.0</apiVersion></about></returnval></RetrieveServiceContentResponse>\
    </soapenv:Body></soapenv:Envelope>";

const FILE: &str = "[San 1] web/web.vmx";

/// Answers SOAP as a vCenter would, and what is asked of `/folder` as `answer` says: with these bytes, after which the
/// connection is kept or closed. `answer` gets the request and how many came before it.
async fn vcenter(
    answer: impl Fn(&str, usize) -> (String, bool) + Clone + Send + Sync + 'static,
) -> (Server, Client) {
    let requests = Arc::new(AtomicUsize::new(0));
    let server = Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| {
        let (answer, requests) = (answer.clone(), requests.clone());
        async move {
            while let Some(request) = peer.request().await {
                if request.starts_with("POST /sdk") {
                    peer.ok(CONTENT).await;
                } else if request.contains(" /folder") {
                    let (bytes, keep) = answer(&request, requests.fetch_add(1, Ordering::SeqCst));
                    peer.write(bytes).await;
                    if !keep {
                        return peer.close().await;
                    }
                } else {
                    peer.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
                }
            }
        }
    })
    .await;
    let address = server.address.to_string();
    let client = Client::connect(&address).danger().accept_any_certificate().await.unwrap();
    (server, client)
}

fn file() -> DatastorePath {
    FILE.parse().unwrap()
}

async fn rest(download: &mut Download) -> Result<String, Error> {
    let mut all = Vec::new();
    while let Some(piece) = download.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(String::from_utf8(all).unwrap())
}

#[tokio::test]
async fn a_file_is_looked_at_and_read_by_its_encoded_name() {
    let (_server, client) = vcenter(|request, _| {
        assert!(
            request.contains(" /folder/web/web.vmx?dcPath=Europe%2FDC0&dsName=San%201 HTTP/1.1"),
            "{request}"
        );
        let body = if request.starts_with("HEAD") { "" } else { "twelve bytes" };
        let date = "Thu, 26 Nov 2026 13:00:00 GMT";
        (format!("HTTP/1.1 200 OK\r\nLast-Modified: {date}\r\nContent-Length: 12\r\n\r\n{body}"), true)
    })
    .await;
    let files = client.datastore_files("/Europe/DC0");
    let status = files.status(&file()).await.unwrap();
    assert_eq!(status.size, Some(12));
    assert_eq!(status.modified.as_deref(), Some("Thu, 26 Nov 2026 13:00:00 GMT"));
    let mut download = files.download(&file()).await.unwrap();
    assert_eq!(download.size(), Some(12));
    assert_eq!(rest(&mut download).await.unwrap(), "twelve bytes");
    assert_eq!(download.position(), 12);
    assert!(download.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_download_goes_on_where_its_connection_broke() {
    let (_server, client) = vcenter(|request, number| match number {
        0 => ("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 12\r\n\r\ntwelv".to_owned(), false),
        1 => (String::new(), false),
        _ => {
            let lower = request.to_lowercase();
            let (from, to) = if number == 2 { (5, 8) } else { (8, 12) };
            assert!(lower.contains(&format!("\r\nrange: bytes={from}-11\r\n")), "{request}");
            assert!(lower.contains("\r\nif-range: \"v1\"\r\n"), "{request}");
            let part = &"twelve bytes"[from..to];
            let length = 12 - from;
            let head = "HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\n";
            (
                format!("{head}Content-Range: bytes {from}-11/12\r\nContent-Length: {length}\r\n\r\n{part}"),
                number > 2,
            )
        }
    })
    .await;
    let mut download = client.datastore_files("DC0").download(&file()).await.unwrap();
    assert_eq!(rest(&mut download).await.unwrap(), "twelve bytes");
}

#[tokio::test]
async fn a_file_that_changed_meanwhile_is_not_patched_together() {
    for second in [
        // The server honours If-Range, and sends the new file whole.
        "HTTP/1.1 200 OK\r\nETag: \"v2\"\r\nContent-Length: 12\r\n\r\nTWELVE BYTES",
        // It does not.
        "HTTP/1.1 206 Partial Content\r\nETag: \"v2\"\r\nContent-Range: bytes 5-11/12\r\nContent-Length: 7\r\n\r\nE BYTES",
        "HTTP/1.1 206 Partial Content\r\nETag: \"v1\"\r\nContent-Range: bytes 5-11/99\r\nContent-Length: 7\r\n\r\nE BYTES",
    ] {
        let (_server, client) = vcenter(move |_, number| match number {
            0 => ("HTTP/1.1 200 OK\r\nETag: \"v1\"\r\nContent-Length: 12\r\n\r\ntwelv".to_owned(), false),
            _ => (second.to_owned(), false),
        })
        .await;
        let mut download = client.datastore_files("DC0").download(&file()).await.unwrap();
        let error = rest(&mut download).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::File);
        assert!(error.to_string().contains("changed while it was read, after 5 bytes"), "{error}");
    }
}

#[tokio::test]
async fn what_cannot_be_recognised_again_is_not_taken_up_again() {
    let (_server, client) =
        vcenter(|_, _| ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\ntwelv".to_owned(), false)).await;
    let mut download = client.datastore_files("DC0").download(&file()).await.unwrap();
    let error = rest(&mut download).await.unwrap_err();
    assert_eq!((error.kind(), download.position()), (ErrorKind::Interrupted, 5));
}

#[tokio::test]
async fn a_range_is_exactly_that() {
    let (_server, client) = vcenter(|request, _| {
        let lower = request.to_lowercase();
        assert!(lower.contains("\r\nrange: bytes=3-"), "{request}");
        // Like a server should, it gives no more than there is.
        let end = if lower.contains("bytes=3-5\r\n") { 6 } else { 12 };
        let part = &"twelve bytes"[3..end];
        let head = format!("Content-Range: bytes 3-{}/12\r\nContent-Length: {}", end - 1, part.len());
        (format!("HTTP/1.1 206 Partial Content\r\n{head}\r\n\r\n{part}"), true)
    })
    .await;
    let files = client.datastore_files("DC0");
    let mut part = files.download_range(&file(), 3..6).await.unwrap();
    assert_eq!((rest(&mut part).await.unwrap().as_str(), part.size()), ("lve", Some(12)));
    for bad in [3..3, 3..99] {
        assert_eq!(files.download_range(&file(), bad).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    for (status, kind, word) in [
        (401, ErrorKind::SessionLost, "log in"),
        (403, ErrorKind::File, "Datastore.FileManagement"),
        (404, ErrorKind::NotFound, "check datacenter"),
        (503, ErrorKind::Unavailable, "try again"),
        (507, ErrorKind::File, "full"),
        (418, ErrorKind::File, "HTTP 418"),
        (302, ErrorKind::File, "HTTP 302"),
    ] {
        let (_server, client) =
            vcenter(move |_, _| (format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n"), true)).await;
        let files = client.datastore_files("DC0");
        let content = Upload::sized(3, stream::iter([Ok(Bytes::from_static(b"abc"))]));
        for error in [
            files.status(&file()).await.unwrap_err(),
            files.download(&file()).await.unwrap_err(),
            files.upload(&file(), content).await.unwrap_err(),
        ] {
            let text = error.to_string();
            assert_eq!(error.kind(), kind, "{text}");
            assert!(text.contains(word) && text.contains(FILE), "{text}");
            assert_eq!(error.is_session_lost(), status == 401);
        }
    }
}

#[tokio::test]
async fn a_file_is_written_from_a_stream() {
    let (_server, client) = vcenter(|request, _| {
        assert!(
            request.starts_with("PUT /folder/web/web.vmx?dcPath=DC0&dsName=San%201 HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.to_lowercase().contains("\r\ncontent-length: 6\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\nabcdef"), "{request}");
        ("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n".to_owned(), true)
    })
    .await;
    let pieces = ["abc", "def"].map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
    client.datastore_files("DC0").upload(&file(), Upload::sized(6, stream::iter(pieces))).await.unwrap();
}
