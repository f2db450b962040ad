//! `PUT`, `POST` and `DELETE`.

use std::fs;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::{ask, names, on_host, session, url};
use crate::start;
use crate::tls::open;

#[tokio::test]
async fn a_file_is_made_replaced_kept_and_deleted() {
    let sim = start(1).await;
    let session = session(&sim).await;
    let with = |more: &str| format!("{session}{more}");
    let put = async |headers: &str, body: &[u8]| ask(&sim, "PUT", &url("vm-1/n.nvram"), headers, body).await;
    let content = || fs::read(on_host(&sim, "vm-1/new.bin")).unwrap();
    let at = url("vm-1/new.bin");

    assert_eq!(ask(&sim, "PUT", &at, &session, b"first").await.status, 201);
    assert_eq!(content(), b"first");
    assert_eq!(ask(&sim, "PUT", &at, &session, b"2").await.status, 200);
    assert_eq!(content(), b"2");
    let kept = ask(&sim, "PUT", &at, &with("Overwrite: f\r\n"), b"third").await;
    assert_eq!(kept.status, 412, "{}", kept.text());
    assert_eq!(ask(&sim, "POST", &at, &session, b"fourth").await.status, 409);
    let part = ask(&sim, "PUT", &at, &with("Content-Range: bytes 0-4/10\r\n"), b"fifth").await;
    assert!(part.status == 400 && part.text().contains("Content-Range"), "{}", part.text());
    assert_eq!(content(), b"2");
    assert_eq!(ask(&sim, "PUT", &at, &with("Overwrite: t\r\n"), b"sixth").await.status, 200);
    assert_eq!(content(), b"sixth");
    // The way of most clients that do not know a length.
    let chunks = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n";
    assert_eq!(ask(&sim, "PUT", &at, &with("Transfer-Encoding: chunked\r\n"), chunks).await.status, 200);
    assert_eq!(content(), b"abcdefg");

    assert_eq!(put(&with("Overwrite: F\r\n"), b"").await.status, 201);
    assert_eq!(ask(&sim, "POST", &url("by-post"), &session, b"x").await.status, 201);
    for (place, status) in [("no/folder.bin", 404), ("vm-1", 409), ("vm-1/", 409), ("", 405)] {
        let refused = ask(&sim, "PUT", &url(place), &session, b"x").await;
        assert_eq!(refused.status, status, "{place}: {}", refused.text());
    }
    assert_eq!(ask(&sim, "PUT", "/folder?dcPath=DC0", &session, b"x").await.status, 405);

    let before = names(&sim, "vm-1");
    let delete = async |place: &str| ask(&sim, "DELETE", &url(place), &session, b"").await.status;
    assert_eq!(delete("vm-1/new.bin").await, 200);
    assert_eq!(delete("vm-1/new.bin").await, 404);
    assert_eq!(names(&sim, "vm-1").len(), before.len() - 1);
    fs::create_dir_all(on_host(&sim, "a/b")).unwrap();
    assert_eq!(delete("a").await, 409, "something is in it");
    assert_eq!((delete("a/b").await, delete("a").await), (200, 200));
    assert_eq!(delete("").await, 405, "a whole datastore");
    assert!(!names(&sim, "vm-1").iter().any(|name| name.ends_with(".tmp")));
}

/// What has not arrived whole is as if it had never begun.
#[tokio::test]
async fn an_upload_that_breaks_leaves_what_was_there() {
    let sim = start(1).await;
    let session = session(&sim).await;
    fs::write(on_host(&sim, "old.bin"), "old").unwrap();
    let before = names(&sim, "");
    for (name, length) in [("old.bin", "Content-Length: 2000000"), ("new.bin", "Transfer-Encoding: chunked")]
    {
        let mut stream = open(&sim).await;
        let head = format!("PUT {} HTTP/1.1\r\nHost: x\r\n{length}\r\n{session}\r\n", url(name));
        stream.write_all(head.as_bytes()).await.unwrap();
        let body = if length.starts_with("C") { vec![7; 500_000] } else { b"5\r\nhello\r\n".to_vec() };
        stream.write_all(&body).await.unwrap();
        stream.flush().await.unwrap();
        let part = async || {
            while names(&sim, "").len() == before.len() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), part()).await.expect("the upload begins");
        assert_eq!(fs::read(on_host(&sim, "old.bin")).unwrap(), b"old");
        drop(stream);
        let gone = async || {
            while names(&sim, "") != before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), gone()).await.expect("the part is taken away");
        assert_eq!(fs::read(on_host(&sim, "old.bin")).unwrap(), b"old");
    }
}
