//! From an address to a connection that speaks HTTP.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::endpoint::Endpoint;
use super::error::{TransportError, TransportErrorKind as Kind};
use super::limits::Limits;
use super::proxy::Proxy;
use super::thumbprint::PeerThumbprints;
use super::trust::{self, TlsSettings};
use super::upload::Body;
use super::verifier::Refusal;

/// Makes connections to one server.
pub(super) struct Connector {
    endpoint: Endpoint,
    host: String,
    proxy: Option<Proxy>,
    tls: Option<TlsConnector>,
    http: http1::Builder,
    connect_timeout: Duration,
    seen: Mutex<Option<PeerThumbprints>>,
}

impl Connector {
    pub(super) fn new(
        endpoint: Endpoint,
        proxy: Option<Proxy>,
        tls: &TlsSettings,
        limits: &Limits,
    ) -> Result<Self, TransportError> {
        let tls = match endpoint.is_encrypted() {
            true => Some(TlsConnector::from(Arc::new(trust::client_config(tls)?))),
            false => None,
        };
        let mut http = http1::Builder::new();
        // The buffer must be able to hold the largest head; hyper refuses a buffer below 8 KiB.
        http.max_header_size(limits.max_header_bytes)
            .max_buf_size(limits.max_header_bytes.clamp(512 << 10, 16 << 20));
        Ok(Connector {
            host: endpoint.host_and_port(),
            endpoint,
            proxy,
            tls,
            http,
            connect_timeout: limits.connect_timeout,
            seen: Mutex::new(None),
        })
    }

    /// Name lookup, TCP, the proxy's tunnel, TLS and the HTTP state machine, all within the connect timeout.
    pub(super) async fn connect(&self) -> Result<Connection, TransportError> {
        let started = Instant::now();
        self.establish(started).await.map_err(TransportError::while_connecting)
    }

    /// Thumbprints of the certificate seen in the last handshake, accepted or not.
    pub(super) fn seen(&self) -> Option<PeerThumbprints> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn establish(&self, started: Instant) -> Result<Connection, TransportError> {
        let stream = match &self.proxy {
            None => self.tcp(&self.endpoint, &self.host, started).await?,
            Some(proxy) => {
                let mut stream = self.tcp(proxy.endpoint(), &proxy.label(), started).await?;
                timeout(self.left(started), proxy.tunnel(&mut stream, &self.host)).await.map_err(
                    |_| {
                        let what = format!("the tunnel to {} was not opened", self.host);
                        TransportError::timeout(&proxy.label(), &what, self.connect_timeout)
                    },
                )??;
                stream
            }
        };
        let Some(tls) = &self.tls else { return self.speak_http(stream).await };
        let handshake = tls.connect(self.endpoint.server_name().clone(), stream);
        let stream = match timeout(self.left(started), handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.handshake_error(error)),
            Err(_) => {
                return Err(self.timed_out("the port accepts connections, but the TLS handshake did not end"));
            }
        };
        if let Some(leaf) = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()) {
            self.remember(PeerThumbprints::of(leaf));
        }
        self.speak_http(stream).await
    }

    /// A TCP connection to the first hop: the server, or the proxy before it.
    async fn tcp(&self, hop: &Endpoint, name: &str, started: Instant) -> Result<TcpStream, TransportError> {
        let timed_out = |what: &str| TransportError::timeout(name, what, self.connect_timeout);
        let lookup = tokio::net::lookup_host((hop.host(), hop.port()));
        let addresses: Vec<SocketAddr> = timeout(self.left(started), lookup)
            .await
            .map_err(|_| timed_out("the host name was not resolved"))?
            .map_err(|source| {
                let message = "the host name cannot be resolved: check its spelling and this machine's DNS";
                TransportError::new(Kind::Dns, name, message).with_source(source)
            })?
            .collect();
        let mut last = TransportError::new(Kind::Dns, name, "the host name has no address");
        for (index, address) in addresses.iter().enumerate() {
            // An address that swallows packets must leave time for the ones after it.
            let share = self.left(started) / u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            last = match timeout(share, open(*address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(source)) => tcp_error(name, *address, source),
                Err(_) => {
                    timed_out("no TCP connection came about (check the address, and firewalls on the way)")
                }
            };
        }
        Err(last)
    }

    async fn speak_http<S>(&self, stream: S) -> Result<Connection, TransportError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let received = Arc::new(AtomicU64::new(0));
        let counted = Counted { stream, received: received.clone() };
        let (sender, driver) = self.http.handshake(TokioIo::new(counted)).await.map_err(|source| {
            self.error(Kind::Protocol, "HTTP could not be started on the connection").with_source(source)
        })?;
        let host = self.host.clone();
        // The driver's error also reaches the request or body in flight, where it is reported; here it only concerns an
        // idle connection.
        let driver = tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::trace!(%host, %error, "connection ended");
            }
        });
        Ok(Connection { sender, received, busy: false, driver: driver.abort_handle() })
    }

    fn left(&self, started: Instant) -> Duration {
        self.connect_timeout.saturating_sub(started.elapsed())
    }

    fn remember(&self, seen: PeerThumbprints) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    fn error(&self, kind: Kind, message: &'static str) -> TransportError {
        TransportError::new(kind, &self.host, message)
    }

    fn timed_out(&self, what: &str) -> TransportError {
        TransportError::timeout(&self.host, what, self.connect_timeout)
    }

    fn handshake_error(&self, source: io::Error) -> TransportError {
        let Some(error) = rustls_error(&source) else {
            return self
                .error(
                    Kind::Tls,
                    "the server closed the connection in the middle of the TLS handshake: is this the HTTPS port of a \
                     vCenter or ESXi?",
                )
                .with_source(source);
        };
        if let Some(refusal) = Refusal::find(error) {
            self.remember(refusal.presented());
            let refused = TransportError::new(Kind::Certificate, &self.host, refusal.to_string())
                .with_presented(refusal.presented());
            return match refusal.reason() {
                Some(reason) => refused.with_source(reason),
                None => refused,
            };
        }
        let (kind, message) = match error {
            rustls::Error::InvalidCertificate(_) => {
                (Kind::Certificate, "the server's certificate is unusable")
            }
            rustls::Error::InvalidMessage(_) => (
                Kind::Tls,
                "the server does not speak TLS on this port, so it is not the HTTPS port of a vCenter or ESXi",
            ),
            rustls::Error::AlertReceived(_) => (Kind::Tls, "the server refused the TLS handshake"),
            rustls::Error::PeerIncompatible(_) => (
                Kind::Tls,
                "the server offers neither TLS 1.2 nor 1.3 with a cipher that is still considered safe",
            ),
            _ => (Kind::Tls, "the TLS handshake failed"),
        };
        self.error(kind, message).with_source(source)
    }
}

/// The rustls error inside an I/O error of a TLS stream.
pub(super) fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn tcp_error(name: &str, address: SocketAddr, source: io::Error) -> TransportError {
    let message = match source.kind() {
        io::ErrorKind::ConnectionRefused => {
            format!("{address} refuses connections: nothing listens on this port, or a firewall rejects it")
        }
        _ => format!("no connection to {address}"),
    };
    TransportError::new(Kind::Connect, name, message).with_source(source)
}

async fn open(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Requests are small and answered at once: waiting to fill a packet would only add delay.
    socket.set_nodelay(true)?;
    // A firewall that forgets a silent long poll would otherwise go unnoticed.
    socket.set_keepalive(true)?;
    socket.connect(address).await
}

/// One HTTP connection, for one request at a time.
pub(super) struct Connection {
    pub(super) sender: http1::SendRequest<Body>,
    received: Arc<AtomicU64>,
    /// True from the moment a request is handed over until its answer was read to the end.
    pub(super) busy: bool,
    driver: AbortHandle,
}

impl Connection {
    /// Bytes received since the handshake.
    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Whether another request can be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // An idle driver says goodbye and ends by itself once its sender is gone. A busy one would first write the rest of
        // its request, for as long as the server takes to read it.
        if self.busy {
            self.driver.abort();
        }
    }
}

/// Counts what was received: only a connection on which nothing arrived may have a request repeated.
struct Counted<S> {
    stream: S,
    received: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        let count = buf.filled().len().saturating_sub(before);
        self.received.fetch_add(count as u64, Ordering::Relaxed);
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
