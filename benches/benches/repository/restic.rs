//! The same image through restic.

use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value};
use vadp_benches::image::Image;
use vadp_benches::{Failure, keep, ourselves, timed};

use crate::work;

/// restic takes several times as long, so it gets fewer turns.
const ROUNDS: u32 = 2;

pub(crate) fn figures(
    folder: &Path,
    image: &Image,
    is_wanted: bool,
    figures: &mut Map<String, Value>,
) -> Result<(), Failure> {
    if !is_wanted && Command::new("restic").arg("version").output().is_err() {
        println!("restic is not installed, so nothing is compared with it");
        return Ok(());
    }
    let folder = folder.join("peer");
    let place = |name: &str| folder.join(name);
    let mut best = Figures::default();
    for _ in 0..ROUNDS {
        std::fs::create_dir_all(&folder)?;
        work::init(&place("ours"))?;
        let ours = ourselves(&["backup", text(&place("ours"))?, text(&image.path)?])?;
        best.ours.note(ours, &place("ours"), |_| {
            ourselves(&["restore", text(&place("ours"))?, text(&place("image"))?])
        })?;
        is_same(&image.path, &place("image"))?;
        std::fs::remove_dir_all(place("ours"))?;
        std::fs::remove_file(place("image"))?;

        let restic = |arguments: &[&str]| {
            let mut command = Command::new("restic");
            command.env("RESTIC_REPOSITORY", place("restic")).env("RESTIC_PASSWORD", "long and unguessable");
            command.env("RESTIC_CACHE_DIR", place("cache")).arg("--quiet").args(arguments);
            command
        };
        timed(&mut restic(&["init"]))?;
        let backup = restic(&["backup", text(&image.path)?]);
        best.restic.note(backup, &place("restic"), |_| {
            Ok(restic(&["restore", "latest", "--target", text(&place("restored"))?]))
        })?;
        is_same(&image.path, &place("restored").join(image.path.strip_prefix("/")?))?;
        std::fs::remove_dir_all(&folder)?;
    }
    println!("{:<24} {:>9} {:>10} {:>9}", "as whole processes", "backup s", "restore s", "MB");
    for (name, side) in [("vadp-repository", &best.ours), ("restic", &best.restic)] {
        println!("{name:<24} {:>9.2} {:>10.2} {:>9.0}", side.backup, side.restore, side.bytes / 1e6);
    }
    keep(figures, "restic_backup_time_ratio", best.ours.backup / best.restic.backup);
    keep(figures, "restic_restore_time_ratio", best.ours.restore / best.restic.restore);
    keep(figures, "restic_size_ratio", best.ours.bytes / best.restic.bytes);
    Ok(())
}

#[derive(Default)]
struct Figures {
    ours: Side,
    restic: Side,
}

/// The fewest seconds of one side, and what it stored.
struct Side {
    backup: f64,
    restore: f64,
    bytes: f64,
}

impl Default for Side {
    fn default() -> Self {
        Self { backup: f64::INFINITY, restore: f64::INFINITY, bytes: f64::INFINITY }
    }
}

impl Side {
    fn note(
        &mut self,
        mut backup: Command,
        repository: &Path,
        restore: impl FnOnce(()) -> Result<Command, Failure>,
    ) -> Result<(), Failure> {
        self.backup = self.backup.min(timed(&mut backup)?.0);
        self.bytes = self.bytes.min(bytes_in(repository)? as f64);
        self.restore = self.restore.min(timed(&mut restore(())?)?.0);
        Ok(())
    }
}

fn text(path: &Path) -> Result<&str, Failure> {
    Ok(path.to_str().ok_or("a folder whose name is no text")?)
}

fn bytes_in(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in folder.read_dir()? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => bytes_in(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

/// Fails unless two files have the same bytes.
pub(crate) fn is_same(one: &Path, other: &Path) -> Result<(), Failure> {
    match timed(Command::new("cmp").args([one, other])) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("what was restored is not what was backed up: {error}").into()),
    }
}
