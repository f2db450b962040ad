//! Network adapters: what they are connected to, and their addresses.

use vim_api::dynamic::Poly;
use vim_api::types::{
    DistributedVirtualSwitchPortConnection, SharesLevel, VirtualDevice, VirtualDeviceBackingInfo,
    VirtualDeviceDeviceBackingInfo, VirtualEthernetCard,
    VirtualEthernetCardDistributedVirtualPortBackingInfo, VirtualEthernetCardNetworkBackingInfo,
    VirtualEthernetCardOpaqueNetworkBackingInfo,
};

use super::super::{Draft, Identity, NewNetwork};
use crate::capture::convert::subject_of;
use crate::capture::{Loss, Verdict};
use crate::error::{Error, ErrorKind};

impl Draft<'_> {
    pub(super) fn adapter(
        &mut self,
        device: &Poly<VirtualDevice>,
        sent: &mut Poly<VirtualDevice>,
    ) -> Result<(), Error> {
        let subject = subject_of(device);
        let Some(network) = self.design.networks.get(&device.key) else {
            let text = format!("{subject}: nothing says which network takes the place of its old one");
            return Err(Error::new(ErrorKind::NotEligible, text));
        };
        sent.backing = Some(backing(network, device.backing.as_ref()));
        if !is_same(network, device.backing.as_ref()) {
            let why = format!("it goes to the network {}", network.name());
            self.losses.push(Loss::new(subject.as_str(), Verdict::Changed, why));
        }
        let Some(card) = sent.downcast_mut::<VirtualEthernetCard>() else { return Ok(()) };
        let is_copy = self.design.identity == Identity::Copy;
        if is_copy {
            card.external_id = None;
        }
        if is_copy || !self.design.is_same_server {
            card.subnet_id = None;
        }
        card.resource_allocation = card.resource_allocation.take().filter(|asked| {
            asked.reservation.is_some_and(|mib| mib > 0)
                || asked.limit.is_some_and(|mib| mib >= 0)
                || asked.share.level != SharesLevel::Normal
        });
        card.upt_compatibility_enabled = card.upt_compatibility_enabled.filter(|on| *on);
        if let Some(why) = self.address(card) {
            self.losses.push(Loss::new(format!("{subject}, MAC address"), Verdict::Changed, why));
        }
        Ok(())
    }

    /// Keeps the adapter's address, or has the server give it another. Says why.
    fn address(&self, card: &mut VirtualEthernetCard) -> Option<String> {
        let address = card.mac_address.clone().filter(|address| !address.is_empty())?;
        let lower = address.to_lowercase();
        let anew = if self.design.identity == Identity::Copy {
            "it is a copy, and has one of its own".to_owned()
        } else if self.design.macs_in_use.contains(&lower) {
            format!("another machine of the target has {address}")
        } else {
            let is_manual = card.address_type.as_deref().is_some_and(|of| of.eq_ignore_ascii_case("manual"));
            if self.design.is_same_server || is_manual {
                return None;
            }
            // A server replaces what it has not handed out itself, unless a person is said to have chosen it.
            card.address_type = Some("manual".to_owned());
            return Some(format!(
                "{address} is kept as if a person had chosen it: another server has handed it out"
            ));
        };
        card.mac_address = None;
        card.address_type = Some(if self.design.is_vcenter { "assigned" } else { "generated" }.to_owned());
        Some(anew)
    }
}

impl NewNetwork {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Standard { name } | Self::Distributed { name, .. } | Self::Opaque { name, .. } => name,
        }
    }
}

fn backing(
    network: &NewNetwork,
    saved: Option<&Poly<VirtualDeviceBackingInfo>>,
) -> Poly<VirtualDeviceBackingInfo> {
    match network {
        NewNetwork::Standard { name } => {
            let saved = saved.and_then(|saved| saved.downcast_ref::<VirtualDeviceDeviceBackingInfo>());
            Poly::new(VirtualEthernetCardNetworkBackingInfo {
                base: VirtualDeviceDeviceBackingInfo {
                    device_name: name.clone(),
                    use_auto_detect: saved.and_then(|saved| saved.use_auto_detect),
                    ..Default::default()
                },
                ..Default::default()
            })
        }
        NewNetwork::Distributed { portgroup_key, switch_uuid, .. } => {
            Poly::new(VirtualEthernetCardDistributedVirtualPortBackingInfo {
                port: DistributedVirtualSwitchPortConnection {
                    switch_uuid: switch_uuid.clone(),
                    portgroup_key: Some(portgroup_key.clone()),
                    ..Default::default()
                },
                ..Default::default()
            })
        }
        NewNetwork::Opaque { id, of, .. } => Poly::new(VirtualEthernetCardOpaqueNetworkBackingInfo {
            opaque_network_id: id.clone(),
            opaque_network_type: of.clone(),
            ..Default::default()
        }),
    }
}

/// Whether the adapter was on this network.
fn is_same(network: &NewNetwork, saved: Option<&Poly<VirtualDeviceBackingInfo>>) -> bool {
    let Some(saved) = saved else { return false };
    match network {
        NewNetwork::Standard { name } => saved
            .downcast_ref::<VirtualEthernetCardNetworkBackingInfo>()
            .is_some_and(|saved| saved.device_name == *name),
        NewNetwork::Distributed { portgroup_key, .. } => saved
            .downcast_ref::<VirtualEthernetCardDistributedVirtualPortBackingInfo>()
            .is_some_and(|saved| saved.port.portgroup_key.as_ref() == Some(portgroup_key)),
        NewNetwork::Opaque { id, .. } => saved
            .downcast_ref::<VirtualEthernetCardOpaqueNetworkBackingInfo>()
            .is_some_and(|saved| saved.opaque_network_id == *id),
    }
}
