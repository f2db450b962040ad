//! `vmdk convert` and `vmdk flatten`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use serde_json::json;
use vmdk::{
    AdapterType, Copy, Create, CreateType, Disk, Folder, LocalFolder, ReadAt, Source, StreamOptions,
    StreamReader, StreamWriter, Variant, WriteAt,
};

use crate::OpenArguments;
use crate::progress::{bar, spinner};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The disk; "-" for a stream that comes in.
    source: PathBuf,
    /// What to make; "-" to write a stream out. Nothing that is there is overwritten.
    target: PathBuf,
    /// The format to make.
    #[arg(long, value_enum)]
    to: Format,
    /// Takes the source as bytes instead of a disk.
    #[arg(long)]
    from_raw: bool,
    /// The adapter that the new disk names; that of the source unless told.
    #[arg(long)]
    adapter: Option<AdapterType>,
    /// zlib's level for streams.
    #[arg(long, default_value_t = 6)]
    level: u32,
    /// Threads; as many as there are processors unless told.
    #[arg(long)]
    threads: Option<usize>,
    #[command(flatten)]
    open: OpenArguments,
    /// Prints one JSON object at the end, and no bar.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct FlattenArguments {
    /// The disk whose parents are to be merged into a copy of it.
    source: PathBuf,
    /// What to make. Nothing that is there is overwritten.
    target: PathBuf,
    /// The format to make; that of the disk's base unless told.
    #[arg(long, value_enum)]
    to: Option<Format>,
    #[command(flatten)]
    open: OpenArguments,
    /// Prints one JSON object at the end, and no bar.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "camelCase")]
enum Format {
    /// The bytes of the disk.
    Raw,
    MonolithicSparse,
    MonolithicFlat,
    TwoGbMaxExtentSparse,
    TwoGbMaxExtentFlat,
    /// As on a datastore: a descriptor and a flat file.
    Vmfs,
    VmfsThin,
    StreamOptimized,
}

impl Format {
    fn variant(self) -> Option<Variant> {
        match self {
            Self::Raw | Self::StreamOptimized => None,
            Self::MonolithicSparse => Some(Variant::MonolithicSparse),
            Self::MonolithicFlat => Some(Variant::MonolithicFlat),
            Self::TwoGbMaxExtentSparse => Some(Variant::SplitSparse),
            Self::TwoGbMaxExtentFlat => Some(Variant::SplitFlat),
            Self::Vmfs => Some(Variant::Vmfs),
            Self::VmfsThin => Some(Variant::VmfsThin),
        }
    }

    /// That of a disk's base.
    fn of(disk: &Disk) -> Self {
        let base = disk.links().last().map(|link| link.descriptor());
        match base.map(|base| (base.create_type(), base.is_thin())) {
            Some((CreateType::MonolithicFlat, _)) => Self::MonolithicFlat,
            Some((CreateType::TwoGbMaxExtentSparse, _)) => Self::TwoGbMaxExtentSparse,
            Some((CreateType::TwoGbMaxExtentFlat, _)) => Self::TwoGbMaxExtentFlat,
            Some((CreateType::Vmfs, false)) => Self::Vmfs,
            Some((CreateType::Vmfs, true)) => Self::VmfsThin,
            Some((CreateType::StreamOptimized, _)) => Self::StreamOptimized,
            _ => Self::MonolithicSparse,
        }
    }
}

pub(crate) fn flatten(arguments: &FlattenArguments) -> anyhow::Result<ExitCode> {
    let to = match arguments.to {
        Some(to) => to,
        None => Format::of(&arguments.open.options().open_path(&arguments.source)?),
    };
    run(&Arguments {
        source: arguments.source.clone(),
        target: arguments.target.clone(),
        to,
        from_raw: false,
        adapter: None,
        level: 6,
        threads: None,
        open: arguments.open.clone(),
        json: arguments.json,
    })
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let was_there = arguments.target.exists();
    let written = convert(arguments).inspect_err(|_| {
        if !was_there && arguments.target.exists() {
            eprintln!("{} is not complete", arguments.target.display());
        }
    })?;
    if arguments.json {
        println!("{}", json!({ "written": written }));
    } else if !arguments.is_quiet() {
        println!("{written} bytes written");
    }
    Ok(ExitCode::SUCCESS)
}

impl Arguments {
    /// A stream on the output is not to be followed by a text.
    fn is_quiet(&self) -> bool {
        self.json || self.target == Path::new("-")
    }
}

fn convert(arguments: &Arguments) -> anyhow::Result<u64> {
    if arguments.source == Path::new("-") {
        return from_pipe(arguments);
    }
    if arguments.from_raw {
        let raw = File::open(&arguments.source).with_context(|| arguments.source.display().to_string())?;
        ensure!(
            raw.size()?.is_multiple_of(vmdk::SECTOR),
            "the size of the source is no multiple of {}",
            vmdk::SECTOR
        );
        return from_source(arguments, Source::Raw(&raw), raw.size()?, None);
    }
    let disk = arguments.open.options().open_path(&arguments.source)?;
    let adapter = disk.links().iter().find_map(|link| link.descriptor().adapter());
    from_source(arguments, Source::Disk(&disk), disk.capacity(), adapter)
}

fn from_source(
    arguments: &Arguments,
    source: Source<'_>,
    capacity: u64,
    adapter: Option<AdapterType>,
) -> anyhow::Result<u64> {
    let adapter = arguments.adapter.or(adapter).unwrap_or(AdapterType::LsiLogic);
    let progress = bar(capacity, arguments.is_quiet());
    if arguments.to == Format::StreamOptimized {
        return to_stream(arguments, source, capacity, adapter, &progress);
    }
    ensure!(
        arguments.target != Path::new("-"),
        "only a stream (--to streamOptimized) can be written to a pipe"
    );
    let target = Target::create(arguments, capacity, adapter)?;
    let step = |bytes| progress.inc(bytes);
    let mut copy = Copy::new().progress(&step);
    if let Some(threads) = arguments.threads {
        copy = copy.threads(threads);
    }
    let written = copy.run(source, target.writer())?;
    target.finish()?;
    progress.finish_and_clear();
    Ok(written)
}

/// What comes through a pipe is inflated and put into its place, whatever the target is.
fn from_pipe(arguments: &Arguments) -> anyhow::Result<u64> {
    let progress = spinner(arguments.is_quiet());
    let mut reader = StreamReader::new(progress.wrap_read(io::stdin().lock()))?;
    if arguments.to == Format::StreamOptimized {
        bail!("a stream that comes in and goes out as one needs no conversion");
    }
    let target =
        Target::create(arguments, reader.capacity(), arguments.adapter.unwrap_or(AdapterType::LsiLogic))?;
    let written = reader.copy_to(target.writer(), arguments.threads.unwrap_or(2))?;
    target.finish()?;
    progress.finish_and_clear();
    Ok(written)
}

fn to_stream(
    arguments: &Arguments,
    source: Source<'_>,
    capacity: u64,
    adapter: AdapterType,
    progress: &ProgressBar,
) -> anyhow::Result<u64> {
    let (output, name): (Box<dyn Write>, _) = if arguments.target == Path::new("-") {
        (Box::new(io::stdout().lock()), "stream.vmdk")
    } else {
        let name =
            arguments.target.file_name().and_then(|name| name.to_str()).context("not the name of a file")?;
        (Box::new(BufWriter::with_capacity(1 << 20, new_file(&arguments.target)?)), name)
    };
    let mut options = StreamOptions::new(capacity).adapter(adapter).level(arguments.level);
    if let Some(threads) = arguments.threads {
        options = options.threads(threads);
    }
    let mut writer = StreamWriter::new(output, name, options)?;
    match source {
        Source::Disk(disk) => writer.write_from(disk, |offset| {
            progress.set_position(offset);
            disk.next_data(offset)
        })?,
        Source::Raw(raw) => writer.write_from(raw, |offset| {
            progress.set_position(offset);
            // In steps, so that the bar moves.
            Ok((offset < capacity).then(|| offset..capacity.min(offset + (16 << 20))))
        })?,
    }
    let (_, summary) = writer.finish()?;
    progress.finish_and_clear();
    Ok(summary.bytes)
}

/// Where the bytes of the disk go.
enum Target {
    Raw(File),
    Disk(Box<Disk>),
}

impl Target {
    fn create(arguments: &Arguments, capacity: u64, adapter: AdapterType) -> anyhow::Result<Self> {
        let Some(variant) = arguments.to.variant() else {
            let file = new_file(&arguments.target)?;
            file.set_size(capacity)?;
            return Ok(Self::Raw(file));
        };
        let (folder, name) = LocalFolder::of_file(&arguments.target)?;
        let folder: Arc<dyn Folder> = Arc::new(folder);
        Ok(Self::Disk(Box::new(Create::new(variant, capacity).adapter(adapter).create(&folder, &name)?)))
    }

    fn writer(&self) -> &dyn WriteAt {
        match self {
            Self::Raw(file) => file,
            Self::Disk(disk) => &**disk,
        }
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Raw(file) => Ok(file.sync_all()?),
            Self::Disk(disk) => Ok(disk.close()?),
        }
    }
}

fn new_file(path: &Path) -> anyhow::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .with_context(|| path.display().to_string())
}
