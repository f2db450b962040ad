//! The ways to get a session, and to be refused one.

use std::time::Duration;

use anyhow::{Context, ensure};
use secrecy::SecretString;
use vim_api::Client;
use vim_api::types::{InvalidLogin, NoClientCertificate, NotAuthenticated};

use crate::Peer;

pub(crate) async fn check(peer: &Peer) -> anyhow::Result<()> {
    let wrong = peer.connect().await?;
    let refused = wrong.login(&peer.user, &SecretString::from("wrong")).await.err();
    let refused = refused.context("a wrong password was taken")?;
    ensure!(refused.fault::<InvalidLogin>().is_some(), "{refused}");
    // There is no token, and the connection shows no certificate: both calls arrive, and are refused for that.
    let manager = wrong.content().session_manager.as_ref().context("no session manager")?;
    let refused =
        wrong.bind(manager).login_by_token(None).await.err().context("no token was taken for one")?;
    ensure!(refused.fault::<InvalidLogin>().is_some(), "{refused}");
    let refused =
        wrong.login_extension("com.example.peer").await.err().context("no certificate was taken")?;
    ensure!(refused.fault::<NoClientCertificate>().is_some(), "{refused}");

    let pem = std::env::var("PEER_CLIENT_PEM").context("PEER_CLIENT_PEM is not set")?;
    let pem = std::fs::read_to_string(pem)?;
    let shown = Client::connect(&peer.url)
        .thumbprint(peer.thumbprint)
        .client_certificate(pem.as_bytes(), &SecretString::from(pem.as_str()))
        .await?;
    let session = shown.login_extension("com.example.peer").await?;
    ensure!(session.user_name == "com.example.peer", "the session is {}'s", session.user_name);
    shown.close().await?;

    let by_token = peer.connect().await?;
    let token = by_token.issue_token(&peer.user, &peer.password, Duration::from_secs(60)).await?;
    ensure!(token.expires().is_some(), "a token without an end");
    let session = by_token.login_by_token(&token).await?;
    ensure!(session.user_name.contains('@'), "the session is {}'s", session.user_name);
    by_token.close().await?;
    let renewable = peer.connect().await?;
    let sts = renewable.discover_sts().await?;
    ensure!(
        sts.named && sts.port == renewable.port() && sts.path == "/sts/STSService/vsphere.local",
        "the STS is at {sts:?}"
    );
    renewable.login_sso(&peer.user, &peer.password).await?;
    renewable.close().await?;

    let first = peer.login().await?;
    let session = first.current_session().await?;
    ensure!(session.user_name == peer.user, "the session is {}'s", session.user_name);
    let manager = first.bind(first.content().session_manager.as_ref().context("no session manager")?);
    ensure!(manager.session_is_active(&session.key, &peer.user).await?, "an active session is not active");

    let second = peer.connect().await?;
    let ticket = first.clone_ticket().await?;
    let cloned = second.login_by_clone_ticket(&ticket).await?;
    ensure!(cloned.user_name == peer.user && cloned.key != session.key, "the clone is no session of its own");
    let third = peer.connect().await?;
    let again = third.login_by_clone_ticket(&ticket).await.err().context("a ticket was taken twice")?;
    ensure!(again.fault::<InvalidLogin>().is_some(), "{again}");

    let cookie = first.session_cookie().context("a session without a cookie")?;
    ensure!(third.resume(&cookie).await?.key == session.key, "resuming gave another session");

    manager.terminate_session(&[cloned.key]).await?;
    let ended = second.current_session().await.err().context("a terminated session lives")?;
    ensure!(ended.is_session_lost() || ended.fault::<NotAuthenticated>().is_some(), "{ended}");
    first.logout().await?;
    println!(
        "sessions: password, token of an STS that was looked up, extension, clone ticket, cookie; wrong ones refused"
    );
    Ok(())
}
