//! What goes wrong: a clear error, and nothing lost.

use secrecy::SecretString;
use vadp::ErrorKind;
use vadp::cbt::{Decision, Reason};
use vim_api::Client;
use vsphere_sim::{FaultRule, Mutation};

use crate::harness::{MIB, World, story, vddk};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    let world = World::new(&[8 * MIB]).await;
    let client = Client::connect(&world.sim.url())
        .thumbprint(world.sim.thumbprint_sha256().parse().unwrap())
        .await
        .unwrap();
    let error = client.login(world.sim.user(), &SecretString::from("hunter2-wrong")).await.unwrap_err();
    assert!(error.fault::<vim_api::types::InvalidLogin>().is_some(), "{error:?}");
    assert!(error.to_string().contains("password"), "{error}");
    assert!(!format!("{error:?} {}", story(&error)).contains("hunter2"));

    // The same for the disk library: its own login fails, the snapshot goes, nothing is committed.
    let wrong = vddk(world.sim.user(), &SecretString::from("hunter2-wrong"));
    let backup = vadp::Backup::full(&world.vm, &world.repository, &wrong, &world.journal);
    let Err(error) = backup.run(|_| ()).await else { panic!("a backup with a wrong password") };
    assert_eq!(error.kind(), ErrorKind::Disk);
    assert!(error.disk_error().unwrap().is_authentication(), "{}", story(&error));
    assert!(!format!("{error:?} {}", story(&error)).contains("hunter2"));
    assert_eq!(world.points().await, 0);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_thumbprint() {
    let world = World::new(&[8 * MIB]).await;
    let pin = "AB".repeat(32);
    let error = Client::connect(&world.sim.url()).thumbprint(pin.parse().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), vim_api::ErrorKind::Certificate);
    let story = story(&error);
    assert!(story.contains(world.sim.thumbprint_sha256()), "the presented one: {story}");
    assert!(story.contains("AB:AB:AB"), "the expected one: {story}");
}

#[tokio::test(flavor = "multi_thread")]
async fn not_a_vcenter() {
    let world = World::new(&[8 * MIB]).await;
    let elsewhere = world.sim.url().replace("/sdk", "/somewhere");
    let pin = world.sim.thumbprint_sha256().parse().unwrap();
    let error = Client::connect(&elsewhere).thumbprint(pin).await.unwrap_err();
    assert_eq!(error.kind(), vim_api::ErrorKind::NotVsphere);
    assert!(error.to_string().contains("/sdk"), "{error}");

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 mail.example.org ESMTP\r\n").await;
        }
    });
    let error = Client::connect(&format!("https://{address}/sdk"))
        .danger()
        .accept_any_certificate()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), vim_api::ErrorKind::NotVsphere, "{}", story(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_id_that_is_refused_means_a_full_backup_with_the_reason() {
    let world = World::new(&[16 * MIB]).await;
    world.write(0, 0, 4 * MIB, 1);
    world.full().await.unwrap();
    world.fault(FaultRule::call("QueryChangedDiskAreas", "FileFault").times(1, 1));
    let next = world.incremental().await.unwrap();
    let Decision::Full(Reason::Refused { fault }) = &next.disks[0].decision else {
        panic!("{:?}", next.disks)
    };
    assert!(fault.contains("FileFault"), "{fault}");
    assert_eq!(next.disks[0].read, world.allocated(0));
    let after = world.digests();
    world.power_off().await;
    world.write(0, 0, 8 * MIB, 5);
    world.revert(&next.point).await.unwrap();
    assert_eq!(world.digests(), after);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_cover_the_disk_commits_nothing() {
    let world = World::new(&[16 * MIB]).await;
    world.write(0, 0, 4 * MIB, 1);
    world.full().await.unwrap();
    world.write(0, 0, MIB, 2);
    for mutation in
        [Mutation::Stall, Mutation::Gap, Mutation::Overlap, Mutation::ShortSum, Mutation::BeyondCapacity]
    {
        world.sim.clear_faults().unwrap();
        world.fault(FaultRule::changed_areas(mutation));
        let Err(error) = world.incremental().await else { panic!("{mutation:?} was taken for an answer") };
        assert_eq!(error.kind(), ErrorKind::IncompleteChanges, "{mutation:?}: {}", story(&error));
        assert_eq!(world.points().await, 1, "{mutation:?}");
        world.assert_clean();
    }
    world.sim.clear_faults().unwrap();
    let good = world.incremental().await.unwrap();
    assert!(matches!(good.disks[0].decision, Decision::Incremental(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_breaks_off_commits_nothing() {
    let world = World::new(&[32 * MIB]).await;
    world.write(0, 0, 16 * MIB, 1);
    // Two requests go well; the third fills half of its buffer and fails with "end of file".
    let cut = sim_store::state::FaultRule {
        function: "Read".into(),
        nth: Some(3),
        count: Some(1),
        code: 14005,
        partial: true,
        ..Default::default()
    };
    world.sim.add_vddk_fault(cut).unwrap();
    let Err(error) = world.full().await else { panic!("a short read was taken for data") };
    assert_eq!(error.kind(), ErrorKind::Disk, "{}", story(&error));
    assert_eq!(error.disk_error().unwrap().code(), Some(14005));
    assert_eq!(world.points().await, 0);
    world.assert_clean();
    world.sim.clear_faults().unwrap();
    world.full().await.unwrap();
    assert_eq!(world.points().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_the_repository_is_named_and_nothing_is_reported_restored() {
    let world = World::new(&[16 * MIB]).await;
    world.write(0, 0, 8 * MIB, 1);
    let full = world.full().await.unwrap();
    world.power_off().await;
    world.write(0, 0, 8 * MIB, 2);

    let mut packs = Vec::new();
    collect(&world.folder.path().join("repository"), &mut packs);
    let largest = packs.into_iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = std::fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&largest, bytes).unwrap();

    let error = world.revert(&full.point).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Repository, "{}", story(&error));
    let story = story(&error);
    let pack = largest.file_name().unwrap().to_string_lossy().into_owned();
    assert!(story.contains(&pack[..8]), "it names the pack {pack}: {story}");
    assert!(story.contains("2000"), "it names the disk: {story}");
    assert!(error.repository_error().unwrap().is_damage());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_fails_leaves_nothing() {
    let world = World::new(&[8 * MIB]).await;
    world.fault(FaultRule::task("CreateSnapshot_Task", "SnapshotFault", 40));
    let Err(error) = world.full().await else { panic!("a backup without a snapshot") };
    assert!(
        error.api_error().unwrap().fault::<vim_api::types::SnapshotFault>().is_some(),
        "{}",
        story(&error)
    );
    assert_eq!(world.points().await, 0);
    world.assert_clean();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_cannot_be_removed_now_is_removed_by_the_next_run() {
    let world = World::new(&[8 * MIB]).await;
    world.write(0, 0, MIB, 1);
    world.fault(FaultRule::task("RemoveSnapshot_Task", "GenericVmConfigFault", 10).times(1, 1));
    let outcome = world.full().await.unwrap();
    assert!(outcome.cleanup_error.is_some(), "the commit stands, and the failure is told");
    assert_eq!(world.points().await, 1);
    assert_eq!(world.journal.entries().unwrap().len(), 1);
    // Another process leaves it alone, since its owner lives; the owner's own next run mends it.
    let other = vadp::Journal::open(world.folder.path().join("journal")).unwrap();
    assert!(other.orphans().unwrap().is_empty());
    let next = world.incremental().await.unwrap();
    assert_eq!(next.swept.snapshots_removed.len(), 1, "{:?}", next.swept);
    world.assert_clean();
}

fn collect(folder: &std::path::Path, out: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), out);
        } else {
            out.push(entry.path());
        }
    }
}
