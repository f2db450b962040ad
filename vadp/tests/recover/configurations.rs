//! Random configurations: made on the simulator, read, turned into specifications, made again and compared. More cases with
//! `VADP_RECOVER_CASES`; `VADP_RECOVER_SEED` repeats a run.

use std::collections::BTreeSet;

use vadp::recover::{Design, DiskDesign, Identity, NewMachine, NewNetwork};
use vadp::{ProtectedVm, VmSelector};
use vim_api::dynamic::{Poly, Value};
use vim_api::mo::{Folder, ResourcePool};
use vim_api::types as t;
use vim_api::{ApiVersion, Client, MoRef};
use vsphere_sim::{Sim, Topology};

use crate::harness::connect;
use crate::likeness::differences;
use crate::oracle::{Random, seed_from, setting};
use crate::scene::{add, config, controller, disk, reconfigure, scsi};

fn on(key: i32, controller: i32, unit: i32) -> t::VirtualDevice {
    t::VirtualDevice { key, controller_key: Some(controller), unit_number: Some(unit), ..Default::default() }
}

fn pick<T: Clone>(random: &mut Random, of: &[T]) -> T {
    of[usize::try_from(random.below(of.len() as u64)).unwrap()].clone()
}

fn maybe<T>(random: &mut Random, value: T) -> Option<T> {
    (random.below(2) == 0).then_some(value)
}

/// A random machine, and whether it is booted from one of its devices.
fn machine(random: &mut Random, name: &str) -> t::VirtualMachineConfigSpec {
    let mut changes = Vec::new();
    let mut disks = Vec::new();
    let mut key = 0;
    let mut next = || {
        key -= 1;
        key
    };
    for bus in 0..i32::try_from(random.below(4)).unwrap() {
        let key = next();
        let base = scsi(key, bus);
        changes.push(add(match random.below(4) {
            0 => Poly::new(t::VirtualLsiLogicController { base }),
            1 => Poly::new(t::VirtualBusLogicController { base }),
            _ => Poly::new(t::ParaVirtualSCSIController { base }),
        }));
        disks.push((key, vec![0, 1, 3, 6, 8, 15]));
    }
    for bus in 0..i32::try_from(random.below(3)).unwrap() {
        let key = next();
        changes.push(add(Poly::new(t::VirtualNVMEController {
            base: controller(key, bus),
            ..Default::default()
        })));
        disks.push((key, vec![0, 2, 14]));
    }
    if random.below(2) == 0 {
        let key = next();
        let base = t::VirtualSATAController { base: controller(key, 0) };
        changes.push(add(Poly::new(t::VirtualAHCIController { base })));
        disks.push((key, vec![0, 7, 29]));
    }
    disks.push((200, vec![1]));
    if random.below(2) == 0 {
        let base = controller(next(), 0);
        changes.push(add(Poly::new(t::VirtualUSBController {
            base,
            auto_connect_devices: Some(random.below(2) == 0),
            ehci_enabled: Some(true),
        })));
    }
    for (on, units) in disks {
        for unit in units {
            if random.below(3) == 0 {
                let datastore = pick(random, &["datastore1", "datastore2"]);
                let (thin, eager) = pick(random, &[(true, false), (false, false), (false, true)]);
                changes.push(add(Poly::new(disk(
                    next(),
                    on,
                    unit,
                    1 + random.below(3),
                    thin,
                    eager,
                    datastore,
                ))));
            }
        }
    }
    for n in 0..random.below(4) {
        let name = pick(random, &["VM Network", "VM Network 1"]);
        let backing = t::VirtualEthernetCardNetworkBackingInfo {
            base: t::VirtualDeviceDeviceBackingInfo { device_name: name.into(), ..Default::default() },
            ..Default::default()
        };
        let by_hand = random.below(2) == 0;
        let card = t::VirtualEthernetCard {
            base: t::VirtualDevice {
                key: next(),
                backing: Some(Poly::new(backing)),
                connectable: Some(Box::new(t::VirtualDeviceConnectInfo {
                    start_connected: random.below(2) == 0,
                    allow_guest_control: random.below(2) == 0,
                    ..Default::default()
                })),
                ..Default::default()
            },
            address_type: by_hand.then(|| "manual".into()),
            mac_address: by_hand.then(|| format!("00:50:56:00:{:02x}:{n:02x}", random.below(256))),
            wake_on_lan_enabled: maybe(random, true),
            ..Default::default()
        };
        changes.push(add(match random.below(4) {
            0 => Poly::new(t::VirtualE1000 { base: card }),
            1 => Poly::new(t::VirtualE1000e { base: card }),
            2 => Poly::new(t::VirtualPCNet32 { base: card }),
            _ => Poly::new(t::VirtualVmxnet3 { base: t::VirtualVmxnet { base: card }, ..Default::default() }),
        }));
    }
    let connectable =
        || Some(Box::new(t::VirtualDeviceConnectInfo { allow_guest_control: true, ..Default::default() }));
    if random.below(2) == 0 {
        let backing = t::VirtualCdromRemotePassthroughBackingInfo {
            base: t::VirtualDeviceRemoteDeviceBackingInfo {
                use_auto_detect: Some(false),
                ..Default::default()
            },
            exclusive: false,
        };
        let mut base = on(next(), 201, 0);
        base.backing = Some(Poly::new(backing));
        base.connectable = connectable();
        changes.push(add(Poly::new(t::VirtualCdrom { base })));
    }
    if random.below(3) == 0 {
        let backing = t::VirtualSerialPortURIBackingInfo {
            base: t::VirtualDeviceURIBackingInfo {
                service_uri: "telnet://:7000".into(),
                direction: "server".into(),
                ..Default::default()
            },
        };
        let mut base = on(next(), 400, 0);
        base.backing = Some(Poly::new(backing));
        base.connectable = connectable();
        changes.push(add(Poly::new(t::VirtualSerialPort { base, yield_on_poll: random.below(2) == 0 })));
    }
    let option = |key: &str, value: &str| {
        let value = Some(Value::String(value.into()));
        Poly::new(t::OptionValue { key: key.into(), value, ..Default::default() })
    };
    let cores = pick(random, &[1, 2, 4]);
    let operation = t::ArrayUpdateOperation::Add;
    t::VirtualMachineConfigSpec {
        name: Some(name.into()),
        files: Some(Box::new(t::VirtualMachineFileInfo {
            vm_path_name: Some("[datastore1]".into()),
            ..Default::default()
        })),
        guest_id: Some(pick(random, &["debian12_64Guest", "otherGuest64", "windows2019srv_64Guest"]).into()),
        annotation: maybe(random, "notes with <angles> & more\nof them".into()),
        num_cpus: Some(cores * 2),
        num_cores_per_socket: Some(cores),
        memory_mb: Some(pick(random, &[256, 1024, 4096])),
        firmware: Some(pick(random, &["bios", "efi"]).into()),
        memory_hot_add_enabled: maybe(random, true),
        cpu_hot_add_enabled: maybe(random, true),
        nested_hv_enabled: maybe(random, true),
        v_pmc_enabled: maybe(random, true),
        max_mks_connections: maybe(random, 3),
        migrate_encryption: Some(pick(random, &["disabled", "opportunistic", "required"]).into()),
        swap_placement: maybe(random, "vmDirectory".into()),
        change_tracking_enabled: Some(random.below(2) == 0),
        flags: Some(Box::new(t::VirtualMachineFlagInfo {
            enable_logging: Some(random.below(2) == 0),
            disk_uuid_enabled: Some(random.below(2) == 0),
            virtual_mmu_usage: maybe(random, "on".into()),
            ..Default::default()
        })),
        tools: Some(Box::new(t::ToolsConfigInfo {
            after_power_on: Some(random.below(2) == 0),
            tools_upgrade_policy: Some(pick(random, &["manual", "upgradeAtPowerCycle"]).into()),
            ..Default::default()
        })),
        power_op_info: Some(Box::new(t::VirtualMachineDefaultPowerOpInfo {
            power_off_type: Some(pick(random, &["soft", "hard"]).into()),
            ..Default::default()
        })),
        latency_sensitivity: Some(Box::new(t::LatencySensitivity {
            level: pick(
                random,
                &[t::LatencySensitivitySensitivityLevel::Normal, t::LatencySensitivitySensitivityLevel::High],
            ),
            ..Default::default()
        })),
        memory_allocation: Some(Box::new(t::ResourceAllocationInfo {
            reservation: Some(i64::try_from(random.below(256)).unwrap()),
            limit: Some(pick(random, &[-1, 8192])),
            ..Default::default()
        })),
        boot_options: Some(Box::new(t::VirtualMachineBootOptions {
            boot_delay: Some(pick(random, &[0, 5000])),
            boot_retry_enabled: Some(random.below(2) == 0),
            ..Default::default()
        })),
        cpu_feature_mask: (0..random.below(3))
            .map(|level| t::VirtualMachineCpuIdInfoSpec {
                base: t::ArrayUpdateSpec { operation: operation.clone(), ..Default::default() },
                info: Some(Box::new(t::HostCpuIdInfo {
                    level: i32::try_from(level).unwrap(),
                    vendor: maybe(random, "intel".into()),
                    eax: Some("----:----:----:----:----:----:----:---0".into()),
                    edx: Some("0---:----:----:----:----:----:----:----".into()),
                    ..Default::default()
                })),
            })
            .collect(),
        extra_config: vec![
            option("isolation.tools.paste.disable", "TRUE"),
            option("GuestInfo.role", &format!("role {}", random.below(9))),
            option("disk.EnableUUID", "TRUE"),
            option("a.key.of.one's.own", " spaces "),
        ],
        device_change: changes,
        ..Default::default()
    }
}

async fn create(client: &Client, spec: &t::VirtualMachineConfigSpec) -> ProtectedVm {
    let folder = client.find_one::<Folder>("/DC0/vm").await.unwrap().object;
    let pool: MoRef<ResourcePool> = client.find_one("/DC0/host/*/Resources").await.unwrap().object;
    let made = client.bind::<Folder>(&folder).create_vm_task(spec, &pool, None).await.unwrap().wait().await;
    ProtectedVm::resolve(client, &VmSelector::MoRef(made.unwrap())).await.unwrap()
}

/// All that a machine has, on the same datastores and networks.
fn design(was: &t::VirtualMachineConfigInfo, name: &str) -> Design {
    let mut design = Design::new(name, "datastore1");
    for device in &was.hardware.device {
        if let Some(disk) = device.downcast_ref::<t::VirtualDisk>() {
            let file =
                device.backing.as_ref().unwrap().downcast_ref::<t::VirtualDeviceFileBackingInfo>().unwrap();
            let datastore = file.file_name[1..].split(']').next().unwrap().to_owned();
            let capacity = u64::try_from(disk.capacity_in_bytes.unwrap()).unwrap();
            design
                .disks
                .insert(device.key, DiskDesign { datastore, provisioning: None, capacity, policy: None });
        }
        if device.is::<t::VirtualEthernetCard>() {
            let network = device.backing.as_ref().unwrap();
            let name = network
                .downcast_ref::<t::VirtualEthernetCardNetworkBackingInfo>()
                .unwrap()
                .base
                .device_name
                .clone();
            design.networks.insert(device.key, NewNetwork::Standard { name });
        }
    }
    design
}

/// Carries the specifications out.
async fn carry_out(client: &Client, machine: &NewMachine) -> ProtectedVm {
    let vm = create(client, machine.create_spec()).await;
    for disk in machine.disks() {
        let spec = machine.disk_spec(disk, &config(&vm).await).unwrap();
        reconfigure(vm.vm(), spec).await;
    }
    let spec = machine.late_spec(&config(&vm).await);
    reconfigure(vm.vm(), spec).await;
    vm
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_again_is_as_it_was_but_for_what_is_said_to_be_lost() {
    let seed = seed_from("VADP_RECOVER_SEED");
    println!("VADP_RECOVER_SEED={seed}");
    let mut random = Random::new(seed);
    let topology = Topology { datastores: 2, networks: 2, ..Default::default() };
    let sim = Sim::builder().topology(topology).start().await.unwrap();
    let client = connect(&sim.url(), sim.thumbprint_sha256(), sim.user(), sim.password()).await;
    for case in 0..setting("VADP_RECOVER_CASES", 8) {
        let identity = pick(&mut random, &[Identity::Same, Identity::Copy]);
        let old = create(&client, &machine(&mut random, "old")).await;
        let devices = config(&old).await.hardware.device;
        let order: Vec<Poly<t::VirtualMachineBootOptionsBootableDevice>> = devices
            .iter()
            .rev()
            .filter(|_| random.below(3) == 0)
            .filter_map(|device| match device {
                disk if disk.is::<t::VirtualDisk>() => {
                    Some(Poly::new(t::VirtualMachineBootOptionsBootableDiskDevice {
                        device_key: disk.key,
                        ..Default::default()
                    }))
                }
                card if card.is::<t::VirtualEthernetCard>() => {
                    Some(Poly::new(t::VirtualMachineBootOptionsBootableEthernetDevice {
                        device_key: card.key,
                        ..Default::default()
                    }))
                }
                _ => None,
            })
            .collect();
        let options = t::VirtualMachineBootOptions { boot_order: order, ..Default::default() };
        reconfigure(
            old.vm(),
            t::VirtualMachineConfigSpec { boot_options: Some(Box::new(options)), ..Default::default() },
        )
        .await;
        let was = config(&old).await;
        let mut design = design(&was, if identity == Identity::Same { "old" } else { "new" });
        design.identity = identity;
        let made = NewMachine::of(&was, &design).unwrap();
        if identity == Identity::Same {
            assert!(made.losses().is_empty(), "seed {seed}, case {case}: {:?}", made.losses());
            old.vm().destroy_task().await.unwrap().wait().await.unwrap();
        }
        let new = carry_out(&client, &made).await;
        let wrong = differences(&was, &config(&new).await, made.losses());
        assert!(wrong.is_empty(), "seed {seed}, case {case}, {identity:?}: {wrong:#?}");
        new.vm().destroy_task().await.unwrap().wait().await.unwrap();
        if identity == Identity::Copy {
            old.vm().destroy_task().await.unwrap().wait().await.unwrap();
        }
    }
}

/// A specification, pure: keys, controllers, and what is never in one.
fn keys_of(spec: &t::VirtualMachineConfigSpec) -> BTreeSet<i32> {
    let keys: Vec<i32> = spec.device_change.iter().map(|change| change.device.key).collect();
    let distinct: BTreeSet<i32> = keys.iter().copied().collect();
    assert_eq!(distinct.len(), keys.len(), "a key stands twice: {keys:?}");
    assert!(distinct.iter().all(|key| *key < 0), "{keys:?}");
    distinct
}

fn saved(devices: Vec<Poly<t::VirtualDevice>>) -> t::VirtualMachineConfigInfo {
    t::VirtualMachineConfigInfo {
        name: "old".into(),
        version: "vmx-19".into(),
        uuid: "4211".into(),
        hardware: t::VirtualHardware { num_cpu: 1, memory_mb: 512, device: devices, ..Default::default() },
        ..Default::default()
    }
}

#[test]
fn devices_without_a_home_and_those_that_all_machines_have_are_not_sent() {
    let mut on_nothing = disk(2000, 1000, 0, 1, true, false, "datastore1");
    on_nothing.base.device_info =
        Some(Poly::new(t::Description { label: "Hard disk 1".into(), ..Default::default() }));
    let devices = vec![
        Poly::new(t::VirtualCdrom { base: on(3000, 251, 0) }),
        // Keys as no server gives them.
        Poly::new(t::VirtualIDEController { base: controller(251, 1) }),
        Poly::new(t::VirtualPCIController { base: controller(150, 0) }),
        Poly::new(t::VirtualKeyboard { base: on(600, 300, 0) }),
        Poly::new(t::VirtualAHCIController {
            base: t::VirtualSATAController {
                base: t::VirtualController { base: on(15000, 150, 24), bus_number: 0, device: vec![1, 2] },
            },
        }),
        Poly::new(on_nothing),
    ];
    let config = saved(devices);
    let machine = NewMachine::of(&config, &design(&config, "new")).unwrap();
    let spec = machine.create_spec();
    keys_of(spec);
    let sent: Vec<_> = spec
        .device_change
        .iter()
        .map(|change| (change.device.type_name().to_owned(), change.device.controller_key))
        .collect();
    let expected = [("VirtualAHCIController".to_owned(), Some(100)), ("VirtualCdrom".to_owned(), Some(201))];
    assert_eq!(sent, expected);
    let lost: Vec<_> = machine.losses().iter().map(|loss| loss.subject.as_str()).collect();
    assert_eq!(lost, ["name", "Hard disk 1"], "{:?}", machine.losses());
}

#[test]
fn an_older_target_is_sent_nothing_newer_and_each_such_thing_is_lost() {
    let mut config = saved(vec![
        Poly::new(t::VirtualNVMEController {
            base: controller(31000, 0),
            shared_bus: Some("noSharing".into()),
        }),
        Poly::new(t::VirtualPrecisionClock { base: on(19000, 100, 1) }),
    ]);
    config.tdx_enabled = Some(true);
    config.vmx_stats_collection_enabled = Some(true);
    let mut design = design(&config, "old");
    design.keep_host_devices = true;
    design.version = ApiVersion::parse("6.7").unwrap();
    let machine = NewMachine::of(&config, &design).unwrap();
    let lost: Vec<_> = machine.losses().iter().map(|loss| loss.subject.as_str()).collect();
    assert!(lost.iter().any(|subject| subject.contains("VirtualPrecisionClock")), "{lost:?}");
    assert!(lost.contains(&"vmxStatsCollectionEnabled"), "{lost:?}");
    assert!(lost.iter().any(|subject| subject.ends_with("sharedBus")), "{lost:?}");
    assert!(lost.contains(&"tdxEnabled"), "{lost:?}");
    let types: Vec<_> =
        machine.create_spec().device_change.iter().map(|change| change.device.type_name()).collect();
    assert_eq!(types, ["VirtualNVMEController"]);
}

#[test]
fn security_settings_do_not_contradict_each_other() {
    for bits in 0..32 {
        let bit = |n: u32| Some(bits & (1 << n) != 0);
        let mut config = saved(Vec::new());
        config.flags.vbs_enabled = bit(0);
        config.flags.vvtd_enabled = bit(1);
        config.nested_hv_enabled = bit(2);
        config.firmware = Some(if bit(4) == Some(true) { "efi" } else { "bios" }.into());
        config.boot_options = Some(Box::new(t::VirtualMachineBootOptions {
            efi_secure_boot_enabled: bit(3),
            ..Default::default()
        }));
        let machine = NewMachine::of(&config, &design(&config, "old")).unwrap();
        let spec = machine.create_spec();
        let flags = spec.flags.as_ref().unwrap();
        let secure_boot = spec.boot_options.as_ref().unwrap().efi_secure_boot_enabled;
        if bit(0) == Some(true) {
            let no = [flags.vvtd_enabled, spec.nested_hv_enabled, secure_boot].contains(&Some(false));
            assert!(!no, "{bits:b}: {spec:?}");
        } else {
            assert_eq!((flags.vvtd_enabled, spec.nested_hv_enabled), (bit(1), bit(2)));
        }
        if bit(4) != Some(true) {
            assert_eq!(secure_boot, None, "without EFI there is none");
        }
    }
}

#[test]
fn options_of_the_old_machine_do_not_come_into_the_new_one() {
    let option = |key: &str| {
        let value = Some(Value::String("x".into()));
        Poly::new(t::OptionValue { key: key.into(), value, ..Default::default() })
    };
    let gone = [
        "nvram",
        "vc.uuid",
        "UUID.location",
        "vm.genid",
        "ctkEnabled",
        "scsi0:0.ctkEnabled",
        "scsi0:0.fileName",
        "ethernet0.generatedAddress",
        "encryption.bundle",
        "dataFileKey",
        "sched.swap.derivedName",
        "guestinfo.ovfEnv",
        "migrate.hostLog",
        "vadp.recovery",
        "ethernet12.pciSlotNumber",
        "RemoteDisplay.vnc.port",
    ];
    let kept = [
        "guestinfo.userdata",
        "isolation.tools.copy.disable",
        "SMBIOS.reflectHost",
        "ethernet0.pnicFeatures",
        "sched.mem.pshare.enable",
        "pciPassthru.use64bitMMIO",
        "my.own.key",
        "featMask.vm.cpuid.Intel",
    ];
    let mut config = saved(Vec::new());
    config.extra_config = gone.iter().chain(&kept).map(|key| option(key)).collect();
    let machine = NewMachine::of(&config, &design(&config, "old")).unwrap();
    let sent: Vec<&str> =
        machine.create_spec().extra_config.iter().map(|option| option.key.as_str()).collect();
    assert_eq!(sent, kept);
    let lost: Vec<_> = machine.losses().iter().map(|loss| loss.subject.as_str()).collect();
    assert_eq!(lost, ["option RemoteDisplay.vnc.port"]);
    assert_eq!(machine.notes().len(), 1, "{:?}", machine.notes());
}
