//! Container views: everything of a type below an object.

use crate::client::Client;
use crate::dynamic::Poly;
use crate::error::Error;
use crate::mo::{self, Managed};
use crate::moref::MoRef;
use crate::types::{ObjectSpec, SelectionSpec, TraversalSpec};

/// A ContainerView that is given back when it is dropped. It belongs to one session.
pub(crate) struct OwnView(mo::ContainerView);

impl OwnView {
    /// Everything of type `M` below `root`, at any depth.
    pub(crate) async fn below<M: Managed>(client: &Client, root: &MoRef) -> Result<Self, Error> {
        let manager: mo::ViewManager = client.manager("ViewManager", |c| c.view_manager.as_ref())?;
        let types = [M::INFO.name.to_owned()];
        let view = manager.create_container_view(&root.cast(), &types, true).await?;
        Ok(Self(client.bind(&view.cast())))
    }

    /// What is in the view now.
    pub(crate) async fn objects<M>(&self) -> Result<Vec<MoRef<M>>, Error> {
        let objects = self.0.get(mo::ContainerView::VIEW).await?.unwrap_or_default();
        Ok(objects.iter().map(MoRef::cast).collect())
    }

    /// For a filter that looks at what is in the view.
    pub(crate) fn look_through(&self) -> ObjectSpec {
        let traversal = TraversalSpec {
            base: SelectionSpec { name: Some("view".into()), ..SelectionSpec::default() },
            r#type: "ContainerView".into(),
            path: "view".into(),
            skip: Some(false),
            select_set: Vec::new(),
        };
        ObjectSpec {
            obj: self.0.moref().cast(),
            skip: Some(true),
            select_set: vec![Poly::new(traversal)],
            ..ObjectSpec::default()
        }
    }
}

impl Drop for OwnView {
    /// Destroys it in the background. If that fails, it goes with the session.
    fn drop(&mut self) {
        self.0.destroy_view().send_and_forget(|error| tracing::debug!(%error, "a view was not destroyed"));
    }
}
