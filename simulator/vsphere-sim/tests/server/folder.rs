//! Files of datastores over HTTPS, asked for as other clients do it.

#[path = "folder/access.rs"]
mod access;
#[path = "folder/locks.rs"]
mod locks;
#[path = "folder/paths.rs"]
mod paths;
#[path = "folder/reading.rs"]
mod reading;
#[path = "folder/writing.rs"]
mod writing;

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use vsphere_sim::Sim;

use crate::tls::open;

/// Where most of the tests' files are.
const PLACE: &str = "dcPath=DC0&dsName=datastore1";

pub struct Answer {
    pub status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One request on a connection of its own. `headers` are whole lines.
pub async fn ask(sim: &Sim, method: &str, url: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = open(sim).await;
    let length = match body {
        [] if !matches!(method, "PUT" | "POST") => String::new(),
        _ if headers.contains("Transfer-Encoding") => String::new(),
        body => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!("{method} {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer with a head");
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body }
}

/// The `Authorization` line of the user.
fn basic(sim: &Sim) -> String {
    let pair = format!("{}:{}", sim.user(), sim.password().expose_secret());
    format!("Authorization: Basic {}\r\n", STANDARD.encode(pair))
}

/// The `Cookie` line of a new session.
pub async fn session(sim: &Sim) -> String {
    let answer = ask(sim, "HEAD", "/folder", &basic(sim), b"").await;
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap();
    format!("Cookie: {cookie}\r\n")
}

/// Where a file of the datastore is on this machine.
pub fn on_host(sim: &Sim, text: &str) -> PathBuf {
    sim.data_dir().join("datastores/datastore1").join(text)
}

/// The names in a folder of the datastore.
pub fn names(sim: &Sim, folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(on_host(sim, folder)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn url(path: &str) -> String {
    format!("/folder/{path}?{PLACE}")
}
