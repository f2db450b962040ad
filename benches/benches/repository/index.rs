//! An index of ten million chunks: what opening it and looking chunks up take.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};
use vadp_benches::image::Chance;
use vadp_benches::{Failure, Usage, keep, ourselves, timed};
use vadp_repository::seam::{Fixed, is_indexed, made_up_chunk};
use vadp_repository::{ChunkStore, IndexId, LocalStore, ObjectName, OpenOptions, Repository, Secret};

const CHUNKS: u64 = 10_000_000;
/// Chunks of one index object, as a prune leaves them.
const PER_OBJECT: u64 = 640_000;
const LOOKUPS: u64 = 1_000_000;
const KEY: [u8; 32] = [7; 32];

pub(crate) fn figures(folder: &Path, figures: &mut Map<String, Value>) -> Result<(), Failure> {
    crate::work::runtime()?.block_on(make(folder))?;
    let text = |path: &Path| path.to_str().map(str::to_owned).ok_or("a folder whose name is no text");
    let (folder_text, cache) = (text(folder)?, text(&folder.with_extension("cache"))?);
    println!("{:<24} {:>8} {:>12} {:>14}", "10 million chunks", "open s", "lookup ns", "bytes a chunk");
    // The second opening with a cache finds what the first has left.
    let ways: [(&str, Option<&str>, &[&str]); 3] = [
        ("in memory", Some(""), &[]),
        ("writing the cache", None, &[&cache]),
        ("from the cache", Some("_cached"), &[&cache]),
    ];
    for (name, suffix, cache) in ways {
        let (_, printed) = timed(&mut ourselves(&[&["index", &folder_text], cache].concat())?)?;
        let report: Value = serde_json::from_str(printed.trim())?;
        let figure = |what: &str| report[what].as_f64().unwrap_or(f64::INFINITY);
        let (open, lookup, bytes) = (figure("open_s"), figure("lookup_ns"), figure("bytes_per_chunk"));
        println!("{name:<24} {open:>8.2} {lookup:>12.0} {bytes:>14.1}");
        if let Some(suffix) = suffix {
            keep(figures, &format!("open_10m_chunks{suffix}_s"), open);
            keep(figures, &format!("lookup{suffix}_ns"), lookup);
            keep(figures, &format!("bytes_per_chunk{suffix}"), bytes);
        }
    }
    std::fs::remove_dir_all(folder)?;
    std::fs::remove_dir_all(cache)?;
    Ok(())
}

/// A repository whose index names chunks that are nowhere.
async fn make(folder: &Path) -> Result<(), Failure> {
    let store = LocalStore::create(folder)?;
    let fixed =
        |object| Fixed { repository: [1; 16], identity: [2; 32], epoch_key: [3; 32], salt: [4; 32], object };
    store.create(&ObjectName::new("config")?, fixed([0; 16]).config(1 << 20, 0).into()).await?;
    let slot = IndexId::from_bytes([5; 16]);
    store
        .create(&ObjectName::new(format!("keys/{slot}"))?, fixed([5; 16]).key_slot(Ok(KEY), 0)?.into())
        .await?;
    for (number, first) in (0_u8..).zip((0..CHUNKS).step_by(PER_OBJECT as usize)) {
        let id = [number; 16];
        let object = fixed(id).made_up_index(first..CHUNKS.min(first + PER_OBJECT))?;
        store.create(&ObjectName::new(format!("index/{}", IndexId::from_bytes(id)))?, object.into()).await?;
    }
    Ok(())
}

/// Opens the index and looks chunks up, in a process of its own, whose memory is that of the index.
pub(crate) fn measure(folder: &str, cache: Option<&str>) -> Result<(), Failure> {
    let runtime = crate::work::runtime()?;
    let before = usage()?.peak_mb;
    let began = Instant::now();
    let mut options = OpenOptions::default();
    options.index_cache = cache.map(Into::into);
    let store = Arc::new(LocalStore::open(folder)?);
    let repository = runtime.block_on(Repository::open_with(store, &Secret::raw_key(KEY), options))?;
    let open = began.elapsed();
    let memory = usage()?.peak_mb - before;
    let mut chance = Chance(1);
    let wanted: Vec<[u8; 32]> = (0..LOOKUPS).map(|_| made_up_chunk(chance.below(CHUNKS))).collect();
    // Processor time says less of what else the machine does, and storage is not waited for.
    let before = usage()?.seconds;
    let mut found = 0;
    for id in &wanted {
        found += u64::from(is_indexed(&repository, *id)?);
    }
    let lookups = usage()?.seconds - before;
    if found != LOOKUPS || is_indexed(&repository, made_up_chunk(CHUNKS))? {
        return Err(format!("{found} of {LOOKUPS} chunks were found").into());
    }
    let figures = json!({
        "open_s": open.as_secs_f64(),
        "lookup_ns": lookups * 1e9 / LOOKUPS as f64,
        "bytes_per_chunk": memory * 1e6 / CHUNKS as f64,
    });
    println!("{figures}");
    Ok(())
}

fn usage() -> Result<Usage, Failure> {
    Ok(Usage::of("self").map_err(|error| error.to_string())?)
}
