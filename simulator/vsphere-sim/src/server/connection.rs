//! What a fault rule does to a connection, and not to an answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// How a connection shall end. Each request carries its connection's as an extension.
#[derive(Debug, Clone, Default)]
pub(super) struct Fate(Arc<Wishes>);

#[derive(Debug, Default)]
struct Wishes {
    reset: AtomicBool,
    no_close_notify: AtomicBool,
}

/// A connection that can end badly.
pub(super) struct Connection {
    stream: TlsStream<TcpStream>,
    fate: Fate,
}

impl Fate {
    /// The peer shall see a reset, and not an end.
    pub(super) fn reset(&self) {
        self.0.reset.store(true, Ordering::Relaxed);
    }

    /// TLS shall not say that the connection ends.
    pub(super) fn skip_close_notify(&self) {
        self.0.no_close_notify.store(true, Ordering::Relaxed);
    }
}

impl Connection {
    pub(super) fn new(stream: TlsStream<TcpStream>, fate: Fate) -> Self {
        Self { stream, fate }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.fate.0.reset.load(Ordering::Relaxed)
            && let Err(error) = self.stream.get_ref().0.set_zero_linger()
        {
            tracing::warn!(%error, "a connection that should be reset is closed");
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fate.0.no_close_notify.load(Ordering::Relaxed) {
            return Pin::new(&mut self.stream).poll_flush(context);
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
