//! Files on datastores: their names, and how to read and write them over HTTPS.
//!
//! To copy, move or delete files on the server itself, there are `FileManager` and `VirtualDiskManager` in
//! [`mo`](crate::mo), which take a [`DatastorePath`] as its text.

mod browser;
mod download;
mod files;
mod path;

pub use browser::DatastoreEntry;
pub use download::Download;
pub use files::{DatastoreFiles, FileStatus};
pub use path::DatastorePath;
