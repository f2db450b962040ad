//! Making the disks and machines of a new simulator, and starting it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use sim_store::guest::DiskCursor;
use sim_store::guest::image::{self, Manifest};
use sim_store::state::{PasswordHash, UserRecord};
use sim_store::{Datastore, DatastorePath, Disk, Provisioning, tracking};
use tokio::net::TcpListener;

use super::builder::{Builder, Content, DiskSpec, VmSpec};
use super::{Sim, Thumbprints};
use crate::faults::FaultBook;
use crate::inventory::{FIRST_DISK, SCSI_OWN_UNIT};
use crate::machine::{DiskState, Machine, Power, Settings};
use crate::server::Role;
use crate::world::{self, DatastoreState, LookupEntry, Shared, Stored};
use crate::{Error, ErrorKind, Result, chain, control, lease, random, server, state_file};

/// Name of the datastore of a new data folder, and of its folder.
const DATASTORE: &str = "datastore1";

/// The first machine is `vm-101`.
const FIRST_ID: u32 = 101;

/// More disks than a SCSI controller has units for.
const MAX_DISKS: usize = 15;

/// Starts what a builder describes.
pub(super) async fn start(builder: Builder) -> Result<Sim> {
    if builder.control.is_some_and(|address| !address.ip().is_loopback()) {
        return Err(Error::new(ErrorKind::InvalidArgument, "the control port must be on a loopback address"));
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
    let (acceptor, user) = (identity.acceptor, builder.user.clone());
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
    let shared = made.map_err(|error| Error::caused(ErrorKind::Store, "making the machines", error))??;
    let endpoint = lease::Endpoint { port: address.port(), sha1: identity.sha1.clone() };
    shared.read_mut(|world| world.leases.server = endpoint);
    tokio::spawn(lease::keep(Arc::clone(&shared)));
    tokio::spawn(server::serve(listener, acceptor, Arc::clone(&shared), Role::Vcenter));
    if let Some((listener, identity)) = services {
        tokio::spawn(server::serve(listener, identity.acceptor, Arc::clone(&shared), Role::Services));
    }
    if let Some(listener) = control_listener {
        tokio::spawn(control::serve(listener, Arc::clone(&shared)));
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
        _folder: folder,
    })
}

/// Takes up the state of the data folder or makes a new one, then adds the machines that are missing.
fn populate(
    builder: &Builder,
    data_dir: &Path,
    password: &SecretString,
    sts: LookupEntry,
) -> Result<Arc<Shared>> {
    fs::create_dir_all(data_dir)
        .map_err(|error| Error::caused(ErrorKind::Store, format!("making {}", data_dir.display()), error))?;
    let mut stored = match state_file::load(data_dir)? {
        Some(stored) => stored,
        None => new_state(data_dir)?,
    };
    let hash = PasswordHash::new(password.expose_secret())
        .map_err(|error| Error::store("hashing the password", error))?;
    stored.users = vec![UserRecord { name: builder.user.clone(), password: hash }];
    let settings = world::Settings {
        data_dir: data_dir.to_owned(),
        version: builder.version,
        task_duration: builder.task_duration,
        property_page: builder.property_page,
        sts,
    };
    let shared = Arc::new(Shared::new(stored, settings, FaultBook::default()));
    lease::sweep(&shared);
    for spec in &builder.vms {
        let known = shared
            .read(|world| world.stored.machines.values().any(|machine| machine.settings.name == spec.name));
        if !known {
            add_machine(&shared, spec)?;
        }
    }
    // Writes the files in any case: the users may be others than last time.
    shared.update(|world| world.touch());
    Ok(shared)
}

fn new_state(data_dir: &Path) -> Result<Stored> {
    let root = data_dir.join("datastores").join(DATASTORE);
    fs::create_dir_all(&root)
        .and_then(|()| fs::canonicalize(&root))
        .map_err(|error| Error::caused(ErrorKind::Store, format!("making {}", root.display()), error))
        .and_then(|root| {
            let files = Datastore::new(DATASTORE, root)
                .map_err(|error| Error::store("naming the datastore", error))?;
            let uuid = format!("{}-{}-{}-{}", random::hex(4), random::hex(4), random::hex(2), random::hex(6));
            Ok(Stored {
                instance_uuid: random::uuid(),
                users: Vec::new(),
                datastores: vec![DatastoreState { id: "datastore-11".to_owned(), files, uuid }],
                machines: BTreeMap::new(),
                half_made: Vec::new(),
                next_id: FIRST_ID,
            })
        })
}

fn add_machine(shared: &Shared, spec: &VmSpec) -> Result<()> {
    if spec.name.is_empty() || spec.name.chars().count() > 80 || spec.disks.len() > MAX_DISKS {
        let what =
            format!("{:?}: a machine has a name of 1 to 80 characters and at most 15 disks", spec.name);
        return Err(Error::new(ErrorKind::InvalidArgument, what));
    }
    let failed = |error| Error::store(format!("making the machine {:?}", spec.name), error);
    let datastore = shared.read(|world| world.stored.datastores.first().cloned());
    let datastore =
        datastore.ok_or_else(|| Error::new(ErrorKind::Store, "the data folder has no datastore"))?;
    let id = shared.update(|world| format!("vm-{}", world.next_id()));
    let stem = file_stem(&spec.name);
    let mut folder = stem.clone();
    if datastore.files.root().join(&folder).exists() {
        folder = format!("{stem}_{id}");
    }
    let path = |file: String| DatastorePath::new(datastore.files.name(), &format!("{folder}/{file}"));
    let root = datastore.files.root().join(&folder);
    fs::create_dir_all(&root)
        .map_err(|error| Error::caused(ErrorKind::Store, format!("making {}", root.display()), error))?;
    let mut disks = Vec::new();
    for (at, disk) in spec.disks.iter().enumerate() {
        let name = if at == 0 { format!("{stem}.vmdk") } else { format!("{stem}_{at}.vmdk") };
        let path = path(name).map_err(failed)?;
        let (disk, manifest) = add_disk(&root.join(path.file_name()), path, at, disk, spec.cbt)?;
        if let Some(manifest) = manifest {
            shared.update(|world| world.manifests.insert((id.clone(), disk.key), manifest));
        }
        disks.push(disk);
    }
    let vmx = path(format!("{stem}.vmx")).map_err(failed)?;
    shared.update(|world| {
        let now = world.clock.now();
        let machine = Machine {
            id: id.clone(),
            instance_uuid: random::uuid(),
            bios_uuid: random::uuid(),
            created: now,
            generation: 1,
            vmx,
            power: if spec.powered_on { Power::On } else { Power::Off },
            booted: spec.powered_on.then_some(now),
            clean_power_off: true,
            settings: Settings {
                name: spec.name.clone(),
                annotation: String::new(),
                guest_id: "debian12_64Guest".to_owned(),
                cpus: 2,
                memory_mb: 2048,
                change_tracking: spec.cbt,
                disks,
                mac: random::mac(),
            },
            snapshots: Vec::new(),
            current_snapshot: None,
            last_snapshot: 0,
            consolidation_needed: false,
            disabled_methods: Vec::new(),
            busy: None,
            stun: Arc::default(),
        };
        world.stored.machines.insert(id.clone(), machine);
        world.touch();
    });
    chain::write_text_files(shared, &id).map_err(|fault| Error::new(ErrorKind::Store, fault.message))
}

fn add_disk(
    host: &Path,
    path: DatastorePath,
    at: usize,
    spec: &DiskSpec,
    cbt: bool,
) -> Result<(DiskState, Option<Manifest>)> {
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
    let unit = at + i32::from(at >= SCSI_OWN_UNIT);
    let state = DiskState {
        key: FIRST_DISK + unit,
        unit,
        capacity,
        path,
        uuid: uuid.dashed(),
        thin: spec.thin,
        eager: false,
        change_id: None,
    };
    Ok((state, manifest))
}

/// A machine's name as the name of files: what cannot stand in one becomes an underscore.
fn file_stem(name: &str) -> String {
    let plain = |c: char| if c.is_control() || "/\\\"[]".contains(c) { '_' } else { c };
    let stem: String = name.chars().map(plain).collect();
    match stem.trim_matches(['.', ' ']) {
        "" => "vm".to_owned(),
        stem => stem.to_owned(),
    }
}
