//! Tags, which vcsim has below `/rest` alone, in sessions that it does not share with the API whatever version it says it is.

use anyhow::{Context, ensure};
use vim_api::mo::VirtualMachine;
use vim_api::rest::{Cardinality, NewCategory, RestStyle, TagId};
use vim_api::{Client, MoRef};

use crate::Peer;

pub(crate) async fn check(peer: &Peer, client: &Client) -> anyhow::Result<()> {
    let rest = client.rest();
    // Were it `/api`, or the API's session, that would have to be tried here as well.
    ensure!(
        rest.style().await? == RestStyle::Rest,
        "the server has /api now: check it instead of expecting a gap"
    );
    #[derive(serde::Deserialize)]
    struct Session {
        user: String,
    }
    let session: Session = rest.query("com/vmware/cis/session?~action=get", &()).await?;
    ensure!(session.user == peer.user, "the session is {}'s", session.user);

    let root = client.content().root_folder.cast();
    let found = client.list::<VirtualMachine>(&root, &["name"]).await?;
    let vms: Vec<MoRef<VirtualMachine>> = found.iter().map(|vm| vm.object().cast()).collect();
    let (first, second) = (&vms[0], &vms[1]);

    let tags = rest.tags();
    let new = NewCategory {
        name: "peer tier".to_owned(),
        description: "made by peer_check".to_owned(),
        cardinality: Cardinality::Multiple,
        associable_types: vec!["VirtualMachine".to_owned()],
    };
    let tier = tags.create_category(&new).await?;
    let twice = tags.create_category(&new).await.err().context("a category was made twice")?;
    ensure!(twice.rest_fault().is_some_and(|fault| fault.error_type == "ALREADY_EXISTS"), "{twice}");
    let gold = tags.create_tag(&tier, "gold & \"silver\"", "").await?;
    let lead = tags.create_tag(&tier, "lead", "heavy").await?;
    ensure!(tags.tags(&tier).await?.len() == 2, "two tags were made");
    let named = tags.find_tag("peer tier", "lead").await?.context("the tag is not found by its name")?;
    ensure!(named.id == lead && named.description == "heavy", "{named:?}");

    tags.attach(&gold, first).await?;
    let unknown = TagId::new("urn:vmomi:InventoryServiceTag:none:GLOBAL");
    let refused = tags.attach(&unknown, first).await.err().context("an unknown tag was attached")?;
    ensure!(refused.is_not_found(), "{refused}");
    let said = tags.attach_all(first, &[lead.clone(), unknown]).await?;
    ensure!(said.len() == 1 && said[0].contains("none"), "{said:?}");
    let attached = tags.attached(&vms).await?;
    ensure!(
        attached.len() == vms.len() && attached[0].1.len() == 2 && attached[1].1.is_empty(),
        "{attached:?}"
    );
    let objects = tags.objects(std::slice::from_ref(&gold)).await?;
    ensure!(objects[0].1 == [first.clone()], "{objects:?}");

    let saved = tags.read_assignments(std::slice::from_ref(first)).await?;
    tags.delete_category(&tier).await?;
    ensure!(tags.tag(&gold).await.is_err_and(|error| error.is_not_found()), "a deleted tag is still there");
    let failures = tags.restore(second, &saved[0].1, false).await;
    ensure!(failures.len() == 2, "nothing may be made: {failures:?}");
    let failures = tags.restore(second, &saved[0].1, true).await;
    ensure!(failures.is_empty(), "{failures:?}");
    let mut names: Vec<_> = tags
        .read_assignments(std::slice::from_ref(second))
        .await?
        .remove(0)
        .1
        .into_iter()
        .map(|a| a.tag)
        .collect();
    names.sort();
    ensure!(names == ["gold & \"silver\"", "lead"], "{names:?}");
    let tier = tags.find_category("peer tier").await?.context("the category was not made again")?;
    tags.delete_category(&tier.id).await?;

    let guest = peer.connect().await?;
    guest.login_by_clone_ticket(&client.clone_ticket().await?).await?;
    let refused =
        guest.rest().style().await.err().context("the server shares its sessions now: check that")?;
    ensure!(refused.is_session_lost() && refused.to_string().contains("rest().login"), "{refused}");
    guest.close().await?;
    // Its SIGN takes any token.
    let by_token = peer.connect().await?;
    by_token.login_sso(&peer.user, &peer.password).await?;
    by_token.rest().tags().categories().await?;
    by_token.close().await?;
    println!("tags: made, attached, read in one question, and restored by name");
    Ok(())
}
