//! What a lookup service may say of the STS, and what comes of it: against servers that lie, and none is sent a password
//! that should not have it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "the transport's tests use the rest")]
#[path = "transport/server.rs"]
mod server;

use std::error::Error as _;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretString;
use server::{Identity, Peer, Server};
use vim_api::{Client, Error, ErrorKind, Thumbprint};

const CONTENT: &str = "<RetrieveServiceContentResponse xmlns=\"urn:vim25\"><returnval>\
    <rootFolder type=\"Folder\">group-d1</rootFolder>\
    <propertyCollector type=\"PropertyCollector\">propertyCollector</propertyCollector>\
    <about><name>n</name><fullName>n</fullName><vendor>v</vendor><version>6.7.0</version><build>1</build>\
    <osType>linux</osType><productLineId>vpx</productLineId><apiType>VirtualCenter</apiType>\
    <apiVersion>6.7.3</apiVersion></about></returnval></RetrieveServiceContentResponse>";
const REGISTRY: &str = "<RetrieveServiceContentResponse xmlns=\"urn:lookup\"><returnval>\
    <serviceRegistration type=\"LookupServiceRegistration\">r</serviceRegistration>\
    </returnval></RetrieveServiceContentResponse>";
const TOKEN: &str = "<c xmlns=\"http://docs.oasis-open.org/ws-sx/ws-trust/200512\"><RequestSecurityTokenResponse>\
    <RequestedSecurityToken><Assertion ID=\"_1\"/></RequestedSecurityToken></RequestSecurityTokenResponse></c>";
const PASSWORD: &str = "the pass word";

/// The paths of all that was posted to a server, and the server.
struct Watched {
    server: Server,
    posted: Arc<Mutex<Vec<String>>>,
}

impl Watched {
    /// Answers each POST by its path and body, or with 404.
    async fn start(
        identity: &Identity,
        answer: impl Fn(&str, &str) -> Option<String> + Clone + Send + Sync + 'static,
    ) -> Self {
        let posted = Arc::new(Mutex::new(Vec::new()));
        let seen = posted.clone();
        let server = Server::start(identity, move |_, mut peer: Peer| {
            let (answer, seen) = (answer.clone(), seen.clone());
            async move {
                while let Some(request) = peer.request().await {
                    let (head, body) = request.split_once("\r\n\r\n").unwrap();
                    let path = head.split(' ').nth(1).unwrap();
                    if head.starts_with("POST ") {
                        seen.lock().unwrap().push(format!("{path} {}", body.contains(PASSWORD)));
                    }
                    let (status, content) = match answer(path, body) {
                        Some(content) if content.starts_with("HTTP ") => {
                            let (status, content) = content[5..].split_once('|').unwrap();
                            (status.to_owned(), content.to_owned())
                        }
                        Some(content) => ("200 OK".to_owned(), soap(&content)),
                        None => ("404 Not Found".to_owned(), String::new()),
                    };
                    let length = content.len();
                    peer.write(format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{content}"))
                        .await;
                }
            }
        })
        .await;
        Watched { server, posted }
    }

    fn port(&self) -> u16 {
        self.server.address.port()
    }

    fn posted(&self) -> Vec<String> {
        self.posted.lock().unwrap().clone()
    }
}

fn soap(content: &str) -> String {
    format!(
        "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>{content}</s:Body></s:Envelope>"
    )
}

/// A vCenter with a lookup service that answers `List` so, and an STS of its own; and a client that has pinned it.
async fn vcenter(list: impl Into<String>) -> (Watched, Client) {
    let identity = Identity::self_signed("vc.example");
    let list = list.into();
    let watched = Watched::start(&identity, move |path, body| match path {
        "/sdk" => Some(CONTENT.to_owned()),
        "/lookupservice/sdk" if body.contains("<List ") => Some(list.clone()),
        "/lookupservice/sdk" if body.contains("<GetSiteId ") => Some(
            "<GetSiteIdResponse xmlns=\"urn:lookup\"><returnval>east</returnval></GetSiteIdResponse>"
                .to_owned(),
        ),
        "/lookupservice/sdk" => Some(REGISTRY.to_owned()),
        "/sts/own" | "/sts/STSService" => Some(TOKEN.to_owned()),
        _ => None,
    })
    .await;
    let client = Client::connect(&watched.server.address.to_string())
        .thumbprint(Thumbprint::sha256(&identity.certificate))
        .await
        .unwrap();
    (watched, client)
}

/// Another server with an STS.
async fn services(identity: &Identity) -> Watched {
    Watched::start(identity, |path, _| (path == "/sts/x").then(|| TOKEN.to_owned())).await
}

/// A registration with one STS, behind an endpoint of another kind that has to be passed over.
fn registration(site: &str, url: &str, trust: &[String]) -> String {
    let trust: String = trust.iter().map(|one| format!("<sslTrust>{one}</sslTrust>")).collect();
    let endpoint = |protocol: &str, kind: &str, url: &str| {
        format!(
            "<serviceEndpoints><url>{url}</url><endpointType><protocol>{protocol}</protocol><type>{kind}</type>\
             </endpointType>{trust}</serviceEndpoints>"
        )
    };
    let admin = endpoint("vmomi", "com.vmware.cis.cs.identity.admin", "https://127.0.0.1:1/admin");
    let sts = endpoint("wsTrust", "com.vmware.cis.cs.identity.sso", url);
    format!("<returnval>{admin}{sts}<siteId>{site}</siteId></returnval>")
}

fn list(registrations: &[String]) -> String {
    format!("<ListResponse xmlns=\"urn:lookup\">{}</ListResponse>", registrations.concat())
}

fn der(identity: &Identity) -> String {
    // As some servers write it, in lines.
    let text = STANDARD.encode(&identity.certificate);
    let (first, second) = text.split_at(64);
    format!("\n{first}\r\n{second}\n")
}

async fn ask(client: &Client) -> Result<(), Error> {
    let password = SecretString::from(PASSWORD);
    client.issue_token("a@vsphere.local", &password, std::time::Duration::from_secs(60)).await.map(|_| ())
}

#[tokio::test]
async fn one_of_several_certificates_is_the_one() {
    let (stale, fresh) = (Identity::self_signed("psc.example"), Identity::self_signed("psc.example"));
    let psc = services(&fresh).await;
    let url = format!("https://127.0.0.1:{}/sts/x", psc.port());
    let trust = ["no base64!".to_owned(), STANDARD.encode("no certificate"), der(&stale), der(&fresh)];
    let (vc, client) = vcenter(list(&[registration("", &url, &trust)])).await;
    let found = client.discover_sts().await.unwrap();
    assert_eq!((found.host.as_str(), found.port, found.path.as_str()), ("127.0.0.1", psc.port(), "/sts/x"));
    ask(&client).await.unwrap();
    assert_eq!(psc.posted(), ["/sts/x true"]);
    assert!(vc.posted().iter().all(|post| post.ends_with(" false")), "{:?}", vc.posted());
}

#[tokio::test]
async fn another_certificate_gets_no_password_and_both_thumbprints_are_told() {
    let (named, shown) = (Identity::self_signed("psc.example"), Identity::self_signed("psc.example"));
    let psc = services(&shown).await;
    let url = format!("https://127.0.0.1:{}/sts/x", psc.port());
    let (vc, client) = vcenter(list(&[registration("", &url, &[der(&named)])])).await;
    client.discover_sts().await.unwrap();
    let error = ask(&client).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Certificate);
    assert!(error.to_string().contains("the lookup service names another certificate"), "{error}");
    let below = error.source().unwrap().to_string();
    for certificate in [&named.certificate, &shown.certificate] {
        assert!(below.contains(&Thumbprint::sha256(certificate).to_string()), "{below}");
    }
    assert!(psc.posted().is_empty());
    assert!(vc.posted().iter().all(|post| post.ends_with(" false")), "{:?}", vc.posted());
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_with_its_reason() {
    let certificate = [der(&Identity::self_signed("psc.example"))];
    for (url, trust, says) in [
        ("http://127.0.0.1:9/sts/x", &certificate[..], "is no https:// address"),
        ("HTTP://localhost:1080/sts", &certificate, "is no https:// address"),
        ("psc.example/sts/x", &certificate, "is no https:// address"),
        ("é", &certificate, "is no https:// address"),
        ("", &certificate, "is no https:// address"),
        ("https://127.0.0.1:9/sts/x", &[], "no certificate is named to know it by"),
        ("https://127.0.0.1:9/sts/x", &["AAAA".to_owned()], "no certificate is named to know it by"),
        ("https://127.0.0.1:9", &certificate, "has no path"),
        ("https://user:pw@127.0.0.1:9/sts/x", &certificate, "is no address of a server"),
        ("https://127.0.0.1:9/sts/x?a=b", &certificate, "is no address of a server"),
        ("https://127.0.0.1:0/sts/x", &certificate, "is no address of a server"),
    ] {
        let (vc, client) = vcenter(list(&[registration("", url, trust)])).await;
        let error = client.discover_sts().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{url}: {error}");
        assert!(error.to_string().contains(says) && error.to_string().contains(url), "{url}: {error}");
        // All is as it was before.
        ask(&client).await.unwrap();
        assert_eq!(vc.posted().last().unwrap(), "/sts/STSService true");
    }
    let long = format!("http://{}", "x".repeat(100_000));
    let many = vec![registration("", &long, &[]); 50];
    let (_vc, client) = vcenter(list(&many)).await;
    assert!(client.discover_sts().await.unwrap_err().to_string().len() < 1500);
}

#[tokio::test]
async fn answers_that_are_none() {
    for (answer, kind) in [
        (list(&[]), ErrorKind::NotFound),
        (list(&["<returnval><siteId>x</siteId></returnval>".to_owned()]), ErrorKind::NotFound),
        ("<ListResponse><returnval><serviceEndpoints><url>x".to_owned(), ErrorKind::Protocol),
        (
            "<s:Fault><faultcode>x</faultcode><faultstring>no</faultstring></s:Fault>".to_owned(),
            ErrorKind::Fault,
        ),
        ("HTTP 500 Error|<html>no</html>".to_owned(), ErrorKind::NotVsphere),
        ("HTTP 200 OK|<html>log in</html>".to_owned(), ErrorKind::Protocol),
        ("HTTP 302 Found|".to_owned(), ErrorKind::NotVsphere),
        ("HTTP 503 Unavailable|starting".to_owned(), ErrorKind::Unavailable),
    ] {
        let (_vc, client) = vcenter(answer.as_str()).await;
        let error = client.discover_sts().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{answer}: {error}");
        assert!(error.to_string().contains("asking the lookup service of 127.0.0.1 for the STS"), "{error}");
    }
}

#[tokio::test]
async fn without_a_lookup_service_all_stays_as_it_was() {
    let identity = Identity::self_signed("vc.example");
    let vc = Watched::start(&identity, |path, _| match path {
        "/sdk" => Some(CONTENT.to_owned()),
        "/sts/STSService/vsphere.local" => Some(TOKEN.to_owned()),
        _ => None,
    })
    .await;
    let pin = Thumbprint::sha256(&identity.certificate);
    let client = Client::connect(&vc.server.address.to_string()).thumbprint(pin).await.unwrap();
    let found = client.discover_sts().await.unwrap();
    assert_eq!((found.port, found.path.as_str(), found.named), (vc.port(), "/sts/STSService", false));
    ask(&client).await.unwrap();
    assert_eq!(vc.posted().last().unwrap(), "/sts/STSService/vsphere.local true");
}

fn own(vc: &Watched, path: &str) -> String {
    format!("https://127.0.0.1:{}{path}", vc.port())
}

#[tokio::test]
async fn of_several_the_own_server_is_taken_and_then_the_own_site() {
    let (west, east) = (Identity::self_signed("west.example"), Identity::self_signed("east.example"));
    let (far, near) = (services(&west).await, services(&east).await);
    let offers = [
        registration("west", "http://127.0.0.1:9/sts/x", &[der(&west)]),
        registration("west", &own(&far, "/sts/x"), &[der(&west)]),
        registration("east", &own(&near, "/sts/x"), &[der(&east)]),
    ];
    let (_vc, client) = vcenter(list(&offers)).await;
    assert_eq!(client.discover_sts().await.unwrap().port, near.port());
    let (_vc, client) = vcenter(list(&offers[..2])).await;
    assert_eq!(client.discover_sts().await.unwrap().port, far.port(), "a site of its own has none");

    // The server does not know its own port before it is there, so that the list is made when it is asked for.
    let identity = Identity::self_signed("vc.example");
    let address = Arc::new(Mutex::new(String::new()));
    let (known, offers) = (address.clone(), offers.concat());
    let vc = Watched::start(&identity, move |path, body| match path {
        "/sdk" => Some(CONTENT.to_owned()),
        "/lookupservice/sdk" if body.contains("<List ") => {
            Some(list(&[offers.clone(), registration("west", &known.lock().unwrap(), &[])]))
        }
        "/lookupservice/sdk" => Some(REGISTRY.to_owned()),
        "/sts/own" => Some(TOKEN.to_owned()),
        _ => None,
    })
    .await;
    *address.lock().unwrap() = own(&vc, "/sts/own");
    let pin = Thumbprint::sha256(&identity.certificate);
    let client = Client::connect(&vc.server.address.to_string()).thumbprint(pin).await.unwrap();
    let found = client.discover_sts().await.unwrap();
    assert_eq!((found.port, found.path.as_str()), (vc.port(), "/sts/own"));
    ask(&client).await.unwrap();
    assert_eq!(vc.posted().last().unwrap(), "/sts/own true");
    assert!(near.posted().is_empty() && far.posted().is_empty());
}
