//! The program, killed at any moment: what it has acknowledged is there when it starts again, and what was in flight is
//! there wholly or not at all.
//!
//! A model of bytes, which knows none of the program's code, follows what the program acknowledges. After each kill the
//! program is started again and looked at over SOAP, and disks are read from their files by `vadp-vmdk`, which shares
//! nothing with the store that wrote them. `SIM_KILLS` says how many kills there are, `SIM_KILLS_STEPS` at how many of the
//! steps of each operation it dies, `SIM_KILLS_SEED` what is drawn; `cargo xtask campaign kills` sets them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a failed test may panic, in its helpers too; its disks are small"
)]

#[path = "kill/first_class.rs"]
mod first_class;
#[path = "kill/look.rs"]
mod look;
#[path = "kill/model.rs"]
mod model;
#[path = "kill/operations.rs"]
mod operations;
#[path = "kill/program.rs"]
mod program;

use std::collections::BTreeMap;
use std::time::Duration;

use model::{Chance, Model};
use operations::{KINDS, Operation};
use program::Program;

/// A program, and what it has acknowledged.
struct Trial {
    program: Program,
    model: Model,
    chance: Chance,
}

/// How an operation ended.
enum End {
    Done,
    Killed,
}

impl Trial {
    async fn begin(seed: u64) -> Self {
        let program = Program::start().await;
        let mut trial = Self { program, model: Model::default(), chance: Chance(seed) };
        for kind in ["create", "write", "snapshot", "write", "create disk"] {
            trial.finish(kind).await;
        }
        trial
    }

    /// An operation of a kind, as far as the model has something for it.
    fn draw(&mut self, kind: &str) -> Option<Operation> {
        Operation::draw(kind, &mut self.model, &mut self.chance)
    }

    /// Carries out an operation of a kind to its end.
    async fn finish(&mut self, kind: &str) {
        let Some(operation) = self.draw(kind) else { return };
        println!("{operation:?}");
        let done = operation.run(&self.program).await;
        done.unwrap_or_else(|error| panic!("{operation:?}: {error}"));
        operation.note(&mut self.model);
        self.learn().await;
    }

    /// Begins an operation, and lets the program die after `moment`, or when it dies by itself.
    async fn kill_in(&mut self, operation: &Operation, moment: Option<Duration>) -> End {
        println!("{operation:?}, and it dies after {moment:?}");
        let outcome = tokio::select! {
            done = operation.run(&self.program) => Some(done),
            () = self.program.is_dead() => None,
            () = async { match moment {
                Some(moment) => tokio::time::sleep(moment).await,
                None => std::future::pending().await,
            } } => None,
        };
        match outcome {
            // An error is what a connection to a dead program comes to.
            Some(Err(error)) if !self.program.dies_soon().await => panic!("{operation:?}: {error}"),
            Some(Ok(())) => {
                operation.note(&mut self.model);
                self.learn().await;
                End::Done
            }
            _ => {
                self.program.kill().await;
                End::Killed
            }
        }
    }

    /// Starts the program again, and compares. `flying` was begun and not acknowledged.
    async fn restart(&mut self, flying: Option<&Operation>) {
        self.program.restart().await;
        let seen = look::look(&self.program).await;
        let wanted = self.model.clone();
        let mut other = self.model.clone();
        if let Some(operation) = flying {
            operation.note(&mut other);
        }
        // Where either end gives an id up, being refused does no harm: whoever asks then reads everything.
        let in_both: Vec<(String, i32, String)> = other
            .ids()
            .filter(|id| wanted.ids().any(|before| before == *id))
            .map(|(moref, key, id)| (moref.to_owned(), key, id.to_owned()))
            .collect();
        self.model = look::settle(wanted, other, &seen, flying);
        self.model.forget_ids_but(&in_both);
        look::tracking(&self.program, &self.model).await;
        look::files(&self.program, &self.model, &seen);
    }

    /// Takes in what the program alone can say: ids of what was made.
    async fn learn(&mut self) {
        let seen = look::look(&self.program).await;
        self.model = look::settle(self.model.clone(), self.model.clone(), &seen, None);
        look::learn_ids(&self.program, &mut self.model, &seen).await;
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("SIM_KILLS_SEED", u64::from(now.subsec_nanos()));
    println!("SIM_KILLS_SEED={seed}");
    seed
}

#[tokio::test]
async fn killed_at_any_moment() {
    let mut trial = Trial::begin(seed()).await;
    let mut interrupted: BTreeMap<&str, u32> = BTreeMap::new();
    for _ in 0..number("SIM_KILLS", 8) {
        let kind = loop {
            let kind = KINDS[trial.chance.below(KINDS.len() as u64) as usize];
            if trial.chance.below(3) > 0 {
                trial.finish(kind).await;
            } else {
                break kind;
            }
        };
        let Some(operation) = trial.draw(kind) else { continue };
        let moment = Duration::from_micros(trial.chance.below(60_000));
        let flying = match trial.kill_in(&operation, Some(moment)).await {
            End::Killed => Some(&operation),
            End::Done => None,
        };
        if flying.is_some() {
            *interrupted.entry(kind).or_default() += 1;
        } else {
            trial.program.kill().await;
        }
        trial.restart(flying).await;
    }
    println!("interrupted: {interrupted:?}");
}

/// Dies between any two changes of files of each operation in turn.
#[tokio::test]
async fn killed_at_each_step() {
    let mut trial = Trial::begin(seed()).await;
    let most = number("SIM_KILLS_STEPS", 1);
    let mut steps: BTreeMap<&str, u64> = BTreeMap::new();
    for kind in KINDS {
        let first = if most < 1000 { 1 + trial.chance.below(8) } else { 1 };
        for step in first..first + most {
            // What the kind needs may have to be made first.
            for before in ["create", "snapshot", "create disk", "unregister"] {
                if trial.draw(kind).is_none() {
                    trial.finish(before).await;
                }
            }
            let Some(operation) = trial.draw(kind) else { break };
            trial.program.die_after(step);
            let end = trial.kill_in(&operation, None).await;
            trial.program.live_on();
            if matches!(end, End::Done) {
                break;
            }
            *steps.entry(kind).or_default() += 1;
            trial.restart(Some(&operation)).await;
        }
    }
    println!("died at so many steps of each: {steps:?}");
    assert!(steps.values().sum::<u64>() > KINDS.len() as u64 / 2, "{steps:?}");
}

/// The same for first-class disks: what is there after a kill is what was there before, or what is there when all is done.
#[tokio::test]
async fn first_class_disks_killed_at_each_step() {
    let mut program = Program::start().await;
    let mut chance = Chance(seed());
    let most = number("SIM_KILLS_STEPS", 1);
    let (mut kills, mut runs) = (0, 0);
    for kind in first_class::KINDS {
        runs += 1;
        let scene = first_class::Scene::set(&program, runs).await;
        scene.run(&program, kind).await.unwrap_or_else(|error| panic!("{kind}: {error}"));
        let after = scene.look(&program).await;
        let first = if most < 1000 { 1 + chance.below(8) } else { 1 };
        for step in first..first + most {
            runs += 1;
            let scene = first_class::Scene::set(&program, runs).await;
            let own = scene.look(&program).await;
            program.die_after(step);
            let done = scene.run(&program, kind).await;
            if done.is_ok() {
                program.live_on();
                break;
            }
            assert!(program.dies_soon().await, "{kind}, step {step}: {done:?}");
            program.live_on();
            program.kill().await;
            program.restart().await;
            kills += 1;
            let seen = scene.look(&program).await;
            // Two of the kinds make a disk first, which may be there alone.
            let mut others = seen.clone();
            let halfway =
                ["extend", "relocate"].contains(&kind) && others.remove("new").is_some() && others == own;
            let is_done = first_class::plain(&seen) == first_class::plain(&after);
            assert!(seen == own || is_done || halfway, "{kind}, step {step}: {seen:?} of {own:?}");
            // No kind makes content that was not there, but for empty disks.
            let known = first_class::contents(&own);
            let strange = first_class::contents(&seen).into_iter().find(|content| !known.contains(content));
            let is_empty = |content| first_class::contents(&after).contains(&content);
            assert!(halfway || strange.is_none_or(is_empty), "{kind}, step {step}: {seen:?} of {own:?}");
        }
    }
    println!("died {kills} times");
    assert!(kills > 4, "{kills}");
}

#[tokio::test]
async fn what_a_killed_program_was_making_goes_and_after_an_end_nobody_looks() {
    let mut program = Program::start().await;
    // No process has this number.
    let part = program.host("[datastore1] .upload.4999999-1.tmp");
    for killed in [true, false] {
        std::fs::write(&part, "part of a file").unwrap();
        match killed {
            true => program.kill().await,
            false => program.end().await,
        }
        program.restart().await;
        assert_eq!(part.exists(), !killed);
    }
}
