//! Making the disks and machines of a new simulator, and starting it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use secrecy::{ExposeSecret, SecretString};
use sim_store::guest::DiskCursor;
use sim_store::guest::image::{self, Manifest};
use sim_store::state::{Inventory, PasswordHash, UserRecord};
use sim_store::{DatastorePath, Disk, Provisioning, tracking};
use tokio::net::TcpListener;
use vim_api::types as t;

use super::builder::{Builder, Content, DiskSpec, VmSpec};
use super::{Sim, Thumbprints};
use crate::authorization::Permission;
use crate::clock::ServerClock;
use crate::faults::FaultBook;
use crate::inventory::escaped;
use crate::inventory::tree::{Holds, Kind};
use crate::lifecycle::file_stem;
use crate::machine::{self, Machine, Place, Power};
use crate::population::Population;
use crate::recovery::{self, Intent, Journal};
use crate::server::Role;
use crate::users::Group;
use crate::world::{self, LookupEntry, Shared, Stored};
use crate::{
    Error, ErrorKind, Result, authorization, chain, configure, control, datastores, hardware, lease, random,
    server, state_file, topology,
};

/// More disks than a SCSI controller has units for.
const MAX_DISKS: usize = 15;

/// Starts what a builder describes.
pub(super) async fn start(builder: Builder) -> Result<Sim> {
    if builder.control.is_some_and(|address| !address.ip().is_loopback()) {
        return Err(Error::new(ErrorKind::InvalidArgument, "the control port must be on a loopback address"));
    }
    builder.topology.check(builder.mode)?;
    if !Builder::api_versions().any(|version| version == builder.version) {
        let known: Vec<&str> = Builder::api_versions().map(vim_api::ApiVersion::id).collect();
        let message =
            format!("the API version {} is not served; there are {}", builder.version, known.join(", "));
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("vsphere-sim")
        .enable_all()
        .build()
        .map_err(|error| Error::caused(ErrorKind::Network, "starting the simulator's threads", error))?;
    // The work is done on the new runtime: the caller's must not be blocked by disks.
    match runtime.spawn(prepare(builder)).await {
        Ok(Ok(mut sim)) => {
            sim.runtime = Some(runtime);
            Ok(sim)
        }
        Ok(Err(error)) => {
            runtime.shutdown_background();
            Err(error)
        }
        Err(error) => {
            runtime.shutdown_background();
            Err(Error::caused(ErrorKind::Store, "starting the simulator", error))
        }
    }
}

async fn prepare(builder: Builder) -> Result<Sim> {
    let bind = |address| async move {
        TcpListener::bind(address)
            .await
            .map_err(|error| Error::caused(ErrorKind::Network, format!("listening on {address}"), error))
    };
    let listener = bind(builder.listen).await?;
    let control_listener = match builder.control {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let local = |listener: &TcpListener| {
        listener.local_addr().map_err(|error| Error::caused(ErrorKind::Network, "asking for the port", error))
    };
    let (address, control) = (local(&listener)?, control_listener.as_ref().map(local).transpose()?);
    let identity = server::certificate::generate()?;
    let services = match builder.sts_apart {
        true => Some((bind(SocketAddr::new(address.ip(), 0)).await?, server::certificate::generate()?)),
        false => None,
    };
    let (sts_address, sts_certificate) = match &services {
        Some((listener, identity)) => (local(listener)?, &identity.base64),
        None => (address, &identity.base64),
    };
    let sts = LookupEntry {
        url: format!("https://{sts_address}/sts/STSService/vsphere.local"),
        certificate: sts_certificate.clone(),
        apart: services.is_some(),
    };
    let (acceptor, user) = (identity.acceptor, first_user(&builder).to_owned());
    let password = builder.password.clone().unwrap_or_else(|| SecretString::from(random::hex(12)));
    let folder = match builder.data_dir {
        Some(_) => None,
        None => Some(
            tempfile::tempdir()
                .map_err(|error| Error::caused(ErrorKind::Store, "making a temporary folder", error))?,
        ),
    };
    let data_dir = match (&builder.data_dir, &folder) {
        (Some(path), _) => path.clone(),
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => return Err(Error::new(ErrorKind::Store, "there is no data folder")),
    };
    let secret = password.clone();
    let made = tokio::task::spawn_blocking(move || populate(&builder, &data_dir, &secret, sts)).await;
    let (shared, lock) =
        made.map_err(|error| Error::caused(ErrorKind::Store, "making the machines", error))??;
    let endpoint = lease::Endpoint { port: address.port(), sha1: identity.sha1.clone() };
    shared.read_mut(|world| world.leases.server = endpoint);
    tokio::spawn(lease::keep(Arc::clone(&shared)));
    tokio::spawn(server::serve(listener, acceptor, Arc::clone(&shared), Role::Vcenter));
    if let Some((listener, identity)) = services {
        tokio::spawn(server::serve(listener, identity.acceptor, Arc::clone(&shared), Role::Services));
    }
    if let Some(listener) = control_listener {
        let about = control::About {
            url: format!("https://{address}/sdk"),
            sha1: identity.sha1.clone(),
            sha256: identity.sha256.clone(),
            started: Instant::now(),
        };
        tokio::spawn(control::serve(listener, Arc::clone(&shared), about));
    }
    Ok(Sim {
        shared,
        address,
        control,
        identity: Thumbprints { sha1: identity.sha1, sha256: identity.sha256, ca_pem: identity.ca_pem },
        user,
        password,
        kits: Default::default(),
        runtime: None,
        _lock: lock,
        _folder: folder,
    })
}

/// Takes up the state of the data folder or makes a new one, then adds the machines that are missing.
fn populate(
    builder: &Builder,
    data_dir: &Path,
    password: &SecretString,
    sts: LookupEntry,
) -> Result<(Arc<Shared>, fs::File)> {
    for folder in [Inventory::machines_path(data_dir), Inventory::disks_path(data_dir)] {
        fs::create_dir_all(&folder).map_err(|error| {
            Error::caused(ErrorKind::Store, format!("making {}", folder.display()), error)
        })?;
    }
    let lock = lock(data_dir)?;
    let mut stored = match state_file::load(data_dir)? {
        Some(stored) if stored.mode != builder.mode => {
            let message = format!(
                "{} holds the state of {}, and {} is to be started; choose another folder",
                data_dir.display(),
                stored.mode.title(),
                builder.mode.title()
            );
            return Err(Error::new(ErrorKind::InvalidState, message));
        }
        Some(stored) => stored,
        None => new_state(builder, data_dir)?,
    };
    let user = |name: &str, password: &SecretString| {
        let hash = PasswordHash::new(password.expose_secret());
        let password = hash.map_err(|error| Error::store("hashing a password", error))?;
        Ok(UserRecord { name: name.to_owned(), password })
    };
    stored.users = vec![user(first_user(builder), password)?];
    for (name, password, _) in &builder.users {
        if stored.users.iter().any(|known| authorization::same_principal(&known.name, name)) {
            return Err(Error::new(ErrorKind::InvalidArgument, format!("there are two users {name:?}")));
        }
        stored.users.push(user(name, password)?);
    }
    let disks = state_file::load_disks(data_dir)?;
    stored.groups = groups(builder, &stored.users)?;
    let on_record = state_file::load_machines(data_dir)?;
    let generated = stored
        .population
        .as_ref()
        .map(|wish| wish.machines(&stored.tree, &on_record, builder.mode, builder.version));
    let machines = on_record.into_values().flatten().chain(generated.into_iter().flatten());
    let machines = machines.map(|machine| (machine.id.clone(), machine)).collect();
    let settings = world::Settings {
        data_dir: data_dir.to_owned(),
        version: builder.version,
        task_duration: builder.task_duration,
        property_page: builder.property_page,
        sts,
        clock: builder.clock,
        style: builder.style,
        tracking: builder.tracking,
    };
    for (entity, files) in stored.tree.datastores() {
        if let Kind::Datastore { uuid, .. } = &entity.kind {
            sim_store::volumes::add(files.root(), uuid)
                .map_err(|error| Error::store("making a datastore known by its uuid", error))?;
        }
    }
    let journal = Journal::open(data_dir)?;
    let shared = Arc::new(Shared::new(stored, machines, disks, settings, FaultBook::default(), journal));
    recovery::start(&shared)?;
    grant(&shared, builder)?;
    for spec in &builder.vms {
        if shared.read(|world| world.machine_named(&spec.name).is_none()) {
            add_machine(&shared, spec)?;
        }
    }
    // Writes the files in any case: the users may be others than last time.
    shared.update(|world| world.touch());
    shared.check_written(0)?;
    Ok((shared, lock))
}

/// The groups, each of users that there are.
fn groups(builder: &Builder, users: &[UserRecord]) -> Result<Vec<Group>> {
    let wrong = |what: String| Err(Error::new(ErrorKind::InvalidArgument, what));
    let mut groups: Vec<Group> = Vec::new();
    for (group, _) in &builder.groups {
        let name = &group.name;
        if groups.iter().any(|known| authorization::same_principal(&known.name, name)) {
            return wrong(format!("there are two groups {name:?}"));
        }
        let is_user =
            |member: &&String| users.iter().any(|user| authorization::same_principal(&user.name, member));
        if let Some(stranger) = group.members.iter().find(|member| !is_user(member)) {
            return wrong(format!("the group {name:?}: there is no user {stranger:?}"));
        }
        groups.push(group.clone());
    }
    Ok(groups)
}

/// Adds the roles that are missing, and gives users and groups theirs who have none. The first user may do everything.
fn grant(shared: &Shared, builder: &Builder) -> Result<()> {
    let wrong = |what: String| Error::new(ErrorKind::InvalidArgument, what);
    shared.update(|world| {
        for (name, privileges) in &builder.roles {
            let privileges = authorization::manager::role_privileges(privileges.clone());
            let privileges =
                privileges.map_err(|fault| wrong(format!("the role {name:?}: {}", fault.message)))?;
            if authorization::role_named(world, name).is_none() {
                world.add_role(name.clone(), privileges).map_err(|fault| wrong(fault.message))?;
            }
        }
        let root = world.root();
        let admin = authorization::role_named(world, "Admin").unwrap_or_default();
        let first = Permission::propagating(&root, first_user(builder), false, admin);
        world.stored.authorization.grant(first);
        let users = builder.users.iter().map(|(name, _, role)| (name, false, role));
        let groups = builder.groups.iter().map(|(group, role)| (&group.name, true, role));
        for (name, group, role) in users.chain(groups) {
            let Some(role) = role else { continue };
            let id = authorization::role_named(world, role);
            let id = id.ok_or_else(|| wrong(format!("{name:?}: there is no role {role:?}")))?;
            if !world.stored.authorization.knows(name, group) {
                world.stored.authorization.grant(Permission::propagating(&root, name, group, id));
            }
        }
        Ok(())
    })
}

/// One data folder belongs to one simulator at a time. The lock goes with the process.
fn lock(data_dir: &Path) -> Result<fs::File> {
    let path = data_dir.join(".lock");
    let failed = |error| Error::caused(ErrorKind::Store, format!("locking {}", path.display()), error);
    let file = fs::File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            let what = format!(
                "{} is in use by another simulator; stop that one, or choose another folder",
                data_dir.display()
            );
            Err(Error::new(ErrorKind::InvalidState, what))
        }
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn first_user(builder: &Builder) -> &str {
    builder.user.as_deref().unwrap_or_else(|| builder.mode.first_user())
}

fn new_state(builder: &Builder, data_dir: &Path) -> Result<Stored> {
    let mut stored = topology::new_state(data_dir, builder.mode, &builder.topology)?;
    datastores::shape(&mut stored, &builder.datastores)?;
    if let Some(wish) = &builder.generated {
        stored.population = Some(Population {
            first: stored.next_id,
            count: wish.count,
            seed: wish.seed,
            created: ServerClock::new(builder.clock).now(),
            disks: wish.disks.clone(),
            tracked: wish.cbt,
            powered_on: wish.powered_on,
        });
        stored.next_id = stored.next_id.saturating_add(wish.count);
    }
    Ok(stored)
}

fn add_machine(shared: &Shared, spec: &VmSpec) -> Result<()> {
    if spec.name.is_empty() || spec.name.chars().count() > 80 || spec.disks.len() > MAX_DISKS {
        let what =
            format!("{:?}: a machine has a name of 1 to 80 characters and at most 15 disks", spec.name);
        return Err(Error::new(ErrorKind::InvalidArgument, what));
    }
    let failed = |error| Error::store(format!("making the machine {:?}", spec.name), error);
    let missing = |what: &str| Error::new(ErrorKind::Store, format!("the data folder has no {what}"));
    let found = shared.read(|world| {
        let tree = &world.stored.tree;
        let (entity, files) = tree.datastores().next()?;
        let home = tree.datacenter_of(&entity.id)?;
        let folder = tree.folder_of(&home.id, Holds::Vms)?.id.clone();
        let host = world.hosts_in(&entity.id).into_iter().next()?.value().to_owned();
        let pool = tree.root_pool(&tree.owner_of(&host)?.id)?.id.clone();
        let network = world.networks_of(&entity.id).into_iter().next();
        Some((files.clone(), folder, host, pool, network))
    });
    let (files, folder_id, host, pool, network) = found.ok_or_else(|| missing("complete inventory"))?;
    let id = shared.update(|world| world.next_machine_id());
    let stem = file_stem(&spec.name);
    let mut folder = stem.clone();
    if files.root().join(&folder).exists() {
        folder = format!("{stem}_{id}");
    }
    let path = |file: String| DatastorePath::new(files.name(), &format!("{folder}/{file}"));
    let root = files.root().join(&folder);
    let vmx = path(format!("{stem}.vmx")).map_err(failed)?;
    let name_of = |at: usize| machine::disk_name(&stem, at);
    let refused = |fault: crate::fault::Fault| Error::new(ErrorKind::Store, fault.message);
    let mut intent = Intent::provisional(&id).makes_home(shared, &vmx).map_err(refused)?;
    for at in 0..spec.disks.len() {
        intent = intent.makes_disk(shared, &path(name_of(at)).map_err(failed)?).map_err(refused)?;
    }
    let begun = recovery::begin(shared, intent).map_err(refused)?;
    fs::create_dir_all(&root)
        .map_err(|error| Error::caused(ErrorKind::Store, format!("making {}", root.display()), error))?;
    let mut config =
        hardware::new_config(&escaped(&spec.name), &vmx, "debian12_64Guest", shared.settings.version);
    config.hardware.num_cpu = 2;
    config.hardware.memory_mb = 2048;
    config.change_tracking_enabled = Some(spec.cbt);
    config.uuid = random::uuid();
    config.location_id = Some(format!("564d{}", config.uuid.get(4..).unwrap_or_default()));
    config.instance_uuid = Some(random::uuid());
    config.create_date = Some(shared.read(|world| world.clock.now()).date_time());
    config.hardware.device.push(hardware::pvscsi(0));
    for (at, disk) in spec.disks.iter().enumerate() {
        let path = path(name_of(at)).map_err(failed)?;
        let (disk, manifest) = add_disk(&root.join(path.file_name()), &path, at, disk, spec.cbt)?;
        if let Some(manifest) = manifest {
            shared.update(|world| world.manifests.insert((id.clone(), disk.base.key), manifest));
        }
        config.hardware.device.push(hardware::device(disk));
    }
    if let Some(network) = network {
        let name =
            shared.read(|world| world.stored.tree.get(network.value()).map(|found| found.name.clone()));
        config.hardware.device.push(hardware::nic(network, &name.unwrap_or_default(), &random::mac()));
    }
    let power = if spec.powered_on { Power::On } else { Power::Off };
    let config = configure::finished(shared, &id, power, config);
    shared.update(|world| {
        let now = world.clock.now();
        let place = Place { folder: folder_id, pool: Some(pool), host };
        world.insert_machine(Machine::new(&id, &place, now, power, config));
    });
    begun.finish(shared).map_err(refused)
}

fn add_disk(
    host: &Path,
    path: &DatastorePath,
    at: usize,
    spec: &DiskSpec,
    cbt: bool,
) -> Result<(t::VirtualDisk, Option<Manifest>)> {
    let failed = |error| Error::store(format!("making the disk {path}"), error);
    let provisioning = if spec.thin { Provisioning::Thin } else { Provisioning::LazyThick };
    let store_spec = sim_store::DiskSpec { provisioning, ..sim_store::DiskSpec::thin(spec.capacity_bytes) };
    let mut manifest = None;
    let disk = match &spec.content {
        Content::Empty => Disk::create(host, &store_spec).map_err(failed)?,
        Content::RawFile(image) => Disk::import_raw(image, host).map_err(failed)?,
        Content::Image(plan) => {
            let disk = Disk::create(host, &store_spec).map_err(failed)?;
            let mut cursor = DiskCursor::new(&disk);
            manifest = Some(image::populate(&mut cursor, plan).map_err(failed)?);
            cursor.finish().map_err(failed)?;
            disk
        }
    };
    let capacity = disk.capacity();
    let uuid = disk.uuid().map_err(failed)?;
    drop(disk);
    if cbt {
        tracking::enable(host, None).map_err(failed)?;
    }
    let at = i32::try_from(at).unwrap_or(i32::MAX);
    let unit = at + i32::from(at >= hardware::SCSI_OWN_UNIT);
    let mut backing = chain::new_backing(spec.thin, false);
    backing.base.file_name = path.to_string();
    backing.uuid = Some(uuid.dashed());
    Ok((hardware::disk(hardware::FIRST_DISK + unit, hardware::SCSI, unit, capacity, backing), manifest))
}
