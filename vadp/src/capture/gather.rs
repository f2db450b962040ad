//! Reading all parts of a machine.

use vim_api::mo::{Managed, VirtualMachine};
use vim_api::types::VirtualMachineConfigInfo;

use super::around::{self, Around};
use super::types::Place;
use super::{Missing, Part, Parts, Why, files, of_config, owners};
use crate::machine::{self, ProtectedVm};
use crate::snapshot::{Consistency, SnapshotRecord};

/// Reads what there is to be read of a machine with this configuration. Nothing is changed, and nothing fails: what could
/// not be read is missing in what is returned. `snapshot` is the backup's, if it is there.
pub(crate) async fn gather(
    vm: &ProtectedVm,
    config: &VirtualMachineConfigInfo,
    snapshot: Option<&SnapshotRecord>,
) -> Parts {
    let machine = vm.vm();
    let layout = async {
        Part::from(
            machine
                .get(VirtualMachine::LAYOUT_EX)
                .await
                .map(|layout| layout.map(of_config::layout).unwrap_or_default()),
        )
    };
    let (layout, around) = futures::join!(layout, around::around(vm));
    let (place, compute) = match around {
        Ok(Around { place, compute }) => (Part::Captured(place), Ok(compute)),
        Err(error) => (Part::Missing(Missing::from(&error)), Err(Missing::from(&error))),
    };
    let read_files = async {
        let datacenter = place.get().and_then(|place: &Place| place.datacenter.as_deref());
        if datacenter.is_none() && vm.client().is_vcenter() {
            let text = "the datacenter is not known, and files are found by its name";
            let absent = || Part::absent(Why::Failed, text);
            return (Part::absent(Why::Failed, text), absent(), absent());
        }
        let service = vm.client().datastore_files(datacenter.unwrap_or_default());
        let vss_manifest = async {
            match snapshot.filter(|taken| taken.consistency == Consistency::Quiesced && is_windows(config)) {
                Some(taken) => files::vss_manifest(vm, &service, config, taken.taken_ms).await,
                None => Part::Captured(None),
            }
        };
        futures::join!(files::vmx(&service, config), files::nvram(&service, config, &layout), vss_manifest)
    };
    let drs = async {
        match &compute {
            Ok(compute) => Part::from(around::drs(vm, compute.as_ref()).await),
            Err(missing) => Part::Missing(missing.clone()),
        }
    };
    let snapshots =
        async {
            Part::from(machine.get(VirtualMachine::SNAPSHOT).await.map(|tree| {
                of_config::snapshots(&tree.map(|info| info.root_snapshot_list).unwrap_or_default())
            }))
        };
    let guest = async {
        Part::from(
            machine
                .get(VirtualMachine::GUEST)
                .await
                .map(|guest| guest.map(of_config::guest).unwrap_or_default()),
        )
    };
    let keys: Vec<i32> = machine::disks(config).iter().map(|disk| disk.key).collect();
    let (
        (vmx, nvram, vss_manifest),
        tags,
        attributes,
        policies,
        permissions,
        networks,
        drs,
        snapshots,
        guest,
    ) = futures::join!(
        read_files,
        owners::tags(vm),
        owners::attributes(vm),
        owners::policies(vm, &keys),
        owners::permissions(vm),
        around::name_networks(vm, of_config::nics(config)),
        drs,
        snapshots,
        guest,
    );
    Parts {
        essentials: Part::Captured(of_config::essentials(config)),
        vmx,
        nvram,
        vss_manifest,
        layout,
        tags,
        attributes,
        policies,
        place,
        permissions,
        networks: Part::from(networks),
        drs,
        vapp: Part::Captured(of_config::vapp(config)),
        snapshots,
        guest,
    }
}

/// Whether the guest's system is a Windows, in which VSS brings it to rest. The API's names of them begin alike, from `winNTGuest` to
/// `windows2022srvNext_64Guest`.
fn is_windows(config: &VirtualMachineConfigInfo) -> bool {
    config.guest_id.get(..3).is_some_and(|begin| begin.eq_ignore_ascii_case("win"))
}
