//! HTTP for `object_store`, on hyper: the library's own way would bring in reqwest, which is three times as much.

use std::error::Error as StdError;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse,
    HttpResponseBody, HttpService,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::{Error, ErrorKind, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes connections for one store.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client<HttpsConnector<TcpConnector>, HttpRequestBody>,
    timeout: Duration,
    creates_multipart: bool,
}

impl Http {
    /// `ca_pem` are certificates to trust besides the system's. `timeout` is for a request until its answer begins, and then for
    /// each part of the answer.
    pub(super) fn new(ca_pem: Option<&[u8]>, timeout: Duration, allow_plain: bool) -> Result<Self> {
        let tls = tls(ca_pem)?;
        let mut tcp = TcpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(IDLE_TIMEOUT));
        let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
        let builder = match allow_plain {
            true => builder.https_or_http(),
            false => builder.https_only(),
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timer(TokioTimer::new())
            .build(builder.enable_http1().wrap_connector(tcp));
        Ok(Self { client, timeout, creates_multipart: false })
    }

    /// The same, where completing a multipart upload fails when the object exists. The library does that for copies only.
    #[cfg(feature = "s3")]
    pub(super) fn creating_multipart(self) -> Self {
        Self { creates_multipart: true, ..self }
    }
}

impl HttpConnector for Http {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Http {
    // Written as the library's macro would, for one function.
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> Pin<Box<dyn Future<Output = Answer> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.exchange(request))
    }
}

type Answer = std::result::Result<HttpResponse, HttpError>;

impl Http {
    async fn exchange(&self, mut request: HttpRequest) -> Answer {
        let query = request.uri().query().unwrap_or_default();
        let completes = request.method() == http::Method::POST
            && query.split('&').any(|part| part.starts_with("uploadId="));
        if self.creates_multipart && completes {
            // Not among the signed headers, which is as S3 wants it: only `host` and `x-amz-*` have to be.
            request.headers_mut().insert(http::header::IF_NONE_MATCH, http::HeaderValue::from_static("*"));
        }
        let answer = tokio::time::timeout(self.timeout, self.client.request(request)).await;
        let answer = answer.map_err(timed_out)?.map_err(|error| {
            let kind = match error.is_connect() {
                true => HttpErrorKind::Connect,
                false => kind_of(&error),
            };
            HttpError::new(kind, error)
        })?;
        let (parts, body) = answer.into_parts();
        let body = body.map_err(|error| HttpError::new(kind_of(&error), error));
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(Timed::new(body, self.timeout))))
    }
}

fn timed_out(elapsed: tokio::time::error::Elapsed) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, elapsed)
}

/// Whether a request may be sent again depends on how it failed.
fn kind_of(error: &(dyn StdError + 'static)) -> HttpErrorKind {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<hyper::Error>()
            && (error.is_closed()
                || error.is_canceled()
                || error.is_incomplete_message()
                || error.is_body_write_aborted())
        {
            return HttpErrorKind::Interrupted;
        }
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            return match error.kind() {
                std::io::ErrorKind::TimedOut => HttpErrorKind::Timeout,
                _ => HttpErrorKind::Interrupted,
            };
        }
        next = error.source();
    }
    HttpErrorKind::Unknown
}

fn tls(ca_pem: Option<&[u8]>) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    // What of the system's certificates cannot be read is missing later on, in a message that names the certificate.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in ca_pem.into_iter().flat_map(CertificateDer::pem_slice_iter) {
        let bad = |source: Box<dyn StdError + Send + Sync>| {
            Error::new(ErrorKind::InvalidInput, "the certificates to trust are not in PEM format")
                .with_source(source)
        };
        let certificate = certificate.map_err(|error| bad(error.to_string().into()))?;
        roots.add(certificate).map_err(|error| bad(Box::new(error)))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|source| {
        Error::new(ErrorKind::Internal, "TLS knows no protocol version").with_source(source)
    })?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A body whose every part has to come in time.
struct Timed<B> {
    body: Pin<Box<B>>,
    timeout: Duration,
    sleep: Pin<Box<tokio::time::Sleep>>,
}

impl<B> Timed<B> {
    fn new(body: B, timeout: Duration) -> Self {
        Self { body: Box::pin(body), timeout, sleep: Box::pin(tokio::time::sleep(timeout)) }
    }
}

impl<B: hyper::body::Body<Data = bytes::Bytes, Error = HttpError>> hyper::body::Body for Timed<B> {
    type Data = bytes::Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::result::Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        use std::task::Poll;
        if let Poll::Ready(frame) = self.body.as_mut().poll_frame(context) {
            let next = tokio::time::Instant::now() + self.timeout;
            self.sleep.as_mut().reset(next);
            return Poll::Ready(frame);
        }
        match self.sleep.as_mut().poll(context) {
            Poll::Ready(()) => {
                let late = std::io::Error::new(std::io::ErrorKind::TimedOut, "the answer stopped half-way");
                Poll::Ready(Some(Err(HttpError::new(HttpErrorKind::Timeout, late))))
            }
            Poll::Pending => Poll::Pending,
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
