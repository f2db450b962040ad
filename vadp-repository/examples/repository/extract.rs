//! A disk of a restore point becomes a raw image.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use vadp_repository::{DiskReader, PointId, Repository};

use crate::{show, terminal};

/// Bytes that are read at a time.
const STEP: u64 = 1 << 20;

#[derive(Args)]
pub struct Extract {
    /// The restore point.
    point: String,
    /// The disk; not needed where there is only one.
    #[arg(long)]
    disk: Option<String>,
    /// A new file, with holes where the disk is zero. By default standard output.
    #[arg(long)]
    output: Option<PathBuf>,
}

impl Extract {
    pub async fn run(&self, repo: &Repository, is_json: bool) -> anyhow::Result<()> {
        let point = repo.point(PointId::parse(&self.point)?).await?;
        let disk = match (&self.disk, point.disks()) {
            (Some(key), _) => point.disk(key)?,
            (None, [only]) => point.disk(&only.key)?,
            (None, disks) => {
                let keys: Vec<_> = disks.iter().map(|disk| disk.key.as_str()).collect();
                anyhow::bail!("which disk? Say --disk; there are {keys:?}");
            }
        };
        let Some(path) = &self.output else {
            return copy(&disk, &mut Zeros(io::stdout().lock()), |_| {}).await.map(|_| ());
        };
        let mut file = create(path)?;
        file.set_len(disk.capacity()).context("the file cannot be so large")?;
        let bar = terminal::bar(is_json, disk.capacity());
        let data = copy(&disk, &mut Holes(&mut file), |bytes| bar.inc(bytes)).await?;
        file.sync_all().context("the file system lost something")?;
        bar.finish_and_clear();
        let value = json!({"bytes": disk.capacity(), "data": data});
        show::line(is_json, &value, || format!("{} bytes, of which {data} hold data", disk.capacity()));
        Ok(())
    }
}

/// Gives the bytes that were not holes.
async fn copy(disk: &DiskReader, to: &mut impl Image, done: impl Fn(u64)) -> anyhow::Result<u64> {
    let (mut at, mut data, mut buffer) = (0, 0, Vec::new());
    while at < disk.capacity() {
        let extent = disk.extent(at..disk.capacity().min(at.saturating_add(STEP))).await?;
        let length = extent.bytes.end - at;
        if extent.is_zero {
            to.zeros(length)?;
        } else {
            buffer.resize(usize::try_from(length)?, 0);
            disk.read_at(at, &mut buffer).await?;
            to.bytes(&buffer)?;
            data += length;
        }
        done(length);
        at = extent.bytes.end;
    }
    Ok(data)
}

/// What an image is written to, from its first byte to its last.
trait Image {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn zeros(&mut self, length: u64) -> io::Result<()>;
}

/// A file in which nothing is written for zeros.
struct Holes<'a>(&'a mut File);

/// A pipe.
struct Zeros<W>(W);

impl Image for Holes<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn zeros(&mut self, length: u64) -> io::Result<()> {
        self.0.seek(SeekFrom::Current(i64::try_from(length).map_err(io::Error::other)?)).map(|_| ())
    }
}

impl<W: Write> Image for Zeros<W> {
    fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn zeros(&mut self, length: u64) -> io::Result<()> {
        io::copy(&mut io::Read::take(io::repeat(0), length), &mut self.0).map(|_| ())
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    let created = OpenOptions::new().write(true).create_new(true).open(path);
    ensure!(
        !matches!(&created, Err(error) if error.kind() == io::ErrorKind::AlreadyExists),
        "{} exists: choose another name",
        path.display()
    );
    created.with_context(|| format!("cannot make {}", path.display()))
}
