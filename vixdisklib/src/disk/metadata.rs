//! The key and value pairs that a disk carries, such as `uuid` and `geometry.cylinders`.

use super::Disk;
use crate::connection::c_string;
use crate::error::Result;
use crate::ffi::{CallError, bindings};
use crate::log;
use crate::wire::Request;

const GET: &str = "read the metadata of";
const SET: &str = "write the metadata of";
const LIST: &str = "list the metadata of";

impl Disk {
    /// The value of `key`, or `None` when the disk has no such key. Bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// What the library reports; [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a key with a zero
    /// byte.
    pub fn metadata(&self, key: &str) -> Result<Option<String>> {
        let key = c_string(GET, key)?;
        let mark = log::mark();
        match self.engine().call::<Vec<u8>>(Request::ReadMetadata { disk: self.number, key }) {
            Ok(value) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            Err(CallError::Code(raw)) if raw & 0xFFFF == u64::from(bindings::VDDK_E_DISK_KEY_NOT_FOUND) => {
                Ok(None)
            }
            Err(error) => Err(self.error(GET, error, mark)),
        }
    }

    /// Sets `key` to `value`. Keys cannot be removed again.
    ///
    /// # Errors
    /// As for [`Disk::metadata`]; the disk must be open for writing.
    pub fn set_metadata(&self, key: &str, value: &str) -> Result<()> {
        self.check_writable(SET)?;
        let (key, value) = (c_string(SET, key)?, c_string(SET, value)?);
        self.call(SET, Request::WriteMetadata { disk: self.number, key, value })
    }

    /// All keys of the disk, in the library's order.
    ///
    /// # Errors
    /// What the library reports.
    pub fn metadata_keys(&self) -> Result<Vec<String>> {
        let list: Vec<u8> = self.call(LIST, Request::MetadataKeys { disk: self.number })?;
        let keys = list.split(|byte| *byte == 0).filter(|key| !key.is_empty());
        Ok(keys.map(|key| String::from_utf8_lossy(key).into_owned()).collect())
    }
}
