//! Requests and replies, once an export is chosen.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, WriteHalf};
use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::export::{Content, Export};
use super::negotiate::Mode;
use super::parts::Parts;
use super::wire::{ChunkKind, Command, Errno, Request, chunk, flag, simple_reply};
use super::{CONTEXT_ID, IN_FLIGHT, MAX_REQUEST, Observer};
use crate::error::{Error, ErrorKind, Result};
use crate::read::Piece;

/// What a request counts at least among those in flight.
const LEAST_COST: u32 = 16 * 1024;
/// Extents of one answer. A client asks again for the rest.
const MAX_EXTENTS: usize = 2048;
/// How long requests that are being answered may take when the server ends.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// The state of an extent, for clients.
const HOLE_AND_ZERO: u32 = 3;
const DATA: u32 = 0;

struct Session<S> {
    mode: Mode,
    writer: Mutex<WriteHalf<S>>,
    /// Told when a reply could not be written, as nobody reads any more.
    is_cut: Notify,
    observer: Observer,
}

/// A request that was let in, with the bytes of a write.
struct Admitted {
    request: Request,
    payload: Bytes,
    permit: OwnedSemaphorePermit,
}

/// Why a request was not carried out.
enum Failure {
    /// The client's fault.
    Client(Errno, &'static str),
    Repository(Error),
}

/// Answers requests until the client goes or `stop` turns true.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Send + 'static>(
    stream: S,
    mode: Mode,
    observer: Observer,
    stop: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = BufReader::with_capacity(4096, reader);
    let writable = matches!(mode.export.content, Content::Writable(_));
    let session = Arc::new(Session { mode, writer: Mutex::new(writer), is_cut: Notify::new(), observer });
    let in_flight = Arc::new(Semaphore::new(IN_FLIGHT as usize));
    let mut answers = JoinSet::new();
    loop {
        while answers.try_join_next().is_some() {}
        let admitted = tokio::select! {
            biased;
            // A sender that is gone means the same.
            _ = stop.wait_for(|stop| *stop) => break,
            () = session.is_cut.notified() => return Err(io::ErrorKind::BrokenPipe.into()),
            admitted = receive(&mut reader, &in_flight, writable) => admitted?,
        };
        if admitted.request.command == Command::Disconnect {
            break;
        }
        answers.spawn(Arc::clone(&session).answer(admitted));
    }
    // What has been asked for is answered. A client that does not take its answers is left alone after a while.
    let rest = async {
        while answers.join_next().await.is_some() {}
        session.writer.lock().await.shutdown().await
    };
    tokio::time::timeout(LAST_ANSWERS, rest).await?
}

/// The next request, with its bytes, as soon as there is room for it.
async fn receive<R: AsyncRead + Unpin>(
    reader: &mut R,
    in_flight: &Arc<Semaphore>,
    writable: bool,
) -> io::Result<Admitted> {
    let mut head = [0; Request::BYTES];
    reader.read_exact(&mut head).await?;
    let broken = |why| io::Error::new(io::ErrorKind::InvalidData, why);
    let request =
        Request::parse(&head).ok_or_else(|| broken("a request does not begin with its magic number"))?;
    let moved = match request.command {
        Command::Read | Command::Write => request.length,
        _ => 0,
    };
    if request.command == Command::Write && moved > MAX_REQUEST {
        return Err(broken("a write is longer than the server has said it may be"));
    }
    let cost = moved.clamp(LEAST_COST, IN_FLIGHT);
    let permit = Arc::clone(in_flight).acquire_many_owned(cost).await.map_err(io::Error::other)?;
    let mut payload = BytesMut::new();
    if request.command == Command::Write {
        let mut bytes = reader.take(u64::from(moved));
        if writable {
            // Grows with what arrives: a length alone takes no memory.
            while bytes.read_buf(&mut payload).await? > 0 {}
        } else {
            tokio::io::copy(&mut bytes, &mut tokio::io::sink()).await?;
        }
        if bytes.limit() > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Admitted { request, payload: payload.freeze(), permit })
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Session<S> {
    async fn answer(self: Arc<Self>, admitted: Admitted) {
        let Admitted { request, payload, permit } = admitted;
        let parts = match self.carry_out(&request, payload).await {
            Ok(parts) => parts,
            Err(failure) => self.failed(&request, failure),
        };
        if self.send(parts).await.is_err() {
            self.is_cut.notify_one();
        }
        // What is in flight has been sent.
        drop(permit);
    }

    async fn send(&self, mut parts: Parts) -> io::Result<()> {
        let mut writer = self.writer.lock().await;
        writer.write_all_buf(&mut parts).await?;
        writer.flush().await
    }

    async fn carry_out(&self, request: &Request, payload: Bytes) -> Result<Parts, Failure> {
        let bytes = self.check(request)?;
        let export = &*self.mode.export;
        match (request.command, &export.content) {
            (Command::Read, _) => {
                let pieces = export.read(bytes).await?;
                return Ok(self.data(request, pieces));
            }
            (Command::BlockStatus, _) => return self.block_status(request, bytes).await,
            (Command::Flush, Content::Writable(overlay)) => overlay.flush().await?,
            (Command::Write, Content::Writable(overlay)) => {
                if !payload.is_empty() {
                    overlay.write(bytes.start, payload).await?;
                }
            }
            (Command::Trim, Content::Writable(overlay)) => overlay.trim(bytes).await?,
            (Command::WriteZeroes, Content::Writable(overlay)) => {
                overlay.zero(bytes, !request.has(flag::NO_HOLE)).await?;
            }
            (_, Content::ReadOnly(_)) => {}
            (Command::Disconnect | Command::Unknown, _) => {}
        }
        if let Content::Writable(overlay) = &export.content
            && request.has(flag::FUA)
        {
            overlay.flush().await?;
        }
        Ok(Parts::of(simple_reply(request.cookie, 0)))
    }

    /// The bytes that a request is about; an error unless it may be asked.
    fn check(&self, request: &Request) -> Result<Range<u64>, Failure> {
        let refuse = |errno, why| Err(Failure::Client(errno, why));
        let allowed = flag::FUA
            | match request.command {
                Command::Read if self.mode.structured => flag::DF,
                Command::WriteZeroes => flag::NO_HOLE,
                Command::BlockStatus => flag::REQ_ONE,
                _ => 0,
            };
        if request.flags & !allowed != 0 {
            return refuse(Errno::Invalid, "the request has flags that were not agreed on");
        }
        let changes = matches!(request.command, Command::Write | Command::Trim | Command::WriteZeroes);
        match request.command {
            Command::Unknown => return refuse(Errno::Invalid, "the server does not know the command"),
            Command::BlockStatus if !self.mode.block_status => {
                return refuse(Errno::Invalid, "base:allocation was not agreed on");
            }
            Command::BlockStatus if request.length == 0 => {
                return refuse(Errno::Invalid, "the status of no bytes was asked for");
            }
            Command::Read if request.length > MAX_REQUEST => {
                return refuse(Errno::Overflow, "the server has said how long a request may be");
            }
            Command::Flush => return Ok(0..0),
            _ if changes && matches!(self.mode.export.content, Content::ReadOnly(_)) => {
                return refuse(Errno::NotPermitted, "the export is read-only");
            }
            _ => {}
        }
        let end = request.offset.checked_add(u64::from(request.length));
        match end.filter(|&end| end <= self.mode.export.disk().capacity()) {
            Some(end) => Ok(request.offset..end),
            None if changes => refuse(Errno::NoSpace, "the request goes beyond the end of the disk"),
            None => refuse(Errno::Invalid, "the request goes beyond the end of the disk"),
        }
    }

    /// The reply to a read.
    fn data(&self, request: &Request, pieces: Vec<Piece>) -> Parts {
        let Request { cookie, offset, length, .. } = *request;
        let is_zero = pieces.iter().all(|piece| matches!(piece, Piece::Zero(_)));
        if !self.mode.structured {
            return Parts::of(simple_reply(cookie, 0)).with_all(pieces);
        }
        if pieces.is_empty() {
            return Parts::of(chunk(cookie, true, ChunkKind::None, b"", 0));
        }
        if request.has(flag::DF) && !is_zero {
            let head = chunk(cookie, true, ChunkKind::Data, &offset.to_be_bytes(), length);
            return Parts::of(head).with_all(pieces);
        }
        let mut parts = Parts::default();
        let mut at = offset;
        let mut pieces = merged(pieces).into_iter().peekable();
        while let Some(piece) = pieces.next() {
            let is_last = pieces.peek().is_none();
            // Not longer than the request.
            let length = piece.len() as u32;
            match piece {
                Piece::Zero(_) => {
                    let hole = [&at.to_be_bytes()[..], &length.to_be_bytes()].concat();
                    parts.push(chunk(cookie, is_last, ChunkKind::Hole, &hole, 0));
                }
                Piece::Data(bytes) => {
                    parts.push(chunk(cookie, is_last, ChunkKind::Data, &at.to_be_bytes(), length));
                    parts.push(bytes);
                }
            }
            at += u64::from(length);
        }
        parts
    }

    async fn block_status(&self, request: &Request, bytes: Range<u64>) -> Result<Parts, Failure> {
        let extents = extents(&self.mode.export, bytes, request.has(flag::REQ_ONE)).await?;
        let mut content = CONTEXT_ID.to_be_bytes().to_vec();
        for (length, status) in extents {
            content.extend_from_slice(&length.to_be_bytes());
            content.extend_from_slice(&status.to_be_bytes());
        }
        Ok(Parts::of(chunk(request.cookie, true, ChunkKind::BlockStatus, &content, 0)))
    }

    /// The reply to a request that was not carried out.
    fn failed(&self, request: &Request, failure: Failure) -> Parts {
        let (errno, message) = match failure {
            Failure::Client(errno, why) => {
                tracing::debug!(export = %self.mode.name, ?request, why, "a request was refused");
                (errno, why.to_owned())
            }
            Failure::Repository(error) => {
                (self.observer)(&self.mode.name, &error);
                let errno = if error.kind() == ErrorKind::Full { Errno::NoSpace } else { Errno::Io };
                (errno, error.to_string())
            }
        };
        if !self.mode.structured {
            return Parts::of(simple_reply(request.cookie, errno as u32));
        }
        // Of a string the protocol takes 4096 bytes.
        let message = message.get(..message.floor_char_boundary(1024)).unwrap_or_default();
        let mut content = (errno as u32).to_be_bytes().to_vec();
        content.extend_from_slice(&(message.len() as u16).to_be_bytes());
        content.extend_from_slice(message.as_bytes());
        Parts::of(chunk(request.cookie, true, ChunkKind::Error, &content, 0))
    }
}

/// Length and state of the extents of `bytes` from their start on, neighbours with the same state as one.
async fn extents(export: &Export, bytes: Range<u64>, only_one: bool) -> Result<Vec<(u32, u32)>> {
    let mut extents: Vec<(u32, u32)> = Vec::new();
    let mut at = bytes.start;
    while at < bytes.end {
        let extent = export.extent(at..bytes.end).await?;
        // Not longer than the request.
        let length = (extent.bytes.end - at) as u32;
        let status = if extent.is_zero { HOLE_AND_ZERO } else { DATA };
        let count = extents.len();
        match extents.last_mut() {
            Some((before, same)) if *same == status => *before += length,
            Some(_) if only_one || count >= MAX_EXTENTS => break,
            _ => extents.push((length, status)),
        }
        at = extent.bytes.end;
    }
    Ok(extents)
}

/// The same pieces, with zeros that follow each other as one.
fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut merged: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match (merged.last_mut(), piece) {
            (Some(Piece::Zero(before)), Piece::Zero(length)) => *before += length,
            (_, piece) => merged.push(piece),
        }
    }
    merged
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Repository(error)
    }
}
