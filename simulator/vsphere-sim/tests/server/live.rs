//! `Updates` and `Inventory`: a replica that survives whatever happens to its session.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use vim_api::types::VirtualMachinePowerState as PowerState;
use vim_api::{Change, Changes, Client, MoRef, Updates, mo};
use vsphere_sim::{FaultPlace, FaultRule, Sim, Unregistered};

use crate::{log_in, start};

type Vm = mo::VirtualMachine;

fn watch(client: &Client) -> Updates<Vm> {
    client.updates(&client.content().root_folder.cast(), &["name", "runtime.powerState"])
}

/// What a consumer knows that believes each change, and finds fault with those that cannot be.
#[derive(Default)]
struct Believer(HashMap<MoRef<Vm>, String>);

impl Believer {
    fn take(&mut self, told: &Changes<Vm>, updates: &Updates<Vm>) {
        for change in &told.changes {
            match change {
                Change::Enter(vm) => {
                    assert!(self.0.insert(vm.clone(), String::new()).is_none(), "{vm} entered twice");
                }
                Change::Modify { object, paths } => {
                    assert!(self.0.contains_key(object), "{object} changed, and never entered");
                    assert!(!paths.is_empty());
                }
                Change::Leave(vm) => assert!(self.0.remove(vm).is_some(), "{vm} left, and never entered"),
            }
            // What was told is what the replica says from now on.
            if let Change::Enter(vm) | Change::Modify { object: vm, .. } = change
                && let Some(known) = updates.get(vm)
            {
                let power: PowerState = known.get("runtime.powerState").unwrap().unwrap();
                let name: String = known.get("name").unwrap().unwrap();
                self.0.insert(vm.clone(), format!("{name} {power:?}"));
            }
        }
    }

    fn sorted(&self) -> BTreeMap<String, String> {
        self.0.iter().map(|(vm, known)| (vm.value().to_owned(), known.clone())).collect()
    }
}

/// What the simulator knows of itself, without a wire between.
fn truth(sim: &Sim) -> BTreeMap<String, String> {
    let known = |vm: vsphere_sim::SimVm| {
        let power = if vm.is_powered_on() { PowerState::PoweredOn } else { PowerState::PoweredOff };
        (vm.moref().value().to_owned(), format!("{} {power:?}", vm.name().unwrap()))
    };
    sim.vms().into_iter().map(known).collect()
}

async fn in_sync(updates: &mut Updates<Vm>, believer: &mut Believer) -> usize {
    let mut parts = 0;
    loop {
        let told = updates.next().await.unwrap();
        believer.take(&told, updates);
        parts += 1;
        if told.in_sync {
            return parts;
        }
    }
}

#[tokio::test]
async fn objects_enter_change_and_leave() {
    let sim = start(5).await;
    let client = log_in(&sim).await;
    let mut updates = watch(&client).page(2);
    let mut believer = Believer::default();
    assert!(in_sync(&mut updates, &mut believer).await >= 3, "five machines, two at a time");
    assert_eq!(believer.sorted(), truth(&sim));

    let vm = sim.vm("vm-1").unwrap();
    vm.rename("renamed").unwrap();
    let told = updates.next().await.unwrap();
    assert_eq!(told.changes, [Change::Modify { object: vm.moref(), paths: vec!["name".into()] }]);
    assert_eq!(updates.get(&vm.moref()).unwrap().get::<String>("name").unwrap().unwrap(), "renamed");

    let old = vm.moref();
    let parked = vm.unregister().unwrap();
    assert_eq!(updates.next().await.unwrap().changes, [Change::Leave(old.clone())]);
    assert!(updates.get(&old).is_none());
    let back = sim.register(parked);
    assert_ne!(back.moref(), old);
    assert_eq!(updates.next().await.unwrap().changes, [Change::Enter(back.moref())]);
    assert_eq!(updates.objects().count(), 5);
}

#[tokio::test]
async fn single_objects_are_watched_and_an_empty_inventory_is_in_sync() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let vm = sim.vm("vm-2").unwrap();
    let mut one = client.updates_of(&[vm.moref()], &["name"]);
    assert_eq!(one.next().await.unwrap().changes, [Change::Enter(vm.moref())]);
    sim.vm("vm-1").unwrap().rename("not watched").unwrap();
    vm.rename("watched").unwrap();
    let told = one.next().await.unwrap();
    assert_eq!(told.changes, [Change::Modify { object: vm.moref(), paths: vec!["name".into()] }]);

    for vm in sim.vms() {
        drop(vm.unregister().unwrap());
    }
    let mut nothing = watch(&client);
    let told = nothing.next().await.unwrap();
    assert!(told.in_sync && told.changes.is_empty());
}

#[tokio::test]
async fn a_dropped_wait_is_prompt_and_loses_nothing() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let mut updates = watch(&client);
    in_sync(&mut updates, &mut Believer::default()).await;
    let began = Instant::now();
    assert!(tokio::time::timeout(Duration::from_millis(100), updates.next()).await.is_err());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let vm = sim.vm("vm-1").unwrap();
    vm.rename("while nobody listened").unwrap();
    let told = updates.next().await.unwrap();
    assert_eq!(told.changes, [Change::Modify { object: vm.moref(), paths: vec!["name".into()] }]);
    assert!(!told.resynced);
}

#[tokio::test]
async fn a_lost_session_is_made_up_for() {
    let sim = start(3).await;
    let client = log_in(&sim).await;
    let mut updates = watch(&client).page(1);
    let mut believer = Believer::default();
    in_sync(&mut updates, &mut believer).await;
    for lose in ["session", "collector"] {
        let gone = sim.vm("vm-2").unwrap();
        let left = gone.moref();
        match lose {
            "session" => assert_eq!(sim.expire_sessions(), 1),
            _ => {
                let rule = FaultRule::call("WaitForUpdatesEx", "InvalidCollectorVersion").times(1, 1);
                sim.add_fault(rule).unwrap();
            }
        }
        // Nobody is told of these as they happen.
        let back = sim.register(gone.unregister().unwrap());
        let vm = sim.vm("vm-3").unwrap();
        vm.rename("three").unwrap();
        let told = updates.next().await.unwrap();
        assert!(told.resynced && told.in_sync, "{told:?}");
        believer.take(&told, &updates);
        let expected = [
            Change::Leave(left),
            Change::Enter(back.moref()),
            Change::Modify { object: vm.moref(), paths: vec!["name".into()] },
        ];
        assert_eq!(told.changes.len(), 3, "{told:?}");
        assert!(expected.iter().all(|change| told.changes.contains(change)), "{told:?}");
        assert_eq!(believer.sorted(), truth(&sim));
        vm.rename("vm-3").unwrap();
        believer.take(&updates.next().await.unwrap(), &updates);
    }
    assert_eq!(client.session_generation(), 2);
}

/// Administrators at work, sessions that expire, answers that are lost: in the end the consumer knows what the simulator
/// knows, and was never told what could not be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_omniscient_observer_agrees() {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = std::env::var("LIVE_SEED").map_or(now, |seed| seed.parse().unwrap());
    println!("LIVE_SEED={seed}");
    let mut rng = Dice(seed | 1);
    let sim = start(6).await;
    let client = log_in(&sim).await;
    let mut updates = watch(&client).page(2);
    let mut believer = Believer::default();
    let mut parked: Vec<Unregistered> = Vec::new();
    for round in 0..120_u32 {
        let vms = sim.vms();
        let pick = rng.roll() as usize;
        match rng.roll() % 10 {
            0 | 1 if vms.len() > 1 => parked.push(vms[pick % vms.len()].clone().unregister().unwrap()),
            2 | 3 => drop(parked.pop().map(|vm| sim.register(vm))),
            4 => drop(sim.expire_sessions()),
            5 => {
                let rule = FaultRule::call("WaitForUpdatesEx", "InvalidCollectorVersion").times(1, 1);
                sim.add_fault(rule).unwrap();
            }
            6 => {
                let rule = FaultRule { at: FaultPlace::Http, ..FaultRule::call("WaitForUpdatesEx", "") };
                sim.add_fault(FaultRule { fault: None, ..rule }.times(1, 1)).unwrap();
            }
            _ => vms[pick % vms.len()].rename(&format!("name-{round}")).unwrap(),
        }
        // Now and then the consumer is slow, or gives up a wait.
        if !rng.roll().is_multiple_of(3)
            && let Ok(told) = tokio::time::timeout(Duration::from_millis(60), updates.next()).await
        {
            believer.take(&told.unwrap(), &updates);
        }
    }
    sim.clear_faults().unwrap();
    let began = Instant::now();
    while believer.sorted() != truth(&sim) || !updates.is_in_sync() {
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}\n{:?}", believer.sorted(), truth(&sim));
        if let Ok(told) = tokio::time::timeout(Duration::from_secs(5), updates.next()).await {
            believer.take(&told.unwrap(), &updates);
        }
    }
    assert_eq!(updates.objects().count(), truth(&sim).len());
    assert!(client.session_generation() > 1, "no session was ever lost");
}

/// Xorshift: the run has to be repeatable, nothing more.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }
}

#[tokio::test]
async fn a_wrong_path_is_an_error_and_not_a_loop() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let root = client.content().root_folder.cast();
    let mut updates = client.updates::<Vm>(&root, &["nonsense"]);
    let refused = updates.next().await.unwrap_err();
    assert!(refused.fault::<vim_api::types::InvalidProperty>().is_some(), "{refused}");
}

#[tokio::test]
async fn the_tree_follows() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let mut inventory = client.inventory();
    while !inventory.is_in_sync() {
        inventory.next().await.unwrap();
    }
    let vm = sim.vm("vm-1").unwrap();
    let entity = vm.moref().cast();
    let index: mo::SearchIndex = client.bind(client.content().search_index.as_ref().unwrap());
    let path = inventory.path(&entity).unwrap();
    let found = index.find_by_inventory_path(&path).await.unwrap().unwrap();
    assert_eq!(found, entity, "{path}");
    assert_eq!(inventory.path(inventory.root()).unwrap(), "/");

    vm.rename("moved").unwrap();
    inventory.next().await.unwrap();
    assert_eq!(inventory.path(&entity).unwrap(), path.replace("vm-1", "moved"));
    let folder = inventory.get(&entity).unwrap().parent.clone().unwrap();
    let names: Vec<_> = inventory.children(&folder).map(|c| inventory.get(c).unwrap().name.clone()).collect();
    assert_eq!(names, ["moved", "vm-2"]);
    let count = inventory.len();
    drop(vm.unregister().unwrap());
    inventory.next().await.unwrap();
    assert!(inventory.get(&entity).is_none() && inventory.path(&entity).is_none());
    assert_eq!(inventory.len(), count - 1);
    assert_eq!(inventory.children(&folder).count(), 1);
}
