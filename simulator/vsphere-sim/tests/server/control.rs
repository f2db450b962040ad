use std::io::{Read, Write};
use std::net::TcpStream;

use vsphere_sim::{DiskSpec, Sim, VmSpec};

use crate::{MIB, log_in};

async fn controlled() -> Sim {
    Sim::builder()
        .control("127.0.0.1:0".parse().unwrap())
        .vm(VmSpec::new("on").disk(DiskSpec::empty(MIB)))
        .vm(VmSpec::new("off").disk(DiskSpec::empty(MIB)).powered_off())
        .start()
        .await
        .unwrap()
}

fn ask(sim: &Sim, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
    let url = sim.control_url().unwrap();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
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
