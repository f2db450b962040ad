//! Disks, each of which is added by itself.

use vim_api::dynamic::Poly;
use vim_api::types::{
    CryptoSpecEncrypt, SharesLevel, VirtualDevice, VirtualDeviceBackingInfo,
    VirtualDeviceConfigSpecBackingSpec, VirtualDeviceConfigSpecFileOperation, VirtualDeviceFileBackingInfo,
    VirtualDisk, VirtualDiskFlatVer2BackingInfo, VirtualDiskRawDiskMappingVer1BackingInfo,
    VirtualDiskSeSparseBackingInfo, VirtualMachineConfigSpec,
};

use super::super::settings::profile;
use super::super::{DiskDesign, Draft, Identity, NewDisk, Provisioning, newer};
use super::adding;
use crate::capture::convert::tables::Rule;
use crate::capture::convert::{note, subject_of};
use crate::capture::{Loss, Verdict};

const PERSISTENT: &str = "persistent";
const MULTI_WRITER: &str = "sharingMultiWriter";

impl Draft<'_> {
    pub(super) fn disk(
        &mut self,
        device: &Poly<VirtualDevice>,
        backing: &Poly<VirtualDeviceBackingInfo>,
        rule: &Rule,
    ) {
        let subject = subject_of(device);
        let lost = |why: &str| Loss::new(subject.as_str(), Verdict::Lost, why);
        let changed = |why: &str| Loss::new(subject.as_str(), Verdict::Changed, why);
        let Some(saved) = device.downcast_ref::<VirtualDisk>() else { return };
        let Some(design) = self.design.disks.get(&saved.key) else {
            return self.losses.push(lost("the restore point does not have it"));
        };
        let (Some(controller), Some(unit)) = (saved.controller_key, saved.unit_number) else {
            return self.losses.push(lost("it was on no controller"));
        };
        note(rule, || subject.clone(), &mut self.losses);
        let is_copy = self.design.identity == Identity::Copy;
        let flat = backing.downcast_ref::<VirtualDiskFlatVer2BackingInfo>();
        let was = provisioning_of(flat);
        let is = design.provisioning.unwrap_or(was);
        if is != was && flat.is_some() {
            self.losses.push(changed("its space is taken otherwise, as was asked for"));
        }
        let mode = mode_of(backing);
        match mode {
            PERSISTENT => {}
            // It is written first.
            "independent_persistent" | "independent_nonpersistent" => {
                self.late.disks.push((saved.key, Some(mode.to_owned()), None));
            }
            other => {
                self.losses.push(changed(&format!("its mode {other} is gone: it is persistent")));
            }
        }
        if saved.guest_read_only == Some(true) {
            self.late.disks.push((saved.key, None, Some(true)));
        }
        if saved.v_disk_id.is_some() {
            self.losses.push(changed("it was a first-class disk, and is an ordinary one: register it again"));
        }
        let mut sharing = flat.and_then(|flat| flat.sharing.clone());
        if is_copy && sharing.as_deref() == Some(MULTI_WRITER) {
            self.losses.push(changed("it is a copy, and shares its disk with nobody"));
            sharing = None;
        }
        if is_copy {
            self.losses.push(Loss::new(
                format!("{subject}, uuid"),
                Verdict::Changed,
                "it is a copy, and has one of its own",
            ));
        }
        let uuid = flat.and_then(|flat| flat.uuid.clone()).or_else(|| {
            let sparse = backing.downcast_ref::<VirtualDiskSeSparseBackingInfo>();
            sparse.and_then(|sparse| sparse.uuid.clone()).or_else(|| {
                let raw = backing.downcast_ref::<VirtualDiskRawDiskMappingVer1BackingInfo>();
                raw.and_then(|raw| raw.uuid.clone())
            })
        });
        let new = VirtualDiskFlatVer2BackingInfo {
            base: VirtualDeviceFileBackingInfo {
                // The server chooses the name, in the machine's folder of that datastore.
                file_name: format!("[{}]", design.datastore),
                ..Default::default()
            },
            disk_mode: PERSISTENT.to_owned(),
            write_through: flat.and_then(|flat| flat.write_through).filter(|on| *on),
            thin_provisioned: Some(is == Provisioning::Thin),
            eagerly_scrub: (is == Provisioning::EagerThick).then_some(true),
            uuid: uuid.filter(|_| !is_copy),
            sharing,
            ..Default::default()
        };
        let crypto = flat.and_then(|flat| flat.key_id.as_deref()).filter(|_| self.design.keep_key);
        let disk = NewDisk {
            key: saved.key,
            label: subject.clone(),
            capacity: design.capacity,
            provisioning: is,
            datastore: design.datastore.clone(),
            controller,
            unit,
            device: device_of(saved, new, design),
            profile: design.policy.clone(),
            crypto: crypto.map(|key| {
                let crypto = CryptoSpecEncrypt { crypto_key_id: key.clone(), ..Default::default() };
                Box::new(VirtualDeviceConfigSpecBackingSpec {
                    crypto: Some(Poly::new(crypto)),
                    ..Default::default()
                })
            }),
        };
        newer::note(&disk.device, &subject, self.design.version, &mut self.losses);
        self.disks.push(disk);
    }
}

impl NewDisk {
    /// The reconfiguration that adds it, on the controller with this key.
    pub(in super::super) fn spec(&self, controller: i32) -> VirtualMachineConfigSpec {
        let mut device = self.device.clone();
        device.base.controller_key = Some(controller);
        let mut change = adding(Poly::new(device));
        change.file_operation = Some(VirtualDeviceConfigSpecFileOperation::Create);
        change.profile = profile(self.profile.as_deref());
        change.backing.clone_from(&self.crypto);
        VirtualMachineConfigSpec { device_change: vec![Poly::new(change)], ..Default::default() }
    }
}

fn device_of(
    saved: &VirtualDisk,
    backing: VirtualDiskFlatVer2BackingInfo,
    design: &DiskDesign,
) -> VirtualDisk {
    let bytes = i64::try_from(design.capacity).unwrap_or(i64::MAX);
    VirtualDisk {
        base: VirtualDevice {
            key: super::FIRST_KEY,
            backing: Some(Poly::new(backing)),
            unit_number: saved.unit_number,
            numa_node: saved.numa_node.filter(|node| *node >= 0),
            ..Default::default()
        },
        capacity_in_kb: bytes / 1024,
        capacity_in_bytes: Some(bytes),
        storage_io_allocation: saved.storage_io_allocation.clone().filter(|asked| {
            asked.limit.is_some_and(|limit| limit >= 0)
                || asked.reservation.is_some_and(|reservation| reservation > 0)
                || asked.shares.as_ref().is_some_and(|shares| shares.level != SharesLevel::Normal)
        }),
        virtual_disk_format: saved.virtual_disk_format.clone(),
        ..Default::default()
    }
}

fn provisioning_of(flat: Option<&VirtualDiskFlatVer2BackingInfo>) -> Provisioning {
    match flat {
        Some(flat) if flat.thin_provisioned == Some(true) => Provisioning::Thin,
        Some(flat) if flat.eagerly_scrub == Some(true) => Provisioning::EagerThick,
        Some(_) => Provisioning::LazyThick,
        None => Provisioning::Thin,
    }
}

fn mode_of(backing: &Poly<VirtualDeviceBackingInfo>) -> &str {
    let flat = backing.downcast_ref::<VirtualDiskFlatVer2BackingInfo>().map(|flat| flat.disk_mode.as_str());
    let mode = flat
        .or_else(|| {
            let sparse = backing.downcast_ref::<VirtualDiskSeSparseBackingInfo>();
            sparse.map(|sparse| sparse.disk_mode.as_str())
        })
        .or_else(|| {
            let raw = backing.downcast_ref::<VirtualDiskRawDiskMappingVer1BackingInfo>();
            raw.and_then(|raw| raw.disk_mode.as_deref())
        });
    mode.filter(|mode| !mode.is_empty()).unwrap_or(PERSISTENT)
}
