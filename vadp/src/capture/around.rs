//! Where the machine is, what its adapters are connected to, and what its cluster says of it.

use std::collections::HashMap;

use vim_api::dynamic::{EnumValue, Poly};
use vim_api::mo::{
    ClusterComputeResource, ComputeResource, Datacenter, DistributedVirtualPortgroup,
    DistributedVirtualSwitch, HostSystem, Managed, ManagedEntity, Network as AnyNetwork, VirtualMachine,
};
use vim_api::types::{
    ClusterAffinityRuleSpec, ClusterAntiAffinityRuleSpec, ClusterConfigInfoEx, ClusterRuleInfo,
    ClusterVmGroup, ClusterVmHostRuleInfo,
};
use vim_api::{Client, Error, MoRef};

use super::types::{Drs, DrsRule, DrsRuleKind, Network, Nic, Place};
use crate::machine::ProtectedVm;

/// Deeper than folders are nested anywhere; a server that says otherwise is not followed for ever.
const MOST_LEVELS: usize = 64;

/// Where the machine is, and the compute resource of its host.
pub(super) struct Around {
    pub(super) place: Place,
    pub(super) compute: Option<MoRef<ComputeResource>>,
}

pub(super) async fn around(vm: &ProtectedVm) -> Result<Around, Error> {
    let client = vm.client();
    let machine = vm.vm();
    let folder = machine.get(VirtualMachine::PARENT).await?;
    let vapp = machine.get(VirtualMachine::PARENT_V_APP).await?;
    let pool = machine.get(VirtualMachine::RESOURCE_POOL).await?;
    let runtime = machine.require(VirtualMachine::RUNTIME).await?;
    let mut place = Place::default();
    let mut compute = None;
    if let Some(host) = &runtime.host {
        let host: HostSystem = client.bind(host);
        place.host = host.get(HostSystem::NAME).await?;
        compute = host.get(HostSystem::PARENT).await?.map(|parent| parent.cast::<ComputeResource>());
        if let Some(compute) = &compute {
            place.compute = Some(client.path_of(compute).await?);
        }
    }
    let up = [folder.clone(), vapp.clone(), pool.as_ref().map(MoRef::cast)];
    for start in up.into_iter().flatten() {
        if let Some(datacenter) = datacenter_above(client, start).await? {
            place.datacenter = Some(client.path_of(&datacenter).await?);
            break;
        }
    }
    if let Some(folder) = &folder {
        place.folder = Some(client.path_of(folder).await?);
    }
    if let Some(vapp) = &vapp {
        place.vapp = Some(client.path_of(vapp).await?);
    }
    if let Some(pool) = &pool {
        place.pool = Some(client.path_of(pool).await?);
    }
    Ok(Around { place, compute })
}

pub(crate) async fn datacenter_above(
    client: &Client,
    start: MoRef<ManagedEntity>,
) -> Result<Option<MoRef<Datacenter>>, Error> {
    let mut at = start;
    for _ in 0..MOST_LEVELS {
        if let Some(found) = at.downcast::<Datacenter>() {
            return Ok(Some(found));
        }
        let entity: ManagedEntity = client.bind(&at);
        match entity.get(ManagedEntity::PARENT).await? {
            Some(parent) => at = parent,
            None => break,
        }
    }
    Ok(None)
}

/// Puts names to the distributed portgroups. Those that the account does not see stay without.
pub(super) async fn name_networks(vm: &ProtectedVm, mut nics: Vec<Nic>) -> Result<Vec<Nic>, Error> {
    let is_distributed = |nic: &Nic| matches!(nic.network, Network::Distributed { .. });
    if !nics.iter().any(is_distributed) {
        return Ok(nics);
    }
    let client = vm.client();
    let networks: Vec<MoRef<AnyNetwork>> = vm.vm().get(VirtualMachine::NETWORK).await?.unwrap_or_default();
    for portgroup in networks.iter().filter_map(MoRef::downcast::<DistributedVirtualPortgroup>) {
        let portgroup: DistributedVirtualPortgroup = client.bind(&portgroup);
        let config = portgroup.require(DistributedVirtualPortgroup::CONFIG).await?;
        let switch_name = match &config.distributed_virtual_switch {
            Some(switch) => {
                client.bind::<DistributedVirtualSwitch>(switch).get(DistributedVirtualSwitch::NAME).await?
            }
            None => None,
        };
        give_name(&mut nics, &config.key, &config.name, switch_name.as_deref());
    }
    Ok(nics)
}

fn give_name(nics: &mut [Nic], key: &str, name: &str, switch_name: Option<&str>) {
    for nic in nics {
        if let Network::Distributed { portgroup_key, portgroup, switch, .. } = &mut nic.network
            && portgroup_key.as_deref() == Some(key)
        {
            *portgroup = Some(name.to_owned());
            *switch = switch_name.map(str::to_owned);
        }
    }
}

/// What the machine's cluster says of it; `None` outside a cluster.
pub(super) async fn drs(
    vm: &ProtectedVm,
    compute: Option<&MoRef<ComputeResource>>,
) -> Result<Option<Drs>, Error> {
    let Some(cluster) = compute.and_then(MoRef::downcast::<ClusterComputeResource>) else { return Ok(None) };
    let compute: ComputeResource = vm.client().bind(&cluster.cast());
    let config = compute.require(ComputeResource::CONFIGURATION_EX).await?;
    let Some(config) = config.downcast_ref::<ClusterConfigInfoEx>() else { return Ok(None) };
    let me = vm.vm().moref();
    let named = rules_of(config, &me);
    let mut others: Vec<MoRef<VirtualMachine>> =
        named.iter().flat_map(|rule| machines(rule)).cloned().collect();
    others.sort_by(|a, b| a.value().cmp(b.value()));
    others.dedup();
    let mut names = HashMap::new();
    for other in others {
        let other: VirtualMachine = vm.client().bind(&other);
        // A machine that the account does not see is named by its reference: the rule is worth keeping.
        let name = other.get(VirtualMachine::NAME).await.ok().flatten();
        let id = other.moref().value().to_owned();
        names.insert(id.clone(), name.unwrap_or(id));
    }
    Ok(Some(said_of(config, &me, &names)))
}

/// What is said of a machine, with the names of those that its rules name.
fn said_of(config: &ClusterConfigInfoEx, me: &MoRef<VirtualMachine>, names: &HashMap<String, String>) -> Drs {
    let name = |moref: &MoRef<VirtualMachine>| {
        names.get(moref.value()).cloned().unwrap_or_else(|| moref.value().to_owned())
    };
    let rule = |rule: &Poly<ClusterRuleInfo>| {
        let machines = machines(rule).iter().map(name).collect();
        let kind = if rule.is::<ClusterAffinityRuleSpec>() {
            DrsRuleKind::Together { machines }
        } else if rule.is::<ClusterAntiAffinityRuleSpec>() {
            DrsRuleKind::Apart { machines }
        } else if let Some(found) = rule.downcast_ref::<ClusterVmHostRuleInfo>() {
            DrsRuleKind::OnHosts {
                machines: found.vm_group_name.clone().unwrap_or_default(),
                on: found.affine_host_group_name.clone(),
                not_on: found.anti_affine_host_group_name.clone(),
            }
        } else {
            DrsRuleKind::Other { of: rule.type_name().to_owned() }
        };
        DrsRule {
            name: rule.name.clone().unwrap_or_default(),
            enabled: rule.enabled,
            mandatory: rule.mandatory,
            rule: kind,
        }
    };
    let own = config.drs_vm_config.iter().find(|own| own.key == *me);
    let ha = config.das_vm_config.iter().find(|own| own.key == *me);
    Drs {
        rules: rules_of(config, me).into_iter().map(rule).collect(),
        groups: groups_of(config, me),
        automation: own.and_then(|own| match own.enabled {
            Some(false) => Some("disabled".to_owned()),
            _ => own.behavior.as_ref().map(|behavior| behavior.as_str().to_owned()),
        }),
        restart_priority: ha.and_then(|ha| {
            let newer = ha.das_settings.as_ref().and_then(|settings| settings.restart_priority.clone());
            newer.or_else(|| ha.restart_priority.as_ref().map(|priority| priority.as_str().to_owned()))
        }),
    }
}

fn groups_of(config: &ClusterConfigInfoEx, me: &MoRef<VirtualMachine>) -> Vec<String> {
    let groups = config.group.iter().filter_map(|group| group.downcast_ref::<ClusterVmGroup>());
    groups.filter(|group| group.vm.contains(me)).map(|group| group.name.clone()).collect()
}

fn rules_of<'a>(
    config: &'a ClusterConfigInfoEx,
    me: &MoRef<VirtualMachine>,
) -> Vec<&'a Poly<ClusterRuleInfo>> {
    let groups = groups_of(config, me);
    let about_me = |rule: &&Poly<ClusterRuleInfo>| {
        let by_group = rule
            .downcast_ref::<ClusterVmHostRuleInfo>()
            .is_some_and(|rule| rule.vm_group_name.as_ref().is_some_and(|group| groups.contains(group)));
        by_group || machines(rule).contains(me)
    };
    config.rule.iter().filter(about_me).collect()
}

fn machines(rule: &Poly<ClusterRuleInfo>) -> &[MoRef<VirtualMachine>] {
    if let Some(rule) = rule.downcast_ref::<ClusterAffinityRuleSpec>() {
        return &rule.vm;
    }
    rule.downcast_ref::<ClusterAntiAffinityRuleSpec>().map_or(&[], |rule| &rule.vm)
}

#[cfg(test)]
mod tests {
    use vim_api::types::{
        ClusterDasVmConfigInfo, ClusterDasVmSettings, ClusterDrsVmConfigInfo, ClusterGroupInfo, DrsBehavior,
    };

    use super::*;

    fn vm(id: &str) -> MoRef<VirtualMachine> {
        MoRef::new(id)
    }

    fn named(name: &str) -> ClusterRuleInfo {
        ClusterRuleInfo { name: Some(name.into()), enabled: Some(true), ..Default::default() }
    }

    #[test]
    fn a_clusters_rules_and_groups_are_those_that_name_the_machine() {
        let apart = |name: &str, machines: &[&str]| {
            Poly::new(ClusterAntiAffinityRuleSpec {
                base: named(name),
                vm: machines.iter().map(|id| vm(id)).collect(),
            })
        };
        let on_hosts = |name: &str, group: &str| {
            Poly::new(ClusterVmHostRuleInfo {
                base: named(name),
                vm_group_name: Some(group.into()),
                affine_host_group_name: Some("room 1".into()),
                anti_affine_host_group_name: None,
            })
        };
        let group = |name: &str, machines: &[&str]| {
            Poly::new(ClusterVmGroup {
                base: ClusterGroupInfo { name: name.into(), ..Default::default() },
                vm: machines.iter().map(|id| vm(id)).collect(),
            })
        };
        let config = ClusterConfigInfoEx {
            rule: vec![
                apart("web apart", &["vm-1", "vm-2"]),
                apart("db apart", &["vm-3", "vm-4"]),
                on_hosts("licences", "licensed"),
                on_hosts("others", "unlicensed"),
            ],
            group: vec![group("licensed", &["vm-1"]), group("unlicensed", &["vm-2"])],
            drs_vm_config: vec![ClusterDrsVmConfigInfo {
                key: vm("vm-1"),
                enabled: Some(true),
                behavior: Some(DrsBehavior::Manual),
                ..Default::default()
            }],
            das_vm_config: vec![ClusterDasVmConfigInfo {
                key: vm("vm-1"),
                das_settings: Some(Box::new(ClusterDasVmSettings {
                    restart_priority: Some("highest".into()),
                    ..Default::default()
                })),
                ..Default::default()
            }],
            ..Default::default()
        };
        let names = HashMap::from([("vm-1".into(), "web-01".into()), ("vm-2".into(), "web-02".into())]);
        let found = said_of(&config, &vm("vm-1"), &names);
        assert_eq!(found.groups, ["licensed"]);
        assert_eq!(found.automation.as_deref(), Some("manual"));
        assert_eq!(found.restart_priority.as_deref(), Some("highest"));
        assert_eq!(found.rules.len(), 2, "{found:?}");
        assert_eq!(found.rules[0].name, "web apart");
        assert_eq!(
            found.rules[0].rule,
            DrsRuleKind::Apart { machines: vec!["web-01".into(), "web-02".into()] }
        );
        assert_eq!(
            found.rules[1].rule,
            DrsRuleKind::OnHosts { machines: "licensed".into(), on: Some("room 1".into()), not_on: None }
        );
        assert_eq!(said_of(&config, &vm("vm-9"), &names), Drs::default());
    }

    #[test]
    fn a_distributed_portgroup_is_named_where_its_key_fits() {
        let nic = |key: i32, group: &str| Nic {
            key,
            label: None,
            mac: None,
            address_type: None,
            network: Network::Distributed {
                portgroup_key: Some(group.into()),
                portgroup: None,
                switch_uuid: "50 1a".into(),
                switch: None,
            },
        };
        let mut nics = vec![nic(4000, "dvportgroup-7"), nic(4001, "dvportgroup-8")];
        give_name(&mut nics, "dvportgroup-8", "front", Some("switch 1"));
        assert_eq!(nics[0], nic(4000, "dvportgroup-7"));
        let Network::Distributed { portgroup, switch, .. } = &nics[1].network else { panic!("{nics:?}") };
        assert_eq!((portgroup.as_deref(), switch.as_deref()), (Some("front"), Some("switch 1")));
    }
}
