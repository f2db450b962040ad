//! Answers in the styles of different servers: the same session has to go well in all of them.

use vim_api::MoRef;
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vsphere_sim::{Chunked, Gzip, Prefix, Sim, WireStyle};

use crate::raw::{envelope, login, post, send};
use crate::{log_in, machine, start};

const PREFIXES: [Prefix; 3] = [Prefix::Xsi, Prefix::Local, Prefix::Vim25];

/// Logs in, reads, is told of a change, takes a snapshot, is refused, and logs out.
async fn session(sim: &Sim, note: &str) {
    let client = log_in(sim).await;
    let vm = machine(&client, sim);
    let root = client.content().root_folder.cast();
    let found = client.list::<mo::VirtualMachine>(&root, &["name", "config", "runtime"]).await.unwrap();
    assert_eq!(found.len(), 2);
    let mut updates = client.updates::<mo::VirtualMachine>(&root, &["name", "config.annotation"]);
    assert_eq!(updates.next().await.unwrap().changes.len(), 2);
    let spec = t::VirtualMachineConfigSpec { annotation: Some(note.to_owned()), ..Default::default() };
    vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
    let told = updates.next().await.unwrap();
    assert!(!told.changes.is_empty());
    let known: String =
        updates.get(&sim.vm("vm-1").unwrap().moref()).unwrap().get("config.annotation").unwrap().unwrap();
    assert_eq!(known, note);
    let task = vm.create_snapshot_task("s", Some("<of> \"the\" & style"), false, false).await.unwrap();
    let snapshot = task.wait().await.unwrap();
    let tree = vm.require(mo::VirtualMachine::SNAPSHOT).await.unwrap().root_snapshot_list;
    assert_eq!(tree[0].description, "<of> \"the\" & style");
    assert!(tree[0].create_time.to_system_time().is_some());
    let areas = vm.query_changed_disk_areas(Some(&snapshot), 2000, 0, "*").await.unwrap();
    assert_eq!(areas.length, 64 << 20);
    client.bind(&snapshot).remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();
    let gone: MoRef<mo::VirtualMachine> = MoRef::new("vm-9999");
    let refused = client.bind(&gone).require(mo::VirtualMachine::NAME).await.unwrap_err();
    assert!(refused.fault::<t::ManagedObjectNotFound>().is_some(), "{refused}");
    drop(updates);
    client.logout().await.unwrap();
}

#[tokio::test]
async fn a_session_in_every_combination() {
    let sim = start(2).await;
    let mut combinations = 0;
    for prefix in PREFIXES {
        for chunked in [Chunked::Never, Chunked::Large, Chunked::Always] {
            for gzip in [Gzip::Never, Gzip::Offered, Gzip::Always] {
                let style = WireStyle { prefix, chunked, gzip, fraction: [6, 8, 9][combinations % 3] };
                sim.set_wire(style);
                assert_eq!(sim.wire(), style);
                tokio::time::timeout(
                    std::time::Duration::from_secs(30),
                    session(&sim, &format!("{style:?}")),
                )
                .await
                .unwrap_or_else(|_| panic!("{style:?} hangs"));
                combinations += 1;
            }
        }
    }
    assert_eq!(combinations, 27);
}

#[tokio::test]
async fn each_style_is_what_it_says() {
    let sim = start(1).await;
    let answer = send(&sim, &post("", &login(&sim))).await;
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().to_owned();
    let fetch = |property: &str| {
        envelope(&format!(
            "<Fetch xmlns=\"urn:vim25\"><_this type=\"VirtualMachine\">vm-101</_this><prop>{property}</prop></Fetch>"
        ))
    };
    let ask = async |style: &str, headers: &str, property: &str| {
        sim.set_wire(style.parse().unwrap());
        let headers = format!("Cookie: {cookie}\r\n{headers}");
        send(&sim, &post(&headers, &fetch(property))).await
    };
    let plain = ask("prefix=xsi,gzip=never", "", "config.hardware.device").await;
    assert!(
        plain.contains(" xsi:type=\"VirtualDisk\"") && plain.contains(" xsi:type=\"ArrayOfVirtualDevice\"")
    );
    let local = ask("prefix=local,gzip=never", "", "config.hardware.device").await;
    let declared = "xmlns:_XMLSchema-instance=\"http://www.w3.org/2001/XMLSchema-instance\" \
                    _XMLSchema-instance:type=\"VirtualDisk\">";
    assert!(local.contains(declared) && !local.contains(" xsi:type="), "{local}");
    let vim25 = ask("prefix=vim25,gzip=never", "", "config.hardware.device").await;
    assert!(
        vim25.contains(" xsi:type=\"vim25:VirtualDisk\"") && vim25.contains(" xmlns:vim25=\"urn:vim25\"")
    );
    // Without the markup all three say the same.
    let values = |answer: &str| {
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        body.split('>')
            .filter_map(|piece| piece.split_once('<'))
            .map(|(text, _)| text.to_owned())
            .collect::<Vec<_>>()
    };
    assert!(
        values(&plain).len() > 100 && values(&plain) == values(&local) && values(&plain) == values(&vim25)
    );
    // A fault too.
    let fault = ask("prefix=vim25", "", "nothing").await;
    assert!(fault.contains("xsi:type=\"vim25:InvalidProperty\""), "{fault}");

    let offered = "Accept-Encoding: gzip\r\n";
    let has = |answer: &str, header: &str| answer.split_once("\r\n\r\n").unwrap().0.contains(header);
    for (style, chunks_small, chunks_large) in
        [("chunked=never", false, false), ("chunked=large", false, true), ("chunked=always", true, true)]
    {
        let small = ask(style, "", "name").await;
        let large = ask(style, "", "config").await;
        assert_eq!(has(&small, "transfer-encoding: chunked"), chunks_small, "{small}");
        assert_eq!(has(&small, "content-length: "), !chunks_small, "{small}");
        assert_eq!(has(&large, "transfer-encoding: chunked"), chunks_large, "{large}");
    }
    assert!(!has(&ask("gzip=always", "", "config").await, "content-encoding"));
    for (style, property, is_gzip) in [
        ("gzip=never", "config", false),
        ("gzip=offered", "config", true),
        ("gzip=offered", "name", false),
        ("gzip=always", "name", true),
    ] {
        sim.set_wire(style.parse().unwrap());
        let headers = format!("Cookie: {cookie}\r\n{offered}");
        let head = head_of(&sim, &post(&headers, &fetch(property))).await;
        assert_eq!(head.contains("content-encoding: gzip"), is_gzip, "{style} {property}: {head}");
    }
    let times = async |style| {
        let answer = ask(style, "", "config.createDate").await;
        answer.split("Z</returnval>").next().unwrap().rsplit('.').next().unwrap().len()
    };
    assert_eq!([times("fraction=6").await, times("fraction=8").await, times("fraction=9").await], [6, 8, 9]);
}

/// The head of an answer whose body may be compressed.
async fn head_of(sim: &Sim, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = crate::tls::open(sim).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).split_once("\r\n\r\n").unwrap().0.to_owned()
}
