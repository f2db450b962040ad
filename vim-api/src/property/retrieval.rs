use std::collections::{HashSet, VecDeque};

use futures::Stream;

use super::{Properties, property_spec};
use crate::client::Client;
use crate::collector::is_restartable;
use crate::error::Error;
use crate::mo::Managed;
use crate::moref::MoRef;
use crate::types::{ManagedObjectNotFound, ObjectSpec, PropertyFilterSpec, RetrieveOptions, RetrieveResult};
use crate::view::OwnView;

/// How often in a row one page is asked for anew after something was lost.
const MAX_RESTARTS: u32 = 5;

/// Objects asked for at a time unless told: an answer of a few megabytes, when whole configurations are read.
const DEFAULT_PAGE: usize = 100;

/// Objects of type `M` with some of their properties, read page by page as they are wanted.
///
/// What is held is one page, beside the references of the objects still to come: an inventory of any size is read in
/// bounded memory. A server that sends less than was asked for is asked for the rest.
///
/// It outlives its session: when the session or the connection is lost, the page is asked for again. No object is given
/// twice. One that vanishes before its page is read is left out; one that appears meanwhile is not included.
#[derive(Debug)]
pub struct Retrieval<M: Managed> {
    client: Client,
    /// Where to look, until the references have been read.
    root: Option<MoRef>,
    paths: Vec<String>,
    page: usize,
    /// Not yet asked for.
    pending: VecDeque<MoRef<M>>,
    /// Asked for, and not come yet.
    asked: Vec<MoRef<M>>,
    rest: Option<Rest>,
    /// Come, and not given out yet.
    ready: VecDeque<Properties<M>>,
}

impl<M: Managed> Retrieval<M> {
    pub(super) fn below(client: &Client, root: &MoRef, paths: &[&str]) -> Self {
        Self::new(client, Some(root.clone()), VecDeque::new(), paths)
    }

    pub(super) fn of(client: &Client, objects: &[MoRef<M>], paths: &[&str]) -> Self {
        Self::new(client, None, objects.iter().cloned().collect(), paths)
    }

    fn new(client: &Client, root: Option<MoRef>, pending: VecDeque<MoRef<M>>, paths: &[&str]) -> Self {
        Self {
            client: client.clone(),
            root,
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            page: DEFAULT_PAGE,
            pending,
            asked: Vec::new(),
            rest: None,
            ready: VecDeque::new(),
        }
    }

    /// Most objects in one answer, at least 1; 100 unless told.
    #[must_use]
    pub fn page(mut self, objects: u16) -> Self {
        self.page = usize::from(objects.max(1));
        self
    }

    /// The next object. `None` behind the last one.
    ///
    /// # Errors
    /// When a call fails for good, or a path is no property of `M` (fault `InvalidProperty`). Calling again goes on with
    /// the page that failed.
    pub async fn next(&mut self) -> Result<Option<Properties<M>>, Error> {
        let mut restarts = 0;
        loop {
            if let Some(object) = self.ready.pop_front() {
                return Ok(Some(object));
            }
            match self.fetch().await {
                Ok(true) => restarts = 0,
                Ok(false) => return Ok(None),
                Err(error) => {
                    self.ask_again();
                    let vanished = self.forget_vanished(&error);
                    if !vanished && (restarts >= MAX_RESTARTS || !is_restartable(&error)) {
                        return Err(error);
                    }
                    restarts += u32::from(!vanished);
                    tracing::debug!(%error, restarts, "asking for a page anew");
                }
            }
        }
    }

    /// How many objects are still to come, once that is known: after the first one was given. Some of them may turn out
    /// to be gone.
    pub fn remaining(&self) -> Option<usize> {
        self.root.is_none().then(|| self.pending.len() + self.asked.len() + self.ready.len())
    }

    /// As a stream of what [`next`](Self::next) gives. It ends behind the first error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Properties<M>, Error>> + Send {
        futures::stream::unfold(Some(self), |retrieval| async move {
            let mut retrieval = retrieval?;
            let next = retrieval.next().await.transpose()?;
            let rest = next.is_ok().then_some(retrieval);
            Some((next, rest))
        })
    }

    pub(super) async fn collect(mut self) -> Result<Vec<Properties<M>>, Error> {
        let mut found = Vec::new();
        while let Some(object) = self.next().await? {
            found.push(object);
            found.extend(self.ready.drain(..));
        }
        Ok(found)
    }

    /// One answer of the server. `false` when there is nothing left to ask for.
    async fn fetch(&mut self) -> Result<bool, Error> {
        if let Some(root) = &self.root {
            let view = OwnView::below::<M>(&self.client, root).await?;
            self.pending = view.objects().await?.into();
            self.root = None;
        }
        let answer = match self.rest.take() {
            Some(rest) => Some(rest.read().await?),
            None if self.pending.is_empty() => return Ok(false),
            None => {
                let count = self.page.min(self.pending.len());
                self.asked = self.pending.drain(..count).collect();
                let options = RetrieveOptions {
                    max_objects: i32::try_from(self.page).ok(),
                    ..RetrieveOptions::default()
                };
                let spec = [self.spec()];
                self.client.property_collector().retrieve_properties_ex(&spec, &options).await?
            }
        };
        let answer = answer.unwrap_or_default();
        let come: HashSet<MoRef> = answer.objects.iter().map(|object| object.obj.cast()).collect();
        self.asked.retain(|object| !come.contains(&object.cast()));
        self.rest = answer.token.map(|token| Rest::new(&self.client, token));
        if self.rest.is_none() {
            // The server had nothing to say of these: they are gone.
            self.asked.clear();
        }
        self.ready.extend(answer.objects.into_iter().map(Properties::from_content));
        Ok(true)
    }

    fn spec(&self) -> PropertyFilterSpec {
        let paths: Vec<&str> = self.paths.iter().map(String::as_str).collect();
        let object = |object: &MoRef<M>| ObjectSpec { obj: object.cast(), ..ObjectSpec::default() };
        PropertyFilterSpec {
            prop_set: vec![property_spec::<M>(&paths)],
            object_set: self.asked.iter().map(object).collect(),
            report_missing_objects_in_results: Some(true),
            ..PropertyFilterSpec::default()
        }
    }

    fn ask_again(&mut self) {
        self.rest = None;
        for object in self.asked.drain(..).rev() {
            self.pending.push_front(object);
        }
    }

    /// Servers that do not report missing objects refuse the whole page for the sake of one.
    fn forget_vanished(&mut self, error: &Error) -> bool {
        let Some(gone) = error.fault::<ManagedObjectNotFound>() else { return false };
        let before = self.pending.len();
        self.pending.retain(|object| *object != gone.obj);
        self.pending.len() < before
    }
}

/// The rest of an answer that the server keeps for us.
#[derive(Debug)]
pub(super) struct Rest {
    client: Client,
    token: Option<String>,
}

impl Rest {
    pub(super) fn new(client: &Client, token: String) -> Self {
        Self { client: client.clone(), token: Some(token) }
    }

    pub(super) async fn read(mut self) -> Result<RetrieveResult, Error> {
        let token = self.token.take().unwrap_or_default();
        self.client.property_collector().continue_retrieve_properties_ex(&token).await
    }
}

impl Drop for Rest {
    /// Lets the server forget it, in the background. If that fails, it goes with the session.
    fn drop(&mut self) {
        let Some(token) = self.token.take() else { return };
        let call = self.client.property_collector().cancel_retrieve_properties_ex(&token);
        call.send_and_forget(|error| tracing::debug!(%error, "the rest of an answer was not given back"));
    }
}
