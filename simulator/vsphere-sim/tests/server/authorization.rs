//! Roles and permissions, and what is refused for the lack of them.

use secrecy::SecretString;
use vim_api::dynamic::Poly;
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};
use vsphere_sim::{DiskSpec, Sim, VmSpec};

use crate::{MIB, connect, machine};

const PASSWORD: &str = "a password";
const BACKUP: [&str; 6] = [
    "VirtualMachine.State.CreateSnapshot",
    "VirtualMachine.State.RemoveSnapshot",
    "VirtualMachine.Provisioning.DiskRandomRead",
    "VirtualMachine.Config.ChangeTracking",
    "Global.DisableMethods",
    "Global.EnableMethods",
];

async fn start() -> Sim {
    let vm = |name: &str| VmSpec::new(name).disk(DiskSpec::empty(64 * MIB)).cbt();
    let password = || SecretString::from(PASSWORD);
    Sim::builder()
        .vm(vm("vm-1"))
        .vm(vm("vm-2"))
        .add_role("Backup", &BACKUP)
        .add_user("reader@vsphere.local", password(), "ReadOnly")
        .add_user("backup@vsphere.local", password(), "Backup")
        .add_user("nobody@vsphere.local", password(), "NoAccess")
        .start()
        .await
        .unwrap()
}

async fn log_in(sim: &Sim, user: &str) -> Client {
    let client = connect(sim).await;
    client.login(user, &SecretString::from(PASSWORD)).await.unwrap();
    client
}

fn manager(client: &Client) -> mo::AuthorizationManager {
    client.bind(client.content().authorization_manager.as_ref().unwrap())
}

fn denied(error: &vim_api::Error) -> (String, String) {
    let fault = error.find_fault::<t::NoPermission>().unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(fault.missing_privileges[0].privilege_ids, [fault.privilege_id.clone().unwrap()]);
    (fault.object.as_ref().unwrap().value().to_owned(), fault.privilege_id.clone().unwrap())
}

fn permission(user: &str, role: i32, propagate: bool) -> t::Permission {
    t::Permission { principal: user.to_owned(), role_id: role, propagate, ..Default::default() }
}

async fn role_id(client: &Client, name: &str) -> i32 {
    let roles = manager(client).require(mo::AuthorizationManager::ROLE_LIST).await.unwrap();
    roles.iter().find(|role| role.name == name).unwrap().role_id
}

#[tokio::test]
async fn a_reader_reads_and_changes_nothing() {
    let sim = start().await;
    let client = log_in(&sim, "reader@vsphere.local").await;
    let vm = machine(&client, &sim);
    let id = vm.moref().value().to_owned();
    assert_eq!(vm.require(mo::VirtualMachine::NAME).await.unwrap(), "vm-1");
    assert!(vm.require(mo::VirtualMachine::CONFIG).await.unwrap().change_tracking_enabled.unwrap());
    assert_eq!(vm.require(mo::VirtualMachine::EFFECTIVE_ROLE).await.unwrap(), [-2]);

    let refused = vm.create_snapshot_task("s", None, false, false).await.unwrap_err();
    assert_eq!(denied(&refused), (id.clone(), "VirtualMachine.State.CreateSnapshot".to_owned()));
    let refused = vm.power_off_vm_task().await.unwrap_err();
    assert_eq!(denied(&refused), (id.clone(), "VirtualMachine.Interact.PowerOff".to_owned()));
    let spec = |change: fn(&mut t::VirtualMachineConfigSpec)| {
        let mut spec = t::VirtualMachineConfigSpec::default();
        change(&mut spec);
        spec
    };
    let cases = [
        (spec(|spec| spec.annotation = Some("n".to_owned())), "VirtualMachine.Config.Annotation"),
        (spec(|spec| spec.name = Some("n".to_owned())), "VirtualMachine.Config.Rename"),
        (spec(|spec| spec.change_tracking_enabled = Some(false)), "VirtualMachine.Config.ChangeTracking"),
        (spec(|spec| spec.num_cpus = Some(1)), "VirtualMachine.Config.CPUCount"),
        (spec(|spec| spec.firmware = Some("efi".to_owned())), "VirtualMachine.Config.Settings"),
        (
            spec(|spec| spec.extra_config = vec![Poly::new(t::OptionValue::default())]),
            "VirtualMachine.Config.AdvancedConfig",
        ),
        (disk(t::VirtualDeviceConfigSpecOperation::Add, true, 1), "VirtualMachine.Config.AddNewDisk"),
        (disk(t::VirtualDeviceConfigSpecOperation::Add, false, 1), "VirtualMachine.Config.AddExistingDisk"),
        (disk(t::VirtualDeviceConfigSpecOperation::Remove, false, 1), "VirtualMachine.Config.RemoveDisk"),
        (disk(t::VirtualDeviceConfigSpecOperation::Edit, false, 1 << 30), "VirtualMachine.Config.DiskExtend"),
        (
            disk(t::VirtualDeviceConfigSpecOperation::Edit, false, 64 << 10),
            "VirtualMachine.Config.EditDevice",
        ),
    ];
    for (spec, privilege) in cases {
        let refused = vm.reconfig_vm_task(&spec).await.unwrap_err();
        assert_eq!(denied(&refused), (id.clone(), privilege.to_owned()));
    }
    let files: mo::FileManager = client.bind(client.content().file_manager.as_ref().unwrap());
    let refused = files.make_directory("[datastore1] new", None, None).await.unwrap_err();
    assert_eq!(denied(&refused), ("datastore-11".to_owned(), "Datastore.FileManagement".to_owned()));

    let sessions: mo::SessionManager = client.bind(client.content().session_manager.as_ref().unwrap());
    let refused = sessions.get(mo::SessionManager::SESSION_LIST).await.unwrap_err();
    assert_eq!(denied(&refused).1, "Sessions.TerminateSession");
    // A task that nobody has begun: none is left behind by what was refused.
    assert_eq!(sim.vm("vm-1").unwrap().snapshot_count(), 0);
}

fn disk(
    operation: t::VirtualDeviceConfigSpecOperation,
    create: bool,
    capacity: i64,
) -> t::VirtualMachineConfigSpec {
    let base = t::VirtualDevice { key: 2000, ..Default::default() };
    let disk = t::VirtualDisk { base, capacity_in_kb: capacity, ..Default::default() };
    let change = t::VirtualDeviceConfigSpec {
        operation: Some(operation),
        file_operation: create.then_some(t::VirtualDeviceConfigSpecFileOperation::Create),
        device: Poly::new(disk),
        ..Default::default()
    };
    t::VirtualMachineConfigSpec { device_change: vec![Poly::new(change)], ..Default::default() }
}

#[tokio::test]
async fn a_role_of_its_own_does_a_backup_and_no_more() {
    let sim = start().await;
    let client = log_in(&sim, "backup@vsphere.local").await;
    let vm = machine(&client, &sim);
    let snapshot = vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let areas = vm.query_changed_disk_areas(Some(&snapshot), 2000, 0, "*").await.unwrap();
    assert_eq!(areas.start_offset, 0);
    let snapshot: mo::VirtualMachineSnapshot = client.bind(&snapshot);
    // A snapshot's privileges are its machine's.
    let refused = snapshot.revert_to_snapshot_task(None, None).await.unwrap_err();
    assert_eq!(
        denied(&refused),
        (vm.moref().value().to_owned(), "VirtualMachine.State.RevertToSnapshot".to_owned())
    );
    let refused = snapshot.rename_snapshot(Some("t"), None).await.unwrap_err();
    assert_eq!(denied(&refused).1, "VirtualMachine.State.RenameSnapshot");
    snapshot.remove_snapshot_task(false, None).await.unwrap().wait().await.unwrap();

    let asked = ["VirtualMachine.State.CreateSnapshot", "VirtualMachine.Interact.PowerOn"].map(str::to_owned);
    let own = client.current_session().await.unwrap();
    let has = manager(&client).has_privilege_on_entity(&vm.moref().cast(), &own.key, &asked).await.unwrap();
    assert_eq!(has, [true, false]);
    let entities: [MoRef<mo::ManagedEntity>; 2] = [vm.moref().cast(), client.content().root_folder.cast()];
    let objects: Vec<MoRef> = entities.iter().map(MoRef::cast).collect();
    let found =
        manager(&client).has_user_privilege_on_entities(&objects, &own.user_name, &asked).await.unwrap();
    assert!(
        found.iter().all(|entity| {
            entity.priv_availability[0].is_granted && !entity.priv_availability[1].is_granted
        })
    );
    let all = manager(&client).fetch_user_privilege_on_entities(&entities, &own.user_name).await.unwrap();
    assert_eq!(all[0].privileges.len(), BACKUP.len() + 3);
    let unknown = ["No.Such".to_owned()];
    let refused =
        manager(&client).has_privilege_on_entity(&entities[0], &own.key, &unknown).await.unwrap_err();
    assert!(refused.fault::<t::InvalidArgument>().is_some(), "{refused}");
}

#[tokio::test]
async fn the_nearest_permission_decides() {
    let sim = start().await;
    let admin = crate::log_in(&sim).await;
    let authorization = manager(&admin);
    let (one, two) = (sim.vm("vm-1").unwrap().moref(), sim.vm("vm-2").unwrap().moref());
    let backup = role_id(&admin, "Backup").await;
    let user = "VSPHERE.LOCAL\\nobody";
    // One machine alone: its folder is only a way to it.
    authorization.set_entity_permissions(&one.cast(), &[permission(user, backup, false)]).await.unwrap();
    let client = log_in(&sim, "nobody@vsphere.local").await;
    let vm = machine(&client, &sim);
    assert_eq!(vm.require(mo::VirtualMachine::EFFECTIVE_ROLE).await.unwrap(), [backup]);
    vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    // The root denies it, and that permission is the nearest to the other machine.
    let other: mo::VirtualMachine = client.bind(&two);
    let refused = other.get(mo::VirtualMachine::NAME).await.unwrap_err();
    assert_eq!(denied(&refused), (two.value().to_owned(), "System.View".to_owned()));
    let refused = other.create_snapshot_task("s", None, false, false).await.unwrap_err();
    assert_eq!(denied(&refused).1, "VirtualMachine.State.CreateSnapshot");

    let own = authorization.retrieve_entity_permissions(&one.cast(), false).await.unwrap();
    assert_eq!(own.len(), 1);
    let inherited = authorization.retrieve_entity_permissions(&one.cast(), true).await.unwrap();
    assert_eq!(inherited.len(), 5, "{inherited:?}");
    let by_role = authorization.retrieve_role_permissions(backup).await.unwrap();
    assert_eq!(by_role.len(), 2);

    authorization.remove_entity_permission(&one.cast(), "nobody@vsphere.local", false).await.unwrap();
    assert_eq!(denied(&vm.get(mo::VirtualMachine::NAME).await.unwrap_err()).1, "System.View");
    let gone =
        authorization.remove_entity_permission(&one.cast(), "nobody@vsphere.local", false).await.unwrap_err();
    assert!(gone.fault::<t::NotFound>().is_some(), "{gone}");
}

#[tokio::test]
async fn what_is_not_seen_is_not_there() {
    let sim = start().await;
    let admin = crate::log_in(&sim).await;
    let authorization = manager(&admin);
    let root: MoRef<mo::ManagedEntity> = admin.content().root_folder.cast();
    let two = sim.vm("vm-2").unwrap().moref();
    let user = "nobody@vsphere.local";
    authorization.remove_entity_permission(&root, user, false).await.unwrap();
    // Without a permission anywhere there is no login.
    let refused = connect(&sim).await.login(user, &SecretString::from(PASSWORD)).await.unwrap_err();
    assert_eq!(denied(&refused), (root.value().to_owned(), "System.View".to_owned()));
    authorization.set_entity_permissions(&two.cast(), &[permission(user, -2, true)]).await.unwrap();
    let client = log_in(&sim, user).await;

    let root = client.content().root_folder.clone();
    let found = client.list_as::<Named>(&root.cast()).await.unwrap();
    assert_eq!(found.iter().map(|vm| vm.name.as_str()).collect::<Vec<_>>(), ["vm-2"]);
    let search: mo::SearchIndex = client.bind(client.content().search_index.as_ref().unwrap());
    assert!(search.find_by_inventory_path("DC0/vm/vm-1").await.unwrap().is_none());
    assert!(search.find_by_inventory_path("DC0/vm/vm-2").await.unwrap().is_some());
    let folder: mo::Folder = client.bind(&MoRef::new("group-v3"));
    let children = folder.require(mo::Folder::CHILD_ENTITY).await.unwrap();
    assert_eq!(children.len(), 1, "{children:?}");
    assert_eq!(folder.require(mo::Folder::EFFECTIVE_ROLE).await.unwrap(), [-3]);
    // On the way there it sees that objects are there, and not how they are.
    let datacenter: mo::Datacenter = client.bind(&MoRef::new("datacenter-2"));
    assert_eq!(datacenter.require(mo::Datacenter::NAME).await.unwrap(), "DC0");
    for refused in [
        datacenter.get(mo::Datacenter::ALARM_ACTIONS_ENABLED).await.unwrap_err(),
        datacenter.get(mo::Datacenter::OVERALL_STATUS).await.unwrap_err(),
    ] {
        assert_eq!(denied(&refused).1, "System.Read");
    }
    let store: mo::Datastore = client.bind(&MoRef::new("datastore-11"));
    assert_eq!(denied(&store.get(mo::Datastore::SUMMARY).await.unwrap_err()).1, "System.View");

    authorization.set_entity_permissions(&root.cast(), &[permission(user, -2, true)]).await.unwrap();
    assert_eq!(client.list_as::<Named>(&root.cast()).await.unwrap().len(), 2);
}

#[derive(Debug, vim_api::Retrieve)]
#[retrieve(mo::VirtualMachine)]
struct Named {
    name: String,
}

#[tokio::test]
async fn roles_are_made_changed_merged_and_removed() {
    let sim = start().await;
    let client = crate::log_in(&sim).await;
    let authorization = manager(&client);
    let id = authorization
        .add_authorization_role("Operator", &["VirtualMachine.Interact.PowerOff".to_owned()])
        .await
        .unwrap();
    let again = authorization.add_authorization_role("Operator", &[]).await.unwrap_err();
    assert!(again.fault::<t::AlreadyExists>().is_some(), "{again}");
    let unknown = authorization.add_authorization_role("Other", &["No.Such".to_owned()]).await.unwrap_err();
    assert!(unknown.fault::<t::InvalidArgument>().is_some(), "{unknown}");
    let roles = authorization.require(mo::AuthorizationManager::ROLE_LIST).await.unwrap();
    let own = roles.iter().find(|role| role.role_id == id).unwrap();
    assert!(!own.system && own.privilege.iter().any(|id| id == "System.View"), "{own:?}");
    let system = |id: i32| roles.iter().find(|role| role.role_id == id).unwrap();
    assert_eq!(
        [-1, -2, -3, -4, -5].map(|id| system(id).name.as_str()),
        ["Admin", "ReadOnly", "View", "Anonymous", "NoAccess"]
    );
    let crypto = |role: &t::AuthorizationRole| role.privilege.iter().any(|id| id == "Cryptographer.Access");
    assert!(crypto(system(-1)) && !crypto(system(-6)));
    let known = authorization.require(mo::AuthorizationManager::PRIVILEGE_LIST).await.unwrap();
    assert_eq!(system(-1).privilege.len(), known.len());
    assert!(known.iter().any(|known| known.priv_id == "VirtualMachine.State.CreateSnapshot"
        && known.name == "CreateSnapshot"
        && known.priv_group_name == "VirtualMachine.State"));
    let description = authorization.require(mo::AuthorizationManager::DESCRIPTION).await.unwrap();
    assert_eq!(description.privilege.len(), known.len());

    let reader = "reader@vsphere.local";
    let root: MoRef<mo::ManagedEntity> = client.content().root_folder.cast();
    authorization.set_entity_permissions(&root, &[permission(reader, id, true)]).await.unwrap();
    let used = authorization.remove_authorization_role(id, true).await.unwrap_err();
    assert!(used.fault::<t::RemoveFailed>().is_some(), "{used}");
    let session = log_in(&sim, reader).await;
    let vm = machine(&session, &sim);
    let refused = vm.power_on_vm_task(None).await.unwrap_err();
    assert_eq!(denied(&refused).1, "VirtualMachine.Interact.PowerOn");
    authorization
        .update_authorization_role(id, "Starter", &["VirtualMachine.Interact.PowerOn".to_owned()])
        .await
        .unwrap();
    assert_eq!(denied(&vm.power_off_vm_task().await.unwrap_err()).1, "VirtualMachine.Interact.PowerOff");
    let backup = role_id(&client, "Backup").await;
    authorization.merge_permissions(id, backup).await.unwrap();
    vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    authorization.remove_authorization_role(id, true).await.unwrap();
    for role in [id, 4711] {
        let gone = authorization.remove_authorization_role(role, false).await.unwrap_err();
        assert!(gone.fault::<t::NotFound>().is_some(), "{gone}");
    }
    let system = authorization.remove_authorization_role(-1, false).await.unwrap_err();
    assert!(system.fault::<t::InvalidArgument>().is_some(), "{system}");
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let sim = start().await;
    let client = crate::log_in(&sim).await;
    let authorization = manager(&client);
    let root: MoRef<mo::ManagedEntity> = client.content().root_folder.cast();
    let is_refused = |refused: vim_api::Error| {
        assert!(refused.fault::<t::AuthMinimumAdminPermission>().is_some(), "{refused}");
    };
    is_refused(authorization.remove_entity_permission(&root, sim.user(), false).await.unwrap_err());
    is_refused(authorization.reset_entity_permissions(&root, &[]).await.unwrap_err());
    let lesser = [permission(sim.user(), -2, true)];
    is_refused(authorization.set_entity_permissions(&root, &lesser).await.unwrap_err());
    let view = [permission(sim.user(), -3, true)];
    let refused = authorization.set_entity_permissions(&root, &view).await.unwrap_err();
    assert!(refused.fault::<t::InvalidArgument>().is_some(), "{refused}");
    let stranger = [permission("stranger@vsphere.local", -1, true)];
    let refused = authorization.set_entity_permissions(&root, &stranger).await.unwrap_err();
    assert!(refused.fault::<t::UserNotFound>().is_some(), "{refused}");
    // Only those who may give permissions do.
    let reader = log_in(&sim, "reader@vsphere.local").await;
    let refused = manager(&reader).set_entity_permissions(&root, &lesser).await.unwrap_err();
    assert_eq!(denied(&refused), (root.value().to_owned(), "Authorization.ModifyPermissions".to_owned()));
}

#[tokio::test]
async fn permissions_and_roles_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let password = || SecretString::from(PASSWORD);
    let begin = || {
        Sim::builder()
            .data_dir(folder.path())
            .vm(VmSpec::new("vm-1").disk(DiskSpec::empty(MIB)))
            .add_user("reader@vsphere.local", password(), "ReadOnly")
            .start()
    };
    let sim = begin().await.unwrap();
    let client = crate::log_in(&sim).await;
    let id = manager(&client)
        .add_authorization_role("Snapper", &["VirtualMachine.State.CreateSnapshot".to_owned()])
        .await
        .unwrap();
    let root: MoRef<mo::ManagedEntity> = client.content().root_folder.cast();
    manager(&client)
        .set_entity_permissions(&root, &[permission("reader@vsphere.local", id, true)])
        .await
        .unwrap();
    drop(sim);
    let sim = begin().await.unwrap();
    let client = log_in(&sim, "reader@vsphere.local").await;
    machine(&client, &sim).create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();

    let unknown = Sim::builder().add_user("u", password(), "NoSuchRole").start().await;
    assert_eq!(unknown.err().unwrap().kind(), vsphere_sim::ErrorKind::InvalidArgument);
    let twice = Sim::builder().user("u@d", password()).add_user("D\\u", password(), "Admin").start().await;
    assert_eq!(twice.err().unwrap().kind(), vsphere_sim::ErrorKind::InvalidArgument);
    let unknown = Sim::builder().add_role("r", &["No.Such"]).start().await;
    assert_eq!(unknown.err().unwrap().kind(), vsphere_sim::ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn updates_follow_permissions() {
    let sim = start().await;
    let admin = crate::log_in(&sim).await;
    let client = log_in(&sim, "reader@vsphere.local").await;
    let (two, user) = (sim.vm("vm-2").unwrap().moref(), "reader@vsphere.local");
    let properties: mo::PropertyCollector = client.bind(&client.content().property_collector);
    let set = t::PropertySpec {
        r#type: "VirtualMachine".to_owned(),
        path_set: vec!["name".to_owned(), "config.name".to_owned()],
        ..Default::default()
    };
    let start = t::ObjectSpec { obj: two.cast(), ..Default::default() };
    let spec = t::PropertyFilterSpec { prop_set: vec![set], object_set: vec![start], ..Default::default() };
    properties.create_filter(&spec, false).await.unwrap();
    let version = {
        let first = properties.wait_for_updates_ex(None, None).await.unwrap().unwrap();
        let object = &first.filter_set[0].object_set[0];
        assert_eq!(object.kind, t::ObjectUpdateKind::Enter);
        assert_eq!(object.change_set.len(), 2);
        first.version
    };
    let none = [permission(user, -5, true)];
    manager(&admin).set_entity_permissions(&two.cast(), &none).await.unwrap();
    let left = properties.wait_for_updates_ex(Some(&version), None).await.unwrap().unwrap();
    assert_eq!(left.filter_set[0].object_set[0].kind, t::ObjectUpdateKind::Leave);
    let refused = properties.create_filter(&spec, false).await.unwrap_err();
    assert_eq!(denied(&refused), (two.value().to_owned(), "System.View".to_owned()));
}
