//! What the tools in the guest tell.

use vim_api::types as t;

use crate::machine::{Machine, Power};

impl Machine {
    pub(super) fn guest(&self) -> t::GuestInfo {
        let on = self.power == Power::On;
        let text = |text: &str| Some(text.to_owned());
        t::GuestInfo {
            tools_status: Some(if on {
                t::VirtualMachineToolsStatus::ToolsOk
            } else {
                t::VirtualMachineToolsStatus::ToolsNotRunning
            }),
            tools_version_status: text("guestToolsUnmanaged"),
            tools_version_status2: text("guestToolsUnmanaged"),
            tools_running_status: text(if on { "guestToolsRunning" } else { "guestToolsNotRunning" }),
            tools_version: text("12352"),
            tools_install_type: text("guestToolsTypeOpenVMTools"),
            guest_id: on.then(|| self.config.guest_id.clone()),
            guest_full_name: on.then(|| self.config.guest_full_name.clone()),
            guest_family: on.then(|| "linuxGuest".to_owned()),
            host_name: on.then(|| self.plain_name()),
            ip_address: on.then(|| self.address()),
            net: if on { self.adapters() } else { Vec::new() },
            guest_state: if on { "running" } else { "notRunning" }.to_owned(),
            app_heartbeat_status: text("appStatusGray"),
            guest_kernel_crashed: on.then_some(false),
            app_state: text("none"),
            guest_operations_ready: Some(false),
            interactive_guest_operations_ready: Some(false),
            guest_state_change_supported: Some(on),
            hw_version: Some(self.config.version.clone()),
            ..Default::default()
        }
    }

    /// An address that no other machine here has.
    fn address(&self) -> String {
        let number: u32 = self.id.trim_start_matches("vm-").parse().unwrap_or(0);
        let [_, b, c, d] = number.to_be_bytes();
        format!("10.{b}.{c}.{d}")
    }

    /// What the tools tell of the network adapters: the first one has the machine's address.
    fn adapters(&self) -> Vec<t::GuestNicInfo> {
        let cards = self.config.hardware.device.iter().filter_map(|device| {
            let card = device.downcast_ref::<t::VirtualEthernetCard>()?;
            let backing = card.backing.as_ref();
            let network = backing.and_then(|held| held.downcast_ref::<t::VirtualDeviceDeviceBackingInfo>());
            Some((card, network.map(|network| network.device_name.clone())))
        });
        let told = |(number, (card, network)): (usize, (&t::VirtualEthernetCard, Option<String>))| {
            let addresses: Vec<String> = (number == 0).then(|| self.address()).into_iter().collect();
            let address = |address: &String| t::NetIpConfigInfoIpAddress {
                ip_address: address.clone(),
                prefix_length: 8,
                state: Some("preferred".to_owned()),
                ..Default::default()
            };
            t::GuestNicInfo {
                network,
                mac_address: card.mac_address.clone(),
                connected: true,
                device_config_id: card.key,
                ip_config: Some(Box::new(t::NetIpConfigInfo {
                    ip_address: addresses.iter().map(address).collect(),
                    ..Default::default()
                })),
                ip_address: addresses,
                ..Default::default()
            }
        };
        cards.enumerate().map(told).collect()
    }

    pub(super) fn heartbeat(&self) -> t::ManagedEntityStatus {
        match self.power {
            Power::On => t::ManagedEntityStatus::Green,
            Power::Off | Power::Suspended => t::ManagedEntityStatus::Gray,
        }
    }
}
