//! How plain values are written.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::{Reader, Wire, Writer};
use crate::ffi::RawInfo;
use crate::ffi::bindings::{VddkBlock, VddkCreateParams, VddkGeometry};
use crate::params::{ConnectParams, Credentials, DatastoreFolder, Remote, StorageObject, Target};
use crate::params::{Thumbprint, VmSpec};
use crate::version::Version;

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Wire for $type {
            fn put(&self, writer: &mut Writer) {
                writer.bytes(&self.to_le_bytes());
            }

            fn take(reader: &mut Reader<'_>) -> Option<$type> {
                reader.bytes(size_of::<$type>())?.try_into().ok().map(<$type>::from_le_bytes)
            }
        })*
    };
}

numbers!(u8, u16, u32, u64, i32);

/// A structure is its fields, one after the other.
macro_rules! fields {
    ($($type:ident { $($field:ident),* })*) => {
        $(impl Wire for $type {
            fn put(&self, writer: &mut Writer) {
                $(self.$field.put(writer);)*
            }

            fn take(reader: &mut Reader<'_>) -> Option<$type> {
                Some($type { $($field: Wire::take(reader)?),* })
            }
        })*
    };
}

fields! {
    Version { major, minor, patch }
    VddkBlock { offset, length }
    VddkGeometry { cylinders, heads, sectors }
    VddkCreateParams {
        disk_type, adapter_type, hardware_version, capacity, logical_sector_bytes, physical_sector_bytes
    }
    RawInfo { bios_geometry, physical_geometry, capacity, adapter_type, links, parent_hint, uuid, sector_bytes }
    StorageObject { id, datastore, snapshot }
    DatastoreFolder { datastore, folder }
    Remote { server, port, nfc_port, target, credentials, thumbprint, certificate }
}

impl Wire for bool {
    fn put(&self, writer: &mut Writer) {
        u8::from(*self).put(writer);
    }

    fn take(reader: &mut Reader<'_>) -> Option<bool> {
        match u8::take(reader)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

/// Bytes behind their number.
fn put_bytes(bytes: &[u8], writer: &mut Writer) {
    // A frame is smaller than this can say: a longer run fails with the frame.
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).put(writer);
    writer.bytes(bytes);
}

fn take_bytes<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let count = u32::take(reader)?;
    reader.bytes(usize::try_from(count).ok()?)
}

impl Wire for String {
    fn put(&self, writer: &mut Writer) {
        put_bytes(self.as_bytes(), writer);
    }

    fn take(reader: &mut Reader<'_>) -> Option<String> {
        Some(std::str::from_utf8(take_bytes(reader)?).ok()?.to_owned())
    }
}

impl Wire for SecretString {
    fn put(&self, writer: &mut Writer) {
        put_bytes(self.expose_secret().as_bytes(), writer);
    }

    fn take(reader: &mut Reader<'_>) -> Option<SecretString> {
        std::str::from_utf8(take_bytes(reader)?).ok().map(SecretString::from)
    }
}

impl Wire for CString {
    fn put(&self, writer: &mut Writer) {
        put_bytes(self.as_bytes(), writer);
    }

    fn take(reader: &mut Reader<'_>) -> Option<CString> {
        CString::new(take_bytes(reader)?).ok()
    }
}

impl Wire for PathBuf {
    fn put(&self, writer: &mut Writer) {
        put_bytes(self.as_os_str().as_encoded_bytes(), writer);
    }

    fn take(reader: &mut Reader<'_>) -> Option<PathBuf> {
        Some(PathBuf::from(OsStr::from_bytes(take_bytes(reader)?)))
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, writer: &mut Writer) {
        self.is_some().put(writer);
        if let Some(value) = self {
            value.put(writer);
        }
    }

    fn take(reader: &mut Reader<'_>) -> Option<Option<T>> {
        if bool::take(reader)? { T::take(reader).map(Some) } else { Some(None) }
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn put(&self, writer: &mut Writer) {
        u32::try_from(self.len()).unwrap_or(u32::MAX).put(writer);
        self.iter().for_each(|value| value.put(writer));
    }

    fn take(reader: &mut Reader<'_>) -> Option<Vec<T>> {
        // Grown as values are found: a number alone makes no room.
        let count = u32::take(reader)?;
        (0..count).map(|_| T::take(reader)).collect()
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, writer: &mut Writer) {
        self.0.put(writer);
        self.1.put(writer);
    }

    fn take(reader: &mut Reader<'_>) -> Option<(A, B)> {
        Some((A::take(reader)?, B::take(reader)?))
    }
}

impl Wire for ConnectParams {
    fn put(&self, writer: &mut Writer) {
        let server = self.server();
        server.is_some().put(writer);
        if let Some(remote) = server {
            remote.put(writer);
        }
    }

    fn take(reader: &mut Reader<'_>) -> Option<ConnectParams> {
        // What was refused on one side is refused on the other.
        <Option<Remote> as Wire>::take(reader)?
            .map_or(Some(ConnectParams::local()), |remote| ConnectParams::checked(remote).ok())
    }
}

impl Wire for Target {
    fn put(&self, writer: &mut Writer) {
        match self {
            Target::Machine(vm) => (0u8, vm.as_str().to_owned()).put(writer),
            Target::StorageObject(disk) => {
                1u8.put(writer);
                disk.put(writer);
            }
            Target::Datastore(folder) => {
                2u8.put(writer);
                folder.put(writer);
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Option<Target> {
        match u8::take(reader)? {
            0 => VmSpec::from_text(&String::take(reader)?).map(Target::Machine),
            1 => StorageObject::take(reader).map(Target::StorageObject),
            2 => DatastoreFolder::take(reader).map(Target::Datastore),
            _ => None,
        }
    }
}

impl Wire for Credentials {
    fn put(&self, writer: &mut Writer) {
        match self {
            Credentials::Password { user, password } => {
                0u8.put(writer);
                user.put(writer);
                password.put(writer);
            }
            Credentials::SessionCookie { cookie, user, key } => {
                1u8.put(writer);
                cookie.put(writer);
                user.put(writer);
                key.put(writer);
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Option<Credentials> {
        match u8::take(reader)? {
            0 => Some(Credentials::Password { user: Wire::take(reader)?, password: Wire::take(reader)? }),
            1 => Some(Credentials::SessionCookie {
                cookie: Wire::take(reader)?,
                user: Wire::take(reader)?,
                key: Wire::take(reader)?,
            }),
            _ => None,
        }
    }
}

impl Wire for Thumbprint {
    fn put(&self, writer: &mut Writer) {
        self.as_str().to_owned().put(writer);
    }

    fn take(reader: &mut Reader<'_>) -> Option<Thumbprint> {
        // Exactly as it is written, or else two frames would mean the same.
        let text = String::take(reader)?;
        text.parse::<Thumbprint>().ok().filter(|thumbprint| thumbprint.as_str() == text)
    }
}
