//! The numbers and layouts of the protocol, as its specification has them (`doc/proto.md` of the NBD project). All big endian.

use bytes::{BufMut, Bytes, BytesMut};

/// What a server says first.
pub(super) const MAGIC: u64 = 0x4e42_444d_4147_4943;
/// Begins each option of a client, and the server's greeting of the newstyle.
pub(super) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

/// Flags of the greeting, which a client repeats.
pub(super) const FIXED_NEWSTYLE: u16 = 1;
pub(super) const NO_ZEROES: u16 = 2;

/// Options of a client.
pub(super) mod option {
    pub(crate) const EXPORT_NAME: u32 = 1;
    pub(crate) const ABORT: u32 = 2;
    pub(crate) const LIST: u32 = 3;
    pub(crate) const STARTTLS: u32 = 5;
    pub(crate) const INFO: u32 = 6;
    pub(crate) const GO: u32 = 7;
    pub(crate) const STRUCTURED_REPLY: u32 = 8;
    pub(crate) const LIST_META_CONTEXT: u32 = 9;
    pub(crate) const SET_META_CONTEXT: u32 = 10;
}

/// Answers to options.
pub(super) mod reply {
    const ERROR: u32 = 1 << 31;
    pub(crate) const ACK: u32 = 1;
    pub(crate) const SERVER: u32 = 2;
    pub(crate) const INFO: u32 = 3;
    pub(crate) const META_CONTEXT: u32 = 4;
    pub(crate) const UNSUPPORTED: u32 = ERROR + 1;
    pub(crate) const POLICY: u32 = ERROR + 2;
    pub(crate) const INVALID: u32 = ERROR + 3;
    pub(crate) const TLS_REQUIRED: u32 = ERROR + 5;
    pub(crate) const UNKNOWN: u32 = ERROR + 6;
}

/// What an answer with information is about.
pub(super) mod info {
    pub(crate) const EXPORT: u16 = 0;
    pub(crate) const NAME: u16 = 1;
    pub(crate) const BLOCK_SIZE: u16 = 3;
}

/// What an export can do.
pub(super) mod transmission {
    pub(crate) const HAS_FLAGS: u16 = 1;
    pub(crate) const READ_ONLY: u16 = 2;
    pub(crate) const FLUSH: u16 = 4;
    pub(crate) const FUA: u16 = 8;
    pub(crate) const TRIM: u16 = 32;
    pub(crate) const WRITE_ZEROES: u16 = 64;
    pub(crate) const DF: u16 = 128;
    pub(crate) const MULTI_CONN: u16 = 256;
}

/// Flags of a request.
pub(super) mod flag {
    pub(crate) const FUA: u16 = 1;
    pub(crate) const NO_HOLE: u16 = 2;
    pub(crate) const DF: u16 = 4;
    pub(crate) const REQ_ONE: u16 = 8;
}

/// The errors that a request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Errno {
    NotPermitted = 1,
    Io = 5,
    Invalid = 22,
    NoSpace = 28,
    Overflow = 75,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    Read,
    Write,
    Disconnect,
    Flush,
    Trim,
    WriteZeroes,
    BlockStatus,
    Unknown,
}

/// A request, without the bytes that follow a write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) flags: u16,
    pub(super) command: Command,
    pub(super) cookie: u64,
    pub(super) offset: u64,
    pub(super) length: u32,
}

impl Request {
    pub(super) const BYTES: usize = 28;

    /// `None` without its magic number: the client and we no longer agree on where a request begins.
    pub(super) fn parse(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk()?;
        let (flags, rest) = rest.split_first_chunk()?;
        let (command, rest) = rest.split_first_chunk()?;
        let (cookie, rest) = rest.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let (length, _) = rest.split_first_chunk()?;
        let command = match u16::from_be_bytes(*command) {
            0 => Command::Read,
            1 => Command::Write,
            2 => Command::Disconnect,
            3 => Command::Flush,
            4 => Command::Trim,
            6 => Command::WriteZeroes,
            7 => Command::BlockStatus,
            _ => Command::Unknown,
        };
        (u32::from_be_bytes(*magic) == REQUEST_MAGIC).then(|| Self {
            flags: u16::from_be_bytes(*flags),
            command,
            cookie: u64::from_be_bytes(*cookie),
            offset: u64::from_be_bytes(*offset),
            length: u32::from_be_bytes(*length),
        })
    }

    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// What a chunk of a structured reply holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum ChunkKind {
    None = 0,
    Data = 1,
    Hole = 2,
    BlockStatus = 5,
    Error = 0x8001,
}

/// The head of a simple reply.
pub(super) fn simple_reply(cookie: u64, error: u32) -> Bytes {
    let mut bytes = BytesMut::with_capacity(16);
    bytes.put_u32(SIMPLE_REPLY_MAGIC);
    bytes.put_u32(error);
    bytes.put_u64(cookie);
    bytes.freeze()
}

/// The head of a chunk of a structured reply, with the first bytes of its content; `more` of them follow.
pub(super) fn chunk(cookie: u64, is_last: bool, kind: ChunkKind, content: &[u8], more: u32) -> Bytes {
    let mut bytes = BytesMut::with_capacity(20 + content.len());
    bytes.put_u32(STRUCTURED_REPLY_MAGIC);
    bytes.put_u16(u16::from(is_last));
    bytes.put_u16(kind as u16);
    bytes.put_u64(cookie);
    // Contents that come from here have some kilobytes, and what follows has no more than a request may ask for.
    bytes.put_u32((content.len() as u32).saturating_add(more));
    bytes.put_slice(content);
    bytes.freeze()
}

/// An answer to an option.
pub(super) fn option_reply(option: u32, kind: u32, content: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(20 + content.len());
    bytes.put_u64(OPTION_REPLY_MAGIC);
    bytes.put_u32(option);
    bytes.put_u32(kind);
    bytes.put_u32(content.len() as u32);
    bytes.put_slice(content);
    bytes.freeze()
}
