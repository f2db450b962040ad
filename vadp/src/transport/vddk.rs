use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use secrecy::SecretString;
use vim_api::mo::Managed;
use vixdisklib::{
    AccessGuard, AlignedBuf, ConnectOptions, ConnectParams, Connection, Credentials, Disk, IoMode, Library,
    OpenOptions, SectorRange, Sectors, Thumbprint, TransportMode, VmSpec,
};

use super::{DiskSink, DiskSource};
use crate::error::{Error, ErrorKind};
use crate::extent::{ByteRange, Extents};
use crate::machine::ProtectedVm;

/// The transports that are asked for, best first. SAN is left out: it cannot write thin disks, and a host that sees the
/// LUN would choose it for everything.
const TRANSPORTS: [TransportMode; 3] = [TransportMode::HotAdd, TransportMode::NbdSsl, TransportMode::Nbd];

/// Disks through VMware's VixDiskLib.
///
/// It logs in to the same server as the [`Client`](vim_api::Client) of the machine, with the thumbprint of the
/// certificate that the client has accepted. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Vddk {
    library: Arc<Library>,
    credentials: VddkCredentials,
}

/// How VixDiskLib logs in. Wiped from memory when dropped, never printed.
#[derive(Clone, Debug)]
pub struct VddkCredentials {
    user: String,
    password: SecretString,
}

impl VddkCredentials {
    /// A user's name and password.
    pub fn password(user: impl Into<String>, password: SecretString) -> Self {
        Self { user: user.into(), password }
    }
}

impl Vddk {
    /// Disks through `library`.
    pub fn new(library: Arc<Library>, credentials: VddkCredentials) -> Self {
        Self { library, credentials }
    }

    /// Opens a disk of a snapshot for reading. `path` is the one in the snapshot's configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`], with the library's error.
    pub async fn open_source(
        &self,
        vm: &ProtectedVm,
        snapshot: &str,
        path: &str,
    ) -> Result<Box<dyn DiskSource>, Error> {
        let options = ConnectOptions::new().read_only(true).snapshot(snapshot);
        Ok(Box::new(self.open(vm, options, path, OpenOptions::read_only()).await?))
    }

    /// Opens a disk of a machine that is powered off, for writing. `path` is the one in the machine's configuration.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`], with the library's error.
    pub async fn open_sink(&self, vm: &ProtectedVm, path: &str) -> Result<Box<dyn DiskSink>, Error> {
        Ok(Box::new(self.open(vm, ConnectOptions::new(), path, OpenOptions::read_write()).await?))
    }

    /// Opens the same disk for reading: what was written is read back over a connection that did not write it.
    ///
    /// # Errors
    /// [`ErrorKind::Disk`], with the library's error.
    pub async fn open_for_verification(
        &self,
        vm: &ProtectedVm,
        path: &str,
    ) -> Result<Box<dyn DiskSource>, Error> {
        let options = ConnectOptions::new().read_only(true);
        Ok(Box::new(self.open(vm, options, path, OpenOptions::read_only()).await?))
    }

    /// Has the server not move the machine (`VixDiskLib_PrepareForAccess`). What the same identity has left barred is taken over.
    pub(crate) async fn bar_migration(&self, vm: &ProtectedVm, identity: &str) -> Result<AccessGuard, Error> {
        let params = self.params(vm).await?;
        let (library, identity) = (Arc::clone(&self.library), identity.to_owned());
        let barred = blocking(move || library.prepare_for_access(&params, &identity)).await?;
        barred.map_err(|e| {
            let hint =
                "it takes Global.DisableMethods and Global.EnableMethods on the root folder, propagated";
            Error::disk(format!("barring {} from migration ({hint})", vm.name()), e)
        })
    }

    pub(crate) async fn end_access(vm: &ProtectedVm, guard: AccessGuard) -> Result<(), Error> {
        let ended = blocking(move || guard.end()).await?;
        ended.map_err(|e| Error::disk(format!("allowing the migration of {} again", vm.name()), e))
    }

    /// Removes what backups that died have left on this machine: disks attached to it, mostly.
    pub(crate) async fn clean_up(&self, vm: &ProtectedVm) -> Result<(), Error> {
        let params = self.params(vm).await?;
        let library = Arc::clone(&self.library);
        let cleaned = blocking(move || library.cleanup(&params)).await?;
        cleaned.map(drop).map_err(|e| Error::disk(format!("cleaning up after backups of {}", vm.name()), e))
    }

    async fn open(
        &self,
        vm: &ProtectedVm,
        connect: ConnectOptions,
        path: &str,
        open: OpenOptions,
    ) -> Result<VddkDisk, Error> {
        let context = format!("opening {path} of {}", vm.name());
        let params = self.params(vm).await?;
        let (library, path) = (Arc::clone(&self.library), path.to_owned());
        let opened = blocking(move || {
            let connection = library.connect(&params, connect.transports(TRANSPORTS))?;
            let disk = connection.open(&path, open.io_mode(IoMode::Async))?;
            Ok((connection, disk))
        })
        .await?;
        let (connection, disk) = opened.map_err(|e| Error::disk(context, e))?;
        let capacity = disk.capacity().bytes().ok_or_else(|| {
            Error::new(ErrorKind::ShortRead, format!("{disk:?} claims a size beyond 64 bits"))
        })?;
        let transport = disk.transport_mode().to_string();
        Ok(VddkDisk { disk: Arc::new(disk), connection, capacity, transport })
    }

    async fn params(&self, vm: &ProtectedVm) -> Result<ConnectParams, Error> {
        let client = vm.client();
        let context = || format!("preparing the disk connection to {}", client.host());
        let seen = client.thumbprints().await.map_err(|e| Error::api(context(), e))?;
        let digest: [u8; 20] =
            seen.sha1.as_bytes().try_into().map_err(|e| Error::new(ErrorKind::Disk, context()).because(e))?;
        let spec = VmSpec::moref(vm.vm().moref().value()).map_err(|e| Error::disk(context(), e))?;
        let credentials = Credentials::Password {
            user: self.credentials.user.clone(),
            password: self.credentials.password.clone(),
        };
        ConnectParams::remote(client.host(), spec, credentials)
            .port(client.port())
            .thumbprint(Thumbprint::from_sha1(digest))
            .build()
            .map_err(|e| Error::disk(context(), e))
    }
}

/// An open disk. The connection is behind it, so that it is closed after it.
struct VddkDisk {
    disk: Arc<Disk>,
    connection: Connection,
    capacity: u64,
    transport: String,
}

/// Lends a buffer of the library to whoever holds the bytes.
struct Filled(AlignedBuf);

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl VddkDisk {
    fn sectors(&self, range: ByteRange) -> Result<(Sectors, Sectors, usize), Error> {
        let aligned = Sectors::from_bytes(range.start()).zip(Sectors::from_bytes(range.end()));
        let length = usize::try_from(range.length()).ok();
        aligned.zip(length).map(|((start, end), length)| (start, end, length)).ok_or_else(|| {
            Error::new(ErrorKind::ShortRead, format!("{range:?} is not a range of whole sectors"))
        })
    }

    /// One that the disk's library reads and writes without a copy, in whichever process it runs.
    fn buffer(&self, length: usize) -> Result<AlignedBuf, Error> {
        self.disk.buffer(length).map_err(|e| Error::disk("making a buffer", e))
    }
}

impl DiskSource for VddkDisk {
    fn capacity(&self) -> u64 {
        self.capacity
    }

    fn transport(&self) -> &str {
        &self.transport
    }

    fn allocated(&self, range: ByteRange) -> BoxFuture<'_, Result<Extents, Error>> {
        async move {
            let (start, end, _) = self.sectors(range)?;
            let Some(sectors) = SectorRange::between(start, end) else { return Ok(Extents::new()) };
            let disk = Arc::clone(&self.disk);
            let answer = blocking(move || disk.allocated_blocks(sectors)).await?;
            let blocks =
                answer.map_err(|e| Error::disk(format!("asking what is allocated in {range:?}"), e))?;
            Ok(blocks
                .ranges
                .iter()
                .filter_map(|r| r.bytes().and_then(|bytes| ByteRange::new(bytes.start, bytes.end)))
                .collect())
        }
        .boxed()
    }

    fn read(&self, range: ByteRange) -> BoxFuture<'_, Result<Bytes, Error>> {
        async move {
            let (start, _, length) = self.sectors(range)?;
            let read = self.disk.read_async(start, self.buffer(length)?).await;
            let buffer = read.map_err(|e| Error::disk(format!("reading {range:?}"), e))?;
            Ok(Bytes::from_owner(Filled(buffer)))
        }
        .boxed()
    }

    fn descriptor(&self) -> BoxFuture<'_, Result<BTreeMap<String, String>, Error>> {
        async move {
            let disk = Arc::clone(&self.disk);
            let read = blocking(move || {
                let keys = disk.metadata_keys()?;
                let mut found = BTreeMap::new();
                for key in keys {
                    if let Some(value) = disk.metadata(&key)? {
                        found.insert(key, value);
                    }
                }
                Ok(found)
            });
            read.await?.map_err(|e| Error::disk("reading the descriptor of a disk", e))
        }
        .boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), Error>> {
        async move {
            let closed = blocking(move || {
                let VddkDisk { disk, connection, .. } = *self;
                // A call that was given up may be under way yet. It ends by itself, and then the disk is ours alone.
                while Arc::strong_count(&disk) > 1 {
                    std::thread::sleep(Duration::from_millis(2));
                }
                if let Some(disk) = Arc::into_inner(disk) {
                    disk.close()?;
                }
                connection.close()
            })
            .await?;
            closed.map_err(|e| Error::disk("closing a disk", e))
        }
        .boxed()
    }
}

impl DiskSink for VddkDisk {
    fn write(&self, offset: u64, data: Bytes) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let Some(range) = ByteRange::with_length(offset, data.len() as u64) else { return Ok(()) };
            let (start, _, length) = self.sectors(range)?;
            let mut buffer = self.buffer(length)?;
            buffer.copy_from_slice(&data);
            let written = self.disk.write_async(start, buffer).await;
            written.map(drop).map_err(|e| Error::disk(format!("writing {range:?}"), e))
        }
        .boxed()
    }

    fn set_descriptor(&self, keys: BTreeMap<String, String>) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let disk = Arc::clone(&self.disk);
            let set =
                blocking(move || keys.iter().try_for_each(|(key, value)| disk.set_metadata(key, value)));
            set.await?.map_err(|e| Error::disk("writing the descriptor of a disk", e))
        }
        .boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), Error>> {
        async move {
            let disk = Arc::clone(&self.disk);
            blocking(move || disk.flush()).await?.map_err(|e| Error::disk("flushing a disk", e))
        }
        .boxed()
    }
}

/// The library blocks, sometimes for seconds; that must not hold up the tasks of the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::new(ErrorKind::Disk, "the thread of a disk call ended").because(e))
}
