//! Reading a restore point over NBD beside nbdkit's file plugin, which reads the image itself.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Map, Value};
use vadp_benches::image::Image;
use vadp_benches::{Failure, keep, ourselves, timed};
use vadp_repository::nbd::{Export, NbdServer};

use crate::{ROUNDS, work};

const EXPORT: &str = "disk";

pub(crate) fn figures(
    folder: &Path,
    image: &Image,
    is_wanted: bool,
    figures: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let is_there = |name: &str| Command::new(name).arg("--version").output().is_ok();
    let can_run = is_there("nbdkit") && is_there("nbdcopy");
    if !is_wanted && !can_run {
        println!("nbdkit and nbdcopy are not installed, so NBD is not measured");
        return Ok(());
    }
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or("a folder whose name is no text");
    let repository = folder.join("served");
    let ours = work::init(&repository)?;
    work::runtime()?.block_on(work::ingest(&ours, &image.path))?;
    drop(ours);
    let sockets = [text(&folder.join("ours.sock"))?, text(&folder.join("nbdkit.sock"))?];
    let mut nbdkit = Command::new("nbdkit");
    nbdkit.args(["--foreground", "--readonly", "--unix", &sockets[1], "file", &text(&image.path)?]);
    let _servers = [
        Server::start(&mut ourselves(&["serve", &text(&repository)?, &sockets[0]])?, &sockets[0])?,
        Server::start(&mut nbdkit, &sockets[1])?,
    ];
    let mut best = [f64::INFINITY; 2];
    for _ in 0..ROUNDS {
        for (best, socket) in best.iter_mut().zip(&sockets) {
            let source = format!("nbd+unix:///{EXPORT}?socket={socket}");
            *best = best.min(timed(Command::new("nbdcopy").args([&source, "null:"]))?.0);
        }
    }
    let rate = |seconds: f64| image.bytes() as f64 / 1e6 / seconds;
    println!("{:<24} {:>8.3} s  {:>6.0} MB/s of the image", "over NBD", best[0], rate(best[0]));
    println!("{:<24} {:>8.3} s  {:>6.0} MB/s of the image", "nbdkit's file plugin", best[1], rate(best[1]));
    keep(figures, "nbd_vs_nbdkit_file", best[1] / best[0]);
    std::fs::remove_dir_all(repository)?;
    Ok(())
}

/// A process that serves the last image of a repository until it is killed.
pub(crate) fn serve(repository: &str, socket: &str) -> Result<(), Failure> {
    work::runtime()?.block_on(async {
        let disk = work::last_disk(&work::open(repository).await?).await?;
        let mut server = NbdServer::builder().export(EXPORT, Export::read_only(disk)).build()?;
        server.bind_unix(socket)?;
        server.serve(std::future::pending()).await;
        Ok(())
    })
}

/// A server that ends with this value.
struct Server(Child);

impl Server {
    fn start(command: &mut Command, socket: &str) -> Result<Self, Failure> {
        let mut server = Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
        for _ in 0..600 {
            if Path::new(socket).exists() {
                return Ok(server);
            }
            if let Some(status) = server.0.try_wait()? {
                return Err(format!("{command:?} ended with {status}").into());
            }
            sleep(Duration::from_millis(50));
        }
        Err(format!("{command:?} does not listen").into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended by itself is no less gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
