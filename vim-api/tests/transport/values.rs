use super::*;

#[test]
fn thumbprints_are_read_in_every_usual_form_and_written_in_one() {
    let sha1 = Thumbprint::sha1(b"abc");
    let text = "A9:99:3E:36:47:06:81:6A:BA:3E:25:71:78:50:C2:6C:9C:D0:D8:9D";
    assert_eq!(sha1.to_string(), text);
    let sha256 = Thumbprint::sha256(b"abc");
    assert!(sha256.to_string().starts_with("BA:78:16:BF:"));
    for thumbprint in [sha1, sha256] {
        let text = thumbprint.to_string();
        let forms = [
            text.clone(),
            text.to_lowercase(),
            text.replace(':', ""),
            text.replace(':', " "),
            format!("  {text}\n"),
        ];
        for form in forms {
            assert_eq!(form.parse::<Thumbprint>().unwrap(), thumbprint, "{form:?}");
        }
        assert!(thumbprint.matches(b"abc") && !thumbprint.matches(b"abd"));
    }
    assert_eq!((sha1.algorithm(), sha256.algorithm()), ("SHA-1", "SHA-256"));
}

#[test]
fn what_is_no_thumbprint_is_refused() {
    let sha1 = Thumbprint::sha1(b"abc").to_string();
    let md5 = &sha1[..16 * 3 - 1];
    for bad in ["", "zz", "a:bc", "é", md5, &sha1[1..], &format!("{sha1}:00"), &sha1.replace(':', "-")] {
        assert_eq!(bad.parse::<Thumbprint>().unwrap_err().kind(), Kind::Input, "{bad:?}");
    }
    assert_says(&md5.parse::<Thumbprint>().unwrap_err(), &["has 16"]);
}

#[test]
fn addresses_are_read_in_every_usual_form() {
    for (text, host, port, path, shown) in [
        ("https://vc.example.org/sdk", "vc.example.org", 443, "/sdk", "https://vc.example.org/sdk"),
        (" VC.example.org ", "vc.example.org", 443, "/sdk", "https://vc.example.org/sdk"),
        ("HTTPS://vc/", "vc", 443, "/sdk", "https://vc/sdk"),
        ("127.0.0.1:8989", "127.0.0.1", 8989, "/sdk", "https://127.0.0.1:8989/sdk"),
        ("vc:443/pbm/sdk", "vc", 443, "/pbm/sdk", "https://vc/pbm/sdk"),
        ("[2001:db8::1]:8443", "2001:db8::1", 8443, "/sdk", "https://[2001:db8::1]:8443/sdk"),
        ("https://[::1]/sdk", "::1", 443, "/sdk", "https://[::1]/sdk"),
        ("::1", "::1", 443, "/sdk", "https://[::1]/sdk"),
    ] {
        let endpoint: Endpoint = text.parse().unwrap();
        assert_eq!((endpoint.host(), endpoint.port(), endpoint.path()), (host, port, path), "{text:?}");
        assert!(endpoint.is_encrypted());
        assert_eq!(endpoint.to_string(), shown);
    }
}

#[test]
fn what_is_no_address_is_refused() {
    for bad in [
        "",
        "https://",
        "https:///sdk",
        "ftp://vc",
        "vc:0",
        "vc:65536",
        "vc:",
        "vc:+1",
        "vc:x",
        "a:b:c",
        "[::1",
        "[vc]",
        "[::1]x",
        "[fe80::1%eth0]",
        "vc/sdk?x=1",
        "vc/sdk#x",
        "my host",
        "vc/a b",
        "http://vc/sdk",
        "bücher.example",
    ] {
        assert_eq!(bad.parse::<Endpoint>().unwrap_err().kind(), Kind::Input, "{bad:?}");
    }
    assert!(Endpoint::danger_plain_http("https://vc").is_err());
}

#[test]
fn secrets_do_not_show() {
    let error = "https://root:geheim@vc/sdk".parse::<Endpoint>().unwrap_err();
    assert!(!format!("{error} {error:?}").contains("geheim"));

    let mut request = get("/x?ticket=geheim");
    for name in ["cookie", "authorization", "vmware-api-session-id", "x-anything"] {
        request.headers.insert(name, "geheim".parse().unwrap());
    }
    request.headers.insert("content-type", "text/xml".parse().unwrap());
    request.body = "geheim".into();
    let shown = format!("{request:?}");
    assert!(!shown.contains("geheim"), "{shown}");
    assert!(shown.contains("text/xml") && shown.contains("authorization"));

    let response = Response { status: 200, headers: request.headers, body: request.body };
    assert!(!format!("{response:?}").contains("geheim"));
}
