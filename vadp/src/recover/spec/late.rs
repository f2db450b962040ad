//! What is set when the machine has its disks.

use std::collections::BTreeMap;

use vim_api::DatastorePath;
use vim_api::dynamic::Poly;
use vim_api::types::{
    VirtualDevice, VirtualDeviceConfigSpec, VirtualDeviceConfigSpecOperation, VirtualDeviceFileBackingInfo,
    VirtualDisk, VirtualDiskFlatVer2BackingInfo, VirtualMachineBootOptions,
    VirtualMachineBootOptionsBootableDevice, VirtualMachineBootOptionsBootableDiskDevice,
    VirtualMachineBootOptionsBootableEthernetDevice, VirtualMachineConfigInfo, VirtualMachineConfigSpec,
    VirtualMachineVMCIDevice, VirtualMachineVideoCard,
};

use super::devices::adding;

/// What has to wait. Devices are named by the keys that they had.
#[derive(Debug, Clone, Default)]
pub(super) struct Late {
    pub(super) spec: VirtualMachineConfigSpec,
    pub(super) boot_order: Vec<Poly<VirtualMachineBootOptionsBootableDevice>>,
    /// Devices that the server has made, with the settings that they had.
    pub(super) edits: Vec<Poly<VirtualDevice>>,
    /// Devices with a file beside the machine, and the key of what they are on.
    pub(super) beside: Vec<(Option<i32>, Poly<VirtualDevice>)>,
    /// Disks with another mode, or that the guest may only read.
    pub(super) disks: Vec<(i32, Option<String>, Option<bool>)>,
    /// Whether devices have the PCI slots that they had.
    pub(super) keeps_slots: bool,
}

impl Late {
    pub(super) fn spec(
        &self,
        live: &VirtualMachineConfigInfo,
        keys: &BTreeMap<i32, i32>,
    ) -> VirtualMachineConfigSpec {
        let mut spec = self.spec.clone();
        let find = |saved: i32| {
            let key = keys.get(&saved)?;
            live.hardware.device.iter().find(|device| device.key == *key)
        };
        let mut changes = Vec::new();
        for edit in &self.edits {
            changes.extend(find(edit.key).and_then(|live| edited(live, edit)).map(editing));
        }
        for (key, mode, read_only) in &self.disks {
            let Some(mut device) = find(*key).cloned() else { continue };
            if let Some(disk) = device.downcast_mut::<VirtualDisk>() {
                disk.guest_read_only = read_only.or(disk.guest_read_only);
            }
            let backing = device.backing.as_mut();
            let backing =
                backing.and_then(|backing| backing.downcast_mut::<VirtualDiskFlatVer2BackingInfo>());
            if let (Some(mode), Some(backing)) = (mode, backing) {
                backing.disk_mode.clone_from(mode);
            }
            changes.push(editing(device));
        }
        for (controller, device) in &self.beside {
            let mut device = device.clone();
            if let Some(key) = controller.and_then(|saved| keys.get(&saved)) {
                device.controller_key = Some(*key);
            }
            let backing = device.backing.as_mut();
            if let Some(file) =
                backing.and_then(|backing| backing.downcast_mut::<VirtualDeviceFileBackingInfo>())
                && let Some(path) = beside(live, &file.file_name)
            {
                file.file_name = path.to_string();
            }
            changes.push(adding(device));
        }
        spec.device_change = changes.into_iter().map(Poly::new).collect();
        let order: Vec<_> = self.boot_order.iter().filter_map(|entry| renamed(entry, keys)).collect();
        if !order.is_empty() {
            let options = VirtualMachineBootOptions { boot_order: order, ..Default::default() };
            spec.boot_options = Some(Box::new(options));
        }
        spec
    }
}

fn editing(device: Poly<VirtualDevice>) -> VirtualDeviceConfigSpec {
    VirtualDeviceConfigSpec {
        operation: Some(VirtualDeviceConfigSpecOperation::Edit),
        device,
        ..Default::default()
    }
}

/// The device as it is, with the settings that it had; `None` when it has them already.
fn edited(live: &Poly<VirtualDevice>, saved: &Poly<VirtualDevice>) -> Option<Poly<VirtualDevice>> {
    let mut device = live.clone();
    if let (Some(card), Some(saved)) =
        (device.downcast_mut::<VirtualMachineVideoCard>(), saved.downcast_ref::<VirtualMachineVideoCard>())
    {
        card.video_ram_size_in_kb = saved.video_ram_size_in_kb;
        card.num_displays = saved.num_displays;
        card.use_auto_detect = saved.use_auto_detect;
        card.enable3_d_support = saved.enable3_d_support;
        card.use3d_renderer.clone_from(&saved.use3d_renderer);
        card.graphics_memory_size_in_kb = saved.graphics_memory_size_in_kb;
    }
    if let (Some(vmci), Some(saved)) =
        (device.downcast_mut::<VirtualMachineVMCIDevice>(), saved.downcast_ref::<VirtualMachineVMCIDevice>())
    {
        vmci.allow_unrestricted_communication = saved.allow_unrestricted_communication;
        vmci.filter_enable = saved.filter_enable;
        vmci.filter_info.clone_from(&saved.filter_info);
    }
    (format!("{device:?}") != format!("{live:?}")).then_some(device)
}

/// The boot entry with the key that its device has now.
fn renamed(
    entry: &Poly<VirtualMachineBootOptionsBootableDevice>,
    keys: &BTreeMap<i32, i32>,
) -> Option<Poly<VirtualMachineBootOptionsBootableDevice>> {
    let mut entry = entry.clone();
    if let Some(disk) = entry.downcast_mut::<VirtualMachineBootOptionsBootableDiskDevice>() {
        disk.device_key = *keys.get(&disk.device_key)?;
    }
    if let Some(card) = entry.downcast_mut::<VirtualMachineBootOptionsBootableEthernetDevice>() {
        card.device_key = *keys.get(&card.device_key)?;
    }
    Some(entry)
}

/// A file of the same name in the machine's folder.
fn beside(live: &VirtualMachineConfigInfo, file: &str) -> Option<DatastorePath> {
    let vmx: DatastorePath = live.files.vm_path_name.as_deref()?.parse().ok()?;
    let name = file.rsplit(['/', ']']).next()?.trim();
    vmx.parent()?.join(name).ok()
}
