//! What is behind drives, ports and the like.

use vim_api::dynamic::Poly;
use vim_api::types::{
    VirtualCdromRemotePassthroughBackingInfo, VirtualDevice, VirtualDeviceBackingInfo,
    VirtualDeviceDeviceBackingInfo, VirtualDeviceFileBackingInfo, VirtualDeviceRemoteDeviceBackingInfo,
    VirtualFloppy, VirtualFloppyRemoteDeviceBackingInfo, VirtualPCIPassthroughDynamicBackingInfo,
    VirtualPCIPassthroughVmiopBackingInfo,
};

use super::super::Draft;
use super::super::settings::NOT_KEPT;
use super::Shape;
use crate::capture::convert::tables::{Made, Rule};
use crate::capture::convert::{note, subject_of};
use crate::capture::{Loss, Verdict};

impl Draft<'_> {
    /// Gives a device what is behind it.
    pub(super) fn behind(
        &mut self,
        device: &Poly<VirtualDevice>,
        mut sent: Poly<VirtualDevice>,
        mut backing: Poly<VirtualDeviceBackingInfo>,
        (rule, made): (Rule, Made),
    ) -> Shape {
        let subject = || subject_of(device);
        if let Some(file) = backing.downcast_mut::<VirtualDeviceFileBackingInfo>() {
            file.datastore = None;
            file.backing_object_id = None;
        }
        match made {
            Made::Empty => {
                note(&rule, subject, &mut self.losses);
                sent.backing = Some(empty(device));
            }
            Made::IfThere => {
                let file = backing.downcast_ref::<VirtualDeviceFileBackingInfo>();
                let file = file.map(|file| file.file_name.as_str()).unwrap_or_default();
                if self.design.files_there.contains(file) {
                    sent.backing = Some(backing);
                } else {
                    let why = format!("{file} is not there: the drive is empty");
                    self.losses.push(Loss::new(subject(), Verdict::Changed, why));
                    sent.backing = Some(empty(device));
                }
            }
            Made::Beside => {
                note(&rule, subject, &mut self.losses);
                sent.backing = Some(backing);
                return Shape::Beside(sent);
            }
            Made::HostChooses => {
                note(&rule, subject, &mut self.losses);
                if let Some(chosen) = backing.downcast_mut::<VirtualDeviceDeviceBackingInfo>() {
                    chosen.device_name = String::new();
                    chosen.use_auto_detect = Some(true);
                }
                sent.backing = Some(backing);
            }
            Made::Host if !self.design.keep_host_devices => return self.lose(device, NOT_KEPT),
            Made::Host => {
                note(&rule, subject, &mut self.losses);
                if let Some(any) = backing.downcast_mut::<VirtualPCIPassthroughDynamicBackingInfo>() {
                    any.assigned_id = None;
                }
                if let Some(gpu) = backing.downcast_mut::<VirtualPCIPassthroughVmiopBackingInfo>() {
                    gpu.vgpu_migrate_data_size_mb = None;
                    gpu.migrate_supported = None;
                    gpu.enhanced_migrate_capability = None;
                }
                sent.backing = Some(backing);
            }
            Made::Nothing => {
                note(&rule, subject, &mut self.losses);
                return Shape::Left;
            }
            _ => sent.backing = Some(backing),
        }
        Shape::Sent(sent)
    }
}

/// A drive with nothing in it: one of whoever looks at the console, who shows none.
fn empty(device: &Poly<VirtualDevice>) -> Poly<VirtualDeviceBackingInfo> {
    let base = VirtualDeviceRemoteDeviceBackingInfo { use_auto_detect: Some(false), ..Default::default() };
    match device.is::<VirtualFloppy>() {
        true => Poly::new(VirtualFloppyRemoteDeviceBackingInfo { base }),
        false => Poly::new(VirtualCdromRemotePassthroughBackingInfo { base, exclusive: false }),
    }
}
