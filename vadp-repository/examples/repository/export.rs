//! `export` and `import-point`: a restore point as one file.

use std::path::Path;

use anyhow::Context;
use serde_json::json;
use vadp_repository::{PointId, Repository, Secret};

use crate::{show, terminal};

/// Writes the file anew; `-` is the standard output, on which then nothing else appears.
pub async fn export(repo: &Repository, point: &str, file: &Path, is_json: bool) -> anyhow::Result<()> {
    let secret = Secret::password(terminal::password(&terminal::FILE, true)?);
    let point = PointId::parse(point)?;
    let bar = terminal::bar(is_json, 0);
    let progress = terminal::progress(&bar);
    if file == Path::new("-") {
        repo.export_point(point, &secret, terminal::output()?, progress).await?;
        bar.finish_and_clear();
        return Ok(());
    }
    let mut target = tokio::fs::File::create_new(file)
        .await
        .with_context(|| format!("cannot create {}", file.display()))?;
    let exported = repo.export_point(point, &secret, &mut target, progress).await;
    if exported.is_err() {
        // Half an export is of no use, and is told from a whole one only by who reads it to its end.
        let _ = tokio::fs::remove_file(file).await;
    }
    let exported = exported?;
    target.sync_all().await.with_context(|| format!("cannot write {}", file.display()))?;
    bar.finish_and_clear();
    show::line(is_json, &json!({"chunks": exported.chunks, "bytes": exported.bytes}), || {
        format!("{} chunks in {} bytes", exported.chunks, exported.bytes)
    });
    Ok(())
}

/// `-` is the standard input.
pub async fn import(repo: &Repository, file: &Path, is_json: bool) -> anyhow::Result<()> {
    let secret = Secret::password(terminal::password(&terminal::FILE, false)?);
    let bar = terminal::bar(is_json, 0);
    let progress = terminal::progress(&bar);
    let imported = if file == Path::new("-") {
        repo.import_point(terminal::input()?, &secret, progress).await?
    } else {
        let source =
            tokio::fs::File::open(file).await.with_context(|| format!("cannot read {}", file.display()))?;
        repo.import_point(tokio::io::BufReader::new(source), &secret, progress).await?
    };
    bar.finish_and_clear();
    let id = imported.point.id();
    show::line(is_json, &json!({"point": id.to_string(), "new": imported.is_new}), || {
        match imported.is_new {
            true => format!("restore point {id}"),
            false => format!("restore point {id}, which was there already"),
        }
    });
    Ok(())
}
