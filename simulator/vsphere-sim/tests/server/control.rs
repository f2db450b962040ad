use std::io::{Read, Write};
use std::net::TcpStream;

use vsphere_sim::{DiskSpec, Sim, VmSpec};

use crate::{MIB, log_in};

pub(crate) async fn controlled() -> Sim {
    Sim::builder()
        .control("127.0.0.1:0".parse().unwrap())
        .vm(VmSpec::new("on").disk(DiskSpec::empty(MIB)))
        .vm(VmSpec::new("off").disk(DiskSpec::empty(MIB)).powered_off())
        .start()
        .await
        .unwrap()
}

pub fn ask(sim: &Sim, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
    let url = sim.control_url().unwrap();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

#[tokio::test]
async fn the_guest_writes_and_the_disk_tells() {
    let sim = controlled().await;
    let write = |vm: &str, more: &str| {
        let body =
            format!(r#"{{"vm": "{vm}", "disk": 2000, "offset": 65536, "length": 4096, "seed": 7{more}}}"#);
        ask(&sim, "POST", "/v1/guest-write", &body)
    };
    assert_eq!(write("on", "").0, 200);
    let (status, error) = write("off", "");
    assert_eq!(status, 409, "{error}");
    assert_eq!(write("off", r#", "force": true"#).0, 200);
    assert_eq!(write("nowhere", "").0, 404);
    assert_eq!(write("on", r#", "colour": 1"#).0, 400);
    let (status, told) = ask(&sim, "GET", "/v1/disk-extents?vm=vm-101&disk=2000&snapshot=", "");
    assert_eq!(status, 200);
    let vm = sim.vm("on").unwrap();
    assert_eq!(told["sha256"], vm.disk_sha256(2000, None).unwrap());
    let first = &told["allocated"][0];
    assert!(first[0].as_u64().unwrap() <= 65536, "{told}");
    assert_eq!(ask(&sim, "GET", "/v1/disk-extents?vm=vm-101&disk=2001", "").0, 404);
}

#[tokio::test]
async fn sessions_clock_and_faults() {
    let sim = controlled().await;
    let _client = log_in(&sim).await;
    assert_eq!(ask(&sim, "POST", "/v1/sessions/expire", r#"{"user": "somebody"}"#).1["expired"], 0);
    let body = format!(r#"{{"user": "{}"}}"#, sim.user());
    assert_eq!(ask(&sim, "POST", "/v1/sessions/expire", &body).1["expired"], 1);
    assert_eq!(sim.session_count(), 0);
    let _client = log_in(&sim).await;
    assert_eq!(ask(&sim, "POST", "/v1/clock/advance", r#"{"seconds": 3600}"#).0, 200);
    assert_eq!(sim.session_count(), 0);

    assert_eq!(ask(&sim, "POST", "/v1/faults", r#"{"method": "Login", "fault": "InvalidLogin"}"#).0, 200);
    let client = crate::connect(&sim).await;
    assert!(client.login(sim.user(), sim.password()).await.is_err());
    assert_eq!(ask(&sim, "POST", "/v1/faults", r#"{"function": "Read", "code": 13}"#).0, 200);
    assert_eq!(sim_store::state::load_faults(sim.data_dir()).unwrap().len(), 1);
    assert_eq!(ask(&sim, "POST", "/v1/faults", r#"{"method": "Login", "fault": "Nonsense"}"#).0, 400);
    assert_eq!(ask(&sim, "DELETE", "/v1/faults", "").0, 200);
    assert!(sim_store::state::load_faults(sim.data_dir()).unwrap().is_empty());
    client.login(sim.user(), sim.password()).await.unwrap();
    assert_eq!(ask(&sim, "GET", "/v1/nothing", "").0, 404);
}

#[tokio::test]
async fn rules_are_listed_with_their_counters_and_taken_back() {
    let sim = controlled().await;
    let add = |body: &str| ask(&sim, "POST", "/v1/faults", body);
    let (status, told) = add(r#"{"method": "Login", "skip": 1, "fault": "InvalidLogin", "message": "no"}"#);
    assert_eq!((status, &told["id"]), (200, &serde_json::json!(1)));
    assert_eq!(add(r#"{"method": "*", "where": "http", "status": 503, "nth": 900}"#).1["id"], 2);
    assert_eq!(add(r#"{"function": "Read", "code": 13}"#).0, 200);
    let client = crate::connect(&sim).await;
    client.login(sim.user(), sim.password()).await.unwrap();
    client.logout().await.unwrap();
    assert!(client.login(sim.user(), sim.password()).await.is_err());
    let (status, told) = ask(&sim, "GET", "/v1/faults", "");
    assert_eq!(status, 200);
    let first = &told["rules"][0];
    assert_eq!((&first["id"], &first["seen"], &first["hits"]), (&1.into(), &2.into(), &1.into()), "{told}");
    let rule = serde_json::json!({ "method": "Login", "endpoint": "/sdk", "where": "call", "skip": 1,
        "fault": "InvalidLogin", "message": "no" });
    assert_eq!(first["rule"], rule);
    assert_eq!(told["vddk"][0]["function"], "Read");
    assert_eq!(ask(&sim, "DELETE", "/v1/faults/1", "").0, 200);
    client.login(sim.user(), sim.password()).await.unwrap();
    assert_eq!(ask(&sim, "GET", "/v1/faults", "").1["rules"].as_array().unwrap().len(), 1);
    for id in ["1", "x", ""] {
        assert_eq!(ask(&sim, "DELETE", &format!("/v1/faults/{id}"), "").0, 404);
    }
    let (status, told) = add(r#"{"method": "Login", "fault": "InvalidLogin", "where": "bod"}"#);
    let error = told["error"].as_str().unwrap();
    assert!(status == 400 && error.contains("\"where\"") && error.contains("`body`"), "{told}");
}

#[tokio::test]
async fn answers_are_written_otherwise() {
    let sim = controlled().await;
    let (_, told) = ask(&sim, "GET", "/v1/wire", "");
    assert_eq!(
        told,
        serde_json::json!({ "prefix": "xsi", "chunked": "never", "gzip": "offered", "fraction": 6 })
    );
    let wish = r#"{"prefix": "vcsim", "chunked": "always", "gzip": "never"}"#;
    let (status, told) = ask(&sim, "POST", "/v1/wire", wish);
    assert_eq!((status, &told["prefix"]), (200, &serde_json::json!("local")));
    assert_eq!(serde_json::json!(sim.wire()), told);
    log_in(&sim).await.logout().await.unwrap();
    for wrong in [r#"{"prefix": "soap"}"#, r#"{"fraction": 7}"#, r#"{"chunk": "always"}"#] {
        assert_eq!(ask(&sim, "POST", "/v1/wire", wrong).0, 400);
    }
    assert_eq!(ask(&sim, "GET", "/v1/wire", "").1, told, "what is refused changes nothing");
    let now = ask(&sim, "GET", "/v1/clock", "").1["now"].as_str().unwrap().to_owned();
    ask(&sim, "POST", "/v1/clock/advance", r#"{"seconds": 400000000}"#);
    assert!(ask(&sim, "GET", "/v1/clock", "").1["now"].as_str().unwrap() > now.as_str());
}
