//! Compressed answers, whole and harmful.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn compressed(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

async fn encoded(encoding: &str, body: &[u8], limits: Limits) -> Result<Response, TransportError> {
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n", body.len());
    answer_within([head.as_bytes(), body].concat(), limits).await
}

#[tokio::test]
async fn a_compressed_answer_is_read_as_it_was() {
    let plain: Vec<u8> = (0..300_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    for encoding in ["gzip", "x-gzip", "GZIP"] {
        let response = encoded(encoding, &compressed(&plain), Limits::default()).await.unwrap();
        assert!(response.body == plain);
    }
    assert_eq!(&encoded("identity", b"as it is", Limits::default()).await.unwrap().body[..], b"as it is");
}

#[tokio::test]
async fn what_gzip_itself_compressed_is_read() {
    // `printf 'from the tool' | gzip -9n`
    let tool = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 75, 43, 202, 207, 85, 40, 201, 72, 85, 40, 201, 207, 207, 1, 0, 63,
        254, 219, 4, 13, 0, 0, 0,
    ];
    assert_eq!(&encoded("gzip", &tool, Limits::default()).await.unwrap().body[..], b"from the tool");
}

#[tokio::test]
async fn a_bomb_stops_at_the_limit() {
    let bomb = compressed(&vec![0; 64 << 20]);
    assert!(bomb.len() < 100_000);
    let error = encoded("gzip", &bomb, Limits { max_response_bytes: 1 << 20, ..Limits::default() }).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), Kind::TooLarge);
    assert_says(&error, &["1048576 bytes"]);
    // The limit itself is allowed.
    let just = compressed(&vec![7; 1 << 20]);
    let limits = Limits { max_response_bytes: 1 << 20, ..Limits::default() };
    assert_eq!(encoded("gzip", &just, limits).await.unwrap().body.len(), 1 << 20);
}

#[tokio::test]
async fn damage_of_every_kind_is_named() {
    let whole = compressed(b"some text that is long enough to be compressed, compressed, compressed");
    for end in 1..whole.len() {
        let error = encoded("gzip", &whole[..end], Limits::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Encoding, "{error}");
        assert_says(&error, &["ends before its end"]);
        if end > 20 {
            break;
        }
    }
    let error = encoded("gzip", &whole[..whole.len() - 3], Limits::default()).await.unwrap_err();
    assert_says(&error, &["ends before its end"]);

    let mut flipped = whole.clone();
    let checksum = whole.len() - 6;
    flipped[checksum] ^= 1;
    let error = encoded("gzip", &flipped, Limits::default()).await.unwrap_err();
    assert_says(&error, &["damaged"]);

    let error = encoded("gzip", &[&whole[..], b"more"].concat(), Limits::default()).await.unwrap_err();
    assert_says(&error, &["4 bytes follow"]);

    for unknown in ["br", "gzip, gzip"] {
        let error = encoded(unknown, &whole, Limits::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Encoding);
        assert_says(&error, &[unknown, "only gzip was offered"]);
    }
}
