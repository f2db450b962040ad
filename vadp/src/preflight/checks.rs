//! What a preflight looks at. Each function adds what it has seen.

use std::collections::BTreeMap;
use std::time::Duration;

use vim_api::MoRef;
use vim_api::mo::{AuthorizationManager, Datastore, HostSystem, Managed, ManagedEntity, VirtualMachine};
use vim_api::types::{
    EntityPrivilege, VirtualMachineConfigInfo, VirtualMachineConnectionState, VirtualMachinePowerState,
    VirtualMachineRuntimeInfo, VirtualMachineSnapshotTree, VirtualTPM,
};

use super::{Finding, Preflight, Topic};
use crate::capture::{self, PartName, Verdict, Why};
use crate::cbt::Signs;
use crate::eligibility;
use crate::error::Error;
use crate::machine;
use crate::privileges::{BACKUP, ENCRYPTED, Place, Privilege};
use crate::snapshot::{Purpose, Quiesce, why_not_quiesced};
use crate::stored;

/// A snapshot grows with what the guest writes while it is read; a tenth of the disks is what administrators plan with.
const WORRYING_SHARE: u64 = 10;
/// Below this there is no room for the snapshot's files themselves.
const LEAST_FREE: u64 = 64 << 20;

/// Whether the machine can be asked for a snapshot at all. Gives its state, for those who come after.
pub(super) async fn state(
    preflight: &Preflight<'_>,
    config: &VirtualMachineConfigInfo,
    findings: &mut Vec<Finding>,
) -> Result<VirtualMachineRuntimeInfo, Error> {
    let vm = preflight.vm.vm();
    let context = || format!("reading the state of {}", preflight.vm.name());
    let runtime = vm.require(VirtualMachine::RUNTIME).await.map_err(|e| Error::api(context(), e))?;
    findings.push(match &runtime.connection_state {
        VirtualMachineConnectionState::Connected => Finding::good(Topic::Machine, "it is connected"),
        other => Finding::failure(
            Topic::Machine,
            format!("it is {}", vim_api::dynamic::EnumValue::as_str(other)),
            "see to its host and its files, then try again",
        ),
    });
    findings.extend(
        eligibility::of_machine(config)
            .into_iter()
            .map(|obstacle| Finding::failure(Topic::Machine, obstacle.to_string(), obstacle.fix())),
    );
    if config.hardware.device.iter().any(|device| device.downcast_ref::<VirtualTPM>().is_some()) {
        let text = "it has a virtual TPM: without its key provider a recovered machine does not start";
        findings.push(Finding::warning(
            Topic::Machine,
            text,
            "keep the key provider, or its backup, where recovery happens",
        ));
    }
    let consolidation = runtime.consolidation_needed.unwrap_or(false);
    let tree = vm.get(VirtualMachine::SNAPSHOT).await.map_err(|e| Error::api(context(), e))?;
    let mut names = Vec::new();
    collect(&tree.map(|info| info.root_snapshot_list).unwrap_or_default(), &mut names);
    let (ours, others): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| Purpose::of(name).is_some());
    if !ours.is_empty() {
        let text = format!("there are snapshots of backups: {}", ours.join(", "));
        let fix = "if no backup is running, the next run with their journal removes them";
        findings.push(Finding::warning(Topic::Snapshots, text, fix));
    }
    if !others.is_empty() {
        let text = format!("there are {} snapshots of others", others.len());
        let fix = "remove those that nobody needs: they slow the machine down and grow";
        findings.push(Finding::warning(Topic::Snapshots, text, fix));
    }
    if consolidation {
        let text = "its disks need consolidation: links of removed snapshots are left";
        findings.push(Finding::warning(Topic::Snapshots, text, "consolidate its disks"));
    }
    if ours.is_empty() && others.is_empty() && !consolidation {
        findings.push(Finding::good(Topic::Snapshots, "there are none"));
    }
    Ok(runtime)
}

/// Whether a snapshot protects each disk.
pub(super) fn disks(
    preflight: &Preflight<'_>,
    config: &VirtualMachineConfigInfo,
    findings: &mut Vec<Finding>,
) {
    let obstacles = eligibility::of_disks(config, &preflight.excluded);
    if obstacles.is_empty() {
        let (kept, excluded) = eligibility::split(config, &preflight.excluded);
        let text = format!("{} of {} will be backed up", kept.len(), kept.len() + excluded.len());
        findings.push(Finding::good(Topic::Disks, text));
    }
    findings.extend(obstacles.into_iter().map(|(text, fix)| Finding::failure(Topic::Disks, text, fix)));
}

/// Whether the user may do what a backup does. Ids that the server does not know are left out: asking for one is a fault.
pub(super) async fn privileges(
    preflight: &Preflight<'_>,
    config: &VirtualMachineConfigInfo,
    findings: &mut Vec<Finding>,
) {
    let mut needed = BACKUP.to_vec();
    if config.key_id.is_some() {
        needed.extend(ENCRYPTED);
    }
    match missing(preflight, needed).await {
        Ok(missing) if missing.is_empty() => {
            findings.push(Finding::good(Topic::Privileges, "all that a backup needs are granted"));
        }
        Ok(missing) => findings.extend(missing.into_iter().map(|privilege| {
            let text = format!("{} is missing: needed for {}", privilege.id, privilege.needed_for);
            let place = match privilege.on {
                Place::Machine => "the machine or a folder above it, propagated",
                Place::Root => "the root folder, propagated",
                Place::Datastore => "its datastores or a folder above them, propagated",
            };
            let fix = format!("grant the user a role with {} on {place}", privilege.id);
            if privilege.id == TRACKING_PRIVILEGE {
                Finding::warning(Topic::Privileges, text, fix)
            } else {
                Finding::failure(Topic::Privileges, text, fix)
            }
        })),
        Err(error) => findings.push(Finding::unseen(Topic::Privileges, "the user's privileges", &error)),
    }
}

/// Without it backups work, in full.
const TRACKING_PRIVILEGE: &str = "VirtualMachine.Config.ChangeTracking";

async fn missing(
    preflight: &Preflight<'_>,
    needed: Vec<Privilege>,
) -> Result<Vec<Privilege>, vim_api::Error> {
    let client = preflight.vm.client();
    let Some(manager) = &client.content().authorization_manager else { return Ok(Vec::new()) };
    let manager: AuthorizationManager = client.bind(manager);
    let known = manager.get(AuthorizationManager::PRIVILEGE_LIST).await?.unwrap_or_default();
    let session = client.current_session().await?.key;
    let mut missing = Vec::new();
    let stores = preflight.vm.vm().get(VirtualMachine::DATASTORE).await?.unwrap_or_default();
    for place in [Place::Machine, Place::Root, Place::Datastore] {
        let entities: Vec<MoRef<ManagedEntity>> = match place {
            Place::Machine => vec![preflight.vm.vm().moref().cast()],
            Place::Root => vec![client.content().root_folder.cast()],
            Place::Datastore => stores.iter().map(MoRef::cast).collect(),
        };
        let here: Vec<Privilege> = needed
            .iter()
            .filter(|privilege| privilege.on == place && known.iter().any(|k| k.priv_id == privilege.id))
            .copied()
            .collect();
        if here.is_empty() || entities.is_empty() {
            continue;
        }
        let ids: Vec<String> = here.iter().map(|privilege| privilege.id.to_owned()).collect();
        let answers = manager.has_privilege_on_entities(&entities, &session, &ids).await?;
        let granted = |id: &str| {
            let all = |answer: &EntityPrivilege| {
                answer.priv_availability.iter().any(|found| found.priv_id == id && found.is_granted)
            };
            !answers.is_empty() && answers.iter().all(all)
        };
        missing.extend(here.into_iter().filter(|privilege| !granted(privilege.id)));
    }
    Ok(missing)
}

/// Which parts of the configuration a backup would capture, by reading them; and what could not be made of it elsewhere.
pub(super) async fn capture(
    preflight: &Preflight<'_>,
    config: &VirtualMachineConfigInfo,
    findings: &mut Vec<Finding>,
) {
    let parts = capture::gather(preflight.vm, config, None).await;
    let missing = parts.missing();
    if missing.is_empty() {
        findings.push(Finding::good(Topic::Capture, "all parts of its configuration can be captured"));
    }
    for (name, missing) in missing {
        let text = format!("{name} cannot be captured: {missing}");
        let fix = match missing.why {
            Why::NotAllowed => match name {
                PartName::Vmx | PartName::Nvram | PartName::VssManifest => {
                    "grant the user Datastore.Browse and Datastore.FileManagement on its datastores"
                }
                PartName::Policies => "grant the user StorageProfile.View on the root folder",
                _ => "let the user read the machine and what it belongs to (System.Read)",
            },
            Why::NotOnThisServer => "back up through a vCenter, or do without",
            _ => "see to what the server says, or do without",
        };
        let is_required = preflight.required.contains(&name);
        findings.push(match (is_required, missing.why) {
            (true, _) => Finding::failure(Topic::Capture, text, fix),
            // That a host alone has no tags is no news to whoever backs one up.
            (false, Why::NotOnThisServer) => Finding::good(Topic::Capture, text),
            (false, _) => Finding::warning(Topic::Capture, text, fix),
        });
    }
    for loss in capture::losses(config, &preflight.excluded) {
        let text = format!("made anew elsewhere, {loss}");
        findings.push(match loss.verdict {
            Verdict::Lost => {
                Finding::warning(Topic::Capture, text, "do without it there, or protect it by other means")
            }
            _ => Finding::good(Topic::Capture, text),
        });
    }
}

/// Whether the next backup but one can be an incremental one.
pub(super) async fn tracking(
    preflight: &Preflight<'_>,
    config: &VirtualMachineConfigInfo,
    findings: &mut Vec<Finding>,
) {
    let vm = preflight.vm.vm();
    let read = async {
        let capability = vm.require(VirtualMachine::CAPABILITY).await?;
        Ok::<_, vim_api::Error>((capability, vm.get(VirtualMachine::SNAPSHOT).await?.is_some()))
    };
    let (capability, has_snapshots) = match read.await {
        Ok(read) => read,
        Err(error) => return findings.push(Finding::unseen(Topic::Tracking, "it", &error)),
    };
    let signs = match Signs::read(preflight.vm, None).await {
        Ok(signs) => signs,
        Err(error) => {
            return findings.push(Finding::unseen(Topic::Tracking, "whether it is to be trusted", &error));
        }
    };
    findings.push(if let Some(fault) = signs.known_fault(None) {
        let text = format!("it is not to be trusted here, so every backup is a full one: {}", fault.what);
        Finding::warning(Topic::Tracking, text, format!("see {}", fault.source))
    } else if config.change_tracking_enabled.unwrap_or(false) {
        Finding::good(Topic::Tracking, "it is on")
    } else if !capability.change_tracking_supported.unwrap_or(false) {
        let text = "the machine does not support it: every backup is a full one";
        Finding::warning(Topic::Tracking, text, "upgrade its virtual hardware to version 7 or later")
    } else if has_snapshots {
        let text =
            "it is off, and cannot be switched on under a snapshot (KB 1020128): every backup is a full one";
        Finding::warning(
            Topic::Tracking,
            text,
            "remove the machine's snapshots; the next backup then switches it on",
        )
    } else {
        Finding::good(Topic::Tracking, "it is off, and the backup switches it on")
    });
}

/// Whether the guest can be brought to rest, if that is wished for.
pub(super) async fn guest(
    preflight: &Preflight<'_>,
    runtime: &VirtualMachineRuntimeInfo,
    findings: &mut Vec<Finding>,
) {
    if preflight.quiesce == Quiesce::None {
        return;
    }
    let problem = match &runtime.power_state {
        VirtualMachinePowerState::PoweredOff => None,
        power => match preflight.vm.vm().get(VirtualMachine::GUEST).await {
            Ok(guest) => why_not_quiesced(power, guest.as_ref()),
            Err(error) => return findings.push(Finding::unseen(Topic::Quiescing, "the guest", &error)),
        },
    };
    let fix = "let the machine run, with VMware Tools running in its guest, or shut it down";
    findings.push(match (problem, preflight.quiesce) {
        (None, _) => Finding::good(Topic::Quiescing, "the guest can be asked to come to rest, or is off"),
        (Some(text), Quiesce::Require) => Finding::failure(Topic::Quiescing, text, fix),
        (Some(text), _) => Finding::warning(
            Topic::Quiescing,
            format!("{text}: the backup will be as after a power cut"),
            fix,
        ),
    });
}

/// Whether there is room for the snapshot while it grows.
pub(super) async fn datastores(
    preflight: &Preflight<'_>,
    config: &VirtualMachineConfigInfo,
    findings: &mut Vec<Finding>,
) {
    let mut disk_bytes: BTreeMap<String, u64> = BTreeMap::new();
    for disk in machine::disks(config) {
        let name = disk.file_name.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        if let Some((name, _)) = name {
            *disk_bytes.entry(name.to_owned()).or_default() += disk.capacity;
        }
    }
    let client = preflight.vm.client();
    let stores = match preflight.vm.vm().get(VirtualMachine::DATASTORE).await {
        Ok(stores) => stores.unwrap_or_default(),
        Err(error) => {
            return findings.push(Finding::unseen(Topic::Datastore, "the machine's datastores", &error));
        }
    };
    for moref in stores {
        let store: Datastore = client.bind(&moref);
        let summary = match store.require(Datastore::SUMMARY).await {
            Ok(summary) => summary,
            Err(error) => {
                findings.push(Finding::unseen(Topic::Datastore, moref.value(), &error));
                continue;
            }
        };
        let name = &summary.name;
        let Some(disks) = disk_bytes.get(name) else { continue };
        let free = u64::try_from(summary.free_space).unwrap_or(0);
        let fix = "free space there, or move the machine";
        findings.push(if !summary.accessible {
            Finding::failure(Topic::Datastore, format!("{name} is not accessible"), "see to its storage")
        } else if free < LEAST_FREE {
            Finding::failure(
                Topic::Datastore,
                format!("{name} has {free} bytes free: too few for a snapshot"),
                fix,
            )
        } else if free < disks / WORRYING_SHARE {
            let text = format!("{name} has {free} bytes free for snapshots of disks with {disks} bytes");
            Finding::warning(Topic::Datastore, text, fix)
        } else {
            Finding::good(Topic::Datastore, format!("{name} has {free} bytes free"))
        });
    }
}

/// Whether the host that VDDK's network transports read from can be reached: its name resolves, its port answers. vCenter
/// being at hand says nothing of it.
pub(super) async fn host(
    preflight: &Preflight<'_>,
    runtime: &VirtualMachineRuntimeInfo,
    findings: &mut Vec<Finding>,
) {
    let Some(port) = preflight.disk_port else { return };
    let client = preflight.vm.client();
    let name = match &runtime.host {
        Some(host) => client.bind::<HostSystem>(host).get(HostSystem::NAME).await,
        None => Ok(None),
    };
    let name = match name {
        Ok(Some(name)) => name,
        Ok(None) => {
            let text = "the machine has no host";
            return findings.push(Finding::warning(
                Topic::Host,
                text,
                "see whether the machine can be started",
            ));
        }
        Err(error) => return findings.push(Finding::unseen(Topic::Host, "the machine's host", &error)),
    };
    // A host alone calls itself by what it likes; the client knows how it is reached.
    let name = if client.is_vcenter() { name } else { client.host().to_owned() };
    findings.push(match dial(&name, port, preflight.patience).await {
        Ok(()) => Finding::good(Topic::Host, format!("{name} answers at port {port}")),
        Err(why) => {
            let text =
                format!("{name} cannot be reached at port {port}: {why}. Only HotAdd and SAN work then");
            let fix = format!("let this machine resolve {name} and connect to its TCP port {port}");
            Finding::warning(Topic::Host, text, fix)
        }
    });
}

async fn dial(name: &str, port: u16, patience: Duration) -> Result<(), String> {
    let addresses = tokio::time::timeout(patience, tokio::net::lookup_host((name, port))).await;
    let addresses: Vec<_> = match addresses {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(format!("its name does not resolve ({error})")),
        Err(_) => return Err("its name does not resolve in time".to_owned()),
    };
    match tokio::time::timeout(patience, tokio::net::TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("nothing answers in time".to_owned()),
    }
}

/// Whether the repository can be read, and what it has of the machine.
pub(super) async fn repository(preflight: &Preflight<'_>, findings: &mut Vec<Finding>) {
    let Some(repository) = preflight.repository else { return };
    let found = async {
        let machine = stored::machine_id(preflight.vm.identity())?;
        repository.latest(&machine).await.map_err(|e| Error::repository(repository.describe(), e))
    };
    findings.push(match found.await {
        Ok(Some(point)) => {
            Finding::good(Topic::Repository, format!("the latest restore point is {}", point.id()))
        }
        Ok(None) => Finding::good(Topic::Repository, "it has no restore point of the machine yet"),
        Err(error) => {
            let mut text = error.to_string();
            if let Some(cause) = std::error::Error::source(&error) {
                text = format!("{text}: {cause}");
            }
            Finding::failure(Topic::Repository, text, "see to its storage, or run a check of it")
        }
    });
}

fn collect(trees: &[VirtualMachineSnapshotTree], names: &mut Vec<String>) {
    for tree in trees {
        names.push(tree.name.clone());
        collect(&tree.child_snapshot_list, names);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A vCenter's hosts are dialled by their own names, which the machine that backs up may not know.
    #[tokio::test]
    async fn a_name_that_does_not_resolve_is_told_from_a_port_that_does_not_answer() {
        let patience = Duration::from_secs(20);
        let why = dial("esx-01.invalid", 902, patience).await.unwrap_err();
        assert!(why.contains("does not resolve"), "{why}");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let why = dial("127.0.0.1", free, patience).await.unwrap_err();
        assert!(why.contains("refused"), "{why}");
    }
}
