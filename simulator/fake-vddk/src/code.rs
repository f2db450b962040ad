//! Result codes, and which of them a failure of the store becomes.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use sim_store::{Error, ErrorKind};

use crate::library::lock;

/// A result word other than success: the code, and above its 16 bits the number of a detail, if it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u64);

/// A result of this library's inner functions.
pub(crate) type Answer<T> = Result<T, Code>;

impl Code {
    pub(crate) const FAIL: Code = Code(1);
    pub(crate) const OUT_OF_MEMORY: Code = Code(2);
    pub(crate) const INVALID_ARG: Code = Code(3);
    pub(crate) const FILE_NOT_FOUND: Code = Code(4);
    pub(crate) const OBJECT_IS_BUSY: Code = Code(5);
    pub(crate) const NOT_SUPPORTED: Code = Code(6);
    pub(crate) const FILE_ERROR: Code = Code(7);
    pub(crate) const DISK_FULL: Code = Code(8);
    pub(crate) const FILE_READ_ONLY: Code = Code(11);
    pub(crate) const FILE_ALREADY_EXISTS: Code = Code(12);
    pub(crate) const FILE_ACCESS_ERROR: Code = Code(13);
    pub(crate) const FILE_ALREADY_LOCKED: Code = Code(15);
    pub(crate) const NOT_SUPPORTED_ON_REMOTE_OBJECT: Code = Code(20);
    pub(crate) const FILE_TOO_BIG: Code = Code(21);
    pub(crate) const FILE_NAME_INVALID: Code = Code(22);
    pub(crate) const BUFFER_TOO_SMALL: Code = Code(24);
    pub(crate) const OBJECT_NOT_FOUND: Code = Code(25);
    pub(crate) const OPERATION_ALREADY_IN_PROGRESS: Code = Code(31);
    pub(crate) const AUTHENTICATION_FAIL: Code = Code(35);
    pub(crate) const HOST_USER_PERMISSIONS: Code = Code(3014);
    pub(crate) const INVALID_HANDLE: Code = Code(1000);
    pub(crate) const END_OF_FILE: Code = Code(14005);
    pub(crate) const CONNECTION_LOST: Code = Code(14011);
    pub(crate) const NOT_INITIALISED: Code = Code(16001);
    pub(crate) const OUT_OF_RANGE: Code = Code(16007);
    pub(crate) const CID_MISMATCH: Code = Code(16008);
    pub(crate) const CANNOT_SHRINK: Code = Code(16009);
    pub(crate) const CANNOT_OPEN_PARENT: Code = Code(16012);
    pub(crate) const TYPE_NOT_SUPPORTED: Code = Code(16013);
    pub(crate) const NEED_KEY: Code = Code(16014);
    pub(crate) const KEY_NOT_FOUND: Code = Code(16052);
    pub(crate) const INVALID_CONNECTION: Code = Code(16054);
    pub(crate) const INVALID_DISK: Code = Code(16063);
    pub(crate) const NO_LICENCE: Code = Code(16064);
    pub(crate) const UNSUPPORTED_DEVICE: Code = Code(16066);
    pub(crate) const CAPACITY_MISMATCH: Code = Code(16067);
    pub(crate) const ATTACH_ROOT_LINK: Code = Code(16069);
    pub(crate) const CANNOT_CONNECT: Code = Code(18000);
    pub(crate) const OPERATION_DISABLED: Code = Code(20005);
    pub(crate) const ASYNC_QUEUED: Code = Code(25000);
    pub(crate) const MIXED_MODE: Code = Code(26000);

    /// The code proper.
    pub(crate) fn number(self) -> u64 {
        self.0 & 0xFFFF
    }

    /// The same, with something to say behind the usual text.
    pub(crate) fn with_detail(self, text: &str) -> Code {
        let mut details = lock(&DETAILS);
        let known = details.iter().position(|detail| detail == text);
        let index = known.unwrap_or_else(|| {
            details.push(text.to_owned());
            details.len() - 1
        });
        Code(self.0 | ((index as u64 + 1) & 0xFFFF) << 16)
    }

    /// The code for a failure of the store.
    pub(crate) fn of(error: &Error) -> Code {
        match error.kind() {
            ErrorKind::NotFound => Code::FILE_NOT_FOUND,
            ErrorKind::AlreadyExists => Code::FILE_ALREADY_EXISTS,
            ErrorKind::Locked => Code::FILE_ALREADY_LOCKED,
            ErrorKind::ReadOnly => Code::FILE_READ_ONLY,
            ErrorKind::OutOfRange => Code::OUT_OF_RANGE,
            ErrorKind::Truncated => Code::END_OF_FILE,
            ErrorKind::Corrupt => Code::INVALID_DISK,
            ErrorKind::ChainBroken => Code::CID_MISMATCH,
            ErrorKind::InUse => Code::OBJECT_IS_BUSY,
            ErrorKind::InvalidArgument => Code::INVALID_ARG,
            ErrorKind::BadPath => Code::FILE_NAME_INVALID,
            ErrorKind::Denied => Code::AUTHENTICATION_FAIL,
            ErrorKind::NoSpace => Code::DISK_FULL,
            ErrorKind::Io => Code::FILE_ERROR,
            _ => Code::FAIL,
        }
    }
}

/// Details by number. GetErrorText gets no more than the word, so the word has to say which one is meant.
static DETAILS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// What failures carry in their upper bits, which the real library leaves undocumented.
static UPPER_BITS: AtomicU64 = AtomicU64::new(0);

/// Lets every failure from now on carry `bits` above its code.
pub(crate) fn set_upper_bits(bits: u32) {
    UPPER_BITS.store(u64::from(bits) << 32, Ordering::Relaxed);
}

/// The word that the caller gets. That a request was queued is no failure, and is compared as a whole.
pub(crate) fn word(answer: Answer<()>) -> u64 {
    match answer {
        Ok(()) => 0,
        Err(Code::ASYNC_QUEUED) => Code::ASYNC_QUEUED.0,
        Err(code) => code.0 | UPPER_BITS.load(Ordering::Relaxed),
    }
}

/// What the library says of a result word.
pub(crate) fn text(word: u64) -> String {
    let usual = match u16::try_from(word & 0xFFFF).ok().and_then(vixdisklib::lookup) {
        Some(info) => info.meaning.to_owned(),
        None => format!("Unknown error 0x{word:x}"),
    };
    let index = usize::try_from(word >> 16 & 0xFFFF).ok().and_then(|number| number.checked_sub(1));
    match index.and_then(|index| lock(&DETAILS).get(index).cloned()) {
        Some(detail) => format!("{usual}: {detail}"),
        None => usual,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_follow_the_table_and_ignore_the_upper_bits() {
        assert_eq!(text(0xABCD_0000_0000_0023), "the server refused the login");
        assert_eq!(text(3002), "Unknown error 0xbba");
        assert_eq!(word(Err(Code::MIXED_MODE)), 26000);
        let detailed = Code::FILE_ACCESS_ERROR.with_detail("no free slot");
        assert_eq!(detailed, Code(13).with_detail("no free slot"));
        assert_eq!((detailed.number(), word(Err(detailed)) & 0xFFFF), (13, 13));
        assert!(text(word(Err(detailed))).ends_with(": no free slot"));
        assert_ne!(text(word(Err(Code(13).with_detail("another")))), text(word(Err(detailed))));
    }
}
