//! From a method call to the function that carries it out.

use std::sync::Arc;

use vim_api::dynamic::method;
use vim_api::types as t;
use vim_api::xml::Service;

use crate::fault::{Outcome, fault, invalid_request, not_authenticated, not_found, not_kept};
use crate::faults::{self, Asked, FaultPlace};
use crate::history::collector;
use crate::inventory::{search, service, views};
use crate::mode::lacks;
use crate::property_collector as pc;
use crate::session::{self, Caller};
use crate::wire::{Answer, Call};
use crate::world::Shared;
use crate::{
    authorization, beside, browser, cbt, configure, console, custom_fields, disks, environment, events,
    extensions, fcd, files, guest_operations, host_datastores, lease, lifecycle, options, ovf, power,
    service_ticket, snapshots, storage_pods, tasks, users,
};

/// Carries a call out.
pub(crate) async fn dispatch(shared: &Arc<Shared>, caller: &Caller, call: &Call) -> Outcome<Answer> {
    is_known(call)?;
    faults::play(shared, call).await?;
    let unwritten = shared.unwritten();
    let answer = match shared.faults.strike(FaultPlace::Call, &Asked::of(call)) {
        Some(rule) => faults::suffer(&rule, shared, caller, call, carry_out(shared, caller, call)).await,
        None => carry_out(shared, caller, call).await,
    };
    // What is not written would be lost with the process. Who only reads, and may wait for long, has changed nothing.
    if call.method == "Fetch" || call.this.type_name() == "PropertyCollector" {
        return answer;
    }
    let written = || shared.check_written(unwritten).map_err(|error| not_kept(&error));
    answer.and_then(|answer| written().map(|()| answer))
}

/// Refuses what is no method of the service, or of a later version than the client speaks.
fn is_known(call: &Call) -> Outcome<()> {
    let name = call.method.as_str();
    let Some(known) = method(name).filter(|method| method.service == call.service) else {
        return match call.is_internal() || name == "Fetch" {
            true => Ok(()),
            false => Err(invalid_request(format!("Unable to resolve WSDL method name {name}"))),
        };
    };
    if known.since() > call.version {
        return Err(method_not_found(call));
    }
    let newer =
        |name: &&str| known.params.iter().any(|param| param.name == *name && param.since() > call.version);
    match call.argument_names().find(newer) {
        Some(unknown) => {
            Err(invalid_request(format!("{name} has no parameter \"{unknown}\" in {}.", call.version)))
        }
        None => Ok(()),
    }
}

async fn carry_out(shared: &Arc<Shared>, caller: &Caller, call: &Call) -> Outcome<Answer> {
    let cookie = shared.read_mut(|world| {
        let cookie = caller.cookie.as_deref().filter(|cookie| world.sessions.get(cookie).is_some())?;
        world.note_activity(cookie);
        Some(cookie.to_owned())
    });
    let mode = shared.read(|world| world.mode());
    if call.service != Service::Vim25 {
        return beside::dispatch(shared, caller, cookie.as_deref(), call).await;
    }
    if call.this.type_name() == "SessionManager" {
        lacks::check(mode, call)?;
    }
    if let Some(answer) = anonymous(shared, caller, cookie.as_deref(), call)? {
        return Ok(answer);
    }
    let Some(cookie) = cookie else { return Err(not_authenticated(&call.this)) };
    let known = shared.read(|world| {
        world.sessions.get(&cookie).map(|session| world.node(&call.this, Some(session)).is_some())
    });
    match known {
        None => return Err(not_authenticated(&call.this)),
        Some(false) => return Err(not_found(&call.this)),
        Some(true) => {}
    }
    lacks::check(mode, call)?;
    shared.read(|world| authorization::admit(world, &cookie, call))?;
    let answer = authenticated(shared, &cookie, call).await;
    // A long wait counts as activity until its end.
    shared.read_mut(|world| world.note_activity(&cookie));
    answer
}

/// What works without a session. `None` if the call is not of that kind.
fn anonymous(shared: &Shared, caller: &Caller, cookie: Option<&str>, call: &Call) -> Outcome<Option<Answer>> {
    let public = |object: &vim_api::MoRef| matches!(object.type_name(), "ServiceInstance" | "SessionManager");
    Ok(Some(match (call.this.type_name(), call.method.as_str()) {
        ("ServiceInstance", "RetrieveServiceContent") => {
            let content = shared.read(|world| world.service_content());
            Answer::one(call, &content)
        }
        ("SessionManager", "Login") => session::login(shared, caller, call)?,
        ("SessionManager", "LoginByToken") => session::login_by_token(shared, caller, call)?,
        ("SessionManager", "CloneSession") => session::clone(shared, caller, call)?,
        ("SessionManager", "LoginExtensionByCertificate" | "LoginExtensionBySubjectName") => {
            return Err(extensions::no_certificate());
        }
        ("SessionManager", "AcquireLocalTicket") => return Err(session::no_local_tickets()),
        (_, "Fetch") if public(&call.this) => pc::fetch(shared, cookie, call)?,
        ("PropertyCollector", "RetrieveProperties" | "RetrievePropertiesEx") if cookie.is_none() => {
            let specs: Vec<t::PropertyFilterSpec> = call.list("specSet")?;
            let mut starts = specs.iter().flat_map(|spec| &spec.object_set);
            if !starts.all(|start| public(&start.obj) && start.select_set.is_empty()) {
                return Err(not_authenticated(&call.this));
            }
            match call.method.as_str() {
                "RetrieveProperties" => pc::retrieve_plain(shared, None, call)?,
                _ => pc::retrieve(shared, None, call)?,
            }
        }
        _ => return Ok(None),
    }))
}

async fn authenticated(shared: &Arc<Shared>, cookie: &str, call: &Call) -> Outcome<Answer> {
    match (call.this.type_name(), call.method.as_str()) {
        (_, "Fetch") => pc::fetch(shared, Some(cookie), call),
        ("ServiceInstance", "CurrentTime") => {
            Ok(Answer::one(call, &shared.read(|world| world.clock.now().date_time())))
        }
        ("ServiceInstance", "RetrieveInternalContent") => Ok(service::internal_content(shared, call)),
        ("SessionManager", "Logout") => Ok(session::logout(shared, cookie)),
        ("SessionManager", "AcquireCloneTicket") => session::clone_ticket(shared, cookie, call),
        ("SessionManager", "AcquireGenericServiceTicket") => {
            service_ticket::acquire(shared, user_of(shared, cookie), call)
        }
        ("SessionManager", "SessionIsActive") => session::is_active(shared, call),
        ("SessionManager", "TerminateSession") => session::terminate(shared, cookie, call),
        ("SessionManager", "SetLocale") => session::set_locale(shared, cookie, call),
        ("SessionManager", "UpdateServiceMessage") => session::set_message(shared, call),
        ("PropertyCollector", _) => property_collector(shared, cookie, call).await,
        ("PropertyFilter", "DestroyPropertyFilter") => pc::destroy_filter(shared, cookie, call),
        ("ViewManager", "CreateContainerView") => views::create(shared, cookie, call),
        ("ViewManager", "CreateListView") => views::create_list(shared, cookie, call),
        ("ViewManager", "CreateListViewFromView") => views::create_list_from(shared, cookie, call),
        ("ViewManager", "CreateInventoryView") => views::create_inventory(shared, cookie, call),
        ("InventoryView", "OpenInventoryViewFolder" | "CloseInventoryViewFolder") => {
            views::turn_folders(shared, cookie, call)
        }
        ("ListView", "ModifyListView") => views::modify_list(shared, cookie, call),
        ("ListView", "ResetListView") => views::reset_list(shared, cookie, call),
        ("ListView", "ResetListViewFromView") => views::reset_list_from(shared, cookie, call),
        ("ContainerView" | "ListView" | "InventoryView", "DestroyView") => {
            views::destroy(shared, cookie, call)
        }
        ("SearchIndex", "FindByUuid") => search::by_uuid(shared, cookie, call),
        ("SearchIndex", "FindAllByUuid") => search::all_by_uuid(shared, cookie, call),
        ("SearchIndex", "FindByInventoryPath") => search::by_inventory_path(shared, cookie, call),
        ("SearchIndex", "FindChild") => search::child(shared, cookie, call),
        ("SearchIndex", "FindByDatastorePath") => search::by_datastore_path(shared, cookie, call),
        ("SearchIndex", "FindByIp" | "FindAllByIp" | "FindByDnsName" | "FindAllByDnsName") => {
            search::by_guest(shared, cookie, call)
        }
        ("Task", "CancelTask") => tasks::cancel(shared, call),
        ("Task", "SetTaskState" | "SetTaskDescription" | "UpdateProgress") => {
            tasks::external::change(shared, call)
        }
        (_, "setCustomValue") => custom_fields::set_by_name(shared, &user_of(shared, cookie), call),
        (
            "AuthorizationManager"
            | "CustomFieldsManager"
            | "EventHistoryCollector"
            | "EventManager"
            | "ExtensionManager"
            | "OptionManager"
            | "TaskHistoryCollector"
            | "TaskManager"
            | "UserDirectory",
            _,
        ) => manager(shared, cookie, call),
        ("FileManager", _) => files::call(shared, call, &user_of(shared, cookie)),
        ("VirtualDiskManager", _) => disks::call(shared, call, &user_of(shared, cookie)),
        ("HostDatastoreBrowser", _) => browser::call(shared, call, &user_of(shared, cookie)),
        ("VcenterVStorageObjectManager" | "HostVStorageObjectManager", _) => {
            fcd::call(shared, call, &user_of(shared, cookie)).await
        }
        ("DatastoreNamespaceManager", _) => files::namespaces(call),
        ("EnvironmentBrowser", _) => environment::call(shared, call),
        ("HostDatastoreSystem", _) => host_datastores::call(shared, call),
        ("Datastore", "DestroyDatastore") => host_datastores::destroy(shared, call),
        ("StorageResourceManager", _) => storage_pods::call(shared, call),
        ("GuestAuthManager" | "GuestFileManager" | "GuestProcessManager", _) => {
            guest_operations::call(shared, call)
        }
        ("LicenseAssignmentManager", "QueryAssignedLicenses") => service::assigned_licenses(shared, call),
        // What they have to see to is always so here: properties are made when they are read.
        ("VirtualMachine", "RefreshStorageInfo")
        | ("Datastore", "RefreshDatastore" | "RefreshDatastoreStorageInfo") => Ok(Answer::void()),
        (_, "Reload") if authorization::is_entity(&call.this) => Ok(Answer::void()),
        (_, "Rename_Task") => lifecycle::rename(shared, call, &user_of(shared, cookie)),
        ("HttpNfcLease", _) => lease::call(shared, call).await,
        ("VirtualMachine", "ExportVm") | ("VirtualMachineSnapshot", "ExportSnapshot") => {
            lease::export(shared, cookie, &user_of(shared, cookie), call)
        }
        ("ResourcePool", "ImportVApp") => lease::import(shared, cookie, &user_of(shared, cookie), call).await,
        ("OvfManager", _) => ovf::call(shared, call),
        ("VirtualMachine" | "VirtualMachineSnapshot", _) => machine(shared, cookie, call).await,
        ("Folder" | "StoragePod", _) => folder(shared, cookie, call),
        ("ResourcePool", "CreateResourcePool") => lifecycle::create_pool(shared, call),
        ("Datacenter", "PowerOnMultiVM_Task") => power::on_many(shared, call, &user_of(shared, cookie)),
        ("Datacenter" | "ResourcePool", "Destroy_Task") => {
            lifecycle::destroy_entity(shared, call, &user_of(shared, cookie))
        }
        _ => Err(method_not_found(call)),
    }
}

async fn property_collector(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "RetrievePropertiesEx" => pc::retrieve(shared, Some(cookie), call),
        "RetrieveProperties" => pc::retrieve_plain(shared, Some(cookie), call),
        "ContinueRetrievePropertiesEx" => pc::continue_page(shared, cookie, call),
        "CancelRetrievePropertiesEx" => pc::cancel_page(shared, cookie, call),
        "CreateFilter" => pc::create_filter(shared, cookie, call),
        "CreatePropertyCollector" => pc::create(shared, cookie, call),
        "DestroyPropertyCollector" => pc::destroy(shared, cookie, call),
        "WaitForUpdatesEx" => pc::wait_ex(shared, cookie, call).await,
        "WaitForUpdates" => pc::wait(shared, cookie, call).await,
        "CheckForUpdates" => pc::check(shared, cookie, call).await,
        "CancelWaitForUpdates" => pc::cancel_wait(shared, cookie, call),
        _ => Err(method_not_found(call)),
    }
}

async fn machine(shared: &Arc<Shared>, cookie: &str, call: &Call) -> Outcome<Answer> {
    let user = user_of(shared, cookie);
    match (call.this.type_name(), call.method.as_str()) {
        ("VirtualMachine", "CreateSnapshot_Task" | "CreateSnapshotEx_Task") => {
            snapshots::create(shared, call, &user)
        }
        ("VirtualMachine", "RemoveAllSnapshots_Task") => snapshots::remove_all(shared, call, &user),
        ("VirtualMachine", "RevertToCurrentSnapshot_Task") => {
            snapshots::revert_to_current(shared, call, &user)
        }
        ("VirtualMachine", "EstimateStorageForConsolidateSnapshots_Task") => {
            snapshots::estimate(shared, call, &user)
        }
        ("VirtualMachine", "ConsolidateVMDisks_Task") => snapshots::consolidate(shared, call, &user),
        ("VirtualMachineSnapshot", "RemoveSnapshot_Task") => snapshots::remove(shared, call, &user),
        ("VirtualMachineSnapshot", "RevertToSnapshot_Task") => snapshots::revert(shared, call, &user),
        ("VirtualMachineSnapshot", "RenameSnapshot") => snapshots::rename(shared, call),
        ("VirtualMachine", "PowerOnVM_Task") => power::on(shared, call, &user),
        ("VirtualMachine", "PowerOffVM_Task") => power::off(shared, call, &user),
        ("VirtualMachine", "ShutdownGuest") => power::shutdown_guest(shared, call),
        ("VirtualMachine", "StandbyGuest") => power::standby_guest(shared, call),
        ("VirtualMachine", "AnswerVM" | "AcquireTicket" | "AcquireMksTicket") => console::call(shared, call),
        ("VirtualMachine", "reloadVirtualMachineFromPath_Task") => lifecycle::reload(shared, call, &user),
        ("VirtualMachine", "ReconfigVM_Task") => configure::start(shared, call, &user),
        ("VirtualMachine", "SuspendVM_Task") => power::suspend(shared, call, &user),
        ("VirtualMachine", "ResetVM_Task") => power::reset(shared, call, &user),
        ("VirtualMachine", "RebootGuest") => power::reboot_guest(shared, call),
        ("VirtualMachine", "CloneVM_Task") => lifecycle::clone(shared, call, &user),
        ("VirtualMachine", "RelocateVM_Task") => lifecycle::relocate(shared, call, &user),
        ("VirtualMachine", "UnregisterVM") => lifecycle::unregister(shared, call),
        ("VirtualMachine", "MarkAsTemplate") => lifecycle::mark_as_template(shared, call),
        ("VirtualMachine", "MarkAsVirtualMachine") => lifecycle::mark_as_machine(shared, call),
        ("VirtualMachine", "Destroy_Task") => lifecycle::destroy(shared, call, &user),
        ("VirtualMachine", "AttachDisk_Task") => fcd::attach(shared, call, &user),
        ("VirtualMachine", "DetachDisk_Task") => fcd::detach(shared, call, &user),
        ("VirtualMachine", "QueryChangedDiskAreas") => cbt::query(shared, call).await,
        _ => Err(method_not_found(call)),
    }
}

fn manager(shared: &Shared, cookie: &str, call: &Call) -> Outcome<Answer> {
    let user = user_of(shared, cookie);
    match (call.this.type_name(), call.method.as_str()) {
        ("AuthorizationManager", _) => authorization::manager::call(shared, &user, call),
        ("CustomFieldsManager", _) => custom_fields::call(shared, &user, call),
        ("EventManager", _) => events::call(shared, cookie, &user, call),
        ("EventHistoryCollector" | "TaskHistoryCollector", _) => collector::call(shared, cookie, call),
        ("ExtensionManager", _) => extensions::call(shared, call),
        ("OptionManager", _) => options::call(shared, call),
        ("TaskManager", "CreateCollectorForTasks") => collector::create_for_tasks(shared, cookie, call),
        ("TaskManager", "CreateTask") => tasks::external::create(shared, &user, call),
        ("UserDirectory", _) => users::call(shared, call),
        _ => Err(method_not_found(call)),
    }
}

fn folder(shared: &Arc<Shared>, cookie: &str, call: &Call) -> Outcome<Answer> {
    let user = user_of(shared, cookie);
    match call.method.as_str() {
        "CreateVM_Task" => lifecycle::create(shared, call, &user),
        "RegisterVM_Task" => lifecycle::register(shared, call, &user),
        "CreateStoragePod" => storage_pods::create(shared, call),
        "CreateFolder" => lifecycle::create_folder(shared, call),
        "MoveIntoFolder_Task" => lifecycle::move_into(shared, call, &user),
        "Destroy_Task" => lifecycle::destroy_entity(shared, call, &user),
        _ => Err(method_not_found(call)),
    }
}

fn user_of(shared: &Shared, cookie: &str) -> String {
    let user = shared.read(|world| world.sessions.get(cookie).map(|session| session.user.clone()));
    user.unwrap_or_default()
}

pub(crate) fn method_not_found(call: &Call) -> crate::fault::Fault {
    let value =
        t::MethodNotFound { receiver: call.this.clone(), method: call.method.clone(), ..Default::default() };
    fault(value, format!("The method {} is not supported on {} here.", call.method, call.this))
}
