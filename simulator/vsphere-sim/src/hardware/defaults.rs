//! Settings of a machine that are the same for all of them here.

use vim_api::types as t;

pub(crate) fn guest_name(guest_id: &str) -> &'static str {
    match guest_id {
        "debian12_64Guest" => "Debian GNU/Linux 12 (64-bit)",
        _ => "Other Linux (64-bit)",
    }
}

/// Everything of a configuration that is the same for all machines unless a client says otherwise.
pub(super) fn config() -> t::VirtualMachineConfigInfo {
    t::VirtualMachineConfigInfo {
        annotation: Some(String::new()),
        tools: Some(Box::new(tools())),
        flags: flags(),
        default_power_ops: power_operations(),
        reboot_power_off: Some(false),
        cpu_allocation: Some(Box::new(allocation(1000))),
        memory_allocation: Some(Box::new(allocation(10_240))),
        latency_sensitivity: Some(Box::new(t::LatencySensitivity {
            level: t::LatencySensitivitySensitivityLevel::Normal,
            ..Default::default()
        })),
        memory_hot_add_enabled: Some(false),
        cpu_hot_add_enabled: Some(false),
        cpu_hot_remove_enabled: Some(false),
        swap_placement: Some("inherit".to_owned()),
        boot_options: Some(Box::new(t::VirtualMachineBootOptions {
            boot_delay: Some(0),
            enter_bios_setup: Some(false),
            efi_secure_boot_enabled: Some(false),
            boot_retry_enabled: Some(false),
            boot_retry_delay: Some(10_000),
            network_boot_protocol: Some("ipv4".to_owned()),
            ..Default::default()
        })),
        v_asserts_enabled: Some(false),
        change_tracking_enabled: Some(false),
        firmware: Some("bios".to_owned()),
        max_mks_connections: Some(40),
        guest_auto_lock_enabled: Some(true),
        memory_reservation_locked_to_max: Some(false),
        nested_hv_enabled: Some(false),
        v_pmc_enabled: Some(false),
        message_bus_tunnel_enabled: Some(false),
        migrate_encryption: Some("opportunistic".to_owned()),
        ..Default::default()
    }
}

fn allocation(shares: i32) -> t::ResourceAllocationInfo {
    t::ResourceAllocationInfo {
        reservation: Some(0),
        expandable_reservation: Some(false),
        limit: Some(-1),
        shares: Some(Box::new(t::SharesInfo { shares, level: t::SharesLevel::Normal, ..Default::default() })),
        ..Default::default()
    }
}

fn tools() -> t::ToolsConfigInfo {
    t::ToolsConfigInfo {
        tools_version: Some(12_352),
        tools_install_type: Some("guestToolsTypeOpenVMTools".to_owned()),
        after_power_on: Some(true),
        after_resume: Some(true),
        before_guest_standby: Some(true),
        before_guest_shutdown: Some(true),
        tools_upgrade_policy: Some("manual".to_owned()),
        sync_time_with_host_allowed: Some(true),
        sync_time_with_host: Some(false),
        ..Default::default()
    }
}

fn flags() -> t::VirtualMachineFlagInfo {
    t::VirtualMachineFlagInfo {
        disable_acceleration: Some(false),
        enable_logging: Some(true),
        use_toe: Some(false),
        run_with_debug_info: Some(false),
        monitor_type: Some("release".to_owned()),
        ht_sharing: Some("any".to_owned()),
        snapshot_disabled: Some(false),
        snapshot_locked: Some(false),
        disk_uuid_enabled: Some(true),
        snapshot_power_off_behavior: Some("powerOff".to_owned()),
        record_replay_enabled: Some(false),
        fault_tolerance_type: Some("unset".to_owned()),
        ..Default::default()
    }
}

fn power_operations() -> t::VirtualMachineDefaultPowerOpInfo {
    let soft = || Some("soft".to_owned());
    t::VirtualMachineDefaultPowerOpInfo {
        power_off_type: soft(),
        suspend_type: Some("hard".to_owned()),
        reset_type: soft(),
        default_power_off_type: soft(),
        default_suspend_type: Some("hard".to_owned()),
        default_reset_type: soft(),
        standby_action: Some("checkpoint".to_owned()),
        ..Default::default()
    }
}

pub(crate) fn capability() -> t::VirtualMachineCapability {
    t::VirtualMachineCapability {
        snapshot_operations_supported: true,
        multiple_snapshots_supported: true,
        snapshot_config_supported: true,
        powered_off_snapshots_supported: true,
        memory_snapshots_supported: true,
        revert_to_snapshot_supported: true,
        quiesced_snapshots_supported: true,
        boot_options_supported: true,
        disk_shares_supported: true,
        change_tracking_supported: Some(true),
        // Later versions of the API added these; a server says each, as strict clients ask for them.
        boot_retry_options_supported: Some(true),
        multiple_cores_per_socket_supported: Some(true),
        memory_reservation_lock_supported: Some(true),
        se_sparse_disk_supported: Some(true),
        guest_auto_lock_supported: Some(true),
        vm_npiv_wwn_disable_supported: Some(false),
        vm_npiv_wwn_update_supported: Some(false),
        setting_display_topology_supported: Some(false),
        record_replay_supported: Some(false),
        host_based_replication_supported: Some(false),
        feature_requirement_supported: Some(false),
        powered_on_monitor_type_change_supported: Some(false),
        nested_hv_supported: Some(false),
        v_pmc_supported: Some(false),
        ..Default::default()
    }
}
