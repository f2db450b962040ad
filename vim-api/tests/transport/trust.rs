use super::*;

#[tokio::test]
async fn the_right_pin_is_accepted_in_both_algorithms() {
    let identity = Identity::self_signed("anything.example");
    for pin in [Thumbprint::sha1(&identity.certificate), Thumbprint::sha256(&identity.certificate)] {
        let response = try_trust(&identity, Trust::Thumbprint(pin)).await.unwrap();
        assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
    }
}

#[tokio::test]
async fn a_wrong_pin_shows_both_thumbprints() {
    let (identity, other) = (Identity::self_signed("a.example"), Identity::self_signed("a.example"));
    for hash in [Thumbprint::sha1, Thumbprint::sha256] {
        let (expected, presented) = (hash(&other.certificate), hash(&identity.certificate));
        let error = try_trust(&identity, Trust::Thumbprint(expected)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Certificate);
        assert!(error.is_connect());
        assert_says(
            &error,
            &[&expected.to_string(), &presented.to_string(), expected.algorithm(), "pin that"],
        );
        assert_eq!(error.presented().unwrap().sha256, Thumbprint::sha256(&identity.certificate));
    }
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_with_the_wrong_certificate() {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    let server = Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| {
        let counter = counter.clone();
        async move {
            while peer.request().await.is_some() {
                counter.fetch_add(1, Ordering::SeqCst);
                peer.ok("").await;
            }
        }
    })
    .await;
    let pin = Thumbprint::sha256(b"another certificate");
    transport(&server, Trust::Thumbprint(pin), Limits::default()).send(get("/")).await.unwrap_err();
    // A second request on a transport that accepts the server proves that the counter counts.
    accepting(&server, Limits::default()).send(get("/")).await.unwrap();
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_copied_certificate_without_its_key_is_refused_under_every_trust() {
    let authority = Authority::named("CA");
    let stolen = authority.issue("127.0.0.1").with_another_key();
    for version in [Version::Tls12, Version::Tls13] {
        for trust in [
            Trust::Thumbprint(Thumbprint::sha256(&stolen.certificate)),
            Trust::Thumbprint(Thumbprint::sha1(&stolen.certificate)),
            Trust::Ca(parse_certificates_pem(authority.pem().as_bytes()).unwrap()),
            Trust::DangerAcceptAny,
        ] {
            let server = Server::start_with(&stolen, version, hello).await;
            let error = transport(&server, trust, Limits::default()).send(get("/")).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Certificate, "{error}");
            assert_says(&error, &["could not prove", &Thumbprint::sha256(&stolen.certificate).to_string()]);
            assert!(error.source().is_some());
        }
    }
}

#[tokio::test]
async fn tls_1_2_works_with_a_pin() {
    let identity = Identity::self_signed("a.example");
    let server = Server::start_with(&identity, Version::Tls12, hello).await;
    let pin = Trust::Thumbprint(Thumbprint::sha256(&identity.certificate));
    assert_eq!(transport(&server, pin, Limits::default()).send(get("/")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_private_authority_vouches_for_its_servers_and_no_others() {
    let authority = Authority::named("CA of this vCenter");
    let trust = || Trust::Ca(parse_certificates_pem(authority.pem().as_bytes()).unwrap());
    assert_eq!(try_trust(&authority.issue("127.0.0.1"), trust()).await.unwrap().status, 200);

    let unknown = Authority::named("another CA").issue("127.0.0.1");
    let error = try_trust(&unknown, trust()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Certificate);
    let thumbprint = Thumbprint::sha256(&unknown.certificate).to_string();
    assert_says(&error, &["not issued by a trusted authority", &thumbprint, "pin it"]);
    assert!(error.source().is_some());

    let namesake = Authority::named("CA of this vCenter").issue("127.0.0.1");
    let error = try_trust(&namesake, trust()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Certificate);
    assert_says(&error, &["only bears the name of a trusted one", "this very vCenter"]);

    let error = try_trust(&authority.issue("vc.example.org"), trust()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Certificate);
    assert_says(&error, &["another name", "Connect by a name"]);

    let error = try_trust(&authority.issue_expired("127.0.0.1"), trust()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Certificate);
    assert_says(&error, &["has expired", "Renew it"]);
}

#[tokio::test]
async fn the_systems_authorities_do_not_vouch_for_a_private_one() {
    let identity = Authority::named("CA").issue("127.0.0.1");
    let server = Server::start(&identity, hello).await;
    let endpoint: Endpoint = server.address.to_string().parse().unwrap();
    // A minimal machine has no authorities at all: that is an error of its own, and not trust in nobody.
    match HttpTransport::new(
        endpoint,
        TlsSettings::new(Trust::SystemRoots),
        Route::default(),
        Limits::default(),
    ) {
        Ok(transport) => {
            let error = transport.send(get("/")).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Certificate);
            assert_says(&error, &["not issued by a trusted authority"]);
        }
        Err(error) => {
            assert_eq!(error.kind(), Kind::Input);
            assert_says(&error, &["no trusted certificates"]);
        }
    }
}

#[tokio::test]
async fn danger_accepts_an_expired_stranger() {
    let identity = Authority::named("CA").issue_expired("elsewhere.example");
    assert_eq!(try_trust(&identity, Trust::DangerAcceptAny).await.unwrap().status, 200);
}

#[tokio::test]
async fn thumbprints_can_be_seen_before_during_and_despite_a_refusal() {
    let identity = Identity::self_signed("a.example");
    let server = Server::start(&identity, hello).await;
    let expected = (Thumbprint::sha1(&identity.certificate), Thumbprint::sha256(&identity.certificate));

    let client = accepting(&server, Limits::default());
    let seen = client.peer_thumbprints().await.unwrap();
    assert_eq!((seen.sha1, seen.sha256), expected);
    client.send(get("/")).await.unwrap();
    assert_eq!(server.connections(), 1, "the connection made for the question is used for the request");

    let wary = transport(&server, Trust::Thumbprint(Thumbprint::sha1(b"")), Limits::default());
    let seen = wary.peer_thumbprints().await.unwrap();
    assert_eq!((seen.sha1, seen.sha256), expected);
    assert_eq!(wary.send(get("/")).await.unwrap_err().kind(), Kind::Certificate);
}

#[test]
fn authorities_are_checked_when_they_are_read() {
    let authority = Authority::named("CA").pem();
    assert_eq!(parse_certificates_pem(format!("words\n{authority}{authority}").as_bytes()).unwrap().len(), 2);
    let no_end = authority.replace("-----END CERTIFICATE-----", "");
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for bad in ["", "no pem", &no_end, &key] {
        assert_eq!(parse_certificates_pem(bad.as_bytes()).unwrap_err().kind(), Kind::Input);
    }
    for bad in [vec![], vec![b"not a certificate".to_vec().into()]] {
        let tls = TlsSettings::new(Trust::Ca(bad));
        let refused = HttpTransport::new("vc".parse().unwrap(), tls, Route::default(), Limits::default());
        assert_eq!(refused.err().unwrap().kind(), Kind::Input);
    }
}

#[test]
fn a_clients_certificate_comes_with_its_own_key() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(["client".to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = certificate.pem();
    let secret = |text: &str| SecretString::from(text);
    let shown = ClientCertificate::from_pem(pem.as_bytes(), &secret(&key.serialize_pem())).unwrap();
    assert_eq!(format!("{shown:?}"), "ClientCertificate { .. }");
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (bad, says) in
        [(other.as_str(), "does not belong"), ("no pem", "unencrypted"), (encrypted, "unencrypted")]
    {
        let refused = ClientCertificate::from_pem(pem.as_bytes(), &secret(bad)).unwrap_err();
        assert_eq!(refused.kind(), Kind::Input);
        assert_says(&refused, &[says]);
        assert!(!format!("{refused:?}").contains("c2VjcmV0"));
    }
    let swapped = ClientCertificate::from_pem(key.serialize_pem().as_bytes(), &secret(&pem)).unwrap_err();
    assert_eq!(swapped.kind(), Kind::Input);
}
