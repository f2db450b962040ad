//! The REST services of a vCenter: tags, and whatever else has no SOAP.
//!
//! ```no_run
//! # async fn example(vc: vim_api::Client, vm: vim_api::MoRef) -> Result<(), vim_api::Error> {
//! let tags = vc.rest().tags();
//! let saved = tags.read_assignments(&[vm.clone()]).await?;
//! for (_, assignments) in &saved {
//!     for failure in tags.restore(&vm, assignments, false).await {
//!         println!("{failure}");
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! From 8.0.3 on they take the session that the client has. Before, they want one of their own, which is made with what the
//! client was logged in with, renewed like the API's, and ended by [`Client::logout`] and [`Client::close`].

mod answer;
mod tags;

use bytes::Bytes;
use http::Method;
use secrecy::SecretString;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use zeroize::Zeroizing;

use crate::client::{Client, RestRequest};
use crate::error::Error;

pub use answer::RestFault;
pub(crate) use answer::{accept, read};
pub use tags::{Cardinality, Category, CategoryId, NewCategory, Tag, TagAssignment, TagId, Tags};

/// The REST services of a client's vCenter. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Rest(Client);

/// How a server wants REST: newer ones have `/api`, older ones only `/rest`, which wraps and names things otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestStyle {
    /// Below `/api`, since 7.0.2.
    Api,
    /// Below `/rest`: each answer is wrapped (`{"value": ..}`, which is taken off), and actions are `~action`.
    Rest,
}

impl RestStyle {
    /// `/api` or `/rest`.
    pub fn base(self) -> &'static str {
        match self {
            Self::Api => "/api",
            Self::Rest => "/rest",
        }
    }

    pub(crate) fn session_path(self) -> &'static str {
        match self {
            Self::Api => "session",
            Self::Rest => "com/vmware/cis/session",
        }
    }
}

impl Client {
    /// The REST services. Nothing is sent until one is used.
    pub fn rest(&self) -> Rest {
        Rest(self.clone())
    }
}

impl Rest {
    /// Tags and their categories.
    pub fn tags(&self) -> Tags {
        Tags::new(self.clone())
    }

    /// How this server wants REST, which decides on paths and bodies. Begins the session if there is none.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn style(&self) -> Result<RestStyle, Error> {
        Ok(self.0.rest_session(None).await?.style)
    }

    /// Begins a session of the REST services with a password: for clients of a server before 8.0.3 that were logged in by
    /// ticket, cookie or certificate. It is renewed with the same password, until the client logs in or out.
    ///
    /// # Errors
    /// Fault `InvalidLogin` when user or password is wrong; otherwise as for [`get`](Self::get).
    pub async fn login(&self, user: &str, password: &SecretString) -> Result<(), Error> {
        self.0.rest_login(user, password).await
    }

    /// Ends a session of the REST services that is not the API's. [`Client::logout`] and [`Client::close`] do it, too. One
    /// that can't be ended is left to the server, which drops it after a while, and told to the log.
    pub async fn logout(&self) {
        self.0.end_rest_session().await;
    }

    /// Reads `path`, which is below [`RestStyle::base`], without a slash before it, and percent-encoded.
    ///
    /// # Errors
    /// - kind `InvalidInput` for a path that can't be, and on a host alone, which has no REST services
    /// - [`Error::is_not_found`] when there is no such object or service
    /// - [`Error::is_session_lost`] when there is no session and none can be had
    /// - fault `InvalidLogin`, or kind `Token`, when what the client was logged in with opens no session there
    /// - [`Error::is_retryable`] when the service is busy or starting
    /// - kind `Rest` when the request is refused otherwise: see [`Error::rest_fault`]
    /// - kind `NotVsphere` for an answer that is no JSON, `Protocol` for one that is no `T`
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.call(Method::GET, path, &(), true).await
    }

    /// Posts `body` as JSON, or nothing where that is `&()`. It is sent once: where the session turns out to be lost, it is
    /// renewed, and the error says that the request was not carried out.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + ?Sized),
    ) -> Result<T, Error> {
        self.call(Method::POST, path, body, false).await
    }

    /// As [`post`](Self::post), for requests that merely read, such as `?action=list-attached-tags`: they may be sent again.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn query<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + ?Sized),
    ) -> Result<T, Error> {
        self.call(Method::POST, path, body, true).await
    }

    /// Deletes what `path` names. It is sent once, as [`post`](Self::post) is.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.call(Method::DELETE, path, &(), false).await.map(|IgnoredAny| ())
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &(impl Serialize + ?Sized),
        reads: bool,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body)
            .map_err(|_| Error::invalid_input(format!("what was to be sent with {method} is no JSON")))?;
        // `()` is written so.
        let body = if body == b"null" { Vec::new() } else { body };
        // It may hold a password.
        let body = Bytes::from_owner(Zeroizing::new(body));
        let request = RestRequest { method, path: checked(path)?.to_owned(), body, reads };
        read(&self.0.rest_send(&request).await?)
    }
}

/// A path that stays below the base.
fn checked(path: &str) -> Result<&str, Error> {
    let (steps, _) = path.split_once('?').unwrap_or((path, ""));
    let stays =
        |step: &str| !matches!(step.replace("%2e", ".").replace("%2E", ".").as_str(), "" | "." | "..");
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '#' | '\\');
    if steps.split('/').all(stays) && path.chars().all(plain) {
        return Ok(path);
    }
    Err(Error::invalid_input(format!(
        "{steps:?} is not a path below /api or /rest, as in \"vcenter/datacenter\": it begins with no slash, has no empty part \
         and none of dots, and everything but ASCII is percent-encoded"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_its_base() {
        for good in ["vcenter/vm", "cis/tagging/tag/urn%3Avmomi%3A1?action=list&filter=a..b"] {
            assert!(checked(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/api/session",
            "//other.example/x",
            "a/../../sdk",
            "a/%2E./b",
            "a//b",
            "a b",
            "a\r\nHost: x",
            "a#b",
            "a\\b",
            "ä",
            "https://other.example/",
        ] {
            assert_eq!(checked(bad).map_err(|e| e.kind()), Err(crate::ErrorKind::InvalidInput), "{bad}");
        }
    }
}
