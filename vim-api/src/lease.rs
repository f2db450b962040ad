//! Leases under which the disks of a machine are carried over HTTPS.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::error::{Error, Fault};
use crate::mo::{self, Managed};
use crate::moref::MoRef;
use crate::types::{
    HttpNfcLeaseDeviceUrl, HttpNfcLeaseInfo, HttpNfcLeaseManifestEntry, HttpNfcLeaseState,
    LocalizedMethodFault,
};

/// Progress is told at least this often. Servers end a lease that they hear nothing of for its `leaseTimeout`, which is 300
/// seconds where nobody changed it.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// An `HttpNfcLease` that is kept alive: what `ExportVm`, `ExportSnapshot` and `ImportVApp` give.
///
/// In the background the server is told how far the transfer is, which it needs to hear even when nothing moves.
/// [`complete`](Self::complete) ends it well, [`abort`](Self::abort) ends it badly; one that is dropped is aborted, as
/// otherwise the machine stays locked until the server loses patience.
///
/// A lease belongs to its session: when that is lost, so is the lease, and the transfer has to begin anew.
#[derive(Debug)]
pub struct NfcLease {
    lease: mo::HttpNfcLease,
    info: HttpNfcLeaseInfo,
    host: String,
    percent: Arc<AtomicI32>,
    keeper: JoinHandle<()>,
    lost: watch::Receiver<Option<String>>,
    ended: bool,
}

/// Where one file of a lease is read or written.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeaseFile {
    /// The server's key of the device, such as `/vm-101/VirtualLsiLogicController0:0`.
    pub key: String,
    /// For an import: the key that the device has in the specification.
    pub import_key: String,
    /// Where it is: a complete address. Whoever knows it can use it without a login, as long as the lease lives.
    pub url: String,
    /// SHA-1 thumbprint of the certificate that is shown there, which may be a host's and not the vCenter's. Empty where
    /// the server tells none.
    pub thumbprint: String,
    /// Whether it is a virtual disk.
    pub is_disk: bool,
    /// The name that the file is to have in an OVF package, where there is one.
    pub target: Option<String>,
    /// Size in bytes of the file, where the server knows it.
    pub size: Option<u64>,
}

impl Client {
    /// Takes charge of a lease, and waits until it can be used.
    ///
    /// # Errors
    /// The fault with which the server gave the lease up; kind `NotFound` when it is gone. That of a call that failed, and
    /// then the lease is aborted.
    pub async fn nfc_lease(&self, lease: &MoRef<mo::HttpNfcLease>) -> Result<NfcLease, Error> {
        // From here on it is given back whatever happens.
        let handle = self.bind(lease);
        let (told, lost) = watch::channel(None);
        let percent = Arc::new(AtomicI32::new(0));
        let keeper = tokio::spawn(keep(handle.clone(), Arc::clone(&percent), LONGEST_SILENCE, told));
        let mut lease = NfcLease {
            lease: handle,
            info: HttpNfcLeaseInfo::default(),
            host: self.host().to_owned(),
            percent,
            keeper,
            lost,
            ended: false,
        };
        lease.info = lease.when_ready(self).await?;
        Ok(lease)
    }
}

impl NfcLease {
    /// The machine or vApp that is carried.
    pub fn entity(&self) -> &MoRef<mo::ManagedEntity> {
        &self.info.entity
    }

    /// All that the server said of the lease.
    pub fn info(&self) -> &HttpNfcLeaseInfo {
        &self.info
    }

    /// The files to carry, in the server's order. Where an address names no host (`https://*/...`), it is the one that the
    /// client speaks to.
    pub fn files(&self) -> Vec<LeaseFile> {
        self.info.device_url.iter().map(|device| file(device, &self.host)).collect()
    }

    /// Sets how far the transfer is, in percent; above 100 is 100. It goes to the server with the next message.
    pub fn set_progress(&self, percent: u8) {
        self.percent.store(i32::from(percent.min(100)), Ordering::Relaxed);
    }

    /// Whether the server still knows the lease, as far as was heard. An error means that the transfer has to begin anew.
    ///
    /// # Errors
    /// Kind `NotFound`, with the reason.
    pub fn check(&self) -> Result<(), Error> {
        match &*self.lost.borrow() {
            None => Ok(()),
            Some(reason) => Err(Error::not_found(format!("{} was lost: {reason}", self.lease.moref()))
                .with_advice("begin the transfer anew: a lease ends with its session and its patience")),
        }
    }

    /// Digests and sizes of what was carried, after all of it was.
    ///
    /// # Errors
    /// When the call fails; fault `InvalidState` when the lease is not ready any more.
    pub async fn manifest(&self) -> Result<Vec<HttpNfcLeaseManifestEntry>, Error> {
        self.lease.http_nfc_lease_get_manifest().await
    }

    /// Ends the lease well: an import is a machine from then on.
    ///
    /// # Errors
    /// When the lease was lost before, or the call fails. It is then aborted.
    pub async fn complete(mut self) -> Result<(), Error> {
        self.check()?;
        self.keeper.abort();
        self.lease.http_nfc_lease_progress(100).await?;
        self.lease.http_nfc_lease_complete().await?;
        self.ended = true;
        Ok(())
    }

    /// Ends the lease badly: what was imported so far is deleted. The server shows `reason` to people.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn abort(mut self, reason: Option<LocalizedMethodFault>) -> Result<(), Error> {
        self.ended = true;
        self.keeper.abort();
        self.lease.http_nfc_lease_abort(reason.as_ref()).await
    }

    async fn when_ready(&self, client: &Client) -> Result<HttpNfcLeaseInfo, Error> {
        let moref = self.lease.moref();
        let mut updates = client.updates_of(std::slice::from_ref(&moref), &["state", "error", "info"]);
        loop {
            let told = updates.next().await?;
            let Some(known) = updates.get(&moref) else {
                if told.in_sync {
                    return Err(Error::not_found(format!("{moref} is gone")));
                }
                continue;
            };
            match known.get::<HttpNfcLeaseState>("state")? {
                Some(HttpNfcLeaseState::Ready) => {
                    return known.get("info")?.ok_or_else(|| Error::unset(&moref.cast(), "info"));
                }
                Some(HttpNfcLeaseState::Error) => {
                    let error: Option<LocalizedMethodFault> = known.get("error")?;
                    let context = format!("waiting for {moref}");
                    return Err(match error {
                        Some(error) => Error::from_fault(
                            context,
                            Fault {
                                fault: error.fault,
                                message: error.localized_message.unwrap_or_default(),
                            },
                        ),
                        None => Error::broken_protocol(format!("{context}: it failed without saying why")),
                    });
                }
                Some(HttpNfcLeaseState::Done) => {
                    return Err(Error::not_found(format!("{moref} has ended already")));
                }
                _ => {}
            }
        }
    }
}

impl Drop for NfcLease {
    fn drop(&mut self) {
        self.keeper.abort();
        if self.ended {
            return;
        }
        let lease = self.lease.moref();
        self.lease.http_nfc_lease_abort(None).send_and_forget(move |error| {
            tracing::warn!(%lease, %error, "a lease that was given up could not be aborted");
        });
    }
}

/// Tells the server how far the transfer is, until it does not want to know any more.
async fn keep(
    lease: mo::HttpNfcLease,
    percent: Arc<AtomicI32>,
    every: Duration,
    lost: watch::Sender<Option<String>>,
) {
    loop {
        tokio::time::sleep(every).await;
        match lease.http_nfc_lease_progress(percent.load(Ordering::Relaxed)).await {
            Ok(()) => {}
            Err(error) if error.any_fault().is_none() && !error.is_session_lost() => {
                tracing::debug!(lease = %lease.moref(), %error, "progress was not told");
            }
            Err(error) => {
                tracing::warn!(lease = %lease.moref(), %error, "a lease was lost");
                lost.send_replace(Some(error.to_string()));
                return;
            }
        }
    }
}

fn file(device: &HttpNfcLeaseDeviceUrl, host: &str) -> LeaseFile {
    LeaseFile {
        key: device.key.clone(),
        import_key: device.import_key.clone(),
        url: with_host(&device.url, host),
        thumbprint: device.ssl_thumbprint.clone(),
        is_disk: device.disk.unwrap_or(true),
        target: device.target_id.clone(),
        size: device.file_size.and_then(|size| u64::try_from(size).ok()),
    }
}

/// The address with `host` where it has a star for it.
fn with_host(url: &str, host: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let Some(behind) =
        rest.strip_prefix('*').filter(|behind| behind.is_empty() || behind.starts_with(['/', ':']))
    else {
        return url.to_owned();
    };
    // An IPv6 address stands in brackets.
    let bracketed =
        if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    format!("{scheme}://{bracketed}{behind}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_the_server_that_is_spoken_to() {
        for (url, expected) in [
            ("https://*/nfc/52ab/disk-0.vmdk", "https://vc.example.org/nfc/52ab/disk-0.vmdk"),
            ("https://*:8443/nfc/x", "https://vc.example.org:8443/nfc/x"),
            ("https://esx.example.org/nfc/x", "https://esx.example.org/nfc/x"),
            ("https://*.example.org/nfc/x", "https://*.example.org/nfc/x"),
            ("*", "*"),
        ] {
            assert_eq!(with_host(url, "vc.example.org"), expected);
        }
        assert_eq!(with_host("https://*/nfc", "fd00::1"), "https://[fd00::1]/nfc");
    }
}
