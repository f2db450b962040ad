//! What a machine that is on has open.

use super::{ask, names, on_host, session, url};
use crate::{log_in, machine, start};

#[tokio::test]
async fn a_running_machine_keeps_its_files_and_lets_frozen_disks_be_read() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let session = session(&sim).await;
    let status = async |method: &str, name: &str| {
        let body: &[u8] = if method == "PUT" { b"x" } else { b"" };
        ask(&sim, method, &url(&format!("vm-1/{name}")), &session, body).await.status
    };
    let vm = sim.vm("vm-1").unwrap();
    vm.with_live_disk(2000, |disk| disk.write_at(12345, b"before")).unwrap().unwrap();
    for locked in ["vm-1-flat.vmdk", "vm-1-ctk.vmdk"] {
        assert_eq!(status("GET", locked).await, 500, "{locked}");
        assert_eq!(status("HEAD", locked).await, 500, "{locked}");
    }
    for text in ["vm-1.vmx", "vm-1.vmdk", "vm-1.vmsd"] {
        assert_eq!(status("GET", text).await, 200, "{text}");
    }
    let before = names(&sim, "vm-1");
    for held in ["vm-1.vmx", "vm-1.vmdk", "vm-1-flat.vmdk", "vm-1-ctk.vmdk", "vm-1.nvram"] {
        assert_eq!((status("PUT", held).await, status("DELETE", held).await == 200), (500, false), "{held}");
    }
    assert_eq!(names(&sim, "vm-1"), before);

    let task = machine(&client, &sim).create_snapshot_task("s", None, false, false).await.unwrap();
    task.wait().await.unwrap();
    vm.with_live_disk(2000, |disk| disk.write_at(12345, b"after!")).unwrap().unwrap();
    let frozen = ask(&sim, "GET", &url("vm-1/vm-1-flat.vmdk"), &session, b"").await;
    assert_eq!((frozen.status, frozen.body.len()), (200, 64 << 20));
    assert_eq!(&frozen.body[12345..12351], b"before");
    let live = names(&sim, "vm-1").into_iter().filter(|name| name.starts_with("vm-1-000001-"));
    let live: Vec<_> = live.collect();
    assert!(live.len() >= 2, "{live:?}");
    for name in &live {
        assert_eq!(status("GET", name).await, 500, "{name}");
    }
    assert_eq!(status("GET", "vm-1-000001.vmdk").await, 200);
    for held in ["vm-1-flat.vmdk", "vm-1.vmdk", &live[0]] {
        assert_eq!(status("DELETE", held).await, 500, "{held}");
    }
    // What the machine does not have open is anybody's, and so is what another has.
    assert_eq!(status("PUT", "notes.txt").await, 201);
    assert_eq!(status("DELETE", "notes.txt").await, 200);

    machine(&client, &sim).power_off_vm_task().await.unwrap().wait().await.unwrap();
    assert_eq!(status("GET", &live[0]).await, 200);
    assert_eq!(status("PUT", "vm-1.nvram").await, 201);
    assert_eq!(status("DELETE", "vm-1.nvram").await, 200);
    let other = ask(&sim, "GET", &url("vm-2/vm-2-flat.vmdk"), &session, b"").await;
    assert!(
        other.status == 500 && other.text().contains("[datastore1] vm-2/vm-2-flat.vmdk"),
        "{}",
        other.text()
    );
}

/// A link to a locked file is as locked as the file.
#[tokio::test]
async fn symbolic_links_open_no_locks() {
    let sim = start(1).await;
    let session = session(&sim).await;
    std::os::unix::fs::symlink("vm-1", on_host(&sim, "alias")).unwrap();
    std::os::unix::fs::symlink("vm-1/vm-1-flat.vmdk", on_host(&sim, "disk")).unwrap();
    for name in ["alias/vm-1-flat.vmdk", "disk"] {
        assert_eq!(ask(&sim, "GET", &url(name), &session, b"").await.status, 500, "{name}");
        assert_eq!(ask(&sim, "PUT", &url(name), &session, b"x").await.status, 500, "{name}");
    }
    assert_eq!(ask(&sim, "GET", &url("alias/vm-1.vmx"), &session, b"").await.status, 200);
}
