//! What an [`Updates`](super::Updates) has on the server: a collector with one filter, and the view that it looks through.

use crate::client::Client;
use crate::collector::{MAX_WAIT_SECONDS, OwnCollector};
use crate::error::Error;
use crate::mo::Managed;
use crate::moref::MoRef;
use crate::types::{ObjectSpec, PropertyFilterSpec, PropertySpec, UpdateSet, WaitOptions};
use crate::view::OwnView;

/// Which objects are watched.
#[derive(Debug, Clone)]
pub(super) enum Source<M> {
    Below { root: MoRef, and_root: bool },
    These(Vec<MoRef<M>>),
}

/// Bound to one session, and given back when dropped.
pub(super) struct Watch {
    collector: OwnCollector,
    /// Held for as long as the filter looks through it.
    _view: Option<OwnView>,
    /// How far the consumer has been told.
    pub(super) version: String,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Watch {
    pub(super) async fn start<M: Managed>(
        client: &Client,
        source: &Source<M>,
        paths: &[String],
    ) -> Result<Self, Error> {
        let collector = OwnCollector::new(client).await?;
        let (view, object_set) = match source {
            Source::These(objects) => {
                let spec = |object: &MoRef<M>| ObjectSpec { obj: object.cast(), ..ObjectSpec::default() };
                (None, objects.iter().map(spec).collect())
            }
            Source::Below { root, and_root } => {
                let view = OwnView::below::<M>(client, root).await?;
                let mut object_set = vec![view.look_through()];
                if *and_root {
                    object_set.push(ObjectSpec { obj: root.clone(), ..ObjectSpec::default() });
                }
                (Some(view), object_set)
            }
        };
        let filter = PropertyFilterSpec {
            prop_set: vec![PropertySpec {
                r#type: M::INFO.name.to_owned(),
                path_set: paths.to_vec(),
                ..PropertySpec::default()
            }],
            object_set,
            report_missing_objects_in_results: Some(true),
            ..PropertyFilterSpec::default()
        };
        collector.get().create_filter(&filter, true).await?;
        Ok(Self { collector, _view: view, version: String::new() })
    }

    /// One `WaitForUpdatesEx`; it does not wait unless `patient`.
    pub(super) async fn wait(&self, patient: bool, page: i32) -> Result<Option<UpdateSet>, Error> {
        let options = WaitOptions {
            max_wait_seconds: Some(if patient { MAX_WAIT_SECONDS } else { 0 }),
            max_object_updates: Some(page),
            ..WaitOptions::default()
        };
        self.collector.get().wait_for_updates_ex(Some(&self.version), Some(&options)).await
    }
}
