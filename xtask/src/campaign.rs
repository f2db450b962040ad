//! `cargo xtask campaign fuzz | disks | files | cbt | kills | repository | backup | restore | generations`: runs the fuzz targets for a bounded time,
//! the properties of disks, of changed block tracking, of prunes or of backups on many cases, or the simulator, backups or restores until they
//! are killed many times, from a seed that is printed.
//!
//! The targets are built by a plain `cargo build` with the coverage that libFuzzer wants. That needs neither cargo-fuzz
//! nor a nightly compiler; the sanitizers need one, and without unsafe code in what is tried there is little to find.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};

use crate::workspace;

/// Where the targets are built for. Named, so that build scripts are built without the coverage.
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

/// Has the compiler count the edges that are taken and show what is compared.
const COVERAGE: &[&str] = &[
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];

/// What an input may take before it counts as a finding: seconds, and megabytes in all and at once.
const BOUNDS: &[&str] = &["-timeout=5", "-rss_limit_mb=512", "-malloc_limit_mb=64", "-max_len=16384"];

/// Runs each target for `seconds`, or only the one called `target`.
pub(crate) fn fuzz(seconds: u32, target: Option<&str>, seed: Option<u32>) -> anyhow::Result<()> {
    let root = workspace::root()?;
    let targets = targets(&root)?;
    if let Some(target) = target {
        ensure!(targets.iter().any(|t| t == target), "no target is called {target}; there are {targets:?}");
    }
    let seed = seed.unwrap_or_else(seed_of_the_clock);
    println!("campaign fuzz: seed {seed}, {seconds} s for each target");
    build(&root)?;
    for name in targets.iter().filter(|name| target.is_none_or(|target| target == *name)) {
        run(&root, name, seconds, seed)?;
    }
    Ok(())
}

/// Tests of `vmdk` that are properties.
const DISK_PROPERTIES: &[&str] = &["crash", "disk", "stream", "esxi", "descriptor_properties"];

/// Tries each property of the disk formats on that many cases.
pub(crate) fn disks(cases: u32, seed: Option<u32>) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(seed_of_the_clock);
    println!("campaign disks: seed {seed}, {cases} cases of each property");
    let mut command = Command::new("cargo");
    command.args(["test", "--quiet", "-p", "vadp-vmdk"]).current_dir(workspace::root()?);
    for name in DISK_PROPERTIES {
        command.args(["--test", name]);
    }
    let status = command
        .env("PROPTEST_CASES", cases.to_string())
        .env("PROPTEST_RNG_SEED", seed.to_string())
        .status()
        .context("cannot run cargo, which runs the tests")?;
    ensure!(
        status.success(),
        "a property does not hold (seed {seed}); write a test of its own for it with the fix"
    );
    println!("campaign disks: found nothing");
    Ok(())
}

/// Changes bytes of images of each file system that many times: an error or an answer, in the end.
pub(crate) fn files(variants: u32, seed: Option<u32>) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(seed_of_the_clock);
    println!("campaign files: seed {seed}, {variants} variants of each image");
    let status = Command::new("cargo")
        .args(["test", "--quiet", "--release", "-p", "vadp-files", "--test", "corrupt", "--", "--nocapture"])
        .current_dir(workspace::root()?)
        .env("FILES_VARIANTS", variants.to_string())
        .env("FILES_SEED", seed.to_string())
        .status()
        .context("cannot run cargo, which runs the tests")?;
    ensure!(
        status.success(),
        "a changed image was answered wrong (seed {seed}); write a test of its own for it with the fix"
    );
    println!("campaign files: found nothing");
    Ok(())
}

/// Kills the simulator that many times at random moments, and once at each step of each operation; with `qemu`, qemu-img
/// reads every disk after each.
pub(crate) fn kills(count: u32, qemu: bool, seed: Option<u32>) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(seed_of_the_clock);
    println!("campaign kills: seed {seed}, {count} kills at random and one at each step of each operation");
    let mut command = Command::new("cargo");
    command
        .args(["test", "--quiet", "-p", "vsphere-sim", "--test", "kill", "--", "--nocapture"])
        .current_dir(workspace::root()?)
        .env("SIM_KILLS", count.to_string())
        .env("SIM_KILLS_STEPS", "1000")
        .env("SIM_KILLS_SEED", seed.to_string());
    if qemu {
        command.env("SIM_KILLS_QEMU", "1");
    }
    let status = command.status().context("cannot run cargo, which runs the tests")?;
    ensure!(status.success(), "something acknowledged is lost, or something is left (seed {seed})");
    println!("campaign kills: found nothing");
    Ok(())
}

/// Tries the simulator's changed block tracking on that many lives of a machine.
pub(crate) fn cbt(cases: u32, seed: Option<u32>) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(seed_of_the_clock);
    println!("campaign cbt: seed {seed}, {cases} cases");
    let status = Command::new("cargo")
        .args(["test", "--quiet", "-p", "vsphere-sim", "--test", "cbt_model", "--", "--nocapture"])
        .current_dir(workspace::root()?)
        .env("CBT_MODEL_CASES", cases.to_string())
        .env("CBT_MODEL_SEED", seed.to_string())
        .status()
        .context("cannot run cargo, which runs the test")?;
    ensure!(
        status.success(),
        "changed block tracking is wrong: the last line with CBT_MODEL_SEED repeats the case; write a test of its own for it \
         with the fix"
    );
    println!("campaign cbt: found nothing");
    Ok(())
}

/// Tries all that is done to repositories on so many lives, so many with a crash at each operation, and so many runs of processes that
/// are killed.
pub(crate) fn repository(lives: u32, crashes: u32, kills: u32, seed: Option<u32>) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(seed_of_the_clock);
    println!(
        "campaign repository: seed {seed}, {lives} lives, {crashes} with crashes, {kills} runs with kills"
    );
    let status = Command::new("cargo")
        .args([
            "test",
            "--quiet",
            "-p",
            "vadp-repository",
            "--test",
            "prune",
            "--test",
            "repository",
            "--",
            "--nocapture",
        ])
        .current_dir(workspace::root()?)
        .env("PRUNE_LIVES", lives.to_string())
        .env("PRUNE_CRASHES", crashes.to_string())
        .env("PRUNE_KILLS", kills.to_string())
        .env("CARE_LIVES", lives.to_string())
        .env("CARE_CRASHES", crashes.to_string())
        .env("CARE_STRIDE", "1")
        .env("REPAIR_CASES", lives.to_string())
        .env("REPAIR_SEED", seed.to_string())
        .env("PRUNE_SEED", seed.to_string())
        .status()
        .context("cannot run cargo, which runs the tests")?;
    ensure!(
        status.success(),
        "something is lost or left: the last line with PRUNE_SEED or REPAIR_SEED repeats the case; write a test of its own for it with the fix"
    );
    println!("campaign repository: found nothing");
    Ok(())
}

/// Kills backups at each step and that many times at random, and has them meet every fault of the simulator.
pub(crate) fn backup(kills: u32, seed: Option<u32>) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(seed_of_the_clock);
    println!("campaign backup: seed {seed}, {kills} kills at random, one at each step, and each fault once");
    let settings = [("SABOTAGE_KILLS", kills.to_string()), ("SABOTAGE_ALL", "1".to_owned())];
    of_backups("sabotage", "SABOTAGE_SEED", seed, &settings)?;
    println!("campaign backup: found nothing");
    Ok(())
}

/// Kills restores at each step and that many times at random.
pub(crate) fn restore(kills: u32, seed: Option<u32>) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(seed_of_the_clock);
    println!("campaign restore: seed {seed}, {kills} kills at random, and one at each step");
    of_backups("restore_kill", "RESTORE_KILL_SEED", seed, &[("RESTORE_KILLS", kills.to_string())])?;
    println!("campaign restore: found nothing");
    Ok(())
}

/// Tries incremental backups on that many lives of a machine.
pub(crate) fn generations(lives: u32, steps: u32, seed: Option<u32>) -> anyhow::Result<()> {
    let seed = seed.unwrap_or_else(seed_of_the_clock);
    println!("campaign generations: seed {seed}, {lives} lives of {steps} steps");
    let settings = [("GENERATIONS_LIVES", lives.to_string()), ("GENERATIONS_STEPS", steps.to_string())];
    of_backups("generations", "GENERATIONS_SEED", seed, &settings)?;
    println!("campaign generations: found nothing");
    Ok(())
}

fn of_backups(test: &str, seed_name: &str, seed: u32, settings: &[(&str, String)]) -> anyhow::Result<()> {
    // With the features of the whole workspace, so that nothing is built a second time.
    let status = Command::new("cargo")
        .args(["test", "--quiet", "--workspace", "--test", test, "--", "--nocapture"])
        .current_dir(workspace::root()?)
        .env(seed_name, seed.to_string())
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .status()
        .context("cannot run cargo, which runs the tests")?;
    ensure!(
        status.success(),
        "a backup or a restore is wrong: the last line with {seed_name} repeats it; write a test of its own for it with the fix"
    );
    Ok(())
}

/// Each has a file of its name.
fn targets(root: &Path) -> anyhow::Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// libFuzzer takes 0 as "any", so it is never given.
fn seed_of_the_clock() -> u32 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.subsec_nanos().max(1))
}

fn build(root: &Path) -> anyhow::Result<()> {
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--release", "--locked", "--target", PLATFORM])
        .arg("--manifest-path")
        .arg(root.join("fuzz/Cargo.toml"))
        .env("CARGO_TARGET_DIR", root.join("target/fuzz"))
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"))
        .status()
        .context("cannot run cargo, which builds the fuzz targets")?;
    ensure!(status.success(), "the fuzz targets do not build");
    Ok(())
}

/// New inputs that reach further are kept beside the build; the committed corpus is read and not changed.
fn run(root: &Path, target: &str, seconds: u32, seed: u32) -> anyhow::Result<()> {
    let work = root.join("target/fuzz");
    let (found, findings) = (work.join("corpus").join(target), work.join("findings").join(target));
    for folder in [&found, &findings] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let status = Command::new(work.join(PLATFORM).join("release").join(target))
        .arg(&found)
        .arg(root.join("fuzz/corpus").join(target))
        .args([format!("-max_total_time={seconds}"), format!("-seed={seed}")])
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(BOUNDS)
        .args(["-print_final_stats=1", "-print_funcs=0", "-verbosity=0"])
        .status()
        .with_context(|| format!("cannot run the fuzz target {target}"))?;
    ensure!(
        status.success(),
        "{target} found something (seed {seed}): the input is in {}; add it to fuzz/corpus/{target} with the fix",
        findings.display()
    );
    println!("campaign fuzz: {target} found nothing");
    Ok(())
}
