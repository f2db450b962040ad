//! The properties of a configuration, by the way that the table has for each.

use vim_api::dynamic::{Object, Poly, get_path, set_path};
use vim_api::types::{
    ArrayUpdateOperation, ArrayUpdateSpec, CryptoSpecEncrypt, LatencySensitivity,
    LatencySensitivitySensitivityLevel, ResourceAllocationInfo, ScheduledHardwareUpgradeInfo,
    ToolsConfigInfo, VAppOvfSectionSpec, VAppProductSpec, VAppPropertySpec, VirtualMachineBootOptions,
    VirtualMachineCpuIdInfoSpec, VirtualMachineDefaultPowerOpInfo, VirtualMachineDefinedProfileSpec,
    VirtualMachineFileInfo, VirtualMachineFlagInfo, VirtualMachineVirtualDeviceSwap,
    VirtualMachineVirtualDeviceSwapDeviceSwapInfo, VirtualMachineVirtualNuma, VmConfigInfo, VmConfigSpec,
};

use super::{Draft, Identity};
use crate::capture::convert::tables::{PROPERTIES, Way};
use crate::capture::convert::{is_in_use, note};
use crate::capture::{Loss, Verdict};
use crate::error::{Error, ErrorKind};

/// Why what only some hosts have is left out.
pub(super) const NOT_KEPT: &str = "only some hosts have it, and it was not asked for";

impl Draft<'_> {
    pub(super) fn settings(&mut self) -> Result<(), Error> {
        self.create.vm_profile = profile(self.design.home_policy.as_deref());
        for (property, rule, way) in PROPERTIES {
            let is_in_use = is_in_use(self.config, property);
            let mut losses = Vec::new();
            if is_in_use {
                note(rule, || (*property).to_owned(), &mut losses);
            }
            match way {
                Way::Nothing => {}
                Way::Create => copy(self.config, &mut self.create, property)?,
                Way::Late => copy(self.config, &mut self.late.spec, property)?,
                Way::Host if is_in_use && self.design.keep_host_devices => {
                    copy(self.config, &mut self.create, property)?;
                }
                Way::Host if is_in_use => losses = vec![Loss::new(*property, Verdict::Lost, NOT_KEPT)],
                Way::Host => {}
                Way::Apart => losses = self.apart(property, losses)?,
            }
            self.losses.append(&mut losses);
        }
        Ok(())
    }

    /// A property that has another form in a specification. Returns what of it is lost, given what the table says.
    fn apart(&mut self, property: &str, mut losses: Vec<Loss>) -> Result<Vec<Loss>, Error> {
        let (config, design) = (self.config, self.design);
        let is_copy = design.identity == Identity::Copy;
        let anew = "it is a copy, and has one of its own";
        match property {
            "name" => {
                self.create.name = Some(design.name.clone());
                if design.name != config.name {
                    losses.push(Loss::new("name", Verdict::Changed, format!("it is called {}", design.name)));
                }
            }
            "uuid" | "instanceUuid" => {
                let (saved, to) = match property {
                    "uuid" => (Some(&config.uuid), &mut self.create.uuid),
                    _ => (config.instance_uuid.as_ref(), &mut self.create.instance_uuid),
                };
                let Some(saved) = saved.filter(|uuid| !uuid.is_empty()) else { return Ok(losses) };
                if is_copy {
                    losses.push(Loss::new(property, Verdict::Changed, anew));
                } else if design.uuids_in_use.contains(&saved.to_lowercase()) {
                    let text = format!(
                        "another machine of the target has the {property} {saved}: remove it, or make a copy"
                    );
                    return Err(Error::new(ErrorKind::NotEligible, text));
                } else {
                    *to = Some(saved.clone());
                }
            }
            "npivNodeWorldWideName" => self.npiv(is_copy, anew, &mut losses),
            // With the names, or not at all.
            "npivPortWorldWideName" | "npivTemporaryDisabled" | "npivOnNonRdmDisks" => {}
            // Once it is whole.
            "template" => {}
            "files" => {
                let vm_path_name = Some(format!("[{}]", design.home));
                self.create.files =
                    Some(Box::new(VirtualMachineFileInfo { vm_path_name, ..Default::default() }));
            }
            "tools" => self.tools(&mut losses),
            "flags" => self.flags(),
            // With the flags: some of them decide about it.
            "nestedHVEnabled" => {}
            "defaultPowerOps" => {
                let saved = &config.default_power_ops;
                self.create.power_op_info = Some(Box::new(VirtualMachineDefaultPowerOpInfo {
                    power_off_type: saved.power_off_type.clone(),
                    suspend_type: saved.suspend_type.clone(),
                    reset_type: saved.reset_type.clone(),
                    standby_action: saved.standby_action.clone(),
                    ..Default::default()
                }));
            }
            "hardware" => self.hardware(),
            "cpuAllocation" => self.late.spec.cpu_allocation = allocation(config.cpu_allocation.as_deref()),
            "memoryAllocation" => {
                self.late.spec.memory_allocation = allocation(config.memory_allocation.as_deref());
            }
            "latencySensitivity" => self.latency(&mut losses),
            // When it is known which devices there are.
            "extraConfig" => {}
            "cpuFeatureMask" => {
                let add = |info: &vim_api::types::HostCpuIdInfo| VirtualMachineCpuIdInfoSpec {
                    base: adding(),
                    info: Some(Box::new(info.clone())),
                };
                self.create.cpu_feature_mask = config.cpu_feature_mask.iter().map(add).collect();
            }
            "bootOptions" => self.boot_options(),
            "vAppConfig" => {
                self.create.v_app_config = config.v_app_config.as_ref().map(|saved| Poly::new(v_app(saved)));
            }
            "managedBy" => match (&config.managed_by, is_copy) {
                (Some(by), true) if !by.extension_key.is_empty() => {
                    losses.push(Loss::new(property, Verdict::Lost, "it is a copy, which nobody manages"));
                }
                (by, false) => self.late.spec.managed_by.clone_from(by),
                _ => {}
            },
            "scheduledHardwareUpgradeInfo" => {
                if let Some(saved) = config.scheduled_hardware_upgrade_info.as_deref()
                    && saved.version_key.is_some()
                {
                    let wish = ScheduledHardwareUpgradeInfo {
                        upgrade_policy: saved.upgrade_policy.clone(),
                        version_key: saved.version_key.clone(),
                        ..Default::default()
                    };
                    self.create.scheduled_hardware_upgrade_info = Some(Box::new(wish));
                }
            }
            "keyId" => {
                if let Some(key) = config.key_id.as_deref() {
                    match design.keep_key {
                        true => {
                            let crypto =
                                CryptoSpecEncrypt { crypto_key_id: key.clone(), ..Default::default() };
                            self.create.crypto = Some(Poly::new(crypto));
                        }
                        false => {
                            let why = "it is not encrypted any more: its key was not asked for";
                            losses = vec![Loss::new(property, Verdict::Lost, why)];
                        }
                    }
                }
            }
            "numaInfo" => self.numa(),
            "deviceSwap" => {
                let swap = config.device_swap.as_deref().and_then(|swap| swap.lsi_to_pvscsi.as_deref());
                if swap.is_some_and(|swap| swap.enabled == Some(true)) {
                    let enabled = VirtualMachineVirtualDeviceSwapDeviceSwapInfo {
                        enabled: Some(true),
                        ..Default::default()
                    };
                    let swap = VirtualMachineVirtualDeviceSwap {
                        lsi_to_pvscsi: Some(Box::new(enabled)),
                        ..Default::default()
                    };
                    self.create.device_swap = Some(Box::new(swap));
                }
            }
            other => {
                let text = format!("the table sends {other} in another form, and there is none");
                return Err(Error::new(ErrorKind::RestorePoint, text));
            }
        }
        Ok(losses)
    }

    fn npiv(&mut self, is_copy: bool, anew: &str, losses: &mut Vec<Loss>) {
        let config = self.config;
        let (node, port) = (&config.npiv_node_world_wide_name, &config.npiv_port_world_wide_name);
        if node.is_empty() || port.is_empty() {
            return;
        }
        if is_copy {
            losses.push(Loss::new("npivNodeWorldWideName", Verdict::Lost, anew));
            return;
        }
        self.create.npiv_node_world_wide_name.clone_from(node);
        self.create.npiv_port_world_wide_name.clone_from(port);
        self.create.npiv_world_wide_name_op = Some("set".to_owned());
        self.create.npiv_temporary_disabled = config.npiv_temporary_disabled;
        self.create.npiv_on_non_rdm_disks = config.npiv_on_non_rdm_disks;
    }

    fn tools(&mut self, losses: &mut Vec<Loss>) {
        let Some(saved) = self.config.tools.as_deref() else { return };
        if saved.pending_customization.as_ref().is_some_and(|pending| !pending.is_empty()) {
            let why = "a customization that was pending is not done";
            losses.push(Loss::new("tools.pendingCustomization", Verdict::Lost, why));
        }
        self.create.tools = Some(Box::new(ToolsConfigInfo {
            after_power_on: saved.after_power_on,
            after_resume: saved.after_resume,
            before_guest_standby: saved.before_guest_standby,
            before_guest_shutdown: saved.before_guest_shutdown,
            before_guest_reboot: saved.before_guest_reboot,
            tools_upgrade_policy: saved.tools_upgrade_policy.clone(),
            sync_time_with_host_allowed: saved.sync_time_with_host_allowed,
            // What is not allowed cannot be on.
            sync_time_with_host: saved
                .sync_time_with_host
                .filter(|_| saved.sync_time_with_host_allowed != Some(false)),
            ..Default::default()
        }));
    }

    /// Virtualization-based security implies three other settings, and a server refuses one of them that says no.
    fn flags(&mut self) {
        let saved = &self.config.flags;
        let secured = saved.vbs_enabled == Some(true);
        let unless_secured = |value: Option<bool>| value.filter(|on| *on || !secured);
        if saved.monitor_type.as_deref().is_some_and(|of| of != "release") {
            self.notes.push("it ran with a monitor for debugging or statistics, and does not now".to_owned());
        }
        self.create.nested_hv_enabled = unless_secured(self.config.nested_hv_enabled);
        self.create.flags = Some(Box::new(VirtualMachineFlagInfo {
            disable_acceleration: saved.disable_acceleration,
            enable_logging: saved.enable_logging,
            use_toe: saved.use_toe,
            monitor_type: saved.monitor_type.clone().filter(|of| of == "release"),
            disk_uuid_enabled: saved.disk_uuid_enabled,
            virtual_mmu_usage: saved.virtual_mmu_usage.clone(),
            virtual_exec_usage: saved.virtual_exec_usage.clone(),
            snapshot_power_off_behavior: saved.snapshot_power_off_behavior.clone(),
            cbrc_cache_enabled: saved.cbrc_cache_enabled,
            vvtd_enabled: unless_secured(saved.vvtd_enabled),
            vbs_enabled: saved.vbs_enabled,
            ..Default::default()
        }));
    }

    fn boot_options(&mut self) {
        let Some(saved) = self.config.boot_options.as_deref() else { return };
        let secured = self.config.flags.vbs_enabled == Some(true);
        let efi = self.config.firmware.as_deref() == Some("efi");
        // Entering the setup was asked for once, and the order names devices that are not there yet.
        self.create.boot_options = Some(Box::new(VirtualMachineBootOptions {
            boot_delay: saved.boot_delay,
            boot_retry_enabled: saved.boot_retry_enabled,
            boot_retry_delay: saved.boot_retry_delay,
            network_boot_protocol: saved.network_boot_protocol.clone(),
            efi_secure_boot_enabled: saved.efi_secure_boot_enabled.filter(|on| efi && (*on || !secured)),
            ..Default::default()
        }));
    }

    fn latency(&mut self, losses: &mut Vec<Loss>) {
        let Some(saved) = self.config.latency_sensitivity.as_deref() else { return };
        let mut level = saved.level.clone();
        if level == LatencySensitivitySensitivityLevel::Custom {
            level = LatencySensitivitySensitivityLevel::Normal;
            let why = "servers no longer take a number of one's own: it is normal";
            losses.push(Loss::new("latencySensitivity", Verdict::Changed, why));
        }
        let wish = LatencySensitivity { level, ..Default::default() };
        self.create.latency_sensitivity = Some(Box::new(wish));
    }

    fn numa(&mut self) {
        let Some(saved) = self.config.numa_info.as_deref() else { return };
        let by_hand = saved.auto_cores_per_numa_node != Some(true);
        let cores = saved.cores_per_numa_node.filter(|cores| by_hand && *cores > 0);
        let exposed = saved.vnuma_on_cpu_hotadd_exposed.filter(|on| *on);
        if cores.is_some() || exposed.is_some() {
            self.create.virtual_numa = Some(Box::new(VirtualMachineVirtualNuma {
                cores_per_numa_node: cores,
                expose_vnuma_on_cpu_hotadd: exposed,
                ..Default::default()
            }));
        }
    }
}

/// Copies a property that has the same name and type in a specification. What is empty says nothing there.
fn copy(from: &dyn Object, to: &mut dyn Object, property: &str) -> Result<(), Error> {
    let wrong = |error: vim_api::dynamic::PathError| {
        Error::new(ErrorKind::RestorePoint, format!("sending {property} as it was")).because(error)
    };
    let value = get_path(from, property).map_err(wrong)?;
    let is_empty = match &value {
        None => true,
        Some(vim_api::dynamic::Value::String(text)) => text.is_empty(),
        Some(vim_api::dynamic::Value::Array(array)) => array.items().is_empty(),
        Some(_) => false,
    };
    if is_empty {
        return Ok(());
    }
    set_path(to, property, value).map_err(wrong)
}

/// Reservations, limits and shares; what only pools have is refused for machines.
fn allocation(saved: Option<&ResourceAllocationInfo>) -> Option<Box<ResourceAllocationInfo>> {
    let saved = saved?;
    Some(Box::new(ResourceAllocationInfo {
        reservation: saved.reservation,
        limit: saved.limit,
        shares: saved.shares.clone(),
        ..Default::default()
    }))
}

/// What gives a machine or a disk a storage policy.
pub(super) fn profile(id: Option<&str>) -> Vec<Poly<vim_api::types::VirtualMachineProfileSpec>> {
    let spec =
        |id: &str| VirtualMachineDefinedProfileSpec { profile_id: id.to_owned(), ..Default::default() };
    id.map(|id| Poly::new(spec(id))).into_iter().collect()
}

fn adding() -> ArrayUpdateSpec {
    ArrayUpdateSpec { operation: ArrayUpdateOperation::Add, ..Default::default() }
}

fn v_app(saved: &VmConfigInfo) -> VmConfigSpec {
    let property = |info: &vim_api::types::VAppPropertyInfo| {
        let mut info = info.clone();
        info.user_configurable = info.user_configurable.or(Some(false));
        // What is computed is not set.
        if info.r#type.as_deref() == Some("expression") {
            info.value = None;
        }
        VAppPropertySpec { base: adding(), info: Some(Box::new(info)) }
    };
    VmConfigSpec {
        product: saved
            .product
            .iter()
            .map(|info| VAppProductSpec { base: adding(), info: Some(Box::new(info.clone())) })
            .collect(),
        property: saved.property.iter().map(property).collect(),
        ip_assignment: Some(Box::new(saved.ip_assignment.clone())),
        eula: saved.eula.clone(),
        ovf_section: saved
            .ovf_section
            .iter()
            .map(|info| VAppOvfSectionSpec { base: adding(), info: Some(Box::new(info.clone())) })
            .collect(),
        ovf_environment_transport: saved.ovf_environment_transport.clone(),
        install_boot_required: Some(saved.install_boot_required),
        install_boot_stop_delay: Some(saved.install_boot_stop_delay),
        ..Default::default()
    }
}
