//! A machine's life by chance, on a real simulator, told to the oracle step by step.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use secrecy::SecretString;
use sim_store::guest::expected_sector;
use sim_store::guest::writer::{self, Counter, Work, Workload};
use vim_api::dynamic::{Poly, Value, get_path};
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};
use vsphere_sim::{AllAreas, DatastoreSpec, DiskSpec, Sim, TrackingRules, VmSpec};

use crate::oracle::{DiskState, Known, Oracle, Told, differing};

const KEYS: [i32; 2] = [2000, 2001];
/// In bytes: the last grain is short, and so is the last sector's page.
const CAPACITIES: [usize; 2] = [(1 << 20) + 1536, 640 << 10];
const GRAIN: usize = 64 << 10;
/// Few, so that windows are cut.
const AREAS_IN_ANSWER: usize = 2;
const MOST_SNAPSHOTS: usize = 4;
/// Change ids that are remembered of each disk.
const MOST_KNOWN: usize = 6;

pub struct Life {
    chance: Chance,
    seed: u64,
    folder: tempfile::TempDir,
    sim: Option<Sim>,
    client: Client,
    oracle: Oracle,
    power_loss_renews: bool,
    all_areas: Option<AllAreas>,
    nfs: bool,
    /// What the guest does when it is asked for a tick.
    workload: Option<Workload>,
    /// Links that nobody owns may be left.
    littered: bool,
    log: Vec<String>,
}

impl Life {
    pub async fn begin(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let folder = tempfile::tempdir().unwrap();
        let nfs = chance.one_in(4);
        // Never in every case of a run.
        let all_areas = (seed % 6 == 5).then_some(AllAreas::Refused);
        let power_loss_renews = chance.one_in(2);
        let sim = start(folder.path(), nfs, all_areas, power_loss_renews).await;
        let client = log_in(&sim).await;
        let mut life = Self {
            oracle: Oracle::begin(&CAPACITIES),
            power_loss_renews,
            all_areas,
            nfs,
            workload: None,
            littered: false,
            log: Vec::new(),
            sim: Some(sim),
            chance,
            seed,
            folder,
            client,
        };
        if life.chance.one_in(2) {
            life.workload = Some(Workload { seed, bytes: 64 << 10, ..Workload::default() });
            life.start_writer();
        }
        life
    }

    /// Does one thing.
    pub async fn step(&mut self) {
        let (on, some) = (self.sim().vm("vm").unwrap().is_powered_on(), !self.oracle.snapshots.is_empty());
        match self.chance.below(20) {
            0..=5 if on => {
                for _ in 0..=self.chance.below(4) {
                    self.write();
                }
            }
            6..=8 if on && self.workload.is_some() => self.tick(),
            9..=11 if self.oracle.snapshots.len() < MOST_SNAPSHOTS => self.take(on).await,
            12 | 13 if some => self.remove().await,
            14 if some => self.revert().await,
            15 if !some => self.grow().await,
            16 => self.switch_tracking().await,
            17 => self.power(on).await,
            18 => self.restart().await,
            19 => self.consolidate().await,
            _ if !on => self.power(on).await,
            _ => self.write(),
        }
    }

    /// Asks for everything that can be asked for.
    pub async fn check(&mut self, told: &mut Told) {
        let vm = self.vm();
        let snapshots = self.oracle.snapshots.clone();
        told.snapshots += snapshots.len() as u64;
        for snapshot in &snapshots {
            let reference = MoRef::new(snapshot.id.as_str());
            for (disk, state) in snapshot.disks.iter().enumerate() {
                self.check_content(disk, Some(&snapshot.id), state);
                self.check_areas(&vm, Some(&reference), disk, state, told).await;
            }
        }
        let off = !self.sim().vm("vm").unwrap().is_powered_on();
        for (disk, state) in self.oracle.live.clone().iter().enumerate() {
            self.check_content(disk, None, state);
            if off {
                self.check_areas(&vm, None, disk, state, told).await;
            }
        }
    }

    /// With the last snapshot gone, no link but the bases is left.
    pub async fn end(&mut self, told: &mut Told) {
        self.vm().remove_all_snapshots_task(Some(true), None).await.unwrap().wait().await.unwrap();
        self.oracle.snapshots.clear();
        self.oracle.current = None;
        self.oracle.stunned();
        self.consolidate().await;
        self.check(told).await;
        let folder = self.folder.path().join("datastores/datastore1/vm");
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let litter: Vec<_> = names.filter(|name| name.to_str().unwrap().contains("-0000")).collect();
        assert!(litter.is_empty(), "{}: {litter:?}", self.story());
    }

    fn write(&mut self) {
        let disk = self.disk();
        let capacity = self.oracle.live[disk].content.len();
        let kind = self.chance.below(7);
        let (offset, length) = match kind {
            0 => (self.chance.below(capacity), 1 + self.chance.below(5000)),
            1 => (self.chance.below(capacity), 1 + self.chance.below(200_000)),
            2 | 6 => {
                // At an edge of a grain or the disk's end, to the byte: up to it, over it, or just before and behind.
                let edge = (GRAIN * (1 + self.chance.below(capacity / GRAIN + 1))).min(capacity);
                let before = [0, 1, 511, self.chance.below(3000)][self.chance.below(4)];
                let length = [1, before + 1, before + 2, 2 + self.chance.below(6000)][self.chance.below(4)];
                (edge - 1 - before, length)
            }
            _ => (self.chance.below(capacity) / 4096 * 4096, 4096 * (1 + self.chance.below(40))),
        };
        // The guest that works by itself has its notes there.
        let offset = offset.max(1024);
        let length = length.min(capacity - offset);
        let bytes = match kind {
            3 | 4 => vec![0; length],
            5 => self.oracle.live[disk].content[offset..offset + length].to_vec(),
            _ => self.chance.bytes(length),
        };
        self.log.push(format!("write {kind} to disk {disk}: {length} at {offset}"));
        let vm = self.sim().vm("vm").unwrap();
        let written = vm.with_live_disk(KEYS[disk], |live| match kind {
            // What is discarded reads as zeros.
            3 => live.zero_at(offset as u64, length as u64),
            _ => live.write_at(offset as u64, &bytes),
        });
        written.unwrap().unwrap();
        self.oracle.write(disk, offset, &bytes);
    }

    /// The guest works by itself for some ticks; the oracle does the same with what anybody can compute.
    fn tick(&mut self) {
        let workload = self.workload.clone().unwrap();
        let before = self.counters();
        let ticks = 1 + self.chance.below(3);
        self.log.push(format!("{ticks} ticks"));
        self.ask("POST", "/v1/guest-writers/step", &format!(r#"{{"vm": "vm", "ticks": {ticks}}}"#));
        let after = self.counters();
        for disk in 0..KEYS.len() {
            let (uuid, now) = (self.open(disk, None).uuid().unwrap(), after[disk].expect("it has worked"));
            let first = before[disk].map_or(now.first, |before| before.tick + 1);
            assert_eq!(now.tick, first + ticks as u64 - 1, "{}", self.story());
            for tick in first..=now.tick {
                for (work, area) in workload.operations(uuid, now.span, tick) {
                    for lba in area.offset / 512..(area.offset + area.length) / 512 {
                        let sector = match work {
                            Work::Write => expected_sector(workload.seed, uuid, lba, tick),
                            Work::Zero | Work::Discard => [0; 512],
                            Work::Rewrite => {
                                self.oracle.touch(disk, lba as usize * 512, 512);
                                continue;
                            }
                        };
                        self.oracle.write(disk, lba as usize * 512, &sector);
                    }
                }
            }
            self.adopt_notes(disk, None);
        }
    }

    async fn take(&mut self, on: bool) {
        let quiesce = self.chance.one_in(3);
        let task = self.vm().create_snapshot_task("model", None, false, quiesce).await.unwrap();
        let snapshot = task.wait().await.unwrap();
        self.log.push(format!("snapshot {snapshot}, quiesced: {quiesce}, on: {on}"));
        if quiesce && on && self.workload.is_some() {
            for disk in 0..KEYS.len() {
                let opened = self.open(disk, Some(snapshot.value()));
                let tick = writer::counter(&opened).unwrap().map_or(0, |counter| counter.tick);
                assert_eq!(writer::marker(&opened).unwrap(), Some(tick), "{}", self.story());
                self.adopt_notes(disk, Some(snapshot.value()));
            }
        }
        self.oracle.snapshot(snapshot.value());
        let config = self.client.bind(&snapshot).require(mo::VirtualMachineSnapshot::CONFIG).await.unwrap();
        let states = self.oracle.snapshots.last().unwrap().disks.clone();
        for (disk, state) in states.into_iter().enumerate() {
            let path = format!("hardware.device[{}].backing.changeId", KEYS[disk]);
            let id = match get_path(&config, &path).unwrap() {
                Some(Value::String(id)) => Some(id),
                _ => None,
            };
            assert_eq!(id.is_some(), state.tracked.is_some(), "{}", self.story());
            if let (Some(id), Some(moment)) = (id, state.tracked) {
                self.oracle.known.push(Known { disk, id, moment, content: state.content });
                let mine = self.oracle.known.iter().filter(|known| known.disk == disk).count();
                if mine > MOST_KNOWN {
                    let oldest = self.oracle.known.iter().position(|known| known.disk == disk).unwrap();
                    self.oracle.known.remove(oldest);
                }
            }
        }
    }

    async fn remove(&mut self) {
        let id = self.some_snapshot();
        let (children, merge) = (self.chance.one_in(4), !self.chance.one_in(3));
        self.log.push(format!("remove {id}, with children: {children}, merged: {merge}"));
        let snapshot = self.client.bind(&MoRef::<mo::VirtualMachineSnapshot>::new(id.as_str()));
        snapshot.remove_snapshot_task(children, Some(merge)).await.unwrap().wait().await.unwrap();
        self.littered |= !merge;
        self.oracle.remove(&id, children);
    }

    async fn revert(&mut self) {
        let id = self.some_snapshot();
        self.log.push(format!("revert to {id}"));
        let snapshot = self.client.bind(&MoRef::<mo::VirtualMachineSnapshot>::new(id.as_str()));
        snapshot.revert_to_snapshot_task(None, None).await.unwrap().wait().await.unwrap();
        self.oracle.revert(&id);
    }

    async fn grow(&mut self) {
        if self.littered {
            // Links that are left keep a disk from growing.
            self.consolidate().await;
        }
        let disk = self.disk();
        let capacity = self.oracle.live[disk].content.len() + 512 * (1 + self.chance.below(400));
        self.log.push(format!("grow disk {disk} to {capacity}"));
        let config = self.vm().require(mo::VirtualMachine::CONFIG).await.unwrap();
        let mut device =
            config.hardware.device.iter().find(|device| device.key == KEYS[disk]).unwrap().clone();
        device.downcast_mut::<t::VirtualDisk>().unwrap().capacity_in_bytes = Some(capacity as i64);
        let change = t::VirtualDeviceConfigSpec {
            operation: Some(t::VirtualDeviceConfigSpecOperation::Edit),
            device,
            ..Default::default()
        };
        let spec =
            t::VirtualMachineConfigSpec { device_change: vec![Poly::new(change)], ..Default::default() };
        self.vm().reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
        self.oracle.grow(disk, capacity);
    }

    async fn switch_tracking(&mut self) {
        self.oracle.wanted = !self.oracle.wanted;
        self.log.push(format!("tracking: {}", self.oracle.wanted));
        let wanted = Some(self.oracle.wanted);
        let spec = t::VirtualMachineConfigSpec { change_tracking_enabled: wanted, ..Default::default() };
        self.vm().reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
    }

    async fn power(&mut self, on: bool) {
        let vm = self.vm();
        match (on, self.chance.below(3)) {
            (false, _) => {
                self.log.push("power on".to_owned());
                vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
                self.oracle.stunned();
            }
            (true, 0) => {
                self.log.push("shut down".to_owned());
                vm.shutdown_guest().await.unwrap();
                while self.sim().vm("vm").unwrap().is_powered_on() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            (true, 1) => {
                self.log.push("suspend and on".to_owned());
                vm.suspend_vm_task().await.unwrap().wait().await.unwrap();
                vm.power_on_vm_task(None).await.unwrap().wait().await.unwrap();
                self.oracle.stunned();
            }
            (true, _) => {
                self.log.push("power off".to_owned());
                vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
                if self.power_loss_renews {
                    (0..KEYS.len()).for_each(|disk| self.oracle.renew(disk));
                }
            }
        }
    }

    async fn restart(&mut self) {
        self.log.push("restart".to_owned());
        drop(self.sim.take());
        let sim = start(self.folder.path(), self.nfs, self.all_areas, self.power_loss_renews).await;
        self.client = log_in(&sim).await;
        self.sim = Some(sim);
        if self.workload.is_some() {
            self.start_writer();
        }
    }

    async fn consolidate(&mut self) {
        self.log.push("consolidate".to_owned());
        self.vm().consolidate_vm_disks_task().await.unwrap().wait().await.unwrap();
        self.littered = false;
        self.oracle.stunned();
    }

    fn check_content(&self, disk: usize, snapshot: Option<&str>, state: &DiskState) {
        let opened = self.open(disk, snapshot);
        let mut found = vec![0; state.content.len()];
        assert_eq!(opened.capacity(), found.len() as u64, "{}", self.story());
        opened.read_at(0, &mut found).unwrap();
        let differs = differing(&state.content, &found);
        assert!(differs.is_empty(), "{}: disk {disk} at {snapshot:?}: {differs:?}", self.story());
    }

    async fn check_areas(
        &mut self,
        vm: &mo::VirtualMachine,
        snapshot: Option<&MoRef<mo::VirtualMachineSnapshot>>,
        disk: usize,
        state: &DiskState,
        told: &mut Told,
    ) {
        let known: Vec<_> = self.oracle.known.iter().filter(|known| known.disk == disk).cloned().collect();
        for known in known {
            let areas = self.areas(vm, snapshot, disk, &known.id, state.content.len()).await;
            match (areas, Oracle::answers(&known, state)) {
                (Some(areas), true) => {
                    told.answered += 1;
                    let differs = differing(&known.content, &state.content);
                    let touched = Oracle::touched_since(known.moment, state);
                    for answer in areas {
                        assert!(answer.covers(&differs), "{}: {answer:?} for {differs:?}", self.story());
                        let more = answer.beyond(&touched);
                        assert!(
                            more.is_none(),
                            "{}: {more:?} in {answer:?} since {}",
                            self.story(),
                            known.id
                        );
                    }
                }
                (None, false) => told.refused += 1,
                (areas, wanted) => panic!(
                    "{}: disk {disk} at {snapshot:?} since {} {:?}, to be answered {wanted}: {areas:?}",
                    self.story(),
                    known.id,
                    known.moment
                ),
            }
        }
        let refused = state.tracked.is_none() || self.all_areas == Some(AllAreas::Refused);
        match self.areas(vm, snapshot, disk, "*", state.content.len()).await {
            Some(areas) if !refused => {
                told.all += 1;
                let whole = vec![(0, state.content.len())];
                let wanted = match self.nfs {
                    true => whole,
                    false => differing(&vec![0; state.content.len()], &state.content),
                };
                for answer in areas {
                    assert!(answer.covers(&wanted), "{}: * is {answer:?} for {wanted:?}", self.story());
                    let more = answer.beyond(&state.used).filter(|_| !self.nfs);
                    assert!(more.is_none(), "{}: {more:?} in {answer:?} was never written", self.story());
                }
            }
            None if refused => told.refused += 1,
            areas => panic!("{}: * refused {refused}: {areas:?}", self.story()),
        }
    }

    /// All areas, window by window, from one or two beginnings; nothing for a refusal, which has to be a `FileFault`.
    async fn areas(
        &mut self,
        vm: &mo::VirtualMachine,
        snapshot: Option<&MoRef<mo::VirtualMachineSnapshot>>,
        disk: usize,
        id: &str,
        capacity: usize,
    ) -> Option<Vec<Answer>> {
        // Anywhere, so that a window that begins within a grain is seen too.
        let first = if self.chance.one_in(2) { 0 } else { self.chance.below(capacity) };
        // A window from the middle on does not tell of what is before it: that is asked for from the beginning too.
        let rounds = if first > 0 { vec![first, 0] } else { vec![0] };
        let mut told = Vec::new();
        for begin in rounds {
            let (mut areas, begin) = (Vec::new(), begin as i64);
            let mut at = begin;
            while at < capacity as i64 {
                let window = match vm.query_changed_disk_areas(snapshot, KEYS[disk], at, id).await {
                    Ok(window) => window,
                    Err(error) => {
                        assert!(error.fault::<t::FileFault>().is_some(), "{}: {error}", self.story());
                        return None;
                    }
                };
                assert_eq!(window.start_offset, at, "{}", self.story());
                assert!(
                    window.length > 0 && window.changed_area.len() <= AREAS_IN_ANSWER,
                    "{}",
                    self.story()
                );
                let mut last = at;
                for area in &window.changed_area {
                    let end = area.start + area.length;
                    let fits = area.start >= last && area.length > 0 && end <= at + window.length;
                    assert!(fits, "{}: {area:?} in {at} + {}", self.story(), window.length);
                    last = end;
                    areas.push((area.start as usize, end as usize));
                }
                at += window.length;
            }
            assert_eq!(at, capacity as i64, "windows sum to the capacity: {}", self.story());
            told.push(Answer { begin: begin as usize, areas });
        }
        Some(told)
    }

    /// What the guest that works by itself notes for itself is not the oracle's to know before.
    fn adopt_notes(&mut self, disk: usize, snapshot: Option<&str>) {
        let mut notes = [0; 1024];
        self.open(disk, snapshot).read_at(0, &mut notes).unwrap();
        self.oracle.write(disk, 0, &notes);
    }

    fn counters(&self) -> Vec<Option<Counter>> {
        (0..KEYS.len()).map(|disk| writer::counter(&self.open(disk, None)).unwrap()).collect()
    }

    fn open(&self, disk: usize, snapshot: Option<&str>) -> sim_store::Disk {
        self.sim().vm("vm").unwrap().open_disk(KEYS[disk], snapshot).unwrap()
    }

    fn start_writer(&self) {
        let bytes = self.workload.as_ref().unwrap().bytes;
        let body = format!(r#"{{"vm": "vm", "seed": {}, "bytes": {bytes}}}"#, self.seed);
        self.ask("POST", "/v1/guest-writers", &body);
    }

    fn ask(&self, method: &str, path: &str, body: &str) {
        let url = self.sim().control_url().unwrap();
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{}: {answer}", self.story());
    }

    fn vm(&self) -> mo::VirtualMachine {
        self.client.bind(&self.sim().vm("vm").unwrap().moref())
    }

    fn sim(&self) -> &Sim {
        self.sim.as_ref().unwrap()
    }

    fn disk(&mut self) -> usize {
        self.chance.below(KEYS.len())
    }

    fn some_snapshot(&mut self) -> String {
        let at = self.chance.below(self.oracle.snapshots.len());
        self.oracle.snapshots[at].id.clone()
    }

    fn story(&self) -> String {
        format!("seed {}: {}", self.seed, self.log.join("; "))
    }
}

/// What is told from a byte on.
#[derive(Debug)]
struct Answer {
    begin: usize,
    areas: Vec<(usize, usize)>,
}

impl Answer {
    /// Whether all of `wanted` that is behind the beginning is in the areas.
    fn covers(&self, wanted: &[(usize, usize)]) -> bool {
        // Areas that touch are one.
        let mut joined: Vec<(usize, usize)> = Vec::new();
        for (start, end) in &self.areas {
            match joined.last_mut() {
                Some((_, last)) if last == start => *last = *end,
                _ => joined.push((*start, *end)),
            }
        }
        let mut behind = wanted.iter().filter(|(_, to)| *to > self.begin);
        behind.all(|(from, to)| {
            joined.iter().any(|(start, end)| *start <= (*from).max(self.begin) && to <= end)
        })
    }

    /// The first grain in the areas of which nothing was written.
    fn beyond(&self, written: &[(usize, usize)]) -> Option<usize> {
        let mut grains = self.areas.iter().flat_map(|(start, end)| start / GRAIN..end.div_ceil(GRAIN));
        grains.find(|grain| {
            let (from, to) = (grain * GRAIN, (grain + 1) * GRAIN);
            !written.iter().any(|(start, end)| *start < to && from < *end)
        })
    }
}

async fn start(folder: &std::path::Path, nfs: bool, all: Option<AllAreas>, power_loss_renews: bool) -> Sim {
    let mut store = DatastoreSpec::new("datastore1");
    if nfs {
        store = store.nfs();
    }
    store.all_areas = all;
    let disks = CAPACITIES.iter().map(|capacity| DiskSpec::empty(*capacity as u64));
    Sim::builder()
        .data_dir(folder)
        .datastore(store)
        .tracking(TrackingRules {
            renewed_by_power_loss: power_loss_renews,
            areas_in_answer: AREAS_IN_ANSWER,
            ..Default::default()
        })
        .control("127.0.0.1:0".parse().unwrap())
        .user("model", SecretString::from("of changes"))
        .task_duration(Duration::from_millis(1))
        .vm(disks.fold(VmSpec::new("vm").cbt(), VmSpec::disk))
        .start()
        .await
        .unwrap()
}

async fn log_in(sim: &Sim) -> Client {
    let client =
        Client::connect(&sim.url()).thumbprint(sim.thumbprint_sha256().parse().unwrap()).await.unwrap();
    client.login(sim.user(), sim.password()).await.unwrap();
    client
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}
