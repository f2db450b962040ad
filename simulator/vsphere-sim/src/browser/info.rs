//! What a search tells of a file.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use sim_store::{Access, DatastorePath, Disk, LinkInfo, Provisioning, Scope};
use vim_api::dynamic::{DateTime, Poly, type_info};
use vim_api::types as t;

use super::kind::{Kind, is_plain};
use crate::files::OWNER;

/// Bytes that are looked at of a `.vmx` file. Larger ones are none.
const MAX_CONFIG: u64 = 1 << 20;

/// A disk, as far as a search asks about it.
struct Looked {
    link: LinkInfo,
    capacity: u64,
    thin: bool,
    controller: &'static str,
    hardware_version: Option<i32>,
}

/// The file as the queries ask for it; `None` if they ask for others. Without queries all files are asked for.
///
/// A query of the file's own type makes the answer of that type, with the details that it wants. By the plain query, or by
/// none, it is of its type if the search wants types. The data of disks shows only where no query knows disks.
pub(super) fn info(
    queries: &[Poly<t::FileQuery>],
    details: &t::FileQueryFlags,
    path: &DatastorePath,
    host: &Path,
    is_folder: bool,
) -> Option<Poly<t::FileInfo>> {
    // A folder that is not made yet is as old as what it is in.
    let above = || host.parent().filter(|_| is_folder).map(fs::symlink_metadata);
    let metadata = fs::symlink_metadata(host).ok().or_else(|| above()?.ok())?;
    let kind = Kind::of(path.file_name(), is_folder);
    let knows_disks = queries.iter().any(|query| query.is::<t::VmDiskFileQuery>());
    if kind == Kind::DiskPart && knows_disks {
        return None;
    }
    // A file that only looks like a disk has no more to it than its name.
    let disk = if kind == Kind::Disk { look(host) } else { None };
    let mut asking = queries.iter().filter(|query| kind.is_asked_by(query));
    let typed = asking.clone().find(|query| !is_plain(query) && passes(query, disk.as_ref(), host));
    if typed.is_none() && !queries.is_empty() && !asking.any(is_plain) {
        return None;
    }
    let base = base(details, path, host, &metadata, disk.as_ref());
    if typed.is_none() && !details.file_type {
        return Some(Poly::new(base));
    }
    let mut info = kind.info(base);
    if let Some(wanted) = typed.and_then(|query| query.downcast_ref::<t::VmDiskFileQuery>())
        && let (Some(flags), Some(disk)) = (&wanted.details, &disk)
        && let Some(info) = info.downcast_mut::<t::VmDiskFileInfo>()
    {
        fill_disk(info, flags, disk, path);
    }
    if let Some(wanted) = typed.and_then(|query| query.downcast_ref::<t::VmConfigFileQuery>())
        && wanted.details.as_ref().is_some_and(|flags| flags.config_version)
        && let Some(info) = info.downcast_mut::<t::VmConfigFileInfo>()
    {
        info.config_version = config_version(host);
    }
    Some(info)
}

fn base(
    details: &t::FileQueryFlags,
    path: &DatastorePath,
    host: &Path,
    metadata: &Metadata,
    disk: Option<&Looked>,
) -> t::FileInfo {
    let size = || match disk {
        Some(disk) => taken(host) + taken(&disk.link.extent),
        None if metadata.is_dir() => 0,
        None => metadata.len(),
    };
    let modified = || metadata.modified().ok().map(DateTime::from);
    t::FileInfo {
        path: path.file_name().to_owned(),
        file_size: details.file_size.then(|| i64::try_from(size()).unwrap_or(i64::MAX)),
        modification: details.modification.then(modified).flatten(),
        owner: (details.file_owner == Some(true)).then(|| OWNER.to_owned()),
        ..Default::default()
    }
}

/// The bytes that a file takes of its datastore.
fn taken(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.blocks() * 512)
}

fn look(host: &Path) -> Option<Looked> {
    let disk = Disk::open(host, Access::ReadOnly, Scope::TopLink).ok()?;
    let adapter = disk.metadata("adapterType").unwrap_or_default();
    let version = disk.metadata("virtualHWVersion").ok();
    Some(Looked {
        link: disk.links().into_iter().next()?,
        capacity: disk.capacity(),
        thin: disk.provisioning() == Provisioning::Thin,
        controller: match adapter.to_lowercase().as_str() {
            "ide" => "VirtualIDEController",
            "buslogic" => "VirtualBusLogicController",
            "pvscsi" => "ParaVirtualSCSIController",
            _ => "VirtualLsiLogicController",
        },
        hardware_version: version.and_then(|version| version.parse().ok()),
    })
}

impl Looked {
    /// The type of the backing that a machine would have for it.
    fn backing(&self) -> &'static str {
        let is_sesparse = self
            .link
            .extent
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|n| n.ends_with("-sesparse.vmdk"));
        if is_sesparse { "VirtualDiskSeSparseBackingInfo" } else { "VirtualDiskFlatVer2BackingInfo" }
    }
}

/// Whether a file gets through the filter of a query. What is not known of it does not.
fn passes(query: &Poly<t::FileQuery>, disk: Option<&Looked>, host: &Path) -> bool {
    if let Some(filter) = query.downcast_ref::<t::VmDiskFileQuery>().and_then(|query| query.filter.as_ref()) {
        return disk.is_some_and(|disk| disk_passes(filter, disk));
    }
    if let Some(filter) = query.downcast_ref::<t::VmConfigFileQuery>().and_then(|query| query.filter.as_ref())
    {
        let version = config_version(host);
        return filter.encrypted != Some(true)
            && (filter.match_config_version.is_empty()
                || version.is_some_and(|version| filter.match_config_version.contains(&version)));
    }
    true
}

fn disk_passes(filter: &t::VmDiskFileQueryFilter, disk: &Looked) -> bool {
    let is_one_of = |wanted: &[String], own: &str| {
        let fits = |wanted: &String| match (type_info(own), type_info(wanted)) {
            (Some(own), Some(wanted)) => own.is_a(wanted),
            _ => own == wanted,
        };
        wanted.is_empty() || wanted.iter().any(fits)
    };
    let versions = &filter.match_hardware_version;
    is_one_of(&filter.disk_type, disk.backing())
        && is_one_of(&filter.controller_type, disk.controller)
        && (versions.is_empty() || disk.hardware_version.is_some_and(|version| versions.contains(&version)))
        && filter.thin.is_none_or(|thin| thin == disk.thin)
        && filter.encrypted != Some(true)
}

fn fill_disk(
    info: &mut t::VmDiskFileInfo,
    flags: &t::VmDiskFileQueryFlags,
    disk: &Looked,
    path: &DatastorePath,
) {
    let is_wanted = |flag: Option<bool>| flag == Some(true);
    info.disk_type = flags.disk_type.then(|| disk.backing().to_owned());
    info.capacity_kb = flags.capacity_kb.then(|| i64::try_from(disk.capacity / 1024).unwrap_or(i64::MAX));
    info.hardware_version = disk.hardware_version.filter(|_| flags.hardware_version);
    info.controller_type = is_wanted(flags.controller_type).then(|| disk.controller.to_owned());
    info.thin = is_wanted(flags.thin).then_some(disk.thin);
    info.sector_format = is_wanted(flags.sector_format).then(|| "native_512".to_owned());
    if is_wanted(flags.disk_extents) {
        let name = disk.link.extent.file_name().and_then(|name| name.to_str());
        let extent = name.and_then(|name| path.sibling(name).ok());
        info.disk_extents = extent.iter().map(DatastorePath::to_string).collect();
    }
}

/// `config.version` of a `.vmx` file.
fn config_version(host: &Path) -> Option<i32> {
    let mut text = String::new();
    File::open(host).ok()?.take(MAX_CONFIG).read_to_string(&mut text).ok()?;
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let (_, value) = lines.find(|(key, _)| key.trim() == "config.version")?;
    value.trim().trim_matches('"').parse().ok()
}
