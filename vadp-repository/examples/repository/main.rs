//! A backup repository by hand: `cargo run -p vadp-repository --example repository -- --help`.

mod chart;
mod extract;
mod import;
#[cfg(all(unix, feature = "nbd"))]
mod serve;
mod show;
mod terminal;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand};
use serde_json::json;
use vadp_repository::{
    CheckDepth, ChunkStore, InitOptions, LocalStore, MachineId, PointId, PointQuery, PruneOptions,
    Repository, Retention, Secret,
};

use terminal::Waiting;

/// Looks after a repository of backups. Its password is in VADP_REPOSITORY_PASSWORD, or is asked for.
#[derive(Parser)]
#[command(name = "repository")]
struct Options {
    /// A directory; s3://bucket/folder, az://container/folder or gs://bucket/folder with the features s3, azure, gcs. By default what
    /// VADP_REPOSITORY says.
    #[arg(long)]
    store: Option<String>,
    /// One JSON object on the last line, and no progress.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a repository in an empty place.
    Init {
        /// Bytes of a chunk: a power of two from 262144 to 4194304.
        #[arg(long, default_value_t = 1 << 20)]
        chunk_size: u32,
    },
    /// Stores the image of a disk as a restore point.
    Import {
        /// The machine that it is of.
        machine: String,
        /// The raw image.
        image: PathBuf,
        /// Tags of the point, `key=value`.
        #[arg(long)]
        tag: Vec<String>,
    },
    /// Lists restore points, oldest first.
    List {
        /// Only those of this machine.
        #[arg(long)]
        machine: Option<String>,
        /// Only those with this tag, `key` or `key=value`.
        #[arg(long)]
        tag: Vec<String>,
        /// Only those created at this time or later: `2026-11-27`, `2026-11-27 14:05:09`, in UTC.
        #[arg(long, value_parser = time)]
        since: Option<SystemTime>,
        /// Only those created at this time or earlier: the last one shows the machine as it was then.
        #[arg(long, value_parser = time)]
        until: Option<SystemTime>,
    },
    /// Says what is known of a restore point.
    Show { point: String },
    /// Looks for damage: that all is there, or with --deep every byte. Status 1 when there is some.
    Check {
        /// Read and verify every byte.
        #[arg(long)]
        deep: bool,
        /// Read and verify every byte of a share, as `3/7`: the third of seven parts.
        #[arg(long, value_parser = part, conflicts_with = "deep")]
        part: Option<CheckDepth>,
    },
    /// Gives up restore points by rules, and gives back what none needs.
    Prune(Prune),
    /// Names packs again whose index objects are lost or damaged, by what the packs say. Status 1 when some do not.
    RebuildIndex,
    /// How large the repository is, what deduplication and compression save, and what each day added.
    Stats {
        /// Draw the growth into this file as well.
        #[arg(long)]
        svg: Option<PathBuf>,
    },
    /// Writes a disk of a restore point as a raw image.
    Extract(extract::Extract),
    /// Serves disks of a restore point over NBD, so that they can be mounted or booted from.
    #[cfg(all(unix, feature = "nbd"))]
    ServeNbd(serve::ServeNbd),
}

#[derive(Args)]
struct Prune {
    /// Only say what would be done.
    #[arg(long)]
    plan: bool,
    /// Keep the latest so many restore points of each machine. Without any number, all stay.
    #[arg(long, default_value_t = 0)]
    keep_last: u32,
    /// Keep the newest of each of so many days (weeks, months, years) that have any.
    #[arg(long, default_value_t = 0)]
    keep_daily: u32,
    #[arg(long, default_value_t = 0)]
    keep_weekly: u32,
    #[arg(long, default_value_t = 0)]
    keep_monthly: u32,
    #[arg(long, default_value_t = 0)]
    keep_yearly: u32,
    /// Keep restore points with this tag, `key` or `key=value`.
    #[arg(long)]
    keep_tag: Vec<String>,
    /// Keep this restore point.
    #[arg(long)]
    keep: Vec<String>,
    /// Give up this restore point, whatever the rules say.
    #[arg(long)]
    remove: Vec<String>,
    /// ... even if it is the last one of its machine.
    #[arg(long)]
    even_the_last: bool,
    /// Minutes for which what is not needed stays, before and after it is marked; at least 15.
    #[arg(long, default_value_t = 24 * 60)]
    grace: u64,
    /// Write packs anew of which less than so many percent are needed.
    #[arg(long, default_value_t = 30)]
    rewrite_below: u8,
    /// Delete at once. You vouch that no backup runs, on any machine.
    #[arg(long)]
    nobody_writes: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let is_healthy = run(&options).await?;
    if !is_healthy {
        std::process::exit(1);
    }
    Ok(())
}

/// `false` when something is damaged.
async fn run(options: &Options) -> anyhow::Result<bool> {
    let address = options.store.clone().or_else(|| std::env::var("VADP_REPOSITORY").ok());
    let address = address.context("which repository? Say --store, or set VADP_REPOSITORY")?;
    let secret = Secret::password(terminal::password(matches!(options.command, Command::Init { .. }))?);
    if let Command::Init { chunk_size } = options.command {
        let store = open_store(&address, true)?;
        let repo = Repository::init(store, &secret, InitOptions::with_chunk_size(chunk_size)).await?;
        show::line(
            options.json,
            &json!({"repository": repo.id().to_string(), "chunk_size": chunk_size}),
            || format!("made repository {} in {}", repo.id(), repo.location()),
        );
        return Ok(true);
    }
    let waiting = Waiting::begin(options.json, "opening");
    let repo = Repository::open(open_store(&address, false)?, &secret).await?;
    drop(waiting);
    match &options.command {
        Command::Init { .. } => {}
        Command::Import { machine, image, tag } => {
            let bar = terminal::bar(options.json, image.metadata().context("cannot read the image")?.len());
            let point = import::run(&repo, machine, image, tag, &bar).await?;
            bar.finish_and_clear();
            show::point(options.json, &point);
        }
        Command::List { machine, tag, since, until } => {
            let mut query = PointQuery::default();
            query.machine = machine.as_ref().map(MachineId::new).transpose()?;
            (query.since, query.until) = (*since, *until);
            query.tags = tag.iter().map(|tag| wanted_tag(tag)).collect();
            let mut listing = repo.list_points(query.machine.as_ref()).await?;
            listing.points.retain(|point| query.matches(point));
            show::points(options.json, &listing);
            return Ok(listing.unreadable.is_empty());
        }
        Command::Show { point } => show::point(options.json, &repo.point(PointId::parse(point)?).await?),
        Command::Check { deep, part } => {
            let depth = part.unwrap_or(if *deep { CheckDepth::Deep } else { CheckDepth::Quick });
            let waiting = Waiting::begin(options.json, "checking");
            let report = repo.check(depth).await?;
            drop(waiting);
            show::check(options.json, &report);
            return Ok(report.is_ok());
        }
        Command::Prune(prune) => prune.run(&repo, options.json).await?,
        Command::RebuildIndex => {
            let waiting = Waiting::begin(options.json, "asking packs");
            let report = repo.rebuild_index().await?;
            drop(waiting);
            show::rebuilt(options.json, &report);
            return Ok(report.damaged.is_empty());
        }
        Command::Stats { svg } => {
            let waiting = Waiting::begin(options.json, "counting");
            let (statistics, growth) = (repo.statistics().await?, repo.growth().await?);
            drop(waiting);
            if let Some(path) = svg {
                std::fs::write(path, chart::svg(&growth))
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
            show::statistics(options.json, &statistics, &growth);
        }
        Command::Extract(extract) => extract.run(&repo, options.json).await?,
        #[cfg(all(unix, feature = "nbd"))]
        Command::ServeNbd(serve) => serve.run(&repo, options.json).await?,
    }
    Ok(true)
}

impl Prune {
    async fn run(&self, repo: &Repository, is_json: bool) -> anyhow::Result<()> {
        let ids =
            |texts: &[String]| texts.iter().map(|text| PointId::parse(text)).collect::<Result<Vec<_>, _>>();
        let remove = ids(&self.remove)?;
        ensure!(
            !self.plan || remove.is_empty(),
            "--remove takes a restore point away at once: it cannot be planned"
        );
        for id in remove {
            repo.remove_point(id, self.even_the_last).await.with_context(|| format!("{id} stays"))?;
        }
        let mut retention = Retention::keep_all();
        (retention.last, retention.daily, retention.weekly) =
            (self.keep_last, self.keep_daily, self.keep_weekly);
        (retention.monthly, retention.yearly) = (self.keep_monthly, self.keep_yearly);
        retention.tags = self.keep_tag.clone();
        retention.pinned = ids(&self.keep)?.into_iter().collect::<BTreeSet<_>>();
        let mut options = PruneOptions::new(retention);
        options.grace = Duration::from_secs(self.grace.saturating_mul(60));
        options.rewrite_below = self.rewrite_below;
        if self.nobody_writes {
            options = options.danger_nobody_writes();
        }
        let waiting = Waiting::begin(is_json, "planning");
        let plan = repo.plan_prune(options).await?;
        drop(waiting);
        show::plan(is_json && self.plan, &plan, is_json);
        if !self.plan {
            let waiting = Waiting::begin(is_json, "pruning");
            let report = plan.apply().await?;
            drop(waiting);
            show::pruned(is_json, &report);
        }
        Ok(())
    }
}

/// `2026-11-27`, `2026-11-27 14:05:09` or `2026-11-27T14:05:09Z`.
fn time(text: &str) -> Result<SystemTime, humantime::TimestampError> {
    match text.len() {
        10 => humantime::parse_rfc3339_weak(&format!("{text}T00:00:00")),
        _ => humantime::parse_rfc3339_weak(text),
    }
}

fn part(text: &str) -> Result<CheckDepth, String> {
    let parts = text.split_once('/').and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    let (part, of) = parts.ok_or("a part looks like 3/7")?;
    Ok(CheckDepth::Part { part, of })
}

fn wanted_tag(tag: &str) -> (String, Option<String>) {
    match tag.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (tag.to_owned(), None),
    }
}

fn open_store(address: &str, make: bool) -> anyhow::Result<Arc<dyn ChunkStore>> {
    if address.contains("://") {
        return open_bucket(address);
    }
    let opened = if make { LocalStore::create(address) } else { LocalStore::open(address) };
    Ok(Arc::new(opened?))
}

#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
fn open_bucket(address: &str) -> anyhow::Result<Arc<dyn ChunkStore>> {
    use vadp_repository::{Backoff, CloudOptions, CloudStore, Retry};
    let mut options = CloudOptions::default();
    // For servers of one's own. What is stored is sealed all the same.
    options.allow_http = std::env::var("AWS_ALLOW_HTTP").is_ok_and(|value| value == "true");
    let store = CloudStore::open(address, &options)?;
    Ok(Arc::new(Retry::new(store, Backoff::default())))
}

#[cfg(not(any(feature = "s3", feature = "azure", feature = "gcs")))]
fn open_bucket(address: &str) -> anyhow::Result<Arc<dyn ChunkStore>> {
    anyhow::bail!("{address}: build with --features s3 (or azure, gcs) for buckets")
}
