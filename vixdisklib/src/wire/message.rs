//! The messages. Whatever is asked of the library is a [`Request`], whether it runs in this process or in another.

use std::ffi::CString;
use std::path::PathBuf;

use super::{Reader, Wire, Writer};
use crate::ffi::RawInfo;
use crate::ffi::bindings::{VddkBlock, VddkCreateParams};
use crate::params::ConnectParams;
use crate::version::Version;

/// An enumeration, each variant with its number on the wire, and a structure for each.
macro_rules! messages {
    ($($(#[$about:meta])* $name:ident {
        $($(#[$doc:meta])* $tag:literal = $variant:ident { $($field:ident: $type:ty),* },)*
    })*) => {
        $($(#[$about])*
        pub(crate) enum $name {
            $($(#[$doc])* $variant { $($field: $type),* },)*
        }

        impl $name {
            /// What it is called in this crate.
            #[allow(dead_code, reason = "of requests and messages alone")]
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $($name::$variant { .. } => stringify!($variant),)*
                }
            }
        }

        impl Wire for $name {
            fn put(&self, writer: &mut Writer) {
                match self {
                    $($name::$variant { $($field),* } => {
                        const TAG: u8 = $tag;
                        TAG.put(writer);
                        $($field.put(writer);)*
                    })*
                }
            }

            fn take(reader: &mut Reader<'_>) -> Option<$name> {
                match u8::take(reader)? {
                    $($tag => Some($name::$variant { $($field: Wire::take(reader)?),* }),)*
                    _ => None,
                }
            }
        })*
    };
}

macro_rules! records {
    ($($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty,)* })*) => {
        $($(#[$about])*
        pub(crate) struct $name {
            $($(#[$doc])* pub(crate) $field: $type,)*
        }

        impl Wire for $name {
            fn put(&self, writer: &mut Writer) {
                $(self.$field.put(writer);)*
            }

            fn take(reader: &mut Reader<'_>) -> Option<$name> {
                Some($name { $($field: Wire::take(reader)?),* })
            }
        })*
    };
}

messages! {
    /// From the program to its worker.
    ToWorker {
        /// Load and start VixDiskLib; answered by [`ToHost::Started`]. The first message, sent once.
        0 = Start { directory: PathBuf, config: PathBuf },
        /// A call; answered by [`ToHost::Answered`].
        1 = Call { id: u64, request: Request },
        /// Read or write between a disk and shared memory; answered by [`ToHost::Transferred`].
        2 = Transfer { id: u64, disk: u64, write: bool, sector: u64, region: u64, offset: u64, length: u64 },
        /// A part of the shared file from here on goes by this number.
        3 = Map { region: u64, offset: u64, length: u64 },
        /// It is not used any more.
        4 = Unmap { region: u64 },
    }

    /// From the worker to its program. Its numbers are none of the other direction.
    ToHost {
        /// The first message: of which messages the worker was built.
        16 = Hello { fingerprint: u64 },
        /// VixDiskLib runs, or does not.
        17 = Started { outcome: StartOutcome },
        /// The answer to a call.
        18 = Answered { id: u64, outcome: Outcome },
        /// The end of a transfer, with the library's result word.
        19 = Transferred { id: u64, raw: u64 },
        /// How far a call is, in percent.
        20 = Progress { id: u64, percent: u8 },
        /// A line of VixDiskLib's log, without secrets: 0 ordinary, 1 a warning, 2 the last words.
        21 = Log { level: u8, line: String },
    }

    /// Whether the library could be started.
    StartOutcome {
        0 = Runs { started: Started },
        1 = Refused { refusal: Refusal },
    }

    /// Whether a call worked.
    Outcome {
        0 = Done { answer: Answer },
        1 = Failed { raw: u64 },
        /// The library lacks the function: its place in the table of symbols.
        2 = Missing { symbol: u16 },
    }

    /// What is asked of the library. Connections and disks go by numbers that it gave.
    Request {
        0 = TransportModes {},
        1 = ErrorText { raw: u64 },
        2 = Statistics {},
        3 = Connect { params: ConnectParams, read_only: bool, snapshot: Option<CString>, modes: Option<CString> },
        4 = Disconnect { connection: u64 },
        5 = PrepareForAccess { params: ConnectParams, identity: CString },
        6 = EndAccess { params: ConnectParams, identity: CString },
        7 = Cleanup { params: ConnectParams },
        8 = Rename { from: CString, to: CString },
        9 = Create { connection: u64, path: CString, spec: VddkCreateParams },
        10 = Clone { connection: u64, path: CString, from: u64, from_path: CString, spec: VddkCreateParams, overwrite: bool },
        11 = Grow { connection: u64, path: CString, sectors: u64, update_geometry: bool },
        12 = Unlink { connection: u64, path: CString },
        13 = CheckRepair { connection: u64, path: CString, repair: bool },
        14 = Open { connection: u64, path: CString, flags: u32, change_id: Option<CString>, asynchronous: bool },
        15 = Close { disk: u64 },
        16 = Flush { disk: u64 },
        17 = Info { disk: u64 },
        18 = AllocatedBlocks { disk: u64, start: u64, count: u64, chunk: u64 },
        19 = ChangedAreas { disk: u64, start: u64 },
        20 = ReadMetadata { disk: u64, key: CString },
        21 = WriteMetadata { disk: u64, key: CString, value: CString },
        22 = MetadataKeys { disk: u64 },
        23 = CreateChild { disk: u64, path: CString, disk_type: u32 },
        24 = Shrink { disk: u64 },
        25 = Defragment { disk: u64 },
        26 = SpaceNeededForClone { disk: u64, disk_type: u32 },
        27 = IsAttachPossible { disk: u64, parent: u64 },
        28 = Attach { disk: u64, parent: u64 },
    }

    /// What a call gives.
    Answer {
        0 = Done {},
        1 = Text { text: Option<String> },
        2 = Number { number: u64 },
        3 = Flag { flag: bool },
        4 = Bytes { bytes: Vec<u8> },
        5 = Opened { disk: u64, mode: Option<String>, info: RawInfo },
        6 = Info { info: RawInfo },
        7 = Blocks { blocks: Vec<VddkBlock> },
        8 = Changes { start: u64, length: u64, areas: Vec<VddkBlock> },
        /// What was done counts beside a failure, too.
        9 = Cleaned { raw: u64, cleaned: u32, remaining: u32 },
        10 = Statistics { rows: Vec<Row> },
    }
}

records! {
    /// The library that runs.
    Started {
        /// The file that was loaded, with links resolved.
        file: PathBuf,
        /// From its first log line, or its name.
        version: Version,
        /// For each symbol of the table, whether the library has it.
        present: Vec<bool>,
    }

    /// An error of starting the library, with all its parts.
    Refusal {
        kind: u8,
        operation: String,
        subject: Option<String>,
        raw: Option<u64>,
        text: Option<String>,
        advice: Option<String>,
        source: Option<String>,
    }

    /// What was counted of one function; times in nanoseconds.
    Row {
        symbol: u16,
        calls: u64,
        failures: u64,
        total: u64,
        longest: u64,
    }
}
