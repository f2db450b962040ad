//! From a `VirtualMachineConfigSpec` to a configuration: what `ReconfigVM_Task`, `CreateVM_Task`, `CloneVM_Task` and an
//! import have in common.
//!
//! A specification is planned first, against a copy: whatever is wrong with it is found before a file is touched.

mod devices;

use std::sync::{Arc, PoisonError};

use sim_store::{DatastorePath, Disk, DiskSpec, Provisioning};
use vim_api::dynamic::{DataObject, Object, Value, get_path, set_path};
use vim_api::types as t;

use crate::chain::{self, Held, host_of};
use crate::fault::{Outcome, fault, from_store, invalid_argument, not_found};
use crate::hardware;
use crate::machine::{Config, Power};
use crate::recovery::{self, Intent};
use crate::tasks::{self, Progress};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// Fields of the specification that are more than a setting of the same name, or none at all.
const APART: [&str; 22] = [
    "changeVersion",
    "name",
    "files",
    "deviceChange",
    "extraConfig",
    "numCPUs",
    "numCoresPerSocket",
    "memoryMB",
    "virtualICH7MPresent",
    "virtualSMCPresent",
    "motherboardLayout",
    "simultaneousThreads",
    "powerOpInfo",
    "cpuFeatureMask",
    "npivWorldWideNameOp",
    "vAppConfig",
    "vAppConfigRemoved",
    "vmProfile",
    "virtualNuma",
    "crypto",
    "tagSpecs",
    "vmPlacementPolicies",
];

/// Fields that are not simulated: a specification that sets one is refused rather than half carried out.
const REFUSED: [&str; 4] = ["crypto", "npivWorldWideNameOp", "virtualNuma", "vmPlacementPolicies"];

/// The machine that a specification is for.
pub(crate) struct Target<'a> {
    /// Its `.vmx`: files without a path of their own go beside it.
    pub(crate) vmx: &'a DatastorePath,
    pub(crate) power: Power,
    pub(crate) has_snapshots: bool,
}

/// What a specification comes to.
pub(crate) struct Plan {
    /// The configuration afterwards, but for what only the files can tell.
    pub(crate) config: t::VirtualMachineConfigInfo,
    /// What has to be done with files, in this order.
    pub(crate) files: Vec<FileWork>,
}

/// Work on a disk's files.
#[derive(Debug)]
pub(crate) enum FileWork {
    /// `in_home`: the server has chosen the name, and makes the folder of the machine that it is in on another datastore.
    Create {
        path: DatastorePath,
        spec: DiskSpec,
        replace: bool,
        in_home: bool,
    },
    Grow {
        path: DatastorePath,
        capacity: u64,
    },
    Delete {
        path: DatastorePath,
    },
}

/// `ReconfigVM_Task`. Change tracking is configured at once and takes effect when the machine is stunned next.
pub(crate) fn start(shared: &Arc<Shared>, call: &Call, user: &str) -> Outcome<Answer> {
    let spec: t::VirtualMachineConfigSpec = call.required("spec")?;
    let id = call.this.value().to_owned();
    let work = Box::new(move |shared: &Shared, progress: &mut Progress<'_>| {
        progress.step(1, 4)?;
        reconfigure(shared, &id, &spec, progress).map(|()| None)
    });
    tasks::start(shared, call.this.value(), call, user, "VirtualMachine.reconfigure", work)
}

/// Changes a machine as a specification says.
pub(crate) fn reconfigure(
    shared: &Shared,
    id: &str,
    spec: &t::VirtualMachineConfigSpec,
    progress: &mut Progress<'_>,
) -> Outcome<()> {
    let Held { machine: machine_before, stun } = Held::take(shared, id)?;
    let machine = &machine_before;
    let vmx = machine.vmx().ok_or_else(|| invalid_argument("files", "The machine has no files."))?;
    if spec.change_version.as_ref().is_some_and(|version| *version != machine.config.change_version) {
        let message = "The configuration was changed by another client since it was read.";
        return Err(fault(t::ConcurrentAccess::default(), message));
    }
    let target = Target { vmx: &vmx, power: machine.power, has_snapshots: !machine.snapshots.is_empty() };
    let mut plan = shared.read(|world| plan(world, &target, &machine.config, spec))?;
    if let Some(name) = &spec.name {
        plan.config.name = crate::lifecycle::check_name(shared, &machine.folder, name, Some(id))?;
    }
    let _stunned = stun.lock().unwrap_or_else(PoisonError::into_inner);
    recovery::carry_out(shared, plan.intent(shared, Intent::of(id))?, |_| {
        make(shared, &plan.files, progress)?;
        for work in &plan.files {
            if let FileWork::Delete { path } = work {
                chain::check_free(&host_of(shared, path)?, path)?;
            }
        }
        let config = finished(shared, id, machine.power, plan.config);
        set_config(shared, id, config)?;
        grow(shared, &plan.files).or_else(|fault| {
            set_config(shared, id, Arc::clone(&machine_before.config))?;
            Err(fault)
        })?;
        shared.update(|world| world.post_reconfigured(id, machine_before.name(), spec.clone()));
        Ok(())
    })
}

fn set_config(shared: &Shared, id: &str, config: Config) -> Outcome<()> {
    shared.update(|world| {
        let machine = world
            .machine_mut(id)
            .ok_or_else(|| not_found(&vim_api::MoRef::<vim_api::mo::VirtualMachine>::new(id).cast()))?;
        machine.config = config;
        Ok(())
    })
}

/// A planned configuration, with what the files and the host add to it.
pub(crate) fn finished(
    shared: &Shared,
    id: &str,
    power: Power,
    mut config: t::VirtualMachineConfigInfo,
) -> Config {
    chain::note_tracking(&mut config);
    shared.read(|world| {
        world.claim_disks(id, &mut config);
        let paths: Vec<_> =
            crate::machine::disks(&config).into_iter().map(|disk| (disk.key, disk.path)).collect();
        let path_of = |key| paths.iter().find(|(found, _)| *found == key).map(|(_, path)| path.clone());
        chain::follow(world, &mut config, &path_of);
        config.datastore_url = world.datastore_urls(&config);
        let now = world.clock.now().date_time();
        config.change_version = next_version(&config.change_version, now.as_str());
        config.modified = now;
    });
    hardware::arrange(&mut config, id);
    hardware::connect(&mut config, power == Power::On);
    Arc::new(config)
}

/// Differs from the version before, also within one microsecond.
fn next_version(before: &str, now: &str) -> String {
    let number = before.rsplit('#').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
    format!("{now}#{}", number.wrapping_add(1))
}

/// What a specification comes to for a machine that is configured like `before`.
pub(crate) fn plan(
    world: &World,
    target: &Target<'_>,
    before: &t::VirtualMachineConfigInfo,
    spec: &t::VirtualMachineConfigSpec,
) -> Outcome<Plan> {
    check(target, before, spec)?;
    let mut config = before.clone();
    copy_settings(&mut config, spec)?;
    let hardware = &mut config.hardware;
    if let Some(cpus) = spec.num_cpus {
        hardware.num_cpu = cpus;
    }
    if let Some(memory) = spec.memory_mb.and_then(|memory| i32::try_from(memory).ok()) {
        hardware.memory_mb = memory;
    }
    let overwrite = |to: &mut Option<i32>, from: Option<i32>| *to = from.or(*to);
    overwrite(&mut hardware.num_cores_per_socket, spec.num_cores_per_socket);
    overwrite(&mut hardware.simultaneous_threads, spec.simultaneous_threads);
    hardware.virtual_ich7_m_present = spec.virtual_ich7_m_present.or(hardware.virtual_ich7_m_present);
    hardware.virtual_smc_present = spec.virtual_smc_present.or(hardware.virtual_smc_present);
    if spec.motherboard_layout.is_some() {
        hardware.motherboard_layout.clone_from(&spec.motherboard_layout);
    }
    if let Some(operations) = &spec.power_op_info {
        merge(&mut config.default_power_ops, &**operations)?;
    }
    if spec.guest_id.is_some() {
        config.guest_full_name = hardware::guest_name(&config.guest_id).to_owned();
    }
    merge_extra_config(&mut config, spec);
    merge_cpu_features(&mut config, spec);
    if spec.v_app_config_removed == Some(true) {
        config.v_app_config = None;
    }
    if let Some(wish) = &spec.v_app_config {
        config.v_app_config = Some(vim_api::dynamic::Poly::new(v_app(wish)));
    }
    let files = devices::change(world, target, &mut config, &spec.device_change)?;
    Ok(Plan { config, files })
}

impl Plan {
    /// Names the files of the plan in an intent. What the plan deletes goes when that is settled.
    pub(crate) fn intent(&self, shared: &Shared, mut intent: Intent) -> Outcome<Intent> {
        for work in &self.files {
            intent = match work {
                FileWork::Create { path, replace, .. } => {
                    if *replace && host_of(shared, path)?.exists() {
                        intent = intent.removes_link(shared, path)?;
                    }
                    intent.makes_disk(shared, path)?
                }
                FileWork::Grow { path, .. } => intent.shows(path),
                FileWork::Delete { path } => intent.removes_link(shared, path)?,
            };
        }
        Ok(intent)
    }
}

/// Makes the disks of a plan.
pub(crate) fn make(shared: &Shared, files: &[FileWork], progress: &mut Progress<'_>) -> Outcome<()> {
    for (at, work) in files.iter().enumerate() {
        if let FileWork::Create { path, spec, replace, in_home } = work {
            let failed = |error: sim_store::Error| from_store(&error, &path.to_string());
            let host = host_of(shared, path)?;
            if *replace && host.exists() {
                sim_store::delete(&host).map_err(failed)?;
            }
            if let Some(folder) = host.parent().filter(|_| *in_home) {
                std::fs::create_dir_all(folder)
                    .map_err(|error| crate::files::from_io(&error, &path.to_string()))?;
            }
            Disk::create(&host, spec).map_err(failed)?;
            tracing::info!(disk = path.to_string(), capacity = spec.capacity, "disk made");
        }
        progress.step(at as u64 + 1, files.len() as u64)?;
    }
    Ok(())
}

/// Grows the disks of a plan: what has grown cannot shrink again, so it comes last.
fn grow(shared: &Shared, files: &[FileWork]) -> Outcome<()> {
    for work in files {
        if let FileWork::Grow { path, capacity } = work {
            sim_store::grow(&host_of(shared, path)?, *capacity)
                .map_err(|error| from_store(&error, &path.to_string()))?;
            tracing::info!(disk = path.to_string(), capacity, "disk grown");
        }
    }
    Ok(())
}

fn check(
    target: &Target<'_>,
    before: &t::VirtualMachineConfigInfo,
    spec: &t::VirtualMachineConfigSpec,
) -> Outcome<()> {
    if spec.num_cpus.is_some_and(|cpus| !(1..=768).contains(&cpus)) {
        return Err(invalid_argument("spec.numCPUs", "A machine has 1 to 768 CPUs."));
    }
    if spec.memory_mb.is_some_and(|memory| !(4..=24 << 20).contains(&memory)) {
        return Err(invalid_argument("spec.memoryMB", "A machine has 4 MB to 24 TB of memory."));
    }
    for (name, uuid) in [("uuid", &spec.uuid), ("instanceUuid", &spec.instance_uuid)] {
        let is_uuid = |uuid: &String| uuid.chars().filter(char::is_ascii_hexdigit).count() == 32;
        if uuid.as_ref().is_some_and(|uuid| !is_uuid(uuid)) {
            return Err(invalid_argument(&format!("spec.{name}"), "It is no uuid."));
        }
    }
    for name in REFUSED {
        let set = match get_path(spec, name) {
            Ok(Some(Value::Array(array))) => !array.items().is_empty(),
            Ok(value) => value.is_some(),
            Err(_) => false,
        };
        if set {
            let message = format!("This simulator cannot change \"{name}\".");
            return Err(fault(t::NotSupported::default(), message));
        }
    }
    let more = |wish: i64, now: i32| wish > i64::from(now);
    let cpus = spec.num_cpus.filter(|cpus| *cpus != before.hardware.num_cpu);
    let memory = spec.memory_mb.filter(|memory| *memory != i64::from(before.hardware.memory_mb));
    let hot_cpus =
        |cpus: i32| before.cpu_hot_add_enabled == Some(true) && more(cpus.into(), before.hardware.num_cpu);
    let hot_memory =
        |memory: i64| before.memory_hot_add_enabled == Some(true) && more(memory, before.hardware.memory_mb);
    let needs_off = cpus.is_some_and(|cpus| !hot_cpus(cpus))
        || memory.is_some_and(|memory| !hot_memory(memory))
        || spec.firmware.as_ref().is_some_and(|firmware| before.firmware.as_ref() != Some(firmware))
        || spec.version.is_some();
    if needs_off && target.power != Power::Off {
        return Err(crate::power::wrong_state(Power::Off, target.power));
    }
    Ok(())
}

/// Copies each field that is set to the setting of its name. Where both are objects, what the specification leaves
/// out stays.
fn copy_settings(
    config: &mut t::VirtualMachineConfigInfo,
    spec: &t::VirtualMachineConfigSpec,
) -> Outcome<()> {
    for field in t::VirtualMachineConfigSpec::INFO.fields.iter().filter(|field| !APART.contains(&field.name))
    {
        let wrong = |_| invalid_argument(&format!("spec.{}", field.name), "It cannot be set to this.");
        let Some(value) = get_path(spec, field.name).map_err(wrong)? else { continue };
        if matches!(&value, Value::Array(array) if array.items().is_empty()) {
            continue;
        }
        let value = match (get_path(config, field.name).map_err(wrong)?, value) {
            (Some(Value::Object(mut before)), Value::Object(wish)) => {
                merge(&mut *before, &*wish)?;
                Value::Object(before)
            }
            (_, value) => value,
        };
        set_path(config, field.name, Some(value)).map_err(wrong)?;
    }
    Ok(())
}

/// Overwrites the fields of one object by those that another has set.
fn merge(into: &mut dyn Object, from: &dyn Object) -> Outcome<()> {
    let mut level = Some(from.type_info());
    while let Some(info) = level {
        for field in info.fields {
            let wrong = |_| invalid_argument(field.name, "It cannot be set to this.");
            match get_path(from, field.name).map_err(wrong)? {
                None => {}
                Some(Value::Array(array)) if array.items().is_empty() => {}
                Some(value) => set_path(into, field.name, Some(value)).map_err(wrong)?,
            }
        }
        level = info.base;
    }
    Ok(())
}

/// An empty value removes a key.
fn merge_extra_config(config: &mut t::VirtualMachineConfigInfo, spec: &t::VirtualMachineConfigSpec) {
    for option in &spec.extra_config {
        config.extra_config.retain(|known| known.key != option.key);
        let is_empty = matches!(&option.value, None | Some(Value::String(_)))
            && !matches!(&option.value, Some(Value::String(text)) if !text.is_empty());
        if !is_empty {
            config.extra_config.push(option.clone());
        }
    }
}

fn merge_cpu_features(config: &mut t::VirtualMachineConfigInfo, spec: &t::VirtualMachineConfigSpec) {
    for change in &spec.cpu_feature_mask {
        let Some(info) = &change.info else { continue };
        config.cpu_feature_mask.retain(|known| known.level != info.level);
        if change.base.operation != t::ArrayUpdateOperation::Remove {
            config.cpu_feature_mask.push((**info).clone());
        }
    }
}

fn v_app(wish: &t::VmConfigSpec) -> t::VmConfigInfo {
    t::VmConfigInfo {
        product: wish.product.iter().filter_map(|product| Some((**product.info.as_ref()?).clone())).collect(),
        property: wish.property.iter().filter_map(|item| Some((**item.info.as_ref()?).clone())).collect(),
        ip_assignment: wish.ip_assignment.as_deref().cloned().unwrap_or_default(),
        eula: wish.eula.clone(),
        ovf_section: wish
            .ovf_section
            .iter()
            .filter_map(|item| Some((**item.info.as_ref()?).clone()))
            .collect(),
        ovf_environment_transport: wish.ovf_environment_transport.clone(),
        install_boot_required: wish.install_boot_required.unwrap_or(false),
        install_boot_stop_delay: wish.install_boot_stop_delay.unwrap_or(0),
        ..Default::default()
    }
}

/// How the space of a disk is to be taken, by its backing.
fn provisioning(backing: &t::VirtualDiskFlatVer2BackingInfo) -> Provisioning {
    match (backing.thin_provisioned, backing.eagerly_scrub) {
        (Some(true), _) => Provisioning::Thin,
        (_, Some(true)) => Provisioning::EagerThick,
        _ => Provisioning::LazyThick,
    }
}
