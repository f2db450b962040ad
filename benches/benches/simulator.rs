//! What a large inventory costs the simulator: starting with 5,000 machines, and answering what a backup product asks of
//! all of them.
//!
//! ```text
//! cargo bench -p vadp-benches --bench simulator -- [--json]
//! ```
//!
//! The server is a process of its own, which is this program again. Processor time and memory are the server's, read from
//! `/proc`; the client's are not in them. The machines have no files yet, as nobody has used them. For comparison:
//! vcsim of govmomi's development branch, by the fact sheet, takes 217 s to start, 0.8 s and 7 s for the two sets, and
//! 551 MB.
#![forbid(unsafe_code)]

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Instant;

use secrecy::SecretString;
use serde_json::json;
use vadp_benches::{BACKUP_SET, Usage};
use vim_api::{Client, mo};
use vsphere_sim::{Generated, Sim, Topology};

const MACHINES: u32 = 5000;
const USER: &str = "bench@vsphere.local";
/// The server listens on the loopback address for seconds, and has nothing to protect.
const PASSWORD: &str = "benchmark";
/// What a list of machines shows.
const SMALL: [&str; 3] = ["name", "runtime.powerState", "config.uuid"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let done = match arguments.as_slice() {
        [serve] if serve == "--serve" => serve_until_told(),
        [] => measure(false),
        [json] if json == "--json" => measure(true),
        other => Err(format!("{other:?} is not understood; there is --json").into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The server: says where it is, and goes when its input ends.
#[tokio::main(flavor = "current_thread")]
async fn serve_until_told() -> Result<(), Box<dyn Error>> {
    let topology = Topology { datacenters: 2, clusters: 10, hosts: 100, folders: 50, ..Topology::default() };
    let sim = Sim::builder()
        .user(USER, SecretString::from(PASSWORD))
        .topology(topology)
        .generate(Generated::new(MACHINES))
        .start()
        .await?;
    println!("{} {}", sim.url(), sim.thumbprint_sha256());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

struct Server {
    process: Child,
    url: String,
    thumbprint: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its input ends with this handle, and so does it.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

impl Server {
    fn start() -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("--serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let output = process.stdout.take().ok_or("the server has no output")?;
        BufReader::new(output).read_line(&mut line)?;
        let (url, thumbprint) = line.trim().split_once(' ').ok_or("the server did not start")?;
        let (url, thumbprint) = (url.to_owned(), thumbprint.to_owned());
        Ok(Self { process, url, thumbprint })
    }

    fn usage(&self) -> Result<Usage, Box<dyn Error>> {
        Usage::of(&self.process.id().to_string())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn measure(with_json: bool) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let server = Server::start()?;
    let start = began.elapsed().as_secs_f64();
    let client = Client::connect(&server.url).thumbprint(server.thumbprint.parse()?).await?;
    client.login(USER, &SecretString::from(PASSWORD)).await?;
    let small = read(&server, &client, &SMALL).await?;
    let backup = read(&server, &client, &BACKUP_SET).await?;
    let peak = server.usage()?.peak_mb;
    client.close().await?;
    println!("{MACHINES} machines on 100 hosts");
    println!("start                {start:>7.2} s");
    println!("{:>2} properties        {small:>7.2} s of the server's processor", SMALL.len());
    println!("{:>2} properties        {backup:>7.2} s of the server's processor", BACKUP_SET.len());
    println!("most memory          {peak:>7.0} MB");
    if with_json {
        println!(
            "{}",
            json!({
                "start_5000_s": start,
                "small_set_server_cpu_s": small,
                "backup_set_server_cpu_s": backup,
                "peak_rss_mb": peak,
            })
        );
    }
    Ok(())
}

/// Reads properties of all machines, and answers what processor time that took the server.
async fn read(server: &Server, client: &Client, paths: &[&str]) -> Result<f64, Box<dyn Error>> {
    let before = server.usage()?.seconds;
    let mut machines = client.list_pages::<mo::VirtualMachine>(&client.content().root_folder.cast(), paths);
    let mut count = 0;
    while let Some(mut vm) = machines.next().await? {
        count += 1;
        let _: String = vm.take_required("config.uuid")?;
    }
    match count == MACHINES {
        true => Ok(server.usage()?.seconds - before),
        false => Err(format!("{count} machines are not the {MACHINES} that were made").into()),
    }
}
