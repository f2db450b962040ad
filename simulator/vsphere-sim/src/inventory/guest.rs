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

    pub(super) fn heartbeat(&self) -> t::ManagedEntityStatus {
        match self.power {
            Power::On => t::ManagedEntityStatus::Green,
            Power::Off | Power::Suspended => t::ManagedEntityStatus::Gray,
        }
    }
}
