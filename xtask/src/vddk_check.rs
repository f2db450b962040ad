//! `cargo xtask vddk-check DIR`: the headers of a VDDK kit against our description of the interface.
//!
//! bindgen reads the kit's headers, and what it makes of them is held against `vixdisklib` and `vixmntapi`: signatures, sizes,
//! offsets, constants and codes. The names of exported functions, fields and constants are those of the kit; its names of types
//! are not needed, since the walk begins at the functions. Nothing of the kit is kept.

mod compare;
mod interface;
mod names;
mod ours;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use compare::Report;
use interface::Interface;

const DISKS: &str = "vixDiskLib.h";
const MOUNTS: &str = "vixMntapi.h";

/// Compares the kit in `directory`, prints what was found, and fails if anything differs.
pub(crate) fn run(directory: &Path) -> anyhow::Result<()> {
    let report = check(directory)?;
    print!("{report}");
    match report.differs.len() {
        0 => Ok(()),
        count => bail!("{count} of what {} says is not what our bindings say", directory.display()),
    }
}

/// `directory` is a kit, or the folder of its headers.
fn check(directory: &Path) -> anyhow::Result<Report> {
    let headers = headers(directory)?;
    let has_mounts = headers.join(MOUNTS).is_file();
    let kit = Interface::parse(&generate(&headers, has_mounts)?)?;
    let mut report = compare::compare(&ours::load()?, &kit, has_mounts);
    if !has_mounts {
        report.lacks.push(format!("{MOUNTS}: volumes were not compared"));
    }
    Ok(report)
}

fn headers(directory: &Path) -> anyhow::Result<PathBuf> {
    [directory.join("include"), directory.to_owned()]
        .into_iter()
        .find(|folder| folder.join(DISKS).is_file())
        .with_context(|| {
            format!(
                "no {DISKS} in {0} or {0}/include; name the folder vmware-vix-disklib-distrib of an unpacked kit",
                directory.display()
            )
        })
}

/// What bindgen makes of the headers.
fn generate(headers: &Path, has_mounts: bool) -> anyhow::Result<String> {
    let folder = headers.to_str().context("the path of the kit is not UTF-8")?;
    // The headers say themselves what they include, as a program would rely on.
    let program: String = [DISKS]
        .into_iter()
        .chain(has_mounts.then_some(MOUNTS))
        .map(|name| format!("#include \"{name}\"\n"))
        .collect();
    let bindings = bindgen::Builder::default()
        .header_contents("kit.h", &program)
        .clang_args(["--target=x86_64-unknown-linux-gnu", "-I", folder])
        .allowlist_function("Vix(DiskLib|Mntapi)_.*")
        .allowlist_type("Vix.*")
        .allowlist_var("VIX.*")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .generate_comments(false)
        .formatter(bindgen::Formatter::None)
        .rust_target("1.85".parse()?)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .generate()
        .context("the kit's headers cannot be read, or libclang is missing (Debian 12: libclang-dev)")?;
    Ok(bindings.to_string())
}
