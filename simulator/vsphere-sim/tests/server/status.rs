//! What the status page asks for, and who may ask.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use vim_api::mo;
use vsphere_sim::{Content, DiskSpec, Generated, Sim, Topology, VmSpec};

use crate::control::{ask, controlled};
use crate::{MIB, log_in};

/// A request with these lines as its head, and its answer's head and body.
fn exchange(sim: &Sim, head: &str, body: &str) -> (u16, String, String) {
    let url = sim.control_url().unwrap();
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let length = body.len();
    write!(stream, "{head}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_lowercase(), body.to_owned())
}

fn get(sim: &Sim, path: &str) -> Value {
    let (status, told) = ask(sim, "GET", path, "");
    assert_eq!(status, 200, "{path}: {told}");
    told
}

#[tokio::test]
async fn the_page_comes_with_what_protects_it() {
    let sim = controlled().await;
    for (path, kind, part) in [
        ("/", "text/html", "<title>vsphere-sim</title>"),
        ("/page.css", "text/css", "prefers-color-scheme"),
        ("/page.js", "text/javascript", "/v1/"),
        ("/icon.svg", "image/svg+xml", "<svg"),
    ] {
        let (status, head, body) = exchange(&sim, &format!("GET {path} HTTP/1.1\r\nHost: localhost"), "");
        assert_eq!(status, 200, "{path}");
        assert!(body.contains(part), "{path}");
        for line in [
            &format!("content-type: {kind}"),
            "content-security-policy: default-src 'none';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "cache-control: no-store",
        ] {
            assert!(head.contains(line), "{line} is not in the head of {path}: {head}");
        }
        assert!(!head.contains("access-control"), "{head}");
        assert!(
            !body.contains("http://") || path == "/icon.svg" || path == "/dom.js",
            "{path} names another place"
        );
    }
    let (status, head, _) = exchange(&sim, "GET /v1/server HTTP/1.1\r\nHost: localhost", "");
    assert!(status == 200 && head.contains("nosniff"), "{head}");
    assert_eq!(
        exchange(&sim, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json", "{}").0,
        404
    );
}

#[tokio::test]
async fn others_are_kept_out() {
    let sim = controlled().await;
    let rule = r#"{"method": "Login", "fault": "InvalidLogin"}"#;
    for (head, status) in [
        ("Host: rebound.example\r\nContent-Type: application/json", 403),
        ("Host: localhost\r\nContent-Type: application/json\r\nOrigin: http://evil.example", 403),
        ("Host: localhost\r\nContent-Type: application/json\r\nOrigin: null", 403),
        ("Host: localhost\r\nContent-Type: application/json\r\nSec-Fetch-Site: same-site", 403),
        ("Host: localhost\r\nContent-Type: text/plain", 415),
        ("Host: localhost", 415),
    ] {
        let (found, _, body) = exchange(&sim, &format!("POST /v1/faults HTTP/1.1\r\n{head}"), rule);
        assert_eq!(found, status, "{head}: {body}");
        assert!(body.contains("error"), "{body}");
    }
    assert_eq!(get(&sim, "/v1/faults")["rules"], json!([]));
    let own = "Host: localhost:1\r\nOrigin: http://localhost:1\r\nSec-Fetch-Site: same-origin\r\nContent-Type: application/json";
    assert_eq!(exchange(&sim, &format!("POST /v1/faults HTTP/1.1\r\n{own}"), rule).0, 200);
}

#[tokio::test]
async fn the_inventory_is_paged_and_searched() {
    let topology =
        Topology { datacenters: 2, clusters: 2, hosts: 4, pools: 2, datastores: 2, networks: 2, folders: 4 };
    let sim = Sim::builder()
        .control("127.0.0.1:0".parse().unwrap())
        .topology(topology)
        .generate(Generated::new(300))
        .start()
        .await
        .unwrap();
    let names = |told: &Value| -> Vec<String> {
        told["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let root = get(&sim, "/v1/inventory");
    assert_eq!((names(&root), &root["total"]), (vec!["DC0".to_owned(), "DC1".to_owned()], &json!(2)));
    let counts = get(&sim, "/v1/server")["counts"].clone();
    assert_eq!(
        (&counts["machines"], &counts["hosts"], &counts["powered_on"]),
        (&json!(300), &json!(4), &json!(300))
    );
    let hosts = get(&sim, "/v1/inventory?type=HostSystem");
    assert_eq!(hosts["total"], 4);
    let mut machines = 0;
    for host in hosts["items"].as_array().unwrap() {
        let below =
            get(&sim, &format!("/v1/inventory?parent={}&limit=10&offset=5", host["id"].as_str().unwrap()));
        assert_eq!((below["total"].clone(), names(&below).len()), (host["children"].clone(), 10));
        machines += below["total"].as_u64().unwrap();
    }
    assert_eq!(machines, 300, "each machine is on one host");
    for place in ["Datastore", "Network", "ResourcePool"] {
        let places = get(&sim, &format!("/v1/inventory?type={place}"));
        let held: u64 =
            places["items"].as_array().unwrap().iter().map(|item| item["children"].as_u64().unwrap()).sum();
        // The two pools that were asked for are below those of the clusters.
        assert_eq!(held, if place == "ResourcePool" { 302 } else { 300 }, "{place}");
        let id = places["items"][0]["id"].as_str().unwrap();
        assert_eq!(get(&sim, &format!("/v1/inventory?parent={id}"))["total"], places["items"][0]["children"]);
    }
    let found = get(&sim, "/v1/inventory?filter=VM-29");
    assert_eq!(found["total"], 11, "vm-29 and vm-290 to vm-299 by name: {:?}", names(&found));
    let by_id = get(&sim, "/v1/inventory?filter=vm-101&type=VirtualMachine");
    assert!(names(&by_id).contains(&"vm-1".to_owned()), "by its id, too: {by_id}");
    assert_eq!(get(&sim, "/v1/inventory?filter=nothing%20like%20it")["items"], json!([]));
    for (path, status) in [
        ("/v1/inventory?parent=group-d999", 404),
        ("/v1/inventory?offset=x", 400),
        ("/v1/machines/vm-9999", 404),
        ("/v1/machines/vm-101/disks/1", 404),
        ("/v1/machines/vm-101/disks/x", 404),
        ("/v1/machines/vm-101/disks/2000?cells=0", 400),
        ("/v1/machines/vm-101/disks/2000?cells=5000", 400),
    ] {
        let (found, told) = ask(&sim, "GET", path, "");
        assert_eq!((found, told["error"].is_string()), (status, true), "{path}: {told}");
    }
    // Looking at a machine does not make its files.
    assert_eq!(get(&sim, "/v1/machines/vm-101")["has_files"], false);
    let disk = get(&sim, "/v1/machines/vm-101/disks/2000");
    assert_eq!((&disk["has_files"], &disk["allocated"]["bytes"]), (&json!(false), &json!(0)));
    assert_eq!(get(&sim, "/v1/machines/vm-101")["has_files"], false);
}

#[tokio::test]
async fn chains_and_maps_are_those_of_the_disk() {
    let sim = Sim::builder()
        .control("127.0.0.1:0".parse().unwrap())
        .vm(VmSpec::new("a <b>/c").disk(DiskSpec::empty(64 * MIB)).cbt())
        .vm(VmSpec::new("thick").disk(DiskSpec { capacity_bytes: MIB, thin: false, content: Content::Empty }))
        .start()
        .await
        .unwrap();
    let client = log_in(&sim).await;
    let vm = sim.vm("a <b>/c").unwrap();
    let write = |offset, length: u64| {
        let bytes = vec![7; usize::try_from(length).unwrap()];
        vm.with_live_disk(2000, |disk| disk.write_at(offset, &bytes)).unwrap().unwrap();
    };
    let snapshot = async || {
        let machine: mo::VirtualMachine = client.bind(&vm.moref());
        let task = machine.create_snapshot_task("s<1>", None, false, false).await.unwrap();
        task.wait().await.unwrap();
        vm.snapshots().pop().unwrap()
    };
    write(0, MIB);
    let first = snapshot().await;
    write(32 * MIB, 3 * MIB);
    let second = snapshot().await;
    write(32 * MIB, 65536);

    let id = vm.moref().value().to_owned();
    let machine = get(&sim, "/v1/machines/a%20%3Cb%3E%2Fc");
    assert_eq!((machine["id"].as_str(), machine["name"].as_str()), (Some(id.as_str()), Some("a <b>/c")));
    assert_eq!(machine["current_snapshot"], json!(second));
    let disk = get(&sim, &format!("/v1/machines/{id}/disks/2000?cells=64"));
    assert_eq!(disk["cell"], json!(MIB));
    let links = disk["links"].as_array().unwrap();
    let frozen: Vec<_> = links.iter().map(|link| link["frozen_by"].clone()).collect();
    assert_eq!(frozen, [json!([first]), json!([second]), json!([])]);
    assert_eq!(links.iter().map(|link| link["live"].clone()).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(links[1]["parent"], links[0]["path"]);
    assert_eq!(links[2]["parent"], links[1]["path"]);
    let mut cells = vec![0; 64];
    cells[0] = MIB;
    assert_eq!(links[0]["allocated"], json!({ "bytes": MIB, "areas": 1, "cells": cells }));
    cells[32..35].fill(MIB);
    assert_eq!(disk["allocated"], json!({ "bytes": 4 * MIB, "areas": 2, "cells": cells }));
    let changed = disk["changed"].as_array().unwrap();
    assert_eq!(changed.len(), 2);
    let maps = changed.iter().map(|since| (since["since"].clone(), since["map"]["bytes"].clone()));
    assert_eq!(maps.collect::<Vec<_>>(), [(json!(first), json!(3 * MIB)), (json!(second), json!(65536))]);
    let thick = get(&sim, "/v1/machines/thick/disks/2000");
    assert_eq!(thick["changed"], json!([]));
}

#[tokio::test]
async fn tasks_and_sessions_are_shown_without_secrets() {
    let sim = controlled().await;
    assert_eq!(get(&sim, "/v1/sessions")["sessions"], json!([]));
    let client = log_in(&sim).await;
    let machine: mo::VirtualMachine = client.bind(&sim.vm("off").unwrap().moref());
    let task = machine.power_on_vm_task(None).await.unwrap();
    task.wait().await.unwrap();
    let task = machine.power_on_vm_task(None).await.unwrap();
    task.wait().await.unwrap_err();
    let told = get(&sim, "/v1/tasks");
    let tasks = told["tasks"].as_array().unwrap();
    assert_eq!(tasks.len(), 2, "{told}");
    assert_eq!(
        (&tasks[0]["state"], &tasks[0]["error"]["fault"]),
        (&json!("error"), &json!("InvalidPowerState"))
    );
    assert_eq!(
        (&tasks[1]["state"], &tasks[1]["what"]),
        (&json!("success"), &json!("Power on virtual machine"))
    );
    assert_eq!((&tasks[1]["user"], &tasks[1]["entity_name"]), (&json!(sim.user()), &json!("off")));
    let told = get(&sim, "/v1/sessions");
    let session = &told["sessions"][0];
    assert_eq!((&session["user"], &session["address"]), (&json!(sim.user()), &json!("127.0.0.1")));
    assert_eq!(told["timeout_seconds"], 1800);
    let key = client.current_session().await.unwrap().key;
    let cookie = client.session_cookie().unwrap();
    let cookie = secrecy::ExposeSecret::expose_secret(&cookie).trim_matches('"').to_owned();
    for secret in [key, cookie] {
        assert!(!secret.is_empty() && !told.to_string().contains(&secret), "{told}");
    }
    let server = get(&sim, "/v1/server");
    assert_eq!(
        (server["url"].as_str(), server["sha256"].as_str()),
        (Some(sim.url().as_str()), Some(sim.thumbprint_sha256()))
    );
    assert_eq!(server["clock"]["stands"], false);
}

#[tokio::test]
async fn rest_sessions_are_shown_and_end_with_the_others() {
    let sim = Sim::builder()
        .control("127.0.0.1:0".parse().unwrap())
        .vm(VmSpec::new("vm-1"))
        // Releases before 8.0.3 have sessions apart for their REST services.
        .api_version(vim_api::ApiVersion::parse("7.0.3.0").unwrap())
        .start()
        .await
        .unwrap();
    let client = log_in(&sim).await;
    client.rest().tags().attached(&[sim.vms()[0].moref()]).await.unwrap();
    let kinds = |told: Value| -> Vec<String> {
        told["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|session| session["kind"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(kinds(get(&sim, "/v1/sessions")), ["api", "rest"]);
    assert_eq!(ask(&sim, "POST", "/v1/sessions/expire", r#"{"user": "somebody"}"#).1["expired"], 0);
    let body = format!(r#"{{"user": "{}"}}"#, sim.user());
    assert_eq!(ask(&sim, "POST", "/v1/sessions/expire", &body).1["expired"], 2);
    assert!(kinds(get(&sim, "/v1/sessions")).is_empty());
}
