//! Every style of request that the clients of vSphere use, and every way to get one wrong.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vsphere_sim::{Chunked, Sim, WireStyle};

use crate::raw::{envelope, login, open, post, send, start};

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const TIME: &str =
    "<CurrentTime xmlns=\"urn:vim25\"><_this type=\"ServiceInstance\">ServiceInstance</_this></CurrentTime>";

/// Logs in and answers the whole value of `Set-Cookie`.
async fn cookie(sim: &Sim) -> String {
    let answer = send(sim, &post("", &login(sim))).await;
    answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().to_owned()
}

async fn ask(sim: &Sim, headers: &str, body: &str) -> String {
    send(sim, &post(headers, body)).await
}

fn is_refused(answer: &str, fault: &str) -> bool {
    answer.starts_with("HTTP/1.1 500 ") && answer.contains(&format!("xsi:type=\"{fault}\""))
}

#[tokio::test]
async fn any_prefix_or_none() {
    let sim = start(1).await;
    let headers = format!("Cookie: {}\r\n", cookie(&sim).await);
    let this = "type=\"ServiceInstance\">ServiceInstance</";
    for body in [
        // pyvmomi: a prefix for the envelope, a default namespace on its child.
        format!(
            "<soapenv:Envelope xmlns:soapenv=\"{SOAP}\" xmlns:soapenc=\"http://schemas.xmlsoap.org/soap/encoding/\"><soapenv:Body>{TIME}</soapenv:Body></soapenv:Envelope>"
        ),
        // govmomi: no prefix at all, and the child's namespace on itself.
        format!("<Envelope xmlns=\"{SOAP}\"><Body>{TIME}</Body></Envelope>"),
        // A default namespace on the envelope that is the API's.
        format!(
            "<e:Envelope xmlns:e=\"{SOAP}\" xmlns=\"urn:vim25\"><e:Body><CurrentTime><_this {this}_this></CurrentTime></e:Body></e:Envelope>"
        ),
        // A prefix for everything, declared on the envelope, on the body or on the child; single quotes; a version on an argument.
        format!(
            "<e:Envelope xmlns:e='{SOAP}' xmlns:v='urn:vim25'><e:Body><v:CurrentTime><v:_this versionId=\"8.0.3.0\" {this}v:_this></v:CurrentTime></e:Body></e:Envelope>"
        ),
        format!(
            "<e:Envelope xmlns:e=\"{SOAP}\"><e:Body xmlns:v=\"urn:vim25\"><v:CurrentTime><_this {this}_this></v:CurrentTime></e:Body></e:Envelope>"
        ),
        format!(
            "<e:Envelope xmlns:e=\"{SOAP}\"><e:Body>\n<v:CurrentTime\n xmlns:v=\"urn:vim25\"><v:_this {this}v:_this></v:CurrentTime></e:Body></e:Envelope>"
        ),
        // A byte order mark, a declaration, a comment, a header.
        format!(
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><!-- - --><Envelope xmlns=\"{SOAP}\"><Header><operationID xmlns=\"urn:vim25\">x</operationID></Header><Body>{TIME}</Body></Envelope>"
        ),
    ] {
        let answer = ask(&sim, &headers, &body).await;
        assert!(answer.contains("<CurrentTimeResponse xmlns=\"urn:vim25\"><returnval>"), "{body}: {answer}");
    }
}

#[tokio::test]
async fn any_header_that_clients_send() {
    let sim = start(1).await;
    let whole = cookie(&sim).await;
    let (pair, _) = whole.split_once(';').unwrap();
    let bare = pair.replace('"', "");
    let time = envelope(TIME);
    for action in [
        "SOAPAction: \"urn:vim25/8.0.3.0\"\r\n",
        "Soapaction: urn:vim25/9.1.0.0\r\n",
        "SOAPACTION: urn:vim25/6.5\r\n",
        "soapaction: \"\"\r\n",
        "SOAPAction: urn:vim25/from.the.future\r\n",
        "",
    ] {
        for cookie in [whole.as_str(), pair, bare.as_str(), &format!("other=1; {bare}"), &format!("{bare};")]
        {
            let answer = ask(&sim, &format!("{action}Cookie: {cookie}\r\n"), &time).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{action} {cookie}: {answer}");
        }
        for nobody in
            ["Cookie: \r\n", "Cookie: vmware_soap_session=\r\n", "Cookie: vmware_soap_session=\"x\"\r\n", ""]
        {
            let answer = ask(&sim, &format!("{action}{nobody}"), &time).await;
            assert!(is_refused(&answer, "NotAuthenticated"), "{answer}");
            assert!(answer.contains("<object type=\"ServiceInstance\">ServiceInstance</object>"), "{answer}");
            assert!(answer.contains("<privilegeId>System.View</privilegeId>"), "{answer}");
        }
    }
    let types = ["text/xml; charset=UTF-8", "text/xml; charset=\"utf-8\"", "application/soap+xml"];
    for content in types {
        let headers =
            format!("Content-Type: {content}\r\nCookie: {bare}\r\nAccept-Encoding: gzip, deflate\r\n");
        let answer = ask(&sim, &headers, &time).await;
        assert!(answer.contains("\r\ncontent-type: text/xml; charset=utf-8\r\n"), "{answer}");
    }
}

/// What is older than HTTP/1.1 knows no chunks and ends its answers with the connection.
#[tokio::test]
async fn http_1_0_and_expectations() {
    let sim = start(1).await;
    let time = envelope(TIME);
    let headers = format!("Content-Length: {}\r\nCookie: {}\r\n", time.len(), cookie(&sim).await);
    for chunked in [Chunked::Never, Chunked::Always] {
        sim.set_wire(WireStyle { chunked, ..WireStyle::default() });
        let answer = send(&sim, &format!("POST /sdk HTTP/1.0\r\n{headers}\r\n{time}")).await;
        assert!(answer.starts_with("HTTP/1.0 200 ") && !answer.contains("transfer-encoding"), "{answer}");
        assert!(answer.ends_with("</soapenv:Envelope>"), "{answer}");
    }
    let mut stream = open(&sim).await;
    let head = format!(
        "POST /sdk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut told = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    stream.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(time.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn bodies_that_are_not_taken() {
    let sim = start(1).await;
    let answer = ask(&sim, "Content-Encoding: gzip\r\n", "\u{1f}not looked at").await;
    assert!(is_refused(&answer, "InvalidRequest") && answer.contains("Content-Encoding: gzip"), "{answer}");
    let answer = ask(&sim, "Content-Encoding: identity\r\n", &login(&sim)).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // The head alone says that it is too large: nothing of the body is sent, and nothing is waited for.
    let head = "POST /sdk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 5000000\r\n\r\n";
    let answer = send(&sim, head).await;
    assert!(is_refused(&answer, "InvalidRequest") && answer.contains("4194304 bytes"), "{answer}");
    // In chunks it is noticed on the way.
    let mut stream = open(&sim).await;
    let head = "POST /sdk HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(1 << 20));
    for _ in 0..5 {
        // The server may have answered and hung up by then.
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 500");
}

#[tokio::test]
async fn calls_that_are_wrong() {
    let sim = start(1).await;
    let headers = format!("Cookie: {}\r\n", cookie(&sim).await);
    for (call, hint) in [
        (TIME.replace(" xmlns=\"urn:vim25\"", ""), "CurrentTime is of no namespace."),
        (TIME.replace("urn:vim25", "urn:vim26"), "urn:vim26"),
        (TIME.replace("CurrentTime", "v:CurrentTime"), "CurrentTime is of no namespace."),
        (TIME.replace("CurrentTime", "NoSuchMethod"), "NoSuchMethod"),
        ("<CurrentTime xmlns=\"urn:vim25\"/>".to_owned(), "_this"),
        (
            "<CurrentTime xmlns=\"urn:vim25\"><_this type=\"ServiceInstance\"></_this></CurrentTime>"
                .to_owned(),
            "_this",
        ),
        (String::new(), "empty SOAP body"),
        ("<CurrentTime xmlns=\"urn:vim25\">".to_owned(), "cannot be read"),
        (TIME.replace("ServiceInstance<", "&xxe;<"), "&amp;xxe;"),
    ] {
        let answer = ask(&sim, &headers, &envelope(&call)).await;
        assert!(is_refused(&answer, "InvalidRequest") && answer.contains(hint), "{call}: {answer}");
    }
    let on =
        |object: &str| envelope(&format!("<PowerOnVM_Task xmlns=\"urn:vim25\">{object}</PowerOnVM_Task>"));
    let answer = ask(&sim, &headers, &on("<_this type=\"Folder\">group-d1</_this>")).await;
    assert!(is_refused(&answer, "MethodNotFound"), "{answer}");
    assert!(answer.contains("<receiver type=\"Folder\">group-d1</receiver>"), "{answer}");
    assert!(answer.contains("<method>PowerOnVM_Task</method>"), "{answer}");
    let answer = ask(&sim, &headers, &on("<_this type=\"VirtualMachine\">vm-9999</_this>")).await;
    assert!(is_refused(&answer, "ManagedObjectNotFound"), "{answer}");
    assert!(answer.contains("<obj type=\"VirtualMachine\">vm-9999</obj>"), "{answer}");
    // Every refusal leaves the connection usable.
    let mut stream = open(&sim).await;
    for _ in 0..2 {
        let body = "no XML";
        let request =
            format!("POST /sdk HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"</soapenv:Envelope>") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert!(is_refused(&String::from_utf8(answer).unwrap(), "InvalidRequest"));
    }
}
