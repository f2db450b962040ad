use super::*;

#[tokio::test]
async fn the_request_arrives_as_it_was_written() {
    let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
        while let Some(request) = peer.request().await {
            peer.ok(&request).await;
        }
    })
    .await;
    let mut request = Request::new(Method::POST, "/sdk?a=%20b");
    request.headers.insert("soapaction", "\"urn:vim25/8.0.3.0\"".parse().unwrap());
    request.body = "<x/>".into();
    let response = accepting(&server, Limits::default()).send(request).await.unwrap();
    let seen = String::from_utf8(response.body.to_vec()).unwrap();
    assert!(seen.starts_with("POST /sdk?a=%20b HTTP/1.1\r\n"), "{seen}");
    let lower = seen.to_ascii_lowercase();
    for line in [&format!("\r\nhost: {}\r\n", server.address), "\r\nsoapaction: \"urn:vim25/8.0.3.0\"\r\n"] {
        assert!(lower.contains(line), "{line:?} is missing in {seen}");
    }
    assert!(lower.contains("\r\ncontent-length: 4\r\n"));
    assert!(seen.ends_with("\r\n\r\n<x/>"));
}

#[tokio::test]
async fn chunked_sized_and_closed_bodies_are_whole_and_any_status_is_an_answer() {
    let chunked = "HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n\
                   3\r\nabc\r\n4;ext=1\r\ndefg\r\n0\r\n\r\n";
    let response = answer(chunked).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (500, &b"abcdefg"[..]));
    let cookies: Vec<_> = response.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(&answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").await.unwrap().body[..], b"hi");
    assert_eq!(&answer("HTTP/1.0 200 OK\r\n\r\nto the end").await.unwrap().body[..], b"to the end");
    assert_eq!(
        answer("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n").await.unwrap().status,
        302
    );
}

#[tokio::test]
async fn a_large_body_survives() {
    let body: Vec<u8> = (0..8_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(&body);
    assert!(answer(bytes).await.unwrap().body == body);
}

#[tokio::test]
async fn a_truncated_body_is_never_taken_for_a_whole_one() {
    for (bytes, so_far) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd", "4 of 10 bytes"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n", "4 bytes"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\nabcd", "4 bytes"),
    ] {
        let error = answer(bytes).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Truncated, "{error}");
        assert!(!error.is_connect());
        assert_says(&error, &[so_far]);
    }
}

#[tokio::test]
async fn a_body_that_ends_without_a_tls_goodbye_is_truncated() {
    // Without a length only the goodbye tells an end from an attacker's cut.
    for head in ["HTTP/1.0 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"] {
        let server =
            Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| async move {
                peer.request().await;
                peer.write(format!("{head}abcd")).await;
                peer.hang_up();
            })
            .await;
        let error = accepting(&server, Limits::default()).send(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Truncated, "{error}");
    }
}

#[tokio::test]
async fn a_reset_is_a_closed_connection_before_and_after_the_head() {
    for (bytes, text) in [
        ("", "instead of answering"),
        ("HTTP/1.1 200 O", "instead of answering"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabcd", "of the answer's body"),
    ] {
        let server =
            Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| async move {
                peer.request().await;
                peer.write(bytes).await;
                // Let the client read before the reset throws away what it has not read yet.
                sleep(Duration::from_millis(50)).await;
                peer.reset();
            })
            .await;
        let error = accepting(&server, Limits::default()).send(get("/")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Closed, "{error}");
        assert_says(&error, &[text]);
    }
}

#[tokio::test]
async fn closing_instead_of_answering_is_closed() {
    for bytes in ["", "HTTP/1.1 200 OK\r\nContent-Le"] {
        assert_eq!(answer(bytes).await.unwrap_err().kind(), Kind::Closed);
    }
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    for bytes in [
        "SSH-2.0-OpenSSH_9.6\r\n",
        "HTTP/1.1 banana\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nXYZ\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    ] {
        let error = answer(bytes).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Protocol, "{bytes:?}: {error}");
        assert_says(&error, &["not valid HTTP/1.1"]);
    }
}

#[tokio::test]
async fn more_than_the_limit_is_refused_before_it_fills_memory() {
    let limits = Limits { max_response_bytes: 1000, ..Limits::default() };
    // The announced gigabyte never comes: the announcement is enough.
    let announced = "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n";
    let error = answer_within(announced, limits.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    assert_says(&error, &["1000 bytes", "max_response_bytes"]);

    let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        // Far more than the limit, but an end all the same, so that a missing limit fails and does not hang.
        for _ in 0..10_000 {
            peer.write("5\r\nabcde\r\n").await;
        }
        peer.close().await;
    })
    .await;
    let error = accepting(&server, limits.clone()).send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);

    let exact = format!("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{}", "x".repeat(1000));
    assert_eq!(answer_within(exact, limits).await.unwrap().body.len(), 1000);
}

#[tokio::test]
async fn headers_have_a_limit_too() {
    let limits = Limits { max_header_bytes: 4096, ..Limits::default() };
    let large = format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "x".repeat(5000));
    let error = answer_within(large.clone(), limits).await.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge, "{error}");
    assert_says(&error, &["headers"]);
    assert_eq!(answer(large).await.unwrap().status, 200);
}

#[tokio::test]
async fn silence_ends_in_time_in_the_head_and_in_the_body() {
    let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
        while let Some(request) = peer.request().await {
            if request.starts_with("GET /body") {
                peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
            }
        }
    })
    .await;
    let short = Duration::from_millis(150);
    let limits = Limits { head_timeout: short, read_timeout: short, ..Limits::default() };
    let client = accepting(&server, limits);
    let started = Instant::now();

    let error = client.send(get("/head")).await.unwrap_err();
    assert!(error.is_timeout() && !error.is_connect());
    assert_says(&error, &["did not begin to answer", "150ms"]);

    let error = client.send(get("/body")).await.unwrap_err();
    assert!(error.is_timeout());
    assert_says(&error, &["3 of 10 bytes"]);

    // A request's own limit takes the place of the head's, longer or shorter.
    let error = client.send(Request { timeout: Some(2 * short), ..get("/head") }).await.unwrap_err();
    assert!(error.is_timeout());
    assert_says(&error, &["300ms"]);
    assert!(started.elapsed() >= 4 * short);
    assert!(started.elapsed() < Duration::from_secs(20));
}
