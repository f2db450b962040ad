//! Where and as whom to connect. What cannot be built here cannot crash VixDiskLib: it falls over null pointers.

use std::fmt;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, ErrorKind, Result};
use crate::version::Version;

const OPERATION: &str = "build connection parameters";

/// Parameters of a connection: local disk files, or a virtual machine on a server.
#[derive(Debug, Clone)]
pub struct ConnectParams {
    remote: Option<Box<Remote>>,
}

/// How to log in. Secrets are wiped from memory when dropped and never printed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// A user's name and password. Each connection opens a vCenter session of its own.
    Password {
        /// The user, such as `administrator@vsphere.local`.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// The cookie of a SOAP session that exists already: no further login, no further session.
    SessionCookie {
        /// The value of the cookie `vmware_soap_session`.
        cookie: SecretString,
        /// The user of that session.
        user: String,
        /// The user's password.
        key: SecretString,
    },
}

/// The virtual machine whose disks are meant, in the form that VixDiskLib wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct VmSpec(String);

/// A first-class disk, which belongs to no machine (VDDK 6.7 and later).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct StorageObject {
    /// The disk's id, a UUID.
    pub id: String,
    /// The managed object id of its datastore, such as `datastore-12`.
    pub datastore: String,
    /// The id of one of its snapshots, or its present content.
    pub snapshot: Option<String>,
}

/// A folder of a datastore, whose disks are opened without a machine (VDDK 8.0.1 and later).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DatastoreFolder {
    /// The managed object id of the datastore, such as `datastore-12`.
    pub datastore: String,
    /// The folder on it that holds the disk.
    pub folder: String,
}

/// SHA-1 thumbprint of a server certificate: 20 bytes, written as hexadecimal pairs with colons between.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Thumbprint(String);

/// Builder of remote parameters; from [`ConnectParams::remote`].
#[derive(Debug)]
pub struct RemoteBuilder {
    remote: Remote,
}

#[derive(Debug, Clone)]
pub(crate) struct Remote {
    pub(crate) server: String,
    pub(crate) port: u16,
    pub(crate) nfc_port: u16,
    pub(crate) target: Target,
    pub(crate) credentials: Credentials,
    pub(crate) thumbprint: Option<Thumbprint>,
    pub(crate) certificate: Option<String>,
}

/// Whose disks are meant.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Machine(VmSpec),
    StorageObject(StorageObject),
    Datastore(DatastoreFolder),
}

impl ConnectParams {
    /// Disk files on this machine.
    #[must_use]
    pub fn local() -> ConnectParams {
        ConnectParams { remote: None }
    }

    /// The disks of `vm` on `server`, a vCenter or an ESXi host given by name or address without a port.
    #[must_use]
    pub fn remote(server: impl Into<String>, vm: VmSpec, credentials: Credentials) -> RemoteBuilder {
        RemoteBuilder::new(server.into(), Target::Machine(vm), credentials)
    }

    /// A first-class disk on `server`. Needs VDDK 6.7; an older library is not asked.
    #[must_use]
    pub fn storage_object(
        server: impl Into<String>,
        disk: StorageObject,
        credentials: Credentials,
    ) -> RemoteBuilder {
        RemoteBuilder::new(server.into(), Target::StorageObject(disk), credentials)
    }

    /// The disks in a folder of a datastore of `server`. Needs VDDK 8.0.1; an older library is not asked.
    #[must_use]
    pub fn datastore(
        server: impl Into<String>,
        folder: DatastoreFolder,
        credentials: Credentials,
    ) -> RemoteBuilder {
        RemoteBuilder::new(server.into(), Target::Datastore(folder), credentials)
    }

    /// Whether these are for files on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.remote.is_none()
    }

    pub(crate) fn server(&self) -> Option<&Remote> {
        self.remote.as_deref()
    }

    /// Names the place in errors, without secrets.
    pub(crate) fn place(&self) -> String {
        match self.server() {
            Some(Remote { server, target: Target::Machine(vm), .. }) => format!("{server} ({})", vm.as_str()),
            Some(Remote { server, target: Target::StorageObject(disk), .. }) => {
                format!("{server} (first-class disk {} on {})", disk.id, disk.datastore)
            }
            Some(Remote { server, target: Target::Datastore(store), .. }) => {
                format!("{server} ({}/{})", store.datastore, store.folder)
            }
            None => "local disks".into(),
        }
    }

    /// Whether these name a virtual machine.
    pub(crate) fn names_machine(&self) -> bool {
        matches!(self.server(), Some(Remote { target: Target::Machine(_), .. }))
    }

    /// Refuses what a library of this version would misread, or has no room for.
    pub(crate) fn check_version(&self, operation: &'static str, version: Version) -> Result<()> {
        let Some(remote) = self.server() else { return Ok(()) };
        let lacks = match &remote.target {
            Target::StorageObject(_) if !version.has_storage_objects() => Some(("first-class disks", "6.7")),
            Target::Datastore(_) if !version.has_datastore_folders() => {
                Some(("folders of datastores", "8.0.1"))
            }
            _ if remote.certificate.is_some() && !version.has_certificate() => {
                Some(("a certificate beside the thumbprint", "9.0"))
            }
            _ => None,
        };
        lacks.map_or(Ok(()), |(what, since)| {
            Err(Error::new(ErrorKind::Unsupported, operation, format!("VDDK {version} does not know {what}"))
                .with_subject(self.place())
                .with_advice(format!("use VDDK {since} or newer")))
        })
    }
}

impl StorageObject {
    /// The present content of the disk `id` on `datastore`, a managed object id.
    #[must_use]
    pub fn new(id: impl Into<String>, datastore: impl Into<String>) -> StorageObject {
        StorageObject { id: id.into(), datastore: datastore.into(), snapshot: None }
    }

    /// A snapshot of it instead.
    #[must_use]
    pub fn snapshot(mut self, id: impl Into<String>) -> StorageObject {
        self.snapshot = Some(id.into());
        self
    }
}

impl DatastoreFolder {
    /// `folder` on `datastore`, a managed object id.
    #[must_use]
    pub fn new(datastore: impl Into<String>, folder: impl Into<String>) -> DatastoreFolder {
        DatastoreFolder { datastore: datastore.into(), folder: folder.into() }
    }
}

impl RemoteBuilder {
    fn new(server: String, target: Target, credentials: Credentials) -> RemoteBuilder {
        let remote =
            Remote { server, port: 0, nfc_port: 0, target, credentials, thumbprint: None, certificate: None };
        RemoteBuilder { remote }
    }

    /// The port of the SOAP service; 443 unless set, and 0 means 443.
    #[must_use]
    pub fn port(mut self, port: u16) -> RemoteBuilder {
        self.remote.port = port;
        self
    }

    /// The port of the NFC data service; 902 unless set, and 0 means 902.
    #[must_use]
    pub fn nfc_port(mut self, port: u16) -> RemoteBuilder {
        self.remote.nfc_port = port;
        self
    }

    /// The thumbprint that the certificate of `server` must have. VixDiskLib has verified certificates since 6.0: without a
    /// thumbprint it accepts only what this machine trusts.
    #[must_use]
    pub fn thumbprint(mut self, thumbprint: Thumbprint) -> RemoteBuilder {
        self.remote.thumbprint = Some(thumbprint);
        self
    }

    /// The certificate that `server` must have, in PEM form, instead of a thumbprint. Needs VDDK 9.0; an older library is not
    /// asked.
    #[must_use]
    pub fn certificate(mut self, pem: impl Into<String>) -> RemoteBuilder {
        self.remote.certificate = Some(pem.into());
        self
    }

    /// Checks what was given.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when the server, the user, a secret, the certificate or a part of what names the disk is
    /// empty or holds a zero byte.
    pub fn build(self) -> Result<ConnectParams> {
        let remote = self.remote;
        check("the server", &remote.server)?;
        match &remote.target {
            Target::Machine(_) => {}
            Target::StorageObject(disk) => {
                check("the disk's id", &disk.id)?;
                check("the datastore", &disk.datastore)?;
                disk.snapshot.as_deref().map_or(Ok(()), |snapshot| check("the snapshot", snapshot))?;
            }
            Target::Datastore(store) => {
                check("the datastore", &store.datastore)?;
                check("the folder", &store.folder)?;
            }
        }
        remote.certificate.as_deref().map_or(Ok(()), |pem| check("the certificate", pem))?;
        match &remote.credentials {
            Credentials::Password { user, password } => {
                check("the user", user)?;
                check("the password", password.expose_secret())?;
            }
            Credentials::SessionCookie { cookie, user, key } => {
                check("the cookie", cookie.expose_secret())?;
                check("the user", user)?;
                check("the key", key.expose_secret())?;
            }
        }
        Ok(ConnectParams { remote: Some(Box::new(remote)) })
    }
}

impl VmSpec {
    /// The machine with this managed object id, such as `vm-16` on a vCenter or `2` on an ESXi host.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when it is empty or holds something other than letters, digits, `-`, `_` and `.`.
    pub fn moref(moref: &str) -> Result<VmSpec> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if moref.is_empty() || !moref.chars().all(fits) {
            return Err(invalid(format!("{moref:?} is not a managed object id such as vm-16")));
        }
        Ok(VmSpec(format!("moref={moref}")))
    }

    /// The machine whose configuration file is `path` (`web/web.vmx`) on a datastore of a datacenter, both by name, the
    /// datacenter with the folders above it. The old form: a managed object id is unambiguous, and does not change with names.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when a part is empty or holds a zero byte, `?` or `&`, which separate the parts.
    pub fn vmx(path: &str, datacenter: &str, datastore: &str) -> Result<VmSpec> {
        for part in [path, datacenter, datastore] {
            if part.is_empty() || part.contains(['\0', '?', '&']) {
                return Err(invalid(format!("{part:?} cannot be a part of what names a machine")));
            }
        }
        Ok(VmSpec(format!("{path}?dcPath={datacenter}&dsName={datastore}")))
    }

    /// The text that VixDiskLib gets: `moref=vm-16`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Thumbprint {
    /// From the bytes of the SHA-1 digest of the certificate in DER form.
    #[must_use]
    pub fn from_sha1(digest: [u8; 20]) -> Thumbprint {
        let pairs: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
        Thumbprint(pairs.join(":"))
    }

    /// Upper-case pairs with colons between.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Thumbprint {
    type Err = Error;

    /// Reads 40 hexadecimal digits of either case, with or without colons between the pairs.
    fn from_str(text: &str) -> Result<Thumbprint> {
        let digits: Vec<u32> = text.chars().filter(|c| *c != ':').map_while(|c| c.to_digit(16)).collect();
        let colons = text.chars().filter(|c| *c == ':').count();
        if digits.len() != 40 || text.len() != digits.len() + colons || !matches!(colons, 0 | 19) {
            return Err(invalid(format!(
                "{text:?} is not a SHA-1 thumbprint: 20 pairs of hexadecimal digits"
            )));
        }
        let mut digest = [0u8; 20];
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().fold(0u8, |byte, digit| (byte << 4) | u8::try_from(*digit).unwrap_or(0));
        }
        Ok(Thumbprint::from_sha1(digest))
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(what: &str, text: &str) -> Result<()> {
    if text.is_empty() {
        return Err(invalid(format!("{what} is empty")));
    }
    if text.contains('\0') {
        return Err(invalid(format!("{what} holds a zero byte")));
    }
    Ok(())
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::InvalidArgument, OPERATION, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Credentials {
        Credentials::Password { user: "root".into(), password: SecretString::from(text) }
    }

    #[test]
    fn nothing_null_or_empty_can_be_built() {
        let vm = || VmSpec::moref("vm-16").unwrap();
        assert!(ConnectParams::remote("", vm(), password("x")).build().is_err());
        assert!(ConnectParams::remote("esx\0", vm(), password("x")).build().is_err());
        assert!(ConnectParams::remote("esx", vm(), password("")).build().is_err());
        assert!(VmSpec::moref("").is_err());
        assert!(VmSpec::moref("vm 16").is_err());
        assert_eq!(
            VmSpec::vmx("web/web.vmx", "DC", "ds 1").unwrap().as_str(),
            "web/web.vmx?dcPath=DC&dsName=ds 1"
        );
        assert!(VmSpec::vmx("web/web.vmx", "DC", "").is_err());
        assert!(VmSpec::vmx("web/web.vmx?dsName=other", "DC", "ds").is_err());
        let params = ConnectParams::remote("esx", vm(), password("hush")).build().unwrap();
        assert_eq!(params.place(), "esx (moref=vm-16)");
        assert!(!format!("{params:?}").contains("hush"));
    }

    #[test]
    fn what_a_library_has_no_room_for_is_refused() {
        let version = |major, minor, patch| Version { major, minor, patch };
        let disk =
            ConnectParams::storage_object("vc", StorageObject::new("1-2", "datastore-1"), password("x"));
        let folder = ConnectParams::datastore("vc", DatastoreFolder::new("datastore-1", "a"), password("x"));
        let certified =
            ConnectParams::remote("vc", VmSpec::moref("vm-1").unwrap(), password("x")).certificate("PEM");
        for (params, too_old, first) in [
            (disk.build().unwrap(), version(6, 5, 9), version(6, 7, 0)),
            // 2 means "unknown" to 6.7, and a folder from 8.0.1 on.
            (folder.build().unwrap(), version(8, 0, 0), version(8, 0, 1)),
            (certified.build().unwrap(), version(8, 0, 3), version(9, 0, 0)),
        ] {
            let error = params.check_version("connect to", too_old).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains("use VDDK"), "{error}");
            params.check_version("connect to", first).unwrap();
        }
        assert!(
            ConnectParams::datastore("vc", DatastoreFolder::new("d", ""), password("x")).build().is_err()
        );
        assert!(
            ConnectParams::storage_object("vc", StorageObject::new("", "d"), password("x")).build().is_err()
        );
    }

    #[test]
    fn thumbprints_are_normalised() {
        let plain = "aa".repeat(20);
        let colons = vec!["AA"; 20].join(":");
        assert_eq!(plain.parse::<Thumbprint>().unwrap().as_str(), colons);
        assert_eq!(colons.parse::<Thumbprint>().unwrap().as_str(), colons);
        for wrong in ["", "zz", &"a".repeat(39), &"a".repeat(64), &format!("{plain} ")] {
            assert!(wrong.parse::<Thumbprint>().is_err(), "{wrong}");
        }
    }
}
