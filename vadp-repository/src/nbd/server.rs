//! Listening, and the life of a connection.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::export::Export;
use super::negotiate::{Exports, Outcome, Security, greet, negotiate};
use super::tls::Tls;
use super::{Observer, session};
use crate::error::{Error, ErrorKind, Result};

/// Clients that wait to be let in by the system.
const BACKLOG: u32 = 64;
/// Before the next try when the system could not take a connection, as it has no file handles left.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(100);
/// The protocol allows no longer names.
const MAX_NAME: usize = 4096;

/// A server of exports. See the [module](super).
pub struct NbdServer {
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
}

/// What [`NbdServer::builder`] begins.
#[must_use]
pub struct NbdServerBuilder {
    exports: Exports,
    tls: Option<Tls>,
    plain_tcp: bool,
    max_connections: usize,
    handshake: Duration,
    observer: Observer,
}

struct Shared {
    exports: Exports,
    tls: Option<Tls>,
    plain_tcp: bool,
    connections: Arc<Semaphore>,
    handshake: Duration,
    observer: Observer,
}

enum Listener {
    Tcp(TcpListener, SocketAddr),
    #[cfg(unix)]
    Unix(tokio::net::UnixListener, SocketFile),
}

/// The name of a socket, which goes with it.
struct SocketFile(PathBuf);

impl NbdServer {
    /// Begins a server without exports, TLS or listeners.
    pub fn builder() -> NbdServerBuilder {
        NbdServerBuilder {
            exports: Vec::new(),
            tls: None,
            plain_tcp: false,
            max_connections: 64,
            handshake: Duration::from_secs(10),
            observer: Arc::new(|export, error| {
                tracing::warn!(%export, error = %with_sources(error), "an NBD request failed");
            }),
        }
    }

    /// Listens on a socket in the file system, for whoever runs as the same user. The file goes away with the server. One that a dead
    /// server has left is replaced.
    ///
    /// # Errors
    /// [`AlreadyExists`](ErrorKind::AlreadyExists) when another server listens there, or the path is something else than a socket;
    /// [`InvalidInput`](ErrorKind::InvalidInput) when the socket can't be made.
    #[cfg(unix)]
    pub fn bind_unix(&mut self, path: impl AsRef<Path>) -> Result<()> {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt};
        let path = path.as_ref();
        let failed = |source| {
            let message = format!("cannot listen on {}: check folder and permissions", path.display());
            Error::new(ErrorKind::InvalidInput, message).with_source(source)
        };
        if let Ok(metadata) = path.symlink_metadata() {
            let is_left = metadata.file_type().is_socket()
                && std::os::unix::net::UnixStream::connect(path)
                    .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
            if !is_left {
                let message = format!("{} exists and is in use: choose another path", path.display());
                return Err(Error::new(ErrorKind::AlreadyExists, message));
            }
            std::fs::remove_file(path).map_err(failed)?;
        }
        let socket = tokio::net::UnixSocket::new_stream().map_err(failed)?;
        socket.bind(path).map_err(failed)?;
        let file = SocketFile(path.to_owned());
        // Before anybody can connect.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        self.listeners.push(Listener::Unix(socket.listen(BACKLOG).map_err(failed)?, file));
        Ok(())
    }

    /// Listens on an address, port 0 for any; gives the one that it got.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) when the address cannot be had, and for one that other machines reach while there is no
    /// [TLS](NbdServerBuilder::tls).
    pub fn bind_tcp(&mut self, address: SocketAddr) -> Result<SocketAddr> {
        let is_safe = self.shared.tls.is_some() || address.ip().is_loopback() || self.shared.plain_tcp;
        if !is_safe {
            return Err(Error::invalid(format!(
                "on {address} everybody could read the disk: give the server a certificate, or listen on a Unix socket"
            )));
        }
        let listen = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            socket.set_reuseaddr(true)?;
            // Handed on to its connections: those of machines that are gone end some day.
            socket.set_keepalive(true)?;
            socket.bind(address)?;
            let listener = socket.listen(BACKLOG)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = listen().map_err(|source: io::Error| {
            Error::invalid(format!("cannot listen on {address}")).with_source(source)
        })?;
        self.listeners.push(Listener::Tcp(listener, address));
        Ok(address)
    }

    /// The URIs under which clients reach each export, as libnbd, nbdkit and qemu take them.
    pub fn uris(&self) -> Vec<String> {
        let secure = if self.shared.tls.is_some() { "nbds" } else { "nbd" };
        let names = self.shared.exports.iter().map(|(name, _)| escaped(name.as_bytes(), b"/"));
        let uri = |name: &String, listener: &Listener| match listener {
            Listener::Tcp(_, address) => format!("{secure}://{address}/{name}"),
            #[cfg(unix)]
            Listener::Unix(_, file) => {
                let path = escaped(file.0.as_os_str().as_encoded_bytes(), b"/");
                format!("{secure}+unix:///{name}?socket={path}")
            }
        };
        names.flat_map(|name| self.listeners.iter().map(move |listener| uri(&name, listener))).collect()
    }

    /// Serves until `shutdown` is done. Then nobody is let in any more, what clients have asked for is answered (for five seconds at most),
    /// and connections are closed. Dropped, it cuts all connections at once.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let loops = self.listeners.into_iter().map(|listener| {
            let (shared, stopped) = (Arc::clone(&self.shared), stopped.clone());
            async move { listener.run(shared, stopped).await }
        });
        let end = async {
            shutdown.await;
            // Nobody listens when there was no listener.
            let _ = stop.send(true);
        };
        futures::future::join(futures::future::join_all(loops), end).await;
    }

    /// Serves one client that is connected already, by whatever has two directions: a socket that was handed over, a pipe. Returns when the
    /// connection has ended. The bound on connections does not count it.
    pub async fn serve_stream<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S) {
        // Alive until the end: nobody stops this connection.
        let (_stop, mut stopped) = watch::channel(false);
        self.shared.connection(stream, &mut stopped).await;
    }
}

impl NbdServerBuilder {
    /// Adds an export. Clients that name none get the only one there is.
    pub fn export(mut self, name: impl Into<String>, export: Export) -> Self {
        self.exports.push((name.into().into(), Arc::new(export)));
        self
    }

    /// Talks over TLS only.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Allows addresses that other machines reach without TLS: whoever reaches them reads the disks, and so does everybody on the way. For
    /// networks that are protected by other means.
    pub fn danger_plain_tcp(mut self) -> Self {
        self.plain_tcp = true;
        self
    }

    /// Most connections at a time, 64 by default. Further ones are closed at once. Each may take up to 32 MiB for requests that are being
    /// answered, and keep four times that in chunks of which a part is being sent.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// Time that a client has to choose an export, TLS included; 10 seconds by default.
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.handshake = time;
        self
    }

    /// Tells of requests that the repository or the overlay failed, by the name of the export; the client gets `EIO` or `ENOSPC`. By
    /// default they are logged. It is called on a thread of the runtime, and must not block.
    pub fn on_error(mut self, observer: impl Fn(&str, &Error) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// The server, which does not listen yet.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) without an export, for two with the same name, and for a name above 4096 bytes.
    pub fn build(self) -> Result<NbdServer> {
        let Self { exports, tls, plain_tcp, max_connections, handshake, observer } = self;
        let names: std::collections::BTreeSet<_> = exports.iter().map(|(name, _)| name).collect();
        if names.len() != exports.len() {
            return Err(Error::invalid("two exports have the same name"));
        }
        if exports.is_empty() || names.iter().any(|name| name.len() > MAX_NAME) {
            return Err(Error::invalid("a server needs an export, and its name at most 4096 bytes"));
        }
        let connections = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
        let shared = Arc::new(Shared { exports, tls, plain_tcp, connections, handshake, observer });
        Ok(NbdServer { shared, listeners: Vec::new() })
    }
}

impl Listener {
    async fn run(self, shared: Arc<Shared>, stopped: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        let mut stop = stopped.clone();
        loop {
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = self.accept() => accepted,
            };
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot take an NBD connection");
                    tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
                    continue;
                }
            };
            let Ok(permit) = Arc::clone(&shared.connections).try_acquire_owned() else {
                tracing::warn!("an NBD client was turned away: all connections are taken");
                continue;
            };
            let (shared, mut stopped) = (Arc::clone(&shared), stopped.clone());
            connections.spawn(async move {
                match stream {
                    Stream::Tcp(stream) => shared.connection(stream, &mut stopped).await,
                    #[cfg(unix)]
                    Stream::Unix(stream) => shared.connection(stream, &mut stopped).await,
                }
                drop(permit);
            });
        }
        // The socket is closed first, so that nobody waits in its queue.
        drop(self);
        while connections.join_next().await.is_some() {}
    }

    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(listener, _) => Ok(Stream::Unix(listener.accept().await?.0)),
        }
    }
}

enum Stream {
    Tcp(tokio::net::TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Shared {
    async fn connection<S>(&self, stream: S, stopped: &mut watch::Receiver<bool>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match self.talk(stream, stopped).await {
            Ok(()) => {}
            // Clients end a connection in many ways.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => tracing::info!(%error, "an NBD connection ended"),
        }
    }

    async fn talk<S>(&self, mut stream: S, stopped: &mut watch::Receiver<bool>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let deadline = Instant::now() + self.handshake;
        let security = if self.tls.is_some() { Security::Required } else { Security::Off };
        let greeted = async {
            let no_zeroes = greet(&mut stream).await?;
            Ok((no_zeroes, negotiate(&mut stream, &self.exports, security, no_zeroes).await?))
        };
        let (no_zeroes, outcome) = until(deadline, stopped, greeted).await?;
        match (outcome, &self.tls) {
            (Outcome::Transmission(mode), _) => session::run(stream, mode, self.observer(), stopped).await,
            (Outcome::StartTls, Some(tls)) => {
                let secured = async {
                    let mut stream = tls.acceptor.accept(stream).await?;
                    let outcome = negotiate(&mut stream, &self.exports, Security::On, no_zeroes).await?;
                    Ok((stream, outcome))
                };
                match until(deadline, stopped, secured).await? {
                    (stream, Outcome::Transmission(mode)) => {
                        session::run(stream, mode, self.observer(), stopped).await
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn observer(&self) -> Observer {
        Arc::clone(&self.observer)
    }
}

/// Has the handshake done by the deadline, and while the server goes on.
async fn until<T>(
    deadline: Instant,
    stopped: &mut watch::Receiver<bool>,
    handshake: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => Err(io::ErrorKind::ConnectionAborted.into()),
        done = timeout_at(deadline, handshake) => done?,
    }
}

impl fmt::Debug for NbdServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NbdServer").field("uris", &self.uris()).finish_non_exhaustive()
    }
}

impl fmt::Debug for NbdServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NbdServerBuilder").field("exports", &self.exports).finish_non_exhaustive()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // There is nobody to tell; the next server replaces it.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Escapes all but letters, digits, `-._~` and `also`.
fn escaped(bytes: &[u8], also: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte) {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// An error with what caused it, in one line.
fn with_sources(error: &Error) -> String {
    let mut text = error.to_string();
    let mut next = std::error::Error::source(error);
    while let Some(error) = next {
        text.push_str(&format!(": {error}"));
        next = error.source();
    }
    text
}
