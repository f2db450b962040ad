//! The answer of a vCenter that was asked for everything about its machines, made with vim-api's own types.
//!
//! Each machine has its whole configuration, its 17 devices a second time as an `ArrayOfVirtualDevice`, 45 entries of
//! `extraConfig`, and three small properties: what a backup product reads. `data/mkxml.py` gives the same document in
//! the writing of pyVmomi.

use vim_api::dynamic::{DateTime, Element, EnumValue, Object, Poly, Value};
use vim_api::types::*;
use vim_api::xml::Writer;
use vim_api::{ApiVersion, MoRef, soap};

/// A `RetrievePropertiesEx` response with `count` machines, as an envelope: about 33 KB for each.
pub fn document(count: usize) -> String {
    let result = RetrieveResult { objects: (0..count).map(machine).collect(), ..Default::default() };
    let mut writer = Writer::new(ApiVersion::LATEST);
    Element::encode(&result, "returnval", &mut writer);
    soap::envelope("RetrievePropertiesExResponse", &[&writer.finish()])
}

fn machine(i: usize) -> ObjectContent {
    let stats = VirtualMachineQuickStats {
        overall_cpu_usage: Some(100 + number(i)),
        overall_cpu_demand: Some(120),
        guest_memory_usage: Some(1024),
        host_memory_usage: Some(2048),
        guest_heartbeat_status: ManagedEntityStatus::Green,
        distributed_cpu_entitlement: Some(0),
        uptime_seconds: Some(12345),
        ..Default::default()
    };
    let power = if i.is_multiple_of(3) { "poweredOff" } else { "poweredOn" };
    let devices = devices(i).iter().map(Element::to_value).collect();
    ObjectContent {
        obj: MoRef::of_type("VirtualMachine", format!("vm-{i}")),
        prop_set: vec![
            property("config", config(i).to_value()),
            property("config.hardware.device", Value::array("VirtualDevice", devices)),
            property("name", Value::String(name(i))),
            property("runtime.powerState", VirtualMachinePowerState::from_wire(power).to_value()),
            property("summary.quickStats", stats.to_value()),
        ],
        ..Default::default()
    }
}

fn property(name: &str, val: Value) -> DynamicProperty {
    DynamicProperty { name: name.into(), val, ..Default::default() }
}

fn config(i: usize) -> VirtualMachineConfigInfo {
    let (name, folder) = (name(i), folder(i));
    VirtualMachineConfigInfo {
        change_version: "2026-08-01T12:00:00.123456Z".into(),
        modified: moment(),
        guest_full_name: "Ubuntu Linux (64-bit)".into(),
        version: "vmx-21".into(),
        uuid: format!("423d{:028x}", noise(i, 1)),
        create_date: Some(moment()),
        instance_uuid: Some(format!("503d{:028x}", noise(i, 2))),
        npiv_temporary_disabled: Some(true),
        location_id: Some(format!("564d{i:028x}")),
        guest_id: "ubuntu64Guest".into(),
        annotation: Some("Created by <automation> & friends".into()),
        files: VirtualMachineFileInfo {
            vm_path_name: Some(format!("{folder}{name}.vmx")),
            snapshot_directory: Some(folder.clone()),
            suspend_directory: Some(folder.clone()),
            log_directory: Some(folder),
            ..Default::default()
        },
        name,
        tools: Some(Box::new(tools())),
        flags: flags(),
        default_power_ops: power_operations(),
        hardware: VirtualHardware {
            num_cpu: 4,
            num_cores_per_socket: Some(2),
            auto_cores_per_socket: Some(false),
            memory_mb: 8192,
            virtual_ich7_m_present: Some(false),
            virtual_smc_present: Some(false),
            device: devices(i),
            motherboard_layout: Some("i440bxHostBridge".into()),
            simultaneous_threads: Some(1),
            ..Default::default()
        },
        cpu_allocation: Some(allocation(4000)),
        memory_allocation: Some(allocation(81920)),
        memory_hot_add_enabled: Some(true),
        cpu_hot_add_enabled: Some(true),
        cpu_hot_remove_enabled: Some(false),
        hot_plug_memory_limit: Some(8192),
        hot_plug_memory_increment_size: Some(0),
        extra_config: (0..45).map(extra).collect(),
        swap_placement: Some("inherit".into()),
        boot_options: Some(Box::new(VirtualMachineBootOptions {
            boot_delay: Some(0),
            enter_bios_setup: Some(false),
            efi_secure_boot_enabled: Some(true),
            boot_retry_enabled: Some(false),
            boot_retry_delay: Some(10_000),
            network_boot_protocol: Some("ipv4".into()),
            ..Default::default()
        })),
        firmware: Some("efi".into()),
        max_mks_connections: Some(40),
        guest_auto_lock_enabled: Some(true),
        memory_reservation_locked_to_max: Some(false),
        nested_hv_enabled: Some(false),
        v_pmc_enabled: Some(false),
        message_bus_tunnel_enabled: Some(false),
        guest_integrity_info: Some(Box::new(VirtualMachineGuestIntegrityInfo {
            enabled: Some(false),
            ..Default::default()
        })),
        migrate_encryption: Some("opportunistic".into()),
        ..Default::default()
    }
}

fn tools() -> ToolsConfigInfo {
    ToolsConfigInfo {
        tools_version: Some(12389),
        tools_install_type: Some("guestToolsTypeOpenVMTools".into()),
        after_power_on: Some(true),
        after_resume: Some(true),
        before_guest_standby: Some(true),
        before_guest_shutdown: Some(true),
        tools_upgrade_policy: Some("manual".into()),
        sync_time_with_host_allowed: Some(true),
        sync_time_with_host: Some(false),
        ..Default::default()
    }
}

fn flags() -> VirtualMachineFlagInfo {
    VirtualMachineFlagInfo {
        disable_acceleration: Some(false),
        enable_logging: Some(true),
        use_toe: Some(false),
        run_with_debug_info: Some(false),
        monitor_type: Some("release".into()),
        ht_sharing: Some("any".into()),
        snapshot_disabled: Some(false),
        snapshot_locked: Some(false),
        disk_uuid_enabled: Some(true),
        snapshot_power_off_behavior: Some("powerOff".into()),
        record_replay_enabled: Some(false),
        fault_tolerance_type: Some("unset".into()),
        cbrc_cache_enabled: Some(false),
        vvtd_enabled: Some(false),
        vbs_enabled: Some(false),
        ..Default::default()
    }
}

fn power_operations() -> VirtualMachineDefaultPowerOpInfo {
    let (soft, hard) = (Some("soft".to_owned()), Some("hard".to_owned()));
    VirtualMachineDefaultPowerOpInfo {
        power_off_type: soft.clone(),
        suspend_type: hard.clone(),
        reset_type: soft.clone(),
        default_power_off_type: soft.clone(),
        default_suspend_type: hard,
        default_reset_type: soft,
        standby_action: Some("checkpoint".into()),
        ..Default::default()
    }
}

fn allocation(normal: i32) -> Box<ResourceAllocationInfo> {
    Box::new(ResourceAllocationInfo {
        reservation: Some(0),
        expandable_reservation: Some(false),
        limit: Some(-1),
        shares: Some(Box::new(shares(normal))),
        ..Default::default()
    })
}

fn shares(normal: i32) -> SharesInfo {
    SharesInfo { shares: normal, level: SharesLevel::Normal, ..Default::default() }
}

fn extra(j: usize) -> Poly<OptionValue> {
    let value = if j.is_multiple_of(3) { j.to_string() } else { format!("value {j} & more") };
    Poly::new(OptionValue {
        key: format!("guestinfo.key{j}"),
        value: Some(Value::String(value)),
        ..Default::default()
    })
}

fn devices(i: usize) -> Vec<Poly<VirtualDevice>> {
    let mut out = Vec::with_capacity(17);
    for (key, label, name) in [
        (200, "IDE 0", "VirtualIDEController"),
        (300, "PS2 controller 0", "VirtualPS2Controller"),
        (100, "PCI controller 0", "VirtualPCIController"),
        (400, "SIO controller 0", "VirtualSIOController"),
    ] {
        out.extend(controller(key, label, name));
    }
    out.push(Poly::new(VirtualKeyboard { base: device(600, "Keyboard", "Keyboard", 300, 0) }));
    out.push(Poly::new(VirtualMachineVideoCard {
        base: device(500, "Video card", "Video card", 100, 0),
        video_ram_size_in_kb: Some(4096),
        num_displays: Some(1),
        use_auto_detect: Some(false),
        enable3_d_support: Some(false),
        use3d_renderer: Some("automatic".into()),
        graphics_memory_size_in_kb: Some(262_144),
    }));
    out.push(Poly::new(scsi_controller()));
    out.extend((0..6).map(|j| Poly::new(disk(i, j))));
    out.extend((0..3).map(|j| Poly::new(network_card(i, j))));
    out.push(Poly::new(cd_drive()));
    out
}

/// A controller of the type called `name`, which adds nothing to what all controllers have.
fn controller(key: i32, label: &str, name: &str) -> Option<Poly<VirtualDevice>> {
    let mut object: Box<dyn Object> = vim_api::dynamic::type_info(name)?.instantiate();
    let controller = object.downcast_mut::<VirtualController>()?;
    controller.key = key;
    controller.device_info = Some(description(label, label));
    controller.device = vec![key * 10 + 1, key * 10 + 2];
    Poly::try_from_object(object).ok()
}

fn scsi_controller() -> ParaVirtualSCSIController {
    ParaVirtualSCSIController {
        base: VirtualSCSIController {
            base: VirtualController {
                base: device(1000, "SCSI controller 0", "VMware paravirtual SCSI", 100, 3),
                bus_number: 0,
                device: (2000..2006).collect(),
            },
            hot_add_remove: Some(true),
            shared_bus: VirtualSCSISharing::NoSharing,
            scsi_ctlr_unit_number: Some(7),
        },
    }
}

fn disk(i: usize, j: i32) -> VirtualDisk {
    let file_name = format!("{}{}_{j}.vmdk", folder(i), name(i));
    let backing = VirtualDiskFlatVer2BackingInfo {
        base: VirtualDeviceFileBackingInfo {
            file_name,
            datastore: Some(MoRef::new(format!("datastore-{}", i % 20))),
            ..Default::default()
        },
        disk_mode: "persistent".into(),
        split: Some(false),
        write_through: Some(false),
        thin_provisioned: Some(true),
        uuid: Some(format!("6000C29{j}-3b3d-a2f4-9b2a-{i:012}")),
        content_id: Some(format!("{:032x}", noise(i, 10 + u64::from(j.unsigned_abs())))),
        digest_enabled: Some(false),
        sharing: Some("sharingNone".into()),
        ..Default::default()
    };
    let mut base = device(2000 + j, &format!("Hard disk {}", j + 1), "104,857,600 KB", 1000, j);
    base.backing = Some(Poly::new(backing));
    VirtualDisk {
        base,
        capacity_in_kb: 104_857_600,
        capacity_in_bytes: Some(107_374_182_400),
        shares: Some(Box::new(shares(1000))),
        storage_io_allocation: Some(Box::new(StorageIOAllocationInfo {
            limit: Some(-1),
            shares: Some(Box::new(shares(1000))),
            reservation: Some(0),
            ..Default::default()
        })),
        disk_object_id: Some(format!("{i}-{}", 2000 + j)),
        native_unmanaged_linked_clone: Some(false),
        ..Default::default()
    }
}

fn network_card(i: usize, j: i32) -> VirtualVmxnet3 {
    let port = DistributedVirtualSwitchPortConnection {
        switch_uuid: format!("50 2d {:032x}", noise(i, 20)),
        portgroup_key: Some(format!("dvportgroup-{j}")),
        port_key: Some(i.to_string()),
        connection_cookie: Some(1_234_567_890 - number(i)),
        ..Default::default()
    };
    let mut base =
        device(4000 + j, &format!("Network adapter {}", j + 1), "VM Network & \"prod\"", 100, 7 + j);
    base.backing =
        Some(Poly::new(VirtualEthernetCardDistributedVirtualPortBackingInfo { port, ..Default::default() }));
    base.connectable = Some(connection(true, "ok"));
    let card = VirtualEthernetCard {
        base,
        address_type: Some("assigned".into()),
        mac_address: Some(format!("00:50:56:{:02x}:{:02x}:{j:02x}", i >> 8 & 255, i & 255)),
        wake_on_lan_enabled: Some(true),
        resource_allocation: Some(Box::new(VirtualEthernetCardResourceAllocation {
            reservation: Some(0),
            share: shares(50),
            limit: Some(-1),
            ..Default::default()
        })),
        upt_compatibility_enabled: Some(true),
        ..Default::default()
    };
    VirtualVmxnet3 { base: VirtualVmxnet { base: card }, ..Default::default() }
}

fn cd_drive() -> VirtualCdrom {
    let mut base = device(3000, "CD/DVD drive 1", "Remote ATAPI", 200, 0);
    base.backing = Some(Poly::new(VirtualCdromRemotePassthroughBackingInfo {
        base: VirtualDeviceRemoteDeviceBackingInfo { use_auto_detect: Some(false), ..Default::default() },
        exclusive: false,
    }));
    base.connectable = Some(connection(false, "untried"));
    VirtualCdrom { base }
}

fn device(key: i32, label: &str, summary: &str, controller: i32, unit: i32) -> VirtualDevice {
    VirtualDevice {
        key,
        device_info: Some(description(label, summary)),
        controller_key: Some(controller),
        unit_number: Some(unit),
        ..Default::default()
    }
}

fn description(label: &str, summary: &str) -> Poly<Description> {
    Poly::new(Description { label: label.into(), summary: summary.into(), ..Default::default() })
}

fn connection(connected: bool, status: &str) -> Box<VirtualDeviceConnectInfo> {
    Box::new(VirtualDeviceConnectInfo {
        start_connected: connected,
        allow_guest_control: true,
        connected,
        status: Some(status.into()),
        ..Default::default()
    })
}

fn name(i: usize) -> String {
    format!("vm-{i:05}")
}

fn folder(i: usize) -> String {
    format!("[datastore-{}] {}/", i % 20, name(i))
}

fn number(i: usize) -> i32 {
    i32::try_from(i % 1_000_000).unwrap_or_default()
}

/// Digits that do not repeat, and are the same in each run: two rounds of splitmix64.
fn noise(i: usize, salt: u64) -> u128 {
    let mut state = (i as u64) << 8 | salt;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    (u128::from(next()) << 64 | u128::from(next())) >> 20
}

fn moment() -> DateTime {
    DateTime::from(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_785_585_600))
}

#[cfg(test)]
mod tests {
    use vim_api::soap::{Message, Outcome, reply};
    use vim_api::xml::Limits;

    use super::*;

    #[test]
    fn the_document_is_what_the_figures_are_about() {
        let text = document(3);
        assert!((30_000..36_000).contains(&(text.len() / 3)), "{} bytes", text.len());
        let outcome = reply(&Message::new(text.into(), Limits::default()), |reader| {
            let start = reader.expect_child("returnval")?;
            let result = RetrieveResult::decode(reader, &start)?;
            reader.skip()?;
            Ok(result)
        });
        let Ok(Outcome::Returned(result)) = outcome else { panic!("no answer") };
        assert_eq!(result.objects.len(), 3);
        for object in result.objects {
            let [config, devices, ..] = &object.prop_set[..] else { panic!("no properties") };
            let config = config.val.as_object().unwrap().downcast_ref::<VirtualMachineConfigInfo>().unwrap();
            assert_eq!((config.hardware.device.len(), config.extra_config.len()), (17, 45));
            assert!(matches!(&devices.val, Value::Array(devices) if devices.items().len() == 17));
            assert!(config.hardware.device.iter().all(|device| device.unknown_type().is_none()));
        }
    }
}
