//! The address of a vSphere server.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::uri::PathAndQuery;
use rustls::pki_types::ServerName;

use super::error::TransportError;

const DEFAULT_PATH: &str = "/sdk";

/// Host, port and API path of a vCenter or ESXi.
///
/// Read from `https://vc.example.org/sdk`, or shorter: scheme, port (443) and path (`/sdk`) may be left out. IPv6
/// addresses stand in brackets when a port follows. User names, queries and fragments do not belong here.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    path: String,
    server_name: ServerName<'static>,
    plain: bool,
}

impl Endpoint {
    /// Reads an address whose traffic is *not* encrypted.
    ///
    /// Whoever sees the network sees the password. It is meant for a loopback peer in a test.
    ///
    /// # Errors
    /// As for [`str::parse`]; `https://` is refused.
    pub fn danger_plain_http(text: &str) -> Result<Self, TransportError> {
        Self::read(text, true)
    }

    /// Host name or IP address in lower case, without port or brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port, 1 to 65535.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path of the API, starting with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the traffic is encrypted: always, unless made by [`Endpoint::danger_plain_http`].
    pub fn is_encrypted(&self) -> bool {
        !self.plain
    }

    /// The name that the certificate must carry under `Trust::SystemRoots` and `Trust::Ca`.
    pub(super) fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    /// `host:port`, for error texts.
    pub(super) fn host_and_port(&self) -> String {
        format!("{}:{}", self.bracketed_host(), self.port)
    }

    /// The value of the `Host` header: the port is left out where the scheme implies it.
    pub(crate) fn authority(&self) -> String {
        if self.port == default_port(self.plain) { self.bracketed_host() } else { self.host_and_port() }
    }

    fn bracketed_host(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    fn read(text: &str, plain: bool) -> Result<Self, TransportError> {
        let text = text.trim();
        // Checked before anything else, so that no later message repeats a password.
        if text.contains('@') {
            return Err(TransportError::input(
                "a server address holds no user name or password: give them to the login instead",
            ));
        }
        let rest = without_scheme(text, plain)?;
        if rest.contains(['?', '#']) {
            return Err(TransportError::input(format!(
                "{text:?} is not a server address: leave out everything from the first '?' or '#'"
            )));
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "/"),
        };
        let path = if path == "/" { DEFAULT_PATH } else { path };
        if path.parse::<PathAndQuery>().is_err() {
            return Err(TransportError::input(format!(
                "{text:?}: the path holds characters that must be percent-encoded"
            )));
        }
        let (host, port) = split_port(text, authority)?;
        let port = port.unwrap_or(default_port(plain));
        let host = host.to_ascii_lowercase();
        let server_name = match host.parse::<IpAddr>() {
            Ok(address) => ServerName::IpAddress(address.into()),
            Err(_) => ServerName::try_from(host.clone()).map_err(|source| {
                TransportError::input(format!(
                    "{text:?} names no server: {host:?} is neither an IP address nor a host name (write international \
                     names in their xn-- form)"
                ))
                .with_source(source)
            })?,
        };
        Ok(Endpoint { host, port, path: path.to_owned(), server_name, plain })
    }
}

fn default_port(plain: bool) -> u16 {
    if plain { 80 } else { 443 }
}

fn without_scheme(text: &str, plain: bool) -> Result<&str, TransportError> {
    let Some((scheme, rest)) = text.split_once("://") else { return Ok(text) };
    if scheme.eq_ignore_ascii_case(if plain { "http" } else { "https" }) {
        Ok(rest)
    } else if scheme.eq_ignore_ascii_case("http") {
        Err(TransportError::input(format!(
            "{text:?} is refused: plain HTTP would send the password and the session cookie for everyone to read. Use \
             https://, which every vCenter and ESXi serves"
        )))
    } else {
        Err(TransportError::input(format!(
            "{text:?}: the scheme {scheme:?} does not belong to a vSphere API address"
        )))
    }
}

/// Takes `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address apart.
fn split_port<'a>(text: &str, authority: &'a str) -> Result<(&'a str, Option<u16>), TransportError> {
    let (host, port) = if let Some(after) = authority.strip_prefix('[') {
        let (host, port) = after.split_once(']').unwrap_or((after, "]"));
        if host.parse::<Ipv6Addr>().is_err() || !(port.is_empty() || port.starts_with(':')) {
            return Err(TransportError::input(format!(
                "{text:?}: brackets hold an IPv6 address without zone, as in [2001:db8::1]:443"
            )));
        }
        (host, port.strip_prefix(':'))
    } else if authority.parse::<Ipv6Addr>().is_ok() {
        (authority, None)
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let Some(port) = port else { return Ok((host, None)) };
    match port.parse::<u16>() {
        // `parse` would also take "+443".
        Ok(number) if number != 0 && port.bytes().all(|b| b.is_ascii_digit()) => Ok((host, Some(number))),
        _ => Err(TransportError::input(format!(
            "{text:?}: {port:?} is not a port, which is a number from 1 to 65535"
        ))),
    }
}

impl FromStr for Endpoint {
    type Err = TransportError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read(text, false)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.plain { "http" } else { "https" }, self.authority(), self.path)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}
