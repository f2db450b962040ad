use futures::{Stream, StreamExt as _};

use super::{Optional, Properties, Property, Required, Retrieval};
use crate::client::Client;
use crate::dynamic::FromValue;
use crate::error::Error;
use crate::mo::Managed;
use crate::moref::MoRef;

/// A struct that is read from properties of one managed object. Derived:
///
/// ```no_run
/// use vim_api::dynamic::Poly;
/// use vim_api::mo::VirtualMachine;
/// use vim_api::types::{OptionValue, VirtualDevice, VirtualMachinePowerState};
/// use vim_api::{MoRef, Retrieve};
///
/// #[derive(Retrieve)]
/// #[retrieve(VirtualMachine)]
/// struct Vm {
///     /// The object itself.
///     #[retrieve(self)]
///     moref: MoRef<VirtualMachine>,
///     /// Without an attribute: the property of that name.
///     name: String,
///     #[retrieve(runtime.power_state)]
///     power: VirtualMachinePowerState,
///     /// `config` may be unset, so this has to be an `Option`.
///     #[retrieve(config.hardware.device)]
///     devices: Option<Vec<Poly<VirtualDevice>>>,
///     /// One item of a list with keys.
///     #[retrieve(config.extra_config["guestinfo.owner"])]
///     owner: Option<Poly<OptionValue>>,
/// }
///
/// # async fn example(client: vim_api::Client) -> Result<(), vim_api::Error> {
/// let root = client.content().root_folder.cast();
/// for vm in client.list_as::<Vm>(&root).await? {
///     println!("{} {} is {}", vm.moref, vm.name, vm.power);
/// }
/// # Ok(())
/// # }
/// ```
///
/// A path is written with the names that the fields have in Rust. It is checked when the program is compiled: a path
/// that does not exist, a field of another type and a missing `Option` are errors that point at the field. A path from
/// which everything is sure to be set may be taken as an `Option` too. Each property can be taken by one field.
///
/// Values are checked when they come: see [`from_properties`](Self::from_properties).
pub trait Retrieve: Sized {
    /// The managed object type.
    type Object: Managed;

    /// The properties to ask for.
    fn paths() -> Vec<String>;

    /// From what the server gave for [`paths`](Self::paths).
    ///
    /// # Errors
    /// When the server refused to show a property ([`Error::fault`] gives `NoPermission`), or has no value where the
    /// schema promises one. The error names the object and the path.
    fn from_properties(properties: Properties<Self::Object>) -> Result<Self, Error>;
}

/// A field type that holds a property of type `T`: itself when the property is [`Required`], an `Option` in any case.
#[diagnostic::on_unimplemented(
    message = "a property of type `{T}` that is `{P}` does not fit into a field of type `{Self}`",
    label = "the schema says: `{T}`, `{P}`",
    note = "an `Optional` property may be unset: its field has to be an `Option<{T}>`"
)]
pub trait Holds<T, P>: Sized {
    /// Takes the value out of `properties`.
    ///
    /// # Errors
    /// As [`Properties::take`]; also when a required value is not set.
    fn take<M>(properties: &mut Properties<M>, property: &Property<M, T, P>) -> Result<Self, Error>;
}

impl<M, T, P> Property<M, T, P> {
    /// Takes the value out of `properties`, as a field of a derived struct does.
    ///
    /// # Errors
    /// See [`Holds::take`].
    pub fn take_from<F: Holds<T, P>>(&self, properties: &mut Properties<M>) -> Result<F, Error> {
        F::take(properties, self)
    }
}

impl<T: FromValue> Holds<T, Required> for T {
    fn take<M>(properties: &mut Properties<M>, property: &Property<M, T>) -> Result<Self, Error> {
        match properties.take(property)?.or_else(T::when_unset) {
            Some(value) => Ok(value),
            None => Err(Error::unset(&properties.object().cast(), property.as_str())),
        }
    }
}

impl<T: FromValue> Holds<T, Required> for Option<T> {
    fn take<M>(properties: &mut Properties<M>, property: &Property<M, T>) -> Result<Self, Error> {
        properties.take(property)
    }
}

impl<T: FromValue> Holds<T, Optional> for Option<T> {
    fn take<M>(properties: &mut Properties<M>, property: &Property<M, T, Optional>) -> Result<Self, Error> {
        properties.take(property)
    }
}

impl Client {
    /// Reads an `R` from every object of its type below `root`, which is a folder, a datacenter, a host or the like.
    ///
    /// # Errors
    /// When a call fails, or one of the objects makes no `R`: see [`Retrieve::from_properties`]. To read the others all
    /// the same, use [`list_pages_as`](Self::list_pages_as).
    pub async fn list_as<R: Retrieve>(&self, root: &MoRef) -> Result<Vec<R>, Error> {
        self.list_pages_as(root).collect().await
    }

    /// As [`list_as`](Self::list_as), page by page: for inventories that are not to be held in memory at once.
    pub fn list_pages_as<R: Retrieve>(&self, root: &MoRef) -> RetrievalAs<R> {
        let paths = R::paths();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        RetrievalAs(self.list_pages(root, &paths))
    }

    /// Reads an `R` from each of the given objects. An object that is gone is left out.
    ///
    /// # Errors
    /// As [`list_as`](Self::list_as).
    pub async fn properties_as<R: Retrieve>(&self, objects: &[MoRef<R::Object>]) -> Result<Vec<R>, Error> {
        let paths = R::paths();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        RetrievalAs(self.properties_of(objects, &paths)).collect().await
    }
}

/// A [`Retrieval`] whose objects become values of type `R`.
#[derive(Debug)]
pub struct RetrievalAs<R: Retrieve>(Retrieval<R::Object>);

impl<R: Retrieve> RetrievalAs<R> {
    /// See [`Retrieval::page`].
    #[must_use]
    pub fn page(self, objects: u16) -> Self {
        Self(self.0.page(objects))
    }

    /// The next value. `None` behind the last one.
    ///
    /// # Errors
    /// As [`Retrieval::next`], and when the next object makes no `R`. Calling again goes on in either case, in the latter
    /// with the object behind it.
    pub async fn next(&mut self) -> Result<Option<R>, Error> {
        self.0.next().await?.map(R::from_properties).transpose()
    }

    /// See [`Retrieval::remaining`].
    pub fn remaining(&self) -> Option<usize> {
        self.0.remaining()
    }

    /// As a stream of what [`next`](Self::next) gives. It ends behind the first call that failed for good; an object that
    /// makes no `R` does not end it.
    pub fn into_stream(self) -> impl Stream<Item = Result<R, Error>> + Send
    where
        R: Send,
    {
        self.0.into_stream().map(|object| object.and_then(R::from_properties))
    }

    /// All that is left.
    ///
    /// # Errors
    /// The first one of [`next`](Self::next).
    pub async fn collect(mut self) -> Result<Vec<R>, Error> {
        let mut found = Vec::new();
        while let Some(value) = self.next().await? {
            found.push(value);
        }
        Ok(found)
    }
}

#[cfg(all(test, feature = "derive"))]
mod tests;
