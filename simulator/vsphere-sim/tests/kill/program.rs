//! The program as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use secrecy::SecretString;
use vim_api::Client;

const USER: &str = "administrator@vsphere.local";

pub(crate) struct Program {
    child: Mutex<Child>,
    pub(crate) client: Client,
    control: String,
    data: tempfile::TempDir,
}

impl Program {
    pub(crate) async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let (child, client, control) = spawn(&data).await;
        Self { child: Mutex::new(child), client, control, data }
    }

    pub(crate) async fn restart(&mut self) {
        let (child, client, control) = spawn(&self.data).await;
        self.child = Mutex::new(child);
        self.client = client;
        self.control = control;
    }

    pub(crate) async fn kill(&mut self) {
        let child = self.child.get_mut().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Lets it come to its end.
    pub(crate) async fn end(&mut self) {
        let child = self.child.get_mut().unwrap();
        let told = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(told.success());
        assert!(child.wait().unwrap().success());
    }

    fn has_ended(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_some()
    }

    pub(crate) async fn is_dead(&self) {
        while !self.has_ended() {
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// Whether the program has ended, or does at once.
    pub(crate) async fn dies_soon(&self) -> bool {
        tokio::time::timeout(Duration::from_secs(5), self.is_dead()).await.is_ok()
    }

    fn countdown(&self) -> PathBuf {
        countdown(&self.data)
    }

    /// Lets it die at the so manieth change of a file from now on.
    pub(crate) fn die_after(&self, steps: u64) {
        std::fs::write(self.countdown(), steps.to_string()).unwrap();
    }

    pub(crate) fn live_on(&self) {
        std::fs::remove_file(self.countdown()).unwrap();
    }

    /// The host's file of a datastore path such as `[datastore1] a/b`.
    pub(crate) fn host(&self, path: &str) -> PathBuf {
        let (datastore, relative) = path.strip_prefix('[').unwrap().split_once("] ").unwrap();
        self.data.path().join("data/datastores").join(datastore).join(relative)
    }

    /// A request to the control port; fails if the connection breaks.
    pub(crate) async fn control(
        &self,
        method: &'static str,
        path: String,
        body: String,
    ) -> std::io::Result<String> {
        let address = self.control.clone();
        tokio::task::spawn_blocking(move || request(&address, method, &path, &body)).await.unwrap()
    }
}

fn request(address: &str, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    match head.starts_with("HTTP/1.1 200") {
        true => Ok(body.to_owned()),
        false => Err(std::io::Error::other(answer.clone())),
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        // It may be dead already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn countdown(data: &tempfile::TempDir) -> PathBuf {
    data.path().join("countdown")
}

async fn spawn(data: &tempfile::TempDir) -> (Child, Client, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vsphere-sim"))
        .args(["--vms", "0", "--datastores", "2", "--password-env", "SIM_TEST_PASSWORD", "--data"])
        .arg(data.path().join("data"))
        .env("SIM_TEST_PASSWORD", "x")
        .env("SIM_STORE_CRASH", countdown(data))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut values = Vec::new();
    for _ in 0..4 {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let value = line.trim_end().split_once(' ');
        values.push(value.unwrap_or_else(|| panic!("the program does not open its data")).1.to_owned());
    }
    let client = Client::connect(&values[0]).thumbprint(values[3].parse().unwrap()).await.unwrap();
    client.login(USER, &SecretString::from("x")).await.unwrap();
    (child, client, values[1].trim_start_matches("http://").to_owned())
}
