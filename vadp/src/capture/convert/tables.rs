//! What becomes of each type and each property, and by which way: a recovery does what stands here, and says what it costs. Sources: the API reference's notes on what a specification may hold, the VDDK
//! guide on making a machine from its saved configuration, and the failures that other tools have had.

/// What becomes of something in a specification.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
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

/// How a device, or what is behind it, comes into a specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    /// It does not: it is lost, or the server's.
    Nothing,
    /// As it was, without what a server says of it.
    Same,
    /// The server makes it, and its settings are set afterwards.
    Edited,
    /// As an AHCI controller.
    Ahci,
    /// As it was, if what only some hosts have is to be kept.
    Host,
    /// As it was, if the machine is encrypted with the key that it had.
    Sealed,
    /// As it was on a distributed switch, else as the adapter that it extends.
    Rdma,
    /// As a disk of the format that hosts make today.
    Disk,
    /// With the network that takes the place of the old one.
    Network,
    /// A drive with nothing in it.
    Empty,
    /// As it was if its file is there, else as an empty drive.
    IfThere,
    /// With a file of the same name beside the new machine.
    Beside,
    /// With whatever the host chooses.
    HostChooses,
}

/// How a property comes into a specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It does not: it is lost, or the server's.
    Nothing,
    /// Under the same name, when the machine is made.
    Create,
    /// Under the same name, when its disks are there.
    Late,
    /// Under the same name when the machine is made, if what only some hosts have is to be kept.
    Host,
    /// In another form: `recover::spec` has a place for each.
    Apart,
}

use Rule::{Changed, Conditional, Kept, Lost, Servers};

const HOST_BOUND: &str = "it belongs to a device of the host";
const SAME_FILE: &str = "the file is there on the datastore that takes the place of the old one";
const EMPTY_DRIVE: &str = "the host's drive may be another: the drive comes back empty";
const HOSTED: &str = "no vSphere has disks of this format: it becomes a thin one";

/// All types of devices.
pub(crate) const DEVICES: &[(&str, Rule, Made)] = &[
    ("ParaVirtualSCSIController", Kept, Made::Same),
    ("VirtualAHCIController", Kept, Made::Same),
    ("VirtualBusLogicController", Kept, Made::Same),
    ("VirtualCdrom", Kept, Made::Same),
    ("VirtualController", Lost("it is a controller of no kind that can be asked for"), Made::Nothing),
    ("VirtualDisk", Kept, Made::Disk),
    ("VirtualE1000", Kept, Made::Same),
    ("VirtualE1000e", Kept, Made::Same),
    ("VirtualEnsoniq1371", Kept, Made::Same),
    ("VirtualEthernetCard", Lost("it is a network adapter of no kind that can be asked for"), Made::Nothing),
    ("VirtualFloppy", Kept, Made::Same),
    ("VirtualHdAudioCard", Kept, Made::Same),
    ("VirtualIDEController", Servers, Made::Nothing),
    ("VirtualKeyboard", Servers, Made::Nothing),
    ("VirtualLsiLogicController", Kept, Made::Same),
    ("VirtualLsiLogicSASController", Changed("its SAS address is made anew by the host"), Made::Same),
    ("VirtualMachineVMCIDevice", Servers, Made::Edited),
    ("VirtualMachineVMIROM", Servers, Made::Nothing),
    ("VirtualMachineVideoCard", Servers, Made::Edited),
    (
        "VirtualNVDIMM",
        Lost("its content is on the host's persistent memory, and in no backup of disks"),
        Made::Nothing,
    ),
    ("VirtualNVDIMMController", Conditional("the host has persistent memory"), Made::Host),
    ("VirtualNVMEController", Kept, Made::Same),
    ("VirtualPCIController", Servers, Made::Nothing),
    ("VirtualPCIPassthrough", Kept, Made::Same),
    ("VirtualPCNet32", Kept, Made::Same),
    ("VirtualPS2Controller", Servers, Made::Nothing),
    ("VirtualParallelPort", Kept, Made::Same),
    ("VirtualPointingDevice", Servers, Made::Nothing),
    ("VirtualPrecisionClock", Kept, Made::Same),
    (
        "VirtualSATAController",
        Changed("it becomes an AHCI controller, which all SATA controllers are"),
        Made::Ahci,
    ),
    ("VirtualSCSIController", Lost("it is a controller of no kind that can be asked for"), Made::Nothing),
    ("VirtualSCSIPassthrough", Lost(HOST_BOUND), Made::Nothing),
    ("VirtualSIOController", Servers, Made::Nothing),
    ("VirtualSerialPort", Kept, Made::Same),
    ("VirtualSoundBlaster16", Conditional("the host knows this sound card, which ESXi does not"), Made::Host),
    ("VirtualSoundCard", Lost("it is a sound card of no kind that can be asked for"), Made::Nothing),
    (
        "VirtualSriovEthernetCard",
        Conditional("the host has a network card with functions to give away"),
        Made::Host,
    ),
    (
        "VirtualTPM",
        Conditional(
            "the key provider that encrypts the machine is at hand, and its NVRAM was captured: otherwise the TPM is a \
             new one, and what was sealed with the old one is lost",
        ),
        Made::Sealed,
    ),
    ("VirtualUSB", Lost("it is a device plugged in elsewhere: connect it again"), Made::Nothing),
    ("VirtualUSBController", Kept, Made::Same),
    ("VirtualUSBXHCIController", Kept, Made::Same),
    ("VirtualVmxnet", Kept, Made::Same),
    ("VirtualVmxnet2", Kept, Made::Same),
    ("VirtualVmxnet3", Kept, Made::Same),
    ("VirtualVmxnet3Vrdma", Conditional("the adapter goes to a distributed switch"), Made::Rdma),
    ("VirtualWDT", Kept, Made::Same),
];

/// All types of backings.
pub(crate) const BACKINGS: &[(&str, Rule, Made)] = &[
    ("VirtualCdromAtapiBackingInfo", Changed(EMPTY_DRIVE), Made::Empty),
    ("VirtualCdromIsoBackingInfo", Conditional(SAME_FILE), Made::IfThere),
    ("VirtualCdromPassthroughBackingInfo", Changed(EMPTY_DRIVE), Made::Empty),
    ("VirtualCdromRemoteAtapiBackingInfo", Kept, Made::Empty),
    ("VirtualCdromRemotePassthroughBackingInfo", Kept, Made::Empty),
    ("VirtualDeviceDeviceBackingInfo", Lost(HOST_BOUND), Made::Nothing),
    ("VirtualDeviceFileBackingInfo", Lost("it is a file of no kind that can be asked for"), Made::Nothing),
    ("VirtualDevicePipeBackingInfo", Kept, Made::Same),
    ("VirtualDeviceRemoteDeviceBackingInfo", Changed(EMPTY_DRIVE), Made::Empty),
    ("VirtualDeviceURIBackingInfo", Kept, Made::Same),
    ("VirtualDiskFlatVer1BackingInfo", Changed(HOSTED), Made::Disk),
    ("VirtualDiskFlatVer2BackingInfo", Kept, Made::Disk),
    (
        "VirtualDiskLocalPMemBackingInfo",
        Changed("it was on the host's persistent memory: it becomes a thin disk"),
        Made::Disk,
    ),
    ("VirtualDiskPartitionedRawDiskVer2BackingInfo", Lost(HOST_BOUND), Made::Nothing),
    (
        "VirtualDiskRawDiskMappingVer1BackingInfo",
        Changed("it becomes a disk of its own with the same content"),
        Made::Disk,
    ),
    ("VirtualDiskRawDiskVer2BackingInfo", Lost(HOST_BOUND), Made::Nothing),
    (
        "VirtualDiskSeSparseBackingInfo",
        Changed("it becomes a thin disk: the format is for deltas"),
        Made::Disk,
    ),
    ("VirtualDiskSparseVer1BackingInfo", Changed(HOSTED), Made::Disk),
    ("VirtualDiskSparseVer2BackingInfo", Changed(HOSTED), Made::Disk),
    (
        "VirtualEthernetCardDistributedVirtualPortBackingInfo",
        Conditional("a distributed portgroup of this name, or one that is named instead, is there"),
        Made::Network,
    ),
    (
        "VirtualEthernetCardLegacyNetworkBackingInfo",
        Changed("networks of this kind are gone: it goes to one that is named"),
        Made::Network,
    ),
    ("VirtualEthernetCardNetworkBackingInfo", Kept, Made::Network),
    (
        "VirtualEthernetCardOpaqueNetworkBackingInfo",
        Conditional("the network with this id, or one that is named instead, is there"),
        Made::Network,
    ),
    ("VirtualFloppyDeviceBackingInfo", Changed(EMPTY_DRIVE), Made::Empty),
    ("VirtualFloppyImageBackingInfo", Conditional(SAME_FILE), Made::IfThere),
    ("VirtualFloppyRemoteDeviceBackingInfo", Kept, Made::Empty),
    ("VirtualNVDIMMBackingInfo", Lost("it was on the host's persistent memory"), Made::Nothing),
    (
        "VirtualPCIPassthroughDeviceBackingInfo",
        Conditional("it runs on the same host, and the device is free"),
        Made::Host,
    ),
    ("VirtualPCIPassthroughDvxBackingInfo", Conditional("the host has a device of this class"), Made::Host),
    (
        "VirtualPCIPassthroughDynamicBackingInfo",
        Conditional("a host has a device of this vendor, type and label"),
        Made::Host,
    ),
    (
        "VirtualPCIPassthroughPluginBackingInfo",
        Lost("it is a device of no kind that can be asked for"),
        Made::Nothing,
    ),
    (
        "VirtualPCIPassthroughVmiopBackingInfo",
        Conditional("the host has a GPU with this profile"),
        Made::Host,
    ),
    ("VirtualParallelPortDeviceBackingInfo", Lost(HOST_BOUND), Made::Nothing),
    ("VirtualParallelPortFileBackingInfo", Changed("its file begins anew beside the machine"), Made::Beside),
    ("VirtualPointingDeviceDeviceBackingInfo", Servers, Made::Nothing),
    ("VirtualPrecisionClockSystemClockBackingInfo", Kept, Made::Same),
    ("VirtualSCSIPassthroughDeviceBackingInfo", Lost(HOST_BOUND), Made::Nothing),
    ("VirtualSerialPortDeviceBackingInfo", Lost(HOST_BOUND), Made::Nothing),
    ("VirtualSerialPortFileBackingInfo", Changed("its file begins anew beside the machine"), Made::Beside),
    ("VirtualSerialPortPipeBackingInfo", Kept, Made::Same),
    (
        "VirtualSerialPortThinPrintBackingInfo",
        Lost("it is a printer of a service that is gone"),
        Made::Nothing,
    ),
    ("VirtualSerialPortURIBackingInfo", Kept, Made::Same),
    ("VirtualSoundCardDeviceBackingInfo", Changed("the host chooses the device"), Made::HostChooses),
    ("VirtualSriovEthernetCardSriovBackingInfo", Changed("the host chooses the function"), Made::HostChooses),
    ("VirtualUSBRemoteClientBackingInfo", Lost("it was plugged into a person's machine"), Made::Nothing),
    ("VirtualUSBRemoteHostBackingInfo", Lost(HOST_BOUND), Made::Nothing),
    ("VirtualUSBUSBBackingInfo", Lost(HOST_BOUND), Made::Nothing),
];

/// All properties of a configuration.
pub(crate) const PROPERTIES: &[(&str, Rule, Way)] = &[
    ("changeVersion", Servers, Way::Nothing),
    ("modified", Servers, Way::Nothing),
    ("name", Kept, Way::Apart),
    ("guestFullName", Servers, Way::Nothing),
    ("version", Kept, Way::Create),
    ("uuid", Kept, Way::Apart),
    // The server takes no date of a client; nobody misses it.
    ("createDate", Servers, Way::Nothing),
    ("instanceUuid", Kept, Way::Apart),
    ("npivNodeWorldWideName", Kept, Way::Apart),
    ("npivPortWorldWideName", Kept, Way::Apart),
    ("npivWorldWideNameType", Servers, Way::Nothing),
    ("npivDesiredNodeWwns", Servers, Way::Nothing),
    ("npivDesiredPortWwns", Servers, Way::Nothing),
    ("npivTemporaryDisabled", Kept, Way::Apart),
    ("npivOnNonRdmDisks", Kept, Way::Apart),
    ("locationId", Servers, Way::Nothing),
    ("template", Kept, Way::Apart),
    ("guestId", Kept, Way::Create),
    ("alternateGuestName", Kept, Way::Create),
    ("annotation", Kept, Way::Create),
    ("files", Kept, Way::Apart),
    ("tools", Kept, Way::Apart),
    ("flags", Kept, Way::Apart),
    ("consolePreferences", Kept, Way::Create),
    ("defaultPowerOps", Kept, Way::Apart),
    ("rebootPowerOff", Lost("it was asked for once, for the next restart of the guest"), Way::Nothing),
    ("hardware", Kept, Way::Apart),
    ("vcpuConfig", Kept, Way::Create),
    ("cpuAllocation", Kept, Way::Apart),
    ("memoryAllocation", Kept, Way::Apart),
    ("latencySensitivity", Kept, Way::Apart),
    ("memoryHotAddEnabled", Kept, Way::Create),
    ("cpuHotAddEnabled", Kept, Way::Create),
    ("cpuHotRemoveEnabled", Kept, Way::Create),
    ("hotPlugMemoryLimit", Servers, Way::Nothing),
    ("hotPlugMemoryIncrementSize", Servers, Way::Nothing),
    ("cpuAffinity", Conditional("it runs on a host like the old one, and no cluster moves it"), Way::Host),
    ("memoryAffinity", Lost("hosts no longer take it"), Way::Nothing),
    ("networkShaper", Lost("hosts no longer take it"), Way::Nothing),
    ("extraConfig", Kept, Way::Apart),
    ("cpuFeatureMask", Kept, Way::Apart),
    ("datastoreUrl", Servers, Way::Nothing),
    ("swapPlacement", Kept, Way::Create),
    ("bootOptions", Kept, Way::Apart),
    ("ftInfo", Lost("fault tolerance is set up anew, with a new second machine"), Way::Nothing),
    ("repConfig", Lost("replication is set up anew: a copy would pass for its source"), Way::Nothing),
    ("vAppConfig", Kept, Way::Apart),
    ("vAssertsEnabled", Lost("hosts no longer record and replay"), Way::Nothing),
    ("changeTrackingEnabled", Kept, Way::Late),
    ("firmware", Kept, Way::Create),
    ("maxMksConnections", Kept, Way::Create),
    ("guestAutoLockEnabled", Kept, Way::Create),
    ("managedBy", Kept, Way::Apart),
    ("memoryReservationLockedToMax", Kept, Way::Late),
    ("initialOverhead", Servers, Way::Nothing),
    ("nestedHVEnabled", Kept, Way::Apart),
    ("vPMCEnabled", Kept, Way::Create),
    ("scheduledHardwareUpgradeInfo", Kept, Way::Apart),
    ("forkConfigInfo", Lost("it is no instant clone of its parent any more"), Way::Nothing),
    ("vFlashCacheReservation", Servers, Way::Nothing),
    ("vmxConfigChecksum", Servers, Way::Nothing),
    ("messageBusTunnelEnabled", Kept, Way::Create),
    ("vmStorageObjectId", Servers, Way::Nothing),
    ("swapStorageObjectId", Servers, Way::Nothing),
    (
        "keyId",
        Conditional("the key provider has the key: otherwise it is encrypted anew, or not at all"),
        Way::Apart,
    ),
    ("guestIntegrityInfo", Servers, Way::Nothing),
    ("migrateEncryption", Kept, Way::Create),
    ("sgxInfo", Conditional("the host has SGX"), Way::Host),
    ("contentLibItemInfo", Lost("it is no item of a content library any more"), Way::Nothing),
    ("ftEncryptionMode", Kept, Way::Create),
    ("guestMonitoringModeInfo", Lost("its files are on the old datastores: set it up anew"), Way::Nothing),
    ("sevEnabled", Conditional("the host has AMD SEV"), Way::Host),
    ("numaInfo", Kept, Way::Apart),
    ("pmemFailoverEnabled", Conditional("the host has persistent memory"), Way::Host),
    ("vmxStatsCollectionEnabled", Kept, Way::Create),
    ("vmOpNotificationToAppEnabled", Kept, Way::Create),
    ("vmOpNotificationTimeout", Kept, Way::Create),
    ("deviceSwap", Kept, Way::Apart),
    // What it is about is reported as a device.
    ("pmem", Servers, Way::Nothing),
    ("deviceGroups", Lost("groups of devices are put together anew, where the host has them"), Way::Nothing),
    ("fixedPassthruHotPlugEnabled", Conditional("the host has the devices"), Way::Host),
    ("metroFtEnabled", Lost("fault tolerance is set up anew"), Way::Nothing),
    ("metroFtHostGroup", Lost("fault tolerance is set up anew"), Way::Nothing),
    ("tdxEnabled", Conditional("the host has Intel TDX"), Way::Host),
    ("sevSnpEnabled", Conditional("the host has AMD SEV-SNP"), Way::Host),
    ("vmxRuntimeConfig", Servers, Way::Nothing),
    // Of the host that is chosen, and there a recovery has to look.
    ("guestArchitecture", Servers, Way::Nothing),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use vim_api::dynamic::{TypeInfo, type_info, type_infos};

    use super::*;

    fn named<W>(table: &[(&'static str, Rule, W)]) -> BTreeSet<&'static str> {
        let names: BTreeSet<_> = table.iter().map(|(name, ..)| *name).collect();
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

    #[test]
    fn what_is_lost_or_the_servers_is_not_sent_and_all_else_is() {
        let is_left = |rule: &Rule| matches!(rule, Lost(_) | Servers);
        for (name, rule, made) in DEVICES.iter().chain(BACKINGS) {
            let is_sent = !matches!(made, Made::Nothing | Made::Edited);
            assert_eq!(is_sent, !is_left(rule), "{name}");
        }
        for (name, rule, way) in PROPERTIES {
            assert_eq!(*way == Way::Nothing, is_left(rule), "{name}");
        }
    }

    #[test]
    fn what_goes_under_the_same_name_has_it_in_a_specification() {
        let spec = type_info("VirtualMachineConfigSpec").unwrap();
        for (name, _, way) in PROPERTIES {
            if matches!(way, Way::Create | Way::Late | Way::Host) {
                assert!(spec.fields.iter().any(|field| field.name == *name), "{name}");
            }
        }
    }
}
