//! Lives of a machine by chance: its guest writes, others take, remove and revert to snapshots, disks grow, tracking is switched
//! off and on, the machine moves to another datastore, is restored, backups are dropped in the middle, and all the while
//! incremental backups are made. Every restore point is the disks of its moment.
//!
//! A few lives run with the other tests; `cargo xtask campaign generations` runs hundreds. A line with GENERATIONS_SEED repeats
//! the life that went wrong.

// Helpers of tests fail as tests do.
#![allow(clippy::unwrap_used, clippy::panic)]

#[allow(dead_code)]
#[path = "workflow/harness.rs"]
mod harness;
#[allow(dead_code)]
#[path = "workflow/oracle.rs"]
mod oracle;

use std::collections::BTreeMap;

use vadp::cbt::{Audit, Decision};
use vadp::{Backup, Sweeper};
use vadp_repository::CheckDepth;
use vim_api::dynamic::Poly;
use vim_api::mo::{Datastore, Managed, VirtualMachine, VirtualMachineSnapshot};
use vim_api::types as t;
use vsphere_sim::{Topology, TrackingRules};

use harness::{MIB, VM, World};
use oracle::{
    Expected, Random, backup_of_a_busy_guest, contents, difference, seed_from, setting, write_somewhere,
};

/// No disk grows beyond it.
const LARGEST: u64 = 12 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn every_restore_point_is_the_disks_of_its_moment() {
    let (lives, steps) = (setting("GENERATIONS_LIVES", 2), setting("GENERATIONS_STEPS", 14));
    let first = seed_from("GENERATIONS_SEED");
    let mut told = Told::default();
    for life in 0..lives {
        let seed = first.wrapping_add(life);
        println!("GENERATIONS_SEED={seed} GENERATIONS_LIVES=1 GENERATIONS_STEPS={steps}");
        live(seed, steps, &mut told).await;
    }
    println!("generations: {told:?}");
    assert!(lives < 5 || told.incremental > 0, "no life had an incremental backup: {told:?}");
}

/// What there was to see, so that nobody believes in lives in which nothing happened.
#[derive(Debug, Default)]
struct Told {
    backups: usize,
    incremental: usize,
    full: BTreeMap<String, usize>,
    dropped: usize,
    restores: usize,
    reverts: usize,
    refused: usize,
}

struct Life {
    world: World,
    random: Random,
    expected: Expected,
    others: Vec<VirtualMachineSnapshot>,
    /// On which of the two datastores it is.
    at: usize,
}

async fn live(seed: u64, steps: u64, told: &mut Told) {
    let mut random = Random::new(seed);
    let rules = TrackingRules {
        renewed_by_power_loss: random.below(2) == 0,
        renewed_by_relocation: random.below(2) == 0,
        // So that answers about small disks have several windows.
        areas_in_answer: 1 + random.below(4) as usize,
    };
    let more = |builder: vsphere_sim::Builder| {
        builder.tracking(rules).topology(Topology { datastores: 2, ..Topology::default() })
    };
    let world = World::built(&[5 * MIB, 3 * MIB + 3 * 512], more).await;
    let mut life = Life { world, random, expected: Expected::default(), others: Vec::new(), at: 0 };
    for step in 0..steps {
        life.step(told).await.unwrap_or_else(|what| panic!("seed {seed}, step {step}: {what}"));
    }
    life.end().await.unwrap_or_else(|what| panic!("seed {seed}, at the end: {what}"));
}

impl Life {
    async fn step(&mut self, told: &mut Told) -> Result<(), String> {
        match self.random.below(20) {
            0..6 => write_somewhere(&self.world, &mut self.random),
            6..12 => self.back_up(told, false).await?,
            12 => self.back_up(told, true).await?,
            13 if self.others.len() < 3 => {
                let task = self.world.vm.vm().create_snapshot_task("somebody's", None, false, false);
                let moref = task.await.unwrap().wait().await.unwrap();
                self.others.push(self.world.client.bind(&moref));
            }
            14 if !self.others.is_empty() => {
                let n = self.random.below(self.others.len() as u64) as usize;
                let snapshot = self.others.swap_remove(n);
                snapshot.remove_snapshot_task(false, Some(true)).await.unwrap().wait().await.unwrap();
            }
            15 if !self.others.is_empty() => {
                let n = self.random.below(self.others.len() as u64) as usize;
                let call = self.others[n].revert_to_snapshot_task(None, Some(false));
                call.await.unwrap().wait().await.unwrap();
                told.reverts += 1;
            }
            16 if self.world.sim.vm(VM).unwrap().snapshot_count() == 0 => self.grow().await,
            17 => {
                for on in [false, true] {
                    let spec = t::VirtualMachineConfigSpec {
                        change_tracking_enabled: Some(on),
                        ..Default::default()
                    };
                    self.world.vm.vm().reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
                    if self.random.below(2) == 0 {
                        write_somewhere(&self.world, &mut self.random);
                    }
                }
            }
            18 => self.move_away(told).await,
            19 => self.restore(told).await?,
            _ => {}
        }
        Ok(())
    }

    async fn back_up(&mut self, told: &mut Told, full: bool) -> Result<(), String> {
        let world = &self.world;
        let mut backup = match full {
            true => Backup::full(&world.vm, &world.repository, &world.vddk, &world.journal),
            false => Backup::incremental(&world.vm, &world.repository, &world.vddk, &world.journal),
        };
        // An audit would mend what this test is to find.
        backup = backup.audit(Audit::Off).enable_tracking(self.random.below(4) > 0);
        backup = backup.bar_migration(self.random.below(3) == 0);
        let drop_at = (self.random.below(4) == 0).then(|| self.random.below(16) as usize);
        let (copied, outcome) = backup_of_a_busy_guest(world, backup, &mut self.random, drop_at).await;
        match outcome {
            None => {
                told.dropped += 1;
                self.wait_for_tasks().await;
            }
            Some(Ok(outcome)) => {
                told.backups += 1;
                for disk in &outcome.disks {
                    match &disk.decision {
                        Decision::Incremental(_) => told.incremental += 1,
                        Decision::Full(reason) => {
                            *told.full.entry(reason.to_string()).or_default() += 1;
                        }
                    }
                }
                if let Some(error) = outcome.cleanup_error {
                    return Err(format!("the backup left something: {error:?}"));
                }
            }
            Some(Err(error)) => return Err(format!("the backup failed: {}", harness::story(&error))),
        }
        let points = world.points().await;
        if points > self.expected.0.len() {
            let copied = copied.ok_or("a restore point without a snapshot")?;
            self.expected.note_new(world, &copied).await?;
        }
        Ok(())
    }

    /// What a backup had asked for when it was dropped goes on, and the server lets nobody else in meanwhile.
    /// Waits until nothing goes on any more. What a dropped backup gives back is several tasks, one after the other.
    async fn wait_for_tasks(&self) {
        let mut quiet = 0;
        while quiet < 10 {
            let tasks =
                self.world.vm.vm().get(VirtualMachine::RECENT_TASK).await.unwrap().unwrap_or_default();
            quiet += 1;
            for task in tasks {
                let task = vim_api::Task::<()>::new(self.world.client.clone(), task);
                let state = task.info().await.map(|info| info.state);
                if matches!(state, Ok(t::TaskInfoState::Queued | t::TaskInfoState::Running)) {
                    quiet = 0;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    }

    async fn grow(&mut self) {
        let keys = self.world.keys();
        let n = self.random.below(keys.len() as u64) as usize;
        let config = self.world.vm.vm().require(VirtualMachine::CONFIG).await.unwrap();
        let device = config.hardware.device.iter().find(|device| device.key == keys[n]).unwrap();
        let mut disk = device.downcast_ref::<t::VirtualDisk>().unwrap().clone();
        let capacity =
            disk.capacity_in_bytes.unwrap() / 1024 * 1024 + (1 + self.random.below(3) as i64) * 512 * 1024;
        if capacity as u64 > LARGEST {
            return;
        }
        disk.capacity_in_bytes = Some(capacity);
        disk.capacity_in_kb = capacity / 1024;
        let change = t::VirtualDeviceConfigSpec {
            operation: Some(t::VirtualDeviceConfigSpecOperation::Edit),
            device: Poly::new(disk),
            ..Default::default()
        };
        let spec =
            t::VirtualMachineConfigSpec { device_change: vec![Poly::new(change)], ..Default::default() };
        self.world.vm.vm().reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
    }

    async fn move_away(&mut self, told: &mut Told) {
        let name = ["datastore2", "datastore1"][self.at];
        let found = self.world.client.find_one::<Datastore>(&format!("/DC0/datastore/{name}")).await.unwrap();
        let spec = t::VirtualMachineRelocateSpec { datastore: Some(found.object), ..Default::default() };
        match self.world.vm.vm().relocate_vm_task(&spec, None).await.unwrap().wait().await {
            Ok(()) => self.at = 1 - self.at,
            // Such as one that has snapshots, where a server does not move those.
            Err(_) => told.refused += 1,
        }
    }

    /// Brings the disks back to a point, where they still fit.
    async fn restore(&mut self, told: &mut Told) -> Result<(), String> {
        let world = &self.world;
        if self.expected.0.is_empty() || !self.others.is_empty() {
            return Ok(());
        }
        Sweeper::new(&world.journal)
            .through(&world.vddk)
            .sweep(&world.client)
            .await
            .map_err(|e| harness::story(&e))?;
        let n = self.random.below(self.expected.0.len() as u64) as usize;
        let (id, wanted) = self.expected.0.iter().nth(n).unwrap();
        let sizes = |contents: &oracle::Contents| contents.values().map(Vec::len).collect::<Vec<_>>();
        if sizes(wanted) != sizes(&contents(world)) {
            return Ok(());
        }
        let point = world.repository.point(*id).await.unwrap();
        if world.sim.vm(VM).unwrap().is_powered_on() {
            world.power_off().await;
        }
        world.revert(&point).await.map_err(|e| harness::story(&e))?;
        if let Some(difference) = difference(&contents(world), wanted) {
            return Err(format!("restored {id}: {difference}"));
        }
        world.vm.vm().power_on_vm_task(None).await.unwrap().wait().await.unwrap();
        told.restores += 1;
        Ok(())
    }

    /// What was dropped is swept, nobody else's snapshot is gone, and every point is still what it was.
    async fn end(self) -> Result<(), String> {
        let world = &self.world;
        Sweeper::new(&world.journal)
            .through(&world.vddk)
            .sweep(&world.client)
            .await
            .map_err(|e| harness::story(&e))?;
        let left = world.sim.vm(VM).unwrap().snapshots();
        if left.len() != self.others.len() || left.iter().any(|name| name.contains("vadp")) {
            return Err(format!("snapshots: {left:?}, {} of them somebody's", self.others.len()));
        }
        if !world.journal.entries().unwrap().is_empty() {
            return Err("journal entries are left".into());
        }
        self.expected.check_all(world).await?;
        let report = world.repository.check(CheckDepth::Deep).await.unwrap();
        if report.is_ok() { Ok(()) } else { Err(format!("{report:?}")) }
    }
}
