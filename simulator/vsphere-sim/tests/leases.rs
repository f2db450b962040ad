//! Leases and what goes through them, by the client of this project and by plain HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test may panic, in its helpers too"
)]

#[path = "leases/ends.rs"]
mod ends;
#[path = "leases/export.rs"]
mod export;
#[path = "leases/import.rs"]
mod import;
#[path = "leases/logs.rs"]
mod logs;
#[path = "leases/ovf.rs"]
mod ovf;
#[path = "server/tls.rs"]
mod tls;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use vim_api::mo::Managed;
use vim_api::{Client, Error, MoRef, NfcLease, mo};
use vsphere_sim::{DiskSpec, Sim, VmSpec};

const MIB: u64 = 1 << 20;

/// What a disk travels as.
const STREAM: &str = "application/x-vnd.vmware-streamVmdk";

async fn log_in(sim: &Sim) -> Client {
    let client =
        Client::connect(&sim.url()).thumbprint(sim.thumbprint_sha256().parse().unwrap()).await.unwrap();
    client.login(sim.user(), sim.password()).await.unwrap();
    client
}

/// A simulator with the machine `vm-1`, which is off and has two disks, with something on them.
async fn two_disks() -> Sim {
    let spec = VmSpec::new("vm-1")
        .disk(DiskSpec::empty(64 * MIB))
        .disk(DiskSpec::empty(40 * MIB + 512 * 33))
        .powered_off();
    let sim = Sim::builder().vm(spec).start().await.unwrap();
    let vm = sim.vm("vm-1").unwrap();
    write(&sim, 2000, &[(0, b'a', 70_000), (10 * MIB + 4096, b'b', 4096), (64 * MIB - 512, b'c', 512)]);
    // The last grain of this one is not a whole one.
    write(&sim, 2001, &[(3 * MIB, b'd', MIB as usize), (40 * MIB, b'e', 512 * 33)]);
    assert!(!vm.is_powered_on());
    sim
}

fn write(sim: &Sim, key: i32, pieces: &[(u64, u8, usize)]) {
    let write = |disk: &mut sim_store::Disk| {
        for (offset, byte, length) in pieces {
            disk.write_at(*offset, &vec![*byte; *length]).unwrap();
        }
    };
    sim.vm("vm-1").unwrap().with_live_disk(key, write).unwrap();
}

fn machine(client: &Client, sim: &Sim) -> mo::VirtualMachine {
    client.bind(&sim.vm("vm-1").unwrap().moref())
}

async fn ready(client: &Client, lease: Result<MoRef<mo::HttpNfcLease>, Error>) -> NfcLease {
    client.nfc_lease(&lease.unwrap()).await.unwrap()
}

/// One request on a connection of its own. The address has to be one of this simulator.
async fn request(
    sim: &Sim,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response<Incoming> {
    let origin = format!("https://{}:{}", sim.host(), sim.port());
    let path = url.strip_prefix(&origin).unwrap_or_else(|| panic!("{url} is not at {origin}"));
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(tls::open(sim).await)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", "simulator");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap()
}

/// Status and body.
async fn answer(
    sim: &Sim,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> (u16, Bytes) {
    let response = request(sim, method, url, headers, body).await;
    let status = response.status().as_u16();
    (status, response.into_body().collect().await.unwrap().to_bytes())
}

async fn download(sim: &Sim, url: &str) -> Bytes {
    let (status, body) = answer(sim, "GET", url, &[], "").await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    body
}

/// SHA-256 of the disk that a stream holds, and its capacity.
fn digest_of(stream: &[u8]) -> (String, u64) {
    let mut reader = vmdk::StreamReader::new(stream).unwrap();
    let mut disk = vec![0; usize::try_from(reader.capacity()).unwrap()];
    while let Some(grain) = reader.next_grain().unwrap() {
        let at = usize::try_from(grain.offset).unwrap();
        disk[at..at + grain.data.len()].copy_from_slice(grain.data);
    }
    (sim_store::Sha256::of(&disk).to_string(), disk.len() as u64)
}

fn hex(algorithm: &'static aws_lc_rs::digest::Algorithm, bytes: &[u8]) -> String {
    aws_lc_rs::digest::digest(algorithm, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fault_name(error: &Error) -> String {
    error.any_fault().map(|fault| fault.fault.type_name().to_owned()).unwrap_or_else(|| format!("{error:?}"))
}
