//! Whatever happens, and however a client is told of it, in the end it knows what there is to know.

use std::collections::BTreeMap;
use std::time::Duration;

use vim_api::dynamic::{Poly, Value, get_path, set_path};
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};
use vsphere_sim::{DiskSpec, Sim, Unregistered, VmSpec};

use crate::live::Dice;
use crate::{MIB, log_in};

/// Properties of an object, by the paths that the filter asks for.
type Known = BTreeMap<String, BTreeMap<String, Value>>;

/// What a client makes of update sets that knows the API's reference and nothing else.
#[derive(Default)]
struct Fold {
    paths: Vec<String>,
    known: Known,
}

impl Fold {
    fn take(&mut self, update: &t::ObjectUpdate) {
        let id = update.obj.to_string();
        match update.kind {
            t::ObjectUpdateKind::Leave => {
                assert!(self.known.remove(&id).is_some(), "{id} left, and never entered");
                return;
            }
            t::ObjectUpdateKind::Enter => {
                assert!(self.known.insert(id.clone(), BTreeMap::new()).is_none(), "{id} entered twice");
            }
            _ => assert!(self.known.contains_key(&id), "{id} changed, and never entered"),
        }
        for change in &update.change_set {
            self.change(&id, change);
        }
    }

    fn change(&mut self, id: &str, change: &t::PropertyChange) {
        let object = self.known.get_mut(id).unwrap();
        let is_below = |path: &&String| {
            let rest = change.name.strip_prefix(path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let path = self.paths.iter().filter(is_below).max_by_key(|path| path.len());
        let path = path.unwrap_or_else(|| panic!("nobody asked for {}", change.name));
        let rest = &change.name[path.len()..];
        match (rest, &change.val) {
            ("", Some(value)) => drop(object.insert(path.clone(), value.clone())),
            ("", None) => drop(object.remove(path)),
            (rest, value) => {
                let whole = object.get_mut(path).unwrap_or_else(|| panic!("{} is in nothing", change.name));
                below(whole, rest, value.clone());
            }
        }
    }
}

/// Changes what is inside of a value: `rest` begins with a dot or a bracket.
fn below(whole: &mut Value, rest: &str, value: Option<Value>) {
    if let Some(path) = rest.strip_prefix('.') {
        let Value::Object(object) = whole else { panic!("{rest} is in no object") };
        set_path(&mut **object, path, value).unwrap_or_else(|error| panic!("{rest}: {error}"));
        return;
    }
    let (key, tail) = rest[1..].split_once(']').unwrap();
    let key = key.trim_matches('"');
    let Value::Array(array) = std::mem::take(whole) else { panic!("{rest} is in no list") };
    let item_name = array.item_name().to_owned();
    let mut items = array.into_items();
    let is_it = |item: &Value| match get_path(item.as_object().unwrap(), "key").unwrap() {
        Some(Value::Int(found)) => found.to_string() == key,
        Some(Value::String(found)) => found == key,
        _ => false,
    };
    match (items.iter().position(is_it), value) {
        (Some(at), value) if !tail.is_empty() => below(&mut items[at], tail, value),
        (Some(at), Some(value)) => items[at] = value,
        (Some(at), None) => drop(items.remove(at)),
        (None, Some(value)) => items.push(value),
        (None, None) => panic!("{rest} is not there"),
    }
    *whole = Value::array(&item_name, items);
}

/// What reading says that the filter is about.
async fn truth(client: &Client, spec: &t::PropertyFilterSpec) -> Known {
    let options = t::RetrieveOptions::default();
    let collector = client.property_collector();
    let found = collector.retrieve_properties_ex(std::slice::from_ref(spec), &options).await.unwrap();
    let objects = found.map(|page| page.objects).unwrap_or_default();
    let properties = |object: t::ObjectContent| {
        let values = object.prop_set.into_iter().map(|property| (property.name, property.val));
        (object.obj.to_string(), values.collect())
    };
    objects.into_iter().map(properties).collect()
}

fn filter(
    type_name: &str,
    paths: &[&str],
    start: MoRef,
    walk: Vec<t::TraversalSpec>,
) -> t::PropertyFilterSpec {
    t::PropertyFilterSpec {
        prop_set: vec![t::PropertySpec {
            r#type: type_name.to_owned(),
            path_set: paths.iter().map(|path| (*path).to_owned()).collect(),
            ..Default::default()
        }],
        object_set: vec![t::ObjectSpec {
            obj: start,
            skip: Some(true),
            select_set: walk.into_iter().map(Poly::new).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Machines through a view, whole and in parts, and the folders of machines through each other.
async fn filters(client: &Client) -> Vec<(t::PropertyFilterSpec, bool)> {
    let views: mo::ViewManager = client.bind(client.content().view_manager.as_ref().unwrap());
    let root: MoRef<mo::ManagedEntity> = client.content().root_folder.cast();
    let view = views.create_container_view(&root, &["VirtualMachine".to_owned()], true).await.unwrap();
    let shown = |path: &str| t::TraversalSpec {
        r#type: "ContainerView".to_owned(),
        path: path.to_owned(),
        ..Default::default()
    };
    let again = t::SelectionSpec { name: Some("folders".to_owned()), ..Default::default() };
    let mut folders = t::TraversalSpec {
        r#type: "Folder".to_owned(),
        path: "childEntity".to_owned(),
        select_set: vec![Poly::new(again)],
        ..Default::default()
    };
    folders.name = Some("folders".to_owned());
    let narrow =
        ["name", "runtime.powerState", "config.hardware.device[2000].backing.fileName", "recentTask"];
    let wide = ["config", "runtime", "snapshot", "customValue", "parent"];
    let machines = MoRef::<mo::Folder>::new("group-v3");
    vec![
        (filter("VirtualMachine", &narrow, view.cast(), vec![shown("view")]), false),
        (filter("VirtualMachine", &wide, view.cast(), vec![shown("view")]), true),
        (filter("VirtualMachine", &wide, view.cast(), vec![shown("view")]), false),
        (filter("ManagedEntity", &["name", "parent", "permission"], machines.cast(), vec![folders]), true),
    ]
}

/// Something that an administrator does.
async fn administrate(
    sim: &Sim,
    client: &Client,
    dice: &mut Dice,
    round: u32,
    parked: &mut Vec<Unregistered>,
) {
    let vms = sim.vms();
    let pick = &vms[dice.roll() as usize % vms.len()];
    let vm: mo::VirtualMachine = client.bind(&pick.moref());
    match dice.roll() % 10 {
        0 if vms.len() > 1 => parked.push(pick.clone().unregister().unwrap()),
        1 => drop(parked.pop().map(|vm| sim.register(vm))),
        2 => pick.rename(&format!("name-{round}")).unwrap(),
        3 => {
            let done = match pick.is_powered_on() {
                true => vm.power_off_vm_task().await.unwrap(),
                false => vm.power_on_vm_task(None).await.unwrap(),
            };
            done.wait().await.unwrap();
        }
        4 | 5 if pick.snapshot_count() < 3 => {
            let name = format!("s{round}");
            vm.create_snapshot_task(&name, None, false, false).await.unwrap().wait().await.unwrap();
        }
        4 | 5 => vm.remove_all_snapshots_task(None, None).await.unwrap().wait().await.unwrap(),
        6 => {
            vm.set_custom_value("Owner", ["", "me", "you"][dice.roll() as usize % 3]).await.unwrap();
        }
        7 => {
            let folder: mo::Folder = client.bind(&MoRef::new("group-v3"));
            let folder = folder.create_folder(&format!("folder-{round}-{}", dice.roll())).await.unwrap();
            client
                .bind(&folder)
                .move_into_folder_task(&[vm.moref().cast()])
                .await
                .unwrap()
                .wait()
                .await
                .unwrap();
        }
        _ => {
            let options = (0..dice.roll() % 3).map(|at| {
                let value = Value::String(if dice.roll().is_multiple_of(3) {
                    String::new()
                } else {
                    round.to_string()
                });
                Poly::new(t::OptionValue {
                    key: format!("guestinfo.key \"{at}"),
                    value: Some(value),
                    ..Default::default()
                })
            });
            let spec = t::VirtualMachineConfigSpec {
                annotation: Some(format!("round {}", round % 4)),
                extra_config: options.collect(),
                ..Default::default()
            };
            vm.reconfig_vm_task(&spec).await.unwrap().wait().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_folds_updates_arrives_at_what_reading_says() {
    let clock = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = std::env::var("REPLICA_SEED").map_or(clock, |seed| seed.parse().unwrap());
    println!("REPLICA_SEED={seed}");
    let mut dice = Dice(seed | 1);
    let mut builder = Sim::builder().task_duration(Duration::from_millis(5));
    for number in 1..=4 {
        builder = builder.vm(VmSpec::new(&format!("vm-{number}")).disk(DiskSpec::empty(MIB)).cbt());
    }
    let sim = builder.start().await.unwrap();
    let client = log_in(&sim).await;
    let fields: mo::CustomFieldsManager =
        client.bind(client.content().custom_fields_manager.as_ref().unwrap());
    fields.add_custom_field_def("Owner", None, None, None).await.unwrap();
    let collector = client.bind(&client.property_collector().create_property_collector().await.unwrap());
    let wanted = filters(&client).await;
    let mut folds: BTreeMap<String, (t::PropertyFilterSpec, Fold)> = BTreeMap::new();
    for (spec, partial) in wanted {
        let id = collector.create_filter(&spec, partial).await.unwrap();
        let paths = spec.prop_set[0].path_set.clone();
        folds.insert(id.value().to_owned(), (spec, Fold { paths, known: Known::new() }));
    }
    let mut version = String::new();
    let (mut parked, mut lost, mut truncated) = (Vec::new(), 0, 0);
    for round in 0..60_u32 {
        for _ in 0..dice.roll() % 3 {
            administrate(&sim, &client, &mut dice, round, &mut parked).await;
        }
        // At the end of some rounds everything is asked for, and compared.
        let to_the_end = round.is_multiple_of(6);
        loop {
            let most = 1 + (dice.roll() % 4).cast_signed();
            let options = t::WaitOptions {
                max_wait_seconds: Some(0),
                max_object_updates: Some(most),
                ..Default::default()
            };
            let asked = (!version.is_empty()).then_some(version.as_str());
            let Some(set) = collector.wait_for_updates_ex(asked, Some(&options)).await.unwrap() else {
                break;
            };
            // An answer that got lost comes again, byte for byte, to whoever asks by the version before.
            if asked.is_some() && dice.roll().is_multiple_of(4) {
                administrate(&sim, &client, &mut dice, round, &mut parked).await;
                let again = collector.wait_for_updates_ex(asked, Some(&options)).await.unwrap().unwrap();
                assert_eq!(format!("{again:?}"), format!("{set:?}"));
                lost += 1;
            }
            let objects: usize = set.filter_set.iter().map(|filter| filter.object_set.len()).sum();
            assert!(objects <= most.cast_unsigned() as usize, "{objects} objects, and {most} were asked for");
            truncated += usize::from(set.truncated == Some(true));
            for update in &set.filter_set {
                let (_, fold) = folds.get_mut(update.filter.value()).unwrap();
                update.object_set.iter().for_each(|update| fold.take(update));
            }
            version = set.version;
            if !to_the_end && dice.roll().is_multiple_of(2) {
                break;
            }
        }
        if to_the_end {
            for (spec, fold) in folds.values() {
                let truth = truth(&client, spec).await;
                assert_eq!(format!("{:#?}", fold.known), format!("{truth:#?}"), "round {round}, seed {seed}");
            }
        }
    }
    assert!(lost > 0 && truncated > 0, "nothing was lost ({lost}) or truncated ({truncated})");
}
