//! What becomes of each type and each property. Sources: the API reference's notes on what a specification may hold, the VDDK
//! guide on making a machine from its saved configuration, and the failures that other tools have had.

/// What becomes of something in a specification.
#[derive(Debug, Clone, Copy)]
pub(super) enum Rule {
    /// It is sent as it was, or in the form that a specification has for it.
    Kept,
    /// The server makes it of its own accord, or it is a result and no setting: nothing is lost.
    Servers,
    /// It comes back only if so and so.
    Conditional(&'static str),
    /// It becomes something else.
    Changed(&'static str),
    /// It does not come back.
    Lost(&'static str),
}

use Rule::{Changed, Conditional, Kept, Lost, Servers};

const HOST_BOUND: &str = "it belongs to a device of the host";
const SAME_FILE: &str = "the file is there on the datastore that takes the place of the old one";
const EMPTY_DRIVE: &str = "the host's drive may be another: the drive comes back empty";
const HOSTED: &str = "no vSphere has disks of this format: it becomes a thin one";

/// All types of devices.
pub(super) const DEVICES: &[(&str, Rule)] = &[
    ("ParaVirtualSCSIController", Kept),
    ("VirtualAHCIController", Kept),
    ("VirtualBusLogicController", Kept),
    ("VirtualCdrom", Kept),
    ("VirtualController", Lost("it is a controller of no kind that can be asked for")),
    ("VirtualDisk", Kept),
    ("VirtualE1000", Kept),
    ("VirtualE1000e", Kept),
    ("VirtualEnsoniq1371", Kept),
    ("VirtualEthernetCard", Lost("it is a network adapter of no kind that can be asked for")),
    ("VirtualFloppy", Kept),
    ("VirtualHdAudioCard", Kept),
    ("VirtualIDEController", Servers),
    ("VirtualKeyboard", Servers),
    ("VirtualLsiLogicController", Kept),
    ("VirtualLsiLogicSASController", Changed("its SAS address is made anew by the host")),
    ("VirtualMachineVMCIDevice", Servers),
    ("VirtualMachineVMIROM", Servers),
    ("VirtualMachineVideoCard", Servers),
    ("VirtualNVDIMM", Lost("its content is on the host's persistent memory, and in no backup of disks")),
    ("VirtualNVDIMMController", Conditional("the host has persistent memory")),
    ("VirtualNVMEController", Kept),
    ("VirtualPCIController", Servers),
    ("VirtualPCIPassthrough", Kept),
    ("VirtualPCNet32", Kept),
    ("VirtualPS2Controller", Servers),
    ("VirtualParallelPort", Kept),
    ("VirtualPointingDevice", Servers),
    ("VirtualPrecisionClock", Kept),
    ("VirtualSATAController", Changed("it becomes an AHCI controller, which all SATA controllers are")),
    ("VirtualSCSIController", Lost("it is a controller of no kind that can be asked for")),
    ("VirtualSCSIPassthrough", Lost(HOST_BOUND)),
    ("VirtualSIOController", Servers),
    ("VirtualSerialPort", Kept),
    ("VirtualSoundBlaster16", Conditional("the host knows this sound card, which ESXi does not")),
    ("VirtualSoundCard", Lost("it is a sound card of no kind that can be asked for")),
    ("VirtualSriovEthernetCard", Conditional("the host has a network card with functions to give away")),
    (
        "VirtualTPM",
        Conditional(
            "the key provider that encrypts the machine is at hand, and its NVRAM was captured: otherwise the TPM is a \
             new one, and what was sealed with the old one is lost",
        ),
    ),
    ("VirtualUSB", Lost("it is a device plugged in elsewhere: connect it again")),
    ("VirtualUSBController", Kept),
    ("VirtualUSBXHCIController", Kept),
    ("VirtualVmxnet", Kept),
    ("VirtualVmxnet2", Kept),
    ("VirtualVmxnet3", Kept),
    ("VirtualVmxnet3Vrdma", Conditional("the adapter goes to a distributed switch")),
    ("VirtualWDT", Kept),
];

/// All types of backings.
pub(super) const BACKINGS: &[(&str, Rule)] = &[
    ("VirtualCdromAtapiBackingInfo", Changed(EMPTY_DRIVE)),
    ("VirtualCdromIsoBackingInfo", Conditional(SAME_FILE)),
    ("VirtualCdromPassthroughBackingInfo", Changed(EMPTY_DRIVE)),
    ("VirtualCdromRemoteAtapiBackingInfo", Kept),
    ("VirtualCdromRemotePassthroughBackingInfo", Kept),
    ("VirtualDeviceDeviceBackingInfo", Lost(HOST_BOUND)),
    ("VirtualDeviceFileBackingInfo", Conditional(SAME_FILE)),
    ("VirtualDevicePipeBackingInfo", Kept),
    ("VirtualDeviceRemoteDeviceBackingInfo", Changed(EMPTY_DRIVE)),
    ("VirtualDeviceURIBackingInfo", Kept),
    ("VirtualDiskFlatVer1BackingInfo", Changed(HOSTED)),
    ("VirtualDiskFlatVer2BackingInfo", Kept),
    (
        "VirtualDiskLocalPMemBackingInfo",
        Changed("it was on the host's persistent memory: it becomes a thin disk"),
    ),
    ("VirtualDiskPartitionedRawDiskVer2BackingInfo", Lost(HOST_BOUND)),
    (
        "VirtualDiskRawDiskMappingVer1BackingInfo",
        Changed("it becomes a disk of its own with the same content, unless the same LUN is asked for"),
    ),
    ("VirtualDiskRawDiskVer2BackingInfo", Lost(HOST_BOUND)),
    ("VirtualDiskSeSparseBackingInfo", Changed("it becomes a thin disk: the format is for deltas")),
    ("VirtualDiskSparseVer1BackingInfo", Changed(HOSTED)),
    ("VirtualDiskSparseVer2BackingInfo", Changed(HOSTED)),
    (
        "VirtualEthernetCardDistributedVirtualPortBackingInfo",
        Conditional("a distributed portgroup of this name, or one that is named instead, is there"),
    ),
    (
        "VirtualEthernetCardLegacyNetworkBackingInfo",
        Changed("networks of this kind are gone: it goes to one that is named"),
    ),
    ("VirtualEthernetCardNetworkBackingInfo", Kept),
    (
        "VirtualEthernetCardOpaqueNetworkBackingInfo",
        Conditional("the network with this id, or one that is named instead, is there"),
    ),
    ("VirtualFloppyDeviceBackingInfo", Changed(EMPTY_DRIVE)),
    ("VirtualFloppyImageBackingInfo", Conditional(SAME_FILE)),
    ("VirtualFloppyRemoteDeviceBackingInfo", Kept),
    ("VirtualNVDIMMBackingInfo", Lost("it was on the host's persistent memory")),
    (
        "VirtualPCIPassthroughDeviceBackingInfo",
        Conditional("it runs on the same host, and the device is free"),
    ),
    ("VirtualPCIPassthroughDvxBackingInfo", Conditional("the host has a device of this class")),
    (
        "VirtualPCIPassthroughDynamicBackingInfo",
        Conditional("a host has a device of this vendor, type and label"),
    ),
    ("VirtualPCIPassthroughPluginBackingInfo", Lost("it is a device of no kind that can be asked for")),
    ("VirtualPCIPassthroughVmiopBackingInfo", Conditional("the host has a GPU with this profile")),
    ("VirtualParallelPortDeviceBackingInfo", Lost(HOST_BOUND)),
    ("VirtualParallelPortFileBackingInfo", Changed("its file begins anew beside the machine")),
    ("VirtualPointingDeviceDeviceBackingInfo", Servers),
    ("VirtualPrecisionClockSystemClockBackingInfo", Kept),
    ("VirtualSCSIPassthroughDeviceBackingInfo", Lost(HOST_BOUND)),
    ("VirtualSerialPortDeviceBackingInfo", Lost(HOST_BOUND)),
    ("VirtualSerialPortFileBackingInfo", Changed("its file begins anew beside the machine")),
    ("VirtualSerialPortPipeBackingInfo", Kept),
    ("VirtualSerialPortThinPrintBackingInfo", Lost("it is a printer of a service that is gone")),
    ("VirtualSerialPortURIBackingInfo", Kept),
    ("VirtualSoundCardDeviceBackingInfo", Changed("the host chooses the device")),
    ("VirtualSriovEthernetCardSriovBackingInfo", Changed("the host chooses the function")),
    ("VirtualUSBRemoteClientBackingInfo", Lost("it was plugged into a person's machine")),
    ("VirtualUSBRemoteHostBackingInfo", Lost(HOST_BOUND)),
    ("VirtualUSBUSBBackingInfo", Lost(HOST_BOUND)),
];

/// All properties of a configuration.
pub(super) const PROPERTIES: &[(&str, Rule)] = &[
    ("changeVersion", Servers),
    ("modified", Servers),
    ("name", Kept),
    ("guestFullName", Servers),
    ("version", Kept),
    ("uuid", Kept),
    // The server takes no date of a client; nobody misses it.
    ("createDate", Servers),
    ("instanceUuid", Kept),
    ("npivNodeWorldWideName", Kept),
    ("npivPortWorldWideName", Kept),
    ("npivWorldWideNameType", Servers),
    ("npivDesiredNodeWwns", Servers),
    ("npivDesiredPortWwns", Servers),
    ("npivTemporaryDisabled", Kept),
    ("npivOnNonRdmDisks", Kept),
    ("locationId", Servers),
    ("template", Kept),
    ("guestId", Kept),
    ("alternateGuestName", Kept),
    ("annotation", Kept),
    ("files", Kept),
    ("tools", Kept),
    ("flags", Kept),
    ("consolePreferences", Kept),
    ("defaultPowerOps", Kept),
    ("rebootPowerOff", Lost("it was asked for once, for the next restart of the guest")),
    ("hardware", Kept),
    ("vcpuConfig", Kept),
    ("cpuAllocation", Kept),
    ("memoryAllocation", Kept),
    ("latencySensitivity", Kept),
    ("memoryHotAddEnabled", Kept),
    ("cpuHotAddEnabled", Kept),
    ("cpuHotRemoveEnabled", Kept),
    ("hotPlugMemoryLimit", Servers),
    ("hotPlugMemoryIncrementSize", Servers),
    ("cpuAffinity", Conditional("it runs on a host like the old one, and no cluster moves it")),
    ("memoryAffinity", Lost("hosts no longer take it")),
    ("networkShaper", Lost("hosts no longer take it")),
    ("extraConfig", Kept),
    ("cpuFeatureMask", Kept),
    ("datastoreUrl", Servers),
    ("swapPlacement", Kept),
    ("bootOptions", Kept),
    ("ftInfo", Lost("fault tolerance is set up anew, with a new second machine")),
    ("repConfig", Lost("replication is set up anew: a copy would pass for its source")),
    ("vAppConfig", Kept),
    ("vAssertsEnabled", Lost("hosts no longer record and replay")),
    ("changeTrackingEnabled", Kept),
    ("firmware", Kept),
    ("maxMksConnections", Kept),
    ("guestAutoLockEnabled", Kept),
    ("managedBy", Kept),
    ("memoryReservationLockedToMax", Kept),
    ("initialOverhead", Servers),
    ("nestedHVEnabled", Kept),
    ("vPMCEnabled", Kept),
    ("scheduledHardwareUpgradeInfo", Kept),
    ("forkConfigInfo", Lost("it is no instant clone of its parent any more")),
    ("vFlashCacheReservation", Servers),
    ("vmxConfigChecksum", Servers),
    ("messageBusTunnelEnabled", Kept),
    ("vmStorageObjectId", Servers),
    ("swapStorageObjectId", Servers),
    ("keyId", Conditional("the key provider has the key: otherwise it is encrypted anew, or not at all")),
    ("guestIntegrityInfo", Servers),
    ("migrateEncryption", Kept),
    ("sgxInfo", Conditional("the host has SGX")),
    ("contentLibItemInfo", Lost("it is no item of a content library any more")),
    ("ftEncryptionMode", Kept),
    ("guestMonitoringModeInfo", Kept),
    ("sevEnabled", Conditional("the host has AMD SEV")),
    ("numaInfo", Kept),
    ("pmemFailoverEnabled", Conditional("the host has persistent memory")),
    ("vmxStatsCollectionEnabled", Kept),
    ("vmOpNotificationToAppEnabled", Kept),
    ("vmOpNotificationTimeout", Kept),
    ("deviceSwap", Kept),
    // What it is about is reported as a device.
    ("pmem", Servers),
    ("deviceGroups", Conditional("the host has all devices of the group")),
    ("fixedPassthruHotPlugEnabled", Kept),
    ("metroFtEnabled", Lost("fault tolerance is set up anew")),
    ("metroFtHostGroup", Lost("fault tolerance is set up anew")),
    ("tdxEnabled", Conditional("the host has Intel TDX")),
    ("sevSnpEnabled", Conditional("the host has AMD SEV-SNP")),
    ("vmxRuntimeConfig", Servers),
    // Of the host that is chosen, and there a recovery has to look.
    ("guestArchitecture", Servers),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vim_api::dynamic::{TypeInfo, type_info, type_infos};

    use super::*;

    fn named(table: &[(&'static str, Rule)]) -> BTreeSet<&'static str> {
        let names: BTreeSet<_> = table.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), table.len(), "a name stands twice");
        names
    }

    fn extending(base: &str) -> BTreeSet<&'static str> {
        let base: &TypeInfo = type_info(base).unwrap();
        type_infos().filter(|info| info.name != base.name && info.is_a(base)).map(|info| info.name).collect()
    }

    #[test]
    fn each_device_and_backing_of_the_api_is_judged_and_none_that_it_does_not_have() {
        assert_eq!(named(DEVICES), extending("VirtualDevice"));
        assert_eq!(named(BACKINGS), extending("VirtualDeviceBackingInfo"));
    }

    #[test]
    fn each_property_of_a_configuration_is_judged() {
        let info = type_info("VirtualMachineConfigInfo").unwrap();
        assert_eq!(named(PROPERTIES), info.fields.iter().map(|field| field.name).collect());
    }
}
