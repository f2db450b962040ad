//! What opens a session: a password, or a token in HTTP's `Authorization`.

use std::io::Read;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::GzDecoder;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;

use crate::session::TOKEN_LIMIT;
use crate::signed;
use crate::world::World;

/// How far the clocks of client and server may be apart.
const SKEW: Duration = Duration::from_secs(10 * 60);

/// A token that unpacks to more is none.
const MAX_TOKEN: u64 = 1 << 20;

/// Whose session it is to be, if that was shown.
pub(super) fn user(world: &mut World, head: &Parts, body: &[u8]) -> Option<String> {
    let (scheme, rest) = head.headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    match scheme {
        "Basic" => {
            let pair = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
            let (user, password) = pair.split_once(':')?;
            let known = world.stored.users.iter().find(|record| record.name == user)?;
            known.password.verify(password).then(|| user.to_owned())
        }
        "SIGN" => by_token(world, head, body, rest),
        _ => None,
    }
}

fn by_token(world: &mut World, head: &Parts, body: &[u8], parameters: &str) -> Option<String> {
    let parameter = |name: &str| {
        let mut all = parameters.split(", ").filter_map(|pair| pair.split_once('='));
        let (_, value) = all.find(|(key, _)| *key == name)?;
        value.strip_prefix('"')?.strip_suffix('"')
    };
    let packed = STANDARD.decode(parameter("token")?).ok()?;
    let mut assertion = String::new();
    GzDecoder::new(packed.as_slice()).take(MAX_TOKEN).read_to_string(&mut assertion).ok()?;
    let token = world.sessions.tokens.get(&assertion)?.clone();
    if !token.delegatable || world.clock.now().since(token.given) > TOKEN_LIMIT {
        return None;
    }
    let Some(certificate) = token.bound_to else { return Some(token.user) };

    let nonce = parameter("nonce")?;
    let (millis, random) = nonce.split_once(':')?;
    random.parse::<i64>().ok().filter(|random| *random >= 0)?;
    let sent = SystemTime::UNIX_EPOCH + Duration::from_millis(millis.parse().ok()?);
    let now = SystemTime::now();
    let apart = now.duration_since(sent).or_else(|_| sent.duration_since(now)).ok()?;
    let hash = digest(&SHA256, body);
    let host: Authority = head.headers.get(HOST)?.to_str().ok()?.parse().ok()?;
    let port = host.port_u16().unwrap_or(80);
    let lines =
        [nonce, head.method.as_str(), head.uri.path(), &host.host().to_lowercase(), &port.to_string()];
    let mut message = lines.join("\n").into_bytes();
    message.push(b'\n');
    message.extend_from_slice(hash.as_ref());
    message.push(b'\n');
    let signature = STANDARD.decode(parameter("signature")?).ok()?;
    let holds = apart <= SKEW
        && parameter("signature_alg") == Some("RSA-SHA256")
        && STANDARD.decode(parameter("bodyhash")?).ok()? == hash.as_ref()
        && signed::verifies(&certificate, &message, &signature)
        // Last: what does not hold uses no nonce up.
        && world.rest.nonces.insert(nonce.to_owned());
    holds.then_some(token.user)
}
