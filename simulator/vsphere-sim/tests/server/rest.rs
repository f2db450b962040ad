use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use secrecy::SecretString;
use vim_api::mo::VirtualMachine;
use vim_api::rest::{Cardinality, NewCategory, RestStyle, TagAssignment, TagId, Tags};
use vim_api::types as t;
use vim_api::{ApiVersion, Client, ErrorKind, Holder, MoRef, Retry, SamlToken};
use vsphere_sim::{Endpoint, FaultPlace, FaultRule, Sim};

use crate::connect;
use crate::signed_tokens::identity;

/// With one session for everything; with `/api`; with nothing but `/rest`.
const VERSIONS: [&str; 3] = ["8.0.3.0", "7.0.3.0", "7.0.1.0"];

async fn start(version: &str) -> Sim {
    Sim::builder().api_version(ApiVersion::parse(version).unwrap()).start().await.unwrap()
}

async fn log_in(sim: &Sim) -> Client {
    let client = connect(sim).await;
    client.login(sim.user(), sim.password()).await.unwrap();
    client
}

fn category(name: &str, cardinality: Cardinality, types: &[&str]) -> NewCategory {
    NewCategory {
        name: name.to_owned(),
        description: format!("about {name}"),
        cardinality,
        associable_types: types.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn vm(number: usize) -> MoRef<VirtualMachine> {
    MoRef::new(format!("vm-{number}"))
}

/// A category `tier` with the tags `gold` and `silver`.
async fn tier(tags: &Tags, cardinality: Cardinality) -> (TagId, TagId) {
    let id = tags.create_category(&category("tier", cardinality, &["VirtualMachine"])).await.unwrap();
    let gold = tags.create_tag(&id, "gold", "the best").await.unwrap();
    (gold, tags.create_tag(&id, "silver", "").await.unwrap())
}

#[tokio::test]
async fn tags_in_each_style() {
    for version in VERSIONS {
        let sim = start(version).await;
        let client = log_in(&sim).await;
        let tags = client.rest().tags();
        assert!(tags.categories().await.unwrap().is_empty());
        let (gold, silver) = tier(&tags, Cardinality::Multiple).await;
        let tier = tags.find_category("tier").await.unwrap().unwrap();
        assert_eq!((tier.description.as_str(), &tier.cardinality), ("about tier", &Cardinality::Multiple));
        assert_eq!(tier.associable_types, ["VirtualMachine"]);
        assert!(tags.find_category("Tier").await.unwrap().is_none());
        let found = tags.find_tag("tier", "gold").await.unwrap().unwrap();
        assert_eq!((&found.id, found.description.as_str()), (&gold, "the best"));
        assert_eq!(found, tags.tag(&gold).await.unwrap());
        assert!(tags.find_tag("tier", "lead").await.unwrap().is_none());
        assert!(tags.find_tag("no tier", "gold").await.unwrap().is_none());
        assert_eq!(tags.tags(&tier.id).await.unwrap().len(), 2);

        tags.attach(&gold, &vm(101)).await.unwrap();
        tags.attach(&gold, &vm(101)).await.unwrap();
        assert!(tags.attach_all(&vm(102), &[gold.clone(), silver.clone()]).await.unwrap().is_empty());
        let attached = tags.attached(&[vm(102), vm(7), vm(101), vm(102)]).await.unwrap();
        let counts: Vec<_> =
            attached.iter().map(|(object, tags)| (object.value().to_owned(), tags.len())).collect();
        let expected = [("vm-102", 2), ("vm-7", 0), ("vm-101", 1), ("vm-102", 2)];
        assert_eq!(counts, expected.map(|(id, count)| (id.to_owned(), count)));
        let objects = tags.objects(&[silver.clone(), gold.clone()]).await.unwrap();
        assert_eq!(objects[0], (silver.clone(), vec![vm(102).cast()]));
        assert_eq!(objects[1].1.len(), 2);
        tags.detach(&gold, &vm(101)).await.unwrap();
        tags.detach(&gold, &vm(101)).await.unwrap();
        assert!(tags.attached(&[vm(101)]).await.unwrap()[0].1.is_empty());

        tags.delete_tag(&silver).await.unwrap();
        let gone = tags.tag(&silver).await.unwrap_err();
        assert!(gone.is_not_found() && gone.to_string().contains("NOT_FOUND"), "{gone}");
        tags.delete_category(&tier.id).await.unwrap();
        assert!(tags.tag(&gold).await.unwrap_err().is_not_found());
        assert!(tags.attached(&[vm(102)]).await.unwrap()[0].1.is_empty());
    }
}

#[tokio::test]
async fn refusals_are_told_alike_in_each_style() {
    for version in VERSIONS {
        let sim = start(version).await;
        let client = log_in(&sim).await;
        let tags = client.rest().tags();
        let (gold, silver) = tier(&tags, Cardinality::Single).await;
        let twice = tags.create_category(&category("tier", Cardinality::Single, &[])).await.unwrap_err();
        assert_eq!(twice.kind(), ErrorKind::Rest);
        let fault = twice.rest_fault().unwrap();
        assert_eq!((fault.status, fault.error_type.as_str()), (400, "ALREADY_EXISTS"));
        assert!(fault.messages[0].contains("tier"), "{twice}");

        tags.attach(&gold, &vm(1)).await.unwrap();
        let second = tags.attach(&silver, &vm(1)).await.unwrap_err();
        assert_eq!(second.rest_fault().unwrap().error_type, "INVALID_ARGUMENT");
        let host = MoRef::<vim_api::mo::HostSystem>::new("host-1");
        let unsuitable = tags.attach_all(&host, &[gold.clone(), silver.clone()]).await.unwrap();
        assert!(unsuitable.len() == 2 && unsuitable[0].contains("HostSystem"), "{unsuitable:?}");
        let unknown = tags.attach(&TagId::new("urn:no/such?tag"), &vm(1)).await.unwrap_err();
        assert!(unknown.is_not_found() && unknown.to_string().contains("urn:no/such?tag."), "{unknown}");
    }
}

#[tokio::test]
async fn thousands_of_objects_are_asked_about_in_groups() {
    let sim = start("8.0.3.0").await;
    let client = log_in(&sim).await;
    let tags = client.rest().tags();
    let (gold, _) = tier(&tags, Cardinality::Multiple).await;
    for number in [0, 299, 300, 1999] {
        tags.attach(&gold, &vm(number)).await.unwrap();
    }
    let sent = client.requests_sent();
    let objects: Vec<_> = (0..2000).map(vm).collect();
    let read = tags.read_assignments(&objects).await.unwrap();
    // Seven groups, one tag, one category.
    assert_eq!(client.requests_sent() - sent, 9);
    let tagged: Vec<_> =
        read.iter().enumerate().filter(|(_, (_, tags))| !tags.is_empty()).map(|(at, _)| at).collect();
    assert_eq!(tagged, [0, 299, 300, 1999]);
    assert!(read.iter().map(|(object, _)| object).eq(&objects));
}

#[tokio::test]
async fn tags_come_back_by_name_on_another_vcenter() {
    for (from, to) in [("8.0.3.0", "7.0.1.0"), ("7.0.1.0", "8.0.3.0")] {
        let (old, new) = (start(from).await, start(to).await);
        let (old_client, new_client) = (log_in(&old).await, log_in(&new).await);
        let tags = old_client.rest().tags();
        let (gold, _) = tier(&tags, Cardinality::Single).await;
        let site = tags.create_category(&category("site", Cardinality::Multiple, &[])).await.unwrap();
        let berlin = tags.create_tag(&site, "Berlin / \"Ost\"", "ü").await.unwrap();
        assert!(tags.attach_all(&vm(101), &[gold, berlin]).await.unwrap().is_empty());
        let read = tags.read_assignments(&[vm(101)]).await.unwrap();
        let saved = &read[0].1;
        let text = serde_json::to_string(saved).unwrap();
        assert_eq!(&serde_json::from_str::<Vec<TagAssignment>>(&text).unwrap(), saved);

        let tags = new_client.rest().tags();
        let failures = tags.restore(&vm(7), saved, false).await;
        assert!(failures.len() == 2 && failures.iter().all(vim_api::Error::is_not_found), "{failures:?}");
        assert!(failures.iter().any(|failure| failure.to_string().contains("\"gold\"")), "{failures:?}");
        assert!(tags.categories().await.unwrap().is_empty(), "nothing was made");
        assert!(tags.restore(&vm(7), saved, true).await.is_empty());
        let again = tags.read_assignments(&[vm(7)]).await.unwrap();
        let sorted = |list: &[TagAssignment]| {
            let mut list = list.to_vec();
            list.sort_by(|a, b| a.tag.cmp(&b.tag));
            list
        };
        assert_eq!(sorted(&again[0].1), sorted(saved));
        assert!(tags.restore(&vm(7), saved, true).await.is_empty(), "what is there is kept");
        assert_eq!(tags.categories().await.unwrap().len(), 2);

        // The category allows one tag, and the machine has another: the rest is attached all the same.
        let tier = tags.find_category("tier").await.unwrap().unwrap();
        let lead = tags.create_tag(&tier.id, "lead", "").await.unwrap();
        tags.attach(&lead, &vm(8)).await.unwrap();
        let failures = tags.restore(&vm(8), saved, true).await;
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert!(failures[0].to_string().contains("another tag of the category tier"), "{failures:?}");
        assert_eq!(tags.attached(&[vm(8)]).await.unwrap()[0].1.len(), 2);
    }
}

#[tokio::test]
async fn one_session_serves_everything_since_8_0_3() {
    let sim = start("8.0.3.0").await;
    let client = log_in(&sim).await;
    let rest = client.rest();
    assert_eq!(rest.style().await.unwrap(), RestStyle::Api);
    rest.tags().categories().await.unwrap();
    assert_eq!((sim.session_count(), sim.rest_session_count()), (1, 0));
    // Whoever has but a ticket or a cookie is served, too.
    let second = connect(&sim).await;
    second.login_by_clone_ticket(&client.clone_ticket().await.unwrap()).await.unwrap();
    second.rest().tags().categories().await.unwrap();

    sim.expire_sessions();
    rest.tags().categories().await.unwrap();
    assert_eq!((client.session_generation(), sim.rest_session_count()), (2, 0));
    let lost = second.rest().tags().categories().await.unwrap_err();
    assert!(lost.is_session_lost(), "{lost}");
    client.close().await.unwrap();
    assert_eq!(sim.session_count(), 0);
    let nobody = connect(&sim).await.rest().style().await.unwrap_err();
    assert!(nobody.is_session_lost(), "{nobody}");
}

#[tokio::test]
async fn before_8_0_3_a_second_session_is_made_renewed_and_ended() {
    for (version, style) in [("7.0.3.0", RestStyle::Api), ("7.0.1.0", RestStyle::Rest)] {
        let sim = start(version).await;
        let client = log_in(&sim).await;
        let rest = client.rest();
        let all = (0..20).map(|_| rest.style());
        let styles = futures::future::join_all(all).await;
        assert!(styles.iter().all(|found| matches!(found, Ok(found) if *found == style)));
        assert_eq!((sim.session_count(), sim.rest_session_count()), (1, 1), "one for all who asked");

        sim.expire_rest_sessions();
        let all = (0..20).map(|_| async { rest.tags().categories().await.map(|all| all.len()) });
        for found in futures::future::join_all(all).await {
            assert_eq!(found.unwrap(), 0);
        }
        assert_eq!(sim.rest_session_count(), 1, "renewed once");
        sim.expire_rest_sessions();
        let change = rest.tags().create_category(&category("x", Cardinality::Single, &[])).await.unwrap_err();
        assert!(change.is_session_lost() && change.to_string().contains("not carried out"), "{change}");
        rest.tags().create_category(&category("x", Cardinality::Single, &[])).await.unwrap();
        client.close().await.unwrap();
        assert_eq!((sim.session_count(), sim.rest_session_count()), (0, 0));
    }
}

#[tokio::test]
async fn who_came_without_a_password_has_to_give_one_before_8_0_3() {
    let sim = start("7.0.3.0").await;
    let first = log_in(&sim).await;
    let client = connect(&sim).await;
    client.login_by_clone_ticket(&first.clone_ticket().await.unwrap()).await.unwrap();
    let refused = client.rest().tags().categories().await.unwrap_err();
    assert!(refused.is_session_lost() && refused.to_string().contains("rest().login"), "{refused}");

    let wrong = client.rest().login(sim.user(), &SecretString::from("wr: ong")).await.unwrap_err();
    assert!(wrong.fault::<t::InvalidLogin>().is_some(), "{wrong}");
    assert!(!format!("{wrong} {wrong:?}").contains("ong"), "{wrong:?}");
    let colon = client.rest().login("a:b", sim.password()).await.unwrap_err();
    assert_eq!(colon.kind(), ErrorKind::InvalidInput);
    assert!(client.rest().style().await.is_err(), "what was refused is not kept");
    client.rest().login(sim.user(), sim.password()).await.unwrap();
    client.rest().tags().categories().await.unwrap();
    sim.expire_rest_sessions();
    client.rest().tags().categories().await.unwrap();
    assert_eq!(sim.rest_session_count(), 1);
    // Another user must not go on in the first one's name.
    client.resume(&first.session_cookie().unwrap()).await.unwrap();
    assert_eq!(sim.rest_session_count(), 0);
    assert!(client.rest().style().await.unwrap_err().is_session_lost());
}

#[tokio::test]
async fn tokens_open_sessions_of_the_rest_services() {
    let (identity, certificate) = identity();
    for version in ["7.0.3.0", "7.0.1.0"] {
        let sim = start(version).await;
        sim.register_solution_user("backup@vsphere.local", &certificate);
        let user = async |client: &Client| {
            #[derive(serde::Deserialize)]
            struct Info {
                user: String,
            }
            match client.rest().style().await.unwrap() {
                RestStyle::Api => client.rest().get::<Info>("session").await.unwrap().user,
                _ => {
                    client.rest().query::<Info>("com/vmware/cis/session?~action=get", &()).await.unwrap().user
                }
            }
        };
        // Signed with the key.
        let bound = connect(&sim).await;
        bound.login_solution_user(&identity).await.unwrap();
        assert_eq!(user(&bound).await, "backup@vsphere.local");
        sim.expire_rest_sessions();
        sim.advance_clock(Duration::from_secs(20 * 60));
        assert_eq!(user(&bound).await, "backup@vsphere.local");
        // Shown as it is.
        let bearer = connect(&sim).await;
        bearer.login_sso(sim.user(), sim.password()).await.unwrap();
        assert_eq!(user(&bearer).await, sim.user());
    }
}

#[tokio::test]
async fn a_token_that_is_bound_to_a_key_opens_sessions_only_with_it() {
    let sim = start("7.0.3.0").await;
    let issuer = connect(&sim).await;
    let ((own, _), (foreign, _)) = (identity(), identity());
    let (name, password) = (sim.user().to_owned(), sim.password().clone());
    let calls = Arc::new(AtomicUsize::new(0));
    let client = connect(&sim).await;
    client
        .login_by_tokens_of(move || {
            let (issuer, own, foreign) = (issuer.clone(), own.clone(), foreign.clone());
            let (name, password) = (name.clone(), password.clone());
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                let holder = Holder::User { name: &name, password: &password };
                let token = issuer.issue_key_token(&own, holder, Duration::from_secs(60)).await?;
                let stolen = SamlToken::from_assertion(token.assertion().clone())?;
                match call {
                    // The first is for the session of the API.
                    1 => Ok(stolen),
                    2 => stolen.bound_to(&foreign),
                    _ => Ok(token),
                }
            }
        })
        .await
        .unwrap();
    for _ in 0..2 {
        let refused = client.rest().style().await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Token);
        assert!(refused.to_string().contains("has to be delegatable"), "{refused}");
        assert!(!format!("{refused} {refused:?}").contains("Assertion"), "{refused:?}");
    }
    client.rest().style().await.unwrap();
    assert_eq!(sim.rest_session_count(), 1);
}

#[tokio::test]
async fn a_service_that_is_starting_is_asked_again_for_reads_only() {
    let sim = start("8.0.3.0").await;
    let pin = sim.thumbprint_sha256().parse().unwrap();
    let retry = Retry::times(3).backoff(Duration::from_millis(1), Duration::from_millis(2));
    let client = Client::connect(&sim.url()).thumbprint(pin).retry(retry).await.unwrap();
    client.login(sim.user(), sim.password()).await.unwrap();
    client.rest().style().await.unwrap();
    let rule = FaultRule {
        status: Some(503),
        count: Some(2),
        ..FaultRule::at(Endpoint::Rest, "*", FaultPlace::Http)
    };
    sim.add_fault(rule.clone()).unwrap();
    assert!(client.rest().tags().categories().await.unwrap().is_empty());
    sim.clear_faults().unwrap();
    sim.add_fault(rule).unwrap();
    let new = category("x", Cardinality::Single, &[]);
    let busy = client.rest().tags().create_category(&new).await.unwrap_err();
    assert!(busy.is_retryable() && busy.kind() == ErrorKind::Unavailable, "{busy}");
    assert!(client.rest().tags().categories().await.unwrap().is_empty(), "it was sent once");
}
