//! Managed objects: what lives on the server and is called by reference.
//!
//! Each managed object type is a handle: a moRef with the client that it is called through. A handle is cheap to clone,
//! and holds nothing of the object's state: properties are read through [`Managed::get`], methods are called on the
//! handle, and inherited ones are reached through `Deref`.

use std::fmt;

use crate::client::Client;
use crate::dynamic::{FromValue, ManagedInfo};
use crate::error::Error;
use crate::moref::MoRef;
use crate::property::Property;

pub use crate::generated::managed::*;

/// A reference to a managed object, with the client to call it through.
#[derive(Clone)]
pub struct Handle {
    client: Client,
    moref: MoRef,
}

impl Handle {
    pub(crate) fn new(client: Client, moref: MoRef) -> Self {
        Self { client, moref }
    }

    /// The client that calls go through.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The untyped reference.
    pub fn reference(&self) -> &MoRef {
        &self.moref
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.moref.fmt(f)
    }
}

/// A managed object type. Implemented by the generator.
pub trait Managed: Clone + fmt::Debug + From<Handle> + Send + Sync + Sized + 'static {
    /// The table of the type.
    const INFO: &'static ManagedInfo;

    /// The handle below the typed one.
    fn handle(&self) -> &Handle;

    /// The reference to the object.
    fn moref(&self) -> MoRef<Self> {
        self.handle().reference().cast()
    }

    /// Reads one property. `None` when the server leaves it unset.
    ///
    /// # Errors
    /// When the call fails, the property may not be read ([`Error::fault`] gives `NoPermission`), or its value is of
    /// another type than the schema says.
    fn get<T: FromValue + Send, P>(
        &self,
        property: Property<Self, T, P>,
    ) -> impl Future<Output = Result<Option<T>, Error>> + Send {
        async move {
            let handle = self.handle();
            handle.client.read_property(&handle.moref, property.as_str()).await
        }
    }

    /// Reads one property that has to be there.
    ///
    /// # Errors
    /// As [`get`](Self::get), and when the server leaves the property unset.
    fn require<T: FromValue + Send, P>(
        &self,
        property: Property<Self, T, P>,
    ) -> impl Future<Output = Result<T, Error>> + Send {
        async move {
            let handle = self.handle();
            let value = handle.client.read_property(&handle.moref, property.as_str()).await?;
            value.ok_or_else(|| Error::unset(&handle.moref, property.as_str()))
        }
    }
}
