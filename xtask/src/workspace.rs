//! Where the workspace lies and which files belong to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// The folder of the root manifest. It is the parent of this crate's own folder, so the chores work from anywhere.
pub(crate) fn root() -> anyhow::Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_path_buf)
        .context("the xtask crate has no parent folder; run it from inside the workspace")
}

/// Paths, relative to `root` and with forward slashes, of all files that git tracks or would track.
///
/// New files that were not added yet are included, so that a breach is found before it is committed rather than after.
pub(crate) fn tracked_files(root: &Path) -> anyhow::Result<Vec<String>> {
    let listing = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .context("cannot run git, which lists the files to check")?;
    if !listing.status.success() {
        bail!("git ls-files failed: {}", String::from_utf8_lossy(&listing.stderr).trim());
    }
    let mut paths: Vec<String> = String::from_utf8(listing.stdout)
        .context("a file name is not UTF-8; rename it")?
        .split('\0')
        .filter(|path| !path.is_empty() && root.join(path).is_file())
        .map(str::to_owned)
        .collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}
