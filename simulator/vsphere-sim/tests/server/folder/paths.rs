//! How clients name files, and how nobody gets out of a datastore.

use std::fs;

use super::{ask, names, on_host, session, url};
use crate::start;

#[tokio::test]
async fn names_in_every_spelling() {
    let sim = start(1).await;
    let session = session(&sim).await;
    fs::create_dir(on_host(&sim, "Übung 1+2")).unwrap();
    fs::write(on_host(&sim, "Übung 1+2/100%.txt"), "found").unwrap();
    let encoded = "/folder/%C3%9Cbung%201+2/100%25.txt";
    for spelling in [
        "dcPath=DC0&dsName=datastore1",
        "dsName=datastore1&dcPath=DC0",
        "dcPath=/DC0&dsName=datastore1",
        "dcPath=%2FDC0&dsName=datastore1",
        "dcPath=DC0/&dsName=datastore1&other",
        "dcPath=%22DC0%22&dsName=%22datastore1%22",
        "dcPath=%2522DC0%2522&dsName=datastore1",
        "dcPath=%2544C0&dsName=datastore%2531",
    ] {
        let answer = ask(&sim, "GET", &format!("{encoded}?{spelling}"), &session, b"").await;
        let expected = if spelling.contains("%2522") { 404 } else { 200 };
        assert_eq!(answer.status, expected, "{spelling}: {}", answer.text());
    }
    for path in ["/folder//%C3%9Cbung%201+2//100%25.txt", "/folder/./%C3%9Cbung%201%2b2/100%25.txt"] {
        let answer = ask(&sim, "GET", &format!("{path}?{}", super::PLACE), &session, b"").await;
        assert_eq!((answer.status, answer.text()), (200, "found"), "{path}");
    }
    for wrong in
        ["dcPath=DC1&dsName=datastore1", "dcPath=DC0&dsName=datastore2", "dcPath=vm&dsName=datastore1"]
    {
        assert_eq!(
            ask(&sim, "GET", &format!("{encoded}?{wrong}"), &session, b"").await.status,
            404,
            "{wrong}"
        );
    }
    // Put and got by the same name.
    let new = url("%C3%9Cbung%201+2/%E2%82%AC%22%27%3F%23.txt");
    assert_eq!(ask(&sim, "PUT", &new, &session, b"euro").await.status, 201);
    assert_eq!(fs::read(on_host(&sim, "Übung 1+2/€\"'?#.txt")).unwrap(), b"euro");
    assert_eq!(ask(&sim, "GET", &new, &session, b"").await.body, b"euro");
}

#[tokio::test]
async fn no_path_leads_out_of_the_datastore() {
    let sim = start(1).await;
    let session = session(&sim).await;
    let secret = sim.data_dir().join("datastores/secret");
    fs::write(&secret, "secret").unwrap();
    fs::create_dir(sim.data_dir().join("datastores/outside")).unwrap();
    std::os::unix::fs::symlink("../secret", on_host(&sim, "link")).unwrap();
    std::os::unix::fs::symlink("../outside", on_host(&sim, "folder")).unwrap();
    std::os::unix::fs::symlink("../nothing", on_host(&sim, "dangling")).unwrap();
    for path in [
        "../secret",
        "vm-1/../../secret",
        "%2e%2e/secret",
        "%2E%2e%2Fsecret",
        "vm-1%2f..%2f..%2fsecret",
        "..%5csecret",
        "%252e%252e%252fsecret",
        "%c0%ae%c0%ae/secret",
        "%e0%80%ae%e0%80%ae/secret",
        "..%00/secret",
        "vm-1/vm-1.vmx%00.txt",
        "/../secret",
        "//etc/passwd",
        "%2fetc%2fpasswd",
        "....//secret",
        ".%2e/secret",
        "link",
        "folder/new",
        "folder",
        "dangling",
        "folder/../../secret",
    ] {
        for (method, body) in [("GET", &b""[..]), ("HEAD", b""), ("PUT", b"x"), ("DELETE", b"")] {
            let answer = ask(&sim, method, &url(path), &session, body).await;
            // A name with odd letters may be put where it belongs.
            let is_inside = matches!(answer.status, 200 | 201)
                && ["..%5csecret", "%252e%252e%252fsecret"].contains(&path)
                && matches!(method, "PUT" | "DELETE");
            assert!(is_inside || matches!(answer.status, 400 | 404), "{method} {path}: {}", answer.head);
            assert!(!answer.text().contains("secret\n") && !answer.text().contains("root:"), "{path}");
        }
    }
    for place in [
        "dcPath=DC0&dsName=..",
        "dcPath=DC0&dsName=../datastores/datastore1",
        "dcPath=../DC0&dsName=datastore1",
        "dcPath=DC0&dsName=",
        "dcPath=DC0&dsName=%ff",
        "dcPath=DC0/../DC0&dsName=datastore1",
    ] {
        let answer = ask(&sim, "GET", &format!("/folder/secret?{place}"), &session, b"").await;
        assert!(matches!(answer.status, 400 | 404), "{place}: {}", answer.head);
    }
    assert_eq!(fs::read(&secret).unwrap(), b"secret");
    assert_eq!(fs::read_dir(sim.data_dir().join("datastores/outside")).unwrap().count(), 0);
    assert!(!sim.data_dir().join("datastores/nothing").exists());
    assert!(names(&sim, "").contains(&"link".to_owned()));
}

/// Generated machines have no files until somebody looks.
#[tokio::test]
async fn the_files_of_generated_machines_are_there_when_they_are_asked_for() {
    let sim = vsphere_sim::Sim::builder().generate(vsphere_sim::Generated::new(3)).start().await.unwrap();
    let session = session(&sim).await;
    assert!(names(&sim, "").is_empty());
    assert_eq!(ask(&sim, "HEAD", &url("vm-2/vm-2.vmx"), &session, b"").await.status, 200);
    assert_eq!(names(&sim, ""), ["vm-2"]);
    let list = ask(&sim, "GET", "/folder?dcPath=DC0&dsName=datastore1", &session, b"").await;
    assert!(["vm-1/", "vm-2/", "vm-3/"].iter().all(|name| list.text().contains(name)), "{}", list.text());
}
