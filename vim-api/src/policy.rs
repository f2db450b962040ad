//! Storage policies: read, and found by name. They come from a service of their own (PBM), see `client/beside.rs`.

use std::collections::HashMap;

use crate::client::Client;
use crate::dynamic::EnumValue;
use crate::error::Error;
use crate::mo;
use crate::moref::MoRef;
use crate::types::{
    PbmObjectType, PbmProfileCategoryEnum, PbmProfileId, PbmProfileResourceType, PbmProfileResourceTypeEnum,
    PbmServerObjectRef, VirtualMachineDefinedProfileSpec,
};

/// How many policies or objects are asked for in one call.
const BATCH: usize = 200;

/// The storage policies of a vCenter.
///
/// ```no_run
/// # async fn example(vc: vim_api::Client, vm: vim_api::MoRef<vim_api::mo::VirtualMachine>) -> Result<(), vim_api::Error> {
/// let policies = vc.storage_policies().await?;
/// let now = policies.of_machine(&vm, &[2000]).await?;
/// // Elsewhere, and later: by the name.
/// if let Some(home) = now.home {
///     let spec = policies.find(&home.name).await?.to_spec();
/// }
/// # Ok(())
/// # }
/// ```
///
/// What goes beyond reading them, such as checking compliance, is on the generated objects: [`manager`](Self::manager) and
/// its kin in [`content`](Self::content).
#[derive(Debug, Clone)]
pub struct StoragePolicies {
    content: crate::types::PbmServiceInstanceContent,
    manager: mo::PbmProfileProfileManager,
    server: Option<String>,
}

/// A storage policy.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoragePolicy {
    /// The id, a UUID. It means something on its own vCenter only: across vCenters a policy is found by its name.
    pub id: String,
    /// The name, unique on its vCenter.
    pub name: String,
    /// The description; empty where there is none.
    pub description: String,
}

/// The policies of one machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MachinePolicies {
    /// That of the home: the configuration and swap files. `None`: the datastore's default.
    pub home: Option<StoragePolicy>,
    /// Those of the disks by device key. A disk that is not among them has the datastore's default.
    pub disks: HashMap<i32, StoragePolicy>,
}

impl StoragePolicy {
    /// What a specification of a machine (`vmProfile`) or of a disk (`profile`) takes to give it this policy.
    pub fn to_spec(&self) -> VirtualMachineDefinedProfileSpec {
        VirtualMachineDefinedProfileSpec { profile_id: self.id.clone(), ..Default::default() }
    }
}

impl Client {
    /// The storage policies of the vCenter. Reading them takes the privilege `StorageProfile.View`.
    ///
    /// # Errors
    /// Kind `NotFound` on a server without the service: a host alone has none. That of a call that failed.
    pub async fn storage_policies(&self) -> Result<StoragePolicies, Error> {
        let instance: mo::PbmServiceInstance = self.bind(&MoRef::new("ServiceInstance"));
        let content = instance.pbm_retrieve_service_content().await?;
        let manager = self.bind(&content.profile_manager);
        let server = self.content().about.instance_uuid.clone();
        Ok(StoragePolicies { content, manager, server })
    }
}

impl StoragePolicies {
    /// What the service has beside the policies.
    pub fn content(&self) -> &crate::types::PbmServiceInstanceContent {
        &self.content
    }

    /// The manager of the policies.
    pub fn manager(&self) -> &mo::PbmProfileProfileManager {
        &self.manager
    }

    /// All policies that can be given to machines and disks.
    ///
    /// # Errors
    /// That of a call that failed.
    pub async fn list(&self) -> Result<Vec<StoragePolicy>, Error> {
        let kind = PbmProfileResourceType {
            resource_type: PbmProfileResourceTypeEnum::STORAGE.as_str().to_owned(),
            ..Default::default()
        };
        let requirement = PbmProfileCategoryEnum::REQUIREMENT;
        let ids = self.manager.pbm_query_profile(&kind, Some(requirement.as_str())).await?;
        self.read(&ids).await
    }

    /// The policy of this name.
    ///
    /// # Errors
    /// Kind `NotFound` when there is none; that of a call that failed.
    pub async fn find(&self, name: &str) -> Result<StoragePolicy, Error> {
        let found = self.list().await?.into_iter().find(|policy| policy.name == name);
        found.ok_or_else(|| {
            let host = self.manager.client().host();
            Error::not_found(format!("there is no storage policy \"{name}\" on {host}"))
        })
    }

    /// The policies of a machine and of its disks with these device keys.
    ///
    /// # Errors
    /// That of a call that failed; the fault with which the service answers for one of them: that it can't tell is not the
    /// same as having no policy.
    pub async fn of_machine(
        &self,
        vm: &MoRef<mo::VirtualMachine>,
        disks: &[i32],
    ) -> Result<MachinePolicies, Error> {
        let home = self.entity(PbmObjectType::VirtualMachine, vm.value().to_owned());
        let of_disks = disks
            .iter()
            .map(|key| self.entity(PbmObjectType::VirtualDiskId, format!("{}:{key}", vm.value())));
        let entities: Vec<PbmServerObjectRef> = std::iter::once(home).chain(of_disks).collect();
        let mut associated = HashMap::<String, PbmProfileId>::new();
        for entities in entities.chunks(BATCH) {
            for mut found in self.manager.pbm_query_associated_profiles(entities).await? {
                let key = found.object.key;
                if let Some(fault) = found.fault {
                    return Err(Error::from_task(format!("reading the storage policy of {key}"), *fault));
                }
                if let Some(id) = found.profile_id.pop() {
                    associated.insert(key, id);
                }
            }
        }
        let ids: Vec<PbmProfileId> = associated.values().cloned().collect();
        let known: HashMap<String, StoragePolicy> =
            self.read(&ids).await?.into_iter().map(|policy| (policy.id.clone(), policy)).collect();
        let policy = |key: &str| known.get(&associated.get(key)?.unique_id).cloned();
        let disk = |key: &i32| Some((*key, policy(&format!("{}:{key}", vm.value()))?));
        Ok(MachinePolicies { home: policy(vm.value()), disks: disks.iter().filter_map(disk).collect() })
    }

    fn entity(&self, kind: PbmObjectType, key: String) -> PbmServerObjectRef {
        let object_type = kind.as_str().to_owned();
        PbmServerObjectRef { object_type, key, server_uuid: self.server.clone(), ..Default::default() }
    }

    async fn read(&self, ids: &[PbmProfileId]) -> Result<Vec<StoragePolicy>, Error> {
        let mut policies = Vec::with_capacity(ids.len());
        for ids in ids.chunks(BATCH) {
            let read = self.manager.pbm_retrieve_content(ids).await?;
            policies.extend(read.into_iter().map(|profile| StoragePolicy {
                id: profile.profile_id.unique_id.clone(),
                name: profile.name.clone(),
                description: profile.description.clone().unwrap_or_default(),
            }));
        }
        Ok(policies)
    }
}
