//! What the program shows after a start, against the model.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use vim_api::mo::Managed as _;
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::model::{Disks, Machine, Model, Snapshot};
use crate::operations::Operation;
use crate::program::Program;

#[derive(Debug)]
pub(crate) struct SeenMachine {
    machine: Machine,
    /// Host paths of the top links of live disks and snapshots.
    links: Vec<PathBuf>,
    /// Managed object ids of snapshots, by name.
    snapshots: BTreeMap<String, MoRef<mo::VirtualMachineSnapshot>>,
}

#[derive(Debug)]
pub(crate) struct Seen {
    machines: BTreeMap<String, SeenMachine>,
    /// Disks that no machine may have, by datastore path.
    disks: BTreeMap<String, Vec<u8>>,
    /// Files that were uploaded, by datastore path.
    uploads: BTreeMap<String, Vec<u8>>,
}

pub(crate) async fn look(program: &Program) -> Seen {
    let client = &program.client;
    let found =
        client.list::<mo::VirtualMachine>(&client.content().root_folder.cast(), &["name"]).await.unwrap();
    let mut machines = BTreeMap::new();
    for object in found.into_iter().map(|found| found.object().cast::<mo::VirtualMachine>()) {
        let vm: mo::VirtualMachine = client.bind(&object);
        let config = vm.require(mo::VirtualMachine::CONFIG).await.unwrap();
        let runtime = vm.require(mo::VirtualMachine::RUNTIME).await.unwrap();
        let mut links = Vec::new();
        let mut machine = Machine {
            disks: contents(program, &config, &mut links),
            vmx: config.files.vm_path_name.clone().unwrap(),
            moref: object.value().to_owned(),
            consolidation: runtime.consolidation_needed == Some(true),
            ..Machine::default()
        };
        for (key, backing, _) in disks_of(&config) {
            let digits = backing.uuid.as_ref().unwrap().replace('-', "");
            let uuid = u128::from_str_radix(&digits, 16).unwrap().to_be_bytes();
            machine.uuids.insert(key, sim_store::DiskUuid(uuid));
        }
        let tree = vm.get(mo::VirtualMachine::SNAPSHOT).await.unwrap();
        let mut snapshots = BTreeMap::new();
        let mut trees: Vec<(Option<String>, t::VirtualMachineSnapshotTree)> = Vec::new();
        let current = tree.as_ref().and_then(|tree| tree.current_snapshot.clone());
        trees.extend(tree.into_iter().flat_map(|tree| tree.root_snapshot_list).map(|root| (None, root)));
        while let Some((parent, at)) = trees.pop() {
            let snapshot: mo::VirtualMachineSnapshot = client.bind(&at.snapshot);
            let config = snapshot.require(mo::VirtualMachineSnapshot::CONFIG).await.unwrap();
            let disks = contents(program, &config, &mut links);
            assert!(machine.snapshots.insert(at.name.clone(), Snapshot { parent, disks }).is_none());
            if current.as_ref() == Some(&at.snapshot) {
                machine.current = Some(at.name.clone());
            }
            snapshots.insert(at.name.clone(), at.snapshot.clone());
            trees.extend(at.child_snapshot_list.into_iter().map(|child| (Some(at.name.clone()), child)));
        }
        // What the server says itself, of one disk.
        if let Some((key, content)) = machine.disks.first_key_value() {
            let asked = format!("/v1/disk-extents?vm={}&disk={key}", object.value());
            let said = program.control("GET", asked, String::new()).await.unwrap();
            let digest: String = vmdk_digest(content);
            assert!(said.contains(&digest), "{said}");
        }
        machines.insert(config.name.clone(), SeenMachine { machine, links, snapshots });
    }
    let root = program.host("[datastore1] x").parent().unwrap().to_owned();
    let (mut disks, mut uploads) = (BTreeMap::new(), BTreeMap::new());
    for entry in fs::read_dir(root).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let is_disk = name.starts_with("disks-") && name.ends_with(".vmdk") && !name.ends_with("-flat.vmdk");
        if is_disk {
            let path = format!("[datastore1] {name}");
            disks.insert(path.clone(), read(&program.host(&path)));
        }
        if name.starts_with("upload-") {
            let path = format!("[datastore1] {name}");
            uploads.insert(path.clone(), fs::read(program.host(&path)).unwrap());
        }
    }
    Seen { machines, disks, uploads }
}

fn vmdk_digest(content: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content).as_ref() {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

fn disks_of(config: &t::VirtualMachineConfigInfo) -> Vec<(i32, &t::VirtualDiskFlatVer2BackingInfo, u64)> {
    let disks = config.hardware.device.iter().filter_map(|device| device.downcast_ref::<t::VirtualDisk>());
    let disk = |disk: &'_ t::VirtualDisk| disk.capacity_in_bytes.unwrap() as u64;
    disks
        .map(|found| {
            let backing = found.base.backing.as_ref().unwrap().downcast_ref().unwrap();
            (found.base.key, backing, disk(found))
        })
        .collect()
}

fn contents(program: &Program, config: &t::VirtualMachineConfigInfo, links: &mut Vec<PathBuf>) -> Disks {
    let mut disks = Disks::new();
    for (key, backing, capacity) in disks_of(config) {
        let host = program.host(&backing.base.file_name);
        let content = read(&host);
        assert_eq!(content.len() as u64, capacity, "capacity of {}", host.display());
        disks.insert(key, content);
        links.push(host);
    }
    disks
}

/// The files of a server, for a reader that begins beside one of them: `/vmfs/volumes` is where a host has it.
struct Host(PathBuf);

impl Host {
    fn local(&self) -> std::io::Result<vmdk::LocalFolder> {
        Ok(vmdk::LocalFolder::new(&self.0)?.danger_follow_outside())
    }

    fn refused<T>() -> std::io::Result<T> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// Where a name of a descriptor beside `beside` leads. Names below a parent that was named so have lost their slash.
fn named(beside: &Path, name: &str) -> PathBuf {
    match name.trim_start_matches('/').strip_prefix("vmfs/volumes/") {
        Some(rest) => beside
            .ancestors()
            .map(|folder| folder.join(".volumes").join(rest))
            .find(|path| path.exists())
            .unwrap_or_else(|| panic!("{name} is nowhere above {}", beside.display())),
        None => beside.join(name),
    }
}

impl vmdk::Folder for Host {
    fn open(&self, name: &str) -> std::io::Result<Arc<dyn vmdk::ReadAt>> {
        self.local()?.open(named(&self.0, name).to_str().unwrap())
    }

    fn open_writable(&self, _: &str) -> std::io::Result<Arc<dyn vmdk::WriteAt>> {
        Self::refused()
    }

    fn create(&self, _: &str) -> std::io::Result<Arc<dyn vmdk::WriteAt>> {
        Self::refused()
    }

    fn replace(&self, _: &str, _: &[u8]) -> std::io::Result<()> {
        Self::refused()
    }

    fn remove(&self, _: &str) -> std::io::Result<()> {
        Self::refused()
    }
}

fn read(path: &Path) -> Vec<u8> {
    let folder: Arc<dyn vmdk::Folder> = Arc::new(Host(path.parent().unwrap().to_owned()));
    let name = path.file_name().unwrap().to_str().unwrap();
    let opened = vmdk::OpenOptions::new().follow_outside(true).open(&folder, name);
    let disk = opened.unwrap_or_else(|error| panic!("{}: {error:?}", path.display()));
    let mut content = vec![0; disk.capacity() as usize];
    disk.read_exact_at(&mut content, 0).unwrap();
    let mut links = BTreeSet::new();
    chain(path, &mut links);
    // It knows no volumes of a host.
    let in_one_folder = links.iter().all(|link| link.parent() == path.parent());
    if std::env::var_os("SIM_KILLS_QEMU").is_some() && in_one_folder {
        let raw = tempfile::NamedTempFile::new().unwrap();
        let mut qemu = Command::new("qemu-img");
        let output = qemu.args(["convert", "-O", "raw"]).arg(path).arg(raw.path()).output();
        let output = output.expect("SIM_KILLS_QEMU needs qemu-img");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(fs::read(raw.path()).unwrap() == content, "qemu-img reads {} otherwise", path.display());
    }
    content
}

/// Which of two models is the one that the program shows. `before` and `other` differ by what was in flight.
pub(crate) fn settle(before: Model, other: Model, seen: &Seen, flying: Option<&Operation>) -> Model {
    let mut candidates = vec![other, before.clone()];
    if let Some(Operation::Write { vm, key, .. }) = flying
        && let (Some(now), Some(new)) = (seen.machines.get(vm), candidates[0].machines.get(vm))
    {
        // Each byte is the old or the new one.
        let mut mixed = before.clone();
        let old = mixed.machines.get_mut(vm).unwrap().disks.get_mut(key).unwrap();
        let found = &now.machine.disks[key];
        for ((old, new), found) in old.iter_mut().zip(&new.disks[key]).zip(found) {
            if *found == *new {
                *old = *new;
            }
        }
        candidates.push(mixed);
    }
    let mut why = Vec::new();
    for mut candidate in candidates {
        match difference(&candidate, seen) {
            None => {
                for (name, machine) in &mut candidate.machines {
                    let seen = &seen.machines[name].machine;
                    machine.moref.clone_from(&seen.moref);
                    machine.vmx.clone_from(&seen.vmx);
                    machine.uuids.clone_from(&seen.uuids);
                    machine.consolidation = seen.consolidation;
                }
                return candidate;
            }
            Some(text) => why.push(text),
        }
    }
    panic!("what is there is neither what was before {flying:?} nor what is after: {why:#?}");
}

fn difference(model: &Model, seen: &Seen) -> Option<String> {
    let names = |machines: Vec<&String>| machines.into_iter().cloned().collect::<BTreeSet<_>>();
    let (wanted, found) = (names(model.machines.keys().collect()), names(seen.machines.keys().collect()));
    if wanted != found {
        return Some(format!("machines {found:?} instead of {wanted:?}"));
    }
    for (name, machine) in &model.machines {
        let found = &seen.machines[name].machine;
        let same_place = machine.vmx.is_empty() || machine.vmx == found.vmx;
        let same_id = machine.moref.is_empty() || machine.moref == found.moref;
        if !same_place || !same_id {
            return Some(format!(
                "{name} is {} at {}, not {} at {}",
                found.moref, found.vmx, machine.moref, machine.vmx
            ));
        }
        if !same(&machine.disks, &found.disks) {
            return Some(format!("the disks of {name}: {}", first(&machine.disks, &found.disks)));
        }
        if machine.current != found.current {
            return Some(format!("{name}: current {:?} instead of {:?}", found.current, machine.current));
        }
        let (wanted, found) = (&machine.snapshots, &found.snapshots);
        if wanted.len() != found.len() {
            return Some(format!("{name} has {} snapshots instead of {}", found.len(), wanted.len()));
        }
        for (snapshot, wanted) in wanted {
            match found.get(snapshot) {
                Some(found) if found.parent == wanted.parent && same(&found.disks, &wanted.disks) => {}
                Some(found) => {
                    let first = first(&wanted.disks, &found.disks);
                    return Some(format!("snapshot {snapshot} of {name}: {first}, below {:?}", found.parent));
                }
                None => return Some(format!("{name} has no snapshot {snapshot}")),
            }
        }
    }
    let paths = |disks: &BTreeMap<String, Vec<u8>>| disks.keys().cloned().collect::<Vec<_>>();
    if paths(&model.disks) != paths(&seen.disks) {
        return Some(format!("disks {:?} instead of {:?}", paths(&seen.disks), paths(&model.disks)));
    }
    let uploads = |path: &&String| path.starts_with("[datastore1] upload-");
    let wanted: BTreeMap<&String, &Vec<u8>> = model.files.iter().filter(|(path, _)| uploads(path)).collect();
    if wanted != seen.uploads.iter().collect() {
        let lengths = |all: BTreeMap<&String, &Vec<u8>>| {
            all.into_iter().map(|(path, bytes)| (path.clone(), bytes.len())).collect::<Vec<_>>()
        };
        let found = seen.uploads.iter().collect();
        return Some(format!("uploads {:?} instead of {:?}", lengths(found), lengths(wanted)));
    }
    let wrong = model.disks.iter().find(|(path, content)| seen.disks[*path] != **content);
    wrong.map(|(path, _)| format!("the content of {path}"))
}

fn same(wanted: &Disks, found: &Disks) -> bool {
    wanted == found
}

fn first(wanted: &Disks, found: &Disks) -> String {
    for (key, content) in wanted {
        let Some(other) = found.get(key) else { return format!("{key} is not there") };
        if content.len() != other.len() {
            return format!("{key} has {} bytes instead of {}", other.len(), content.len());
        }
        if let Some(at) = content.iter().zip(other).position(|(a, b)| a != b) {
            return format!("{key} differs at {at}");
        }
    }
    format!("{:?} instead of {:?}", found.keys(), wanted.keys())
}

/// Learns the change ids of new snapshots, and leaves a file of a user's beside each new machine.
pub(crate) async fn learn_ids(program: &Program, model: &mut Model, seen: &Seen) {
    for (name, machine) in &mut model.machines {
        let notes = format!("{}/notes-{}.txt", machine.vmx.rsplit_once('/').unwrap().0, machine.moref);
        if let Entry::Vacant(unknown) = model.files.entry(notes) {
            fs::write(program.host(unknown.key()), name).unwrap();
            unknown.insert(name.clone().into_bytes());
        }
        for (snapshot, object) in &seen.machines[name].snapshots {
            if machine.looked_up.contains(snapshot) || machine.current.as_ref() != Some(snapshot) {
                continue;
            }
            machine.looked_up.push(snapshot.clone());
            let object: mo::VirtualMachineSnapshot = program.client.bind(object);
            let config = object.require(mo::VirtualMachineSnapshot::CONFIG).await.unwrap();
            for (key, backing, _) in disks_of(&config) {
                if let Some(id) = &backing.change_id {
                    machine.ids.push((key, id.clone(), machine.snapshots[snapshot].disks[&key].clone()));
                }
            }
        }
    }
}

/// Ids that were given out are valid still, and what has changed since is covered by what is reported.
pub(crate) async fn tracking(program: &Program, model: &Model) {
    for (name, machine) in &model.machines {
        let vm: mo::VirtualMachine = program.client.bind(&MoRef::new(machine.moref.as_str()));
        for (key, id, then) in &machine.ids {
            let changes = vm.query_changed_disk_areas(None, *key, 0, id).await;
            let changes = changes.unwrap_or_else(|error| panic!("{name} {key} {id}: {error}"));
            let now = &machine.disks[key];
            assert_eq!((changes.start_offset, changes.length), (0, now.len() as i64));
            let mut same = vec![true; now.len()];
            for area in &changes.changed_area {
                same[area.start as usize..][..area.length as usize].fill(false);
            }
            let missed = (0..now.len()).find(|at| same[*at] && then[*at] != now[*at]);
            assert_eq!(missed, None, "{name}: a change since {id} is not reported");
        }
    }
}

/// No files are there that nobody knows, and those of users are.
pub(crate) fn files(program: &Program, model: &Model, seen: &Seen) {
    let mut known: BTreeSet<PathBuf> = BTreeSet::new();
    for (path, content) in &model.files {
        let host = program.host(path);
        assert_eq!(fs::read(&host).unwrap(), *content, "{path}");
        known.insert(host);
    }
    for path in model.disks.keys() {
        chain(&program.host(path), &mut known);
    }
    for (name, found) in &seen.machines {
        let vmx = program.host(&found.machine.vmx);
        known.extend(["vmx", "vmxf", "vmsd", "nvram"].map(|suffix| vmx.with_extension(suffix)));
        let text = fs::read_to_string(&vmx).unwrap();
        assert!(text.contains(name.as_str()), "{}: {text}", vmx.display());
        for link in &found.links {
            chain(link, &mut known);
        }
        let stem = vmx.file_stem().unwrap().to_string_lossy().into_owned();
        let states: Vec<PathBuf> = (1..1000)
            .map(|number| vmx.with_file_name(format!("{stem}-Snapshot{number}.vmsn")))
            .filter(|path| path.exists())
            .collect();
        assert_eq!(states.len(), found.snapshots.len(), "{name}: {states:?}");
        known.extend(states);
    }
    let at_rest: Vec<PathBuf> =
        model.unregistered.keys().map(|vmx| program.host(vmx).parent().unwrap().to_owned()).collect();
    let root = program.host("[datastore1] x").parent().unwrap().parent().unwrap().to_owned();
    let mut folders = vec![root.join("datastore1"), root.join("datastore2")];
    while let Some(folder) = folders.pop() {
        let entries: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        for path in entries {
            if at_rest.contains(&path) {
                continue;
            }
            if path.is_dir() {
                assert!(known.iter().any(|known| known.starts_with(&path)), "{} is left", path.display());
                folders.push(path);
            } else {
                assert!(known.contains(&path), "{} is left, and belongs to nobody", path.display());
            }
        }
    }
}

/// The files of a disk, by what its descriptors say.
fn chain(top: &Path, known: &mut BTreeSet<PathBuf>) {
    let text = fs::read_to_string(top).unwrap_or_else(|error| panic!("{}: {error}", top.display()));
    known.insert(top.to_owned());
    known.insert(top.with_file_name(format!(".{}.children", top.file_name().unwrap().to_str().unwrap())));
    for line in text.lines() {
        let beside = top.parent().unwrap();
        let quoted = || {
            let name = line.split('"').nth(1)?;
            let path = named(beside, name);
            Some(if name.starts_with('/') { fs::canonicalize(path).unwrap() } else { path })
        };
        if line.starts_with("RW ") || line.starts_with("changeTrackPath") {
            known.extend(quoted());
        } else if line.starts_with("parentFileNameHint") {
            chain(&quoted().unwrap(), known);
        }
    }
}
