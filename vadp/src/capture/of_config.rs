//! What stands in the configuration itself, and in the machine's other properties.

use vim_api::dynamic::Poly;
use vim_api::types::{
    GuestInfo, VirtualDevice, VirtualEthernetCard, VirtualEthernetCardDistributedVirtualPortBackingInfo,
    VirtualEthernetCardNetworkBackingInfo, VirtualEthernetCardOpaqueNetworkBackingInfo,
    VirtualMachineConfigInfo, VirtualMachineFileLayoutEx, VirtualMachineSnapshotTree, VmConfigInfo,
};

use super::types::{
    Device, Essentials, Guest, LayoutFile, Network, Nic, SnapshotNode, VApp, VAppProduct, VAppProperty,
};
use crate::snapshot::Purpose;

pub(super) fn essentials(config: &VirtualMachineConfigInfo) -> Essentials {
    Essentials {
        name: config.name.clone(),
        bios_uuid: config.uuid.clone(),
        instance_uuid: config.instance_uuid.clone(),
        guest_id: config.guest_id.clone(),
        guest_name: config.guest_full_name.clone(),
        firmware: config.firmware.clone(),
        hardware_version: config.version.clone(),
        cpus: config.hardware.num_cpu,
        cores_per_socket: config.hardware.num_cores_per_socket,
        memory_mib: config.hardware.memory_mb,
        annotation: config.annotation.clone().filter(|text| !text.is_empty()),
        template: config.template,
        vmx_path: config.files.vm_path_name.clone(),
        managed_by: config.managed_by.as_ref().map(|by| (by.extension_key.clone(), by.r#type.clone())),
        encryption_key: config
            .key_id
            .as_ref()
            .map(|key| (key.key_id.clone(), key.provider_id.as_ref().map(|provider| provider.id.clone()))),
        change_tracking: config.change_tracking_enabled,
        datastores: config.datastore_url.iter().map(|pair| (pair.name.clone(), pair.url.clone())).collect(),
        devices: config.hardware.device.iter().map(device).collect(),
    }
}

fn device(device: &Poly<VirtualDevice>) -> Device {
    Device {
        kind: device.type_name().to_owned(),
        key: device.key,
        label: device.device_info.as_ref().map(|info| info.label.clone()),
        summary: device.device_info.as_ref().map(|info| info.summary.clone()),
        controller: device.controller_key,
        unit: device.unit_number,
        backing: device.backing.as_ref().map(|backing| backing.type_name().to_owned()),
    }
}

pub(super) fn layout(layout: VirtualMachineFileLayoutEx) -> Vec<LayoutFile> {
    let files = layout.file.into_iter();
    files
        .map(|file| LayoutFile {
            key: file.key,
            path: file.name,
            kind: file.r#type,
            size: file.size,
            unique_size: file.unique_size,
        })
        .collect()
}

pub(super) fn vapp(config: &VirtualMachineConfigInfo) -> Option<VApp> {
    let vapp: &VmConfigInfo = config.v_app_config.as_deref()?;
    let product = |product: &vim_api::types::VAppProductInfo| VAppProduct {
        name: product.name.clone(),
        vendor: product.vendor.clone(),
        version: product.version.clone(),
    };
    let property = |property: &vim_api::types::VAppPropertyInfo| {
        let parts = [&property.class_id, &property.id, &property.instance_id];
        let parts: Vec<&str> =
            parts.into_iter().flatten().map(String::as_str).filter(|part| !part.is_empty()).collect();
        let is_secret = property.r#type.as_deref().is_some_and(|of| of.contains("password"));
        let open = |value: &Option<String>| value.clone().filter(|_| !is_secret);
        VAppProperty {
            id: parts.join("."),
            of: property.r#type.clone(),
            value: open(&property.value),
            default: open(&property.default_value),
        }
    };
    Some(VApp {
        products: vapp.product.iter().map(product).collect(),
        properties: vapp.property.iter().map(property).collect(),
        transports: vapp.ovf_environment_transport.clone(),
        ip_policy: vapp.ip_assignment.ip_allocation_policy.clone(),
    })
}

/// The network adapters, without the names that the configuration does not tell.
pub(super) fn nics(config: &VirtualMachineConfigInfo) -> Vec<Nic> {
    let devices = config.hardware.device.iter();
    devices
        .filter_map(|device| Some((device, device.downcast_ref::<VirtualEthernetCard>()?)))
        .map(|(device, card)| Nic {
            key: device.key,
            label: device.device_info.as_ref().map(|info| info.label.clone()),
            mac: card.mac_address.clone(),
            address_type: card.address_type.clone(),
            network: network(device),
        })
        .collect()
}

fn network(device: &VirtualDevice) -> Network {
    let Some(backing) = &device.backing else { return Network::Other { backing: String::new() } };
    if let Some(found) = backing.downcast_ref::<VirtualEthernetCardNetworkBackingInfo>() {
        return Network::Standard { name: found.device_name.clone() };
    }
    if let Some(found) = backing.downcast_ref::<VirtualEthernetCardDistributedVirtualPortBackingInfo>() {
        return Network::Distributed {
            portgroup_key: found.port.portgroup_key.clone(),
            portgroup: None,
            switch_uuid: found.port.switch_uuid.clone(),
            switch: None,
        };
    }
    if let Some(found) = backing.downcast_ref::<VirtualEthernetCardOpaqueNetworkBackingInfo>() {
        let (id, of) = (found.opaque_network_id.clone(), found.opaque_network_type.clone());
        return Network::Opaque { id, of };
    }
    Network::Other { backing: backing.type_name().to_owned() }
}

/// The machine's snapshots without those of backups, parents first.
pub(super) fn snapshots(roots: &[VirtualMachineSnapshotTree]) -> Vec<SnapshotNode> {
    let mut found = Vec::new();
    let mut left: Vec<(Option<usize>, &VirtualMachineSnapshotTree)> =
        roots.iter().rev().map(|tree| (None, tree)).collect();
    while let Some((parent, tree)) = left.pop() {
        let mut below = parent;
        if Purpose::of(&tree.name).is_none() {
            below = Some(found.len());
            found.push(SnapshotNode {
                name: tree.name.clone(),
                description: tree.description.clone(),
                created: tree.create_time.to_string(),
                quiesced: tree.quiesced,
                parent,
            });
        }
        left.extend(tree.child_snapshot_list.iter().rev().map(|child| (below, child)));
    }
    found
}

pub(super) fn guest(guest: GuestInfo) -> Guest {
    let addresses =
        guest.net.iter().filter_map(|nic| Some((nic.mac_address.clone()?, nic.ip_address.clone()))).collect();
    Guest {
        host_name: guest.host_name,
        address: guest.ip_address,
        addresses,
        guest_id: guest.guest_id,
        system: guest.guest_full_name,
        tools_version: guest.tools_version,
        tools_running: guest.tools_running_status,
    }
}
