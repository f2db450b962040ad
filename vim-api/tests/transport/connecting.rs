use super::*;

#[tokio::test]
async fn a_plain_http_server_is_not_a_vcenter() {
    let server = Server::listen(|_, mut stream| async move {
        let _hello = stream.read(&mut [0; 1024]).await;
        let _sent = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        let _gone = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let error = accepting(&server, Limits::default()).send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Tls);
    assert!(error.is_connect());
    assert_says(&error, &[&server.address.to_string(), "does not speak TLS", "vCenter"]);
}

#[tokio::test]
async fn a_server_that_hangs_up_in_the_handshake_is_named() {
    let server = Server::listen(|_, mut stream| async move {
        let _hello = stream.read(&mut [0; 4096]).await;
    })
    .await;
    let error = accepting(&server, Limits::default()).send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Tls);
    assert_says(&error, &["TLS handshake"]);
}

#[tokio::test]
async fn a_handshake_that_stalls_ends_in_time() {
    let server = Server::listen(|_, stream| async move {
        sleep(Duration::from_secs(60)).await;
        drop(stream);
    })
    .await;
    let limits = Limits { connect_timeout: Duration::from_millis(150), ..Limits::default() };
    let error = accepting(&server, limits).send(get("/")).await.unwrap_err();
    assert!(error.is_timeout() && error.is_connect());
    assert_says(&error, &["TLS handshake", "150ms"]);
}

#[tokio::test]
async fn a_closed_port_is_refused() {
    let server = Server::listen(|_, _| async {}).await;
    let address = server.address;
    let client = accepting(&server, Limits::default());
    drop(server);
    // The port is free once the listener's task is gone.
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        sleep(Duration::from_millis(5)).await;
    }
    let error = client.send(get("/")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect);
    assert!(error.is_connect() && !error.is_timeout());
    assert_says(&error, &[&address.to_string(), "refuses connections"]);
}

#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    // Where localhost is ::1 first, that address refuses and 127.0.0.1 must still be reached.
    let identity = Identity::self_signed("a.example");
    let server = Server::start(&identity, hello).await;
    let endpoint = format!("localhost:{}", server.address.port()).parse().unwrap();
    let tls = TlsSettings::new(Trust::Thumbprint(Thumbprint::sha256(&identity.certificate)));
    let client = HttpTransport::new(endpoint, tls, Route::default(), Limits::default()).unwrap();
    assert_eq!(client.send(get("/")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_name_that_does_not_exist_is_a_dns_error() {
    let tls = TlsSettings::new(Trust::DangerAcceptAny);
    let endpoint = "no-such-host.invalid".parse().unwrap();
    let error = HttpTransport::new(endpoint, tls, Route::default(), Limits::default())
        .unwrap()
        .send(get("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Dns);
    assert!(error.is_connect());
    assert_says(&error, &["no-such-host.invalid:443"]);
}

#[tokio::test]
async fn plain_http_works_only_when_the_danger_is_spelled() {
    let server = Server::listen(|_, mut stream| async move {
        let _request = stream.read(&mut [0; 1024]).await;
        let _sent = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await;
    })
    .await;
    let address = format!("http://{}/sdk", server.address);
    let error = address.parse::<Endpoint>().unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert_says(&error, &["password", "https://"]);

    let endpoint = Endpoint::danger_plain_http(&address).unwrap();
    let client = HttpTransport::new(
        endpoint,
        TlsSettings::new(Trust::DangerAcceptAny),
        Route::default(),
        Limits::default(),
    )
    .unwrap();
    assert_eq!(client.send(get("/sdk")).await.unwrap().status, 204);
    assert_eq!(client.peer_thumbprints().await.unwrap_err().kind(), Kind::Input);
}
