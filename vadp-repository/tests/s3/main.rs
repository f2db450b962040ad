//! A real S3 server, named by `VADP_S3` (`.ci/s3` starts one): the conformance suite, and a repository, directly and over a line on
//! which requests are delayed, refused with 503, cut in the middle of an upload, or left without an answer.

// Helpers of tests may panic like the tests themselves; the lint's own exception covers only test functions.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod proxy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vadp_repository::conformance::{self, Load};
use vadp_repository::{
    Backoff, CheckDepth, ChunkStore, CloudOptions, CloudStore, DiskSpec, ErrorKind, InitOptions, MachineId,
    ObjectName, PointDraft, Repository, Retry, Secret,
};

use proxy::{Faults, Proxy};

/// The server's address, such as `http://127.0.0.1:8333`, which has a bucket called `vadp`. Credentials are in the environment.
fn server() -> String {
    std::env::var("VADP_S3").expect("VADP_S3 names no server: run this by .ci/s3")
}

fn store(endpoint: &str, folder: &str, change: impl FnOnce(&mut CloudOptions)) -> CloudStore {
    let mut options = CloudOptions::default();
    options.allow_http = true;
    options.settings = vec![("aws_endpoint".to_owned(), endpoint.to_owned())];
    change(&mut options);
    CloudStore::open(&format!("s3://vadp/{folder}"), &options).unwrap()
}

async fn conforms(store: &impl ChunkStore, load: Load) {
    let report = conformance::run_with(store, load).await.unwrap();
    assert!(report.is_ok(), "{report}");
    println!("{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_conforms() {
    conforms(&store(&server(), "direct", |_| {}), Load::default()).await;
    // At the root of a bucket.
    let mut load = Load::default();
    (load.listed, load.large) = (20, 12 << 20);
    // In parts, which this server does not complete atomically.
    load.racers = 1;
    conforms(&store(&server(), "", |options| options.part_bytes = 5 << 20), load).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_on_a_bad_line_conforms() {
    let faults = Faults { seed: 7, refused: 60, cut: 60, unanswered: 60, latency: Duration::from_millis(5) };
    let proxy = Proxy::start(&server(), faults).await;
    let bucket = store(&proxy.address(), "badline", |options| options.timeout = Duration::from_secs(20));
    let mut load = Load::default();
    load.listed = 300;
    conforms(&Retry::new(bucket, Backoff::new(10, Duration::from_millis(20))), load).await;
    let counts = proxy.counts();
    println!("requests, refused, cut, unanswered: {counts:?}");
    assert!(counts.iter().all(|&count| count > 5), "the line was too good: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_in_a_bucket_on_a_bad_line() {
    let faults = Faults { seed: 11, refused: 80, cut: 80, unanswered: 80, latency: Duration::from_millis(5) };
    let proxy = Proxy::start(&server(), faults).await;
    let bucket = store(&proxy.address(), "repository", |options| options.part_bytes = 5 << 20);
    let bucket: Arc<dyn ChunkStore> =
        Arc::new(Retry::new(bucket, Backoff::new(10, Duration::from_millis(20))));
    let secret = Secret::raw_key([7; 32]);
    let repo = Repository::init(Arc::clone(&bucket), &secret, InitOptions::default()).await.unwrap();
    let chunk = |n: u8| -> Bytes {
        (0..1 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8 ^ n).collect()
    };
    let writer = repo.begin(PointDraft::new(MachineId::new("web").unwrap())).await.unwrap();
    let spec = DiskSpec { key: "disk".to_owned(), capacity_bytes: 32 << 20 };
    let mut disk = writer.disk(spec, None).unwrap();
    for n in 0..24 {
        disk.put(u64::from(n), chunk(n)).await.unwrap();
    }
    disk.finish().await.unwrap();
    let id = writer.commit(Bytes::new(), BTreeMap::new()).await.unwrap().id();
    // Somebody else, on a good line.
    let direct: Arc<dyn ChunkStore> = Arc::new(store(&server(), "repository", |_| {}));
    let repo = Repository::open(direct, &secret).await.unwrap();
    let report = repo.check(CheckDepth::Deep).await.unwrap();
    assert!(report.is_ok(), "{report}");
    assert!(report.leftovers.packs.is_empty() && report.leftovers.unneeded_chunks == 0, "{report}");
    let disk = repo.point(id).await.unwrap().disk("disk").unwrap();
    let mut read = vec![0; 1 << 20];
    for n in 0..24 {
        disk.read_at(u64::from(n) << 20, &mut read).await.unwrap();
        assert!(read == chunk(n), "chunk {n}");
    }
    let again = Repository::init(bucket, &secret, InitOptions::default()).await;
    assert_eq!(again.err().unwrap().kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn what_cannot_work_is_said() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = store(&format!("http://{closed}"), "x", |options| options.retries = 1);
    let name = ObjectName::new("config").unwrap();
    let error = nobody.get(&name, 10).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store, "{error}");
    assert!(error.to_string().contains("s3://vadp/x"), "{error}");
    let stranger = store(&server(), "x", |options| {
        options.settings.push(("aws_secret_access_key".to_owned(), "wrong".to_owned()));
    });
    let error = stranger.create(&name, Bytes::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    for address in ["s3://", "ftp://bucket/x", "bucket", "az://container/x"] {
        let error = CloudStore::open(address, &CloudOptions::default());
        if cfg!(feature = "azure") && address.starts_with("az") {
            continue;
        }
        assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput, "{address}");
    }
}
