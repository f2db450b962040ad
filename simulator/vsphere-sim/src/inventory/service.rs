//! The service instance and the managers that exist here.

use vim_api::dynamic::{Element, Value};
use vim_api::types as t;
use vim_api::{ApiVersion, MoRef};

use super::{moref, refs, strings};
use crate::session::Session;
use crate::world::World;

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
    Namespaces,
    Ovf,
}

impl Singleton {
    const ALL: [(Self, &'static str, &'static str); 10] = [
        (Self::Instance, "ServiceInstance", "ServiceInstance"),
        (Self::Properties, "PropertyCollector", "propertyCollector"),
        (Self::Sessions, "SessionManager", "SessionManager"),
        (Self::Views, "ViewManager", "ViewManager"),
        (Self::Search, "SearchIndex", "SearchIndex"),
        (Self::Tasks, "TaskManager", "TaskManager"),
        (Self::Files, "FileManager", "FileManager"),
        (Self::Disks, "VirtualDiskManager", "virtualDiskManager"),
        (Self::Namespaces, "DatastoreNamespaceManager", "DatastoreNamespaceManager"),
        (Self::Ovf, "OvfManager", "OvfManager"),
    ];

    pub(super) fn of(object: &MoRef) -> Option<Self> {
        let named = |(_, type_name, id): &&(Self, &str, &str)| {
            *type_name == object.type_name() && *id == object.value()
        };
        Self::ALL.iter().find(named).map(|(manager, ..)| *manager)
    }
}

impl World {
    /// What the server says about itself. Managers that are not simulated are left out.
    pub(crate) fn service_content(&self) -> t::ServiceContent {
        t::ServiceContent {
            root_folder: moref(self.stored.tree.root()),
            property_collector: moref("propertyCollector"),
            view_manager: Some(moref("ViewManager")),
            session_manager: Some(moref("SessionManager")),
            search_index: Some(moref("SearchIndex")),
            task_manager: Some(moref("TaskManager")),
            file_manager: Some(moref("FileManager")),
            virtual_disk_manager: Some(moref("virtualDiskManager")),
            datastore_namespace_manager: Some(moref("DatastoreNamespaceManager")),
            ovf_manager: Some(moref("OvfManager")),
            about: about(&self.stored.instance_uuid, self.version),
            ..Default::default()
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
                multi_host_supported: true,
                ..Default::default()
            }
            .to_value(),
            (Singleton::Sessions, "currentSession") => session?.info().to_value(),
            (Singleton::Sessions, "sessionList") => {
                let sessions = self.sessions.iter().map(|(_, session)| session.info().to_value());
                Value::array("UserSession", sessions.collect())
            }
            (Singleton::Sessions, "message") => Value::String(String::new()),
            (Singleton::Sessions, "defaultLocale") => Value::String("en".to_owned()),
            (Singleton::Sessions, "messageLocaleList" | "supportedLocaleList") => strings(["en"]),
            (Singleton::Views, "viewList") => {
                let views = session?.views.iter();
                refs(views.map(|(id, view)| {
                    MoRef::<vim_api::mo::ManagedObject>::of_type(view.type_name(), id.clone())
                }))
            }
            (Singleton::Tasks, "recentTask") => refs(self.tasks.recent()),
            (Singleton::Ovf, name) => return crate::ovf::property(name),
            (Singleton::Tasks, "maxCollector") => Value::Int(32),
            _ => return None,
        })
    }
}

/// The newest version that is spoken unless the builder says otherwise.
pub(crate) fn default_version() -> ApiVersion {
    ApiVersion::parse("8.0.3.0").unwrap_or(ApiVersion::LATEST)
}

fn about(instance_uuid: &str, version: ApiVersion) -> t::AboutInfo {
    t::AboutInfo {
        name: "VMware vCenter Server".to_owned(),
        full_name: "VMware vCenter Server 8.0.3 build-24022515 (vsphere-sim)".to_owned(),
        vendor: "VMware, Inc.".to_owned(),
        version: "8.0.3".to_owned(),
        patch_level: Some("00000".to_owned()),
        build: "24022515".to_owned(),
        locale_version: Some("INTL".to_owned()),
        locale_build: Some("000".to_owned()),
        os_type: "linux-x64".to_owned(),
        product_line_id: "vpx".to_owned(),
        api_type: "VirtualCenter".to_owned(),
        api_version: version.id().to_owned(),
        instance_uuid: Some(instance_uuid.to_owned()),
        license_product_name: Some("VMware VirtualCenter Server".to_owned()),
        license_product_version: Some("8.0".to_owned()),
        ..Default::default()
    }
}

/// What a host says about itself.
pub(super) fn about_host(version: ApiVersion) -> t::AboutInfo {
    t::AboutInfo {
        name: "VMware ESXi".to_owned(),
        full_name: "VMware ESXi 8.0.3 build-24022510 (vsphere-sim)".to_owned(),
        vendor: "VMware, Inc.".to_owned(),
        version: "8.0.3".to_owned(),
        build: "24022510".to_owned(),
        os_type: "vmnix-x86".to_owned(),
        product_line_id: "embeddedEsx".to_owned(),
        api_type: "HostAgent".to_owned(),
        api_version: version.id().to_owned(),
        ..Default::default()
    }
}
