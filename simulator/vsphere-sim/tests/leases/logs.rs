//! What the log is told: each event is one object of JSON, and no secret is in any of them.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use vim_api::dynamic::Poly;
use vim_api::types as t;
use vsphere_sim::{Endpoint, FaultPlace, FaultRule};

use super::*;

/// What was written. Other tests of this program write to it, too.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn all_is_told_and_no_secret() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let sim = two_disks().await;
    let client = log_in(&sim).await;
    let wrong = SecretString::from("a wrong password");
    let other =
        Client::connect(&sim.url()).thumbprint(sim.thumbprint_sha256().parse().unwrap()).await.unwrap();
    other.login(sim.user(), &wrong).await.unwrap_err();
    let clone = client.clone_ticket().await.unwrap();
    let folder =
        format!("https://{}:{}/folder/vm-1/vm-1.vmx?dcPath=DC0&dsName=datastore1", sim.host(), sim.port());
    let manager: mo::SessionManager = client.bind(&MoRef::new("SessionManager"));
    let spec = t::SessionManagerHttpServiceRequestSpec {
        method: Some("httpGet".to_owned()),
        url: folder.clone(),
        ..Default::default()
    };
    let service = manager.acquire_generic_service_ticket(&Poly::new(spec)).await.unwrap().id;
    let shown = format!("vmware_cgi_ticket={service}");
    assert_eq!(answer(&sim, "GET", &folder, &[("cookie", &shown)], "").await.0, 200);
    let basic = STANDARD.encode(format!("{}:{}", sim.user(), sim.password().expose_secret()));
    let authorization = format!("Basic {basic}");
    let authorization = [("authorization", authorization.as_str())];
    assert_eq!(answer(&sim, "GET", &folder, &authorization, "").await.0, 200);
    let sessions = format!("https://{}:{}/api/session", sim.host(), sim.port());
    let (status, rest) = answer(&sim, "POST", &sessions, &authorization, "").await;
    assert_eq!(status, 201);
    let rest: String = serde_json::from_slice(&rest).unwrap();

    let task = machine(&client, &sim).create_snapshot_task("s", None, false, false).await.unwrap();
    machine(&client, &sim).create_snapshot_task("s", None, false, false).await.unwrap_err();
    task.wait().await.unwrap();
    client.logout().await.unwrap();
    let client = log_in(&sim).await;
    let slow = FaultRule {
        bytes_per_second: Some(1 << 30),
        object: Some("/nfc/*".to_owned()),
        ..FaultRule::at(Endpoint::Nfc, "GET", FaultPlace::Body)
    };
    sim.add_fault(slow).unwrap();
    let snapshot: mo::VirtualMachineSnapshot =
        client.bind(&MoRef::new(sim.vm("vm-1").unwrap().snapshots()[0].as_str()));
    let lease = ready(&client, snapshot.export_snapshot().await).await;
    let address = lease.files()[0].url.clone();
    let token = address.split("/nfc/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    download(&sim, &address).await;
    let cookie = client.session_cookie().unwrap();
    client.logout().await.unwrap();

    let told = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let events: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_sim = |event: &&Value| event["target"].as_str().unwrap().starts_with("vsphere_sim");
    let said: BTreeSet<&str> =
        events.iter().filter(of_sim).filter_map(|event| event["message"].as_str()).collect();
    for expected in [
        "call",
        "fault rule added",
        "fault rule strikes",
        "login refused",
        "machine added",
        "REST session begins",
        "request",
        "session begins",
        "session ends",
        "snapshot taken",
        "task begins",
        "task ends",
    ] {
        assert!(said.contains(expected), "{expected} is not in {said:?}");
    }
    let call = |method: &str, fails: bool| {
        let is_it = |event: &&Value| {
            event["message"] == "call" && event["method"] == method && event.get("fault").is_some() == fails
        };
        events.iter().find(is_it).unwrap_or_else(|| panic!("{method} is not told of"))
    };
    let good = call("CreateSnapshot_Task", false);
    assert_eq!(good["user"], sim.user());
    assert_eq!(good["address"], "127.0.0.1");
    assert!(good["object"].as_str().unwrap().starts_with("VirtualMachine:vm-"), "{good}");
    for number in ["received", "bytes", "micros"] {
        assert!(good[number].as_u64().unwrap() > 0, "{number}: {good}");
    }
    assert_eq!(call("CreateSnapshot_Task", true)["fault"], "TaskInProgress");
    assert_eq!(call("Login", true)["fault"], "InvalidLogin");
    let paths: BTreeSet<&str> = events.iter().filter_map(|event| event["path"].as_str()).collect();
    assert!(paths.contains("/nfc/*/disk-0.vmdk"), "{paths:?}");

    let secrets = [
        sim.password().expose_secret(),
        wrong.expose_secret(),
        cookie.expose_secret().trim_matches('"'),
        clone.expose_secret(),
        &service,
        &basic,
        &rest,
        &token,
    ];
    for secret in secrets {
        assert!(secret.len() > 8);
        let line = told.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "a secret was told");
    }
}
