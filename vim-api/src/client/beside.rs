//! The services beside the API that are called like it: storage policies and first-class disks.
//!
//! They have addresses of their own, and know the caller by the API's session, whose id travels in the SOAP header. Each
//! sets a cookie of its own under the very name that the session's cookie has (seen of PBM on 6.5), so none of theirs ever
//! gets among ours. Without it sent back, every call would leave one more session there. Until there is one, the session's
//! cookie goes along: a vCenter does not look at it, and govmomi's simulator at nothing else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::Client;
use super::session::{cookie_header, session_cookie};
use crate::call::Request;
use crate::error::Error;
use crate::transport::Response;
use crate::xml::{Service, escape_text};

#[derive(Default)]
pub(super) struct Beside {
    pbm: Place,
    vslm: Place,
}

/// What is known of one service.
#[derive(Default)]
struct Place {
    /// The first of its paths that was not found to be missing.
    path: AtomicUsize,
    /// Its own cookie, and the generation of the API's session that it was given for.
    cookie: Mutex<Option<(u64, SecretString)>>,
}

impl Beside {
    fn place(&self, service: Service) -> &Place {
        match service {
            Service::Vslm => &self.vslm,
            _ => &self.pbm,
        }
    }
}

impl Beside {
    /// Lets the session that the service has of its own go. Whether there was one.
    pub(super) fn forget(&self, service: Service) -> bool {
        self.place(service).cookie.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

impl Place {
    fn cookie(&self, generation: u64) -> Option<HeaderValue> {
        let cookie = self.cookie.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, value) = cookie.as_ref().filter(|(given, _)| *given == generation)?;
        cookie_header(value)
    }

    fn take_cookie(&self, generation: u64, headers: &HeaderMap) {
        if let Some(value) = session_cookie(headers) {
            *self.cookie.lock().unwrap_or_else(PoisonError::into_inner) = Some((generation, value));
        }
    }
}

/// Where a service may be: vCenters of all versions are said to have the first, vcsim has only the second.
fn paths(service: Service) -> &'static [&'static str] {
    match service {
        Service::Vslm => &["/vslm/sdk"],
        _ => &["/pbm/sdk", "/pbm"],
    }
}

impl Client {
    /// What a call to a service beside has in its SOAP header.
    pub(super) fn session_header(&self) -> Zeroizing<String> {
        let mut header = Zeroizing::new(String::new());
        if let Some(cookie) = self.session_cookie() {
            header.push_str("<vcSessionCookie>");
            escape_text(cookie.expose_secret().trim_matches('"'), &mut header);
            header.push_str("</vcSessionCookie>");
        }
        header
    }

    pub(super) async fn post_to_service(&self, request: &Request, body: &Bytes) -> Result<Response, Error> {
        let service = request.method.service;
        let place = self.0.beside.place(service);
        let generation = self.session_generation();
        let paths = paths(service);
        let known = place.path.load(Ordering::Relaxed);
        for (index, path) in paths.iter().enumerate().skip(known) {
            let cookie = place.cookie(generation).or_else(|| self.0.session.cookie_header());
            let response = self.post(request, path, cookie, body.clone()).await?;
            place.take_cookie(generation, &response.headers);
            if response.status != 404 {
                place.path.store(index, Ordering::Relaxed);
                return Ok(response);
            }
        }
        let what = match service {
            Service::Vslm => "service of first-class disks (VSLM, since 6.7.2)",
            _ => "service of storage policies (PBM)",
        };
        Err(Error::not_found(format!(
            "calling {} on {}: {} has no {what}: only a vCenter has one, and a proxy or firewall must let {} pass",
            request.method.name,
            request.this,
            self.host(),
            paths.join(" or "),
        )))
    }
}
