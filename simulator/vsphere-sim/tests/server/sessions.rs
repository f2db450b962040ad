use std::time::Duration;

use secrecy::SecretString;
use vim_api::SamlToken;
use vim_api::mo::{self, Managed};
use vim_api::types as t;

use crate::{connect, log_in, machine, start};

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

#[tokio::test]
async fn a_ticket_and_a_cookie_each_lead_to_a_session() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let own = client.current_session().await.unwrap();

    let ticket = client.clone_ticket().await.unwrap();
    let clone = connect(&sim).await;
    let session = clone.login_by_clone_ticket(&ticket).await.unwrap();
    assert_eq!(session.user_name, own.user_name);
    assert_ne!(session.key, own.key);
    let used = connect(&sim).await.login_by_clone_ticket(&ticket).await.unwrap_err();
    assert!(used.fault::<t::InvalidLogin>().is_some(), "a ticket works once: {used}");
    assert_eq!(sim.session_count(), 2);

    let heir = connect(&sim).await;
    let session = heir.resume(&client.session_cookie().unwrap()).await.unwrap();
    assert_eq!(session.key, own.key);
    assert_eq!(sim.session_count(), 2);
    heir.close().await.unwrap();
    assert_eq!(sim.session_count(), 1, "it was one session for both");
    let gone = connect(&sim).await.resume(&client.session_cookie().unwrap()).await.unwrap_err();
    assert!(gone.is_session_lost(), "{gone}");
    // Nothing is known that could renew a session which came from a ticket.
    sim.expire_sessions();
    let lost = machine(&clone, &sim).get(mo::VirtualMachine::NAME).await.unwrap_err();
    assert!(lost.is_session_lost(), "{lost}");
    clone.close().await.unwrap();
}

#[tokio::test]
async fn a_call_that_changes_something_is_repeated_only_if_its_caller_says_so() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let vm = machine(&client, &sim);
    sim.expire_sessions();
    let told = vm.create_snapshot_task("s", None, false, false).await.unwrap_err();
    assert!(told.is_session_lost(), "{told}");
    assert!(told.to_string().contains("repeat it if it is still wanted"), "{told}");
    assert_eq!(client.session_generation(), 2, "the session is there again");
    assert_eq!(sim.session_count(), 1);
    assert_eq!(sim.vm("vm-1").unwrap().snapshot_count(), 0);
    sim.expire_sessions();
    vm.create_snapshot_task("s", None, false, false)
        .resend_after_login()
        .await
        .unwrap()
        .wait()
        .await
        .unwrap();
    assert_eq!(sim.vm("vm-1").unwrap().snapshot_count(), 1);
    assert_eq!(client.session_generation(), 3);
}

#[tokio::test]
async fn what_a_crashed_run_left_is_found_and_ended() {
    let sim = start(1).await;
    // A process that dies leaves its session to the server.
    drop(log_in(&sim).await);
    sim.advance_clock(Duration::from_secs(20 * 60));
    let living = log_in(&sim).await;
    let client = log_in(&sim).await;
    assert_eq!(sim.session_count(), 3);
    let left = client.leftover_sessions(Duration::from_secs(15 * 60)).await.unwrap();
    assert_eq!(left.len(), 1);
    let manager: mo::SessionManager = client.bind(client.content().session_manager.as_ref().unwrap());
    let keys: Vec<String> = left.into_iter().map(|session| session.key).collect();
    manager.terminate_session(&keys).await.unwrap();
    assert_eq!(sim.session_count(), 2);
    assert!(living.current_session().await.is_ok() && client.current_session().await.is_ok());
}

#[tokio::test]
async fn a_session_is_kept_alive_for_as_long_as_that_is_wanted() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let kept = client.keep_alive().await.unwrap();
    assert_eq!(kept.every(), Duration::from_secs(10 * 60));
    drop(kept);
    let kept = client.keep_alive_every(Duration::from_secs(1));
    for _ in 0..2 {
        sim.advance_clock(Duration::from_secs(20 * 60));
        let sent = client.requests_sent();
        while client.requests_sent() == sent {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!((client.session_generation(), sim.session_count()), (1, 1));
    drop(kept);
    let sent = client.requests_sent();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(client.requests_sent(), sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_users_share_one_session_and_its_renewals() {
    let sim = start(4).await;
    let client = log_in(&sim).await;
    let users = (0..200).map(|user| {
        let (client, sim) = (client.clone(), &sim);
        async move {
            let vm: mo::VirtualMachine = client.bind(&sim.vms()[user % 4].moref());
            for turn in 0..5 {
                assert!(vm.require(mo::VirtualMachine::NAME).await.unwrap().starts_with("vm-"));
                // The session goes while all of them are at work.
                if (user, turn) == (100, 2) || (user, turn) == (7, 3) {
                    sim.expire_sessions();
                }
            }
        }
    });
    futures::future::join_all(users).await;
    assert_eq!(sim.session_count(), 1, "lost twice, renewed twice, and never in parallel");
    assert_eq!(client.session_generation(), 3);
    client.close().await.unwrap();
    assert_eq!(sim.session_count(), 0);
}

#[tokio::test]
async fn tokens_of_the_sts_open_sessions_and_renew_them() {
    let sim = start(1).await;
    let client = connect(&sim).await;
    let wrong =
        client.issue_token(sim.user(), &SecretString::from("a < b & c"), Duration::from_secs(60)).await;
    let wrong = wrong.unwrap_err();
    assert!(wrong.fault::<t::InvalidLogin>().is_some(), "{wrong}");
    assert!(!format!("{wrong:?}").contains("a < b"), "{wrong:?}");

    let token = client.issue_token(sim.user(), sim.password(), Duration::from_secs(60)).await.unwrap();
    assert!(token.expires().is_some());
    assert!(!format!("{token:?}").contains("Assertion"), "{token:?}");
    let session = client.login_by_token(&token).await.unwrap();
    assert_eq!(session.user_name, sim.user());
    // It may be carried elsewhere as text, and is good until it ends.
    let carried = SamlToken::from_assertion(token.assertion().clone()).unwrap();
    let second = connect(&sim).await;
    second.login_by_token(&carried).await.unwrap();
    sim.advance_clock(Duration::from_secs(6 * 60));
    let ended = connect(&sim).await.login_by_token(&token).await.unwrap_err();
    assert!(ended.fault::<t::InvalidLogin>().is_some(), "{ended}");
    use secrecy::ExposeSecret;
    let changed = SecretString::from(token.assertion().expose_secret().replace("  ID", " ID"));
    let changed = SamlToken::from_assertion(changed).unwrap();
    assert!(connect(&sim).await.login_by_token(&changed).await.is_err(), "a token is its bytes");
    for bad in [
        "",
        "<a/>",
        "<Assertion>",
        "<Assertion/><Assertion/>",
        "<?xml version=\"1.0\"?><Assertion/>",
        "x<Assertion/>",
    ] {
        let refused = SamlToken::from_assertion(SecretString::from(bad)).unwrap_err();
        assert_eq!(refused.kind(), vim_api::ErrorKind::InvalidInput, "{bad}");
    }

    let renewed = connect(&sim).await;
    renewed.login_sso(sim.user(), sim.password()).await.unwrap();
    sim.expire_sessions();
    sim.advance_clock(Duration::from_secs(60 * 60));
    assert_eq!(machine(&renewed, &sim).require(mo::VirtualMachine::NAME).await.unwrap(), "vm-1");
    assert_eq!(renewed.session_generation(), 2);
    let lost = machine(&second, &sim).get(mo::VirtualMachine::NAME).await.unwrap_err();
    assert!(lost.is_session_lost(), "{lost}");
}
