//! Groups of users, and whose permission counts.

use secrecy::SecretString;
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Client, MoRef};
use vsphere_sim::{DiskSpec, ErrorKind, Sim, VmSpec};

use crate::{MIB, connect, machine};

const OPERATORS: &str = "operators@vsphere.local";
const SNAPPERS: &str = "snappers@vsphere.local";
const ANN: &str = "ann@vsphere.local";
const BEN: &str = "ben@vsphere.local";

fn password() -> SecretString {
    SecretString::from("a password")
}

/// Ann is in both groups and has no role of her own; Ben is an operator, and by himself a reader.
async fn start() -> Sim {
    let vm = |name: &str| VmSpec::new(name).disk(DiskSpec::empty(MIB));
    Sim::builder()
        .vm(vm("vm-1"))
        .vm(vm("vm-2"))
        .add_role("operator", &["VirtualMachine.Interact.PowerOff", "VirtualMachine.Interact.PowerOn"])
        .add_role("snapper", &["VirtualMachine.State.CreateSnapshot"])
        .add_user(ANN, password(), None)
        .add_user(BEN, password(), "ReadOnly")
        .add_user("alone@vsphere.local", password(), None)
        .add_group(OPERATORS, &[ANN, "VSPHERE.LOCAL\\ben"], "operator")
        .add_group(SNAPPERS, &[ANN], "snapper")
        .add_group("empty@elsewhere", &[], None)
        .start()
        .await
        .unwrap()
}

async fn log_in(sim: &Sim, user: &str) -> Client {
    let client = connect(sim).await;
    client.login(user, &password()).await.unwrap();
    client
}

fn manager(client: &Client) -> mo::AuthorizationManager {
    client.bind(client.content().authorization_manager.as_ref().unwrap())
}

fn of_group(name: &str, role: i32) -> t::Permission {
    let (principal, group) = (name.to_owned(), true);
    t::Permission { principal, group, role_id: role, propagate: true, ..Default::default() }
}

async fn role_id(client: &Client, name: &str) -> i32 {
    let roles = manager(client).require(mo::AuthorizationManager::ROLE_LIST).await.unwrap();
    roles.iter().find(|role| role.name == name).unwrap().role_id
}

fn lacks(error: vim_api::Error, privilege: &str) {
    let fault = error.find_fault::<t::NoPermission>().unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!(fault.privilege_id.as_deref(), Some(privilege));
}

#[tokio::test]
async fn of_several_groups_at_one_object_all_count() {
    let sim = start().await;
    let client = log_in(&sim, ANN).await;
    let vm = machine(&client, &sim);
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    vm.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    lacks(vm.remove_all_snapshots_task(None, None).await.unwrap_err(), "VirtualMachine.State.RemoveSnapshot");
    let mut roles = vm.require(mo::VirtualMachine::EFFECTIVE_ROLE).await.unwrap();
    roles.sort_unstable();
    let admin = crate::log_in(&sim).await;
    assert_eq!(roles, [role_id(&admin, "operator").await, role_id(&admin, "snapper").await]);
    let all = manager(&admin).fetch_user_privilege_on_entities(&[vm.moref().cast()], ANN).await.unwrap();
    assert_eq!(all[0].privileges.len(), 3 + 3, "{:?}", all[0].privileges);
}

#[tokio::test]
async fn at_one_object_the_users_own_permission_counts_alone() {
    let sim = start().await;
    let client = log_in(&sim, BEN).await;
    let vm = machine(&client, &sim);
    lacks(vm.power_off_vm_task().await.unwrap_err(), "VirtualMachine.Interact.PowerOff");
    // Below it is the nearest again, a group's too.
    let admin = crate::log_in(&sim).await;
    let operator = role_id(&admin, "operator").await;
    let permission = [of_group(OPERATORS, operator)];
    manager(&admin).set_entity_permissions(&vm.moref().cast(), &permission).await.unwrap();
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    let other: mo::VirtualMachine = client.bind(&sim.vm("vm-2").unwrap().moref());
    lacks(other.power_off_vm_task().await.unwrap_err(), "VirtualMachine.Interact.PowerOff");
}

/// The example of the documents: a role on a folder by one group, another on a machine in it by another group.
#[tokio::test]
async fn a_groups_permission_below_hides_those_of_other_groups_above() {
    let sim = start().await;
    let admin = crate::log_in(&sim).await;
    let snapper = role_id(&admin, "snapper").await;
    let two = sim.vm("vm-2").unwrap().moref();
    let permission = [of_group("VSPHERE.LOCAL\\Snappers", snapper)];
    manager(&admin).set_entity_permissions(&two.cast(), &permission).await.unwrap();
    let client = log_in(&sim, ANN).await;
    let (one, two) = (machine(&client, &sim), client.bind::<mo::VirtualMachine>(&two));
    one.power_off_vm_task().await.unwrap().wait().await.unwrap();
    two.create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    lacks(two.power_off_vm_task().await.unwrap_err(), "VirtualMachine.Interact.PowerOff");

    let own = manager(&admin).retrieve_entity_permissions(&two.moref().cast(), false).await.unwrap();
    assert_eq!((own.len(), own[0].group, own[0].principal.as_str()), (1, true, "VSPHERE.LOCAL\\Snappers"));
    let on = two.moref().cast();
    let no_user = manager(&admin).remove_entity_permission(&on, SNAPPERS, false).await.unwrap_err();
    assert!(no_user.fault::<t::NotFound>().is_some(), "{no_user}");
    manager(&admin).remove_entity_permission(&on, SNAPPERS, true).await.unwrap();
    two.power_off_vm_task().await.unwrap().wait().await.unwrap();
}

#[tokio::test]
async fn without_a_permission_of_ones_own_or_of_a_group_there_is_no_way_in() {
    let sim = start().await;
    let client = connect(&sim).await;
    lacks(client.login("alone@vsphere.local", &password()).await.unwrap_err(), "System.View");
    // A group is none of the users, and the last administrator is a user.
    let admin = crate::log_in(&sim).await;
    let root: MoRef<mo::ManagedEntity> = admin.content().root_folder.cast();
    let as_user = t::Permission { group: false, ..of_group(OPERATORS, -1) };
    for stranger in [as_user, of_group(ANN, -1), of_group("nobody@vsphere.local", -1)] {
        let refused = manager(&admin).set_entity_permissions(&root, &[stranger]).await.unwrap_err();
        assert!(refused.fault::<t::UserNotFound>().is_some(), "{refused}");
    }
    manager(&admin).set_entity_permissions(&root, &[of_group(OPERATORS, -1)]).await.unwrap();
    let refused = manager(&admin).remove_entity_permission(&root, sim.user(), false).await.unwrap_err();
    assert!(refused.fault::<t::AuthMinimumAdminPermission>().is_some(), "{refused}");
}

#[tokio::test]
async fn the_directory_tells_groups_and_who_is_in_them() {
    let sim = start().await;
    let client = crate::log_in(&sim).await;
    let directory: mo::UserDirectory = client.bind(client.content().user_directory.as_ref().unwrap());
    let domains = directory.require(mo::UserDirectory::DOMAIN_LIST).await.unwrap();
    assert_eq!(domains, ["elsewhere", "vsphere.local"]);
    let find = async |text: &str, group: Option<&str>, user: Option<&str>, users: bool, groups: bool| {
        let found = directory.retrieve_user_groups(None, text, group, user, false, users, groups).await;
        found.map(|found| found.into_iter().map(|one| (one.principal.clone(), one.group)).collect::<Vec<_>>())
    };
    let named = |names: &[&str], group: bool| -> Vec<(String, bool)> {
        names.iter().map(|name| ((*name).to_owned(), group)).collect()
    };
    assert_eq!(find("S@", None, None, true, true).await.unwrap(), named(&[OPERATORS, SNAPPERS], true));
    assert_eq!(find("s@", None, None, true, false).await.unwrap(), []);
    assert_eq!(find("", Some(OPERATORS), None, true, true).await.unwrap(), named(&[ANN, BEN], false));
    assert_eq!(find("", None, Some("VSPHERE.LOCAL\\ann"), true, true).await.unwrap().len(), 2);
    assert_eq!(find("", None, Some(BEN), true, true).await.unwrap(), named(&[OPERATORS], true));
    assert_eq!(find("", Some("empty@elsewhere"), None, true, true).await.unwrap(), []);
    for (group, user) in [(Some(ANN), None), (None, Some(OPERATORS))] {
        let unknown = find("", group, user, true, true).await.unwrap_err();
        assert!(unknown.fault::<t::NotFound>().is_some(), "{unknown}");
    }
}

#[tokio::test]
async fn groups_that_cannot_be_are_refused() {
    let refused = async |builder: vsphere_sim::Builder, word: &str| {
        let error = builder.start().await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(Sim::builder().add_group("g", &["stranger"], None), "stranger").await;
    refused(Sim::builder().add_group("g@d", &[], None).add_group("D\\g", &[], "Admin"), "two groups").await;
    refused(Sim::builder().add_group("g", &[], "NoSuchRole"), "NoSuchRole").await;
}
