//! A tunnel through an HTTP proxy, made with CONNECT (RFC 9110, 9.3.6).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

use super::endpoint::Endpoint;
use super::error::{TransportError, TransportErrorKind as Kind};

/// What a vCenter's own tunnel calls the service that takes client certificates.
const SDK_TUNNEL: &str = "sdkTunnel:8089";

/// Largest head of a proxy's answer, in bytes.
const MAX_HEAD: usize = 16 << 10;

/// An HTTP proxy that is spoken to in the clear; what passes its tunnel is encrypted from end to end.
#[derive(Clone)]
pub struct Proxy {
    endpoint: Endpoint,
    /// `user:password` in base64.
    credentials: Option<SecretString>,
    /// What to ask a tunnel to, where it is not the server by its own name.
    target: Option<&'static str>,
}

impl Proxy {
    /// Reads `http://host:port`; the scheme may be left out, the port is 80 unless told.
    ///
    /// # Errors
    /// Kind `Input`: what is no address, another scheme, or an address with a user name in it.
    pub fn new(url: &str) -> Result<Self, TransportError> {
        if url.contains('@') {
            return Err(TransportError::input(
                "a proxy's address holds no user name or password: give them as proxy credentials instead",
            ));
        }
        let endpoint = Endpoint::danger_plain_http(url).map_err(|source| {
            TransportError::input(format!(
                "{url:?} is not a proxy's address, as in http://proxy.example.org:3128"
            ))
            .with_source(source)
        })?;
        Ok(Proxy { endpoint, credentials: None, target: None })
    }

    /// The tunnel that a vCenter keeps on its plain HTTP port for clients that show a certificate.
    ///
    /// # Errors
    /// Kind `Input`: what is no host name or address.
    pub fn sdk_tunnel(host: &str, port: u16) -> Result<Self, TransportError> {
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        Ok(Proxy { target: Some(SDK_TUNNEL), ..Proxy::new(&format!("http://{host}:{port}"))? })
    }

    /// The same proxy with a user's name and password (Basic, RFC 7617). The proxy receives them unencrypted.
    ///
    /// # Errors
    /// Kind `Input`: a user name with a colon, which Basic cannot carry.
    pub fn with_credentials(mut self, user: &str, password: &SecretString) -> Result<Self, TransportError> {
        if user.contains(':') {
            return Err(TransportError::input(
                "the proxy's user name holds a colon, which Basic cannot carry",
            ));
        }
        let pair = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
        self.credentials = Some(SecretString::from(STANDARD.encode(pair.as_bytes())));
        Ok(self)
    }

    /// Whether it leads to one server, whichever is asked for.
    pub(super) fn is_sdk_tunnel(&self) -> bool {
        self.target.is_some()
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// How errors name it.
    pub(super) fn label(&self) -> String {
        format!("proxy {}", self.endpoint.host_and_port())
    }

    /// Asks for a tunnel to `target`, `host:port`. Afterwards the stream belongs to the target.
    pub(super) async fn tunnel(&self, stream: &mut TcpStream, target: &str) -> Result<(), TransportError> {
        let target = self.target.unwrap_or(target);
        let lost =
            |source| self.error("the connection was lost while the tunnel was made").with_source(source);
        let request = match &self.credentials {
            None => format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n"),
            Some(credentials) => format!(
                "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Basic {}\r\n\r\n",
                credentials.expose_secret()
            ),
        };
        stream.write_all(Zeroizing::new(request).as_bytes()).await.map_err(lost)?;

        let mut head = Vec::new();
        let end = loop {
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if head.len() >= MAX_HEAD {
                let message =
                    format!("the answer's headers are larger than {MAX_HEAD} bytes: is this a proxy?");
                return Err(self.error(message));
            }
            let mut piece = [0; 1024];
            match stream.read(&mut piece).await.map_err(lost)? {
                0 => return Err(self.error("the connection was closed before the proxy answered")),
                count => head.extend_from_slice(piece.get(..count).unwrap_or_default()),
            }
        };
        let status = status(&head)
            .ok_or_else(|| self.error("the answer is not HTTP/1: is this the port of an HTTP proxy?"))?;
        match status {
            200..=299 if head.len() == end => Ok(()),
            // The client of TLS speaks first, so these bytes cannot come from the server.
            200..=299 => Err(self.error("the proxy sent bytes of its own into the tunnel")),
            407 if self.credentials.is_some() => {
                Err(self.error("407: the proxy refuses the user name or password given for it"))
            }
            407 => Err(self.error("407: the proxy asks for a user name and password: give proxy credentials")),
            _ => Err(self.error(format!(
                "{status}: the proxy refuses a tunnel to {target}: its rules must allow CONNECT to that host and port"
            ))),
        }
    }

    fn error(&self, message: impl Into<std::borrow::Cow<'static, str>>) -> TransportError {
        TransportError::new(Kind::Proxy, &self.label(), message)
    }
}

/// The status of `HTTP/1.x NNN reason`.
fn status(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?.get(1..)?.strip_prefix(b" ")?;
    let digits = rest.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
