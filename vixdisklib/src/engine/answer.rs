//! What callers get out of an answer: the one thing that their request gives.

use crate::access::CleanupReport;
use crate::ffi::{RawChanges, RawInfo, bindings::VddkBlock};
use crate::wire::{Answer, Row};

/// A disk that was opened.
pub(crate) struct Opened {
    /// The number under which it goes.
    pub(crate) disk: u64,
    /// The library's name for its transport.
    pub(crate) mode: Option<String>,
    pub(crate) info: RawInfo,
}

/// What a clean-up came to.
pub(crate) struct Cleaned {
    /// The library's result word.
    pub(crate) raw: u64,
    pub(crate) report: CleanupReport,
}

macro_rules! answers {
    ($($pattern:pat => $type:ty: $value:expr;)*) => {
        $(impl TryFrom<Answer> for $type {
            type Error = ();

            fn try_from(answer: Answer) -> Result<$type, ()> {
                match answer {
                    $pattern => Ok($value),
                    _ => Err(()),
                }
            }
        })*
    };
}

answers! {
    Answer::Done {} => (): ();
    Answer::Opened { disk, mode, info } => Opened: Opened { disk, mode, info };
    Answer::Text { text } => Option<String>: text;
    Answer::Number { number } => u64: number;
    Answer::Flag { flag } => bool: flag;
    Answer::Bytes { bytes } => Vec<u8>: bytes;
    Answer::Info { info } => RawInfo: info;
    Answer::Blocks { blocks } => Vec<VddkBlock>: blocks;
    Answer::Changes { start, length, areas } => RawChanges: RawChanges { start, length, areas };
    Answer::Cleaned { raw, cleaned, remaining } => Cleaned: Cleaned { raw, report: CleanupReport { cleaned, remaining } };
    Answer::Statistics { rows } => Vec<Row>: rows;
}
