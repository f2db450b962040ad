//! A failure at any step leaves nothing.

use vadp::Sweeper;
use vsphere_sim::{Endpoint, FaultPlace, FaultRule};

use crate::harness::story;
use crate::scene::{COPY, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_step_leaves_nothing() {
    let scene = Scene::new().await;
    let upload = FaultRule { status: Some(507), ..FaultRule::at(Endpoint::Folder, "PUT", FaultPlace::Http) };
    let steps = [
        ("creating", FaultRule::call("CreateVM_Task", "InvalidVmConfig")),
        ("creating, half-way", FaultRule::task("CreateVM_Task", "FileFault", 50)),
        ("the first disk", FaultRule::task("ReconfigVM_Task", "NoDiskSpace", 50).times(1, 1)),
        ("the third disk", FaultRule::call("ReconfigVM_Task", "NoPermission").times(3, 1)),
        ("the late settings", FaultRule::task("ReconfigVM_Task", "InvalidState", 50).times(5, 1)),
        ("the NVRAM", upload),
    ];
    for (step, rule) in steps {
        scene.world.fault(rule);
        let error = scene.run(scene.copy()).await.err().unwrap_or_else(|| panic!("{step} did not fail"));
        assert!(!story(&error).contains("sweep"), "{step}: {}", story(&error));
        assert!(
            scene.world.sim.faults().iter().any(|fault| fault.hits > 0),
            "{step}: the fault never struck"
        );
        scene.world.sim.clear_faults().unwrap();
        scene.assert_nothing_of_a_copy(step);
    }
    for function in ["Open", "Write", "Read", "WriteMetadata"] {
        let rule = sim_store::state::FaultRule {
            function: function.into(),
            nth: Some(2),
            count: Some(1000),
            code: 16000,
            ..Default::default()
        };
        scene.world.sim.add_vddk_fault(rule).unwrap();
        let done = scene.run(scene.copy()).await;
        scene.world.sim.clear_faults().unwrap();
        if function == "WriteMetadata" {
            // The disks are right, and their descriptors the server's own.
            let done = done.unwrap();
            assert!(!done.warnings.is_empty());
            done.vm.vm().destroy_task().await.unwrap().wait().await.unwrap();
        } else {
            assert!(done.is_err(), "{function} did not fail");
        }
        scene.assert_nothing_of_a_copy(function);
    }
    scene.run(scene.copy()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_removed_is_said_and_swept() {
    let scene = Scene::new().await;
    scene.world.fault(FaultRule::call("ReconfigVM_Task", "InvalidVmConfig").times(2, 1));
    scene.world.fault(FaultRule::call("Destroy_Task", "NoPermission").times(1, 1));
    let error = scene.run(scene.copy()).await.err().unwrap();
    assert!(error.to_string().contains("sweep"), "{error}");
    assert_eq!(scene.world.sim.vm(COPY).unwrap().disks().unwrap().len(), 1, "half made");
    scene.world.sim.clear_faults().unwrap();
    let swept = Sweeper::new(&scene.world.journal).sweep(&scene.world.client).await.unwrap();
    assert_eq!(swept.machines_removed, [COPY]);
    scene.assert_nothing_of_a_copy("it was swept");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_dropped_is_swept_also_from_another_machine() {
    let scene = Scene::new().await;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let stop = std::sync::Mutex::new(Some(stop));
    let plan = scene.copy().plan().await.unwrap();
    let run = plan.run(|event| {
        if let vadp::Event::DiskOpened { .. } = event
            && let Some(stop) = stop.lock().unwrap().take()
        {
            let _ = stop.send(());
        }
    });
    tokio::select! {
        biased;
        Ok(()) = stopped => {}
        _ = run => panic!("it was not dropped"),
    }
    // Another's journal does not know of it, and finds it by its mark.
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = vadp::Journal::open(folder.path()).unwrap();
    let sweeper = Sweeper::new(&elsewhere);
    assert!(sweeper.sweep(&scene.world.client).await.unwrap().machines_removed.is_empty());
    let owner = scene.world.journal.owner().to_owned();
    let swept = sweeper.take_over(&scene.world.client, &owner).await.unwrap();
    assert_eq!(swept.machines_removed, [COPY]);
    let swept = Sweeper::new(&scene.world.journal).sweep(&scene.world.client).await.unwrap();
    assert_eq!((swept.machines_removed.len(), swept.already_gone), (0, 1));
    scene.assert_nothing_of_a_copy("it was swept");
}
