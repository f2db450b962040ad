//! What client and server agree on before the first request.

use std::io;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::export::{Content, Export};
use super::wire::{self, info, option, option_reply, reply, transmission};
use super::{CONTEXT_ID, MAX_REQUEST};

/// What a client may send with an option. Names and contexts have 4096 bytes at most.
const MAX_OPTION: u32 = 64 * 1024;
/// The one context that there is.
const ALLOCATION: &[u8] = b"base:allocation";

/// What a connection is protected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// Nothing, and nothing is wanted.
    Off,
    /// Nothing yet: before anything else the client has to ask for TLS.
    Required,
    /// TLS.
    On,
}

/// How the negotiation ended.
pub(super) enum Outcome {
    Transmission(Mode),
    StartTls,
    /// The client has gone, or is to be turned away.
    Ended,
}

/// What was agreed on.
#[derive(Debug, Clone)]
pub(super) struct Mode {
    pub(super) name: Arc<str>,
    pub(super) export: Arc<Export>,
    pub(super) structured: bool,
    pub(super) block_status: bool,
}

/// The exports of a server, by name.
pub(super) type Exports = Vec<(Arc<str>, Arc<Export>)>;

/// What the client has asked for so far.
struct Negotiation<'a, S> {
    stream: &'a mut S,
    exports: &'a Exports,
    no_zeroes: bool,
    structured: bool,
    /// The export for which block status was chosen.
    block_status: Option<Arc<str>>,
}

/// Says who we are. `true` when the client wants no zeroes after the answer to an old option.
pub(super) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<bool> {
    let mut greeting = BytesMut::with_capacity(18);
    greeting.put_u64(wire::MAGIC);
    greeting.put_u64(wire::OPTION_MAGIC);
    greeting.put_u16(wire::FIXED_NEWSTYLE | wire::NO_ZEROES);
    stream.write_all(&greeting).await?;
    stream.flush().await?;
    let flags = stream.read_u32().await?;
    let known = u32::from(wire::FIXED_NEWSTYLE | wire::NO_ZEROES);
    if flags & u32::from(wire::FIXED_NEWSTYLE) == 0 || flags & !known != 0 {
        return Err(broken("the client does not speak the fixed newstyle"));
    }
    Ok(flags & u32::from(wire::NO_ZEROES) != 0)
}

/// Answers options until the client has chosen an export, wants TLS, or goes.
pub(super) async fn negotiate<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    exports: &Exports,
    security: Security,
    no_zeroes: bool,
) -> io::Result<Outcome> {
    let mut negotiation = Negotiation { stream, exports, no_zeroes, structured: false, block_status: None };
    loop {
        let option = negotiation.receive().await?;
        if let Some(outcome) = negotiation.answer(option, security).await? {
            return Ok(outcome);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Negotiation<'_, S> {
    async fn receive(&mut self) -> io::Result<(u32, Vec<u8>)> {
        if self.stream.read_u64().await? != wire::OPTION_MAGIC {
            return Err(broken("an option does not begin with its magic number"));
        }
        let option = self.stream.read_u32().await?;
        let length = self.stream.read_u32().await?;
        if length > MAX_OPTION {
            return Err(broken("an option is longer than any has to be"));
        }
        let mut data = vec![0; length as usize];
        self.stream.read_exact(&mut data).await?;
        Ok((option, data))
    }

    async fn answer(&mut self, (option, data): (u32, Vec<u8>), tls: Security) -> io::Result<Option<Outcome>> {
        match (option, tls) {
            (option::ABORT, _) => {
                // Many clients do not wait for it.
                let _ = self.reply(option, reply::ACK, b"").await;
                return Ok(Some(Outcome::Ended));
            }
            (option::STARTTLS, Security::Required) if data.is_empty() => {
                self.reply(option, reply::ACK, b"").await?;
                return Ok(Some(Outcome::StartTls));
            }
            (option::STARTTLS, Security::Off) => {
                self.refuse(option, reply::POLICY, "this server has no certificate").await?;
            }
            (option::STARTTLS, _) => {
                self.refuse(option, reply::INVALID, "TLS is on already, or data came with it").await?;
            }
            // The protocol has no way to refuse it.
            (option::EXPORT_NAME, Security::Required) => return Ok(Some(Outcome::Ended)),
            (_, Security::Required) => {
                self.refuse(option, reply::TLS_REQUIRED, "this server talks over TLS only").await?;
            }
            (option::EXPORT_NAME, _) => return self.export_name(&data).await.map(Some),
            (option::LIST, _) => self.list(&data).await?,
            (option::INFO | option::GO, _) => return self.info(option, &data).await,
            (option::STRUCTURED_REPLY, _) if data.is_empty() => {
                self.structured = true;
                self.reply(option, reply::ACK, b"").await?;
            }
            (option::STRUCTURED_REPLY, _) => {
                self.refuse(option, reply::INVALID, "no data belongs to it").await?;
            }
            (option::LIST_META_CONTEXT | option::SET_META_CONTEXT, _) => {
                self.meta_context(option, &data).await?;
            }
            _ => self.refuse(option, reply::UNSUPPORTED, "this server does not know the option").await?,
        }
        Ok(None)
    }

    async fn export_name(&mut self, name: &[u8]) -> io::Result<Outcome> {
        let Some((name, export)) = self.find(name) else { return Ok(Outcome::Ended) };
        let mut answer = BytesMut::from(&export_info(&export, self.structured)[..]);
        if !self.no_zeroes {
            answer.put_bytes(0, 124);
        }
        self.stream.write_all(&answer).await?;
        self.stream.flush().await?;
        Ok(Outcome::Transmission(self.mode(name, export)))
    }

    async fn list(&mut self, data: &[u8]) -> io::Result<()> {
        if !data.is_empty() {
            return self.refuse(option::LIST, reply::INVALID, "no data belongs to it").await;
        }
        for (name, _) in self.exports {
            self.reply(option::LIST, reply::SERVER, &with_length(name.as_bytes())).await?;
        }
        self.reply(option::LIST, reply::ACK, b"").await
    }

    async fn info(&mut self, option: u32, data: &[u8]) -> io::Result<Option<Outcome>> {
        let Some((name, wanted)) = parse_info(data) else {
            self.refuse(option, reply::INVALID, "its lengths do not fit together").await?;
            return Ok(None);
        };
        let Some((name, export)) = self.find(name) else {
            self.refuse(option, reply::UNKNOWN, "there is no such export").await?;
            return Ok(None);
        };
        let mut size = BytesMut::from(&info::BLOCK_SIZE.to_be_bytes()[..]);
        size.put_u32(1);
        size.put_u32(export.preferred_size());
        size.put_u32(MAX_REQUEST);
        self.reply(option, reply::INFO, &size).await?;
        if wanted.contains(&info::NAME) {
            let answer = [&info::NAME.to_be_bytes()[..], name.as_bytes()].concat();
            self.reply(option, reply::INFO, &answer).await?;
        }
        let answer = [&info::EXPORT.to_be_bytes()[..], &export_info(&export, self.structured)].concat();
        self.reply(option, reply::INFO, &answer).await?;
        self.reply(option, reply::ACK, b"").await?;
        Ok((option == option::GO).then(|| Outcome::Transmission(self.mode(name, export))))
    }

    async fn meta_context(&mut self, option: u32, data: &[u8]) -> io::Result<()> {
        let is_choice = option == option::SET_META_CONTEXT;
        if is_choice {
            // What was chosen before is gone, whatever comes of this.
            self.block_status = None;
        }
        if !self.structured {
            return self
                .refuse(option, reply::INVALID, "structured replies have to be agreed on first")
                .await;
        }
        let Some((name, queries)) = parse_contexts(data) else {
            return self.refuse(option, reply::INVALID, "its lengths do not fit together").await;
        };
        let Some((name, _)) = self.find(name) else {
            return self.refuse(option, reply::UNKNOWN, "there is no such export").await;
        };
        let is_match = |query: &&[u8]| *query == ALLOCATION || !is_choice && *query == b"base:";
        if queries.iter().any(is_match) || queries.is_empty() && !is_choice {
            // In a list the id means nothing.
            let id = if is_choice { CONTEXT_ID } else { 0 };
            self.reply(option, reply::META_CONTEXT, &[&id.to_be_bytes()[..], ALLOCATION].concat()).await?;
            if is_choice {
                self.block_status = Some(name);
            }
        }
        self.reply(option, reply::ACK, b"").await
    }

    fn mode(&self, name: Arc<str>, export: Arc<Export>) -> Mode {
        let block_status = self.structured && self.block_status.as_ref() == Some(&name);
        Mode { name, export, structured: self.structured, block_status }
    }

    /// An export by its name. No name means the only one.
    fn find(&self, name: &[u8]) -> Option<(Arc<str>, Arc<Export>)> {
        match (self.exports.as_slice(), name) {
            ([only], b"") => Some(only.clone()),
            (exports, name) => exports.iter().find(|(known, _)| known.as_bytes() == name).cloned(),
        }
    }

    async fn refuse(&mut self, option: u32, kind: u32, why: &str) -> io::Result<()> {
        self.reply(option, kind, why.as_bytes()).await
    }

    async fn reply(&mut self, option: u32, kind: u32, content: &[u8]) -> io::Result<()> {
        self.stream.write_all(&option_reply(option, kind, content)).await?;
        self.stream.flush().await
    }
}

/// Size and abilities of an export.
fn export_info(export: &Export, structured: bool) -> [u8; 10] {
    let mut flags =
        transmission::HAS_FLAGS | transmission::FLUSH | transmission::FUA | transmission::MULTI_CONN;
    flags |= match export.content {
        Content::ReadOnly(_) => transmission::READ_ONLY,
        Content::Writable(_) => transmission::TRIM | transmission::WRITE_ZEROES,
    };
    if structured {
        flags |= transmission::DF;
    }
    let mut bytes = [0; 10];
    let (size, rest) = bytes.split_at_mut(8);
    size.copy_from_slice(&export.disk().capacity().to_be_bytes());
    rest.copy_from_slice(&flags.to_be_bytes());
    bytes
}

/// Takes bytes behind a length of four bytes.
fn take<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (taken, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    *bytes = rest;
    Some(taken)
}

fn parse_info(mut data: &[u8]) -> Option<(&[u8], Vec<u16>)> {
    let name = take(&mut data)?;
    let (count, rest) = data.split_first_chunk()?;
    let (wanted, rest) = rest.as_chunks();
    let is_whole = rest.is_empty() && wanted.len() == usize::from(u16::from_be_bytes(*count));
    is_whole.then(|| (name, wanted.iter().map(|wanted| u16::from_be_bytes(*wanted)).collect()))
}

fn parse_contexts(mut data: &[u8]) -> Option<(&[u8], Vec<&[u8]>)> {
    let name = take(&mut data)?;
    let (count, mut rest) = data.split_first_chunk()?;
    let mut queries = Vec::new();
    for _ in 0..u32::from_be_bytes(*count) {
        queries.push(take(&mut rest)?);
    }
    rest.is_empty().then_some((name, queries))
}

fn with_length(name: &[u8]) -> Vec<u8> {
    // Names have 4096 bytes at most.
    [&(name.len() as u32).to_be_bytes()[..], name].concat()
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
