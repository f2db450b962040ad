//! `key list | add | remove | rotate`: who may open the repository.

use clap::Subcommand;
use serde_json::json;
use vadp_repository::{KeySlotId, KeySlotKind, Repository, Secret};

use crate::show;
use crate::terminal::{self, Waiting};

#[derive(Subcommand)]
pub enum Key {
    /// Lists the key slots, oldest first. `*` has opened the repository now.
    List,
    /// Adds a password, from VADP_REPOSITORY_NEW_PASSWORD or asked for. To change one, add, then remove the old with the new.
    Add,
    /// Removes a key slot, but not the one that is in use now.
    Remove { slot: String },
    /// Seals what comes with a new key, and makes a new slot for the password in use; with VADP_REPOSITORY_NEW_PASSWORD, for that
    /// one instead.
    Rotate {
        /// Remove all other slots: their passwords have to be added again.
        #[arg(long)]
        drop_others: bool,
    },
}

impl Key {
    pub async fn run(&self, repo: &Repository, password: &str, is_json: bool) -> anyhow::Result<()> {
        match self {
            Self::List => list(repo, is_json).await?,
            Self::Add => {
                let secret = Secret::password(terminal::password(&terminal::NEW, true)?);
                let id = repo.add_key(&secret).await?;
                show::line(is_json, &json!({"slot": id.to_string()}), || format!("added key slot {id}"));
            }
            Self::Remove { slot } => {
                repo.remove_key(KeySlotId::parse(slot)?).await?;
                show::line(is_json, &json!({"removed": slot}), || format!("removed key slot {slot}"));
            }
            Self::Rotate { drop_others } => {
                let password = terminal::NEW.in_environment()?.unwrap_or_else(|| password.to_owned());
                let waiting = Waiting::begin(is_json, "rotating");
                let rotation = repo.rotate_keys(&[Secret::password(password)], *drop_others).await?;
                drop(waiting);
                let texts = |ids: &[KeySlotId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
                let refused: Vec<_> = rotation
                    .refused
                    .iter()
                    .map(|(id, why)| json!({"slot": id.to_string(), "why": why}))
                    .collect();
                let value = json!({"added": texts(&rotation.added), "removed": texts(&rotation.removed), "refused": refused});
                show::line(is_json, &value, || {
                    let (added, removed, refused) =
                        (rotation.added.len(), rotation.removed.len(), refused.len());
                    format!("{added} key slots added, {removed} removed, {refused} kept by the store")
                });
            }
        }
        Ok(())
    }
}

async fn list(repo: &Repository, is_json: bool) -> anyhow::Result<()> {
    let slots = repo.key_slots().await?;
    let kind = |kind| match kind {
        KeySlotKind::Password => "password",
        KeySlotKind::RawKey => "raw key",
        _ => "key provider",
    };
    let values: Vec<_> = slots
        .iter()
        .map(|slot| {
            json!({"id": slot.id.to_string(), "kind": kind(slot.kind), "created": show::date(slot.created), "own": slot.is_own})
        })
        .collect();
    show::line(is_json, &json!({ "slots": values }), || {
        let line = |slot: &vadp_repository::KeySlotInfo| {
            let mark = if slot.is_own { '*' } else { ' ' };
            format!("{mark} {}  {}  {}", slot.id, show::date(slot.created), kind(slot.kind))
        };
        slots.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(())
}
