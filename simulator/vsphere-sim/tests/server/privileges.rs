//! Privileges where no method of the API is called: files over HTTP, tags, storage policies, first-class disks, and what
//! the disk library is told.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use secrecy::SecretString;
use sim_store::state::Inventory;
use sim_store::state::rights::{DISABLE_METHODS, DISK_LEASE, DISK_RANDOM_ACCESS, DISK_RANDOM_READ};
use vim_api::dynamic::Poly;
use vim_api::mo::{self, Managed};
use vim_api::rest::{Cardinality, NewCategory};
use vim_api::types as t;
use vim_api::{Client, Error, MoRef};
use vsphere_sim::{DiskSpec, Sim, VmSpec};

use crate::folder::{ask, on_host, url};
use crate::{MIB, connect};

const PASSWORD: &str = "a password";

/// A user for each of these, called by the name of the role.
async fn start(roles: &[(&str, &[&str])]) -> Sim {
    let vm = |name: &str| VmSpec::new(name).disk(DiskSpec::empty(MIB)).powered_off();
    let mut builder = Sim::builder().vm(vm("vm-1")).vm(vm("vm-2"));
    for (name, privileges) in roles {
        builder = builder.add_role(name, privileges).add_user(name, SecretString::from(PASSWORD), *name);
    }
    builder
        .add_user("nobody", SecretString::from(PASSWORD), "NoAccess")
        .add_user("stranger", SecretString::from(PASSWORD), None)
        .start()
        .await
        .unwrap()
}

fn basic(user: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("{user}:{PASSWORD}")))
}

async fn log_in(sim: &Sim, user: &str) -> Client {
    let client = connect(sim).await;
    client.login(user, &SecretString::from(PASSWORD)).await.unwrap();
    client
}

async fn allow(sim: &Sim, user: &str, role: &str, on: &MoRef) {
    let admin = crate::log_in(sim).await;
    let manager: mo::AuthorizationManager =
        admin.bind(admin.content().authorization_manager.as_ref().unwrap());
    let roles = manager.require(mo::AuthorizationManager::ROLE_LIST).await.unwrap();
    let role_id = roles.iter().find(|known| known.name == role).unwrap().role_id;
    let permission =
        t::Permission { principal: user.to_owned(), role_id, propagate: true, ..Default::default() };
    manager.set_entity_permissions(&on.cast(), &[permission]).await.unwrap();
}

#[tokio::test]
async fn files_are_read_written_and_listed_by_privilege() {
    let sim = start(&[("browser", &["Datastore.Browse"]), ("writer", &["Datastore.FileManagement"])]).await;
    let vmx = url("vm-1/vm-1.vmx");
    let status = async |user: &str, method: &str, url: &str| {
        let answer = ask(&sim, method, url, &basic(user), b"").await;
        assert!(!answer.text().contains("displayName") || answer.status == 200, "{}", answer.text());
        answer.status
    };
    for (user, read, write) in [("browser", 200, 403), ("writer", 403, 201), ("nobody", 403, 403)] {
        for method in ["GET", "HEAD"] {
            assert_eq!(status(user, method, &vmx).await, read, "{user} {method}");
        }
        assert_eq!(status(user, "GET", &url("vm-1/")).await, read, "{user} lists");
        assert_eq!(status(user, "GET", &url("vm-1/none")).await, if read == 200 { 404 } else { 403 });
        let new = url(&format!("{user}.bin"));
        assert_eq!(status(user, "PUT", &new).await, write, "{user} writes");
        assert_eq!(on_host(&sim, &format!("{user}.bin")).exists(), write == 201);
        assert_eq!(status(user, "DELETE", &new).await, if write == 201 { 200 } else { 403 });
        assert_eq!(status(user, "POST", &new).await, write);
    }
    let refused = ask(&sim, "PUT", &url("new"), &basic("browser"), b"").await;
    let named = "browser lacks Datastore.FileManagement on datastore-11";
    assert!(refused.text().contains(named), "{}", refused.text());

    // Without a password it is another answer, and so is it without a permission on anything.
    assert_eq!(ask(&sim, "GET", &vmx, "", b"").await.status, 401);
    let before = sim.session_count();
    assert_eq!(status("stranger", "GET", &vmx).await, 403);
    assert_eq!(sim.session_count(), before, "there is no way in");
}

#[tokio::test]
async fn lists_show_what_the_user_sees() {
    let sim = start(&[("browser", &["Datastore.Browse"])]).await;
    let list = async |user: &str, url: &str| ask(&sim, "GET", url, &basic(user), b"").await;
    assert!(list("browser", "/folder").await.text().contains(">DC0<"));
    assert!(list("browser", "/folder?dcPath=DC0").await.text().contains(">datastore1<"));
    let empty = list("nobody", "/folder").await;
    assert!(empty.status == 200 && !empty.text().contains("DC0"), "{}", empty.text());
    assert_eq!(list("nobody", "/folder?dcPath=DC0").await.status, 403);
    // One machine alone: the way to it is seen, and no datastore.
    allow(&sim, "stranger", "browser", &sim.vm("vm-1").unwrap().moref().cast()).await;
    assert!(list("stranger", "/folder").await.text().contains(">DC0<"));
    let stores = list("stranger", "/folder?dcPath=DC0").await;
    assert!(stores.status == 200 && !stores.text().contains("datastore1"), "{}", stores.text());
    assert_eq!(list("stranger", &url("vm-1/vm-1.vmx")).await.status, 403);
    allow(&sim, "stranger", "browser", &MoRef::of_type("Datastore", "datastore-11")).await;
    assert_eq!(list("stranger", &url("vm-1/vm-1.vmx")).await.status, 200);
}

#[tokio::test]
async fn a_ticket_is_as_good_as_its_user() {
    let sim = start(&[("browser", &["Datastore.Browse"]), ("writer", &["Datastore.FileManagement"])]).await;
    let get = async |user: &str| {
        let client = log_in(&sim, user).await;
        let manager: mo::SessionManager = client.bind(&client.content().session_manager.clone().unwrap());
        let spec =
            t::SessionManagerHttpServiceRequestSpec { url: url("vm-1/vm-1.vmx"), ..Default::default() };
        let ticket = manager.acquire_generic_service_ticket(&Poly::new(spec)).await.unwrap();
        let cookie = format!("Cookie: vmware_cgi_ticket=\"{}\"\r\n", ticket.id);
        ask(&sim, "GET", &url("vm-1/vm-1.vmx"), &cookie, b"").await.status
    };
    assert_eq!(get("browser").await, 200);
    assert_eq!(get("writer").await, 403);
}

#[tokio::test]
async fn a_lease_was_allowed_when_it_was_made() {
    let sim = start(&[("exporter", &["VApp.Export"])]).await;
    let client = log_in(&sim, "exporter").await;
    let lease =
        client.bind::<mo::VirtualMachine>(&sim.vm("vm-1").unwrap().moref()).export_vm().await.unwrap();
    let lease: mo::HttpNfcLease = client.bind(&lease);
    while lease.require(mo::HttpNfcLease::STATE).await.unwrap() != t::HttpNfcLeaseState::Ready {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let info = lease.get(mo::HttpNfcLease::INFO).await.unwrap().unwrap();
    let disk = info.device_url.iter().find(|file| file.disk == Some(true)).unwrap();
    let path = disk.url.split_once("/nfc/").unwrap().1;
    // No cookie, no password, and no privilege is asked for.
    assert_eq!(ask(&sim, "GET", &format!("/nfc/{path}"), "", b"").await.status, 200);
    lease.http_nfc_lease_complete().await.unwrap();
}

fn lacks_tag_privilege(error: &Error, privilege: &str) {
    let fault = error.rest_fault().unwrap_or_else(|| panic!("{error:?}"));
    assert_eq!((fault.status, fault.error_type.to_uppercase().as_str()), (403, "UNAUTHORIZED"), "{fault:?}");
    assert!(fault.messages[0].contains(privilege), "{fault:?}");
}

#[tokio::test]
async fn tags_are_made_given_and_read_by_privilege() {
    for version in ["8.0.3.0", "7.0.1.0"] {
        let password = || SecretString::from(PASSWORD);
        let sim = Sim::builder()
            .api_version(vim_api::ApiVersion::parse(version).unwrap())
            .vm(VmSpec::new("vm-1").disk(DiskSpec::empty(MIB)))
            .add_role("giver", &["InventoryService.Tagging.AttachTag"])
            .add_user("giver", password(), "giver")
            .add_user("reader", password(), "ReadOnly")
            .add_user("nobody", password(), "NoAccess")
            .start()
            .await
            .unwrap();
        let vm: MoRef = sim.vm("vm-1").unwrap().moref().cast();
        let new = NewCategory {
            name: "tier".to_owned(),
            description: String::new(),
            cardinality: Cardinality::Multiple,
            associable_types: Vec::new(),
        };
        let admin = crate::log_in(&sim).await.rest().tags();
        let tier = admin.create_category(&new).await.unwrap();
        let gold = admin.create_tag(&tier, "gold", "").await.unwrap();

        let giver = log_in(&sim, "giver").await.rest().tags();
        giver.attach(&gold, &vm).await.unwrap();
        giver.detach(&gold, &vm).await.unwrap();
        assert!(giver.attach_all(&vm, std::slice::from_ref(&gold)).await.unwrap().is_empty());
        let refused = giver.create_category(&new).await.unwrap_err();
        lacks_tag_privilege(&refused, "InventoryService.Tagging.CreateCategory");
        let refused = giver.create_tag(&tier, "silver", "").await.unwrap_err();
        lacks_tag_privilege(&refused, "InventoryService.Tagging.CreateTag");
        let refused = giver.delete_tag(&gold).await.unwrap_err();
        lacks_tag_privilege(&refused, "InventoryService.Tagging.DeleteTag");
        let refused = giver.delete_category(&tier).await.unwrap_err();
        lacks_tag_privilege(&refused, "InventoryService.Tagging.DeleteCategory");

        let reader = log_in(&sim, "reader").await.rest().tags();
        assert_eq!(
            reader.attached(std::slice::from_ref(&vm)).await.unwrap()[0].1,
            std::slice::from_ref(&gold)
        );
        let refused = reader.detach(&gold, &vm).await.unwrap_err();
        lacks_tag_privilege(&refused, "InventoryService.Tagging.AttachTag");

        // Who may read tags, but not the machine, is not told that it has one.
        allow(&sim, "giver", "NoAccess", &vm).await;
        assert!(giver.attached(std::slice::from_ref(&vm)).await.unwrap()[0].1.is_empty());
        assert!(giver.objects(std::slice::from_ref(&gold)).await.unwrap()[0].1.is_empty());
        lacks_tag_privilege(&giver.attach(&gold, &vm).await.unwrap_err(), "System.Read");
        assert_eq!(admin.objects(std::slice::from_ref(&gold)).await.unwrap()[0].1, std::slice::from_ref(&vm));

        let nobody = log_in(&sim, "nobody").await.rest().tags();
        lacks_tag_privilege(&nobody.categories().await.unwrap_err(), "System.Read");
        lacks_tag_privilege(&nobody.tag(&gold).await.unwrap_err(), "System.Read");
    }
}

#[tokio::test]
async fn policies_want_their_view() {
    let sim = start(&[("viewer", &["StorageProfile.View"]), ("other", &[])]).await;
    sim.add_storage_policy("Gold", "");
    let policies = log_in(&sim, "viewer").await.storage_policies().await.unwrap();
    assert_eq!(policies.list().await.unwrap().len(), 1);
    // Who has no privilege there gets as far as the service, and no further.
    let policies = log_in(&sim, "other").await.storage_policies().await.unwrap();
    let vm = sim.vm("vm-1").unwrap().moref();
    for refused in [
        policies.list().await.map(drop).unwrap_err(),
        policies.of_machine(&vm, &[]).await.map(drop).unwrap_err(),
    ] {
        let fault = refused.find_fault::<t::PbmFaultNoPermission>().unwrap_or_else(|| panic!("{refused:?}"));
        assert_eq!(fault.missing_privileges[0].privilege_ids, ["StorageProfile.View"]);
    }
}

#[tokio::test]
async fn first_class_disks_are_files_of_their_datastore() {
    let sim = start(&[("files", &["Datastore.FileManagement"]), ("other", &[])]).await;
    let id = sim.add_first_class_disk("data", MIB).unwrap();
    let disks = async |user: &str| log_in(&sim, user).await.first_class_disks().await.unwrap();
    let lacks = |refused: Error, privilege: &str| {
        let fault = refused.find_fault::<t::NoPermission>().unwrap_or_else(|| panic!("{refused:?}"));
        assert_eq!(fault.privilege_id.as_deref(), Some(privilege));
        assert_eq!(fault.object.as_ref().unwrap().value(), "datastore-11");
    };
    for user in ["files", "other"] {
        let listed: Vec<_> = disks(user).await.list().try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(disks(user).await.get(&id).await.unwrap().config.name, "data");
    }
    disks("files").await.track_changes(&id).await.unwrap();
    lacks(disks("other").await.track_changes(&id).await.unwrap_err(), "Datastore.FileManagement");
    lacks(disks("nobody").await.get(&id).await.unwrap_err(), "System.Read");
}

#[tokio::test]
async fn the_disk_library_is_told_who_may_do_what_on_which_machine() {
    let sim = start(&[("reads", &[DISK_LEASE, DISK_RANDOM_READ]), ("writes", &[DISK_RANDOM_ACCESS])]).await;
    let told = |user: &str, vm: &str| {
        let inventory = Inventory::load(sim.data_dir()).unwrap();
        let moref = sim.vm(vm).unwrap().moref();
        [DISK_LEASE, DISK_RANDOM_READ, DISK_RANDOM_ACCESS, DISABLE_METHODS]
            .map(|privilege| inventory.allows(user, moref.value(), privilege))
    };
    assert_eq!(told("reads", "vm-1"), [true, true, false, false]);
    assert_eq!(told("nobody", "vm-1"), [false; 4]);
    assert_eq!(told(sim.user(), "vm-2"), [true; 4]);
    assert_eq!(told("nobody at all", "vm-1"), [false; 4]);
    // One machine by a permission of its own, which goes again.
    let one: MoRef = sim.vm("vm-1").unwrap().moref().cast();
    allow(&sim, "nobody", "reads", &one).await;
    assert_eq!(told("nobody", "vm-1"), [true, true, false, false]);
    assert_eq!(told("nobody", "vm-2"), [false; 4]);

    // By a folder: a machine that moves into it is told of when it has moved.
    let admin = crate::log_in(&sim).await;
    let vms: mo::Folder = admin.bind(&MoRef::new("group-v3"));
    let folder = vms.create_folder("shared").await.unwrap();
    allow(&sim, "writes", "reads", &folder.cast()).await;
    assert_eq!(told("writes", "vm-2"), [false, false, true, false]);
    let two: MoRef<mo::ManagedEntity> = sim.vm("vm-2").unwrap().moref().cast();
    let folder: mo::Folder = admin.bind(&folder);
    folder.move_into_folder_task(&[two]).await.unwrap().wait().await.unwrap();
    assert_eq!(told("writes", "vm-2"), [true, true, false, false]);

    // And a role that changes changes it for all who have it.
    let manager: mo::AuthorizationManager =
        admin.bind(admin.content().authorization_manager.as_ref().unwrap());
    let roles = manager.require(mo::AuthorizationManager::ROLE_LIST).await.unwrap();
    let reads = roles.iter().find(|role| role.name == "reads").unwrap().role_id;
    manager.update_authorization_role(reads, "reads", &[DISK_LEASE.to_owned()]).await.unwrap();
    assert_eq!(told("writes", "vm-2"), [true, false, false, false]);
    assert_eq!(told("reads", "vm-1"), [true, false, false, false]);
}
