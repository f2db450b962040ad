//! What a process leaves that is killed in the middle: seen on a child process.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use secrecy::{ExposeSecret, SecretString};
use vadp::recover::{Identity, Recover};
use vadp::{Event, Journal, Sweeper};
use vadp_repository::{Repository, Secret};

use crate::harness::{KEY, connect, kit, vddk};
use crate::scene::{COPY, Scene};

/// Not a test of its own: the part that runs in the child. It says each event on a line, and stands still at the one it is told.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a child of the test below"]
async fn child() {
    let get = |name: &str| std::env::var(name).unwrap();
    let password = SecretString::from(get("CHILD_PASSWORD"));
    let client = connect(&get("CHILD_URL"), &get("CHILD_PIN"), &get("CHILD_USER"), &password).await;
    let folder = std::path::PathBuf::from(get("CHILD_FOLDER"));
    let repository = Repository::open_local(folder.join("repository"), &Secret::raw_key(KEY)).await.unwrap();
    let journal = Journal::open(folder.join("journal")).unwrap();
    let vddk = vddk(&get("CHILD_USER"), &password);
    let info = repository.points(None).await.unwrap().remove(0);
    let point = repository.point(info.id).await.unwrap();
    let moment = get("CHILD_MOMENT");
    let plan =
        Recover::new(&point, &client, &vddk, &journal).identity(Identity::Copy).name(COPY).plan().await;
    let made = plan.unwrap().run(|event| {
        let said = format!("{event:?}");
        println!("event {said}");
        if said.starts_with(&moment)
            || matches!(&event, Event::DiskProgress { phase, .. } if format!("{phase:?}") == moment)
        {
            std::thread::sleep(std::time::Duration::from_secs(600));
        }
    });
    made.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_leaves_nothing_after_the_next_sweep() {
    let scene = Scene::new().await;
    let world = &scene.world;
    for moment in ["MachineCreated", "DiskOpened", "Write", "Verify", "MachineDone"] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env("VADP_TEST_KIT", kit())
            .env("CHILD_URL", world.sim.url())
            .env("CHILD_PIN", world.sim.thumbprint_sha256())
            .env("CHILD_USER", world.sim.user())
            .env("CHILD_PASSWORD", world.sim.password().expose_secret())
            .env("CHILD_FOLDER", world.folder.path())
            .env("CHILD_MOMENT", moment)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let reached = tokio::task::block_in_place(|| {
            let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
            lines.any(|line| {
                line.contains(&format!("event {moment}")) || line.contains(&format!("phase: {moment}"))
            })
        });
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(reached, "the child never said {moment}");
        let swept = Sweeper::new(&world.journal).sweep(&world.client).await.unwrap();
        if moment == "MachineDone" {
            // It was whole, and its mark is gone: it is nobody's to remove.
            assert_eq!((swept.machines_removed.len(), swept.already_gone), (0, 1));
            assert!(!world.sim.vm(COPY).unwrap().is_powered_on());
        } else {
            assert_eq!(swept.machines_removed, [COPY], "{moment}");
            scene.assert_nothing_of_a_copy(moment);
        }
    }
}
