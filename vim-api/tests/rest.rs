//! REST services that answer what they should not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "the transport's tests use the rest")]
#[path = "transport/server.rs"]
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use secrecy::SecretString;
use server::{Identity, Peer, Server};
use vim_api::rest::{RestStyle, TagId};
use vim_api::{Client, ErrorKind};

fn content(api_type: &str, version: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><soapenv:Envelope \
         xmlns:soapenv=\"http://schemas.xmlsoap.org/soap/envelope/\"><soapenv:Body>\
         <RetrieveServiceContentResponse xmlns=\"urn:vim25\"><returnval>\
         <rootFolder type=\"Folder\">group-d1</rootFolder>\
         <propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>\
         <about><name>n</name><fullName>n</fullName><vendor>v</vendor><version>7</version><build>1</build>\
         <osType>linux</osType><productLineId>vpx</productLineId><apiType>{api_type}</apiType>\
         <apiVersion>{version}</apiVersion></about></returnval></RetrieveServiceContentResponse>\
         </soapenv:Body></soapenv:Envelope>"
    )
}

fn answer(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} Told\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// A server of that version that answers REST as `answer` says, and a client that has a password for it. The number counts
/// the requests to REST services.
async fn vcenter(
    version: &'static str,
    answer: impl Fn(&str) -> String + Clone + Send + Sync + 'static,
) -> (Server, Client, Arc<AtomicUsize>) {
    let (server, client, asked) = anonymous("VirtualCenter", version, answer).await;
    // Where it is refused, that is what the test is about.
    let _ = client.rest().login("me", &SecretString::from("pass:word")).await;
    (server, client, asked)
}

async fn anonymous(
    api_type: &'static str,
    version: &'static str,
    answer: impl Fn(&str) -> String + Clone + Send + Sync + 'static,
) -> (Server, Client, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Server::start(&Identity::self_signed("a.example"), move |_, mut peer: Peer| {
        let (answer, count) = (answer.clone(), count.clone());
        async move {
            while let Some(request) = peer.request().await {
                if request.starts_with("POST /sdk") {
                    peer.ok(&content(api_type, version)).await;
                } else if request.contains(" /api/") || request.contains(" /rest/") {
                    count.fetch_add(1, Ordering::SeqCst);
                    peer.write(answer(&request)).await;
                } else {
                    peer.write("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
                }
            }
        }
    })
    .await;
    let client = Client::connect(&server.address.to_string())
        .danger()
        .accept_any_certificate()
        .max_response_bytes(1 << 20)
        .await
        .unwrap();
    (server, client, asked)
}

fn is_login(request: &str) -> bool {
    request.starts_with("POST /api/session ")
}

#[tokio::test]
async fn the_session_is_begun_and_shown_as_it_should_be() {
    let (_server, client, _) = vcenter("7.0.3.0", |request| {
        let lower = request.to_lowercase();
        if is_login(request) {
            assert!(request.to_lowercase().contains("\r\nvmware-use-header-authn: true\r\n"), "{request}");
            assert!(request.contains(": Basic bWU6cGFzczp3b3Jk\r\n"), "{request}");
            return answer(201, "\"the-id\"");
        }
        assert!(!lower.contains("authorization") && !lower.contains("cookie"), "{request}");
        assert!(lower.contains("\r\nvmware-api-session-id: the-id\r\n"), "{request}");
        assert!(request.starts_with("GET /api/cis/tagging/tag/urn%3Aa%2Fb "), "{request}");
        answer(200, r#"{"id":"urn:a/b","name":"gold","category_id":"c","newer":[1]}"#)
    })
    .await;
    let tag = client.rest().tags().tag(&TagId::new("urn:a/b")).await.unwrap();
    assert_eq!((tag.name.as_str(), tag.description.as_str()), ("gold", ""));
}

#[tokio::test]
async fn a_server_without_api_is_asked_below_rest() {
    let (_server, client, asked) = vcenter("7.0.3.0", |request| match request {
        _ if request.contains(" /api/") => answer(404, "<html>not here</html>"),
        _ if request.starts_with("POST /rest/com/vmware/cis/session ") => answer(200, r#"{"value":"id"}"#),
        _ => {
            assert!(request.starts_with("GET /rest/com/vmware/cis/tagging/category "), "{request}");
            answer(200, r#"{"value":null}"#)
        }
    })
    .await;
    assert_eq!(client.rest().style().await.unwrap(), RestStyle::Rest);
    assert!(client.rest().tags().categories().await.unwrap().is_empty());
    assert_eq!(asked.load(Ordering::SeqCst), 3, "found out once");
}

#[tokio::test]
async fn a_session_that_is_never_accepted_is_renewed_once_per_request() {
    let (_server, client, asked) = vcenter("7.0.3.0", |request| match is_login(request) {
        true => answer(201, "\"id\""),
        false => answer(401, r#"{"error_type":"UNAUTHENTICATED","messages":[]}"#),
    })
    .await;
    let error = client.rest().tags().categories().await.unwrap_err();
    assert!(error.is_session_lost(), "{error}");
    // Login, the request, another login, the request again.
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn where_no_session_is_taken_nor_given_nothing_loops() {
    let refuse = |_: &str| answer(401, "");
    let (_server, client, asked) = vcenter("7.0.3.0", refuse).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let error = client.rest().tags().categories().await.unwrap_err();
    assert!(error.is_session_lost() && error.to_string().contains("rest().login"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "without credentials there is nothing to ask");
}

#[tokio::test]
async fn answers_that_are_none_are_refused_for_what_they_are() {
    for (body, status, kind, word) in [
        ("<html>Sign in</html>", 200, ErrorKind::NotVsphere, "no JSON"),
        ("<html>Oops</html>", 500, ErrorKind::NotVsphere, "no JSON"),
        (r#"["urn:1", "urn"#, 200, ErrorKind::Interrupted, "breaks off"),
        (r#"{"value":[]}"#, 200, ErrorKind::Protocol, "another form"),
        (r#"{"messages":"none","value":7}"#, 400, ErrorKind::Rest, "HTTP 400"),
        ("", 302, ErrorKind::NotVsphere, "points elsewhere"),
    ] {
        let (_server, client, _) = vcenter("7.0.3.0", move |request| match is_login(request) {
            true => answer(201, "\"id\""),
            false => answer(status, body),
        })
        .await;
        let error = client.rest().tags().categories().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_not_kept() {
    let (_server, client, _) = vcenter("7.0.3.0", |request| match is_login(request) {
        true => answer(201, "\"id\""),
        false => answer(200, &format!("[{}\"\"]", "\"urn:vmomi:x\",".repeat(100_000))),
    })
    .await;
    let error = client.rest().tags().categories().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("larger than the limit"), "{cause}");
}

#[tokio::test]
async fn a_session_id_that_would_break_a_header_is_not_sent() {
    for id in [r#""id\r\nHost: other.example""#, r#""""#, r#""a\u0000b""#, "7", "null", "{}"] {
        let (_server, client, asked) = anonymous("VirtualCenter", "7.0.3.0", move |_| answer(201, id)).await;
        let error = client.rest().login("me", &SecretString::from("p")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{id}: {error}");
        assert!(!format!("{error} {error:?}").contains("other.example"), "{error:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_host_alone_has_no_rest_services() {
    let (_server, client, asked) = anonymous("HostAgent", "8.0.3.0", |_| answer(200, "")).await;
    let error = client.rest().tags().categories().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("only a vCenter"), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}
