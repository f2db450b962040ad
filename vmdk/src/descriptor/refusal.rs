//! Disks whose data cannot be had from files.

use super::{CreateType, Descriptor, ExtentKind};
use crate::error::{Error, ErrorKind};
use crate::name;

impl Descriptor {
    /// Why this disk's data cannot be read from its files, or None if nothing in the text speaks against it.
    ///
    /// `Encrypted`: version 2, a key that speaks of encryption, or VMware's encryption filter. `RemoteExtent`: an
    /// extent that is a vSAN, vVol or other object. `DeviceMapping`: an RDM or a physical device. `Unsupported`: a
    /// version or a type of extent that this crate does not know.
    pub fn refusal(&self) -> Option<Error> {
        self.encrypted().or_else(|| self.remote()).or_else(|| self.device()).or_else(|| self.unknown())
    }

    fn encrypted(&self) -> Option<Error> {
        let what = if self.version == 2 {
            "version 2, which is Workstation's encryption".to_owned()
        } else {
            let telling = self.entries().find(|entry| {
                let key = entry.key.to_ascii_lowercase();
                let filters = key == "ddb.iofilters" && entry.value.to_ascii_lowercase().contains("crypt");
                filters || key.contains("crypt") || key.contains("keysafe") || key == "keyid"
            })?;
            format!("its key {}", telling.key)
        };
        let advice = "read it through the host, or decrypt it there first";
        Some(Error::new(ErrorKind::Encrypted, format!("the disk is encrypted, as {what} says; {advice}")))
    }

    fn remote(&self) -> Option<Error> {
        let object = self.extents.iter().find_map(|extent| {
            let file = extent.file.as_deref().unwrap_or_default();
            match (name::scheme(file), &extent.kind) {
                (None, ExtentKind::VsanSparse) => Some(("a vSAN object", file)),
                (None, _) => None,
                (Some(scheme), _) => Some(match scheme.to_ascii_lowercase().as_str() {
                    "vsan" => ("a vSAN object", file),
                    "vvol" => ("a vVol", file),
                    _ => ("an object", file),
                }),
            }
        });
        let (what, file) = match (object, &self.create_type) {
            (Some(found), _) => found,
            (None, CreateType::VsanSparse) => ("a vSAN object", "createType"),
            (None, _) => return None,
        };
        Some(Error::new(
            ErrorKind::RemoteExtent,
            format!(
                "its data are {what} of the host (\"{}\") and no file; read the disk through the host (VDDK or an NFC \
                 lease), or migrate it to a VMFS or NFS datastore",
                file.escape_debug()
            ),
        ))
    }

    fn device(&self) -> Option<Error> {
        let kinds = self.extents.iter().map(|extent| &extent.kind);
        let mapped = match &self.create_type {
            CreateType::VmfsRawDeviceMap => "a raw device mapping in virtual mode",
            CreateType::VmfsPassthroughRawDeviceMap => "a raw device mapping in physical mode",
            CreateType::VmfsRaw => "a raw device",
            CreateType::FullDevice => "a whole physical device",
            CreateType::PartitionedDevice => "partitions of a physical device",
            _ => kinds.into_iter().find_map(|kind| match kind {
                ExtentKind::VmfsRdm => Some("a raw device mapping"),
                ExtentKind::VmfsRaw => Some("a raw device"),
                _ => None,
            })?,
        };
        let advice = "read the device itself, or a virtual-mode mapping through the host";
        Some(Error::new(
            ErrorKind::DeviceMapping,
            format!("its data are on {mapped} and in no file; {advice}"),
        ))
    }

    fn unknown(&self) -> Option<Error> {
        if !(1..=4).contains(&self.version) {
            return Some(Error::unsupported(format!(
                "version {} of the descriptor; 1, 3 and 4 are known: look for a newer release of this crate",
                self.version
            )));
        }
        let word = self.extents.iter().find_map(|extent| match &extent.kind {
            ExtentKind::Other(word) => Some(word),
            _ => None,
        })?;
        Some(Error::unsupported(format!(
            "an extent of type {}, which this crate does not know; convert the disk with VMware's own tools",
            word.escape_debug()
        )))
    }
}
