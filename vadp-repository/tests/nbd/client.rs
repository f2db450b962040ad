//! A client of few words: it sends what it is told, byte by byte as the specification has it, and knows nothing of the server's code.

use std::collections::BTreeMap;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub const READ: u16 = 0;
pub const WRITE: u16 = 1;
pub const DISCONNECT: u16 = 2;
pub const FLUSH: u16 = 3;
pub const TRIM: u16 = 4;
pub const CACHE: u16 = 5;
pub const WRITE_ZEROES: u16 = 6;
pub const BLOCK_STATUS: u16 = 7;

pub const FUA: u16 = 1;
pub const NO_HOLE: u16 = 2;
pub const DF: u16 = 4;
pub const REQ_ONE: u16 = 8;

pub const EPERM: u32 = 1;
pub const EIO: u32 = 5;
pub const EINVAL: u32 = 22;
pub const ENOSPC: u32 = 28;
pub const EOVERFLOW: u32 = 75;

pub struct Client<S> {
    pub stream: S,
    pub structured: bool,
    /// Extents of the last answer with block status: length and state.
    pub extents: Vec<(u32, u32)>,
    /// Kinds of the chunks of the last structured reply.
    pub kinds: Vec<u16>,
    pub cookie: u64,
}

/// Bytes of a reply, or the number of its error with the message.
pub type Answer = Result<Vec<u8>, (u32, String)>;

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Reads the greeting, and answers with the flags.
    pub async fn greet(mut stream: S, flags: u32) -> Self {
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"NBDMAGICIHAVEOPT\0\x03");
        stream.write_all(&flags.to_be_bytes()).await.unwrap();
        Self { stream, structured: false, extents: Vec::new(), kinds: Vec::new(), cookie: 1000 }
    }

    /// With structured replies and block status, up to the first request.
    pub async fn connect(stream: S, name: &str) -> Self {
        let mut client = Self::greet(stream, 3).await;
        client.structure().await;
        let contexts = contexts(name, &["base:allocation"]);
        let answers = client.option(10, &contexts).await;
        assert_eq!(answers, [(4, b"\0\0\0\x01base:allocation".to_vec()), (1, vec![])]);
        client.go(name).await.unwrap();
        client
    }

    pub async fn structure(&mut self) {
        assert_eq!(self.option(8, b"").await, [(1, vec![])]);
        self.structured = true;
    }

    pub async fn send_option(&mut self, option: u32, data: &[u8]) {
        let length = u32::try_from(data.len()).unwrap();
        let bytes = [b"IHAVEOPT", &option.to_be_bytes()[..], &length.to_be_bytes(), data].concat();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// All answers to an option: kinds and contents.
    pub async fn option(&mut self, option: u32, data: &[u8]) -> Vec<(u32, Vec<u8>)> {
        self.send_option(option, data).await;
        let mut answers = Vec::new();
        loop {
            assert_eq!(self.stream.read_u64().await.unwrap(), 0x0003_e889_0455_65a9);
            assert_eq!(self.stream.read_u32().await.unwrap(), option);
            let kind = self.stream.read_u32().await.unwrap();
            let mut content = vec![0; self.stream.read_u32().await.unwrap() as usize];
            self.stream.read_exact(&mut content).await.unwrap();
            answers.push((kind, content));
            // An acknowledgement or an error is the last one.
            if kind == 1 || kind >= 1 << 31 {
                return answers;
            }
        }
    }

    /// Size and flags of an export, which is chosen; or the number of the refusal.
    pub async fn go(&mut self, name: &str) -> Result<(u64, u16), u32> {
        let answers = self.option(7, &export(name, &[])).await;
        let (kind, _) = answers.last().unwrap();
        if *kind != 1 {
            return Err(*kind);
        }
        let (_, export) = answers.iter().find(|(kind, data)| *kind == 3 && data[..2] == [0, 0]).unwrap();
        Ok((
            u64::from_be_bytes(export[2..10].try_into().unwrap()),
            u16::from_be_bytes(export[10..12].try_into().unwrap()),
        ))
    }

    /// Sends a request, and gives its cookie.
    pub async fn send(&mut self, command: u16, flags: u16, offset: u64, length: u32, data: &[u8]) -> u64 {
        self.cookie += 1;
        let head = [
            &0x2560_9513_u32.to_be_bytes()[..],
            &flags.to_be_bytes(),
            &command.to_be_bytes(),
            &self.cookie.to_be_bytes(),
            &offset.to_be_bytes(),
            &length.to_be_bytes(),
            data,
        ];
        self.stream.write_all(&head.concat()).await.unwrap();
        self.cookie
    }

    /// Sends a request and waits for its reply.
    pub async fn ask(&mut self, command: u16, flags: u16, offset: u64, length: u32) -> Answer {
        let data = vec![0; if command == READ { length as usize } else { 0 }];
        let cookie = self.send(command, flags, offset, length, b"").await;
        self.reply(&mut BTreeMap::from([(cookie, (offset, data))])).await.1
    }

    pub async fn read(&mut self, offset: u64, length: u32) -> Answer {
        self.ask(READ, 0, offset, length).await
    }

    pub async fn write(&mut self, flags: u16, offset: u64, data: &[u8]) -> Answer {
        let cookie = self.send(WRITE, flags, offset, u32::try_from(data.len()).unwrap(), data).await;
        self.reply(&mut BTreeMap::from([(cookie, (offset, vec![]))])).await.1
    }

    /// The next whole reply to one of the requests, which are known by their cookies with their offset and a buffer of their length.
    pub async fn reply(&mut self, asked: &mut BTreeMap<u64, (u64, Vec<u8>)>) -> (u64, Answer) {
        self.kinds.clear();
        let mut filled = 0;
        loop {
            match self.stream.read_u32().await.unwrap() {
                0x6744_6698 => {
                    let error = self.stream.read_u32().await.unwrap();
                    let cookie = self.stream.read_u64().await.unwrap();
                    let (_, mut data) = asked.remove(&cookie).unwrap();
                    assert!(
                        !self.structured || data.is_empty() || error != 0,
                        "a read has a structured reply"
                    );
                    if error != 0 {
                        return (cookie, Err((error, String::new())));
                    }
                    self.stream.read_exact(&mut data).await.unwrap();
                    return (cookie, Ok(data));
                }
                0x668e_33ef => {
                    assert!(self.structured);
                    let flags = self.stream.read_u16().await.unwrap();
                    let kind = self.stream.read_u16().await.unwrap();
                    let cookie = self.stream.read_u64().await.unwrap();
                    let mut content = vec![0; self.stream.read_u32().await.unwrap() as usize];
                    self.stream.read_exact(&mut content).await.unwrap();
                    self.kinds.push(kind);
                    let (start, data) = asked.get_mut(&cookie).unwrap();
                    let number = |at: usize| u32::from_be_bytes(content[at..at + 4].try_into().unwrap());
                    let place = || ((u64::from(number(0)) << 32) | u64::from(number(4))) - *start;
                    match kind {
                        0 => assert!(content.is_empty()),
                        1 => {
                            let at = usize::try_from(place()).unwrap();
                            data[at..at + content.len() - 8].copy_from_slice(&content[8..]);
                            filled += content.len() - 8;
                        }
                        2 => {
                            // Whatever was there must be gone.
                            let at = usize::try_from(place()).unwrap();
                            data[at..at + number(8) as usize].fill(0);
                            filled += number(8) as usize;
                        }
                        5 => {
                            assert_eq!(number(0), 1, "the context that was chosen");
                            self.extents = (4..content.len())
                                .step_by(8)
                                .map(|at| (number(at), number(at + 4)))
                                .collect();
                        }
                        0x8001 => {
                            let message = String::from_utf8(content[6..].to_vec()).unwrap();
                            assert_eq!(
                                message.len(),
                                (usize::from(content[4]) << 8) | usize::from(content[5])
                            );
                            asked.remove(&cookie);
                            return (cookie, Err((number(0), message)));
                        }
                        other => panic!("a chunk of kind {other}"),
                    }
                    if flags & 1 != 0 {
                        let (_, data) = asked.remove(&cookie).unwrap();
                        assert_eq!(filled, data.len(), "every byte is told once");
                        return (cookie, Ok(data));
                    }
                }
                other => panic!("a reply begins with {other:#x}"),
            }
        }
    }

    /// Nothing more comes.
    pub async fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }
}

/// The data of options about an export.
pub fn export(name: &str, wanted: &[u16]) -> Vec<u8> {
    let mut data = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
    data.extend_from_slice(name.as_bytes());
    data.extend_from_slice(&u16::try_from(wanted.len()).unwrap().to_be_bytes());
    wanted.iter().for_each(|wanted| data.extend_from_slice(&wanted.to_be_bytes()));
    data
}

/// The data of options about contexts.
pub fn contexts(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
    data.extend_from_slice(name.as_bytes());
    data.extend_from_slice(&u32::try_from(queries.len()).unwrap().to_be_bytes());
    for query in queries {
        data.extend_from_slice(&u32::try_from(query.len()).unwrap().to_be_bytes());
        data.extend_from_slice(query.as_bytes());
    }
    data
}
