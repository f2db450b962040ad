use std::time::Duration;

use secrecy::SecretString;
use vim_api::mo::{self, Managed};
use vim_api::types as t;

use crate::{connect, log_in, start};

#[tokio::test]
async fn login_and_logout() {
    let sim = start(1).await;
    let client = connect(&sim).await;
    assert!(client.is_vcenter());
    assert_eq!(client.version().id(), "8.0.3.0");
    let wrong = client.login(sim.user(), &SecretString::from("wrong")).await.unwrap_err();
    assert!(wrong.fault::<t::InvalidLogin>().is_some(), "{wrong}");
    assert!(client.session_cookie().is_none());
    let session = client.login(sim.user(), sim.password()).await.unwrap();
    assert_eq!(session.user_name, sim.user());
    assert_eq!(sim.session_count(), 1);
    let again = client.login(sim.user(), sim.password()).await.unwrap_err();
    assert!(again.fault::<t::InvalidLogin>().is_some(), "a live session must not log in again: {again}");

    let manager: mo::SessionManager = client.bind(client.content().session_manager.as_ref().unwrap());
    let current = manager.get(mo::SessionManager::CURRENT_SESSION).await.unwrap().unwrap();
    assert_eq!(current.key, session.key);
    client.logout().await.unwrap();
    assert_eq!(sim.session_count(), 0);
}

#[tokio::test]
async fn without_a_session_only_the_front_door_opens() {
    let sim = start(1).await;
    let client = connect(&sim).await;
    let vm: mo::VirtualMachine = client.bind(&sim.vm("vm-1").unwrap().moref());
    let refused = vm.get(mo::VirtualMachine::NAME).await.unwrap_err();
    let fault = refused.fault::<t::NotAuthenticated>().expect("NotAuthenticated");
    assert_eq!(fault.privilege_id.as_deref(), Some("System.View"));
    assert!(fault.object.is_some());
}

#[tokio::test]
async fn idle_sessions_end_and_the_client_logs_in_again() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm: mo::VirtualMachine = client.bind(&sim.vm("vm-1").unwrap().moref());
    sim.advance_clock(Duration::from_secs(29 * 60));
    assert_eq!(vm.require(mo::VirtualMachine::NAME).await.unwrap(), "vm-1");
    assert_eq!(client.session_generation(), 1);
    // The call a moment ago counts: it takes another 30 minutes.
    sim.advance_clock(Duration::from_secs(29 * 60));
    assert_eq!(sim.session_count(), 1);
    sim.advance_clock(Duration::from_secs(31 * 60));
    assert_eq!(sim.session_count(), 0);
    assert_eq!(vm.require(mo::VirtualMachine::NAME).await.unwrap(), "vm-1");
    assert_eq!(client.session_generation(), 2);
    assert_eq!(sim.session_count(), 1);
}

#[tokio::test]
async fn live_sessions_are_on_file_as_hashes() {
    use secrecy::ExposeSecret;
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let cookie = client.session_cookie().unwrap();
    let cookie = cookie.expose_secret().trim_matches('"');
    assert_eq!(cookie.len(), 40);
    let inventory = sim_store::state::Inventory::load(sim.data_dir()).unwrap();
    assert_eq!(inventory.session(cookie).unwrap().user, sim.user());
    inventory.authenticate(sim.user(), sim.password().expose_secret()).unwrap();
    let text = std::fs::read_to_string(sim_store::state::Inventory::path(sim.data_dir())).unwrap();
    assert!(!text.contains(cookie) && !text.contains(sim.password().expose_secret()));
    client.logout().await.unwrap();
    let inventory = sim_store::state::Inventory::load(sim.data_dir()).unwrap();
    assert!(inventory.session(cookie).is_err());
}

#[tokio::test]
async fn the_version_is_the_builders_to_choose() {
    let version = vim_api::ApiVersion::parse("7.0.3.0").unwrap();
    let sim = vsphere_sim::Sim::builder().api_version(version).start().await.unwrap();
    let client = log_in(&sim).await;
    assert_eq!(client.version(), version);
    assert_eq!(client.content().about.api_version, "7.0.3.0");
}
