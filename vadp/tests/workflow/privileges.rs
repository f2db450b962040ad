//! Backups and restores by a user who has the roles that this crate ships and no more, and by users who lack one privilege.
//! The fake VDDK asks for them as well as the server.

use secrecy::SecretString;
use vadp::cbt::Decision;
use vadp::privileges::{BACKUP, CAPTURE, MIGRATION_BAR, RESTORE, TEMPLATE, role};
use vadp::{Backup, ProtectedVm, VmSelector};

use crate::harness::{MIB, VM, World, connect, story};

const USER: &str = "backup@vsphere.local";
const POWER_OFF: &str = "VirtualMachine.Interact.PowerOff";

/// A user with these privileges.
async fn world_of(privileges: &[&str]) -> World {
    let password = SecretString::from("a password");
    let with_user = |builder: vsphere_sim::Builder| {
        builder.add_role("backup", privileges).add_user(USER, password.clone(), "backup")
    };
    let mut world = World::built(&[8 * MIB], with_user).await;
    world.log_in_as(USER, &password).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn the_roles_suffice() {
    // A restore wants a machine that is off; that it is, is for its owner to see to.
    let world = world_of(&[role(&[BACKUP, RESTORE]), vec![POWER_OFF]].concat()).await;
    world.write(0, 0, MIB, 1);
    let full = world.full().await.unwrap();
    let first = world.digests();
    world.write(0, 4 * MIB, 4096, 2);
    let incremental = world.incremental().await.unwrap();
    assert!(matches!(incremental.disks[0].decision, Decision::Incremental(_)), "{:?}", incremental.disks);
    world.power_off().await;
    world.revert(&full.point).await.unwrap();
    assert_eq!(world.digests(), first);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_one_of_them_the_backup_fails_cleanly_and_says_what_to_check() {
    let all = role(&[BACKUP]);
    world_of(&all).await.full().await.unwrap();
    for (missing, said) in [
        ("VirtualMachine.State.CreateSnapshot", "VirtualMachine.State.CreateSnapshot"),
        ("VirtualMachine.Provisioning.DiskRandomRead", "VirtualMachine.Provisioning.DiskRandomRead"),
        ("VirtualMachine.Config.DiskLease", "VirtualMachine.Config.DiskLease"),
    ] {
        let less: Vec<&str> = all.iter().copied().filter(|privilege| *privilege != missing).collect();
        let world = world_of(&less).await;
        let error = world.full().await.err().unwrap();
        assert!(story(&error).contains(said), "{missing}: {}", story(&error));
        assert_eq!(world.points().await, 0);
        world.assert_clean();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_not_writing() {
    let world = world_of(&[role(&[BACKUP]), vec![POWER_OFF]].concat()).await;
    world.write(0, 0, MIB, 1);
    let full = world.full().await.unwrap();
    world.write(0, 0, MIB, 2);
    let before = world.digests();
    world.power_off().await;
    let error = world.revert(&full.point).await.err().unwrap();
    assert!(story(&error).contains("DiskRandomAccess"), "{}", story(&error));
    assert_eq!(world.digests(), before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_privileges_that_we_name_suffice_for_restores() {
    let world = world_of(&[role(&[BACKUP, RESTORE]), vec![POWER_OFF]].concat()).await;
    world.write(0, 0, MIB, 1);
    let full = world.full().await.unwrap();
    let before = world.digests();
    world.write(0, 0, 2 * MIB, 2);
    world.power_off().await;
    world.revert(&full.point).await.unwrap();
    assert_eq!(world.digests(), before);
}

/// The simulator refuses each call for which the user has no privilege, and carries out none for which it knows of none: what
/// passes as a user with the roles alone makes no call that they do not cover.
#[tokio::test(flavor = "multi_thread")]
async fn the_roles_for_what_is_asked_for_besides_suffice() {
    let world = world_of(&role(&[BACKUP, CAPTURE, MIGRATION_BAR, TEMPLATE])).await;
    let full = || Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal);
    let done = full().bar_migration(true).run(|_| ()).await.unwrap();
    assert!(done.cleanup_error.is_none() && done.not_captured.is_empty(), "{:?}", done.not_captured);
    let sim = &world.sim;
    let owner = connect(&sim.url(), sim.thumbprint_sha256(), sim.user(), sim.password()).await;
    let vm = ProtectedVm::resolve(&owner, &VmSelector::Name(VM.into())).await.unwrap();
    vm.vm().power_off_vm_task().await.unwrap().wait().await.unwrap();
    vm.vm().mark_as_template().await.unwrap();
    let done = full().convert_template(true).run(|_| ()).await.unwrap();
    assert!(done.cleanup_error.is_none(), "{:?}", done.cleanup_error);
    world.assert_clean();

    let world = world_of(&role(&[BACKUP])).await;
    let error = Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal)
        .bar_migration(true)
        .run(|_| ())
        .await
        .err()
        .unwrap();
    assert!(story(&error).contains("Global.DisableMethods"), "{}", story(&error));
    world.assert_clean();
}
