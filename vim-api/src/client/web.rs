//! Requests beside the API's SOAP: files, which belong to the session, and services that do not.

use std::sync::PoisonError;

use http::header::COOKIE;
use http::{HeaderMap, Method};

use super::Client;
use crate::error::Error;
use crate::sso::Sts;
use crate::transport::{Answer, HttpTransport, Request, Response, Upload};

impl Client {
    /// Sends a request with the session's cookie and gives the answer as it begins, whatever its status. When the session
    /// is not accepted (401) and can be had again, it is, and the request is sent once more.
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &HeaderMap,
        context: &str,
    ) -> Result<Answer, Error> {
        let generation = self.0.session.generation();
        let send = async || {
            let request = self.web_request(method.clone(), path, headers);
            self.0.transport.open(request).await.map_err(|e| Error::transport(context, e))
        };
        let answer = send().await?;
        if answer.status != 401 {
            return Ok(answer);
        }
        let Ok(true) = self.renew_session(generation).await else { return Ok(answer) };
        // The refused answer holds a place among the connections.
        drop(answer);
        send().await
    }

    /// Sends a stream with the session's cookie. It cannot be sent twice, so that a session that was lost is an answer.
    pub(crate) async fn upload(
        &self,
        method: Method,
        path: &str,
        upload: Upload,
        context: &str,
    ) -> Result<Response, Error> {
        let request = self.web_request(method, path, &HeaderMap::new());
        self.0.transport.upload(request, upload).await.map_err(|e| Error::transport(context, e))
    }

    /// Sends a request to another service, of this server or of one that it named, without the session's cookie.
    pub(crate) async fn post_beside(
        &self,
        transport: &HttpTransport,
        request: Request,
        context: &str,
    ) -> Result<Response, Error> {
        self.0.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        transport.send(request).await.map_err(|e| Error::transport(context, e))
    }

    /// The connection to this server.
    pub(crate) fn transport(&self) -> &HttpTransport {
        &self.0.transport
    }

    /// Where tokens are asked for.
    pub(crate) fn sts(&self) -> Sts {
        let found = self.0.sts.read().unwrap_or_else(PoisonError::into_inner).clone();
        found.unwrap_or_else(|| Sts::usual(&self.0.transport))
    }

    /// From now on, tokens are asked for there.
    pub(crate) fn set_sts(&self, sts: Sts) {
        *self.0.sts.write().unwrap_or_else(PoisonError::into_inner) = Some(sts);
    }

    fn web_request(&self, method: Method, path: &str, headers: &HeaderMap) -> Request {
        let mut request = Request::new(method.clone(), path);
        request.headers = headers.clone();
        request.replayable = method == Method::GET || method == Method::HEAD;
        if let Some(cookie) = self.0.session.cookie_header() {
            request.headers.insert(COOKIE, cookie);
        }
        self.0.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        request
    }
}
