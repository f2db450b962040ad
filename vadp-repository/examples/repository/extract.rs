//! A disk of a restore point becomes a raw image or a VMDK.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use vadp_repository::{DiskReader, PointId, Repository};
use vmdk::{StreamOptions, StreamWriter};

use crate::{show, terminal};

/// Bytes of a grain, of which a chunk has a whole number.
const GRAIN: usize = 64 << 10;

#[derive(Args)]
pub struct Extract {
    /// The restore point.
    point: String,
    /// The disk; not needed where there is only one.
    #[arg(long)]
    disk: Option<String>,
    /// A new file. By default standard output.
    #[arg(long)]
    output: Option<PathBuf>,
    /// What is written.
    #[arg(long, value_enum, default_value_t = Format::Raw)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    /// An image; a file has holes where the disk is zero.
    Raw,
    /// A streamOptimized disk, compressed, of what is not zero.
    Vmdk,
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
            let mut pipe = io::stdout().lock();
            return match self.format {
                Format::Raw => copy(&disk, &mut Pipe { to: pipe, at: 0 }, |_| {}).await.map(|_| ()),
                Format::Vmdk => copy(&disk, &mut Grains::new(&mut pipe, &disk)?, |_| {}).await.map(|_| ()),
            };
        };
        let file = create(path)?;
        let bar = terminal::bar(is_json, disk.capacity());
        let done = |at| bar.set_position(at);
        let data = match self.format {
            Format::Raw => copy(&disk, &mut Holes(&file), done).await?,
            Format::Vmdk => copy(&disk, &mut Grains::new(BufWriter::new(&file), &disk)?, done).await?,
        };
        file.sync_all().context("the file system lost something")?;
        bar.finish_and_clear();
        let value = json!({"bytes": disk.capacity(), "data": data});
        show::line(is_json, &value, || format!("{} bytes, of which {data} hold data", disk.capacity()));
        Ok(())
    }
}

/// Gives the bytes that hold data.
async fn copy(disk: &DiskReader, to: &mut impl Image, done: impl Fn(u64)) -> anyhow::Result<u64> {
    let (mut stream, mut data) = (disk.stream(), 0);
    while let Some((chunk, bytes)) = stream.next().await? {
        let at = chunk * u64::from(disk.chunk_size());
        to.data(at, &bytes)?;
        data += bytes.len() as u64;
        done(at);
    }
    to.end(disk.capacity())?;
    Ok(data)
}

/// What is written from its first byte to its last; what is left out is zero.
trait Image {
    fn data(&mut self, at: u64, bytes: &[u8]) -> anyhow::Result<()>;
    fn end(&mut self, capacity: u64) -> anyhow::Result<()>;
}

/// A file in which nothing is written for zeros.
struct Holes<'a>(&'a File);

/// A pipe, and what has gone through it.
struct Pipe<W> {
    to: W,
    at: u64,
}

/// A VMDK, until its end.
struct Grains<W>(Option<StreamWriter<W>>);

impl Image for Holes<'_> {
    fn data(&mut self, at: u64, bytes: &[u8]) -> anyhow::Result<()> {
        self.0.seek(SeekFrom::Start(at))?;
        Ok(self.0.write_all(bytes)?)
    }

    fn end(&mut self, capacity: u64) -> anyhow::Result<()> {
        self.0.set_len(capacity).context("the file cannot be so large")
    }
}

impl<W: Write> Image for Pipe<W> {
    fn data(&mut self, at: u64, bytes: &[u8]) -> anyhow::Result<()> {
        io::copy(&mut io::Read::take(io::repeat(0), at - self.at), &mut self.to)?;
        self.to.write_all(bytes)?;
        self.at = at + bytes.len() as u64;
        Ok(())
    }

    fn end(&mut self, capacity: u64) -> anyhow::Result<()> {
        self.data(capacity, &[])?;
        Ok(self.to.flush()?)
    }
}

impl<W: Write> Grains<W> {
    fn new(to: W, disk: &DiskReader) -> anyhow::Result<Self> {
        Ok(Self(Some(StreamWriter::new(to, "disk.vmdk", StreamOptions::new(disk.capacity()))?)))
    }
}

impl<W: Write> Image for Grains<W> {
    fn data(&mut self, at: u64, bytes: &[u8]) -> anyhow::Result<()> {
        let writer = self.0.as_mut().context("the disk has ended")?;
        for (at, grain) in (at..).step_by(GRAIN).zip(bytes.chunks(GRAIN)) {
            writer.write_grain(at, grain)?;
        }
        Ok(())
    }

    fn end(&mut self, _capacity: u64) -> anyhow::Result<()> {
        self.0.take().context("the disk has ended")?.finish()?;
        Ok(())
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
