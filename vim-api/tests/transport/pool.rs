use super::*;

#[tokio::test]
async fn requests_share_one_connection_one_after_another() {
    let server = Server::start(&Identity::self_signed("a.example"), hello).await;
    let client = accepting(&server, Limits::default());
    for _ in 0..10 {
        client.clone().send(get("/")).await.unwrap();
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_says_close_ends_the_connection_without_harm() {
    let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
        peer.request().await;
        peer.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi").await;
        peer.close().await;
    })
    .await;
    let client = accepting(&server, Limits::default());
    for _ in 0..5 {
        assert_eq!(&client.send(get("/")).await.unwrap().body[..], b"hi");
    }
    assert_eq!(server.connections(), 5);
}

/// Serves one request on its first connection, takes a second one and closes; later connections behave.
async fn stale(first_word: &'static str) -> Server {
    Server::start(&Identity::self_signed("a.example"), move |number, mut peer: Peer| async move {
        if number > 0 {
            return hello(number, peer).await;
        }
        peer.request().await;
        peer.ok("hello").await;
        peer.request().await;
        peer.write(first_word).await;
        peer.close().await;
    })
    .await
}

#[tokio::test]
async fn a_replayable_request_survives_a_connection_that_went_stale() {
    let server = stale("").await;
    let client = accepting(&server, Limits::default());
    client.send(get("/")).await.unwrap();
    let response = client.send(Request { replayable: true, ..get("/") }).await.unwrap();
    assert_eq!(&response.body[..], b"hello");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn another_request_is_not_repeated_behind_its_senders_back() {
    let server = stale("").await;
    let client = accepting(&server, Limits::default());
    client.send(get("/")).await.unwrap();
    let error = client.send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Closed);
    assert_says(&error, &["may have acted"]);
    assert_eq!(server.connections(), 1);
    assert_eq!(client.send(get("/")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_request_is_not_repeated_after_the_first_byte_of_an_answer() {
    let server = stale("H").await;
    let client = accepting(&server, Limits::default());
    client.send(get("/")).await.unwrap();
    let error = client.send(Request { replayable: true, ..get("/") }).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Closed);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_fresh_connection_that_closes_is_not_tried_again() {
    let server = Server::start(&Identity::self_signed("a.example"), |_, mut peer: Peer| async move {
        peer.request().await;
        peer.close().await;
    })
    .await;
    let request = Request { replayable: true, ..get("/") };
    let error = accepting(&server, Limits::default()).send(request).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Closed);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_idled_too_long_is_not_used() {
    let server = Server::start(&Identity::self_signed("a.example"), hello).await;
    let limits = Limits { idle_timeout: Duration::from_millis(20), ..Limits::default() };
    let client = accepting(&server, limits);
    client.send(get("/")).await.unwrap();
    sleep(Duration::from_millis(60)).await;
    client.send(get("/")).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_parallel_requests_keep_to_the_limit_and_get_their_own_answers() {
    let busy = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let (b, m) = (busy.clone(), most.clone());
    let server = Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| {
        let (busy, most) = (b.clone(), m.clone());
        async move {
            while let Some(request) = peer.request().await {
                most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                sleep(Duration::from_millis(20)).await;
                busy.fetch_sub(1, Ordering::SeqCst);
                peer.ok(request.split(' ').nth(1).unwrap()).await;
            }
        }
    })
    .await;
    let client = accepting(&server, Limits { max_connections: 4, ..Limits::default() });
    let requests = (0..20).map(|number| {
        let client = client.clone();
        tokio::spawn(async move {
            let path = format!("/{number}");
            assert_eq!(client.send(get(&path)).await.unwrap().body, path.as_bytes());
        })
    });
    for request in requests.collect::<Vec<_>>() {
        request.await.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 4);
    assert_eq!(server.connections(), 4);
}

#[tokio::test]
async fn a_dropped_request_closes_its_connection_and_frees_its_place() {
    let gone = Arc::new(Notify::new());
    let signal = gone.clone();
    let server = Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| {
        let signal = signal.clone();
        async move {
            while let Some(request) = peer.request().await {
                if request.starts_with("GET /body") {
                    peer.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc").await;
                } else if request.starts_with("GET /fast") {
                    peer.ok("fast").await;
                }
            }
            signal.notify_one();
        }
    })
    .await;
    let client = accepting(&server, Limits { max_connections: 1, ..Limits::default() });
    for path in ["/head", "/body", "/head", "/body"] {
        let dropped = timeout(Duration::from_millis(60), client.send(get(path))).await;
        assert!(dropped.is_err(), "{path} must still be in flight");
        timeout(Duration::from_secs(5), gone.notified()).await.expect("the server sees the connection end");
        let response = timeout(Duration::from_secs(5), client.send(get("/fast"))).await;
        assert_eq!(&response.expect("a place is free").unwrap().body[..], b"fast");
    }
}

#[tokio::test]
async fn a_dropped_upload_is_not_finished_in_the_background() {
    let (dropped, counted) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let done = Arc::new(Notify::new());
    let (d, c, signal) = (dropped.clone(), counted.clone(), done.clone());
    let server = Server::start(&Identity::self_signed("a.example"), move |_, peer: Peer| {
        let (dropped, counted, done) = (d.clone(), c.clone(), signal.clone());
        async move {
            dropped.notified().await;
            counted.store(peer.drain().await, Ordering::SeqCst);
            done.notify_one();
        }
    })
    .await;
    let body = vec![0; 64 << 20];
    let length = body.len();
    let request = Request { body: body.into(), ..Request::new(Method::PUT, "/folder/x") };
    let client = accepting(&server, Limits::default());
    assert!(timeout(Duration::from_millis(300), client.send(request)).await.is_err());
    dropped.notify_one();
    timeout(Duration::from_secs(20), done.notified()).await.expect("the server sees the connection end");
    assert!(counted.load(Ordering::SeqCst) < length);
}

#[tokio::test]
async fn the_last_clone_closes_the_idle_connections() {
    let gone = Arc::new(Notify::new());
    let signal = gone.clone();
    let server = Server::start(&Identity::self_signed("a.example"), move |number, peer: Peer| {
        let signal = signal.clone();
        async move {
            hello(number, peer).await;
            signal.notify_one();
        }
    })
    .await;
    let client = accepting(&server, Limits::default());
    client.send(get("/")).await.unwrap();
    drop(client);
    timeout(Duration::from_secs(5), gone.notified()).await.expect("the connection is closed");
}

#[tokio::test]
async fn unusable_limits_and_paths_are_refused() {
    let limits = Limits { max_connections: 0, ..Limits::default() };
    let tls = TlsSettings::new(Trust::DangerAcceptAny);
    let refused = HttpTransport::new("vc".parse().unwrap(), tls.clone(), Route::default(), limits);
    assert_eq!(refused.err().unwrap().kind(), Kind::Input);

    let client = HttpTransport::new("vc".parse().unwrap(), tls, Route::default(), Limits::default()).unwrap();
    for path in ["", "sdk", "https://elsewhere.example/", "/a b", "/a\r\nX: y", "*"] {
        assert_eq!(client.send(get(path)).await.unwrap_err().kind(), Kind::Input, "{path:?}");
    }
}
