//! Files and disks on datastores: their names, how to read and write them over HTTPS, and what the server does with them.

mod browser;
mod disk_uuid;
mod disks;
mod download;
mod files;
mod manage;
mod path;

pub use browser::DatastoreEntry;
pub use disk_uuid::DiskUuid;
pub use disks::DatastoreDisks;
pub use download::Download;
pub use files::{DatastoreFiles, FileStatus};
pub use manage::IfExists;
pub use path::DatastorePath;
