//! Buckets of object stores: S3 and what speaks like it, Azure, Google Cloud Storage.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreExt, RetryConfig};

use super::http::Http;
use super::objects::Objects;
use super::retry::settle_create;
use super::{ChunkStore, ObjectName, StoreFuture, StoredObject};
use crate::error::{Error, ErrorKind, Result};

/// How a bucket is reached, besides its address and the credentials.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudOptions {
    /// Settings by the names that `object_store` gives them, such as `aws_endpoint` or `aws_region`. They go before those of the
    /// environment. Secrets are better left there.
    pub settings: Vec<(String, String)>,
    /// Certificates to trust besides the system's, in PEM format.
    pub ca_pem: Option<Vec<u8>>,
    /// Whether the bucket may be reached without TLS. What is stored is sealed all the same.
    pub allow_http: bool,
    /// For a request with its upload until the answer begins, and for each part of the answer; 2 minutes by default.
    pub timeout: Duration,
    /// S3: objects above this size are uploaded in parts of it, four at a time; 80 MiB by default, so that packs of the usual size go up
    /// in one request; at least 5 MiB. Completing an upload in parts is conditional too, but not every server decides that atomically:
    /// SeaweedFS 4.48 let two of four racing completions succeed.
    pub part_bytes: usize,
    /// Tries after the first one of each request, 6 by default.
    pub retries: usize,
}

impl Default for CloudOptions {
    fn default() -> Self {
        Self {
            settings: Vec::new(),
            ca_pem: None,
            allow_http: false,
            timeout: Duration::from_secs(120),
            part_bytes: 80 << 20,
            retries: 6,
        }
    }
}

/// The smallest part that S3 takes, but for the last one.
const MIN_PART_BYTES: usize = 5 << 20;
/// Parts that are uploaded at a time.
const PARTS_AT_A_TIME: usize = 4;

/// A bucket, or a folder in one. Every create is conditional, so the server has to know `If-None-Match: *` (S3 and its likes) or what
/// goes for it on Azure and Google Cloud Storage.
///
/// Requests that fail for a moment are repeated with growing pauses. Parts of uploads that were cut off for good stay in an S3 bucket,
/// unseen and paid for: give it a lifecycle rule that aborts incomplete uploads after some days.
#[derive(Debug)]
pub struct CloudStore {
    objects: Objects<Arc<dyn ObjectStore>>,
    /// Objects above this size go up in parts of it; `None` where one request takes any pack.
    part_bytes: Option<usize>,
}

impl CloudStore {
    /// Opens `s3://bucket/folder`, `az://container/folder` or `gs://bucket/folder`; the folder may be left out. Credentials are what the
    /// environment says, under the names that the provider's own tools use (`AWS_ACCESS_KEY_ID`, `AZURE_STORAGE_ACCOUNT_KEY`,
    /// `GOOGLE_SERVICE_ACCOUNT`, …). Nothing is asked of the server yet.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for an address or setting that cannot be, or a kind of store that this program was built
    /// without.
    pub fn open(address: &str, options: &CloudOptions) -> Result<Self> {
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        let (bucket, folder) = rest.split_once('/').unwrap_or((rest, ""));
        let folder = folder.trim_end_matches('/');
        if bucket.is_empty() {
            return Err(Error::invalid(format!("{address} names no bucket: write s3://bucket/folder")));
        }
        let http = Http::new(options.ca_pem.as_deref(), options.timeout, options.allow_http)?;
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(200),
                max_backoff: Duration::from_secs(20),
                base: 2.0,
            },
            max_retries: options.retries,
            retry_timeout: Duration::from_secs(5 * 60),
        };
        let built = match scheme {
            #[cfg(feature = "s3")]
            "s3" => s3(bucket, options, http.creating_multipart(), retry),
            #[cfg(feature = "azure")]
            "az" => azure(bucket, options, http, retry),
            #[cfg(feature = "gcs")]
            "gs" => gcs(bucket, options, http, retry),
            _ => {
                let message = match scheme {
                    "s3" | "az" | "gs" => format!("this program was built without {scheme}://"),
                    _ => format!("{address} is no address of a bucket: write s3://bucket/folder"),
                };
                return Err(Error::invalid(message));
            }
        };
        let store = built.map_err(|source| {
            let message = format!("{address} cannot be used: check its settings and the environment");
            Error::new(ErrorKind::InvalidInput, message).with_source(source)
        })?;
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let advice = "check that the bucket can be reached, and try again";
        let part_bytes = (scheme == "s3").then_some(options.part_bytes.max(MIN_PART_BYTES));
        Ok(Self { objects: Objects { store, place: address.to_owned(), prefix, advice }, part_bytes })
    }

    /// An upload in parts; on an error nothing is left of it, unless that cannot be told to the server either.
    async fn create_in_parts(&self, name: &ObjectName, data: &Bytes, part_bytes: usize) -> Result<()> {
        use futures::{StreamExt, TryStreamExt};
        let failed = |source| self.objects.error("create", name.as_str(), source);
        let mut upload =
            self.objects.store.put_multipart(&self.objects.location(name)).await.map_err(failed)?;
        let starts = (0..data.len()).step_by(part_bytes);
        let parts = starts.map(|from| data.slice(from..data.len().min(from + part_bytes)));
        let parts: Vec<_> = parts.map(|part| upload.put_part(part.into())).collect();
        let sent = futures::stream::iter(parts).buffer_unordered(PARTS_AT_A_TIME).try_collect::<()>().await;
        let done = match sent {
            Ok(()) => upload.complete().await.map(drop),
            Err(error) => Err(error),
        };
        let Err(source) = done else { return Ok(()) };
        if let Err(error) = upload.abort().await {
            tracing::debug!(%name, %error, "parts of an upload stay until the bucket's lifecycle rule removes them");
        }
        Err(match source {
            // The upload had been completed, and the answer was lost.
            object_store::Error::NotFound { .. } => {
                let message = format!("the upload of {name} to {} was broken off", self.objects.place);
                Error::new(ErrorKind::AlreadyExists, message).with_source(source)
            }
            source => failed(source),
        })
    }
}

impl ChunkStore for CloudStore {
    fn describe(&self) -> String {
        self.objects.place.clone()
    }

    fn create<'a>(&'a self, name: &'a ObjectName, data: Bytes) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let created = match self.part_bytes {
                Some(part_bytes) if data.len() > part_bytes => {
                    self.create_in_parts(name, &data, part_bytes).await
                }
                _ => self.objects.create(name, data.clone()).await,
            };
            match created {
                // A request that was repeated below may have met its own first try.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    settle_create(self, name, &data, error).await.map_err(|error| match error.kind() {
                        ErrorKind::NotFound => {
                            let message = format!("the upload of {name} was lost on the way: try again");
                            Error::new(ErrorKind::Store, message).with_source(error)
                        }
                        _ => error,
                    })
                }
                done => done,
            }
        })
    }

    fn get<'a>(&'a self, name: &'a ObjectName, limit: u64) -> StoreFuture<'a, Bytes> {
        Box::pin(self.objects.get(name, limit))
    }

    fn get_range<'a>(&'a self, name: &'a ObjectName, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(self.objects.get_range(name, range))
    }

    fn list<'a>(&'a self, folder: &'a str) -> StoreFuture<'a, Vec<StoredObject>> {
        Box::pin(self.objects.list(folder))
    }

    fn remove<'a>(&'a self, name: &'a ObjectName) -> StoreFuture<'a, ()> {
        Box::pin(self.objects.remove(name))
    }

    fn sweep(&self, _before: SystemTime) -> StoreFuture<'_, u64> {
        // Incomplete uploads are the bucket's to remove: the library cannot list them.
        Box::pin(async { Ok(0) })
    }
}

type Built = object_store::Result<Arc<dyn ObjectStore>>;

#[cfg(feature = "s3")]
fn s3(bucket: &str, options: &CloudOptions, http: Http, retry: RetryConfig) -> Built {
    use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
    let mut builder = AmazonS3Builder::from_env();
    for (key, value) in &options.settings {
        builder = builder.with_config(key.parse()?, value);
    }
    let builder = builder
        .with_bucket_name(bucket)
        .with_allow_http(options.allow_http)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // One request for each object, whose answer says why that one stays.
        .with_disable_bulk_delete(true)
        .with_http_connector(http)
        .with_retry(retry);
    Ok(Arc::new(builder.build()?))
}

#[cfg(feature = "azure")]
fn azure(container: &str, options: &CloudOptions, http: Http, retry: RetryConfig) -> Built {
    let mut builder = object_store::azure::MicrosoftAzureBuilder::from_env();
    for (key, value) in &options.settings {
        builder = builder.with_config(key.parse()?, value);
    }
    let builder = builder.with_container_name(container).with_allow_http(options.allow_http);
    Ok(Arc::new(builder.with_http_connector(http).with_retry(retry).build()?))
}

#[cfg(feature = "gcs")]
fn gcs(bucket: &str, options: &CloudOptions, http: Http, retry: RetryConfig) -> Built {
    let mut builder = object_store::gcp::GoogleCloudStorageBuilder::from_env();
    for (key, value) in &options.settings {
        builder = builder.with_config(key.parse()?, value);
    }
    Ok(Arc::new(builder.with_bucket_name(bucket).with_http_connector(http).with_retry(retry).build()?))
}
