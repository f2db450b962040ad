//! Calls of methods: thin stubs give a [`Call`], which is sent when it is awaited.

mod argument;

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;

use crate::client::Client;
use crate::dynamic::{Element, MethodInfo};
use crate::error::Error;
use crate::mo::Handle;
use crate::moref::MoRef;
use crate::soap::Outcome;
use crate::sso::SamlToken;
use crate::xml::{Reader, Writer, XmlError};

pub(crate) use argument::Argument;

pub use crate::fcd::DiskTask;
pub use crate::task::Task;

/// A method call with its arguments, not yet sent. Await it to send it.
///
/// Dropping the future while the call is on its way gives up the answer, not the effect: the server may carry it out.
#[must_use = "a call is sent when it is awaited"]
pub struct Call<R> {
    pending: Box<Pending>,
    returns: PhantomData<fn() -> R>,
}

/// A call as it goes into an envelope.
pub(crate) struct Request {
    pub(crate) method: &'static MethodInfo,
    pub(crate) this: MoRef,
    pub(crate) arguments: zeroize::Zeroizing<String>,
    /// Proof of who calls, for the SOAP header.
    pub(crate) token: Option<SamlToken>,
    /// The caller wants it sent again in a new session.
    pub(crate) resend_after_login: bool,
}

/// A call whose arguments are still being added.
pub struct CallBuilder(Box<Pending>);

/// What a call is made of, whatever it takes and returns: a thousand stubs are compiled, and this once.
struct Pending {
    client: Client,
    method: &'static MethodInfo,
    this: MoRef,
    writer: Writer,
    next: usize,
    refused: Option<Error>,
    token: Option<SamlToken>,
    resend_after_login: bool,
}

impl CallBuilder {
    pub(crate) fn to(object: &Handle, method: &'static MethodInfo) -> Self {
        let client = object.client().clone();
        let version = client.version();
        let refused =
            (method.since() > version).then(|| Error::not_in_version(method.name, method.since(), version));
        Self(Box::new(Pending {
            writer: Writer::of(method.service, version),
            client,
            method,
            this: object.reference().clone(),
            next: 0,
            refused,
            token: None,
            resend_after_login: false,
        }))
    }

    /// The next argument, in the order of the method's parameters. One that is set and newer than the server's version
    /// refuses the call: leaving it out would do something else than was asked for.
    pub(crate) fn arg(mut self, argument: impl Argument) -> Self {
        self.0.add(&argument);
        self
    }

    pub(crate) fn end<R>(self) -> Call<R> {
        Call { pending: self.0, returns: PhantomData }
    }
}

impl Pending {
    fn add(&mut self, argument: &dyn Argument) {
        if let Some(param) = self.method.params.get(self.next) {
            let before = self.writer.len();
            argument.write(param.name, &mut self.writer);
            let written = self.writer.len() > before;
            if written && param.since() > self.writer.version() && self.refused.is_none() {
                let name = format!("{}({})", self.method.name, param.name);
                self.refused = Some(Error::not_in_version(&name, param.since(), self.writer.version()));
            }
        }
        self.next += 1;
    }

    fn into_request(self) -> Result<(Client, Request), Error> {
        match self.refused {
            Some(error) => Err(error),
            None => {
                let arguments = self.writer.finish().into();
                let request = Request {
                    method: self.method,
                    this: self.this,
                    arguments,
                    token: self.token,
                    resend_after_login: self.resend_after_login,
                };
                Ok((self.client, request))
            }
        }
    }
}

impl<R> Call<R> {
    /// Sends a token along, and signs the call where the token wants it.
    pub(crate) fn with_token(mut self, token: &SamlToken) -> Self {
        self.pending.token = Some(token.clone());
        self
    }

    /// Lets the call be sent once more when the server answers that the session is gone: the session is renewed, and the
    /// call, which was not carried out, repeated. For calls that read this is so anyway. One that changes something is
    /// not repeated unless asked for here, as it may no longer be wanted by the time.
    ///
    /// Calls on objects that belong to the session (views, filters, leases) are not repeated in any case.
    pub fn resend_after_login(mut self) -> Self {
        self.pending.resend_after_login = true;
        self
    }
}

impl Call<()> {
    /// Sends it in the background, for a destructor, and tells `failed` if that fails. Outside of a runtime it is not sent.
    pub(crate) fn send_and_forget(self, failed: impl FnOnce(Error) + Send + 'static) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            if let Err(error) = self.await {
                failed(error);
            }
        });
    }
}

impl<R: Returned> IntoFuture for Call<R> {
    type Output = Result<R, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (client, request) = self.pending.into_request()?;
            let name = request.method.name;
            let reply = client.execute(&request).await?;
            match reply.read(|reader| R::read(reader, &client)) {
                Ok(Outcome::Returned(value)) => Ok(value),
                Ok(Outcome::Fault(fault)) => {
                    Err(Error::from_fault(format!("calling {name} on {}", request.this), fault))
                }
                Err(e) => Err(Error::protocol(format!("the answer to {name}"), e)),
            }
        })
    }
}

/// What a method can return.
pub trait Returned: Sized + Send + 'static {
    /// Reads the children of the response element.
    ///
    /// # Errors
    /// When the XML is broken or a value that has to be there is missing.
    fn read(reader: &mut Reader<'_>, client: &Client) -> Result<Self, XmlError>;
}

impl Returned for () {
    fn read(reader: &mut Reader<'_>, _: &Client) -> Result<Self, XmlError> {
        while reader.next_child()?.is_some() {
            reader.skip()?;
        }
        Ok(())
    }
}

impl<T: Element> Returned for T {
    fn read(reader: &mut Reader<'_>, client: &Client) -> Result<Self, XmlError> {
        match Option::<T>::read(reader, client)? {
            Some(value) => Ok(value),
            None => Err(reader.unexpected("an answer without <returnval>".into())),
        }
    }
}

impl<T: Element> Returned for Option<T> {
    fn read(reader: &mut Reader<'_>, client: &Client) -> Result<Self, XmlError> {
        let mut values = Vec::<T>::read(reader, client)?;
        Ok(values.pop())
    }
}

impl<T: Element> Returned for Vec<T> {
    fn read(reader: &mut Reader<'_>, _: &Client) -> Result<Self, XmlError> {
        let mut values = Vec::new();
        while let Some(start) = reader.next_child()? {
            if start.local() == "returnval" {
                values.push(T::decode(reader, &start)?);
            } else {
                reader.skip()?;
            }
        }
        Ok(values)
    }
}

impl<R: 'static> Returned for Task<R> {
    fn read(reader: &mut Reader<'_>, client: &Client) -> Result<Self, XmlError> {
        MoRef::read(reader, client).map(|moref| Task::new(client.clone(), moref))
    }
}
