//! Requests as other clients write them, byte for byte.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vsphere_sim::{Sim, WireStyle};

use crate::tls::open;

/// A simulator whose answers are written in the usual way, to the byte.
pub(crate) async fn start(count: usize) -> Sim {
    let sim = crate::start(count).await;
    sim.set_wire(WireStyle::default());
    sim
}

/// Sends a request and reads until the server ends the connection.
pub(crate) async fn send(sim: &Sim, request: &str) -> String {
    let mut stream = open(sim).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

pub(crate) fn post(headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /sdk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

pub(crate) fn envelope(body: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><S:Envelope xmlns:S=\"http://schemas.xmlsoap.org/soap/envelope/\" \
         xmlns:i=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"><S:Header/><S:Body>{body}</S:Body></S:Envelope>"
    )
}

pub(crate) fn login(sim: &Sim) -> String {
    use secrecy::ExposeSecret;
    envelope(&format!(
        "<v:Login xmlns:v=\"urn:vim25\"><v:_this type=\"SessionManager\" versionId=\"8.0.3.0\">SessionManager</v:_this>\
         <v:userName i:type=\"xsd:string\" versionId=\"8.0.3.0\">{}</v:userName><v:password>{}</v:password></v:Login>",
        sim.user(),
        sim.password().expose_secret()
    ))
}

/// Chunked as govmomi does it, a bare SOAPAction, prefixes on everything.
#[tokio::test]
async fn chunks_prefixes_and_cookies() {
    let sim = start(1).await;
    let body = login(&sim);
    let (first, second) = body.split_at(100);
    let request = format!(
        "POST /sdk/vimService HTTP/1.1\r\nHost: x\r\nConnection: close\r\nSoapaction: urn:vim25/9.1.0.0\r\n\
         Content-Type: text/xml; charset=\"utf-8\"\r\nCookie: \r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    let answer = send(&sim, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let header = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    let value = header.strip_prefix("vmware_soap_session=\"").unwrap();
    let (value, attributes) = value.split_once("\"; ").unwrap();
    assert!(value.len() == 40 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{header}");
    assert_eq!(attributes, "Path=/; HttpOnly; Secure");
    assert!(!answer.split_once("\r\n\r\n").unwrap().1.contains(value), "the key is not the cookie");

    // pyvmomi sends the cookie's attributes back, and fetches attribute by attribute.
    let time = envelope(
        "<CurrentTime xmlns=\"urn:vim25\"><_this type=\"ServiceInstance\">ServiceInstance</_this></CurrentTime>",
    );
    let fetch = envelope(
        "<Fetch xmlns=\"urn:vim25\"><_this type=\"VirtualMachine\">vm-101</_this><prop>snapshot</prop></Fetch>",
    );
    for cookie in [header.to_owned(), format!("a=b; vmware_soap_session={value}")] {
        let headers = format!("SOAPAction: \"urn:vim25/8.0.3.0\"\r\nCookie: {cookie}\r\n");
        let answer = send(&sim, &post(&headers, &time)).await;
        assert!(answer.contains("<CurrentTimeResponse xmlns=\"urn:vim25\"><returnval>"), "{answer}");
        let answer = send(&sim, &post(&headers, &fetch)).await;
        assert!(
            answer.contains("<FetchResponse xmlns=\"urn:vim25\"></FetchResponse>"),
            "null is an empty answer: {answer}"
        );
    }
    let answer = send(&sim, &post("", &time)).await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert!(
        answer.contains("<NotAuthenticatedFault xmlns=\"urn:vim25\" xsi:type=\"NotAuthenticated\">"),
        "{answer}"
    );
    assert!(answer.contains("<privilegeId>System.View</privilegeId>"), "{answer}");
}

#[tokio::test]
async fn hostile_and_broken_requests() {
    let sim = start(1).await;
    let call = "<RetrieveServiceContent xmlns=\"urn:vim25\"><_this type=\"ServiceInstance\">ServiceInstance</_this></RetrieveServiceContent>";
    let deep = format!("{}{}", "<a>".repeat(200), "</a>".repeat(200));
    for body in [
        format!("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>{}", envelope(call)),
        envelope(&format!("<x xmlns=\"urn:vim25\">{deep}</x>")),
        envelope(&call.replace("RetrieveServiceContent", "NoSuchMethod")),
        envelope("<CurrentTime xmlns=\"urn:vim25\"/>"),
        "no XML at all".to_owned(),
        String::new(),
        "<html/>".to_owned(),
    ] {
        let answer = send(&sim, &post("", &body)).await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{body}: {answer}");
        assert!(answer.contains("xsi:type=\"InvalidRequest\""), "{body}: {answer}");
        assert!(!answer.contains("root:"), "{answer}");
    }
    let answer = send(&sim, &post("", &envelope(call))).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let answer = send(&sim, "GET /folders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let answer =
        send(&sim, "GET /sdk/vimServiceVersions.xml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(
        answer.contains("<name>urn:vim25</name><version>8.0.3.0</version><priorVersions><version>8.0.2.0"),
        "{answer}"
    );
}

#[tokio::test]
async fn cookies_that_are_none() {
    let sim = start(1).await;
    let client = crate::log_in(&sim).await;
    let good =
        secrecy::ExposeSecret::expose_secret(&client.session_cookie().unwrap()).trim_matches('"').to_owned();
    let key = client.current_session().await.unwrap().key;
    let call = envelope(
        "<CurrentTime xmlns=\"urn:vim25\"><_this type=\"ServiceInstance\">ServiceInstance</_this></CurrentTime>",
    );
    let ask = async |cookie: &str| {
        send(&sim, &post(&format!("Cookie: vmware_soap_session={cookie}\r\n"), &call)).await
    };
    for cookie in [
        "",
        "\"\"",
        "0123456789012345678901234567890123456789",
        &good[..39],
        &format!("{good}0"),
        &good.to_uppercase(),
        // What the API shows of the session opens nothing.
        &key,
        "%27%20or%201=1",
        &"a".repeat(16_000),
    ] {
        let answer = ask(cookie).await;
        assert!(answer.starts_with("HTTP/1.1 500 "), "{cookie}: {answer}");
        assert!(answer.contains("xsi:type=\"NotAuthenticated\""), "{cookie}: {answer}");
    }
    assert!(ask(&good).await.starts_with("HTTP/1.1 200 "), "the session is as it was");
}

/// What is newer than the client is not sent to it.
#[tokio::test]
async fn answers_suit_the_version_of_the_client() {
    let sim = start(1).await;
    let answer = send(&sim, &post("", &login(&sim))).await;
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().to_owned();
    let fetch = envelope(
        "<Fetch xmlns=\"urn:vim25\"><_this type=\"VirtualMachine\">vm-101</_this><prop>config</prop></Fetch>",
    );
    let ask = async |version: &str| {
        let headers = format!("SOAPAction: urn:vim25/{version}\r\nCookie: {cookie}\r\n");
        send(&sim, &post(&headers, &fetch)).await
    };
    assert!(ask("8.0.3.0").await.contains("<rebootPowerOff>"));
    let old = ask("6.5").await;
    assert!(old.contains("<changeTrackingEnabled>") && !old.contains("<rebootPowerOff>"), "{old}");
}
