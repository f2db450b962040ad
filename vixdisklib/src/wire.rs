//! What travels between a program and its worker process: frames of typed messages, in a small encoding of our own.
//!
//! Neither side trusts the bytes. A frame has a largest size, and is read as it arrives, so that a length costs no memory by
//! itself; every text, list and number is checked against what is left of the frame; what is left over is an error too.
//! Frames may hold secrets, so all their buffers are wiped.

mod message;
mod values;

use std::io::{self, ErrorKind, Read, Write};

use zeroize::Zeroizing;

pub(crate) use message::{Answer, Outcome, Refusal, Request, Row, StartOutcome, Started, ToHost, ToWorker};

/// The largest frame, in bytes. The longest message is a list of allocated runs: 262,144 of 16 bytes.
pub(crate) const FRAME_LIMIT: usize = 32 << 20;
/// Bytes of the length before each frame.
const LENGTH: usize = 4;

/// Of the source of all messages, so that a program and a worker built from different ones do not talk past each other.
pub(crate) const FINGERPRINT: u64 = {
    let sources: [&[u8]; 3] =
        [include_bytes!("wire.rs"), include_bytes!("wire/message.rs"), include_bytes!("wire/values.rs")];
    // FNV-1a: nobody forges it, it only has to differ.
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut source = 0;
    while source < sources.len() {
        let bytes = sources[source];
        let mut at = 0;
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        source += 1;
    }
    hash
};

/// A value that can be written into a frame and read back.
pub(crate) trait Wire: Sized {
    /// Appends the value.
    fn put(&self, writer: &mut Writer);
    /// Reads a value; `None` when the bytes are none.
    fn take(reader: &mut Reader<'_>) -> Option<Self>;
}

/// A frame that is being written.
pub(crate) struct Writer {
    bytes: Zeroizing<Vec<u8>>,
}

/// What is left of a frame.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl Writer {
    /// Appends bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        make_room(&mut self.bytes, bytes.len());
        self.bytes.extend_from_slice(bytes);
    }
}

impl<'a> Reader<'a> {
    /// The next bytes, if there are as many.
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }
}

/// The frame of a message, its length included.
pub(crate) fn encode(message: &impl Wire) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut writer = Writer { bytes: Zeroizing::new(Vec::with_capacity(128)) };
    writer.bytes(&[0; LENGTH]);
    message.put(&mut writer);
    let length = writer.bytes.len() - LENGTH;
    if length > FRAME_LIMIT {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("a message of {length} bytes")));
    }
    let length = u32::try_from(length).map_err(|error| io::Error::new(ErrorKind::InvalidInput, error))?;
    writer.bytes[..LENGTH].copy_from_slice(&length.to_le_bytes());
    Ok(writer.bytes)
}

/// The message of a frame without its length.
pub(crate) fn decode<T: Wire>(frame: &[u8]) -> Option<T> {
    let mut reader = Reader { rest: frame };
    T::take(&mut reader).filter(|_| reader.rest.is_empty())
}

/// Writes a message in one piece.
pub(crate) fn send(to: &mut impl Write, message: &impl Wire) -> io::Result<()> {
    to.write_all(&encode(message)?)
}

/// Reads the next message; `None` when the other side has ended between two of them.
pub(crate) fn receive<T: Wire>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; LENGTH];
    let read = loop {
        match from.read(&mut length) {
            // A signal with a handler came in between.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => break read?,
        }
    };
    if read == 0 {
        return Ok(None);
    }
    from.read_exact(&mut length[read..])?;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_LIMIT {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("a frame claims {length} bytes")));
    }
    let mut frame = Zeroizing::new(Vec::new());
    while frame.len() < length {
        let read = frame.len();
        let step = (length - read).min(read.max(64 << 10));
        make_room(&mut frame, step);
        frame.resize(read + step, 0);
        from.read_exact(&mut frame[read..])?;
    }
    match decode(&frame) {
        Some(message) => Ok(Some(message)),
        None => Err(io::Error::new(ErrorKind::InvalidData, "a frame holds no message")),
    }
}

/// Grows by itself, because a vector that does leaves its old bytes behind unwiped.
fn make_room(bytes: &mut Zeroizing<Vec<u8>>, more: usize) {
    let needed = bytes.len().saturating_add(more);
    if needed > bytes.capacity() {
        let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * bytes.capacity())));
        larger.extend_from_slice(bytes);
        // The old one is wiped as it is dropped.
        *bytes = larger;
    }
}

/// Whether these bytes are a message of either direction. For tests of the decoder: what was read must be written as it was.
pub fn is_message(frame: &[u8]) -> bool {
    let host = decode::<ToHost>(frame);
    let worker = decode::<ToWorker>(frame);
    if let Some(message) = &host {
        again(message, frame);
    }
    if let Some(message) = &worker {
        again(message, frame);
    }
    host.is_some() || worker.is_some()
}

/// There is one encoding of each message, so what was read is written as it was.
fn again(message: &impl Wire, frame: &[u8]) {
    let encoded = encode(message).ok();
    debug_assert!(encoded.as_deref().and_then(|bytes| bytes.get(LENGTH..)) == Some(frame));
}

#[cfg(test)]
mod tests;
