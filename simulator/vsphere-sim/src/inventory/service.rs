//! The service instance and the managers that exist here, and what the server says about itself.

mod about;

use vim_api::dynamic::{Element, Value};
use vim_api::types as t;
use vim_api::xml::Writer;
use vim_api::{ApiVersion, MoRef};

use super::{moref, refs, strings};
use crate::fault::Outcome;
use crate::history::collector;
use crate::mode::Mode;
use crate::session::Session;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

/// The objects of which a server has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Singleton {
    Instance,
    Properties,
    Sessions,
    Views,
    Search,
    Tasks,
    Files,
    Disks,
    Authorization,
    Events,
    Extensions,
    CustomFields,
    Options,
    Users,
    Licenses,
    Namespaces,
    Ovf,
    LicenseAssignments,
    StorageResources,
    GuestOperations,
    GuestAuth,
    GuestFiles,
    GuestProcesses,
    FirstClassDisks,
}

impl Singleton {
    /// Each with its type, and its id on a vCenter and on a host. A host knows no extensions and no custom fields.
    const ALL: [(Self, &'static str, &'static str, Option<&'static str>); 24] = [
        (Self::Instance, "ServiceInstance", "ServiceInstance", Some("ServiceInstance")),
        (
            Self::Properties,
            "PropertyCollector",
            Mode::VirtualCenter.collector_id(),
            Some(Mode::HostAgent.collector_id()),
        ),
        (Self::Sessions, "SessionManager", "SessionManager", Some("ha-sessionmgr")),
        (Self::Views, "ViewManager", "ViewManager", Some("ViewManager")),
        (Self::Search, "SearchIndex", "SearchIndex", Some("ha-searchindex")),
        (Self::Tasks, "TaskManager", "TaskManager", Some("ha-taskmgr")),
        (Self::Files, "FileManager", "FileManager", Some("ha-nfc-file-manager")),
        (Self::Disks, "VirtualDiskManager", "virtualDiskManager", Some("ha-vdiskmanager")),
        (Self::Authorization, "AuthorizationManager", "AuthorizationManager", Some("ha-authmgr")),
        (Self::Events, "EventManager", "EventManager", Some("ha-eventmgr")),
        (Self::Extensions, "ExtensionManager", "ExtensionManager", None),
        (Self::CustomFields, "CustomFieldsManager", "CustomFieldsManager", None),
        (Self::Options, "OptionManager", "VpxSettings", Some("HostAgentSettings")),
        (Self::Users, "UserDirectory", "UserDirectory", Some("ha-user-directory")),
        (Self::Licenses, "LicenseManager", "LicenseManager", Some("ha-license-manager")),
        (
            Self::Namespaces,
            "DatastoreNamespaceManager",
            "DatastoreNamespaceManager",
            Some("ha-datastore-namespace-manager"),
        ),
        (Self::Ovf, "OvfManager", "OvfManager", Some("ha-ovf-manager")),
        (
            Self::LicenseAssignments,
            "LicenseAssignmentManager",
            "LicenseAssignmentManager",
            Some("ha-license-assignment-manager"),
        ),
        (
            Self::StorageResources,
            "StorageResourceManager",
            "StorageResourceManager",
            Some("ha-storage-resource-manager"),
        ),
        (
            Self::GuestOperations,
            "GuestOperationsManager",
            "guestOperationsManager",
            Some("ha-guest-operations-manager"),
        ),
        (
            Self::GuestAuth,
            "GuestAuthManager",
            "guestOperationsAuthManager",
            Some("ha-guest-operations-auth-manager"),
        ),
        (
            Self::GuestFiles,
            "GuestFileManager",
            "guestOperationsFileManager",
            Some("ha-guest-operations-file-manager"),
        ),
        (
            Self::GuestProcesses,
            "GuestProcessManager",
            "guestOperationsProcessManager",
            Some("ha-guest-operations-process-manager"),
        ),
        (
            Self::FirstClassDisks,
            "VcenterVStorageObjectManager",
            "VStorageObjectManager",
            Some("ha-vstorage-object-manager"),
        ),
    ];

    pub(crate) fn of(object: &MoRef, mode: Mode) -> Option<Self> {
        let found = Self::ALL.iter().find(|(manager, type_name, ..)| {
            manager.type_in(type_name, mode) == object.type_name() && manager.id(mode) == Some(object.value())
        });
        found.map(|(manager, ..)| *manager)
    }

    /// Its type, which is another on a host for one of them.
    fn type_in(self, usual: &'static str, mode: Mode) -> &'static str {
        match (self, mode) {
            (Self::FirstClassDisks, Mode::HostAgent) => "HostVStorageObjectManager",
            _ => usual,
        }
    }

    /// Its reference, by the type that the caller knows it to be of.
    pub(crate) fn reference<M: vim_api::mo::Managed>(self, mode: Mode) -> Option<MoRef<M>> {
        let (_, usual, ..) = Self::ALL.iter().find(|(manager, ..)| *manager == self)?;
        self.id(mode).map(|id| MoRef::of_type(self.type_in(usual, mode), id))
    }

    fn id(self, mode: Mode) -> Option<&'static str> {
        let (.., center, host) = Self::ALL.iter().find(|(manager, ..)| *manager == self)?;
        match mode {
            Mode::VirtualCenter => Some(center),
            Mode::HostAgent => *host,
        }
    }
}

impl World {
    /// What the server is.
    pub(crate) fn mode(&self) -> Mode {
        self.stored.mode
    }

    /// The root folder.
    pub(crate) fn root(&self) -> MoRef {
        moref::<vim_api::mo::Folder>(self.stored.tree.root()).cast()
    }

    /// What the server says about itself. Managers that are not simulated are left out.
    pub(crate) fn service_content(&self) -> t::ServiceContent {
        fn manager<M: vim_api::mo::Managed>(singleton: Singleton, mode: Mode) -> Option<MoRef<M>> {
            singleton.reference(mode)
        }
        let mode = self.mode();
        t::ServiceContent {
            root_folder: self.root().cast(),
            property_collector: manager(Singleton::Properties, mode).unwrap_or_default(),
            view_manager: manager(Singleton::Views, mode),
            about: self.about(),
            setting: manager(Singleton::Options, mode),
            user_directory: manager(Singleton::Users, mode),
            session_manager: manager(Singleton::Sessions, mode),
            authorization_manager: manager(Singleton::Authorization, mode),
            event_manager: manager(Singleton::Events, mode),
            task_manager: manager(Singleton::Tasks, mode),
            extension_manager: manager(Singleton::Extensions, mode),
            custom_fields_manager: manager(Singleton::CustomFields, mode),
            license_manager: manager(Singleton::Licenses, mode),
            search_index: manager(Singleton::Search, mode),
            file_manager: manager(Singleton::Files, mode),
            virtual_disk_manager: manager(Singleton::Disks, mode),
            v_storage_object_manager: manager(Singleton::FirstClassDisks, mode),
            datastore_namespace_manager: manager(Singleton::Namespaces, mode),
            ovf_manager: manager(Singleton::Ovf, mode),
            storage_resource_manager: manager(Singleton::StorageResources, mode),
            guest_operations_manager: manager(Singleton::GuestOperations, mode),
            ..Default::default()
        }
    }

    /// What the server is called, and of which version.
    pub(crate) fn about(&self) -> t::AboutInfo {
        match self.mode() {
            Mode::VirtualCenter => about::center(&self.stored.instance_uuid, self.version),
            Mode::HostAgent => about::host(self.version),
        }
    }

    pub(super) fn service_property(
        &self,
        manager: Singleton,
        name: &str,
        session: Option<&Session>,
    ) -> Option<Value> {
        Some(match (manager, name) {
            (Singleton::Instance, "content") => self.service_content().to_value(),
            (Singleton::Instance, "serverClock") => self.clock.now().date_time().to_value(),
            (Singleton::Instance, "capability") => t::Capability {
                provisioning_supported: true,
                multi_host_supported: self.mode() == Mode::VirtualCenter,
                user_shell_access_supported: self.mode() == Mode::HostAgent,
                network_backup_and_restore_supported: Some(false),
                ft_drs_without_evc_supported: Some(false),
                hci_workflow_supported: Some(false),
                ..Default::default()
            }
            .to_value(),
            (Singleton::Sessions, "currentSession") => session?.info().to_value(),
            (Singleton::Sessions, "sessionList") => {
                let sessions = self.sessions.iter().map(|(_, session)| session.info().to_value());
                Value::array("UserSession", sessions.collect())
            }
            (Singleton::Sessions, "message") => Value::String(self.stored.options.message.clone()),
            (Singleton::Sessions, "defaultLocale") => Value::String("en".to_owned()),
            (Singleton::Sessions, "messageLocaleList" | "supportedLocaleList") => {
                strings(crate::session::LOCALES)
            }
            (Singleton::Views, "viewList") => {
                let views = session?.views.iter();
                refs(views.map(|(id, view)| {
                    MoRef::<vim_api::mo::ManagedObject>::of_type(view.type_name(), id.clone())
                }))
            }
            (Singleton::Tasks, "recentTask") => refs(self.tasks.recent()),
            (Singleton::Tasks, "maxCollector") => Value::Int(i32::try_from(collector::MOST).ok()?),
            (Singleton::Tasks, "description") => crate::tasks::description().to_value(),
            (Singleton::Authorization, _) => return self.authorization_property(name),
            (Singleton::Events, _) => return self.event_property(name),
            (Singleton::Extensions, _) => return self.extension_property(name),
            (Singleton::CustomFields, _) => return self.custom_field_property(name),
            (Singleton::Options, _) => return self.option_property(name),
            (Singleton::Users, _) => return self.user_directory_property(name),
            (Singleton::Licenses, "licenseAssignmentManager") => Singleton::LicenseAssignments
                .reference::<vim_api::mo::LicenseAssignmentManager>(self.mode())?
                .to_value(),
            (Singleton::GuestOperations, name) => {
                return crate::guest_operations::property(self.mode(), name);
            }
            (Singleton::Licenses, _) => return about::license_property(&self.about(), name),
            (Singleton::Ovf, name) => return crate::ovf::property(name),
            _ => return None,
        })
    }
}

/// The versions that a server can be started with, the oldest first. Milestones between releases are none of them.
pub(crate) fn served_versions() -> impl DoubleEndedIterator<Item = ApiVersion> {
    let oldest = ApiVersion::parse("6.7").unwrap_or(ApiVersion::LATEST);
    ApiVersion::all().filter(move |version| *version >= oldest && is_release(*version))
}

/// What `vimServiceVersions.xml` lists beside the newest version, the newest of them first: servers understand all that
/// were there since 4.0.
pub(crate) fn versions_before(newest: ApiVersion) -> impl Iterator<Item = ApiVersion> {
    let oldest = ApiVersion::parse("4.0").unwrap_or(ApiVersion::OLDEST);
    ApiVersion::all().rev().filter(move |version| (oldest..newest).contains(version) && is_release(*version))
}

fn is_release(version: ApiVersion) -> bool {
    version.id().starts_with(|first: char| first.is_ascii_digit())
}

/// The newest version that is spoken unless the builder says otherwise.
pub(crate) fn default_version() -> ApiVersion {
    ApiVersion::parse("8.0.3.0").unwrap_or(ApiVersion::LATEST)
}

/// `ServiceInstance.RetrieveInternalContent`, which the published API does not have: where the service is that hands out
/// tickets for NFC, of all that real servers name.
pub(crate) fn internal_content(shared: &Shared, call: &Call) -> Answer {
    let nfc = match shared.read(World::mode) {
        Mode::VirtualCenter => "nfcService",
        Mode::HostAgent => "ha-nfc-service",
    };
    let mut writer = Writer::new(call.version);
    writer.open_typed("returnval", false, "InternalServiceInstanceContent");
    writer.open_with("nfcService", &[("type", "NfcService")]);
    writer.text(nfc);
    writer.close("nfcService");
    writer.close("returnval");
    Answer { xml: writer.finish(), ..Default::default() }
}

/// `LicenseAssignmentManager.QueryAssignedLicenses`: the server and its hosts, or the one whose id is asked for.
pub(crate) fn assigned_licenses(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let wanted: Option<String> = call.optional("entityId")?;
    let assigned = shared.read(|world| {
        let hosts = world.stored.tree.iter().filter(|entity| entity.type_name() == "HostSystem");
        let mut all: Vec<(String, String)> = hosts.map(|host| (host.id.clone(), host.name.clone())).collect();
        all.insert(0, (world.stored.instance_uuid.clone(), world.about().full_name));
        let license = about::license(&world.about());
        let assignment = |(entity_id, name): (String, String)| t::LicenseAssignmentManagerLicenseAssignment {
            entity_id,
            scope: Some(world.stored.instance_uuid.clone()),
            entity_display_name: Some(name),
            assigned_license: license.clone(),
            ..Default::default()
        };
        let asked = all.into_iter().filter(|(id, _)| wanted.as_ref().is_none_or(|wanted| wanted == id));
        asked.map(assignment).collect::<Vec<_>>()
    });
    Ok(Answer::many(call, &assigned))
}

/// What a host says about itself, to the vCenter that it belongs to.
pub(super) fn about_host(version: ApiVersion) -> t::AboutInfo {
    about::host(version)
}
