//! A line on which things go wrong: passes HTTP/1.1 requests on to a server, one for each connection, by chance from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What goes wrong, in thousandths of the requests.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub seed: u64,
    /// Answered with 503, without the server.
    pub refused: u64,
    /// The connections are cut in the middle of the request's body, or before a request without one.
    pub cut: u64,
    /// Carried out, and the connection is cut instead of the answer.
    pub unanswered: u64,
    /// The longest delay of a request.
    pub latency: Duration,
}

pub struct Proxy {
    address: String,
    counts: Arc<[AtomicU64; 4]>,
}

impl Proxy {
    pub async fn start(server: &str, faults: Faults) -> Self {
        let upstream = server.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let counts: Arc<[AtomicU64; 4]> = Arc::default();
        let counted = Arc::clone(&counts);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (upstream, counts) = (upstream.clone(), Arc::clone(&counted));
                // An error here is a line that has been cut, by either side.
                tokio::spawn(async move { pass(client, &upstream, faults, &counts).await });
            }
        });
        Self { address, counts }
    }

    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Requests, refused ones, cut ones, unanswered ones.
    pub fn counts(&self) -> [u64; 4] {
        [0, 1, 2, 3].map(|n: usize| self.counts[n].load(Ordering::SeqCst))
    }
}

async fn pass(
    mut client: TcpStream,
    upstream: &str,
    faults: Faults,
    counts: &[AtomicU64; 4],
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let head_end = loop {
        if let Some(at) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at;
        }
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8(request[..head_end].to_vec()).expect("a head of text");
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    let body_end = head_end + 4 + length.unwrap_or(0_usize);
    while request.len() < body_end {
        if client.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let number = counts[0].fetch_add(1, Ordering::SeqCst);
    let chance = mix(faults.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let micros = u64::try_from(faults.latency.as_micros()).expect("a short delay").max(1);
    tokio::time::sleep(Duration::from_micros(mix(chance) % micros)).await;
    let draw = chance % 1000;
    if draw < faults.refused {
        counts[1].fetch_add(1, Ordering::SeqCst);
        return client
            .write_all(b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
    }
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(&request[..head_end]).await?;
    server.write_all(b"\r\nConnection: close\r\n\r\n").await?;
    let body = &request[head_end + 4..body_end];
    if draw < faults.refused + faults.cut {
        counts[2].fetch_add(1, Ordering::SeqCst);
        if body.is_empty() {
            // The server has its whole request by now, which is for `unanswered` to try.
            return Ok(());
        }
        return server.write_all(&body[..body.len() / 2]).await;
    }
    server.write_all(body).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    if draw < faults.refused + faults.cut + faults.unanswered {
        counts[3].fetch_add(1, Ordering::SeqCst);
        return Ok(());
    }
    client.write_all(&answer).await
}

fn mix(state: u64) -> u64 {
    let mut mixed = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
