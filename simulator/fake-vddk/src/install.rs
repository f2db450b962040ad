//! Putting the shared library where a kit would have it.

use std::env;
use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::elf::Elf;
use crate::release::Release;

const BUILT: &str = "libfake_vddk.so";
const OVERRIDE: &str = "FAKE_VDDK_LIBRARY";

/// The library that mounts volumes, when its crate was built too.
const BUILT_MOUNT: &str = "libfake_vixmntapi.so";
/// The version in its file's name, which is the same in every kit.
const MOUNT_VERSION: &str = "1.1.0";

/// Makes `kit_dir` a kit of VDDK 8.0.3: [`install_version`] of that release.
///
/// # Errors
/// As there.
pub fn install(kit_dir: &Path) -> Result<()> {
    install_version(kit_dir, Release::V8_0)
}

/// Makes `kit_dir` a kit of a release: puts this library into `kit_dir/lib64`, with the names and links of that release's and
/// without the functions that it lacks, and the `libvixMntapi.so.1` of the crate `fake-vixmntapi` beside it, if that was built
/// into the same folder as this one: a program that mounts depends on that crate, and then it was. A library that is there
/// already is replaced in one step, so running programs keep theirs.
///
/// # Errors
/// [`ErrorKind::NotFound`] when the built library cannot be found (see [`library_file`]); [`ErrorKind::InvalidData`] when it is
/// not of a form that can be changed; otherwise what the file system says.
pub fn install_version(kit_dir: &Path, release: Release) -> Result<()> {
    install_lacking(kit_dir, release, &[])
}

/// The same for a library that lacks still more: `functions` by their exported names.
///
/// # Errors
/// As for [`install_version`]; [`ErrorKind::InvalidData`] also when a function is not there to be taken away.
pub fn install_lacking(kit_dir: &Path, release: Release, functions: &[&str]) -> Result<()> {
    let built = library_file()?;
    let folder = kit_dir.join("lib64");
    fs::create_dir_all(&folder)?;
    let mut library = Elf::parse(fs::read(&built)?)?;
    library.hide(&release.lacks())?;
    library.hide(functions)?;
    library.set_soname(&release.soname())?;
    let name = release.file_name();
    put(&library.into_bytes(), &folder, &name)?;
    link(&folder, &release.soname(), &name)?;
    link(&folder, "libvixDiskLib.so", &release.soname())?;
    let mount = built.with_file_name(BUILT_MOUNT);
    if mount.is_file() {
        let name = format!("libvixMntapi.so.{MOUNT_VERSION}");
        put(&fs::read(mount)?, &folder, &name)?;
        link(&folder, "libvixMntapi.so.1", &name)?;
        link(&folder, "libvixMntapi.so", "libvixMntapi.so.1")?;
    }
    Ok(())
}

/// A file of its own under a name, in one step: a rebuild must not change a library that a running program has loaded.
fn put(library: &[u8], folder: &Path, name: &str) -> Result<()> {
    let temporary = temporary(folder, name);
    fs::write(&temporary, library)?;
    fs::rename(&temporary, folder.join(name))
}

/// The shared library that cargo built of this crate: what the environment variable `FAKE_VDDK_LIBRARY` names, or else the
/// file `libfake_vddk.so` near the running program, where cargo puts it for programs, examples and tests that depend on this
/// crate.
///
/// # Errors
/// [`ErrorKind::NotFound`], naming the places that were looked at.
pub fn library_file() -> Result<PathBuf> {
    if let Some(given) = env::var_os(OVERRIDE) {
        let given = PathBuf::from(given);
        if given.is_file() {
            return Ok(given);
        }
        let text = format!("{OVERRIDE} names {}, which is not a file", given.display());
        return Err(Error::new(ErrorKind::NotFound, text));
    }
    let program = env::current_exe()?;
    let places = places(&program);
    places.iter().find(|place| place.is_file()).cloned().ok_or_else(|| {
        let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        let text = format!(
            "the fake VDDK was not found; build it with `cargo build -p fake-vddk` or name it in {OVERRIDE}; looked at {}",
            looked.join(", ")
        );
        Error::new(ErrorKind::NotFound, text)
    })
}

/// Tests run in `PROFILE/deps`, examples in `PROFILE/examples`, programs in `PROFILE`. The library of a dependency is in
/// `PROFILE/deps`; only that of a package named on the command line is put into `PROFILE` too, where it may be stale.
fn places(program: &Path) -> Vec<PathBuf> {
    let Some(folder) = program.parent() else { return Vec::new() };
    let mut places = vec![folder.join("deps").join(BUILT), folder.join(BUILT)];
    if let Some(above) = folder.parent() {
        places.push(above.join("deps").join(BUILT));
        places.push(above.join(BUILT));
    }
    places
}

/// A name that no other installation uses, in this process or another.
fn temporary(folder: &Path, name: &str) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    folder.join(format!(".{name}.{}-{number}", std::process::id()))
}

#[cfg(unix)]
fn link(folder: &Path, name: &str, target: &str) -> Result<()> {
    let temporary = temporary(folder, name);
    std::os::unix::fs::symlink(target, &temporary)?;
    fs::rename(&temporary, folder.join(name))
}

#[cfg(not(unix))]
fn link(_: &Path, _: &str, _: &str) -> Result<()> {
    Err(Error::new(ErrorKind::Unsupported, "VDDK kits exist for Linux only"))
}
