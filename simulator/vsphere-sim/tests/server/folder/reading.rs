//! `GET` and `HEAD`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::{PLACE, ask, on_host, session, url};
use crate::{log_in, start};

#[tokio::test]
async fn a_file_is_read_whole_and_in_parts() {
    let sim = start(1).await;
    let session = session(&sim).await;
    let bytes: Vec<u8> = (0..1000_u32).map(|i| (i % 251) as u8).collect();
    let host = on_host(&sim, "a file.bin");
    fs::write(&host, &bytes).unwrap();
    let written = UNIX_EPOCH + Duration::from_secs(784_111_777);
    File::options().write(true).open(&host).unwrap().set_modified(written).unwrap();
    let url = url("a%20file.bin");
    let get = async |headers: &str| ask(&sim, "GET", &url, &format!("{session}{headers}"), b"").await;

    let whole = get("").await;
    assert_eq!((whole.status, &whole.body), (200, &bytes));
    let tag = whole.header("etag").unwrap().to_owned();
    assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
    for (name, value) in [
        ("content-length", "1000"),
        ("accept-ranges", "bytes"),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("content-type", "application/octet-stream"),
    ] {
        assert_eq!(whole.header(name), Some(value), "{name}");
    }
    let head = ask(&sim, "HEAD", &url, &format!("{session}Range: bytes=0-9\r\n"), b"").await;
    let without_date = |head: &str| {
        let lines = head.lines().filter(|line| !line.starts_with("date"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(without_date(&head.head), without_date(&whole.head), "the same, and no range");
    assert_eq!(head.body, b"");

    for (range, from, to) in
        [("0-0", 0, 1), ("10-19", 10, 20), ("990-", 990, 1000), ("-7", 993, 1000), ("5-99999", 5, 1000)]
    {
        let part = get(&format!("Range: bytes={range}\r\n")).await;
        assert_eq!((part.status, &part.body[..]), (206, &bytes[from..to]), "{range}");
        assert_eq!(part.header("content-range"), Some(&*format!("bytes {from}-{}/1000", to - 1)));
        assert_eq!(part.header("content-length"), Some(&*(to - from).to_string()));
        assert_eq!(part.header("etag"), Some(&*tag));
    }
    for range in ["1000-", "-0", "5000-6000"] {
        let beyond = get(&format!("Range: bytes={range}\r\n")).await;
        assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */1000")), "{range}");
    }
    for ignored in ["Range: bytes=0-1,5-6\r\n", "Range: bytes=9-1\r\n", "Range: lines=1-2\r\n"] {
        let whole = get(ignored).await;
        assert_eq!((whole.status, whole.body.len(), whole.header("content-range")), (200, 1000, None));
    }

    for (validator, status) in [
        (&*tag, 206),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 206),
        ("\"another\"", 200),
        ("Sun, 06 Nov 1994 08:49:38 GMT", 200),
    ] {
        let answer = get(&format!("Range: bytes=1-2\r\nIf-Range: {validator}\r\n")).await;
        assert_eq!(answer.status, status, "{validator}");
    }
    File::options().write(true).open(&host).unwrap().write_all_at(b"!", 0).unwrap();
    let changed = get(&format!("Range: bytes=1-2\r\nIf-Range: {tag}\r\n")).await;
    assert_eq!(changed.status, 200);
    assert_ne!(changed.header("etag"), Some(&*tag));

    fs::write(on_host(&sim, "empty"), "").unwrap();
    let empty = ask(&sim, "GET", &super::url("empty"), &session, b"").await;
    assert_eq!((empty.status, empty.header("content-length"), empty.body.len()), (200, Some("0"), 0));
    for missing in ["nothing", "vm-1/nothing.vmx", "vm-1/vm-1.vmx/below", "nowhere/at/all"] {
        assert_eq!(ask(&sim, "GET", &super::url(missing), &session, b"").await.status, 404, "{missing}");
    }
    for method in ["PATCH", "MKCOL", "OPTIONS"] {
        let refused = ask(&sim, method, &url, &session, b"").await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, PUT, POST, DELETE")));
    }
}

/// Files as large as disks are: nothing of them is held in memory, and nothing is read where there is nothing.
#[tokio::test]
async fn holes_are_sent_as_zeros_without_being_read() {
    let sim = start(1).await;
    let session = session(&sim).await;
    let file = File::create_new(on_host(&sim, "large.bin")).unwrap();
    file.set_len(1 << 40).unwrap();
    file.write_all_at(b"data", (1 << 39) + 5000).unwrap();
    let url = url("large.bin");
    let head = ask(&sim, "HEAD", &url, &session, b"").await;
    assert_eq!(head.header("content-length"), Some("1099511627776"));
    let range =
        format!("{session}Range: bytes={}-{}\r\n", (1_u64 << 39) - 2_000_000, (1_u64 << 39) + 2_000_000);
    let part = ask(&sim, "GET", &url, &range, b"").await;
    assert_eq!((part.status, part.body.len()), (206, 4_000_001));
    let place = 2_000_000 + 5000;
    assert_eq!(&part.body[place..place + 4], b"data");
    assert_eq!(part.body.iter().filter(|&&byte| byte != 0).count(), 4);

    let began = Instant::now();
    let range = format!("{session}Range: bytes=-{}\r\n", 64 << 20);
    assert_eq!(ask(&sim, "GET", &url, &range, b"").await.body.len(), 64 << 20);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap()) < 100);
}

#[tokio::test]
async fn lists_lead_from_datacenters_to_files() {
    let sim = start(1).await;
    let session = session(&sim).await;
    fs::create_dir(on_host(&sim, "vm-1/ü <b>")).unwrap();
    fs::write(on_host(&sim, "vm-1/ü <b>/a&b.txt"), "text").unwrap();
    fs::write(on_host(&sim, "vm-1/.upload.1-1.tmp"), "part").unwrap();
    let get = async |url: &str| {
        let page = ask(&sim, "GET", url, &session, b"").await;
        assert_eq!(page.status, 200, "{url}");
        if page.header("content-type") == Some("text/html; charset=utf-8") {
            let head = ask(&sim, "HEAD", url, &session, b"").await;
            assert_eq!(head.header("content-length"), page.header("content-length"));
        }
        page.text().to_owned()
    };
    let link = |page: &str, name: &str| {
        let end = page.find(&format!("\">{name}</a>")).unwrap_or_else(|| panic!("no {name} in {page}"));
        let start = page[..end].rfind("href=\"").unwrap() + 6;
        page[start..end].replace("&amp;", "&")
    };
    let mut page = get("/folder").await;
    for name in ["DC0", "datastore1", "vm-1/", "ü &lt;b&gt;/", "a&amp;b.txt"] {
        page = get(&link(&page, name)).await;
    }
    assert_eq!(page, "text");
    let folder = get(&url("vm-1")).await;
    assert!(!folder.contains(".upload") && folder.contains("vm-1.vmx"), "{folder}");
    assert!(folder.contains(&(64 << 20).to_string()), "the size of the disk: {folder}");
    assert!(
        get(&link(&get(&url("vm-1/%c3%bc%20%3cb%3e")).await, "Parent folder")).await.contains("vm-1.vmx")
    );
    assert_eq!(link(&folder, "Parent folder"), format!("/folder?{PLACE}"));
    for missing in
        ["/folder?dcPath=DC9", "/folder/vm-1?dcPath=DC0", "/folder/vm-1", "/folder?dsName=datastore1"]
    {
        assert_eq!(ask(&sim, "GET", missing, &session, b"").await.status, 404, "{missing}");
    }
}

/// The client of this project, which takes up a broken download by what the server says of the file.
#[tokio::test]
async fn our_own_client_agrees() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let files = client.datastore_files("/DC0/");
    let path = vim_api::DatastorePath::new("datastore1", "dir % ü/x & y.bin").unwrap();
    let bytes: Vec<u8> = (0..300_000_u32).map(|i| (i % 241) as u8).collect();
    let upload = || {
        let pieces: Vec<_> =
            bytes.chunks(7000).map(|piece| Ok(bytes::Bytes::copy_from_slice(piece))).collect();
        vim_api::Upload::chunked(futures::stream::iter(pieces))
    };
    let lost = files.upload(&path, upload()).await.unwrap_err();
    assert!(lost.is_not_found(), "{lost}");
    fs::create_dir(on_host(&sim, "dir % ü")).unwrap();
    files.upload(&path, upload()).await.unwrap();
    let status = files.status(&path).await.unwrap();
    assert_eq!(status.size, Some(300_000));
    let mut read = Vec::new();
    let mut download = files.download(&path).await.unwrap();
    while let Some(piece) = download.next().await.unwrap() {
        read.extend_from_slice(&piece);
    }
    assert_eq!(read, bytes);
    let mut part = files.download_range(&path, 299_990..300_000).await.unwrap();
    assert_eq!(part.next().await.unwrap().unwrap(), &bytes[299_990..]);
    let beyond = files.download_range(&path, 300_000..300_001).await.unwrap_err();
    assert_eq!(beyond.kind(), vim_api::ErrorKind::InvalidInput, "{beyond}");
    sim.expire_sessions();
    // It notices, and logs in anew.
    assert_eq!(files.status(&path).await.unwrap().size, Some(300_000));
}

/// Calls that govmomi makes and the published API does not have: their namespace is another.
#[tokio::test]
async fn the_chain_of_a_disk_is_told_in_the_namespace_of_internal_calls() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    crate::machine(&client, &sim)
        .create_snapshot_task("s", None, false, false)
        .await
        .unwrap()
        .wait()
        .await
        .unwrap();
    let session = session(&sim).await;
    let call = async |body: &str| {
        let envelope = format!(
            "<Envelope xmlns=\"http://schemas.xmlsoap.org/soap/envelope/\"><Body>{body}</Body></Envelope>"
        );
        let answer = ask(&sim, "POST", "/sdk", &session, envelope.as_bytes()).await;
        answer.text().to_owned()
    };
    let datacenter = client.find_one::<vim_api::mo::Datacenter>("/DC0").await.unwrap().object;
    let asked = call(&format!(
        "<QueryVirtualDiskInfo_Task xmlns=\"urn:internalvim25\"><_this type=\"VirtualDiskManager\">virtualDiskManager</_this>\
         <name>[datastore1] vm-1/vm-1-000001.vmdk</name><datacenter type=\"Datacenter\">{}</datacenter>\
         <includeParents>true</includeParents></QueryVirtualDiskInfo_Task>",
        datacenter.value()
    ))
    .await;
    assert!(asked.contains("<QueryVirtualDiskInfo_TaskResponse xmlns=\"urn:internalvim25\">"), "{asked}");
    let task = asked.split("type=\"Task\">").nth(1).unwrap().split('<').next().unwrap();
    let fetch =
        format!("<Fetch xmlns=\"urn:vim25\"><_this type=\"Task\">{task}</_this><prop>info</prop></Fetch>");
    let info = async || loop {
        let info = call(&fetch).await;
        if !info.contains("<state>queued") && !info.contains("<state>running") {
            return info;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let info = tokio::time::timeout(Duration::from_secs(20), info()).await.unwrap();
    assert!(info.contains("xsi:type=\"ArrayOfVirtualDiskInfo\""), "{info}");
    assert!(
        info.contains(
            "<parent>[datastore1] vm-1/vm-1.vmdk</parent></VirtualDiskInfo><VirtualDiskInfo><unit>\
             <name>[datastore1] vm-1/vm-1.vmdk</name></unit><diskType>thin</diskType></VirtualDiskInfo>"
        ),
        "{info}"
    );
}
