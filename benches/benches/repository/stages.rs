//! Ingest and restore, and each stage of theirs alone.

use std::path::Path;

use serde_json::{Map, Value};
use vadp_benches::image::{Image, Kind};
use vadp_benches::stages::{Stages, Table};
use vadp_benches::{Failure, keep};

use crate::{ROUNDS, restic, work};

pub(crate) fn figures(folder: &Path, image: &Image, figures: &mut Map<String, Value>) -> Result<(), Failure> {
    let (repository, restored) = (folder.join("repository"), folder.join("restored"));
    let stages = Stages::new(image, folder)?;
    let mut best = Table::default();
    let runtime = work::runtime()?;
    for _ in 0..ROUNDS {
        let ours = work::init(&repository)?;
        let (took, summary) = runtime.block_on(work::ingest(&ours, &image.path))?;
        best.note("ingest", took.as_secs_f64());
        let expected =
            [image.count(|kind| *kind == Kind::Zero), image.count(|kind| matches!(kind, Kind::Copy(_)))];
        if [summary.zero_chunks, summary.dedup_chunks] != expected {
            return Err(format!("{summary:?} is not what is in the image: {expected:?}").into());
        }
        stages.read(&mut best)?;
        stages.store(&mut best)?;
        best.note("restore", runtime.block_on(work::restore_to(&ours, &restored))?.as_secs_f64());
        restic::is_same(&image.path, &restored)?;
        stages.restore(&mut best)?;
        std::fs::remove_dir_all(&repository)?;
        std::fs::remove_file(&restored)?;
    }
    best.print(image.bytes());
    keep(figures, "ingest_vs_slowest_stage", best.slowest("ingest: ") / best.of("ingest"));
    keep(figures, "restore_vs_slowest_stage", best.slowest("restore: ") / best.of("restore"));
    // What all stages take one after the other, each on all processors: no order of them is faster where none of them waits.
    keep(figures, "ingest_vs_all_stages", best.sum("ingest: ") / best.of("ingest"));
    keep(figures, "restore_vs_all_stages", best.sum("restore: ") / best.of("restore"));
    keep(figures, "ingest_mb_s", image.bytes() as f64 / 1e6 / best.of("ingest"));
    keep(figures, "restore_mb_s", image.bytes() as f64 / 1e6 / best.of("restore"));
    Ok(())
}
