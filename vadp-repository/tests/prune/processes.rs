//! Two processes that back up and one that prunes, over one directory, killed at random moments.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vadp_repository::{CheckDepth, ErrorKind, LocalStore, PointId, Repository, Retention, seam};

use crate::support::*;

/// Short, so that much is deleted while backups run, and longer than what lies between two looks of a backup.
const SHORT_GRACE: Duration = Duration::from_millis(1500);

async fn open_folder(folder: &Path) -> Repository {
    let mut limits = limits();
    limits.commit_window = SHORT_GRACE / 3;
    let store = Arc::new(LocalStore::open(folder).unwrap());
    Repository::open_with(store, &secret(), limits).await.unwrap()
}

fn journal(folder: &Path, role: &str) -> PathBuf {
    folder.with_extension(role)
}

/// What the processes do that are started below.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a part of the next test, which starts it as a process"]
async fn worker() {
    let Ok(role) = std::env::var("PRUNE_ROLE") else { return };
    let folder = PathBuf::from(std::env::var_os("PRUNE_FOLDER").unwrap());
    let mut chance = Chance(seed());
    match role.as_str() {
        "pruner" => prune_for_ever(&folder, &mut chance).await,
        writer => back_up_for_ever(&folder, writer, &mut chance).await,
    }
}

async fn back_up_for_ever(folder: &Path, role: &str, chance: &mut Chance) {
    let mut journal =
        std::fs::OpenOptions::new().create(true).append(true).open(journal(folder, role)).unwrap();
    let mut image = Image::default();
    loop {
        let repo = open_folder(folder).await;
        for _ in 0..4 {
            chance.change(&mut image, 250);
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            let is_kept = chance.below(10) == 0;
            let written = write(&repo, role, &image, now, is_kept.then_some("keep")).await;
            let result = match written {
                Ok(writer) => commit(writer, &image).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(point) if is_kept => writeln!(journal, "{}", point.id()).unwrap(),
                Ok(_) => {}
                // The point on which it was to build has gone, or what it was to use.
                Err(error) if error.kind() == ErrorKind::Conflict || error.is_not_found() => {
                    writeln!(journal, "# {error}").unwrap();
                }
                Err(error) if error.is_damage() => {
                    // Something that only a removed point needs, on the way from its listing to its use.
                    writeln!(journal, "# {error}").unwrap();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn short_options(last: u32) -> vadp_repository::PruneOptions {
    let options = options(|options| {
        let mut retention = Retention::default();
        retention.last = last;
        retention.tags = vec!["keep".to_owned()];
        options.retention = retention;
    });
    seam::with_any_grace(options, SHORT_GRACE)
}

async fn prune_for_ever(folder: &Path, chance: &mut Chance) {
    let mut journal =
        std::fs::OpenOptions::new().create(true).append(true).open(journal(folder, "pruner")).unwrap();
    loop {
        let plan = open_folder(folder).await.plan_prune(short_options(1 + chance.below(3) as u32)).await;
        let result = match plan {
            Ok(plan) => plan.apply().await,
            Err(error) => Err(error),
        };
        match result {
            Ok(report) => {
                assert!(report.damaged.is_empty() && report.refused.is_empty(), "{report:?}");
                writeln!(journal, "{} {}", report.packs_deleted, report.packs_rewritten).unwrap();
            }
            // The lease of one that was killed.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            Err(error) => panic!("{error}: {:?}", std::error::Error::source(&error)),
        }
        tokio::time::sleep(Duration::from_millis(chance.below(100))).await;
    }
}

fn start(folder: &Path, role: &str, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "processes::worker", "--ignored", "--nocapture"])
        .env("PRUNE_ROLE", role)
        .env("PRUNE_FOLDER", folder)
        .env("PRUNE_SEED", seed.to_string())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_and_a_pruner_that_are_killed() {
    let seed = seed();
    let runs = setting("PRUNE_KILLS", 4);
    println!("PRUNE_SEED={seed} PRUNE_KILLS={runs}");
    let mut chance = Chance(seed);
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("repo");
    init(Arc::new(LocalStore::create(&folder).unwrap())).await;
    for run in 0..runs {
        let mut children: Vec<(&str, Child)> =
            ["one", "two", "pruner"].map(|role| (role, start(&folder, role, chance.below(u64::MAX)))).into();
        while !children.is_empty() {
            // As long as it takes to prune two or three times; then one after the other.
            let time = if children.len() == 3 { 500 + chance.below(3000) } else { chance.below(300) };
            tokio::time::sleep(Duration::from_millis(time)).await;
            let (role, mut child) = children.swap_remove(chance.below(children.len() as u64) as usize);
            assert!(child.try_wait().unwrap().is_none(), "run {run}: {role} ended by itself");
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let repo = open_folder(&folder).await;
        let seen = verify_all(&repo).await;
        let kept = acknowledged(&folder);
        let missing: Vec<_> = kept.iter().filter(|id| !seen.contains(id)).collect();
        assert!(missing.is_empty(), "run {run}: {missing:?} were committed and have gone");
        let report = repo.check(CheckDepth::Quick).await.unwrap();
        assert!(report.damage.iter().all(|damage| damage.lost.is_empty()), "run {run}: {report}");
    }
    println!("{} points were committed for good", acknowledged(&folder).len());
    // What the dead have left goes.
    let began = Instant::now();
    for _ in 0..2 {
        // The lease of a pruner that was killed is good for whole seconds.
        tokio::time::sleep(Duration::from_secs(SHORT_GRACE.as_secs() + 1) + Duration::from_millis(100)).await;
        let plan = open_folder(&folder).await.plan_prune(short_options(1)).await.unwrap();
        plan.apply().await.unwrap();
    }
    // Points that the first of these gave up need another one.
    while began.elapsed() < SHORT_GRACE * 10 {
        let store = LocalStore::open(&folder).unwrap();
        if vadp_repository::ChunkStore::list(&store, "tombstones").await.unwrap().is_empty() {
            break;
        }
        tokio::time::sleep(SHORT_GRACE).await;
        open_folder(&folder).await.plan_prune(short_options(1)).await.unwrap().apply().await.unwrap();
    }
    let mut names = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(next) = folders.pop() {
        for entry in next.read_dir().unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => names.push(path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned()),
            }
        }
    }
    assert!(!names.iter().any(|name| name.contains('#')), "{names:?}");
    nothing_is_left(&open_folder(&folder).await, &names).await;
    verify_all(&open_folder(&folder).await).await;
    let pruned = std::fs::read_to_string(journal(&folder, "pruner")).unwrap();
    let total = |column: usize| -> u64 {
        pruned.lines().map(|line| line.split(' ').nth(column).unwrap().parse::<u64>().unwrap()).sum()
    };
    println!("{} prunes ended, {} packs deleted, {} rewritten", pruned.lines().count(), total(0), total(1));
    assert!(runs < 10 || total(0) > 0 && total(1) > 0, "nothing was deleted or rewritten meanwhile");
}

fn acknowledged(folder: &Path) -> Vec<PointId> {
    let lines = ["one", "two"].map(|role| std::fs::read_to_string(journal(folder, role)).unwrap_or_default());
    // A line that was being written when its process died has not acknowledged anything.
    let whole =
        lines.iter().flat_map(|text| text.split_inclusive('\n')).filter_map(|line| line.strip_suffix('\n'));
    whole.filter(|line| !line.starts_with('#')).map(|line| PointId::parse(line).unwrap()).collect()
}
