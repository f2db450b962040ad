use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
use secrecy::SecretString;
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{Holder, SamlToken, SigningIdentity};

use crate::{connect, machine, start};

const LIFETIME: Duration = Duration::from_secs(60);

/// A new identity, and its certificate as DER.
pub(crate) fn identity() -> (SigningIdentity, Vec<u8>) {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let certificate = CertificateParams::new(vec!["backup".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = SecretString::from(key.serialize_pem());
    let identity = SigningIdentity::from_pem(certificate.pem().as_bytes(), &key).unwrap();
    (identity, certificate.der().to_vec())
}

#[tokio::test]
async fn a_bound_token_opens_sessions_only_with_its_key() {
    let sim = start(1).await;
    let client = connect(&sim).await;
    let (own, _) = identity();
    let (foreign, _) = identity();
    let holder = Holder::User { name: sim.user(), password: sim.password() };
    let token = client.issue_key_token(&own, holder, LIFETIME).await.unwrap();

    let stolen = SamlToken::from_assertion(token.assertion().clone()).unwrap();
    for useless in [stolen.clone(), stolen.bound_to(&foreign).unwrap()] {
        let refused = client.login_by_token(&useless).await.unwrap_err();
        assert!(refused.fault::<t::InvalidLogin>().is_some(), "{refused}");
    }
    let session = client.login_by_token(&token).await.unwrap();
    assert_eq!(session.user_name, sim.user());

    let wrong = SecretString::from("wrong");
    let holder = Holder::User { name: sim.user(), password: &wrong };
    let refused = client.issue_key_token(&own, holder, LIFETIME).await.unwrap_err();
    assert!(refused.fault::<t::InvalidLogin>().is_some(), "{refused}");
}

#[tokio::test]
async fn a_solution_user_needs_no_password_and_renews_its_session() {
    let sim = start(1).await;
    let client = connect(&sim).await;
    let (identity, certificate) = identity();
    let refused = client.login_solution_user(&identity).await.unwrap_err();
    assert!(refused.fault::<t::InvalidLogin>().is_some(), "{refused}");

    sim.register_solution_user("backup@vsphere.local", &certificate);
    let session = client.login_solution_user(&identity).await.unwrap();
    assert_eq!(session.user_name, "backup@vsphere.local");
    sim.expire_sessions();
    sim.advance_clock(Duration::from_secs(60 * 60));
    assert_eq!(machine(&client, &sim).require(mo::VirtualMachine::NAME).await.unwrap(), "vm-1");
    assert_eq!(client.session_generation(), 2);
}

#[tokio::test]
async fn a_source_of_tokens_is_asked_once_for_each_session() {
    let sim = start(1).await;
    let issuer = connect(&sim).await;
    let (user, password) = (sim.user().to_owned(), sim.password().clone());
    let client = connect(&sim).await;
    client
        .login_by_tokens_of(move || {
            let (issuer, user, password) = (issuer.clone(), user.clone(), password.clone());
            async move { issuer.issue_token(&user, &password, LIFETIME).await }
        })
        .await
        .unwrap();
    sim.expire_sessions();
    let vm = machine(&client, &sim);
    assert_eq!(vm.require(mo::VirtualMachine::NAME).await.unwrap(), "vm-1");
    assert_eq!(client.session_generation(), 2);
}
