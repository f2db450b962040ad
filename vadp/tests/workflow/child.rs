//! A backup in a process of its own, which can be killed: this very test program, running one test.

use std::process::{Child, Command, Stdio};

use secrecy::{ExposeSecret, SecretString};
use vadp::{Event, Journal, ProtectedVm, Vddk, VmSelector};
use vadp_repository::{Repository, Secret};

use crate::harness::{KEY, VM, World, connect, kit, vddk};

/// One test at a time: between its fork and its exec, a child holds the file locks of whoever runs beside it.
pub(crate) static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What the child holds: the same machine, repository and journal as the world that has started it.
pub(crate) struct Holdings {
    pub(crate) vm: ProtectedVm,
    pub(crate) repository: Repository,
    pub(crate) journal: Journal,
    pub(crate) vddk: Vddk,
}

/// Starts the test `child`, with these settings beside what it needs.
pub(crate) fn spawn(world: &World, settings: &[(&str, u64)]) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture", "--test-threads=1"])
        .env("VADP_TEST_KIT", kit())
        .env("CHILD_URL", world.sim.url())
        .env("CHILD_PIN", world.sim.thumbprint_sha256())
        .env("CHILD_USER", world.sim.user())
        .env("CHILD_PASSWORD", world.sim.password().expose_secret())
        .env("CHILD_FOLDER", world.folder.path())
        .envs(settings.iter().map(|(name, value)| (name, value.to_string())))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// In the child: everything that a backup takes.
pub(crate) async fn holdings() -> Holdings {
    let password = SecretString::from(variable("CHILD_PASSWORD"));
    let user = variable("CHILD_USER");
    let client = connect(&variable("CHILD_URL"), &variable("CHILD_PIN"), &user, &password).await;
    let folder = std::path::PathBuf::from(variable("CHILD_FOLDER"));
    Holdings {
        vm: ProtectedVm::resolve(&client, &VmSelector::Name(VM.into())).await.unwrap(),
        repository: Repository::open_local(folder.join("repository"), &Secret::raw_key(KEY)).await.unwrap(),
        journal: Journal::open(folder.join("journal")).unwrap(),
        vddk: vddk(&user, &password),
    }
}

/// In the child: one of the settings.
pub(crate) fn setting(name: &str) -> u64 {
    variable(name).parse().unwrap()
}

/// What an event is called.
pub(crate) fn name_of(event: &Event<'_>) -> String {
    format!("{event:?}").split([' ', '(', '{']).next().unwrap().to_owned()
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap()
}
