//! Processors, memory and board.

use super::Draft;

/// Machines with EFI get another board from this version of the hardware on unless they say which they want. It would move their PCI
/// slots, by which guests name their network adapters.
const BOARD_BY_FIRMWARE: u32 = 20;

impl Draft<'_> {
    pub(super) fn hardware(&mut self) {
        let saved = &self.config.hardware;
        self.create.num_cpus = Some(saved.num_cpu);
        // The number is a result where the server chooses it.
        self.create.num_cores_per_socket =
            saved.num_cores_per_socket.filter(|_| saved.auto_cores_per_socket != Some(true));
        self.create.memory_mb = Some(saved.memory_mb.into());
        self.create.virtual_ich7_m_present = saved.virtual_ich7_m_present.filter(|on| *on);
        self.create.virtual_smc_present = saved.virtual_smc_present.filter(|on| *on);
        self.create.simultaneous_threads = saved.simultaneous_threads.filter(|threads| *threads > 1);
        self.create.motherboard_layout = saved.motherboard_layout.clone();
        let version = self.config.version.strip_prefix("vmx-").and_then(|number| number.parse::<u32>().ok());
        if self.create.motherboard_layout.is_none()
            && self.config.firmware.as_deref() == Some("efi")
            && version.is_some_and(|version| version >= BOARD_BY_FIRMWARE)
        {
            self.create.motherboard_layout = Some("i440bxHostBridge".to_owned());
        }
    }
}
